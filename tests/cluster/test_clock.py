"""Which programs can be given another clock, and what is said of those that cannot."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from capsize.cluster.agent import Clock, OrderError, why_not_preloaded


def elf(*segments: int, more: bytes = b"") -> bytes:
    """Return the head of a 64-bit ELF program with these segments."""
    head = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    return head + b"".join(struct.pack("<I", kind) + bytes(52) for kind in segments) + more


def program(folder: Path, name: str, contents: bytes) -> str:
    path = folder / name
    path.write_bytes(contents)
    path.chmod(0o755)
    return str(path)


def test_a_program_without_a_loader_is_refused_by_its_name(tmp_path: Path) -> None:
    said = why_not_preloaded(program(tmp_path, "etcd", elf(1, 1)), "")
    assert said == "etcd is linked statically: no library can be loaded into it"


def test_a_go_program_with_a_loader_is_refused_all_the_same(tmp_path: Path) -> None:
    path = program(tmp_path, "server", elf(3, 1, more=b"....\xff Go buildinf:...."))
    assert "server is a Go program" in why_not_preloaded(path, "")


def test_what_has_a_loader_and_scripts_of_it_are_taken(tmp_path: Path) -> None:
    good = program(tmp_path, "good", elf(1, 3))
    bad = program(tmp_path, "bad", elf(1))
    assert why_not_preloaded(good, "") == ""
    assert why_not_preloaded(program(tmp_path, "script", f"#!{good}\n".encode()), "") == ""
    assert "bad is linked statically" in why_not_preloaded(program(tmp_path, "worse", f"#!{bad} -x\n".encode()), "")
    assert why_not_preloaded(program(tmp_path, "named", b"#!/usr/bin/env good\n"), str(tmp_path)) == ""
    assert why_not_preloaded("python3", shutil.which("python3") or "") == ""


def test_a_process_that_was_started_without_the_library_says_so(tmp_path: Path) -> None:
    clock = Clock(str(tmp_path))
    assert clock.environment(["anything"], {}) == {}
    clock.heal()  # nothing to heal
    with pytest.raises(OrderError, match="was not started with a clock that can be set"):
        clock.set(5.0, 1.0)


def test_a_rate_counts_from_the_start_of_the_process_and_begins_without_a_leap(tmp_path: Path) -> None:
    (tmp_path / "libfaketime.so.put").write_bytes(b"\0clock_nanosleep\0 \0clock_nanosleep\0")
    clock = Clock(str(tmp_path))
    clock.PLACES = ()  # type: ignore[misc]
    clock.prepare(monotonic=False)
    assert (tmp_path / "libfaketime.so").read_bytes() == b"\0_lock_nanosleep\0 \0clock_nanosleep\0"
    assert (tmp_path / "clock").read_text() == "+0.000000\n"
    clock.began(1)
    assert clock.started is not None
    clock.started -= 100.0
    clock.set(0.0, 2.0)
    text = (tmp_path / "clock").read_text()
    assert text.endswith(" x2\n")
    assert -100.5 < float(text.split()[0]) < -99.9
    clock.set(3.0, 1.0)
    assert (tmp_path / "clock").read_text() == "+3.000000\n"
    clock.heal()
    assert (tmp_path / "clock").read_text() == "+0.000000\n"


def test_time_that_timers_follow_never_goes_back(tmp_path: Path) -> None:
    (tmp_path / "libfaketime.so.put").write_bytes(b"library")
    clock = Clock(str(tmp_path))
    clock.PLACES = ()  # type: ignore[misc]
    clock.prepare(monotonic=True)
    clock.began(1)
    clock.set(0.0, 2.0)
    clock.since -= 10.0
    clock.heal()
    offset, rate = clock.now()
    assert 10.0 <= offset < 11.0
    assert rate == 1.0

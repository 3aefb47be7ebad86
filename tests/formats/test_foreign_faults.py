"""What a foreign nemesis did, told in our words: what was paired, what stayed a moment, and on which nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from capsize.checker.surroundings import landed_faults
from capsize.formats import read_history

SECOND = 1_000_000_000
GRUDGE = '{"n1" #{"n2" "n3"}, "n2" #{"n1"}, "n3" #{"n1"}}'


def history(tmp_path: Path, *said: str, timed: bool = True) -> Any:
    """Return a history of one write a second, and of the nemesis' lines `f value` between them."""
    lines: list[str] = []
    for number, words in enumerate(said):
        f, _, value = words.partition(" ")
        time = f", :time {number * SECOND}" if timed else ""
        if f.isdigit():
            lines.append(f"{{:process {f}, :type :invoke, :f :write, :value {number}{time}}}")
            lines.append(f"{{:process {f}, :type :ok, :f :write, :value {number}{time}}}")
        else:
            lines.append(f"{{:process :nemesis, :type :info, :f :{f}, :value {value or 'nil'}{time}}}")
    path = tmp_path / "history.edn"
    path.write_text("\n".join(lines) + "\n")
    return read_history(path)


def told(read: Any) -> list[tuple[str, Sequence[str], float, float | None]]:
    return [
        (fault.name, fault.targets, fault.start_ns / SECOND, None if fault.end_ns is None else fault.end_ns / SECOND)
        for fault in landed_faults(read.faults)
    ]


def test_a_fault_reaches_from_its_first_line_to_the_last_of_what_ended_it(tmp_path: Path) -> None:
    read = history(
        tmp_path, "start-partition :one", f"start-partition [:isolated {GRUDGE}]", "0", "stop-partition",
        "stop-partition :network-healed", "1"
    )  # fmt: skip
    assert told(read) == [("partition", ("n1",), 0, 4)]  # n1 is cut from two, they from one


@pytest.mark.parametrize(
    ("begin", "end", "name"),
    [
        ("kill", "start", "kill"), ("pause", "resume", "pause"), ("bump-clock", "reset-clock", "bump-clock"),
        ("start", "stop", "start"), ("packet-start", "packet-stop", "packet"), ("partition", "heal", "partition"),
    ],
)  # fmt: skip
def test_the_words_of_published_nemeses_are_paired(tmp_path: Path, begin: str, end: str, name: str) -> None:
    said = '{"n2" :done}'
    read = history(tmp_path, begin, f"{begin} {said}", "0", end, f"{end} :all", "0")
    assert told(read) == [(name, ("n2",), 0, 4)]


def test_the_oldest_partitioner_is_known_by_what_it_says(tmp_path: Path) -> None:
    read = history(tmp_path, "start", f'start "Cut off {GRUDGE.replace(chr(34), "")}"', "0", "stop", 'stop "healed"')
    assert told(read) == [("partition", (), 0, 4)]


def test_one_end_ends_every_fault_of_its_kind_and_no_other(tmp_path: Path) -> None:
    read = history(
        tmp_path, 'kill ["n1"]', 'kill {"n1" :killed}', "pause", 'pause {"n3" :paused}', "0", 'kill ["n2"]',
        'kill {"n2" :killed}', "start :all", 'start {"n1" :started, "n2" :started}', "0",
    )  # fmt: skip
    assert told(read) == [("kill", ("n1",), 0, 8), ("pause", ("n3",), 2, None), ("kill", ("n2",), 5, 8)]


def test_what_begins_nothing_and_ends_nothing_is_a_moment(tmp_path: Path) -> None:
    read = history(tmp_path, "0", "strobe-clock", 'strobe-clock {"n1" 4}', "0", "join", "0")
    assert told(read) == [("strobe-clock", ("n1",), 1, 2), ("join", (), 4, 4)]


def test_an_end_that_finds_nothing_to_end_is_no_beginning(tmp_path: Path) -> None:
    """Jepsen's last act starts and resumes all nodes, whether or not anything had befallen them."""
    read = history(tmp_path, "kill", "kill", "start", "start", "0", "start :all", "start", "resume :all", "resume")
    assert told(read) == [("kill", (), 0, 3), ("start", (), 5, 6), ("resume", (), 7, 8)]


def test_what_the_nemesis_said_is_kept_and_none_of_it_is_called_proven(tmp_path: Path) -> None:
    read = history(tmp_path, "0", 'kill ["n1"]', 'kill {"n1" :killed}', "0")
    (event,) = read.faults
    assert event["value"]["detail"] == {"asked": ("n1",), "told": (("n1", "killed"),)}
    (fault,) = landed_faults(read.faults)
    assert str(fault) == "kill of n1 (from 1.000 s to the end, as recorded)"


def test_a_recording_without_times_has_its_faults_where_its_lines_are(tmp_path: Path) -> None:
    read = history(tmp_path, "0", "kill", "kill", "0", "start", "start", "0", timed=False)
    ((_, _, start, end),) = told(read)
    assert read[0].return_ns <= start * SECOND <= read[1].call_ns
    assert read[1].return_ns <= end * SECOND <= read[2].call_ns


def test_an_etcd_log_has_its_partitions(tmp_path: Path) -> None:
    path = tmp_path / "etcd.log"
    said = ["0\t:invoke\t:write\t4", "0\t:ok\t:write\t4", ":nemesis\t:info\t:start\tnil"]
    said += [':nemesis\t:info\t:start\t"Cut off {:n1 #{:n2}}"', ":nemesis\t:info\t:stop\tnil"]
    said += [':nemesis\t:info\t:stop\t"fully connected"', "0\t:invoke\t:read\tnil", "0\t:ok\t:read\t4"]
    path.write_text("".join(f"INFO  jepsen.util - {line}\n" for line in said))
    read = read_history(path)
    ((name, targets, start, end),) = told(read)
    assert (name, targets) == ("partition", ())
    assert end is not None
    assert read[0].return_ns is not None
    assert read[0].return_ns <= start * SECOND < end * SECOND <= read[1].call_ns

"""Frames: told whole and in order however they arrive, and nothing after what is no frame."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from capsize.raft import frames
from capsize.raft.frames import LENGTH, Frame, FrameProtocol, pack_frame


class Wire(asyncio.Transport):
    """A transport that only knows whether it was aborted."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def received(data: bytes, *, at_once: int) -> tuple[list[tuple[Frame, str]], bool]:
    """Let `data` arrive so many bytes at a time; return the frames and texts told, and whether it was aborted."""
    told: list[tuple[Frame, str]] = []
    protocol = FrameProtocol(lambda _, frame, text: told.append((frame, text)), lambda _: None)
    wire = Wire()
    protocol.connection_made(wire)
    while data and not wire.aborted:
        room = protocol.get_buffer(-1)
        part = data[: min(at_once, len(room))]
        room[: len(part)] = part
        protocol.buffer_updated(len(part))
        data = data[len(part) :]
    return told, wire.aborted


@pytest.mark.parametrize("at_once", [1, 3, 7, 1000, 1 << 20])
def test_frames_are_told_whole_and_in_order_however_they_arrive(at_once: int):
    contents: list[Any] = [{"n": 1}, {"é": "ü\n"}, {"long": "x" * 300}]
    told, aborted = received(b"".join(map(pack_frame, contents)), at_once=at_once)
    assert [frame for frame, _ in told] == contents
    assert told[0][1] == '{"n":1}'
    assert not aborted


def test_a_frame_larger_than_what_is_received_at_once_is_told_whole():
    content = {"data": "x" * (3 * frames.RECEIVE_BYTES)}
    assert received(pack_frame(content), at_once=1 << 20)[0][0][0] == content


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff\xfe", b""])
def test_a_connection_that_brings_no_frame_is_aborted_and_the_frames_before_it_are_told(content: bytes):
    good = pack_frame({"n": 1})
    told, aborted = received(good + LENGTH.pack(len(content)) + content + good, at_once=1 << 20)
    assert aborted
    assert [frame for frame, _ in told] == [{"n": 1}]

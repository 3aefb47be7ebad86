"""Read a file in blocks of whole lines, so that ten gigabytes of rubbish cost one block and one error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from capsize.errors import HistoryError

BLOCK_BYTES = 1 << 20
LINE_BYTES_MAX = 64 << 20
"""No format that we read has a longer line; a file that does is no history."""

_TEXT_CONTROL = b"\t\n\r\x0c\x1b"
_CONTROL = bytes(code for code in range(32) if code not in _TEXT_CONTROL)


def blocks_of_lines(path: Path, *, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (number of the first line, whole lines, is the last block).

    Every block ends in a newline, except the last one where the file does not.
    Raises HistoryError when the file cannot be opened, is a folder, is binary, or has an endless line.
    """
    try:
        file = path.open("rb")
    except OSError as reason:
        raise HistoryError(f"cannot be read: {reason.strerror}; expected a history file", where=str(path)) from None
    with file:
        line, rest, waiting = 1, list[bytes](), 0
        ahead = file.read(block_bytes)
        _refuse_binary(path, ahead)
        while ahead:
            chunk, ahead = ahead, file.read(block_bytes)
            if not ahead:
                block = b"".join([*rest, chunk])
                _refuse_binary(path, block, line)
                yield line, block, True
                return
            head, newline, tail = chunk.rpartition(b"\n")
            if not newline:
                _refuse_binary(path, chunk, line)
                rest.append(chunk)
                waiting += len(chunk)
                if waiting > LINE_BYTES_MAX:
                    raise HistoryError(
                        f"a line longer than {LINE_BYTES_MAX >> 20} MiB; expected one event a line",
                        where=f"{path}:{line}",
                    )
                continue
            block = b"".join([*rest, head, newline])
            _refuse_binary(path, block, line)
            yield line, block, False
            line += block.count(b"\n")
            rest, waiting = [tail], len(tail)


def _refuse_binary(path: Path, block: bytes, first_line: int = 1) -> None:
    """Raise HistoryError if `block` holds bytes that no text has."""
    if len(block) == len(block.translate(None, _CONTROL)):
        return
    position = next(number for number, byte in enumerate(block) if byte in _CONTROL)
    line = first_line + block.count(b"\n", 0, position)
    raise HistoryError(
        f"binary data (byte 0x{block[position]:02x}); expected a history in text", where=f"{path}:{line}"
    )

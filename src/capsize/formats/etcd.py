"""Read the logs of Jepsen's etcd test as Porcupine keeps them: one register, `process :type :f value` a line.

A `:fail` of a cas is an answer here: the comparison did not hold. `:timed-out` is not: a read that timed out is
dropped, anything else stays pending.
"""

from __future__ import annotations

import re
from pathlib import Path

from capsize.errors import HistoryError
from capsize.formats.blocks import blocks_of_lines
from capsize.history import History
from capsize.op import Value
from capsize.pairing import FAIL, INFO, OK, Pairing

_LINE = re.compile(r"jepsen\.util\s+-\s+(\d+)\s+:(\w+)\s+:(\w+)\s+(.*?)\s*$")
_NEMESIS = re.compile(r"jepsen\.util\s+-\s+:nemesis\s+:(\w+)\s+:(\S+)\s*(.*?)\s*$")
_PAIR = re.compile(r"\[(-?\d+)\s+(-?\d+)\]$")


def read_etcd_log(path: Path) -> History:
    """Return the history in `path`."""
    pairing = Pairing(str(path), timed=False)
    for first, block, _ in blocks_of_lines(path):
        for number, raw in enumerate(block.decode("utf-8", "replace").split("\n"), first):
            line = raw.strip()
            if not line:
                continue
            found = _LINE.search(line)
            if found is None:
                nemesis = _NEMESIS.search(line)
                if nemesis is None:
                    raise HistoryError(
                        f"{line[:60]!r}; expected `INFO jepsen.util - process :type :f value`", where=f"{path}:{number}"
                    )
                event = {
                    "process": "nemesis",
                    "type": nemesis[1],
                    "f": nemesis[2],
                    "value": nemesis[3],
                    "time_ns": number,
                }
                pairing.fault(event)
                continue
            if len(found[1]) > 18:
                raise pairing.error(f"process {found[1][:30]}; expected a smaller number", number)
            _event(pairing, int(found[1]), found[2], found[3], found[4], number)
    return History(pairing.finish(), source=str(path))


def _event(pairing: Pairing, process: int, kind: str, f: str, text: str, line: int) -> None:
    if kind == "invoke":
        pairing.invoke(process, f, None, None if f == "read" else _value(pairing, text, line), line, line)
        return
    if kind not in ("ok", "fail", "info"):
        raise pairing.error(f"type is :{kind}; expected :invoke, :ok, :fail or :info", line)
    if text == ":timed-out":
        pairing.complete(process, FAIL if f == "read" else INFO, None, line, line, f=f, error="timed-out")
    elif kind == "info":
        pairing.complete(process, INFO, None, line, line, f=f)
    elif f == "cas":
        pairing.complete(process, OK, kind == "ok", line, line, f=f)
    elif kind == "fail":
        pairing.complete(process, FAIL, None, line, line, f=f)
    else:
        pairing.complete(process, OK, _value(pairing, text, line) if f == "read" else None, line, line, f=f)


def _value(pairing: Pairing, text: str, line: int) -> Value:
    if text == "nil":
        return None
    pair = _PAIR.match(text)
    if pair is not None:
        return (int(pair[1]), int(pair[2]))
    try:
        return int(text)
    except ValueError:
        raise pairing.error(f"value {text!r}; expected nil, a number or [old new]", line) from None

"""Reading whole blocks at once gives what reading event by event gives, in every format, whatever is in the lines."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capsize.errors import HistoryError
from capsize.formats import edn, etcd, jsonl
from capsize.formats.blocks import blocks_of_lines
from capsize.formats.edn_columns import read_columns
from capsize.history import History
from capsize.pairing import Doubt

Event = dict[str, Any]


def events(dice: random.Random, *, keyed: bool) -> list[Event]:
    """Draw events of a few clients, some of which fail, time out or go on for ever; the nemesis among them."""
    found: list[Event] = []
    process = list(range(4))
    open_now: dict[int, Event] = {}
    for number in range(dice.randrange(20, 90)):
        client = dice.randrange(4)
        if dice.random() < 0.05:
            found.append({"process": "nemesis", "type": "info", "f": "kill", "value": dice.choice([None, "n1"])})
            continue
        begun = open_now.pop(client, None)
        if begun is None:
            f = dice.choice(["read", "write", "cas", "add", "incr", "weird"])
            value = {"read": None, "cas": [dice.randrange(4), number]}.get(f, number)
            begun = {"process": process[client], "type": "invoke", "f": f, "value": value}
            begun |= {"key": dice.choice([1, "k", None])} if keyed else {}
            open_now[client] = begun
            found.append(begun)
            continue
        kind = dice.choice(["ok", "ok", "ok", "fail", "info"])
        done = begun | {"type": kind}
        if begun["f"] == "read":
            done["value"] = dice.choice([None, 3, "text", True, -1])
        if kind != "ok" and dice.random() < 0.7:
            done["error"] = dice.choice(["timeout", "no, :leader", 7])
        if kind == "info":
            process[client] += 4
        found.append(done)
    return found


def in_edn(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "nil", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return "[" + " ".join(map(in_edn, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else str(value)


def edn_text(drawn: list[Event], dice: random.Random) -> str:
    """Write the events as Jepsen does: one order of the keys, unless something is odd."""
    independent, timed = dice.random() < 0.5, dice.random() < 0.7
    lines: list[str] = []
    for number, event in enumerate(drawn):
        value = in_edn(event["value"])
        client = event["process"] != "nemesis"
        if independent and client:
            value = f"[{number % 3} {value}]"
        parts = [f":type :{event['type']}", f":f :{event['f']}", f":value {value}"]
        parts += [f":key {in_edn(event['key'])}"] if "key" in event and not independent else []
        parts += [f":process {event['process'] if client else ':nemesis'}"]
        parts += [f":time {number * 1000}"] if timed else []
        parts += [f":error {in_edn(event['error'])}"] if "error" in event else []
        parts += [f":index {number}"] if dice.random() < 0.97 else []
        lines.append("{" + ", ".join(parts) + "}")
    return "\n".join(lines) + dice.choice(["", "\n"])


def jsonl_text(drawn: list[Event], dice: random.Random) -> str:
    lines = ['{"capsize":"history","version":1}']
    for number, event in enumerate(drawn):
        shown: Event = {word: item for word, item in event.items() if item is not None} | {"time_ns": number * 10}
        if event["process"] == "nemesis":
            shown["value"] = {"phase": "probe"}
        elif event["type"] != "invoke":
            shown["result"] = shown.pop("value", None)
            shown |= {"meta": {"term": number}} if dice.random() < 0.5 else {}
            shown["error"] = str(shown["error"]) if "error" in shown else None
        elif dice.random() < 0.1:
            shown["final"] = True
        lines.append(json.dumps(shown))
    return "\n".join(lines) + "\n"


def etcd_text(drawn: list[Event], dice: random.Random) -> str:
    lines: list[str] = []
    for event in drawn:
        if event["process"] == "nemesis":
            lines.append("INFO  jepsen.util - :nemesis\t:info\t:start\tnil")
            continue
        f = event["f"] if event["f"] in ("read", "write", "cas") else "write"
        value = event["value"] if isinstance(event["value"], int | list) and event["value"] is not True else None
        text = in_edn(value)
        if event["type"] == "info" or (event["type"] == "fail" and f == "read" and dice.random() < 0.8):
            text = ":timed-out"
        lines.append(f"INFO  jepsen.util - {event['process']}\t:{event['type']}\t:{f}\t{text}")
    return "\n".join(lines) + "\n"


def told(read: Callable[[], History]) -> Any:
    """Return all that a history says, or its error."""
    try:
        history = read()
    except HistoryError as error:
        return str(error)
    return list(history), list(history.faults), history.timed, history.columns.row.tolist()


def both(module: Any, path: Path, monkeypatch: pytest.MonkeyPatch, dice: random.Random) -> tuple[Any, Any]:
    """Read at once, in blocks of a few lines, and event by event in one block."""
    with monkeypatch.context() as patch:
        small = functools.partial(blocks_of_lines, block_bytes=dice.choice([200, 700, 3_000]))
        patch.setattr(module, "blocks_of_lines", small)
        if module is edn:
            patch.setattr(edn, "_LOOK_AHEAD", 6)
        reader = {edn: edn.read_edn, jsonl: jsonl.read_jsonl, etcd: etcd.read_etcd_log}[module]
        quick = told(lambda: reader(path))
        if module is jsonl:
            slow = told(lambda: jsonl._read(path, strict=True, feed=jsonl._feed_events))
        else:
            slow = told(lambda: module._read(path, bulk=False))
    return quick, slow


@pytest.mark.parametrize(("module", "write"), [(edn, edn_text), (jsonl, jsonl_text), (etcd, etcd_text)])
def test_a_block_at_once_says_what_its_events_say(
    module: Any, write: Callable[[list[Event], random.Random], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, in_bulk = tmp_path / "history", 0
    for number in range(150):
        dice = random.Random(f"quick/{module.__name__}/{number}")
        path.write_text(write(events(dice, keyed=dice.random() < 0.4), dice))
        quick, slow = both(module, path, monkeypatch, dice)
        assert quick == slow, path.read_text()
        in_bulk += not isinstance(quick, str)
    assert in_bulk > 60


def test_the_columns_take_what_jepsen_writes_and_decline_what_is_not_plain() -> None:
    lines = [
        b"{:type :invoke, :f :write, :value [1 2], :process 0, :time 5, :index 0}",
        b"{:type :ok, :f :write, :value [1 2], :process 0, :time 6, :index 1}",
    ]
    found = read_columns(b"\n".join(lines))
    assert found is not None
    assert (found.kinds, found.processes, found.values, found.times) == (["invoke", "ok"], [0, 0], [[1, 2]] * 2, [5, 6])
    for odd in (
        b"#_",
        b"; a comment",
        b"{:type :ok}",
        b"hello",
        b"{:type :ok, :f :write, :value {:a 1}, :process 0, :time 6}",
    ):
        assert read_columns(b"\n".join([*lines, odd])) is None
    twice = lines[0].replace(b":index 0", b":type :ok")
    assert read_columns(b"\n".join([twice, twice])) is None


def test_what_a_block_may_not_hold_is_doubted_and_then_named(tmp_path: Path) -> None:
    path = tmp_path / "history"
    line = "{:type :invoke, :f :write, :value 1, :process 0}\n"
    path.write_text(line.replace("0}", "1}") * 0 + line * 2)
    with pytest.raises(Doubt):
        edn._read(path, bulk=True)
    with pytest.raises(HistoryError, match=r":2: process 0 invokes 'write' while its 'write' is open"):
        edn.read_edn(path)

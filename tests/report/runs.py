"""Builds store folders as a run leaves them: seeded, small, with a story that a person can follow.

Five nodes, ten clients. n2 leads; it is killed; n3 leads and is then cut off; n4's disk is paused. In the invalid
run n3, cut off, still says "written", and what it wrote is gone when n5's term begins.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from capsize.seed import stream

NODES = ["n1", "n2", "n3", "n4", "n5"]
LEADERS = [(0.0, "n2", 1), (6.4, "n3", 2), (12.6, "n5", 3)]
FAULTS = [
    ("kill-leader", ["n2"], 6.0, 9.0),
    ("partition", ["n3"], 12.0, 18.0),
    ("pause-disk", ["n4"], 20.0, 24.0),
]
ORIGIN_NS = 5_000_000_000_000


def leader_at(time_s: float) -> tuple[str, int] | None:
    """Return who led and its term; None while nobody did."""
    if 6.0 <= time_s < 6.4 or 12.1 <= time_s < 12.6:
        return None
    return next((name, term) for start, name, term in reversed(LEADERS) if time_s >= start)


def build(folder: Path, kind: str = "valid", *, seconds: float = 30.0, pace_s: float = 0.02, seed: int = 7) -> Path:
    """Write a store folder of `kind` valid, invalid, unavailable, unknown or harness; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    scale = seconds / 30.0
    events = _operations(kind, seconds, pace_s, scale, seed) + _nemesis(kind, scale)
    events.sort(key=lambda event: event[0])
    lost: dict[str, Any] = {}
    lines = [json.dumps({"capsize": "history", "version": 1})]
    calls: dict[int, dict[str, Any]] = {}
    operations: list[dict[str, Any]] = []
    number = 0
    for index, (time_ns, event) in enumerate(events):
        event = {"index": index, "time_ns": time_ns, **event}
        mark = event.pop("mark", None)
        if event["process"] != "nemesis":
            if event["type"] == "invoke":
                calls[event["process"]] = event | {"number": number}
                number += 1
            else:
                call = calls.pop(event["process"])
                operation = _pair(call, event)
                if mark:
                    lost[mark] = operation
                    lost[mark + "#"] = call["number"]
                operations.append(operation)
        lines.append(json.dumps(event))
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "run.json").write_text(json.dumps(_run(seed, seconds), indent=1))
    schedule = [
        {"at_s": at * scale, "fault": {"name": name, "target": "leader"}, "duration_s": (end - at) * scale}
        for name, _, at, end in FAULTS
    ]
    (folder / "schedule.json").write_text(json.dumps(schedule))
    (folder / "verdict.json").write_text(json.dumps(_verdict(kind, lost, len(operations)), indent=1))
    _traces(folder, scale, seconds)
    return folder


def _operations(kind: str, seconds: float, pace_s: float, scale: float, seed: int) -> list[tuple[int, dict[str, Any]]]:
    draw = stream(seed, "report", kind)
    events: list[tuple[int, dict[str, Any]]] = []
    registers: dict[int, list[tuple[float, int]]] = {}
    value, log_index = 0, 0
    waiting = [(draw.random() * pace_s, thread, thread) for thread in range(10)]
    due = sorted(waiting)
    while due:
        at, thread, process = due.pop(0)
        if at > seconds - 1.2:
            continue
        key, node = draw.randrange(8), NODES[thread % 5]
        f = draw.choice(["read", "read", "write", "cas"])
        now = at / scale
        took = draw.lognormvariate(1.2, 0.5) / 1000
        cut = node == "n3" and 12.0 <= now < 18.0
        dead = node == "n2" and 6.0 <= now < 9.0
        leader = leader_at(now)
        argument: Any = None
        if f != "read":
            value += 1
            argument = value if f == "write" else [_latest(registers, key), value]
        call = {"process": process, "type": "invoke", "f": f, "key": key, "value": argument, "node": node}
        events.append((int(at * 1e9), call))
        reply: dict[str, Any] = {"process": process, "f": f, "key": key, "value": argument, "node": node}
        if dead:
            reply |= {"type": "fail", "error": "connection refused"}
            took = 0.0004
        elif leader is None or cut or (kind == "unavailable" and now >= 20.0):
            took = 1.0
            reply |= {"type": "fail" if f == "read" else "info", "error": "timeout after 1.0 s"}
        else:
            log_index += f != "read"
            reply |= {"type": "ok", "meta": {"term": leader[1], "log_index": log_index, "served_by": leader[0]}}
            if f == "read":
                reply["result"] = _latest(registers, key)
            elif f == "write" or argument[0] == _latest(registers, key):
                registers.setdefault(key, []).append((at, value))
                if f == "cas":
                    reply["result"] = True
            else:
                reply["result"] = False
        events.append((int((at + took) * 1e9), reply))
        process = process + 10 if reply["type"] == "info" else process
        due.append((at + took + draw.expovariate(1 / pace_s), thread, process))
        due.sort()
    if kind == "invalid":
        events += _lost_write(scale)
    finals = [(seconds - 0.5 + k * 0.01, k) for k in range(5)]
    for at, k in finals:
        call = {"process": 9000 + k, "f": "read", "key": k, "value": None, "node": NODES[k]}
        events.append((int(at * 1e9), {**call, "type": "invoke", "final": True}))
        if kind == "unavailable":
            events.append((int((at + 0.4) * 1e9), {**call, "type": "fail", "error": "no leader is known"}))
            continue
        events.append(
            (
                int((at + 0.004) * 1e9),
                {**call, "type": "ok", "result": _latest(registers, k), "meta": {"term": 3, "served_by": NODES[k]}},
            )
        )
    return events


def _lost_write(scale: float) -> list[tuple[int, dict[str, Any]]]:
    story = [
        (11.800, 0.004, 8001, "n1", "write", 90001, None, {"term": 2, "log_index": 990, "served_by": "n3"}, "before"),
        (12.377, 0.006, 8003, "n3", "write", 90002, None, {"term": 2, "log_index": 993, "served_by": "n3"}, "lost"),
        (12.702, 0.003, 8005, "n5", "read", None, 90001, {"term": 3, "log_index": 992, "served_by": "n5"}, "stale"),
    ]
    events: list[tuple[int, dict[str, Any]]] = []
    for at, took, process, node, f, value, result, meta, mark in story:
        call = {"process": process, "f": f, "key": "lost", "value": value, "node": node}
        events.append((int(at * scale * 1e9), {**call, "type": "invoke"}))
        events.append(
            (int((at * scale + took) * 1e9), {**call, "type": "ok", "result": result, "meta": meta, "mark": mark})
        )
    return events


def _latest(registers: dict[int, list[tuple[float, int]]], key: int) -> int | None:
    return registers[key][-1][1] if key in registers else None


def _nemesis(kind: str, scale: float) -> list[tuple[int, dict[str, Any]]]:
    lines: list[tuple[float, str, dict[str, Any]]] = [
        (0.0, "phase", {"phase": "load"}),
        (26.0, "phase", {"phase": "recover"}),
        (29.2, "phase", {"phase": "final"}),
    ]
    lines += [(at, "leader", {"leader": name, "term": term}) for at, name, term in LEADERS]
    for id_, (name, targets, at, end) in enumerate(FAULTS, 1):
        body = {"id": id_, "fault": {"name": name, "target": "leader"}, "targets": targets}
        if kind == "unknown" and name != "kill-leader":
            lines += [
                (at, name, {**body, "phase": "intend"}),
                (at + 0.01, name, {**body, "phase": "skip", "detail": {"why": "no leader was known"}}),
            ]
            continue
        lines += [
            (at - 0.01, name, {**body, "phase": "intend"}),
            (at, name, {**body, "phase": "inject", "landed": None}),
        ]
        lines += [
            (at + 0.05, name, {**body, "phase": "probe", "landed": True, "detail": {"n1->" + targets[0]: "dropped"}})
        ]
        lines += [
            (end, name, {**body, "phase": "heal"}),
            (end + 0.02, name, {**body, "phase": "heal-probe", "landed": True}),
        ]
    return [
        (int(at * scale * 1e9), {"process": "nemesis", "type": "info", "f": f, "value": value})
        for at, f, value in lines
    ]


def _pair(call: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    done = reply["type"] != "info"
    return {
        "process": call["process"],
        "f": call["f"],
        "key": call["key"],
        "value": call["value"],
        "call_ns": call["time_ns"],
        "return_ns": reply["time_ns"] if done else None,
        "outcome": reply["type"],
        "result": reply.get("result"),
        "call": call["index"],
        "ret": reply["index"] if done else None,
        "node": call["node"],
        "error": reply.get("error"),
        "meta": reply.get("meta", {}),
    }


def _run(seed: int, seconds: float) -> dict[str, Any]:
    config = {
        "system": "raft",
        "workload": "register",
        "faults": ["kill-leader", "partition", "pause-disk"],
        "seed": seed,
        "time_limit_s": seconds,
        "concurrency": 10,
    }
    argv = [
        "capsize",
        "run",
        "--system",
        "raft",
        "--workload",
        "register",
        "--faults",
        "kill-leader,partition,pause-disk",
        "--seed",
        str(seed),
    ]
    return {
        "config": config,
        "seed": seed,
        "argv": argv,
        "backend": {"name": "docker", "why": "an engine answered"},
        "nodes": NODES,
        "versions": {"capsize": "0.1.0", "python": "3.11"},
        "started_at": "2026-11-23T10:15:02Z",
        "origin_ns": ORIGIN_NS,
        "label": "capsize-7",
    }


def _verdict(kind: str, marked: dict[str, Any], count: int) -> dict[str, Any]:
    good: dict[str, Any] = {"valid": True, "because": []}
    axes = {axis: dict(good) for axis in ("safety", "liveness", "coverage", "harness")}
    anomalies: list[dict[str, Any]] = []
    valid: Any = True
    if kind == "unknown":
        valid = "unknown"
        axes["coverage"] = {
            "valid": "unknown",
            "because": ["2 of 3 faults were skipped: no leader was known when they were due"],
        }
    if kind == "harness":
        valid = "unknown"
        told = ["the recording ends before the run did: the tool was killed or broke"]
        axes["harness"] = {"valid": "unknown", "because": told}
    if kind == "unavailable":
        valid = False
        axes["liveness"] = {"valid": False, "because": ["no node answered within 30 s after everything was healed"]}
    if kind == "invalid":
        valid = False
        axes["safety"] = {
            "valid": False,
            "because": ["key lost: no order of its operations explains what the clients were told"],
        }
        before, lost, stale = (marked[word] for word in ("before", "lost", "stale"))
        at = lambda ns: f"{ns / 1e9:.3f} s"  # noqa: E731
        because = [
            f"p8003 was told at {at(lost['return_ns'])} that 90002 was written to key lost "
            f"(#{marked['lost#']}; served by n3 in term 2 at log index 993).",
            f"p8005 read 90001 from n5 (#{marked['stale#']}, called at {at(stale['call_ns'])}, term 3), "
            f"the value from before (#{marked['before#']}): 90002 is gone.",
            "The partition of n3 was active; n5 was elected in term 3 with last index 992: entry 993 was overwritten.",
        ]
        details = {
            "last_configurations": [
                {"linearized": 2, "state": "90001", "needed": "read 90002"},
                {"linearized": 1, "state": "90002", "needed": "read 90002"},
            ],
            "engine": "unique-values",
        }
        anomalies = [
            {
                "name": "lost-write",
                "key": "lost",
                "because": because,
                "operations": [before, lost, stale],
                "events": [],
                "details": details,
            }
        ]
    figures = {
        "linearizability": {"operations": count, "keys": 8, "engine": "unique-values", "steps": 48_120},
        "health": {"ok": 0.93, "faults": {"landed": 3, "tried": 3}},
    }
    return {"version": 1, "checker": "run", "valid": valid, "axes": axes, "anomalies": anomalies, "figures": figures}


def _traces(folder: Path, scale: float, seconds: float) -> None:
    for node in NODES:
        lines: list[str] = []
        incarnation, before = 1, {}
        step, now = 0.1, 0.0
        while now < 30.0:
            dead = node == "n2" and 6.0 <= now < 9.0
            if not dead:
                leader = leader_at(now)
                cut = node == "n3" and 12.0 <= now < 18.0
                role, term = "F", leader[1] if leader else (2 if now < 12 else 3)
                if cut:
                    role, term = "L", 2
                elif leader and leader[0] == node:
                    role = "L"
                elif leader is None and node in ("n3", "n5") and not cut:
                    role = "C"
                state: dict[str, Any] = {
                    "term": term,
                    "vote": None,
                    "role": role,
                    "commit": int(now * 80),
                    "last": [int(now * 80) + 2, term],
                }
                word = "commit"
                if not before or (node == "n2" and 9.0 <= now < 9.0 + step):
                    word, incarnation = "recover", incarnation + (1 if before else 0)
                    before = {}
                elif before.get("role") != role:
                    word = {"L": "become_leader", "C": "become_candidate", "F": "become_follower"}[role]
                delta = {key: value for key, value in state.items() if before.get(key, "") != value}
                before = state
                mono = ORIGIN_NS + int(now * scale * 1e9)
                lines.append(
                    json.dumps(
                        {"v": 1, "node": node, "inc": incarnation, "mono": mono, "wall": mono, "ev": word, "st": delta}
                    )
                )
            now += step
        path = folder / "nodes" / node
        path.mkdir(parents=True, exist_ok=True)
        (path / "trace.jsonl").write_text("\n".join(lines) + "\n")

"""A map means one thing: the kv model, the reference Raft's state machine, and the changes made for other stores."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from capsize.checker.models import Inconsistent, KeyValue
from capsize.cluster.revision import Found, change
from capsize.errors import DefiniteError
from capsize.op import Invocation, Operation, Value, freeze
from capsize.raft.state_machine import StateMachine

VALUES: list[Value] = [None, 0, 1, 2, True, False, 1.0, 1.5, "", "a", "b;", (), (1,), (True,), ("a", 2)]


class Memory:
    """A revision store that is never overtaken; what it keeps goes through JSON, as with a real one."""

    def __init__(self) -> None:
        self.kept: dict[Value, str] = {}
        self.revision = 0

    def latest(self, key: Value) -> Found:
        return Found(freeze(json.loads(self.kept.get(key, "null"))), self.revision)

    def write_if(self, key: Value, value: Value, revision: int) -> Mapping[str, Value] | None:
        assert revision == self.revision
        self.kept[key] = json.dumps(value)
        self.revision += 1
        return {}


class InRevisions:
    """The operations as an adapter of a store with revisions carries them out."""

    def __init__(self) -> None:
        self.store = Memory()

    def invoke(self, f: str, value: Value) -> tuple[bool, Value]:
        if f == "get":
            return True, self.store.latest("k").value
        if f in ("put", "delete"):
            self.store.write_if("k", value, self.store.revision)
            return True, None
        try:
            return True, change(self.store, Invocation(f, "k", value)).result
        except DefiniteError:
            return False, None


class InRaft:
    """The operations as the reference Raft carries them out: values as JSON has them."""

    def __init__(self) -> None:
        self.machine = StateMachine()

    def invoke(self, f: str, value: Value) -> tuple[bool, Value]:
        if f == "get":
            return True, freeze(json.loads(json.dumps(self.machine.values.get(json.dumps("k")))))
        result = self.machine.execute(f, "k", json.loads(json.dumps(value)))
        return result[0] == "ok", freeze(result[1])


def drawn(dice: random.Random) -> tuple[str, Value]:
    f = dice.choice(["get", "get", "put", "delete", "cas", "append", "append", "incr"])
    if f == "cas":
        return f, (dice.choice(VALUES), dice.choice(VALUES))
    if f == "incr":
        return f, dice.choice([None, 1, -2, 3])
    return f, dice.choice(VALUES) if f in ("put", "append") else None


@pytest.mark.parametrize("place", [InRaft, InRevisions])
def test_what_was_answered_is_what_the_model_says(place: Any) -> None:
    model, refused = KeyValue(), 0
    for number in range(600):
        dice = random.Random(f"maps/{number}")
        state, there, story = model.init(), place(), list[Any]()
        for _ in range(dice.randrange(1, 9)):
            f, value = drawn(dice)
            done, result = there.invoke(f, value)
            story.append((f, value, result if done else "fail"))
            if not done:
                refused += 1
                continue
            following = model.step(state, Operation(0, f, "k", value, 0, 1, "ok", result))
            assert not isinstance(following, Inconsistent), f"{following.reason}: {story}"
            state = following
        done, result = there.invoke("get", None)
        assert not isinstance(model.step(state, Operation(0, "get", "k", None, 0, 1, "ok", result)), Inconsistent), (
            story
        )
    assert refused > 50  # what cannot be done is refused, and changes nothing


@pytest.mark.parametrize("place", [InRaft, InRevisions])
def test_an_append_to_an_absent_key_is_the_item_itself(place: Any) -> None:
    for item, after, both in (("3;", "5;", "3;5;"), ((3,), 5, (3, 5)), ((3,), (5, 8), (3, 5, 8))):
        there = place()
        assert there.invoke("append", item) == (True, None)
        assert there.invoke("get", None) == (True, item)
        assert there.invoke("append", after) == (True, None)
        assert there.invoke("get", None) == (True, both)
        model = KeyValue()
        one = model.step(model.init(), Operation(0, "append", "k", item, 0, 1, "ok"))
        assert one == item
        assert model.step(one, Operation(0, "append", "k", after, 0, 1, "ok")) == both

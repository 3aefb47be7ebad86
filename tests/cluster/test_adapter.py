"""Adapters are validated when they are loaded, and whatever they do is told with the hook and the expectation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from capsize.client import Client
from capsize.cluster import adapter
from capsize.cluster.adapter import guard, load, make, validate
from capsize.cluster.node import Command, Node
from capsize.cluster.system import System
from capsize.errors import AdapterError, UsageError
from capsize.op import Invocation, Reply


class Fine(System):
    name = "fine"

    def install(self, node: Node) -> None: ...

    def command(self, node: Node) -> Command:
        return Command(("true",))

    def client(self, node: Node, process: int) -> Client:
        return Nonsense()


class Nonsense(Client):
    def invoke(self, op: Invocation) -> Reply:
        answer: Any = "yes"
        return answer

    def close(self) -> None:
        raise ValueError("was never open")


NODE: Any = "n1"


def test_every_installed_system_is_valid() -> None:
    for word in ("raft", "etcd", "nats", "pysyncobj"):
        assert validate(load(word)) == []


def test_everything_that_is_wrong_is_told_at_once() -> None:
    class Wrong(System):
        options = ["fsync"]  # type: ignore[assignment]  # noqa: RUF012

        async def install(self, node: Node) -> None: ...  # type: ignore[override]

        def comand(self, node: Node) -> Command:
            raise NotImplementedError

        def client(self, node: Node) -> Client:  # type: ignore[override]
            raise NotImplementedError

    told = "\n".join(validate(Wrong))
    for part in ("install is async", "command(", "is it command?", "client is called as", "name is ''", "options is"):
        assert part in told


def test_what_is_no_adapter_is_refused() -> None:
    class Unknown(Fine):
        left_out = {"ad_member": "no"}  # noqa: RUF012

    assert "left_out names 'ad_member'; expected one of status, " in "\n".join(validate(Unknown))
    assert validate(3) == ["it is int, no class"]
    assert validate(dict) == ["it is no subclass of capsize.cluster.system.System"]
    with pytest.raises(UsageError, match="did you mean 'etcd'"):
        load("etdc")
    with pytest.raises(UsageError, match="did you mean 'version'"):
        make("etcd", {"verson": "3.4"})
    with pytest.raises(UsageError, match="expected linearizable or serializable"):
        make("etcd", {"reads": "stale"})


def test_what_a_hook_raises_names_the_hook() -> None:
    class Raising(Fine):
        def install(self, node: Node) -> None:
            raise KeyError("version")

    with pytest.raises(
        AdapterError, match=r"Raising\.install\('n1'\) raised KeyError: 'version' \(test_adapter\.py:\d+\)"
    ):
        guard(Raising()).install(NODE)


def test_what_a_hook_returns_is_checked() -> None:
    class Returning(Fine):
        def command(self, node: Node) -> Command:
            return ["sleep", "9"]  # type: ignore[return-value]

    with pytest.raises(AdapterError, match=r"returned \['sleep', '9'\]; expected a Command"):
        guard(Returning()).command(NODE)


@pytest.mark.parametrize(
    ("hook", "arguments", "returned", "told"),
    [
        ("traces", 1, "trace.jsonl", "expected a tuple of file names"),
        ("refuses", 1, ["network"], "expected a dict: capability -> why"),
        ("own_client", 3, "client", "expected a Client or None"),
        ("members", 1, "n1,n2", "expected a tuple of node names"),
        ("members", 1, (1, 2), "expected a tuple of node names"),
        ("failpoints", 0, ("after_append",), "expected a dict: name -> one line of description"),
        ("replica", 2, "digest", r"expected \(how far it has applied, a digest\)"),
        ("dump_log", 1, [{"index": 1}], "expected entries, each with a whole index and term"),
    ],
)
def test_what_an_optional_hook_returns_is_checked(hook: str, arguments: int, returned: object, told: str) -> None:
    names = ("a", "b", "c")[:arguments]
    scope: dict[str, Any] = {"returned": returned}
    exec(f"def {hook}(self, {', '.join(names)}): return returned", scope)  # called as it is, whatever its signature
    cls = type("Odd", (Fine,), {hook: scope[hook]})
    with pytest.raises(AdapterError, match=f"Odd.{hook}.* returned .*{told}"):
        getattr(guard(cls()), hook)(*([NODE] * arguments))


def test_every_hook_that_may_hang_is_bounded_and_each_that_returns_is_checked() -> None:
    assert adapter.HOOKS.keys() - adapter.WITHIN_S.keys() == {"status"}  # bounded by whoever polls
    nothing = {"prepare", "install", "transfer_leadership", "add_member", "remove_member", "snapshot", "arm"}
    assert adapter.HOOKS.keys() - adapter.RETURNS.keys() == nothing


def test_an_optional_hook_that_is_called_otherwise_is_told() -> None:
    class Odd(Fine):
        def add_member(self, node: Node) -> None: ...  # type: ignore[override]

        async def snapshot(self, node: Node) -> None: ...  # type: ignore[override]

    told = "; ".join(validate(Odd))
    assert "add_member is called as add_member(through, node): it takes (node)" in told
    assert "snapshot is async" in told


def test_a_hook_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    class Hanging(Fine):
        def install(self, node: Node) -> None:
            threading.Event().wait(5)

    monkeypatch.setattr(adapter, "WITHIN_S", {"install": 0.1})
    with pytest.raises(AdapterError, match=r"Hanging\.install\('n1'\) did not return within 0\.1 s"):
        guard(Hanging()).install(NODE)


def test_a_client_that_answers_nonsense_is_named_and_closing_never_raises() -> None:
    client = guard(Fine()).client(NODE, 1)
    with pytest.raises(AdapterError, match=r"client returned 'yes' from invoke\('read'\); expected a Reply"):
        client.invoke(Invocation("read", 1))
    client.close()


def test_a_toml_file_is_told_everything_that_is_wrong_with_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('fils = []\nports = "raft"\n[node]\ncommand = []\n')
    with pytest.raises(AdapterError) as error:
        load(str(file))
    for part in (
        "nothing is called fils",
        "ports is 'raft'",
        "name is missing",
        "node.command is",
        "client.command is",
    ):
        assert part in str(error.value)
    file.write_text('name = "mine"\n[node]\ncommand = ["{instal}/x"]\n[client]\ncommand = ["x", "{reach.raft}"]\n')
    with pytest.raises(AdapterError, match=r"node.command: nothing is called \{instal\}.*\{reach.raft\}"):
        load(str(file))

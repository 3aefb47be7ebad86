"""What an adapter must be, checked when it is loaded; and a guard that names the hook, the node and the expectation.

An adapter is somebody else's code: whatever it raises, returns or never returns is told in its own words, as one line.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from capsize.client import Client
from capsize.cluster import described
from capsize.cluster.node import Command, Node
from capsize.cluster.system import OPTIONAL, NodeStatus, System
from capsize.errors import AdapterError, CapsizeError, DefiniteError, no_such
from capsize.op import Reply
from capsize.registry import load_system

log = logging.getLogger(__name__)
S = TypeVar("S", bound=System)

HOOKS: Mapping[str, inspect.Signature] = {
    name: inspect.signature(member)
    for name, member in vars(System).items()
    if inspect.isfunction(member) and not name.startswith("_") and name not in ("capabilities", "has_own_clients")
}
"""Every hook of the contract and how it is called."""

WITHIN_S: Mapping[str, float] = {
    "prepare": 600.0, "install": 120.0, "command": 10.0, "client": 10.0, "own_client": 10.0, "refuses": 10.0,
    "traces": 10.0, "failpoints": 10.0, "members": 10.0, "replica": 20.0, "arm": 10.0, "transfer_leadership": 30.0,
    "add_member": 30.0, "remove_member": 30.0, "snapshot": 30.0, "dump_log": 60.0,
}  # fmt: skip
"""How long a hook may take before it counts as hanging; `status` is bounded by whoever polls."""


def _is(kind: type) -> Callable[[object], bool]:
    return lambda result: isinstance(result, kind)


def _texts(result: object) -> bool:
    return isinstance(result, tuple | list) and all(isinstance(word, str) for word in result)


def _lines(result: object) -> bool:
    return isinstance(result, Mapping) and all(isinstance(k, str) and isinstance(v, str) for k, v in result.items())


def _replica(result: object) -> bool:
    return isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], int) and isinstance(result[1], str)


def _entries(result: object) -> bool:
    return isinstance(result, tuple | list) and all(
        isinstance(entry, Mapping) and isinstance(entry.get("index"), int) and isinstance(entry.get("term"), int)
        for entry in result
    )


RETURNS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "command": ("a Command", _is(Command)),
    "client": ("a Client", _is(Client)),
    "own_client": ("a Client or None", lambda result: result is None or isinstance(result, Client)),
    "status": ("a NodeStatus", _is(NodeStatus)),
    "traces": ("a tuple of file names", _texts),
    "refuses": ("a dict: capability -> why", _lines),
    "members": ("a tuple of node names", _texts),
    "failpoints": ("a dict: name -> one line of description", _lines),
    "replica": ("(how far it has applied, a digest)", _replica),
    "dump_log": ("entries, each with a whole index and term", _entries),
}
"""What a hook must return, in words and as a test."""


def validate(cls: object) -> list[str]:
    """Return everything that is wrong with an adapter's class, each in one sentence; an empty list when nothing is.

    >>> class Forgetful(System):
    ...     name = "forgetful"
    ...     def install(self, node): ...
    ...     def comand(self, node): ...
    ...     def client(self, node): ...
    >>> for problem in validate(Forgetful):
    ...     print(problem)
    command(self, node: Node) -> Command is missing
    client is called as client(node, process): it takes (node)
    comand is no hook: is it command?
    """
    if not isinstance(cls, type):
        return [f"it is {type(cls).__name__}, no class"]
    if not issubclass(cls, System):
        return ["it is no subclass of capsize.cluster.system.System"]
    problems: list[str] = []
    for name, signature in HOOKS.items():
        if name in cls.__abstractmethods__:
            problems.append(f"{name}{_shown(signature)} is missing")
        elif getattr(cls, name) is not getattr(System, name):
            problems += _hook_problems(cls, name, signature)
    for name, member in vars(cls).items():
        near = difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.8)
        if near and name not in HOOKS and inspect.isfunction(member) and near[0] not in vars(cls):
            problems.append(f"{name} is no hook: is it {near[0]}?")
    return problems + _fact_problems(cls)


def load(word: str) -> type[System]:
    """Return the valid adapter called `word`: an installed system, `module:Class`, or a `file.toml`.

    Raises UsageError for a word that stands for nothing, AdapterError with everything that is wrong with an adapter.
    """
    if word.endswith(".toml"):
        return described.load(Path(word).expanduser())
    cls: object = load_system(word)
    problems = validate(cls)
    if problems or not (isinstance(cls, type) and issubclass(cls, System)):
        counted = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise AdapterError(f"the adapter {word} has {counted}: {'; '.join(problems)} (docs/hooks.md)")
    return cls


def make(word: str, options: Mapping[str, str]) -> System:
    """Return a new, guarded adapter of the system `word` with these options; raises UsageError or AdapterError."""
    cls = load(word)
    for option in options:
        if option not in cls.options:
            raise no_such(f"option of {word}", option, cls.options, flag="--opt", listing="systems")
    try:
        return guard(cls(**options))
    except CapsizeError:
        raise
    except Exception as error:  # an adapter's own code
        raise AdapterError(f"the adapter {word} refused its options: {type(error).__name__}: {error}") from error


def guard(system: S) -> S:
    """Return the same adapter with every hook guarded: errors are told as AdapterError, hanging and nonsense too."""
    for name in HOOKS:
        if not _guarded(getattr(system, name)):
            setattr(system, name, _guard_hook(system, name, getattr(system, name)))
    return system


def _guard_hook(system: System, name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
    who = type(system).__name__

    @functools.wraps(hook)
    def guarded(*args: Any) -> Any:
        told = ", ".join(arg.name if isinstance(arg, Node) else repr(arg) for arg in args)
        where = f"{who}.{name}({told})"
        result = _bounded(where, name, hook, args)
        expected = RETURNS.get(name)
        if expected is not None and not expected[1](result):
            raise AdapterError(f"{where} returned {_brief(result)}; expected {expected[0]}")
        if isinstance(result, Client):
            _guard_client(result, who)
        return result

    guarded.__dict__["capsize_guarded"] = True
    return guarded


def _bounded(where: str, name: str, hook: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call the hook; in a thread of its own where it has a bound, which a hook that hangs is left behind in."""
    outcome: list[Any] = []
    failure: list[BaseException] = []

    def call() -> None:
        try:
            outcome.append(hook(*args))
        except BaseException as error:
            failure.append(error)

    if name not in WITHIN_S:
        call()
    else:
        thread = threading.Thread(target=call, name=where, daemon=True)
        thread.start()
        thread.join(WITHIN_S[name])
        if thread.is_alive():
            raise AdapterError(f"{where} did not return within {WITHIN_S[name]:g} s")
    if failure:
        error = failure[0]
        if name in WITHIN_S and isinstance(error, Exception) and not isinstance(error, CapsizeError | DefiniteError):
            raise AdapterError(f"{where} raised {type(error).__name__}: {error}{_line_of(error)}") from error
        raise error
    return outcome[0]


def _guard_client(client: Client, who: str) -> None:
    """Make nonsense from `invoke` tell what it is, instead of failing wherever it is used; `close` never raises."""
    invoke, close = client.invoke, client.close
    if _guarded(invoke):
        return

    @functools.wraps(close)
    def closed() -> None:
        try:
            close()
        except Exception:  # a clean-up: often the client was never open
            log.debug("%s's client could not be closed", who, exc_info=True)

    @functools.wraps(invoke)
    def guarded(op: Any) -> Any:
        reply: Any = invoke(op)
        if not isinstance(reply, Reply):
            raise AdapterError(f"{who}'s client returned {_brief(reply)} from invoke({op.f!r}); expected a Reply")
        return reply

    guarded.__dict__["capsize_guarded"] = True
    try:
        client.invoke = guarded  # type: ignore[method-assign]
        client.close = closed  # type: ignore[method-assign]
    except AttributeError:  # a class with slots goes unguarded
        return


def _guarded(hook: Any) -> bool:
    return getattr(hook, "capsize_guarded", False) is True


def _hook_problems(cls: type, name: str, expected: inspect.Signature) -> list[str]:
    """Tell when a hook cannot be called the way it is called."""
    member = inspect.getattr_static(cls, name)
    if isinstance(member, staticmethod | classmethod) or not inspect.isfunction(member):
        return [f"{name} is {type(member).__name__}; expected a plain method"]
    if inspect.iscoroutinefunction(member):
        return [f"{name} is async; expected a plain method (it is never awaited)"]
    given = inspect.signature(member)
    names = list(expected.parameters)[1:]
    try:
        given.bind(None, *names)
    except TypeError:
        taken = ", ".join(str(given.parameters[item].name) for item in list(given.parameters)[1:])
        return [f"{name} is called as {name}({', '.join(names)}): it takes ({taken})"]
    return []


def _fact_problems(cls: type[System]) -> list[str]:
    """Tell what is wrong with the class's facts: name, options, and that it can be made from its options."""
    problems: list[str] = []
    name: Any = cls.name
    if not isinstance(name, str) or not name:
        problems.append(f"name is {name!r}; expected a word, e.g. name = {cls.__name__.lower()!r}")
    lacks: Any = cls.lacks
    if not isinstance(lacks, set | frozenset) or not all(isinstance(word, str) for word in lacks):
        problems.append(f"lacks is {_brief(lacks)}; expected a set of operations, e.g. {{'cas'}}")
    left_out: Any = cls.left_out
    if not isinstance(left_out, Mapping) or not all(isinstance(why, str) for why in left_out.values()):
        problems.append(f"left_out is {_brief(left_out)}; expected a dict: optional hook -> why it is not there")
    else:
        known = ", ".join(OPTIONAL)
        problems += [f"left_out names {hook!r}; expected one of {known}" for hook in left_out if hook not in OPTIONAL]
    options: Any = cls.options
    if not isinstance(options, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in options.items()):
        return [*problems, f"options is {_brief(options)}; expected a dict: option name -> one line of description"]
    try:
        inspect.signature(cls).bind(**dict.fromkeys(options, ""))
    except TypeError as error:
        problems.append(f"it cannot be made from its options ({', '.join(options) or 'none'}): {error}")
    return problems


def _shown(signature: inspect.Signature) -> str:
    return str(signature).replace("'", "")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _line_of(error: Exception) -> str:
    """Say where in the adapter it was raised: the innermost line of the traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})"

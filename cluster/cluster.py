"""A running system on a place: every node of it started, known, and taken down together."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import TypeVar

from capsize.client import Client
from capsize.cluster.backend import Backend
from capsize.cluster.node import SIGTERM, Node
from capsize.cluster.system import NodeStatus, System
from capsize.errors import AdapterError, BackendError, CapsizeError
from capsize.op import Invocation

log = logging.getLogger(__name__)
T = TypeVar("T")
READY_KEY = "capsize-ready"
"""The key that `wait_ready` writes; no workload uses it."""
READY_PROCESS = 10**9


class Cluster:
    """`system` on the `nodes` that `backend` made. Methods may be called from any thread."""

    def __init__(self, system: System, backend: Backend, nodes: Sequence[Node]) -> None:
        self.system = system
        self.backend = backend
        self.nodes: tuple[Node, ...] = tuple(nodes)
        self._pool = ThreadPoolExecutor(max(1, 4 * len(self.nodes)), thread_name_prefix="cluster")
        self._polls: dict[str, Future[NodeStatus]] = {}
        self._silent: dict[str, Exception] = {}
        """Why a node's last status is not there."""

    def node(self, name: str) -> Node:
        """Return the node of that name; raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    # -- many nodes at once ----------------------------------------------------------------------------------
    def at_once(self, action: Callable[[Node], T], nodes: Iterable[Node] | None = None) -> dict[str, T | Exception]:
        """Do the same to many nodes at the same moment; return each node's result, or the error it raised.

        Nothing is raised here: a fault that lands on two of three nodes has to be healed on all of them.
        """
        chosen = self.nodes if nodes is None else tuple(nodes)
        running = [(node, self._pool.submit(action, node)) for node in chosen]
        results: dict[str, T | Exception] = {}
        for node, future in running:
            error = future.exception()
            if error is None:
                results[node.name] = future.result()
            elif isinstance(error, Exception):
                results[node.name] = error
            else:
                raise error
        return results

    def _on_all(self, what: str, action: Callable[[Node], object]) -> None:
        """Do it on all nodes; raise one error that names every node on which it failed."""
        failed = {name: error for name, error in self.at_once(action).items() if isinstance(error, Exception)}
        if not failed:
            return
        for error in failed.values():
            if not isinstance(error, CapsizeError | OSError):
                raise error
        told = _told_once({name: str(error) for name, error in failed.items()})
        raise AdapterError(f"{self.system.name}: {what} failed on {len(failed)} of {len(self.nodes)} nodes: {told}")

    # -- bringing it up --------------------------------------------------------------------------------------
    def prepare(self, needs: frozenset[str]) -> None:
        """Have every node ready for faults that need "clock", "monotonic" or "pressure"; before `start`.

        Raises Refused, naming the node, for what cannot be had there.
        """
        wanted = needs & {"clock", "monotonic", "pressure"}
        if wanted:
            for error in self.at_once(lambda node: node.prepare(wanted)).values():
                if isinstance(error, Exception):
                    raise error

    def start(self) -> None:
        """Install the system on every node, then start every node."""
        self.system.nodes = self.nodes
        self._on_all("install", self.system.install)
        self._on_all("start", lambda node: node.start(self.system.command(node)))

    def wait_ready(self, timeout_s: float = 30.0, *, write: Callable[[Client], object] | None = None) -> float:
        """Wait until a leader is known (where the system tells) and a write was accepted; return the seconds it took.

        `write` is tried on each node in turn; by default it writes the key `capsize-ready`.
        Raises AdapterError saying what was still missing, and what became of each process.
        """
        began = time.monotonic()
        deadline = began + timeout_s
        tells = "status" in self.system.capabilities()
        last = "nothing was tried"
        attempt = 0
        while time.monotonic() < deadline:
            if tells and self.leader()[0] is None:
                last = f"no node says that it is the leader{self._silence()}"
            else:
                node = self.nodes[attempt % len(self.nodes)]
                attempt += 1
                error = self._try_write(node, write or _write_ready, deadline)
                if error is None:
                    return time.monotonic() - began
                last = f"a write on {node.name} was not accepted: {type(error).__name__}: {error}"
            self._raise_if_all_dead()
            time.sleep(0.02)
        raise AdapterError(f"{self.system.name} was not ready within {timeout_s:g} s: {last}; {self._processes()}")

    def _try_write(self, node: Node, write: Callable[[Client], object], deadline: float) -> Exception | None:
        client = self.system.client(node, READY_PROCESS)
        client.timeout_s = max(0.1, min(2.0, deadline - time.monotonic()))
        try:
            client.open()
            write(client)
        except AdapterError:  # nonsense from the adapter: waiting makes no sense of it
            raise
        except Exception as error:  # a client call: whatever it raises means "not ready yet", and is told in the end
            return error
        finally:
            client.close()
        return None

    def _silence(self) -> str:
        """Say why nodes say nothing of themselves; raises what an adapter's status should not have returned."""
        for error in self._silent.values():
            if isinstance(error, AdapterError):
                raise error
        told = [f"{name}: {type(error).__name__}: {error}" for name, error in sorted(self._silent.items())]
        return f" ({'; '.join(told)})" if told else ""

    def _raise_if_all_dead(self) -> None:
        states = self.at_once(lambda node: node.process())
        if all(not isinstance(state, Exception) and not state.alive for state in states.values()):
            raise AdapterError(f"{self.system.name}: every node's process has ended; {self._processes()}")

    def _processes(self) -> str:
        told: list[str] = []
        for name, state in self.at_once(lambda node: node.process()).items():
            if isinstance(state, Exception):
                told.append(str(state))
            elif state.alive:
                told.append(f"{name} runs (pid {state.pid})")
            else:
                words = _last_line(self.node(name), self.system)
                told.append(f"{name} has ended (code {state.code})" + (f": {words}" if words else ""))
        return "; ".join(told)

    # -- what it says of itself ------------------------------------------------------------------------------
    def statuses(self, timeout_s: float = 1.0) -> dict[str, NodeStatus | None]:
        """Poll every node at once; None for one that does not answer in time, or does not tell.

        A node that hangs is not asked again before it has answered or failed: polls never pile up.
        """
        if "status" not in self.system.capabilities():
            return {node.name: None for node in self.nodes}
        for node in self.nodes:
            if node.name not in self._polls or self._polls[node.name].done():
                self._polls[node.name] = self._pool.submit(self.system.status, node)
        deadline = time.monotonic() + timeout_s
        answers: dict[str, NodeStatus | None] = {}
        for node in self.nodes:
            try:
                answers[node.name] = self._polls[node.name].result(max(0.0, deadline - time.monotonic()))
                self._silent.pop(node.name, None)
            except FutureTimeout:
                answers[node.name] = None
                self._silent[node.name] = TimeoutError(f"status() did not return within {timeout_s:g} s")
            except Exception as error:  # a client call: a node that is down, cut off or frozen says nothing
                log.debug("%s: no status: %s", node.name, error)
                answers[node.name] = None
                self._silent[node.name] = error
        return answers

    def leader(self, timeout_s: float = 1.0) -> tuple[Node | None, int | None]:
        """Return the node that says it leads, with its term; of several, the one of the highest term."""
        name, term = leading(self.statuses(timeout_s))
        return (self.node(name) if name is not None else None), term

    # -- one node --------------------------------------------------------------------------------------------
    def kill(self, node: Node, *, wait_s: float = 5.0) -> bool:
        """End the node's process with SIGKILL; return whether it is gone."""
        return node.kill(wait_s=wait_s)

    def restart(self, node: Node) -> int:
        """Start the node's process again with its data as it is; return the pid (a running one is kept)."""
        return node.start(self.system.command(node))

    # -- taking it down --------------------------------------------------------------------------------------
    def heal(self) -> Sequence[str]:
        """Undo every fault on every node; return one sentence for each that could not be undone."""
        return self.backend.heal()

    def stop(self, *, grace_s: float = 3.0) -> None:
        """End every node's process: SIGTERM, and SIGKILL for those that are still there after `grace_s`."""

        def end(node: Node) -> None:
            node.signal(SIGTERM)
            deadline = time.monotonic() + grace_s
            while node.process().alive and time.monotonic() < deadline:
                time.sleep(0.01)
            node.kill()

        for name, error in self.at_once(end).items():
            if isinstance(error, Exception):
                log.warning("%s could not be stopped: %s", name, error)

    def collect(self, folder: Path, *, data: bool = False) -> list[str]:
        """Stop the systems, then copy each node's logs and traces to `folder`/<node>/ (and its data, if asked).

        Returns one sentence for each thing that could not be had; never raises for a node.
        """
        self.stop()
        problems: list[str] = []

        def fetch(node: Node) -> None:
            target = folder / node.name
            node.download(node.log_dir, target)
            if data:
                node.download(node.data_dir, target / "data")

        for name, error in self.at_once(fetch).items():
            if isinstance(error, BackendError | OSError):
                problems.append(f"{name}: logs could not be collected: {error}")
            elif isinstance(error, Exception):
                raise error
        return problems

    def destroy(self) -> None:
        """Take the whole place away; idempotent."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.backend.destroy()


def leading(statuses: Mapping[str, NodeStatus | None]) -> tuple[str | None, int | None]:
    """Return who says that it leads, with its term; of several, the one of the highest term."""
    found = [
        (status.term if status.term is not None else -1, name)
        for name, status in statuses.items()
        if status is not None and status.role == "leader"
    ]
    if not found:
        return None, None
    term, name = max(found)
    return name, (term if term >= 0 else None)


def _write_ready(client: Client) -> None:
    client.invoke(Invocation("write", READY_KEY, "yes"))


def _last_line(node: Node, system: System) -> str:
    try:
        path = f"{node.log_dir}/{system.command(node).log}"
        lines = node.read_tail(path, 0)[0].decode(errors="replace").strip().splitlines()
    except (CapsizeError, OSError):
        return ""
    return lines[-1] if lines else ""


def _told_once(errors: Mapping[str, str]) -> str:
    """Return what the nodes say, once where several say the same but for their own name.

    >>> _told_once({"n1": "n1: no curl", "n2": "n2: no curl", "n3": "no disk"})
    'n1, n2: no curl; n3: no disk'
    """
    alike: dict[str, list[str]] = {}
    for name, error in errors.items():
        alike.setdefault(re.sub(rf"\b{re.escape(name)}\b", "\0", error), []).append(name)
    told: list[str] = []
    for text, names in alike.items():
        own = text.removeprefix("\0:").strip().replace("\0", names[0])
        told.append(f"{', '.join(names)}: {own}")
    return "; ".join(told)

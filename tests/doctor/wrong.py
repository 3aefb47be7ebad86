"""Adapters of the reference Raft, each wrong in one way that the doctor must name."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from capsize.client import Client
from capsize.cluster.node import Command, Node
from capsize.cluster.system import NodeStatus
from capsize.cluster.systems.raft import ReferenceRaft
from capsize.errors import DefiniteError
from capsize.op import Invocation, Reply


class Around(Client):
    """A client around the right one."""

    def __init__(self, system: Wrong, node: Node, process: int) -> None:
        self.system, self.node, self.process = system, node, process
        self.inner = self.made(node)

    def made(self, node: Node) -> Client:
        return ReferenceRaft.client(self.system, node, self.process)

    def open(self) -> None:
        self.inner.timeout_s = self.timeout_s
        self.inner.open()

    def invoke(self, op: Invocation) -> Reply:
        return self.inner.invoke(op)

    def close(self) -> None:
        self.inner.close()


class Wrong(ReferenceRaft):
    name = "wrong"
    around: type[Around] = Around

    def client(self, node: Node, process: int) -> Client:
        return self.around(self, node, process)


def shell(command: Command, script: str) -> Command:
    """Run the command's words as "$@" of a shell script."""
    return replace(command, argv=("sh", "-c", script, "sh", *command.argv))


class RefusedIsInfo(Wrong):
    class around(Around):  # noqa: N801
        def open(self) -> None:
            return

        def invoke(self, op: Invocation) -> Reply:
            try:
                super().open()
            except DefiniteError as error:
                raise ConnectionError(str(error)) from error
            return super().invoke(op)


class TimeoutIsFail(Wrong):
    class around(Around):  # noqa: N801
        def invoke(self, op: Invocation) -> Reply:
            try:
                return super().invoke(op)
            except TimeoutError as error:
                raise DefiniteError("timed out") from error


class HasNoCas(Wrong):
    class around(Around):  # noqa: N801
        def invoke(self, op: Invocation) -> Reply:
            if op.f == "cas":
                raise DefiniteError("there is no cas here")
            return super().invoke(op)


class SaysItHasNoCas(Wrong):
    lacks = frozenset({"cas"})


class LostAnswerIsFail(Wrong):
    class around(Around):  # noqa: N801
        def invoke(self, op: Invocation) -> Reply:
            try:
                return super().invoke(op)
            except ConnectionError as error:
                raise DefiniteError("the connection was lost") from error


class RetriesInSecret(Wrong):
    class around(Around):  # noqa: N801
        def invoke(self, op: Invocation) -> Reply:
            try:
                return super().invoke(op)
            except (OSError, TimeoutError):
                self.close()
                self.inner = self.made(self.node)
                self.open()
                return self.inner.invoke(op)


class NeverGivesUp(Wrong):
    class around(Around):  # noqa: N801
        def open(self) -> None:
            self.inner.timeout_s = 4.0
            self.inner.open()


class AsksAnotherNode(Wrong):
    class around(Around):  # noqa: N801
        def open(self) -> None:
            for node in (self.node, *self.system.nodes):
                self.inner = self.made(node)
                try:
                    return super().open()
                except DefiniteError:
                    continue
            raise DefiniteError("no node answers")


class Remembers(Wrong):
    class around(Around):  # noqa: N801
        def __init__(self, system: Wrong, node: Node, process: int) -> None:
            super().__init__(system, node, process)
            self.seen: dict[Any, Reply] = {}

        def invoke(self, op: Invocation) -> Reply:
            if op.f == "read" and op.key in self.seen:
                return self.seen[op.key]
            reply = super().invoke(op)
            if op.f == "read":
                self.seen[op.key] = reply
            return reply


class ReadsText(Wrong):
    class around(Around):  # noqa: N801
        def invoke(self, op: Invocation) -> Reply:
            reply = super().invoke(op)
            return Reply(str(reply.result)) if op.f == "read" and reply.result is not None else reply


class LetsGo(Wrong):
    def command(self, node: Node) -> Command:
        return shell(super().command(node), 'setsid "$@" & exec sleep 600')


class ForgetsOnRestart(Wrong):
    def command(self, node: Node) -> Command:
        return shell(super().command(node), f'rm -rf "{node.data_dir}"/*; exec "$@"')


class KeepsItElsewhere(Wrong):
    def config(self, node: Node) -> dict[str, Any]:
        return super().config(node) | {"data_dir": f"{node.install_dir}/data"}


class NeverNew(Wrong):
    """Keeps its data in a place that outlives the cluster."""

    place = Path(tempfile.gettempdir()) / f"capsize-never-new-{os.getpid()}"

    def config(self, node: Node) -> dict[str, Any]:
        return super().config(node) | {"data_dir": str(self.place / node.name)}


class NamesTheNext(Wrong):
    def status(self, node: Node) -> NodeStatus:
        said = super().status(node)
        names = [node.name for node in self.nodes]
        named = names[(names.index(said.leader) + 1) % len(names)] if said.leader else None
        return replace(said, leader=named, role="leader" if named == node.name else "follower")


class TermsStandStill(Wrong):
    def status(self, node: Node) -> NodeStatus:
        return replace(super().status(node), term=1)


class LogsNothing(Wrong):
    def command(self, node: Node) -> Command:
        return shell(super().command(node), 'exec "$@" >/dev/null 2>&1')


class NamesNoTrace(Wrong):
    def traces(self, node: Node) -> tuple[str, ...]:
        return ("no-such-trace.jsonl",)


class CannotStart(Wrong):
    def command(self, node: Node) -> Command:
        return Command(("sh", "-c", "echo no such option: --peers >&2; exit 2"))


class ComesBack(Wrong):
    """Something that starts the server again by itself: no restart ever loses anything."""

    def command(self, node: Node) -> Command:
        return shell(super().command(node), 'setsid sh -c \'while :; do "$@"; done\' sh "$@" & exec sleep 600')


class OnlySleeps(Wrong):
    """Killed, its server is held still, and goes on when it is started again: no restart ever loses anything."""

    def command(self, node: Node) -> Command:
        server = f"{node.install_dir}/server.pid"
        script = (
            f'if [ -f {server} ]; then kill -CONT $(cat {server}); else setsid "$@" & echo $! > {server}; fi; '
            f'me=$$; setsid sh -c "while kill -0 $me; do sleep 0.05; done; kill -STOP $(cat {server})" & exec sleep 600'
        )
        return shell(super().command(node), script)


class LinksItElsewhere(Wrong):
    """Its data directory holds a link to a place that no wipe and no fault of the disk reaches."""

    def config(self, node: Node) -> dict[str, Any]:
        return super().config(node) | {"data_dir": f"{node.data_dir}/raft"}

    def command(self, node: Node) -> Command:
        place = f"{node.install_dir}/elsewhere"
        script = f'mkdir -p "{place}" && ln -sfn "{place}" "{node.data_dir}/raft" && exec "$@"'
        return shell(super().command(node), script)


class GoesAround(Wrong):
    """Its nodes reach each other where no link can be cut."""

    def config(self, node: Node) -> dict[str, Any]:
        peers = {peer.name: list(peer.reach("raft")) for peer in self.nodes}
        return super().config(node) | {"peers": peers}


class OperatesNothing(Wrong):
    """Every hook of an operator is written, and none does what it says."""

    def transfer_leadership(self, leader: Node, to: Node) -> None:
        return

    def snapshot(self, node: Node) -> None:
        node.run(["sh", "-c", f"rm -rf {node.data_dir}/*"])

    def arm(self, node: Node, failpoint: str, action: str) -> None:
        return

    def replica(self, node: Node, at: int | None) -> tuple[int, str]:
        return 1, "equal"

    def dump_log(self, node: Node) -> tuple[dict[str, Any], ...]:
        return {"index": 2, "term": 1}, {"index": 1, "term": 1}

    def members(self, node: Node) -> tuple[str, ...]:
        return (node.name,)

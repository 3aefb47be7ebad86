"""The adapter of `appender_server.py`, and what the tests of every place share."""

from __future__ import annotations

import socket
from pathlib import Path

from capsize.client import Client
from capsize.cluster.node import Command, Node
from capsize.cluster.system import NodeStatus, System
from capsize.errors import DefiniteError
from capsize.op import Invocation, Reply


def ask(address: tuple[str, int], request: str, timeout_s: float = 2.0) -> str:
    with socket.create_connection(address, timeout=timeout_s) as server:
        server.sendall(request.encode() + b"\n")
        return server.makefile().readline().strip()


def ask_through(frm: Node, to: Node, request: str) -> str:
    """Have the server on `frm` put a request to the server on `to`."""
    host, port = to.reach("peer", frm=frm)
    return ask(frm.reach("peer"), f"ask {host} {port} {request}", 5.0)


class AppenderClient(Client):
    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address

    def open(self) -> None:
        try:
            socket.create_connection(self.address, timeout=self.timeout_s).close()
        except ConnectionRefusedError as error:
            raise DefiniteError(str(error)) from None

    def invoke(self, op: Invocation) -> Reply:
        answer = ask(self.address, f"append {op.value}", self.timeout_s)
        if not answer.startswith("ok"):
            raise OSError(answer)
        return Reply()


class Appender(System):
    name = "appender"

    def install(self, node: Node) -> None:
        node.upload(Path(__file__).with_name("appender_server.py"), f"{node.install_dir}/server.py")

    def command(self, node: Node) -> Command:
        host, port = node.listen("peer")
        fsync = str(self.chosen.get("fsync", "on"))
        data = f"{node.data_dir}/lines"
        argv = (node.python, f"{node.install_dir}/server.py", node.name, host, str(port), data, fsync)
        return Command(argv)

    def client(self, node: Node, process: int) -> Client:
        return AppenderClient(node.reach("peer"))

    def status(self, node: Node) -> NodeStatus:
        role, term = ask(node.reach("peer"), "status").split()
        return NodeStatus(node.name, role, int(term))

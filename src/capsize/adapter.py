"""Everything that an adapter is written with, in one place: `from capsize.adapter import Client, Command, …`."""

from __future__ import annotations

from capsize.client import Client
from capsize.cluster.binary import from_debian, from_place, from_pypi, libraries_from_debian
from capsize.cluster.http_client import HttpClient, get_json, post_json
from capsize.cluster.json_lines import JsonLinesClient
from capsize.cluster.node import Command, Completed, Node
from capsize.cluster.option import choice, number
from capsize.cluster.ports import wait_for_port
from capsize.cluster.program import ProgramClient
from capsize.cluster.revision import change
from capsize.cluster.stream import Stream
from capsize.cluster.system import NodeStatus, System
from capsize.errors import AdapterError, DefiniteError
from capsize.op import Invocation, Reply, Value, freeze

__all__ = [
    "AdapterError",
    "Client",
    "Command",
    "Completed",
    "DefiniteError",
    "HttpClient",
    "Invocation",
    "JsonLinesClient",
    "Node",
    "NodeStatus",
    "ProgramClient",
    "Reply",
    "Stream",
    "System",
    "Value",
    "change",
    "choice",
    "freeze",
    "from_debian",
    "from_place",
    "from_pypi",
    "get_json",
    "libraries_from_debian",
    "number",
    "post_json",
    "wait_for_port",
]

"""A tiny server to try places with: it appends lines to a file, with an fsync unless told otherwise.

One request a line, one answer a line: `append X` -> `ok COUNT`; `read` -> the lines, joined by commas; `status` ->
`leader 1` on n1, `follower 1` elsewhere; `ask HOST PORT REQUEST` -> the answer of another server, or `error …`.
Runs on a node: standard library only.
"""

from __future__ import annotations

import os
import socket
import socketserver
import sys
from pathlib import Path


def serve(name: str, host: str, port: int, path: str, fsync: bool) -> None:
    class Caller(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write((answer(line.decode().strip()) + "\n").encode())

    def answer(request: str) -> str:
        verb, _, rest = request.partition(" ")
        if verb == "append":
            with Path(path).open("a") as file:
                file.write(rest + "\n")
                file.flush()
                if fsync:
                    os.fsync(file.fileno())
            return f"ok {len(Path(path).read_text().splitlines())}"
        if verb == "read":
            return ",".join(Path(path).read_text().splitlines()) if Path(path).exists() else ""
        if verb == "ask":
            there, number, question = rest.split(" ", 2)
            try:
                return ask(there, int(number), question, 1.0)
            except OSError as error:
                return f"error {error}"
        return ("leader" if name == "n1" else "follower") + " 1"

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    print(f"{name} listens on {host}:{port}", flush=True)  # noqa: T201
    Server((host, port), Caller).serve_forever()


def ask(host: str, port: int, request: str, timeout_s: float = 2.0) -> str:
    with socket.create_connection((host, port), timeout=timeout_s) as server:
        server.sendall(request.encode() + b"\n")
        return server.makefile().readline().strip()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5] == "on")

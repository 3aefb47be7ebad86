"""A client that is a program: the JSON-lines protocol (`json_lines.py`) over its stdin and stdout.

The program is started for each logical process, asked one line at a time, and ended with it. Its first request is
{"f": "open"}: it answers when it is connected, or `fail` when it cannot be, and starting it counts on no operation's
time. Its stderr is kept for the one line that says why it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from capsize.client import Client
from capsize.cluster.json_lines import LINE_MAX, NotKnown, parse_answer, request_line
from capsize.errors import DefiniteError
from capsize.op import Invocation, Reply

START_S = 1.0
"""What starting a program may take beyond the timeout of an operation."""


class ProgramClient(Client):
    """Runs `argv` in the folder `cwd` on this machine."""

    def __init__(self, argv: Sequence[str], *, cwd: Path | None = None) -> None:
        self.argv = tuple(argv)
        self.cwd = cwd
        self.number = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._words: IO[bytes] | None = None
        self._buffer = b""

    def open(self) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the program)
        environment = {**os.environ, "CAPSIZE_TIMEOUT_S": f"{self.timeout_s:g}", "PYTHONUNBUFFERED": "1"}
        try:
            self._process = subprocess.Popen(
                self.argv, cwd=self.cwd, env=environment, bufsize=0,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words,
            )  # fmt: skip
        except OSError as error:
            raise DefiniteError(f"the client program {self.argv[0]} cannot be started: {error.strerror}") from error
        self._ask(Invocation("open"))
        parse_answer(self._line(time.monotonic() + self.timeout_s + START_S), self.number)

    def invoke(self, op: Invocation) -> Reply:
        deadline = time.monotonic() + self.timeout_s
        self._ask(op)
        while True:
            reply = parse_answer(self._line(deadline), self.number)
            if reply is not None:
                return reply

    def ask(self, question: str) -> dict[str, Any]:
        """Return the `result` object of a question that is no operation, for instance "status"."""
        deadline = time.monotonic() + self.timeout_s
        self._ask(Invocation(question))
        said = json.loads(self._line(deadline))
        if said.get("type") != "ok" or not isinstance(said.get("result"), dict):
            raise NotKnown(f"{said!r} is no answer to {question}; expected an ok with an object as its result")
        return dict(said["result"])

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout, self._words):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2.0)

    def _ask(self, op: Invocation) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            raise DefiniteError(f"the client program has ended{self._last_words()}")
        assert process.stdin is not None
        self.number += 1
        process.stdin.write(request_line(self.number, op))

    def _line(self, deadline: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([out], [], [], left)[0]:
                raise TimeoutError(f"the client program did not answer within {self.timeout_s:g} s")
            part = os.read(out, 65536)
            if not part:
                raise ConnectionResetError(f"the client program ended{self._last_words()}")
            self._buffer += part
            if len(self._buffer) > LINE_MAX:
                raise NotKnown("an answer of more than 16 MB")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _last_words(self) -> str:
        """Return the code and the last line of stderr."""
        if self._process is None or self._words is None:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return f" (code {self._process.returncode}{': ' + lines[-1] if lines else ''})"

"""The client threads of a run: each pinned to one node, one operation at a time, recorded before and after.

Outcomes are Jepsen's (docs/history-format.md). A thread goes on under a new process id after `info`, because the old
process may still be doing what it was asked. A client that does not come back within its time is abandoned with its
thread; what it may say later is not listened to.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from capsize.client import Client
from capsize.clock import Clock
from capsize.errors import DefiniteError, StoreError
from capsize.op import Invocation, Outcome, Reply, Value, freeze
from capsize.recorder import Recorder
from capsize.seed import stream
from capsize.workloads import Workload

log = logging.getLogger(__name__)

MakeClient = Callable[[str, int], Client]
"""(node name, process) -> an unopened client pinned to that node."""

GRACE_S = 1.0
"""Beyond its own timeout, before a client counts as stuck."""
RETRY_S = 0.1


class Worker:
    """One client thread's identity: its node, its process id, its connection.

    `processes` yields the process ids where several loads and clients share one history; by default this worker's
    are `thread`, `thread + threads`, and so on.
    """

    def __init__(
        self, thread: int, threads: int, node: str, *, make: MakeClient, recorder: Recorder, reads: frozenset[str],
        timeout_s: float, clock: Clock, processes: Iterator[int] | None = None,
    ) -> None:  # fmt: skip
        self.thread = thread
        self.node = node
        self.process = thread if processes is None else next(processes)
        self.reply: Reply | None = None
        """The answer to the last operation, if there was one."""
        self.error: str | None = None
        """Why there was none."""
        self._processes = processes if processes is not None else itertools.count(thread + threads, threads)
        self._make = make
        self._recorder = recorder
        self.reads = reads
        self._timeout_s = timeout_s
        self._clock = clock
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._epoch = 0
        self._flight: tuple[Invocation, int] | None = None
        """What is being asked now, and since when."""

    @property
    def epoch(self) -> int:
        """Grows when the worker's thread was abandoned; a thread of an older epoch must end."""
        return self._epoch

    def perform(self, op: Invocation, *, final: bool = False) -> Outcome | None:
        """Ask for `op`, record what became of it, and return that; None if this thread was abandoned meanwhile."""
        with self._lock:
            epoch, process = self._epoch, self.process
            self._recorder.invoke(process, op, self.node, final=final)
            self._flight = (op, self._clock.now_ns())
        outcome: Outcome
        reply, result, error, meta, asked = None, None, None, None, False
        client = self._client
        try:
            if client is None:
                client = self._make(self.node, process)
                client.timeout_s = self._timeout_s
                client.open()
            asked = True
            reply = client.invoke(op)
            outcome, result, meta = "ok", freeze(reply.result), reply.meta
        except DefiniteError as definite:
            outcome, error = "fail", str(definite)
        except Exception as unknown:  # whatever a client raises: not known to have failed is not known
            certain = not asked or op.f in self.reads
            outcome, error = ("fail" if certain else "info"), f"{type(unknown).__name__}: {unknown}"
            error = error if asked else f"no client: {error}"
        with self._lock:
            if self._epoch != epoch:
                _close(client)
                return None
            self._flight = None
            self.reply, self.error = (reply if outcome == "ok" else None), error
            self._client = client if outcome == "ok" else None
            if outcome != "ok":
                _close(client)
            self._recorder.complete(process, op, self.node, outcome, result=result, error=error, meta=meta)
            if outcome == "info":
                self.process = next(self._processes)
        return outcome

    def abandon_if_stuck(self) -> bool:
        """Give up an operation that took longer than any client may; return True if its thread must be replaced."""
        with self._lock:
            if self._flight is None:
                return False
            op, since_ns = self._flight
            waited_s = (self._clock.now_ns() - since_ns) / 1e9
            if waited_s < 2 * self._timeout_s + GRACE_S:  # it may open a connection and ask, each bounded
                return False
            self._flight = None
            self._epoch += 1
            self._client = None
            outcome: Outcome = "fail" if op.f in self.reads else "info"
            error = f"the client did not come back within {waited_s:.1f} s"
            self.reply, self.error = None, error
            self._recorder.complete(self.process, op, self.node, outcome, error=error)
            self.process = next(self._processes)
            return True

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            client, self._client = self._client, None
        _close(client)


class Load:
    """All client threads. `start`; `watch` now and then; `stop`; then `read_finally`; then `close`."""

    def __init__(
        self,
        workload: Workload,
        nodes: Sequence[str],
        *,
        make: MakeClient,
        recorder: Recorder,
        clock: Clock,
        rate: float,
        timeout_s: float,
        processes: Iterator[int] | None = None,
    ) -> None:
        self.workload = workload
        self.nodes = tuple(nodes)
        self._recorder = recorder
        self._clock = clock
        self._rate = rate
        self._ending = threading.Event()
        self._workers = [
            Worker(
                thread, workload.threads, self.nodes[thread % len(self.nodes)], make=make, recorder=recorder,
                reads=workload.reads, timeout_s=timeout_s, clock=clock, processes=processes,
            )
            for thread in range(workload.threads)
        ]  # fmt: skip
        self._requests = [workload.requests(thread) for thread in range(workload.threads)]
        self._paces = [stream(workload.seed, "pace", thread) for thread in range(workload.threads)]
        self._running: dict[int, threading.Thread] = {}
        self._join_s = 2 * timeout_s + 2 * GRACE_S

    def start(self) -> None:
        """Begin asking."""
        for worker in self._workers:
            self._launch(worker)

    def watch(self) -> None:
        """Replace threads whose client is stuck; called a few times a second."""
        for worker in self._workers:
            if worker.abandon_if_stuck() and not self._ending.is_set():
                log.info("client %d on %s did not come back: abandoned", worker.thread, worker.node)
                self._launch(worker)

    def end(self) -> None:
        """Ask nothing more; returns at once."""
        self._ending.set()

    def stop(self) -> None:
        """Ask nothing more, and wait until every operation is completed or given up."""
        self.end()
        deadline_ns = self._clock.now_ns() + int(self._join_s * 1e9)
        for thread in self._running.values():
            thread.join(max(0.0, (deadline_ns - self._clock.now_ns()) / 1e9))
        for worker in self._workers:
            worker.abandon_if_stuck()

    def read_finally(self, keys: Iterable[Value], *, timeout_s: float, interrupted: threading.Event) -> int:
        """Read every key on every node until answered, at most `timeout_s`; return how many reads were not.

        The threads of one node share its keys.
        """
        asked = self.workload.final_reads(keys)
        deadline_ns = self._clock.now_ns() + int(timeout_s * 1e9)
        missing: list[Invocation] = []

        def read(worker: Worker, share: list[Invocation]) -> None:
            epoch = worker.epoch
            for op in share:
                while True:
                    late = interrupted.is_set() or self._clock.now_ns() >= deadline_ns
                    if late or worker.epoch != epoch or self._recorder.failure is not None:
                        missing.append(op)
                        break
                    with contextlib.suppress(StoreError):  # kept in the recorder, seen above
                        if worker.perform(op, final=True) == "ok":
                            break
                    interrupted.wait(RETRY_S)

        threads: list[threading.Thread] = []
        for node in self.nodes:
            mine = [worker for worker in self._workers if worker.node == node]
            for place, worker in enumerate(mine):
                share = asked[place :: len(mine)]
                threads.append(threading.Thread(target=read, args=(worker, share), daemon=True))
        missing += asked * len([node for node in self.nodes if all(w.node != node for w in self._workers)])
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and self._clock.now_ns() < deadline_ns + int(self._join_s * 1e9):
                thread.join(0.2)
                for worker in self._workers:
                    worker.abandon_if_stuck()
        return len(missing)

    def close(self) -> None:
        """Disconnect every client."""
        self._ending.set()
        for worker in self._workers:
            worker.close()

    def _launch(self, worker: Worker) -> None:
        thread = threading.Thread(target=self._ask, args=(worker,), name=f"client-{worker.thread}", daemon=True)
        self._running[worker.thread] = thread
        thread.start()

    def _ask(self, worker: Worker) -> None:
        epoch = worker.epoch
        requests, pace = self._requests[worker.thread], self._paces[worker.thread]
        mean_s = self.workload.threads / self._rate
        next_ns = self._clock.now_ns() + int(pace.uniform(0, mean_s) * 1e9)
        while worker.epoch == epoch:
            wait_s = (next_ns - self._clock.now_ns()) / 1e9
            if self._ending.wait(max(0.0, wait_s)):
                return
            try:
                if worker.perform(next(requests)) is None:
                    return
            except StoreError:  # kept in the recorder; the runner ends the run with it
                return
            # Who was held up does not catch up: a burst after every fault would be another workload.
            next_ns = max(next_ns + int(pace.uniform(0, 2 * mean_s) * 1e9), self._clock.now_ns())


def _close(client: Client | None) -> None:
    if client is None:
        return
    try:
        client.close()
    except Exception:  # a connection that cannot even be closed changes no outcome
        log.debug("a client could not be closed", exc_info=True)

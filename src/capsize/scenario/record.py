"""What was recorded of a test, readable while it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from capsize.checker.budget import Budget
from capsize.history import History, load_history
from capsize.op import Operation
from capsize.verdict import Verdict, merge
from capsize.workloads import Workload


class Record:
    """A view of the history file `path`, written while it is looked at."""

    def __init__(self, path: Path, workload: Workload) -> None:
        self.path = path
        self._workload = workload

    def now(self) -> History:
        """Return the history as it is now; an operation that is under way is `info`."""
        return load_history(self.path, strict=False)

    def __len__(self) -> int:
        return len(self.now())

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.now())

    def check(self) -> Verdict:
        """Judge what was recorded so far with the workload's checkers, whether faults still go on or not."""
        history = self.now()
        return merge("so far", [checker.check(history, Budget()) for checker in self._workload.checkers()])

"""What clients do, and which checkers judge it."""

from __future__ import annotations

from capsize.workloads.append import Append
from capsize.workloads.counter import Counters
from capsize.workloads.kv import KeyValue
from capsize.workloads.lock import Locks
from capsize.workloads.queue import Queues
from capsize.workloads.register import Register
from capsize.workloads.sets import Sets
from capsize.workloads.workload import Workload

__all__ = ["WORKLOADS", "Workload"]

WORKLOADS: dict[str, type[Workload]] = {
    cls.name: cls for cls in (Register, KeyValue, Append, Counters, Sets, Queues, Locks)
}

"""What clients do, and which checkers judge it."""

from __future__ import annotations

from capsize.workloads.kv import KeyValue
from capsize.workloads.register import Register
from capsize.workloads.workload import Workload

__all__ = ["WORKLOADS", "Workload"]

WORKLOADS: dict[str, type[Workload]] = {cls.name: cls for cls in (Register, KeyValue)}

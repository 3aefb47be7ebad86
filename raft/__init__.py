"""The reference Raft: pure core, storage, asyncio node. Standard library only: it runs wherever Python 3.11 does."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (hosts under test bring their own Python)
    raise SystemExit(f"raft: needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}")

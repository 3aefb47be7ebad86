"""The reference Raft: pure core, storage, asyncio node. Standard library only: it runs wherever Python 3 does."""

"""The reference Raft: pure core, storage, asyncio node. Standard library only, so that it runs on any host with Python 3."""

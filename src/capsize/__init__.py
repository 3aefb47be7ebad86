"""capsize: try to capsize your Raft.

A Jepsen-style correctness-testing toolkit. ARCHITECTURE.md shows the rooms and the nouns.
"""

__version__ = "0.1.0"

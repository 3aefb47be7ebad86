"""Readers of histories: our own JSONL, Jepsen's EDN, Porcupine's logs and texts, and the bench's own text."""

"""Judges histories and traces: models, linearizability, Raft invariants, health.

Pure: no clock, no randomness, no I/O.
"""

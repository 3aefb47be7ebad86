"""Faults as data, targets, schedules, probes; what injects and heals them."""

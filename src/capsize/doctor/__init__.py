"""Proves an adapter on a real cluster before any campaign, and tells what can be tested on it."""

from __future__ import annotations

from capsize.doctor.examination import CHECKS, Examination, examine
from capsize.doctor.finding import Finding

__all__ = ["CHECKS", "Examination", "Finding", "examine"]

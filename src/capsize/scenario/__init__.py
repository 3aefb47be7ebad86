"""A cluster in the hand of a test: asked and hurt step by step, recorded, healed, judged and kept as any run is.

What the fixtures of the pytest plugin are; nothing here knows pytest.
"""

from __future__ import annotations

from capsize.scenario.asker import Asker, NotDone, NotKnown, Told
from capsize.scenario.hand import Hand, NotLanded, Struck
from capsize.scenario.record import Record
from capsize.scenario.scenario import Scenario

__all__ = ["Asker", "Hand", "NotDone", "NotKnown", "NotLanded", "Record", "Scenario", "Struck", "Told"]

"""Availability: when a client can be reached and is willing. One file a model.

Every answer is a pure function of (client, time). A client is online in spans closed at their
start and open at their end.
"""

from __future__ import annotations

from fedsim.fleet.availability.always import Always
from fedsim.fleet.availability.base import Availability
from fedsim.fleet.availability.markov import Markov
from fedsim.fleet.availability.overnight import Overnight
from fedsim.fleet.availability.replay import Replay
from fedsim.options import choices_in

AVAILABILITIES = choices_in(__name__, Availability)

__all__ = ["AVAILABILITIES", "Always", "Availability", "Markov", "Overnight", "Replay"]

"""The fleet: who the clients are, when they are online, what else runs on them, what they train on.

Availability and memory pressure are pure functions of (client, time): asking about the future
changes nothing, and no client's answer depends on which others are asked.
"""

from __future__ import annotations

from fedsim.fleet.battery import Battery
from fedsim.fleet.group import Group
from fedsim.fleet.population import Fleet
from fedsim.fleet.who import Who

__all__ = ["Battery", "Fleet", "Group", "Who"]

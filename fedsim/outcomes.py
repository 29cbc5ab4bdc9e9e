"""How a dispatched client-round can end: the seven words, once, in the order people read them.

Every dispatched client-round ends with exactly one of them.
"""

from __future__ import annotations

from types import MappingProxyType

#: The words, best first; codes in arrays are positions in this tuple.
OUTCOMES = ("completed", "late", "oom", "offline", "battery", "rejected", "failed")

#: What each word means, in one sentence.
MEANINGS = MappingProxyType(
    {
        "completed": "The update arrived in time and went into the new global model.",
        "late": "The round closed before the update arrived; the work was thrown away.",
        "oom": "The device ran out of memory: footprint, system and pressure exceeded what it has.",
        "offline": "The client went away before its update had arrived.",
        "battery": "The battery fell to the floor below which the client refuses to work.",
        "rejected": "The update or its loss was not finite, malformed or too large; the server refused it.",
        "failed": "The client crashed for a reason of its own.",
    }
)

"""Buffered: no cohorts at all; a round closes whenever so many updates have come.

FedBuff (Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022).
A fixed number of clients is at work at any time; as soon as one ends, in whatever way, another
starts with the newest model. Updates gather in a buffer, and when it is full they make the next
model. An update may be based on a model some rounds old: its staleness is the closing round less
the round it started from, both of which the learner is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim.engine.completion.base import Completion
from fedsim.options import kind, option


@dataclass(frozen=True)
class Buffered(Completion):
    """Asynchronous rounds; the engine has a server of its own for them."""

    buffer: int = option(description="updates that make the next model", ge=1)
    concurrency: int | None = option(None, "clients at work at once; none: the cohort", ge=1)
    policy: Literal["async"] = kind("async")

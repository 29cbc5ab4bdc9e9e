"""What the server does: how many rounds, with whom, closed when, over what link of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fedsim.engine.completion import Completion, WaitAll
from fedsim.engine.selection import Random, Selection


@dataclass(frozen=True)
class Plan:
    """The server's side of a simulation.

    Attributes:
        rounds: how many rounds to close.
        cohort: how many clients' updates are wanted in a round.
        select: whom to ask.
        close: when a round ends; ``Buffered`` for asynchronous rounds, where ``cohort`` is the
            number of clients at work unless the policy says otherwise.
        server_down_bytes_per_s: what the server's link carries to clients, shared among downloads.
        server_up_bytes_per_s: what it carries from clients, shared among uploads.
        seed: of the server's own draws.
    """

    rounds: int
    cohort: int
    select: Selection = field(default_factory=Random)
    close: Completion = field(default_factory=WaitAll)
    server_down_bytes_per_s: float = math.inf
    server_up_bytes_per_s: float = math.inf
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.cohort < 1:
            raise ValueError("a plan needs rounds >= 0 and a cohort >= 1")
        if not (self.server_down_bytes_per_s > 0.0 and self.server_up_bytes_per_s > 0.0):
            raise ValueError("the server's link must carry something both ways")

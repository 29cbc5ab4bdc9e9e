"""Wait-all: a round ends when every client in it has ended in some way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim.engine.completion.base import Completion
from fedsim.options import kind


@dataclass(frozen=True)
class WaitAll(Completion):
    """The server waits for everyone; whoever dies is known to be dead at once."""

    policy: Literal["wait-all"] = kind("wait-all")

"""Completion: when a round ends. One file a policy."""

from __future__ import annotations

from fedsim.engine.completion.base import Completion
from fedsim.engine.completion.buffered import Buffered
from fedsim.engine.completion.deadline import Deadline
from fedsim.engine.completion.quorum import Quorum
from fedsim.engine.completion.wait_all import WaitAll

COMPLETIONS = (WaitAll, Deadline, Quorum, Buffered)

__all__ = ["COMPLETIONS", "Buffered", "Completion", "Deadline", "Quorum", "WaitAll"]

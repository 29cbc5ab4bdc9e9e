"""Completion: when a round ends. One file a policy."""

from __future__ import annotations

from fedsim.engine.completion.base import Completion
from fedsim.engine.completion.buffered import Buffered
from fedsim.engine.completion.deadline import Deadline
from fedsim.engine.completion.quorum import Quorum
from fedsim.engine.completion.wait_all import WaitAll
from fedsim.options import choices_in

COMPLETIONS = choices_in(__name__, Completion)

__all__ = ["COMPLETIONS", "Buffered", "Completion", "Deadline", "Quorum", "WaitAll"]

"""Closing: when a round ends. One file a policy."""

from __future__ import annotations

from fedsim.engine.closing.base import Closing
from fedsim.engine.closing.buffered import Buffered
from fedsim.engine.closing.deadline import Deadline
from fedsim.engine.closing.quorum import Quorum
from fedsim.engine.closing.wait_all import WaitAll

__all__ = ["Buffered", "Closing", "Deadline", "Quorum", "WaitAll"]

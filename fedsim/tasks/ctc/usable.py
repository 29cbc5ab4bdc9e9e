"""Which recordings recognition can use, and one sentence where it can use none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from fedsim.errors import CorpusError
from fedsim.tasks.ctc.transcripts import frames_needed


def unfit(text: str, seconds: float, longest_s: float = math.inf) -> str | None:
    """Why a recording with this normalised text cannot be used; None if nothing speaks against it."""
    if not text:
        return "without a transcript"
    return f"longer than {longest_s:g} s" if seconds > longest_s else None


def hurried(labels: Sequence[int], frames: int) -> str | None:
    """The same where CTC cannot emit the labels in so many frames."""
    return "too short for the text" if frames_needed(labels) > frames else None


def need_one(split: str, reasons: Iterable[str | None]) -> None:
    """Refuse a split of which nothing can be used.

    Args:
        split: its name.
        reasons: why each of its recordings cannot be used; None for one that can.

    Raises:
        CorpusError: with the reasons and how often each was found.
    """
    found = Counter(reasons)
    if found[None]:
        return
    counted = " and ".join(f"{count} {reason}" for reason, count in found.items() if reason)
    raise CorpusError(
        f"the corpus has no transcribed speech in the {split} split that can be used: "
        f"of {sum(found.values())} recordings, {counted or 'none'}"
    )

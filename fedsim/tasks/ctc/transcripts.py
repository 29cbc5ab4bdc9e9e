"""Transcripts as CTC sees them: a character vocabulary from the corpus, decoding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

BLANK = 0


@dataclass(frozen=True)
class Vocabulary:
    """Characters numbered from 1; 0 is CTC's blank."""

    characters: tuple[str, ...]

    @staticmethod
    def of(texts: Iterable[str]) -> Vocabulary:
        """The characters of normalised texts, sorted, space included."""
        return Vocabulary(tuple(sorted({" ", *(c for text in texts for c in text)})))

    def __len__(self) -> int:
        return 1 + len(self.characters)

    def encode(self, text: str) -> list[int]:
        """Numbers of the characters of a normalised text; unknown ones are left out."""
        number = {c: i for i, c in enumerate(self.characters, start=1)}
        return [number[c] for c in text if c in number]

    def decode(self, best: Sequence[int]) -> str:
        """Greedy CTC: merge repeats, drop blanks, tidy spaces."""
        merged = [n for i, n in enumerate(best) if i == 0 or n != best[i - 1]]
        return " ".join("".join(self.characters[n - 1] for n in merged if n != BLANK).split())


def frames_needed(labels: Sequence[int]) -> int:
    """Fewest frames in which CTC can emit the labels: one each, and a blank between equal ones."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))

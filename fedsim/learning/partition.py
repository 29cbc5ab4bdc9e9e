"""Who holds which speech: training utterances divided into parts, and parts given to clients.

A fleet may be far larger than a corpus, so speech is divided into ``parts``, and client c holds
part ``part_of(c)``. No speaker is in two parts. Validation and test speakers are in none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedsim import rng
from fedsim.errors import CorpusError
from fedsim.learning.corpus.store import Corpus


@dataclass(frozen=True)
class Partition:
    """Parts of a corpus.

    Attributes:
        parts: for each part the numbers of its utterances, sorted.
        order: int64[parts], the seeded permutation by which clients meet parts.
    """

    parts: tuple[NDArray[np.int64], ...]
    order: NDArray[np.int64]

    def part_of(self, clients: ArrayLike) -> NDArray[np.int64]:
        """int64[n]: the part that each client holds; a pure function of the client's number."""
        return self.order[np.asarray(clients, dtype=np.int64) % len(self.order)]

    def utterances(self, client: int) -> NDArray[np.int64]:
        """The utterances that a client holds."""
        return self.parts[int(self.part_of([client])[0])]


def by_speaker(corpus: Corpus, seed: int, parts: int | None = None) -> Partition:
    """Divide training speakers into ``parts`` of roughly equal length; None: a speaker a part.

    Speakers are taken in decreasing length and each joins the part that holds least so far, ties
    by part number: no part is longer than the mean by more than one speaker.

    Raises:
        CorpusError: if there are fewer training speakers than parts.
    """
    members: dict[str, list[int]] = {}
    for utterance in corpus.of_split("train"):
        members.setdefault(corpus.speaker[utterance], []).append(int(utterance))
    speakers = sorted(members)
    count = len(speakers) if parts is None else parts
    if not speakers or count > len(speakers):
        raise CorpusError(
            f"the corpus has {len(speakers)} training speakers, too few for {count} parts",
            key="learning.parts",
        )
    length = {name: int(corpus.samples[members[name]].sum()) for name in speakers}
    held = [0] * count
    groups: list[list[int]] = [[] for _ in range(count)]
    for name in sorted(speakers, key=lambda s: (-length[s], s)):
        least = min(range(count), key=lambda p: (held[p], p))
        held[least] += length[name]
        groups[least].extend(members[name])
    order = rng.generator(seed, "partition").permutation(count).astype(np.int64)
    return Partition(tuple(np.array(sorted(group), dtype=np.int64) for group in groups), order)

"""Who holds which speech: training utterances divided into parts, and parts given to clients.

A fleet may be far larger than a corpus, so speech is divided into ``parts``, and client c holds
part ``part_of(c)``. Every training utterance is in exactly one part; validation and test speakers
are in none. Ways to divide:

- ``by-speaker``: speakers whole, parts of roughly equal length (the paper's setting).
- ``natural``: a part is what one person holds: a client that the manifest names, or a speaker.
- ``dirichlet-speakers``: each speaker's utterances spread over parts by shares from a Dirichlet
  distribution (Hsu et al., "Measuring the effects of non-identical data distribution", 2019, with
  speakers in place of classes); small alpha: few parts a speaker.
- ``dirichlet-quality``: the same with the classes of recording quality in place of speakers.

With ``low_quality`` a share of the parts (for ``dirichlet-quality``: of the utterances) is
recorded badly; see :mod:`fedsim.learning.quality`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedsim import rng
from fedsim.errors import CorpusError
from fedsim.fleet.workload import equal_parts
from fedsim.learning import quality
from fedsim.learning.corpus.store import Corpus
from fedsim.learning.spec import LearnerSpec

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """Parts of a corpus.

    Attributes:
        parts: for each part the numbers of its utterances, sorted; none is empty.
        order: int64[k], the parts in the order in which clients meet them, going round.
        quality: int64[utterances of the corpus], index into ``quality.KINDS``; 0: as recorded.
    """

    parts: tuple[Ints, ...]
    order: Ints
    quality: Ints

    def part_of(self, clients: ArrayLike) -> Ints:
        """int64[n]: the part that each client holds; a pure function of the client's number."""
        return self.order[np.asarray(clients, dtype=np.int64) % len(self.order)]

    def utterances(self, client: int) -> Ints:
        """The utterances that a client holds."""
        return self.parts[int(self.part_of([client])[0])]


def divide(corpus: Corpus, spec: LearnerSpec, seed: int) -> Partition:
    """Divide the training utterances of a corpus as ``spec`` says.

    Raises:
        CorpusError: if there is too little speech for the parts asked for.
    """
    train = corpus.of_split("train")
    if not len(train):
        raise CorpusError("the corpus has no training speech", key="learning.corpus")
    bad = np.zeros(len(corpus), np.int64)
    if spec.partition == "dirichlet-quality":
        bad[train] = quality.of_utterances(train, spec.low_quality, seed)
    if spec.partition == "natural":
        names = [corpus.client[u] or corpus.speaker[u] for u in train]
        parts = [group for _, group in _grouped(train, names)]
    elif spec.partition == "by-speaker":
        parts = _equal(corpus, train, spec.parts)
    else:
        speakers = spec.partition == "dirichlet-speakers"
        names = [corpus.speaker[u] if speakers else quality.KINDS[bad[u]] for u in train]
        parts = _dirichlet(_grouped(train, names), spec, seed)
    if spec.partition != "dirichlet-quality":
        for number, kind in enumerate(quality.of_parts(len(parts), spec.low_quality, seed).tolist()):
            bad[parts[number]] = kind
    if spec.pooled:
        parts = [train]
    order = rng.generator(seed, "partition").permutation(len(parts)).astype(np.int64)
    if spec.only_part is not None:
        order = np.array([spec.only_part % len(parts)], np.int64)
    return Partition(tuple(np.sort(part) for part in parts), order, bad)


def _grouped(utterances: Ints, names: list[str]) -> list[tuple[str, Ints]]:
    """The utterances under each name, by name."""
    labels = np.array(names)
    return [(str(name), utterances[labels == name]) for name in sorted(set(names))]


def _equal(corpus: Corpus, train: Ints, parts: int | None) -> list[Ints]:
    """Speakers in decreasing length, each to the part that holds least so far, ties by number."""
    speakers = _grouped(train, [corpus.speaker[u] for u in train])
    count = len(speakers) if parts is None else parts
    if count > len(speakers):
        raise CorpusError(
            f"the corpus has {len(speakers)} training speakers, too few for {count} parts",
            key="learning.parts",
        )
    sizes = np.array([int(corpus.samples[members].sum()) for _, members in speakers])
    part = equal_parts(sizes, count)
    return [
        np.concatenate([members for (_, members), at in zip(speakers, part, strict=True) if at == number])
        for number in range(count)
    ]


def _dirichlet(classes: list[tuple[str, Ints]], spec: LearnerSpec, seed: int) -> list[Ints]:
    """Each class's utterances, shuffled, cut by shares ~ Dirichlet(alpha); no part stays empty."""
    total = sum(len(members) for _, members in classes)
    count = len(classes) if spec.parts is None else spec.parts
    if count > total:
        raise CorpusError(
            f"the corpus has {total} training utterances, too few for {count} parts", key="learning.parts"
        )
    pieces: list[list[Ints]] = [[] for _ in range(count)]
    for name, members in classes:
        draw = rng.generator(seed, "dirichlet", name)
        shares = draw.dirichlet(np.full(count, spec.dirichlet_alpha))
        cuts = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        for number, piece in enumerate(np.split(draw.permutation(members), cuts)):
            pieces[number].append(piece)
    groups = [np.concatenate(held) for held in pieces]
    for number in range(count):  # an empty part takes one utterance of the largest
        if not len(groups[number]):
            largest = max(range(count), key=lambda p: (len(groups[p]), -p))
            groups[number], groups[largest] = groups[largest][-1:], groups[largest][:-1]
    return groups

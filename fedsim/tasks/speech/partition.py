"""Training utterances divided into parts, of which each client holds one.

Every training utterance is in exactly one part; validation and test speakers are in none. Ways to divide:

- ``by-speaker``: speakers whole, parts of roughly equal length (the paper's setting).
- ``natural``: a part is what one person holds: a client that the manifest names, or a speaker.
- ``dirichlet-speakers``: each speaker's utterances spread over parts by shares from a Dirichlet
  distribution, with speakers in place of classes; small alpha: few parts a speaker.
- ``dirichlet-quality``: the same with the classes of recording quality in place of speakers.

With ``low_quality`` a share of the parts (for ``dirichlet-quality``: of the utterances) is
recorded badly; see :mod:`fedsim.tasks.speech.quality`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import CorpusError
from fedsim.fleet.workload import equal_parts
from fedsim.tasks.partition import dirichlet
from fedsim.tasks.speech import quality
from fedsim.tasks.speech.corpus.store import Corpus
from fedsim.words import plural

if TYPE_CHECKING:
    from fedsim.tasks.speech.task import SpeechTask

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """Parts of a corpus.

    Attributes:
        parts: for each part the numbers of its utterances, sorted; none is empty.
        quality: int64[utterances of the corpus], index into ``quality.KINDS``; 0: as recorded.
    """

    parts: tuple[Ints, ...]
    quality: Ints


def divide(corpus: Corpus, task: SpeechTask, seed: int) -> Partition:
    """Divide the training utterances of a corpus as ``task`` says.

    Raises:
        CorpusError: if there is too little speech for the parts asked for.
    """
    train = corpus.of_split("train")
    if not len(train):
        raise CorpusError("the corpus has no training speech", key="learning.corpus")
    bad = np.zeros(len(corpus), np.int64)
    if task.partition == "dirichlet-quality":
        bad[train] = quality.of_utterances(train, task.low_quality, seed)
    if task.partition == "natural":
        names = [corpus.client[u] or corpus.speaker[u] for u in train]
        parts = [group for _, group in _grouped(train, names)]
    elif task.partition == "by-speaker":
        parts = _equal(corpus, train, task.parts)
    else:
        speakers = task.partition == "dirichlet-speakers"
        names = [corpus.speaker[u] if speakers else quality.KINDS[bad[u]] for u in train]
        parts = _dirichlet(_grouped(train, names), task, seed)
    if task.partition != "dirichlet-quality":
        for number, kind in enumerate(quality.of_parts(len(parts), task.low_quality, seed).tolist()):
            bad[parts[number]] = kind
    return Partition(tuple(np.sort(part) for part in parts), bad)


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
            f"the corpus has {plural(len(speakers), 'training speaker')}, too few for {count} parts",
            key="learning.parts",
        )
    sizes = np.array([int(corpus.samples[members].sum()) for _, members in speakers])
    part = equal_parts(sizes, count)
    return [
        np.concatenate([members for (_, members), at in zip(speakers, part, strict=True) if at == number])
        for number in range(count)
    ]


def _dirichlet(classes: list[tuple[str, Ints]], task: SpeechTask, seed: int) -> list[Ints]:
    total = sum(len(members) for _, members in classes)
    count = len(classes) if task.parts is None else task.parts
    if count > total:
        raise CorpusError(
            f"the corpus has {plural(total, 'training utterance')}, too few for {count} parts",
            key="learning.parts",
        )
    return dirichlet(classes, count, task.dirichlet_alpha, seed)

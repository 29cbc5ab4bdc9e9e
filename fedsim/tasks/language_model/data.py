"""Text that is divided: passages, what is held out, examples, and who holds which.

A document is cut into passages at blank lines (into lines, if it has fewer than three passages). A
passage that stands in several documents stays in the shortest of them, so that no held-out passage is
also trained on. A tenth of the passages each are held out for validation and test. What is left of a
document is cut into examples: ``context`` bytes that are read, and for each the byte that follows it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.errors import CorpusError
from fedsim.fleet.workload import equal_parts
from fedsim.tasks.language_model.options import EXAMPLES_AT_ONCE
from fedsim.tasks.language_model.reading import documents
from fedsim.words import plural

if TYPE_CHECKING:
    from fedsim.tasks.language_model.task import LanguageModel

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

VOCABULARY = 256
"""Tokens are the bytes of UTF-8 text: nothing to download, nothing that depends on the corpus."""
SPLITS = ("train", "validation", "test")
HELD_OUT_SHARE = 0.1

_BLANK_LINES = re.compile(r"\n\s*\n")


def passages(text: str) -> list[str]:
    """A text cut at its blank lines; into lines, if that gives fewer than three."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found = [piece.strip("\n") for piece in _BLANK_LINES.split(text) if piece.strip()]
    return found if len(found) >= 3 else [line for line in text.split("\n") if line.strip()]


def divided(texts: Mapping[str, str], seed: int) -> tuple[dict[str, dict[str, list[str]]], int]:
    """The passages of each document by split, in the document's order.

    Args:
        texts: by the document's name.
        seed: of what is held out.

    Returns:
        By name of the document and split, empty lists included; and how many passages were left out
        because another document holds them, or the same one before.
    """
    seen: set[bytes] = set()
    kept: dict[str, list[tuple[bytes, str]]] = {}
    repeated = 0
    for name in sorted(texts, key=lambda name: (len(texts[name]), name)):
        kept[name] = []
        for passage in passages(texts[name]):
            words = f"{seed} {' '.join(passage.split())}".encode("utf-8", "replace")
            rank = hashlib.blake2b(words, digest_size=16).digest()
            if rank in seen:
                repeated += 1
                continue
            seen.add(rank)
            kept[name].append((rank, passage))
    count = max(1, round(HELD_OUT_SHARE * len(seen)))
    ranked = sorted(seen)
    split = dict.fromkeys(ranked, "train")
    split |= dict.fromkeys(ranked[:count], "validation") | dict.fromkeys(ranked[count : 2 * count], "test")
    return {
        name: {s: [passage for rank, passage in kept[name] if split[rank] == s] for s in SPLITS}
        for name in sorted(kept)
    }, repeated


def unigram_loss(train: Bytes, held_out: Bytes) -> float:
    """Loss, in nats a byte, of guessing each byte by how often it occurs in the training text.

    Every one of the 256 is counted once more than it occurs, so that none is impossible (Laplace).

    Args:
        train: uint8[n], the training text.
        held_out: uint8[m], m > 0, the bytes that are guessed.
    """
    counts = np.bincount(train, minlength=VOCABULARY) + 1.0
    return float(-np.log(counts / counts.sum())[held_out].mean())


class TextData:
    """Examples of text, and who holds which.

    Attributes:
        text: uint8[bytes], what is left of all documents, split by split.
        start: int64[examples], where each begins in ``text``.
        length: int64[examples], its bytes, from 2 to ``context`` + 1.
        split: int64[examples], index into ``SPLITS``.
        document: int64[examples], number of the document, by name.
        notes, account, parts: see :class:`fedsim.tasks.base.Data`.

    Raises:
        CorpusError: if there is no usable text, or too little to divide as asked.
    """

    def __init__(self, task: LanguageModel, seed: int) -> None:
        self._context, self._most = task.context, task.evaluation_tokens
        found, repeated = divided(documents(task.corpus), task.corpus.seed)
        tables: list[Ints] = []
        streams: list[bytes] = []
        at = 0
        for s, split in enumerate(SPLITS):
            for d, name in enumerate(found):
                stream = "\n\n".join(found[name][split]).encode("utf-8", "replace")
                begin = np.arange(0, len(stream) - 1, task.context)
                length = np.minimum(task.context + 1, len(stream) - begin)
                tables.append(np.stack([at + begin, length, np.full_like(begin, s), np.full_like(begin, d)]))
                streams.append(stream)
                at += len(stream)
        self.text: Bytes = np.frombuffer(b"".join(streams), np.uint8)
        self._train = self.text[: sum(map(len, streams[: len(found)]))]  # the first split of each document
        table = np.concatenate([np.zeros((4, 0), np.int64), *tables], axis=1)
        self.start, self.length, self.split, self.document = table
        for s, split in enumerate(SPLITS):
            if not (self.split == s).any():
                raise CorpusError(
                    f"leaves no {split} text; three passages or more are needed, divided by blank lines",
                    key="learning.corpus",
                )
        self.parts: Sequence[Ints] = self._divided(task, seed)
        self.notes: list[str]
        self.account: Mapping[str, Any] | None
        self.notes, self.account = self._told(found, repeated)

    def _divided(self, task: LanguageModel, seed: int) -> list[Ints]:
        train = np.flatnonzero(self.split == 0)
        owner = np.unique(self.document[train], return_inverse=True)[1]
        sizes = np.bincount(owner)
        count = len(sizes) if task.parts is None else task.parts
        there, what = (sizes.size, "document") if task.partition == "natural" else (train.size, "example")
        if count > there:
            raise CorpusError(
                f"the corpus has {plural(there, f'training {what}')}, too few for {count} parts",
                key="learning.parts",
            )
        if task.partition == "natural":
            part = equal_parts(sizes, count)[owner]
            return [train[part == number] for number in range(count)]
        shuffled = rng.generator(seed, "iid", "text").permutation(train)
        return [np.sort(part) for part in np.array_split(shuffled, count)]

    def targets(self, examples: Ints) -> Bytes:
        """uint8: the bytes that are predicted in these examples, one after the other."""
        return np.concatenate(
            [
                self.text[s + 1 : s + n]
                for s, n in zip(self.start[examples], self.length[examples], strict=True)
            ]
        )

    def held_out(self, split: str) -> Sequence[Ints]:
        """The examples of each evaluation batch: all, or as many as allowed, spread over the split."""
        found = np.flatnonzero(self.split == SPLITS.index(split))
        count = min(found.size, max(1, self._most // self._context))
        chosen = found[np.arange(count) * found.size // count]
        return [chosen[k : k + EXAMPLES_AT_ONCE] for k in range(0, count, EXAMPLES_AT_ONCE)]

    def tokens(self, examples: Ints) -> tuple[Ints, Ints]:
        """A batch of examples.

        Returns:
            int64[n, context], the bytes that are read, 0 behind the end; and int64[n, context], the byte
            that follows each, -1 behind the end.
        """
        place = np.arange(self._context + 1)
        there = place < self.length[examples][:, None]
        read = self.text[np.where(there, self.start[examples][:, None] + place, 0)].astype(np.int64)
        return np.where(there, read, 0)[:, :-1], np.where(there, read, -1)[:, 1:]

    def _told(
        self, found: Mapping[str, Mapping[str, list[str]]], repeated: int
    ) -> tuple[list[str], dict[str, Any]]:
        size = {s: int((self.length - 1)[self.split == k].sum()) for k, s in enumerate(SPLITS)}
        unigram = {
            s: unigram_loss(self._train, self.targets(np.concatenate(self.held_out(s)))) for s in SPLITS[1:]
        }
        count = sum(any(held.values()) for held in found.values())
        notes = [
            f"{plural(count, 'document')} of text: {size['train']:,} bytes to learn, {size['validation']:,} "
            f"held out for validation and {size['test']:,} for test"
            + (f"; {plural(repeated, 'passage')} left out as a repetition" if repeated else ""),
            "guessing bytes by how often they occur (a unigram) has a loss of "
            f"{unigram['validation']:.2f} nats a byte on the validation text and {unigram['test']:.2f} on "
            "the test text",
        ]
        digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode("ascii")).hexdigest()
        account = {
            "documents": count,
            "repeated": repeated,
            "tokens": size,
            "unigram_loss": unigram,
            "sha256": digest,
        }
        return notes, account

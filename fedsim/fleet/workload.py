"""Workloads: which clips, or other examples, a client trains on in a round.

A fleet may be far larger than a corpus, so clients share workloads: there are as many as differ,
and a map from clients to them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fedsim import rng
from fedsim.errors import ScenarioError
from fedsim.fleet.speech import Speech
from fedsim.fleet.who import Ints
from fedsim.options import Bounds, Options, OrBlock, option
from fedsim.pricing.sizes import LARGEST
from fedsim.units import SAMPLES_PER_S
from fedsim.words import plural

_SPEECH = ("corpus", "partition", "utterances", "mean_seconds", "max_seconds")


@dataclass(frozen=True, kw_only=True)
class SizeSpread(Options):
    """Sizes that differ between examples: a log-normal, cut at its longest."""

    mean: float = option(description="of the sizes, before the longest are cut", ge=1, le=LARGEST)
    spread: float = option(0.0, "their standard deviation, as a share of the mean", ge=0, le=10)
    longest: int | None = option(None, "larger ones are cut to this size", ge=1, le=LARGEST)

    def __post_init__(self) -> None:
        if self.longest is not None and self.longest < self.mean:
            raise ValueError(
                f"the longest of {self.longest} is below the mean of {self.mean:g}; give that or more"
            )


@dataclass(frozen=True, kw_only=True)
class Workload(Options):
    """What one client trains on in a round, for the clock: speech, or examples of a size."""

    corpus: str = option("common-voice-it-7", "a profile of utterance lengths: a name from traces/lengths")
    partition: Literal["by-speaker", "equal-hours"] = option(
        "by-speaker", "by-speaker: a speaker a client; equal-hours: all speech in equal parts"
    )
    utterances: int | None = option(
        None, "this many utterances a client, whoever speaks them", ge=1, le=10_000_000
    )
    mean_seconds: float | None = option(
        None, "rescale the utterance lengths to this mean, in seconds", gt=0, le=60
    )
    max_seconds: float | None = option(None, "leave out longer utterances, in seconds", gt=0, le=600)
    examples: int | None = option(None, "instead of speech: this many examples a client", ge=1, le=10_000_000)
    sizes: dict[str, Annotated[Annotated[int, Bounds(ge=1, le=LARGEST)] | SizeSpread, OrBlock()]] = option(
        factory=dict,
        description="of examples, by the size axes of the layer trace: {tokens: 128}, or spread: "
        "{tokens: {mean: 128, spread: 0.5, longest: 512}}",
    )
    batching: Literal["shuffled", "sorted"] = option(
        "shuffled", "shuffled: batches at random, padded to their longest; sorted: by length"
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        def written(block: Workload, inner: Callable[[Workload], dict[str, Any]]) -> dict[str, Any]:
            """Without the keys of speech where there is none."""
            found = inner(block)
            return found if block.examples is None else {k: v for k, v in found.items() if k not in _SPEECH}

        schema = super().__get_pydantic_core_schema__(source, handler)
        schema["serialization"] = core_schema.wrap_serializer_function_ser_schema(written)
        return schema

    def __post_init__(self) -> None:
        if self.examples is None:
            if self.sizes:
                raise ValueError("the key 'sizes' needs the key 'examples' beside it")
            return
        spread = [name for name, size in self.sizes.items() if isinstance(size, SizeSpread)]
        if len(spread) > 1:
            raise ValueError(f"the sizes {' and '.join(spread)} are both spread; spread one of them")
        mine = {f.name: f.default for f in fields(self)}
        for key in _SPEECH:
            if getattr(self, key) != mine[key]:
                raise ValueError(f"the key {key!r} is about speech; it does not go with 'examples'")

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def size(self) -> int | SizeSpread:
        """The size in which its examples may differ; 1 if they have none."""
        return self.sizes[self._free] if self.sizes else 1

    @property
    def fixed(self) -> dict[str, int]:
        """The other sizes of a model that has several."""
        return {n: size for n, size in self.sizes.items() if n != self._free and isinstance(size, int)}

    @property
    def _free(self) -> str:
        spread = [name for name, size in self.sizes.items() if isinstance(size, SizeSpread)]
        return next(iter([*spread, *self.sizes]))


DISTINCT = 1024  # workloads of a fixed number of utterances; client i has number i modulo this
MOST_DRAWN = 2**24  # examples whose sizes are drawn; clients with so many have the same on average anyway


@dataclass(frozen=True, eq=False)
class Workloads:
    """Distinct workloads and who has which.

    Attributes:
        first: int64[workloads + 1], where each workload's clips (or other examples) begin in ``samples``.
        samples: int64[m], lengths at 16 kHz of each workload's clips; of others, sizes as the trace counts.
        order: int64[p], workload of client ``i`` is ``order[i % p]``.
    """

    first: Ints
    samples: Ints
    order: Ints

    @property
    def count(self) -> int:
        """How many workloads differ."""
        return self.first.size - 1

    @property
    def utterances(self) -> Ints:
        """int64[workloads], clips in each."""
        return np.diff(self.first)

    @property
    def seconds(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """float64[workloads], length of each."""
        return np.add.reduceat(self.samples, self.first[:-1]) / SAMPLES_PER_S

    def of(self, clients: ArrayLike) -> Ints:
        """The workload of each client."""
        return self.order[np.asarray(clients, dtype=np.int64) % self.order.size]


def by_speaker(speech: Speech, seed: int) -> Workloads:
    """Client ``i`` is one speaker, by a seeded permutation; a larger fleet goes round again."""
    stream = rng.key(seed, "workload", "by-speaker")
    order = np.argsort(rng.bits(stream, np.arange(speech.speakers)), kind="stable")
    return Workloads(speech.first, speech.samples, order.astype(np.int64))


def equal_parts(sizes: Ints, parts: int) -> Ints:
    """The part of each of ``sizes``, so that the parts are about equal.

    The largest that is left goes to the part that holds least, ties to the first (Graham, "Bounds on
    multiprocessing timing anomalies", SIAM J. Appl. Math. 17, 1969).
    """
    part = np.empty(sizes.size, dtype=np.int64)
    load = [(0, p) for p in range(parts)]
    for place in np.argsort(-sizes, kind="stable").tolist():
        have, least = load[0]
        part[place] = least
        heapq.heapreplace(load, (have + int(sizes[place]), least))
    return part


def equal_hours(speech: Speech, clients: int, seed: int) -> Workloads:
    """As many parts as clients, no speaker in two, hours about equal.

    Which part a client has is a seeded permutation.

    Raises:
        ScenarioError: if there are more clients than speakers.
    """
    if clients > speech.speakers:
        raise ScenarioError(
            f"{clients} clients cannot have parts of equal hours with no speaker in two: "
            f"{speech.name!r} has {plural(speech.speakers, 'speaker')}"
        )
    size = np.add.reduceat(speech.samples, speech.first[:-1])
    part = equal_parts(size, clients)
    owner = np.repeat(part, np.diff(speech.first))
    clips = np.argsort(owner, kind="stable")
    first = np.searchsorted(owner[clips], np.arange(clients + 1)).astype(np.int64)
    stream = rng.key(seed, "workload", "equal-hours")
    order = np.argsort(rng.bits(stream, np.arange(clients)), kind="stable")
    return Workloads(first, speech.samples[clips], order.astype(np.int64))


def fixed(speech: Speech, utterances: int, clients: int, seed: int) -> Workloads:
    """So many clips a client, whoever speaks them: dealt from one seeded shuffle of the corpus.

    A clip comes again only when the corpus is used up. Client ``i`` has the workload of client
    ``i + 1024``, and the same one in a fleet of any size.

    Raises:
        ScenarioError: if ``utterances`` is not positive.
    """
    if utterances < 1:
        raise ScenarioError(f"a client cannot train on {utterances} utterances; give 1 or more")
    stream = rng.key(seed, "workload", "utterances")
    shuffled = np.argsort(rng.bits(stream, np.arange(speech.clips)), kind="stable")
    count = min(clients, DISTINCT)
    samples = speech.samples[shuffled[np.arange(count * utterances) % speech.clips]]
    first = np.arange(count + 1, dtype=np.int64) * utterances
    return Workloads(first, samples, np.arange(count, dtype=np.int64))


def of_size(examples: int, size: int | SizeSpread, clients: int, seed: int) -> Workloads:
    """So many examples a client, of one size, or of sizes that each client draws for itself.

    Client ``i`` has the workload of client ``i + 1024`` (of fewer, where workloads are large), and the
    same one in a fleet of any size.
    """
    if not isinstance(size, SizeSpread):
        first = np.array([0, examples], dtype=np.int64)
        return Workloads(first, np.full(examples, size, dtype=np.int64), np.zeros(1, dtype=np.int64))
    count = min(clients, DISTINCT, max(1, MOST_DRAWN // examples))
    client = np.repeat(np.arange(count), examples)
    place = np.tile(np.arange(examples), count)
    score = rng.normals(rng.key(seed, "workload", "sizes"), client, place)
    variance = math.log1p(size.spread**2)
    drawn = np.rint(size.mean * np.exp(math.sqrt(variance) * score - variance / 2))
    sizes = np.clip(drawn, 1, size.longest or LARGEST).astype(np.int64)
    first = np.arange(count + 1, dtype=np.int64) * examples
    return Workloads(first, sizes, np.arange(count, dtype=np.int64))

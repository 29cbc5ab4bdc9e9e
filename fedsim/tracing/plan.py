"""How a subject is measured: which lengths decide what it costs, and at which batches and sizes to run it.

Found in three variants, plain attention on a CPU and fused attention on CUDA in both precisions, which
between them have every shape; the others differ in the types of tensors.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fedsim.errors import TraceError
from fedsim.pricing.layers import NO_SIZE
from fedsim.pricing.polynomial import Monomial, Polynomial, value
from fedsim.tracing.axes import Lengths, Sizes, Values, discover, product, telling
from fedsim.tracing.interpolation import Basis, Point
from fedsim.tracing.layers import Key, keyed
from fedsim.tracing.records import Layer
from fedsim.tracing.step import Step, Variant
from fedsim.tracing.subject import Subject

Run = tuple[int, Sizes]
"""A batch and one of each size."""

LOOKED_AT = (
    Variant("cpu", "eager", "fp32"),
    Variant("cuda", "sdpa", "fp32"),
    Variant("cuda", "sdpa", "mixed"),
)
INPUTS: Key = ("(batch)", 0)
"""What bases has for the tensors of a batch."""
_GOLDEN = (5**0.5 - 1) / 2
_MOST_RUNS = 24
_NEIGHBOURS = 2
_PRIME = 2**61 - 1


@dataclass(frozen=True)
class Plan:
    """How a subject is measured.

    Attributes:
        short: with few of the layers that are alike.
        quickly: without the fake mode's bookkeeping (see fake.py).
        lengths: that decide what it costs.
        bases: for each layer the monomials that its counts may have: its own, and its neighbours' too.
        everywhere: the monomials of all layers.
        runs: batches and sizes that determine every basis, and two that check.
        more: others, for counts that these bases do not explain.
        unseen: sizes at which nothing was fitted.
        far: sizes well outside of those, at which a model may not run.
        alike: whether the model does the same at every size. If not (some pad a length that is odd), it is
            measured at sizes at which it does what it does at the first, and a trace is not exact.
    """

    short: bool
    quickly: bool
    lengths: Lengths
    bases: dict[Key, tuple[Basis, ...]]
    everywhere: Basis
    runs: tuple[Run, ...]
    more: tuple[Run, ...]
    unseen: tuple[Sizes, ...]
    far: tuple[Sizes, ...]
    alike: bool = True

    def point(self, run: Run) -> Point:
        """A batch, and the length of every axis."""
        return self.lengths.point(*run)

    def candidates(self, key: Key | None = None, batched: bool = True) -> list[Basis]:
        """The bases to try for a layer's counts, or (without a layer) for any."""
        bases = [*self.bases.get(key, ()), self.everywhere] if key is not None else [self.everywhere]
        return bases if batched else [tuple(sorted({(0, *m[1:]) for m in basis})) for basis in bases]


def plan(subject: Subject, short: bool, quickly: bool) -> Plan:
    """Look at a subject.

    Raises:
        TraceError: what it does changes with the batch or the size.
    """
    names = [size.name for size in subject.axes] or [NO_SIZE]
    usual = tuple(size.usual for size in subject.axes) or (1,)
    shortest = tuple(max(1, n // 2) for n in usual)
    looks = [_Look(Step(subject, variant, short), quickly) for variant in LOOKED_AT]
    first, *others = dict.fromkeys(_spread(shortest, usual, i) for i in range(5))
    runs: list[Run] = [(2, first), (3, first), *((2, sizes) for sizes in others)]
    alike = all(look.does_the_same(run, runs[0]) for look in looks for run in runs)
    others = [_spread(shortest, usual, i) for i in range(5, 40)]
    if not alike:
        tried = [(2, sizes) for sizes in (*(sizes for _, sizes in runs[2:]), *others)]
        same = [run for run in tried if all(look.does_the_same(run, runs[0]) for look in looks)]
        runs, others = [*runs[:2], *same[:4]], [sizes for _, sizes in same[4:]]
    while True:
        found = discover(names, runs, [d for look in looks for d in look.dimensions(runs)])
        sizes = telling(found, shortest, usual) if found.open and len(runs) < _MOST_RUNS else None
        if sizes is None or not all(look.does_the_same((2, sizes), runs[0]) for look in looks):
            break
        runs.append((2, sizes))
    bases: dict[Key, tuple[Basis, ...]] = {}
    for look in looks:
        for key, own in look.bases(found).items():
            before = bases.get(key, ((), ()))
            bases[key] = tuple(tuple(sorted({*a, *b})) for a, b in zip(before, own, strict=True))
    everywhere = tuple(sorted({m for _, wide in bases.values() for m in wide}))
    seen = list(dict.fromkeys([sizes for _, sizes in runs] + others[: len(everywhere)]))
    grid = [(batch, sizes) for sizes in seen for batch in (2, 3, 4)]
    grid.sort(key=lambda run: (seen.index(run[1]) + 5 * (run[0] - 2), run[0]))
    enough = _determining(grid, {wide for _, wide in bases.values()}, found)
    rest = _determining([*enough, *(r for r in grid if r not in enough)], {everywhere}, found)
    spare = [run for run in grid if run not in rest]
    return Plan(
        short,
        quickly,
        found,
        bases,
        everywhere,
        (*enough, *spare[:2]),
        (*(run for run in rest if run not in enough), *spare[2:5]),
        tuple([s for i in range(5, 60) if (s := _spread(shortest, usual, i)) not in seen][:3] or [first] * 3),
        (tuple(2 * n + 1 for n in usual), tuple(max(1, n // 3) for n in usual)) if subject.axes else (),
        alike,
    )


class _Look:
    """A subject in one variant, run at a few batches and sizes."""

    def __init__(self, step: Step, quickly: bool):
        self._step, self._quickly = step, quickly
        self._runs: dict[Run, list[Layer]] = {}
        self._places: list[tuple[int, list[tuple[Values, ...]]]] = []

    def layers(self, run: Run) -> list[Layer]:
        """What is recorded at a batch and sizes, the batch itself last."""
        if run not in self._runs:
            recorder = self._step.record(run[0], *run[1], quickly=self._quickly)
            batch_itself = Layer(INPUTS[0], "", 0, leaf=True, shapes=recorder.input_shapes)
            self._runs[run] = [*recorder.layers, batch_itself]
        return self._runs[run]

    def does_the_same(self, run: Run, other: Run) -> bool:
        """Whether the same operators run at both, on tensors of as many dimensions."""
        one, two = ([(x.module, tuple(map(len, x.shapes))) for x in self.layers(of)] for of in (run, other))
        return one == two

    def dimensions(self, runs: Sequence[Run]) -> Iterator[Values]:
        """Each dimension of each tensor, at each of the runs."""
        if not all(self.does_the_same(run, runs[0]) for run in runs):
            raise TraceError(
                "what the model does, not only how much of it, changes with the batch or the size"
            )
        recorded = [self.layers(run) for run in runs]
        self._places = [
            (i, [tuple(zip(*shapes, strict=True)) for shapes in zip(*(x.shapes for x in same), strict=True)])
            for i, same in enumerate(zip(*recorded, strict=True))
        ]
        for _, tensors in self._places:
            for tensor in tensors:
                yield from tensor

    def bases(self, found: Lengths) -> dict[Key, tuple[Basis, Basis]]:
        """For each layer the monomials of its own tensors, and of its neighbours' too."""
        known: dict[tuple[Values, ...], frozenset[Monomial]] = {}
        own: list[frozenset[Monomial]] = []
        for _, tensors in self._places:
            for tensor in tensors:
                if tensor not in known:
                    known[tensor] = _monomials(tensor, found)
            own.append(frozenset().union({(0, 0, 0)}, *(known[tensor] for tensor in tensors)))
        layers = keyed(next(iter(self._runs.values())))
        busy = [i for i, layer in enumerate(layers.values()) if layer.shapes]
        bases: dict[Key, tuple[Basis, Basis]] = {}
        for i, key in enumerate(layers):
            at = bisect(busy, i)
            near = busy[max(0, at - 1 - _NEIGHBOURS) : at + _NEIGHBOURS]
            bases[key] = tuple(sorted(own[i])), tuple(sorted(own[i].union(*(own[j] for j in near))))
        return bases


def _monomials(tensor: tuple[Values, ...], found: Lengths) -> frozenset[Monomial]:
    """Those of the number of a tensor's elements."""
    whole = Polynomial.constant(1)
    for values in tensor:
        meaning = found.meaning[values]
        if meaning is None:
            return frozenset()
        whole = product(whole, meaning)
    return frozenset(whole.terms)


def _spread(shortest: Sizes, usual: Sizes, index: int) -> Sizes:
    """The sizes of the ``index``-th run: the usual ones, then others down to the shortest."""
    return tuple(
        high - int((high - low) * ((index * _GOLDEN * (1 + place / 3)) % 1.0))
        for place, (low, high) in enumerate(zip(shortest, usual, strict=True))
    )


def _determining(runs: Iterable[Run], bases: Iterable[Basis], found: Lengths) -> list[Run]:
    """Those runs, of the given, that fix every coefficient of every basis as far as any of them do."""
    waiting: list[tuple[Basis, list[tuple[int, list[int]]]]] = [(basis, []) for basis in bases if basis]
    waiting = [w for w in waiting if not any(set(w[0]) < set(other) for other, _ in waiting)]
    chosen: list[Run] = []
    for run in runs:
        batch, axes = found.point(*run)
        more = [_independent(rows, [int(value(m, batch, axes)) for m in basis]) for basis, rows in waiting]
        if any(more):
            chosen.append(run)
            waiting = [w for w in waiting if len(w[1]) < len(w[0])]
        if not waiting:
            break
    return chosen


def _independent(rows: list[tuple[int, list[int]]], row: list[int]) -> bool:
    """Add a row to others, modulo a prime, if it does not follow from them."""
    for pivot, other in rows:
        factor = row[pivot]
        if factor:
            row = [(x - factor * y) % _PRIME for x, y in zip(row, other, strict=True)]
    pivot = next((k for k, x in enumerate(row) if x % _PRIME), -1)
    if pivot < 0:
        return False
    inverse = pow(row[pivot], -1, _PRIME)
    rows.append((pivot, [x * inverse % _PRIME for x in row]))
    return True

"""Which lengths decide what a model costs, found from the shapes of its tensors.

A step is run at a few sizes. Every dimension of every tensor then has a value at each of them: the batch, a
constant, a size, a length that follows from one as a convolution's output does (floored) or rounded up, or a
sum or product of these. A dimension that none of the lengths known so far explains is a new one.

Nothing is looked up: what a convolution, a pooling, a slice with a step or a reshape makes of a length is
found in the same way. Where the runs so far leave open which length it is, the size that would tell is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import gcd

import numpy as np
from numpy.typing import NDArray

from fedsim.pricing.polynomial import Axis, Monomial, Polynomial, lengths, monomial, powers
from fedsim.tracing.interpolation import Point

Sizes = tuple[int, ...]
Values = tuple[int, ...]
"""A dimension at every run."""

_MOST_OPTIONS = 64


@dataclass
class Lengths:
    """The lengths that were found.

    Attributes:
        axes: the sizes of an example, then what follows from them.
        meaning: of each dimension, a polynomial in the batch and the axes; None where none was found.
        open: for each axis that could be another one: the axes that it could be.
    """

    axes: list[Axis]
    meaning: dict[Values, Polynomial | None] = field(default_factory=dict)
    open: dict[int, list[Axis]] = field(default_factory=dict)

    def point(self, batch: int, sizes: Sizes) -> Point:
        """A batch, and the length of every axis."""
        return batch, tuple(int(n) for n in lengths(self.axes, *sizes))


def product(one: Polynomial, other: Polynomial) -> Polynomial:
    """One polynomial times another."""
    terms: dict[Monomial, int | float] = {}
    for m, c in one.terms.items():
        for n, d in other.terms.items():
            by_axis: dict[int, int] = {}
            for axis, power in [*powers(m), *powers(n)]:
                by_axis[axis] = by_axis.get(axis, 0) + power
            key = monomial(m[0] + n[0], by_axis)
            terms[key] = terms.get(key, 0) + c * d
    return Polynomial(terms)


def discover(
    names: Sequence[str], runs: Sequence[tuple[int, Sizes]], dimensions: Iterable[Values]
) -> Lengths:
    """Find the lengths.

    Args:
        names: of an example's sizes.
        runs: batch and sizes of each run; the first two differ in their batch alone.
        dimensions: the values of each dimension at every run, in the order in which they came up.
    """
    found = Lengths([Axis(name) for name in names])
    search = _Search(found, runs)
    for values in dict.fromkeys(dimensions):
        found.meaning[values] = search.meaning(values)
    return found


class _Search:
    def __init__(self, found: Lengths, runs: Sequence[tuple[int, Sizes]]):
        self.found = found
        self.batches = [batch for batch, _ in runs]
        self.known: list[NDArray[np.int64]] = [
            np.array([sizes[i] for _, sizes in runs], np.int64) for i in range(len(found.axes))
        ]

    def meaning(self, values: Values) -> Polynomial | None:
        """What a dimension is, and if need be a new axis."""
        for power in (0, 1, 2):
            scale = [batch**power for batch in self.batches]
            if all(v % s == 0 for v, s in zip(values, scale, strict=True)):
                plain = np.array([v // s for v, s in zip(values, scale, strict=True)], np.int64)
                if plain[0] == plain[1]:
                    held = self._known(plain) or self._new(plain)
                    return held and product(Polynomial({(power, 0, 0): 1}), held)
        return self._sum(np.array(values, np.int64))

    def _known(self, v: NDArray[np.int64]) -> Polynomial | None:
        """A constant, or a polynomial of one axis, or a product or a sum of two."""
        if (v == v[0]).all():
            return Polynomial.constant(int(v[0]))
        axes = range(len(self.known) - 1, -1, -1)
        for a in axes:
            if (line := _line(self.known[a], v)) is not None:
                return Polynomial({(0, a, 1): line[0], (0, 0, 0): line[1]})
        for a in axes:
            x = self.known[a]
            for b in range(a + 1):
                y = self.known[b]
                if (line := _line(x * y, v)) is not None:
                    powers_of = {a: 2} if a == b else {a: 1, b: 1}
                    return Polynomial({monomial(0, powers_of): line[0], (0, 0, 0): line[1]})
                if b < a and (plane := _plane(x, y, v)) is not None:
                    return Polynomial({(0, a, 1): plane[0], (0, b, 1): plane[1], (0, 0, 0): plane[2]})
        for a in axes:  # such as n x (2n - 1)
            x = self.known[a]
            if (x > 0).all() and (v % x == 0).all() and (line := _line(x, v // x)) is not None:
                return Polynomial({(0, a, 2): line[0], (0, a, 1): line[1]})
        return None

    def _new(self, v: NDArray[np.int64]) -> Polynomial | None:
        """A length that follows from one that is known: ``scale`` times a floored quotient, and a rest."""
        common = gcd(*(int(n) for n in np.abs(v - v[0])))
        for scale in dict.fromkeys((1, common)):
            y, rest = v // scale, int(v[0]) % scale
            for a in range(len(self.known) - 1, -1, -1):
                options = _follows(self.known[a], y)
                if options:
                    index = len(self.known)
                    root = self._root(a)
                    named = [
                        Axis(f"{self.found.axes[root].name}_{index}", of=a, kernel=k, stride=s)
                        for s, k in options
                    ]
                    self.found.axes.append(named[0])
                    self.known.append(y)
                    if len(named) > 1:
                        self.found.open[index] = named
                    return Polynomial({(0, index, 1): scale, (0, 0, 0): rest})
        return None

    def _root(self, index: int) -> int:
        while (of := self.found.axes[index].of) is not None:
            index = of
        return index

    def _sum(self, v: NDArray[np.int64]) -> Polynomial | None:
        """What grows with the batch beside something else: batch x a length, and a constant or a length."""
        batch = np.array(self.batches, np.int64)
        for a in range(len(self.known) - 1, -1, -1):
            x = self.known[a]
            for rest, axis in ((x, a), (np.ones_like(x), 0)):
                line = _line(batch * x, v, rest)
                if line is not None:
                    return Polynomial({(1, a, 1): line[0], monomial(0, {axis: int(rest is x)}): line[1]})
        return None


def _line(x: NDArray[np.int64], v: NDArray[np.int64], rest: NDArray[np.int64] | None = None) -> Values | None:
    """Whole numbers p, q with ``v = p x + q``, or ``p x + q rest``, everywhere; None if there are none."""
    one = np.ones_like(x) if rest is None else rest
    ratio = x * one[0] - one * x[0]
    places = np.flatnonzero(ratio)
    if not places.size:
        return None
    i = places[0]
    top = int(v[i]) * int(one[0]) - int(one[i]) * int(v[0])
    p, over = divmod(top, int(ratio[i]))
    q, left = divmod(int(v[0]) - p * int(x[0]), int(one[0]))
    return (p, q) if not (over or left) and (v == p * x + q * one).all() else None


def _plane(x: NDArray[np.int64], y: NDArray[np.int64], v: NDArray[np.int64]) -> Values | None:
    """Whole numbers p, q, r with ``v = p x + q y + r`` everywhere; None if there are none, or several."""
    dx, dy, dv = x - x[0], y - y[0], v - v[0]
    i = int(np.argmax(dx != 0))
    crossed = dx[i] * dy - dy[i] * dx
    j = int(np.argmax(crossed != 0))
    if not crossed[j]:
        return None
    p, over = divmod(int(dv[i] * dy[j] - dv[j] * dy[i]), int(crossed[j]))
    q, left = divmod(int(dx[i] * dv[j] - dx[j] * dv[i]), int(crossed[j]))
    r = int(v[0]) - p * int(x[0]) - q * int(y[0])
    return (p, q, r) if not (over or left) and (v == p * x + q * y + r).all() else None


def _follows(x: NDArray[np.int64], y: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Every (stride, kernel) with ``y = floor((x - kernel) / stride) + 1`` everywhere, strides from 2 on."""
    low, high = int(np.argmin(x)), int(np.argmax(x))
    dx, dy = int(x[high] - x[low]), int(y[high] - y[low])
    if dy < 1:
        return []
    found: list[tuple[int, int]] = []
    for stride in range(max(2, dx // (dy + 1)), (dx // (dy - 1) if dy > 1 else dx) + 2):
        first, last = int((x - stride * y).max()) + 1, int((x - stride * y).min()) + stride
        found += [(stride, kernel) for kernel in range(first, last + 1)]
        if len(found) > 4096:
            break
    if len(found) > _MOST_OPTIONS:  # the rest follow once these are told apart
        found = [found[int(i)] for i in np.linspace(0, len(found) - 1, _MOST_OPTIONS)]
    return found


def telling(found: Lengths, shortest: Sizes, usual: Sizes) -> Sizes | None:
    """Sizes at which a step would say most about the axes that are open; None if none would say anything.

    Args:
        found: lengths, some of them open.
        shortest: the smallest sizes to try.
        usual: the largest.
    """
    best: tuple[float, Sizes] | None = None
    for place, (low, high) in enumerate(zip(shortest, usual, strict=True)):
        tried = np.unique(np.linspace(low, high, 4096).astype(np.int64))
        sizes = [tried if i == place else np.int64(n) for i, n in enumerate(usual)]
        whole = lengths(found.axes, *sizes)
        said = np.zeros(tried.size)
        for options in found.open.values():
            of = options[0].of
            assert of is not None
            each = np.stack([np.broadcast_to(o.length(whole[of]), tried.shape) for o in options])
            each.sort(axis=0)
            said += (np.diff(each, axis=0) != 0).sum(axis=0) * _evenness(each)
        at = int(np.argmax(said))
        if said[at] > 0 and (best is None or said[at] > best[0]):
            best = float(said[at]), tuple(int(tried[at]) if i == place else n for i, n in enumerate(usual))
    return best and best[1]


def _evenness(each: NDArray[np.int64]) -> NDArray[np.float64]:
    """For sorted options (options, sizes): 1 where half of them are below the middle, less elsewhere."""
    below = (each < each[-1]).mean(axis=0)
    return np.asarray(1.0 - 2.0 * np.abs(below - 0.5) + 1e-3)

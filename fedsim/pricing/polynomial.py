"""Exact counts as functions of batch and sizes: sums of coefficient x batch^i x axis^j (x axis^k ...).

An axis is a size of an example (the samples of a waveform, the tokens of a text), or a length that follows
from one: the frames after a convolution, or a length rounded up. Coefficients are whole numbers, and so are
the values: with integer arrays the arithmetic is exact up to 2**63.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.options import Name, Options, option

Monomial = tuple[int, ...]
"""(power of the batch, axis, power of the axis, another axis, its power, ...), axes in rising order.

What depends on no axis is (power of the batch, 0, 0).
"""

_NUMBER = "a whole number from 0 to 1e6"


@dataclass(frozen=True)
class Axis(Options):
    """A size of an example, or a length that follows from another one: a convolution's output, or rounding.

    ``of`` is the index of the axis that it follows from, None for a size itself. A kernel below zero is that
    of a convolution that pads more than it is wide.
    """

    name: Name = option(right="the name of the axis")
    of: int | None = option(None, ge=0, right="the index of an axis before it")
    kernel: int = option(1, ge=-(10**6), le=10**6, right="a whole number from -1e6 to 1e6")
    stride: int = option(1, ge=1, le=10**6, right="a whole number from 1 to 1e6")
    multiple: int = option(0, ge=0, le=10**6, right=_NUMBER)

    def length(self, source: Any) -> Any:
        """The length that follows from ``source``, elementwise; never below 0.

        ``floor((source - kernel) / stride) + 1`` for a convolution without padding (the formula of
        torch.nn.Conv1d), ``source`` rounded up where ``multiple`` is set.
        """
        if self.multiple:
            return -(-source // self.multiple) * self.multiple
        return np.maximum((source - self.kernel) // self.stride + 1, 0)


def lengths(axes: Sequence[Axis], *sizes: Any) -> list[NDArray[np.int64]]:
    """Every axis at these sizes, as integer arrays of the shape of what it follows from.

    Args:
        axes: in an order in which each follows from one before it.
        sizes: one for each axis that follows from none.
    """
    found: list[NDArray[np.int64]] = []
    given = iter(sizes)
    for axis in axes:
        found.append(np.asarray(next(given), np.int64) if axis.of is None else axis.length(found[axis.of]))
    return found


def powers(monomial: Monomial) -> Iterator[tuple[int, int]]:
    """The axes in a monomial, each with its power."""
    for place in range(1, len(monomial), 2):
        if monomial[place + 1]:
            yield monomial[place], monomial[place + 1]


def monomial(batch: int, by_axis: Mapping[int, int]) -> Monomial:
    """The monomial with these powers."""
    found = [part for axis in sorted(by_axis) if by_axis[axis] for part in (axis, by_axis[axis])]
    return (batch, *(found or (0, 0)))


def value(monomial: Monomial, batch: Any, axes: Sequence[Any], coefficient: int | float = 1) -> Any:
    """A monomial times a coefficient; arrays broadcast, integers stay integers."""
    found: Any = coefficient
    for _ in range(monomial[0]):
        found = found * batch
    for axis, power in powers(monomial):
        for _ in range(power):
            found = found * axes[axis]
    return found


class Polynomial:
    """An immutable sum of terms; added with ``+``, scaled with ``*``, evaluated by calling it."""

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[Any, int | float] | Iterable[tuple[Monomial, int | float]] = ()):
        self.terms: dict[Monomial, int | float] = {m: c for m, c in dict(terms).items() if c}

    @classmethod
    def total(cls, parts: Iterable[Polynomial]) -> Polynomial:
        """The sum of many."""
        terms: dict[Monomial, int | float] = {}
        for part in parts:
            for monomial, coefficient in part.terms.items():
                terms[monomial] = terms.get(monomial, 0) + coefficient
        return cls(terms)

    @classmethod
    def constant(cls, value: int | float) -> Polynomial:
        """The polynomial that is ``value`` everywhere."""
        return cls({(0, 0, 0): value})

    def __add__(self, other: Polynomial) -> Polynomial:
        return Polynomial.total((self, other)) if other.terms else self

    def __sub__(self, other: Polynomial) -> Polynomial:
        return Polynomial.total((self, other * -1))

    def __mul__(self, factor: int | float) -> Polynomial:
        return Polynomial({m: c * factor for m, c in self.terms.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polynomial) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __repr__(self) -> str:
        parts = [
            " ".join([f"{c:+} b^{m[0]}", *(f"axis{a}^{j}" for a, j in powers(m))])
            for m, c in sorted(self.terms.items())
        ]
        return f"Polynomial({' '.join(parts) or '0'})"

    def __call__(self, batch: Any, axes: Sequence[Any]) -> Any:
        """The value at ``batch`` and the axis lengths; arrays broadcast, integers stay integers."""
        result: Any = np.zeros(
            np.broadcast_shapes(np.shape(batch), np.shape(axes[0])), np.asarray(batch).dtype
        )
        for key, coefficient in self.terms.items():
            result = result + value(key, batch, axes, coefficient)
        return result

    def at(self, batch: int, axes: Sequence[int]) -> int:
        """The value at one batch and one length an axis, as a whole number of any size."""
        return sum(int(value(m, batch, axes, int(c))) for m, c in self.terms.items())

    def holding(self, lengths: Mapping[int, int], axes: Mapping[int, int]) -> Polynomial:
        """The polynomial with some axes at fixed lengths, and the others under other numbers."""
        terms: dict[Monomial, int | float] = {}
        for key, coefficient in self.terms.items():
            rest = {axes[axis]: power for axis, power in powers(key) if axis not in lengths}
            for axis, power in powers(key):
                coefficient *= lengths[axis] ** power if axis in lengths else 1
            left = monomial(key[0], rest)
            terms[left] = terms.get(left, 0) + coefficient
        return Polynomial(terms)

    def covers(self, other: Polynomial) -> bool:
        """Whether this one is certainly at least ``other``: no coefficient below the other's."""
        return all(self.terms.get(m, 0) >= other.terms.get(m, 0) for m in {*self.terms, *other.terms})

    def to_json(self) -> list[list[int | float]]:
        """``[[coefficient, power of the batch, axis, power of the axis, ...], ...]``, sorted."""
        return [[c, *m] for m, c in sorted(self.terms.items())]


def largest(candidates: Iterable[Polynomial]) -> tuple[Polynomial, ...]:
    """Those candidates that may be the largest somewhere: what another one covers is left out."""
    kept: list[Polynomial] = []
    ordered = sorted(set(candidates), key=lambda p: (-sum(p.terms.values()), str(p)))
    for candidate in ordered:
        if not any(other.covers(candidate) for other in kept):
            kept = [other for other in kept if not candidate.covers(other)]
            kept.append(candidate)
    return tuple(kept)

"""Exact counts as functions of batch and length: sums of coefficient x batch^i x axis^j.

An axis is a length that follows from the number of samples in a waveform: the samples themselves,
the frames after each convolution, or one of these rounded up to a multiple. Coefficients are whole
numbers, and so are the values: with integer arrays the arithmetic is exact up to 2**63.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.options import Name, Options, option

Monomial = tuple[int, int, int]
"""(power of the batch, axis, power of the axis); the axis is 0 where its power is."""


_NUMBER = "a whole number from 0 to 1e6"


@dataclass(frozen=True)
class Axis(Options):
    """A length that follows from another one: a convolution's output, or rounding up.

    ``of`` is the index of the axis that it follows from, None for the waveform itself.
    """

    name: Name = option(right="the name of the axis")
    of: int | None = option(None, ge=0, right="the index of an axis before it")
    kernel: int = option(1, ge=0, le=10**6, right=_NUMBER)
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


def lengths(axes: Sequence[Axis], samples: Any) -> list[NDArray[np.int64]]:
    """Every axis at these waveform lengths, as integer arrays of the shape of ``samples``."""
    found: list[NDArray[np.int64]] = []
    for axis in axes:
        found.append(np.asarray(samples, np.int64) if axis.of is None else axis.length(found[axis.of]))
    return found


class Polynomial:
    """An immutable sum of terms; added with ``+``, scaled with ``*``, evaluated by calling it."""

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[Monomial, int | float] | Iterable[tuple[Monomial, int | float]] = ()):
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
        return Polynomial.total((self, other))

    def __sub__(self, other: Polynomial) -> Polynomial:
        return Polynomial.total((self, other * -1))

    def __mul__(self, factor: int | float) -> Polynomial:
        return Polynomial({m: c * factor for m, c in self.terms.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polynomial) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __repr__(self) -> str:
        parts = [f"{c:+} b^{i} axis{a}^{j}" for (i, a, j), c in sorted(self.terms.items())]
        return f"Polynomial({' '.join(parts) or '0'})"

    def __call__(self, batch: Any, axes: Sequence[Any]) -> Any:
        """The value at ``batch`` and the axis lengths; arrays broadcast, integers stay integers."""
        result: Any = np.zeros(
            np.broadcast_shapes(np.shape(batch), np.shape(axes[0])), np.asarray(batch).dtype
        )
        for (i, axis, j), coefficient in self.terms.items():
            term: Any = coefficient
            if i:
                term = term * batch
            for _ in range(j):
                term = term * axes[axis]
            result = result + term
        return result

    def covers(self, other: Polynomial) -> bool:
        """Whether this one is certainly at least ``other``: no coefficient below the other's."""
        return all(self.terms.get(m, 0) >= other.terms.get(m, 0) for m in {*self.terms, *other.terms})

    def to_json(self) -> list[list[int | float]]:
        """``[[coefficient, power of the batch, axis, power of the axis], ...]``, sorted."""
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

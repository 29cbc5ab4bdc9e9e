"""Which moments of a step can be its peak, at whatever batch and length.

A step has about a thousand moments. Most are below another one everywhere, which can be proved from
their coefficients: lengths after later convolutions are bounded by those before them, batch and
frames are at least 1, waveforms at most :data:`LONGEST_SAMPLES`, and what is below a mixture of two
others is below the larger of them. What cannot be proved to be below stays, so the maximum over the
rest is the maximum over all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedsim.pricing.polynomial import Axis, Monomial, Polynomial, lengths
from fedsim.units import SAMPLES_PER_S

Array = NDArray[np.float64]
LONGEST_SAMPLES = SAMPLES_PER_S * 36
"""36 s of waveform, longer than any utterance of the usual corpora; beyond it every moment is compared."""

_MIXTURES = np.unique(np.concatenate([np.linspace(0.0, 1.0, n + 1) for n in (11, 12, 16, 23, 24)]))
"""Shares of the first of two; layers between the first and the last are such mixtures of them."""

_TOLERANCE_BYTES = 1.0
"""Rounding of the proofs."""


def contenders(candidates: Sequence[Polynomial], axes: Sequence[Axis], frames_axis: int) -> list[int]:
    """Indices of the candidates of which one is the largest, for any batch and up to the longest waveform.

    Args:
        candidates: polynomials in batch and ``axes``.
        axes: as in a layer trace; the waveform first, each convolution's frames after its input's.
        frames_axis: the axis of the frames after the last convolution.
    """
    unique: dict[Polynomial, int] = {}
    for index, candidate in enumerate(candidates):
        unique.setdefault(candidate, index)
    polynomials, where = list(unique), list(unique.values())
    basis = sorted({m for p in polynomials for m in p.terms})
    column = {m: i for i, m in enumerate(basis)}
    table = np.zeros((len(polynomials), len(basis)))
    for row, polynomial in enumerate(polynomials):
        for monomial, coefficient in polynomial.terms.items():
            table[row, column[monomial]] = coefficient
    winners = _winners(table, basis, axes)
    firsts, seconds = (x.ravel() for x in np.meshgrid(winners, winners))
    different = firsts <= seconds
    shares = _MIXTURES[:, None, None]
    mixtures = shares * table[firsts[different]] + (1 - shares) * table[seconds[different]]
    mixtures = mixtures.reshape(-1, len(basis))
    kept = [
        row
        for row in range(len(polynomials))
        if row in winners or not _never_negative(mixtures - table[row], basis, axes, frames_axis).any()
    ]
    return sorted(where[row] for row in kept)


def _winners(table: Array, basis: list[Monomial], axes: Sequence[Axis]) -> list[int]:
    """The candidates that are largest somewhere on a coarse grid."""
    samples = np.unique(np.geomspace(400, LONGEST_SAMPLES, 32).astype(np.int64))
    batch = np.array([1, 2, 4, 8, 16, 32, 64, 256])[:, None]
    frames = lengths(axes, samples)
    grid = np.stack(
        [np.broadcast_to(batch**i * frames[a] ** j, (len(batch), len(samples))) for i, a, j in basis]
    )
    return sorted(set(np.argmax(table @ grid.reshape(len(basis), -1).astype(float), axis=0).tolist()))


def _never_negative(
    differences: Array, basis: list[Monomial], axes: Sequence[Axis], frames_axis: int
) -> NDArray[np.bool_]:
    """Whether each row is provably never below 0, for batches from 1 up and waveforms up to the longest.

    Every length is bounded by the next convolution's: with ``out = (in - kernel) // stride + 1``,
    ``stride out + kernel - stride <= in <= stride out + kernel - 1``.
    """
    groups = []
    for power in (0, 1):
        linear = np.zeros((len(differences), len(axes)))
        constant = np.zeros(len(differences))
        square = np.zeros(len(differences))
        for index, (i, axis, j) in enumerate(basis):
            if i != power:
                continue
            if j == 0:
                constant += differences[:, index]
            elif j == 1:
                linear[:, axis] += differences[:, index]
            elif axis == frames_axis:
                square += differences[:, index]
            else:
                raise ValueError(f"axis {axis} has a power of {j}, which only frames may have")
        for axis in range(frames_axis):
            nxt = axes[axis + 1]
            value = linear[:, axis]
            shortest = nxt.kernel - nxt.stride - 2 * nxt.padding
            longest = nxt.kernel - 1 - 2 * nxt.padding
            constant += np.where(value > 0, value * shortest, value * longest)
            linear[:, axis + 1] += value * nxt.stride
        slope = linear[:, frames_axis].copy()
        for axis in range(frames_axis + 1, len(axes)):
            value = linear[:, axis]
            slope += value
            constant += np.where(value < 0, value * max(axes[axis].multiple - 1, 0), 0.0)
        groups.append((square, slope, constant))
    (q0, l0, c0), (q1, l1, c1) = groups
    most = float(lengths(axes, LONGEST_SAMPLES)[frames_axis])
    lower, both = _positive(q1, l1, c1, most), _positive(q0 + q1, l0 + l1, c0 + c1, most)
    return np.logical_and(lower, both)


def _positive(square: Array, slope: Array, constant: Array, most: float) -> NDArray[np.bool_]:
    """Whether ``square n^2 + slope n + constant`` is not negative for n from 1 to ``most``."""
    first = square + slope + constant
    last = square * most * most + slope * most + constant
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = np.clip(np.where(square > 0, -slope / (2 * square), 1.0), 1.0, most)
        lowest = square * turn * turn + slope * turn + constant
    return np.asarray(np.minimum(np.minimum(first, last), lowest) >= -_TOLERANCE_BYTES)

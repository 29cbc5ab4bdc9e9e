"""All of a step's layers added up: one polynomial per feature, one table of moments.

What a :class:`~fedsim.pricing.pricer.Pricer` evaluates. Adding up happens once, so pricing a million
batches costs a few dozen array operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.pricing.layers import LayerTrace
from fedsim.pricing.polynomial import Monomial, Polynomial, value
from fedsim.pricing.rates import FEATURES
from fedsim.pricing.technique import Technique
from fedsim.pricing.timeline import Closeup, Timeline, timeline

Array = NDArray[np.float64]
_FEW = 4096
_CHUNK = 8192

PAPER_ARITHMETIC = ("conv", "grouped_conv", "matmul")
"""What the paper's FLOPs count: convolutions and linear layers, not attention's products."""


@dataclass(frozen=True)
class Work:
    """One micro-batch of a step under a technique, for one set of metrics of a trace."""

    trace: LayerTrace
    timeline: Timeline
    features: tuple[Polynomial, ...]
    forward_flops: Polynomial
    forward_flops_paper: Polynomial
    training_flops: Polynomial

    @cached_property
    def all_moments(self) -> Moments:
        """Every moment of the step."""
        return Moments(self.timeline.moments)

    @cached_property
    def few_moments(self) -> Moments:
        """Those of which one is the peak, whatever the batch and the length."""
        return Moments([self.timeline.moments[row] for row in contenders(self.all_moments.total)])

    def moments(self, samples: Any) -> Moments:
        """The moments to compare for waveforms of these lengths: few where finding them pays."""
        return self.all_moments if np.size(samples) <= _FEW else self.few_moments


def contenders(table: Array) -> list[int]:
    """Rows that no other row is at least as large as in every coefficient; of equal ones the first.

    Monomials are never negative, so what has smaller coefficients is never the larger.
    """
    kept: list[int] = []
    for row in np.argsort(-table.sum(axis=1), kind="stable").tolist():
        if not (table[kept] >= table[row]).all(axis=1).any():
            kept.append(row)
    return sorted(kept)


def collect(trace: LayerTrace, variant: str, technique: Technique) -> Work:
    """Add up a step.

    Args:
        trace: the model.
        variant: a set of metrics, as :meth:`LayerTrace.names` gives them.
        technique: how it is trained.
    """
    steps = timeline(trace, variant, technique)
    features: dict[str, list[Polynomial]] = {name: [] for name in FEATURES}
    everything: list[Polynomial] = []
    forward: list[Polynomial] = []
    paper: list[Polynomial] = []
    for run in steps.passes:
        side = "backward" if run.backward else "forward"
        flops = run.profile[f"{side}_flops"]
        if flops.terms:
            everything.append(flops)
            features[f"{run.layer.arithmetic or 'matmul'}_flops"].append(flops)
            if not run.backward and not run.again:
                forward.append(flops)
                if run.layer.arithmetic in PAPER_ARITHMETIC:
                    paper.append(flops)
        features["launches"].append(run.profile[f"{side}_launches"])
        features["operand_bytes"].append(run.profile[f"{side}_operand_bytes"])
        features["stream_bytes"].append(run.profile[f"{side}_stream_bytes"])
    for tail in steps.tails:
        features["launches"].append(tail.tail_launches * -1)
        features["operand_bytes"].append(tail.tail_operand_bytes * -1)
        features["stream_bytes"].append(tail.tail_stream_bytes * -1)
    return Work(
        trace,
        steps,
        tuple(Polynomial.total(features[name]) for name in FEATURES),
        Polynomial.total(forward),
        Polynomial.total(paper),
        Polynomial.total(everything),
    )


class Moments:
    """Moments as tables: what is alive at each, as coefficients of common monomials."""

    def __init__(self, moments: Sequence[Closeup]):
        self.moments = tuple(moments)
        parts = {
            "saved": [m.saved for m in self.moments],
            "workspace": [m.workspace for m in self.moments],
            "gradients": [Polynomial.constant(m.gradient_bytes) for m in self.moments],
        }
        self.basis: list[Monomial] = sorted({k for ps in parts.values() for p in ps for k in p.terms})
        column = {monomial: i for i, monomial in enumerate(self.basis)}
        self.tables: dict[str, Array] = {}
        for name, polynomials in parts.items():
            table = np.zeros((len(self.moments), len(self.basis)))
            for row, polynomial in enumerate(polynomials):
                for monomial, coefficient in polynomial.terms.items():
                    table[row, column[monomial]] = coefficient
            self.tables[name] = table
        self.total = sum(self.tables.values(), np.zeros((len(self.moments), len(self.basis))))

    def peak(self, batch: Array, axes: Sequence[Array]) -> dict[str, Array]:
        """What is alive at the largest moment: saved, workspace, gradients; arrays of one dimension."""
        found = {name: np.empty(len(batch)) for name in self.tables}
        for part, monomials in self._chunks(batch, axes):
            winner = np.argmax(self.total @ monomials, axis=0)
            for name, table in self.tables.items():
                found[name][part] = np.einsum("nm,mn->n", table[winner], monomials)
        return found

    def peak_bytes(self, batch: Array, axes: Sequence[Array]) -> Array:
        """The sum of :meth:`peak`, without its parts."""
        found = np.empty(len(batch))
        for part, monomials in self._chunks(batch, axes):
            np.max(self.total @ monomials, axis=0, out=found[part])
        return found

    def _chunks(self, batch: Array, axes: Sequence[Array]) -> Iterator[tuple[slice, Array]]:
        """The monomials' values, (monomials, batches), a cache's worth at a time."""
        for start in range(0, len(batch), _CHUNK):
            part = slice(start, start + _CHUNK)
            monomials = np.empty((len(self.basis), len(batch[part])))
            here = [axis[part] for axis in axes]
            for row, key in enumerate(self.basis):
                monomials[row] = value(key, batch[part], here, 1.0)
            yield part, monomials

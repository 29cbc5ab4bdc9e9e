"""From exact counts at a few points to exact polynomials, in whole-number arithmetic.

A count is tried as a sum of few monomials; the coefficients follow from some of the points by
Fractions, and the rest of the points must agree to the last digit. Nothing is rounded and nothing is
approximated: a count that none of the candidates explains is an error, unless it is asked for the nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import lcm

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import FedsimError
from fedsim.pricing.polynomial import Monomial, Polynomial, value

Basis = tuple[Monomial, ...]
Point = tuple[int, tuple[int, ...]]
"""A batch and the lengths of all axes."""


class FitError(FedsimError):
    """A count is not a polynomial of the kinds that a trace can hold."""


@lru_cache(maxsize=1024)
def _solver(
    points: tuple[Point, ...], basis: tuple[Monomial, ...]
) -> tuple[tuple[int, ...], NDArray[np.object_], int, NDArray[np.object_]] | None:
    """Rows to solve with, the integer inverse of their matrix and its denominator, the whole matrix."""
    matrix = [[int(value(m, b, axes)) for m in basis] for b, axes in points]
    rows = _independent(matrix)
    if len(rows) < len(basis):
        return None
    inverse = _invert([matrix[r] for r in rows])
    denominator = lcm(*(x.denominator for row in inverse for x in row))
    scaled = np.array([[int(x * denominator) for x in row] for row in inverse], dtype=object)
    return tuple(rows), scaled, denominator, np.array(matrix, dtype=object)


def _independent(rows: Sequence[Sequence[int]]) -> list[int]:
    """The places of the rows that do not follow from those before them."""
    found: list[int] = []
    reduced: list[tuple[int, list[Fraction]]] = []
    for index, row in enumerate(rows):
        rest = [Fraction(x) for x in row]
        for pivot, other in reduced:
            factor = rest[pivot]
            if factor:
                rest = [x - factor * y for x, y in zip(rest, other, strict=True)]
        pivot = next((k for k, x in enumerate(rest) if x), -1)
        if pivot >= 0:
            reduced.append((pivot, [x / rest[pivot] for x in rest]))
            found.append(index)
    return found


def _invert(matrix: list[list[int]]) -> list[list[Fraction]]:
    size = len(matrix)
    work = [
        [Fraction(x) for x in row] + [Fraction(int(i == k)) for k in range(size)]
        for i, row in enumerate(matrix)
    ]
    for column in range(size):
        pivot = next(r for r in range(column, size) if work[r][column])
        work[column], work[pivot] = work[pivot], work[column]
        scale = work[column][column]
        work[column] = [x / scale for x in work[column]]
        for row in range(size):
            factor = work[row][column]
            if row != column and factor:
                work[row] = [x - factor * y for x, y in zip(work[row], work[column], strict=True)]
    return [row[size:] for row in work]


def fit(
    points: Sequence[Point],
    values: Sequence[Sequence[int]],
    candidates: Sequence[Sequence[Monomial]],
    nearest: bool = False,
) -> list[Polynomial]:
    """The polynomial of each count.

    Args:
        points: where the counts were taken.
        values: (points, counts) whole numbers.
        candidates: bases in the order in which they are tried for each count; one that the points leave no
            room to check is not.
        nearest: take the nearest polynomial of the last basis for a count that none explains.

    Raises:
        FitError: a count that no candidate explains at every point.
    """
    table = np.array(values, dtype=object).reshape(len(points), -1)
    found: list[Polynomial | None] = [None] * table.shape[1]
    waiting = np.arange(table.shape[1])
    for basis in candidates:
        solver = _solver(tuple(points), tuple(basis))
        if solver is None or len(points) <= len(basis) or not len(waiting):
            continue
        rows, inverse, denominator, matrix = solver
        wanted = table[:, waiting]
        scaled = inverse.dot(wanted[list(rows)])
        whole = np.all(scaled % denominator == 0, axis=0)
        coefficients = scaled // denominator
        agrees = whole & np.all(matrix.dot(coefficients) == wanted, axis=0)
        for column in np.flatnonzero(agrees):
            found[waiting[column]] = Polynomial(
                {m: int(c) for m, c in zip(basis, coefficients[:, column], strict=True)}
            )
        waiting = waiting[~agrees]
    if nearest:
        for column in waiting:
            found[column] = _nearest(points, [int(v) for v in table[:, column]], candidates[-1])
    elif len(waiting):
        shown = [int(v) for v in table[:, waiting[0]]]
        raise FitError(f"a count is not polynomial in batch and sizes: {shown} at {list(points)}")
    return [polynomial for polynomial in found if polynomial is not None]


@lru_cache(maxsize=1024)
def _telling(points: tuple[Point, ...], basis: Basis) -> Basis:
    """The monomials that do not follow from those before them, as far as the points tell."""
    rows = [[int(value(m, b, axes)) for b, axes in points] for m in basis]
    return tuple(basis[place] for place in _independent(rows))


def _nearest(points: Sequence[Point], values: Sequence[int], basis: Sequence[Monomial]) -> Polynomial:
    """Least squares of relative errors; coefficients rounded to whole numbers.

    Of monomials that depend on others at all of the points only the first are used.
    """
    basis = _telling(tuple(points), tuple(basis))
    matrix = np.array([[float(value(m, b, axes)) for m in basis] for b, axes in points])
    wanted = np.array(values, dtype=float)
    weight = 1.0 / np.maximum(np.abs(wanted), 1.0)[:, None]
    scale = np.abs(matrix * weight).max(axis=0)
    solved = np.linalg.lstsq(matrix * weight / scale, wanted * weight[:, 0], rcond=1e-9)[0] / scale
    return Polynomial({m: round(float(c)) for m, c in zip(basis, solved, strict=True)})

"""From what a round hands over to the columns that are written, as arrays.

Also the arithmetic that ties the tables together: :func:`totals` computes a round's row from its
client rows, so that the two add up by construction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedsim.missing import MISSING
from fedsim.outcomes import OUTCOMES
from fedsim.results.columns import CLIENTS, FILES, ROUNDS, TABLES

TEXT = {table: frozenset(c.name for c in columns if c.dtype == "string") for table, columns in FILES.items()}
NULLABLE = {table: frozenset(c.name for c in columns if c.null) for table, columns in FILES.items()}
ALL_ALIKE = ("all",)
"""The ways to train of a run in which everybody trains all of the model."""

_PACKED = {"int64": "<i8", "float64": "<f8", "string": "<i4"}


class Words(NamedTuple):
    """A text column: ``words[codes]``."""

    codes: NDArray[np.int64]
    words: Sequence[str]

    def __len__(self) -> int:
        return len(self.codes)


Columns = Mapping[str, "NDArray[Any] | Words"]


@cache
def layout(table: str) -> np.dtype[Any]:
    """A row of a table as packed numbers, of text a code."""
    return np.dtype([(c.name, _PACKED[c.dtype]) for c in TABLES[table]])


def outcome_codes(outcome: ArrayLike) -> NDArray[np.int64]:
    """Outcomes as positions in ``OUTCOMES``; takes words or such positions.

    Raises:
        ValueError: if a word is not an outcome.
    """
    given = np.asarray(outcome)
    if given.dtype.kind in "iu":
        codes = given.astype(np.int64)
        if codes.size and (codes.min() < 0 or codes.max() >= len(OUTCOMES)):
            raise ValueError(f"an outcome code is outside 0..{len(OUTCOMES) - 1}")
        return codes
    words, inverse = np.unique(given.astype(str), return_inverse=True)
    unknown = [str(w) for w in words if w not in OUTCOMES]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not an outcome")
    return np.array([OUTCOMES.index(str(w)) for w in words], dtype=np.int64)[inverse.reshape(-1)]


def totals(clients: Mapping[str, ArrayLike]) -> dict[str, float]:
    """The part of a row of ``rounds.parquet`` that follows from the round's clients.

    Args:
        clients: columns of ``clients.parquet`` for one round, each of shape [n].

    Returns:
        selected, one count by outcome, downloaded_bytes, uploaded_bytes, energy_j, wasted_j, wasted_s.
    """
    codes = outcome_codes(clients["outcome"])
    counts = np.bincount(codes, minlength=len(OUTCOMES))
    energy = np.asarray(clients["energy_j"], dtype=np.float64)
    phases = ("download_s", "startup_s", "compute_s", "upload_s")
    work = sum(np.asarray(clients[k], dtype=np.float64) for k in phases)
    lost = codes != OUTCOMES.index("completed")
    row: dict[str, float] = {"selected": int(codes.size)}
    row |= {word: int(count) for word, count in zip(OUTCOMES, counts, strict=True)}
    row["downloaded_bytes"] = float(np.sum(np.asarray(clients["downloaded_bytes"], dtype=np.float64)))
    row["uploaded_bytes"] = float(np.sum(np.asarray(clients["uploaded_bytes"], dtype=np.float64)))
    row["energy_j"] = float(np.sum(energy))
    row["wasted_j"] = float(np.sum(energy[lost]))
    row["wasted_s"] = float(np.sum(np.asarray(work)[lost])) if codes.size else 0.0
    return row


def rounds_columns(row: Mapping[str, Any]) -> Columns:
    """One row of ``rounds.parquet``; ``loss`` may be missing.

    Raises:
        KeyError: if another column is missing.
    """
    values = {"loss": MISSING, **row}
    return {c.name: np.asarray([values[c.name]], dtype=c.dtype) for c in ROUNDS}


def clients_columns(
    round_index: int,
    clients: Mapping[str, ArrayLike],
    devices: Sequence[str],
    techniques: Sequence[str] = ALL_ALIKE,
) -> Columns:
    """The rows of ``clients.parquet`` of one round.

    Args:
        round_index: goes into the column ``round``.
        clients: every other column, each of shape [n]. ``device`` holds names or positions in
            ``devices``; ``outcome`` holds words or positions in ``OUTCOMES``.
            ``technique`` holds names or positions in ``techniques``, and may be left out where all
            train in the first way. ``base_round`` may be left out where it is the round itself. What is
            not there is :data:`fedsim.missing.MISSING`, in ``weight`` and ``loss`` only.
        devices: names for device positions.
        techniques: names for the positions of ways to train.

    Raises:
        KeyError: if a column is missing.
        ValueError: if lengths differ, or an outcome, or the position of a device or technique, is unknown.
    """
    size = len(np.asarray(clients["client"]))
    index = np.full(size, round_index, dtype=np.int64)
    given = {"base_round": index, "technique": np.zeros(size, np.int64), **clients, "round": index}
    named = {"device": devices, "technique": techniques}
    found: dict[str, NDArray[Any] | Words] = {}
    for column in CLIENTS:
        if column.name == "outcome":
            values: NDArray[Any] | Words = Words(outcome_codes(given["outcome"]), OUTCOMES)
        elif column.name in named:
            values = _words(column.name, given[column.name], named[column.name])
        else:
            values = np.ascontiguousarray(given[column.name], dtype=column.dtype)
        if len(values) != size:
            raise ValueError(f"column {column.name} has {len(values)} values for {size} clients")
        found[column.name] = values
    return found


def _words(column: str, said: ArrayLike, names: Sequence[str]) -> Words:
    """A text column, of names or of positions in ``names``."""
    given = np.asarray(said)
    if given.dtype.kind in "iu":
        if given.size and (given.min() < 0 or given.max() >= len(names)):
            raise ValueError(f"a {column}'s position is outside 0..{len(names) - 1}")
        return Words(given.astype(np.int64), names)
    words, inverse = np.unique(given.astype(str), return_inverse=True)
    return Words(inverse.reshape(-1), [str(word) for word in words])


def convergence_columns(
    round_index: int, time_s: float, metrics: Iterable[tuple[str, str, float]]
) -> Columns:
    """Rows of ``convergence.parquet``: one for each (metric, split, value)."""
    rows = list(metrics)
    places = np.arange(len(rows))
    return {
        "round": np.full(len(rows), round_index, dtype=np.int64),
        "time_s": np.full(len(rows), time_s, dtype=np.float64),
        "metric": Words(places, [str(metric) for metric, _, _ in rows]),
        "split": Words(places, [str(split) for _, split, _ in rows]),
        "value": np.array([float(value) for _, _, value in rows], dtype=np.float64),
    }


@cache
def empty(table: str) -> Columns:
    """The columns of that table without rows."""
    return {
        c.name: Words(np.zeros(0, np.int64), ()) if c.dtype == "string" else np.zeros(0, c.dtype)
        for c in TABLES[table]
    }

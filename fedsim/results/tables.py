"""From what a round hands over to Arrow record batches that match the written columns.

Also the arithmetic that ties the tables together: :func:`totals` computes a round's row from its
client rows, so that the two add up by construction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from fedsim.outcomes import OUTCOMES
from fedsim.results.columns import CLIENTS, ROUNDS, schema


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
    work = sum(np.asarray(clients[k], dtype=np.float64) for k in ("download_s", "compute_s", "upload_s"))
    lost = codes != OUTCOMES.index("completed")
    row: dict[str, float] = {"selected": int(codes.size)}
    row |= {word: int(count) for word, count in zip(OUTCOMES, counts, strict=True)}
    row["downloaded_bytes"] = float(np.sum(np.asarray(clients["downloaded_bytes"], dtype=np.float64)))
    row["uploaded_bytes"] = float(np.sum(np.asarray(clients["uploaded_bytes"], dtype=np.float64)))
    row["energy_j"] = float(np.sum(energy))
    row["wasted_j"] = float(np.sum(energy[lost]))
    row["wasted_s"] = float(np.sum(np.asarray(work)[lost])) if codes.size else 0.0
    return row


def rounds_batch(row: Mapping[str, Any]) -> pa.RecordBatch:
    """One row of ``rounds.parquet``; ``loss`` may be missing (NaN).

    Raises:
        KeyError: if another column is missing.
    """
    arrays = [
        pa.array(np.asarray([row.get("loss", np.nan) if c.name == "loss" else row[c.name]], dtype=c.dtype))
        for c in ROUNDS
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema("rounds"))


def clients_batch(
    round_index: int, clients: Mapping[str, ArrayLike], devices: Sequence[str]
) -> pa.RecordBatch:
    """The rows of ``clients.parquet`` of one round.

    Args:
        round_index: goes into the column ``round``.
        clients: every other column, each of shape [n]. ``device`` holds names or positions in
            ``devices``; ``outcome`` holds words or positions in ``OUTCOMES``.
            ``base_round`` may be left out where it is the round itself.
        devices: names for device positions.

    Raises:
        KeyError: if a column is missing.
        ValueError: if lengths differ or an outcome is unknown.
    """
    size = len(np.asarray(clients["client"]))
    arrays = []
    for column in CLIENTS:
        if column.name == "round" or (column.name == "base_round" and "base_round" not in clients):
            values: Any = np.full(size, round_index, dtype=np.int64)
        elif column.name == "outcome":
            codes = outcome_codes(clients["outcome"])
            values = pa.array(OUTCOMES, pa.string()).take(pa.array(codes))
        elif column.name == "device":
            given = np.asarray(clients["device"])
            if given.dtype.kind in "iu":
                values = pa.array(devices, pa.string()).take(pa.array(given.astype(np.int64)))
            else:
                values = pa.array(given.astype(object), pa.string())
        else:
            values = np.ascontiguousarray(clients[column.name], dtype=column.dtype)
        if len(values) != size:
            raise ValueError(f"column {column.name} has {len(values)} values for {size} clients")
        arrays.append(values if isinstance(values, pa.Array) else pa.array(values, type=column.dtype))
    return pa.RecordBatch.from_arrays(arrays, schema=schema("clients"))


def convergence_batch(
    round_index: int, time_s: float, metrics: Iterable[tuple[str, str, float]]
) -> pa.RecordBatch:
    """Rows of ``convergence.parquet``: one for each (metric, split, value)."""
    rows = [(str(metric), str(split), float(value)) for metric, split, value in metrics]
    if not rows:
        return empty("convergence")
    words = [pa.array([row[place] for row in rows], pa.string()) for place in (0, 1)]
    arrays = [
        pa.array(np.full(len(rows), round_index, dtype=np.int64)),
        pa.array(np.full(len(rows), time_s, dtype=np.float64)),
        *words,
        pa.array(np.asarray([row[2] for row in rows], dtype=np.float64)),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema("convergence"))


@cache
def empty(table: str) -> pa.RecordBatch:
    """A batch of that table without rows."""
    shape = schema(table)
    return pa.RecordBatch.from_arrays([pa.array([], type=f.type) for f in shape], schema=shape)

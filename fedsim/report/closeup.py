"""The one round that is worth a closer look, and who held it up.

Chosen: among the rounds with the most different outcomes, the one whose length is nearest to the
median. So it shows what can happen, in a round of usual length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.outcomes import OUTCOMES
from fedsim.results.codes import Codes
from fedsim.results.reading import Run
from fedsim.results.summary import numbers, outcome_of

#: Most clients drawn; of a larger cohort an even sample by end, with the last ones and each outcome.
MOST_ROWS = 22
_TIMES = ("dispatched_s", "download_s", "startup_s", "compute_s", "upload_s", "ended_s")


@dataclass(frozen=True)
class Closeup:
    """One round's clients, those that ended first, first; arrays of shape [n].

    Attributes:
        round: its index.
        start_s: when it started.
        end_s: when it was closed.
        cohort: how many clients it had; n may be fewer.
        client, dispatched_s, download_s, startup_s, compute_s, upload_s, ended_s: as in ``clients.parquet``.
        device: names.
        outcome: positions in ``OUTCOMES``.
        straggler: position of the client that completed last, or None if nobody completed.
        lead_s: by how much it was later than the one before it; NaN if it was the only one.
    """

    round: int
    start_s: float
    end_s: float
    cohort: int
    client: NDArray[np.int64]
    device: list[str]
    outcome: NDArray[np.int64]
    dispatched_s: NDArray[np.float64]
    download_s: NDArray[np.float64]
    startup_s: NDArray[np.float64]
    compute_s: NDArray[np.float64]
    upload_s: NDArray[np.float64]
    ended_s: NDArray[np.float64]
    straggler: int | None
    lead_s: float


def choose(rounds: dict[str, NDArray[Any]]) -> int | None:
    """Position of the instructive round, or None if no round had clients."""
    with_clients = np.flatnonzero(rounds["selected"] > 0)
    if not with_clients.size:
        return None
    kinds = sum((rounds[word][with_clients] > 0).astype(np.int64) for word in OUTCOMES)
    richest = with_clients[kinds == np.max(kinds)]
    length = rounds["end_s"] - rounds["start_s"]
    distance = np.abs(length[richest] - np.median(length[with_clients]))
    return int(richest[np.argmin(distance)])


def instructive_round(run: Run, rounds: dict[str, NDArray[Any]]) -> Closeup | None:
    """The round to look at, with its clients; None if no round had clients."""
    at = choose(rounds)
    if at is None:
        return None
    index = int(rounds["round"][at])
    codes = Codes()
    parts: dict[str, list[NDArray[Any]]] = {key: [] for key in ("client", "device", "outcome", *_TIMES)}
    for batch in run.batches("clients", ("client", "device", "outcome", *_TIMES), rounds=(index, index)):
        parts["device"].append(codes.of(batch.column("device")))
        parts["outcome"].append(outcome_of(batch.column("outcome"), run))
        for key in ("client", *_TIMES):
            parts[key].append(numbers(batch, key))
    if not parts["client"]:
        return None
    columns = {key: np.concatenate(values) for key, values in parts.items()}
    sound = (np.abs(np.column_stack([columns[key] for key in _TIMES])) < 1e24).all(axis=1)
    columns = {key: values[sound] for key, values in columns.items()}
    if not sound.any():
        return None
    order = np.lexsort((columns["client"], columns["ended_s"]))
    columns = {key: values[order] for key, values in columns.items()}
    done = np.flatnonzero(columns["outcome"] == OUTCOMES.index("completed"))
    last_id = int(columns["client"][done[-1]]) if done.size else None
    ends = columns["ended_s"][done]
    lead = float(ends[-1] - ends[-2]) if done.size > 1 else float("nan")
    shown = sample(columns["outcome"])
    columns = {key: values[shown] for key, values in columns.items()}
    straggler = int(np.flatnonzero(columns["client"] == last_id)[-1]) if last_id is not None else None
    return Closeup(
        round=index,
        start_s=float(rounds["start_s"][at]),
        end_s=float(rounds["end_s"][at]),
        cohort=int(sound.sum()),
        client=columns["client"],
        device=[codes.names[place] for place in columns["device"]],
        outcome=columns["outcome"],
        **{key: columns[key] for key in _TIMES},
        straggler=straggler,
        lead_s=lead,
    )


def sample(outcome: NDArray[np.int64], most: int = MOST_ROWS) -> NDArray[np.int64]:
    """Positions of at most ``most`` clients out of a cohort sorted by end.

    Always the last to complete, the last of all and one of each outcome; the rest evenly.
    """
    size = outcome.size
    if size <= most:
        return np.arange(size)
    done = np.flatnonzero(outcome == OUTCOMES.index("completed"))
    must = {size - 1, *(int(np.flatnonzero(outcome == code)[-1]) for code in np.unique(outcome))}
    must |= {int(place) for place in done[-1:]}
    evenly = np.linspace(0, size - 1, most - len(must)).round().astype(int).tolist()
    return np.asarray(sorted(must | set(evenly)), dtype=np.int64)

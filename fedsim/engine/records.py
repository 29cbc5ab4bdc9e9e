"""What the engine reports: one row a client-round, one record a round, one ending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from fedsim.engine.world import Bools, Floats, Ints
from fedsim.missing import MISSING
from fedsim.outcomes import OUTCOMES

COMPLETED, LATE, OOM, OFFLINE, BATTERY, REJECTED, FAILED = range(len(OUTCOMES))


@dataclass
class ClientRounds:
    """Client-rounds that ended, as a structure of arrays of shape [n].

    Attributes:
        round: int64, the round in whose record they stand.
        client: int64.
        dispatched_s: when the server chose the client.
        download_s: seconds spent downloading, latency included.
        startup_s: seconds spent on starting up, before the first step.
        compute_s: seconds spent training.
        upload_s: seconds spent uploading, latency included.
        ended_s: when it ended, in whatever way.
        outcome: int8, an index into :data:`OUTCOMES`.
        footprint_bytes: peak bytes of a training step.
        available_bytes: memory free for it at dispatch.
        downloaded_bytes: bytes really moved to the client.
        uploaded_bytes: bytes really moved back.
        energy_j: energy really spent.
        examples: that a complete round trains on: by the workload, or by the learner of an update.
        weight: its weight in the new model; 0 where it has none, ``MISSING`` in a timing-only run.
        loss: its mean training loss as it reports it; ``MISSING`` where it was not trained for real.
        base_round: int64, the round whose model it started from.
        technique: int64, in which of the run's ways it trained, or was to.
    """

    round: Ints
    client: Ints
    dispatched_s: Floats
    download_s: Floats
    startup_s: Floats
    compute_s: Floats
    upload_s: Floats
    ended_s: Floats
    outcome: NDArray[np.int8]
    footprint_bytes: Floats
    available_bytes: Floats
    downloaded_bytes: Floats
    uploaded_bytes: Floats
    energy_j: Floats
    examples: Floats
    weight: Floats
    loss: Floats
    base_round: Ints
    technique: Ints

    def __len__(self) -> int:
        return int(self.client.size)

    def take(self, rows: Bools | NDArray[np.intp] | slice) -> ClientRounds:
        """Some of the rows."""
        return ClientRounds(*(getattr(self, f.name)[rows] for f in fields(self)))

    @staticmethod
    def join(parts: Sequence[ClientRounds]) -> ClientRounds:
        """The rows of ``parts`` (at least one), one after another."""
        if len(parts) == 1:
            return parts[0]
        return ClientRounds(
            *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(ClientRounds))
        )

    @staticmethod
    def none() -> ClientRounds:
        """No rows."""
        whole = dict.fromkeys(("round", "client", "base_round", "technique"), np.int64)
        kinds = {**whole, "outcome": np.int8}
        return ClientRounds(*(np.zeros(0, kinds.get(f.name, np.float64)) for f in fields(ClientRounds)))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The columns by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def outcome_names(self) -> list[str]:
        """The outcomes as words."""
        return [OUTCOMES[code] for code in self.outcome]


@dataclass
class RoundRecord:
    """One round, as it closed.

    Attributes:
        index: the round's number, from 0.
        start_s: when the cohort was dispatched (asynchronous: when the round before closed).
        end_s: when the round closed.
        clients: the client-rounds that ended in it.
        loss: see :func:`~fedsim.engine.aggregate.mean_loss`.
        metrics: what the learner evaluated at the close: (metric, split, value).
    """

    index: int
    start_s: float
    end_s: float
    clients: ClientRounds
    loss: float = MISSING
    metrics: list[tuple[str, str, float]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How many client-rounds ended in each way."""
        found = np.bincount(self.clients.outcome, minlength=len(OUTCOMES))
        return {name: int(found[code]) for code, name in enumerate(OUTCOMES)}

    @property
    def selected(self) -> int:
        """How many client-rounds ended in this round."""
        return len(self.clients)

    @property
    def downloaded_bytes(self) -> float:
        """Bytes moved to clients."""
        return float(self.clients.downloaded_bytes.sum())

    @property
    def uploaded_bytes(self) -> float:
        """Bytes moved back."""
        return float(self.clients.uploaded_bytes.sum())

    @property
    def energy_j(self) -> float:
        """Energy spent by clients."""
        return float(self.clients.energy_j.sum())

    @property
    def wasted_j(self) -> float:
        """Energy spent by clients that did not complete."""
        return float(self.clients.energy_j[self.clients.outcome != COMPLETED].sum())

    @property
    def wasted_s(self) -> float:
        """Seconds spent by clients that did not complete."""
        lost = self.clients.take(self.clients.outcome != COMPLETED)
        return float((lost.download_s + lost.startup_s + lost.compute_s + lost.upload_s).sum())


@dataclass(frozen=True)
class Ending:
    """How a simulation ended.

    Attributes:
        rounds_done: rounds that closed, those before a resume included.
        reason: ``"all rounds done"``, or one sentence that says what stopped it.
        end_s: the clock at the end, seconds.
    """

    rounds_done: int
    reason: str
    end_s: float

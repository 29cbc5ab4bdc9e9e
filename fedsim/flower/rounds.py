"""The rounds of an app on the simulated clock of a scenario, and the run directory that they give.

A round is simulated twice. First ahead, without learning, from a copy of the engine's state: that
tells who will complete, so that only those are trained. Then for real, once their replies are in:
the replies are what the engine's learner hands back. The engine gives both the same times.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim import errors, results
from fedsim.engine.completion import Buffered
from fedsim.engine.records import RoundRecord
from fedsim.engine.server import Simulation
from fedsim.errors import ScenarioError
from fedsim.flower.selection import Ask, Asked
from fedsim.learning import RoundLearning
from fedsim.missing import MISSING
from fedsim.outcomes import OUTCOMES
from fedsim.scenario import Loaded, Scenario, dump
from fedsim.simulation.compose import compose
from fedsim.simulation.execute import DEFAULT_ROOT

FAILED, COMPLETED = OUTCOMES.index("failed"), OUTCOMES.index("completed")
ALL_DONE = "all rounds done"

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Metric = tuple[str, str, float]


@dataclass(frozen=True)
class Verdict:
    """What became of a client's reply.

    Attributes:
        loss: its mean training loss; ``MISSING`` if it reports none.
        examples: on how many it trained; ``MISSING`` if it does not say.
        weight: its share in the new model; ``MISSING`` if that is not known.
        outcome: ``completed``, ``failed`` (it raised, or did not answer) or ``rejected``.
    """

    loss: float = MISSING
    weight: float = MISSING
    outcome: str = "completed"
    examples: float = MISSING


def adapted(scenario: Scenario, rounds: int, file: Path) -> Scenario:
    """The scenario of an app: its rounds are the app's, and learning is the app's affair.

    Raises:
        ScenarioError: if rounds are asynchronous, which a Flower strategy cannot follow.
    """
    if isinstance(scenario.rounds.close, Buffered):
        raise ScenarioError(
            "is 'async', but a Flower strategy closes its rounds one after another; take wait-all, "
            "deadline or quorum",
            file=file,
            key="rounds.close.policy",
        )
    block = replace(scenario.rounds, count=rounds)
    return replace(scenario, rounds=block, learning=None)


class Rounds:
    """A scenario's fleet over the rounds of one app.

    Args:
        loaded: the scenario.
        rounds: of the app.
        by_policy: whether the scenario's own selection decides who is offered to the strategy.
        out: the run directory; None takes ``runs/<name>``, ``<name>-2``, ...
        about: what to say about the app in the manifest.

    Attributes:
        seed: of the scenario.
        clients: in the fleet.
        wanted: most clients that the scenario's own selection offers.
        directory: of the run.
        ended: why the fleet takes no part any more; None while it does.

    Raises:
        InputError: if the scenario cannot be run, or ``out`` holds something already.
    """

    def __init__(
        self, loaded: Loaded, rounds: int, by_policy: bool, out: Path | None, about: Mapping[str, Any]
    ) -> None:
        scenario = adapted(loaded.scenario, rounds, loaded.file)
        with errors.about(loaded.file):
            self._composition = made = compose(scenario)
        assert not isinstance(made.plan.close, Buffered)
        self._asked = Asked(made.plan.select if by_policy else None)
        self._plan = replace(made.plan, select=self._asked)
        self._verdicts: Mapping[int, Verdict] = {}
        self._simulation = Simulation(made.world, self._plan, self)
        self._records = iter(self._simulation)
        self.seed, self.clients = scenario.seed, made.clients
        self.wanted = min(made.plan.close.invited(made.plan.cohort), made.clients)
        self.ended: str | None = None
        inputs = {"scenario": loaded.file, **made.inputs}
        notes = {**made.notes, "flower": dict(about)}
        manifest = results.manifest(
            scenario.name, scenario.seed, made.clients, inputs, [Path(sys.argv[0]).name], notes
        )
        self.directory = out if out is not None else results.new_run_dir(DEFAULT_ROOT, scenario.name)
        self._writer = results.RunWriter(self.directory, dump(scenario), manifest, made.devices, made.ways)

    def look_ahead(self, ask: Ask) -> RoundRecord | None:
        """The next round as it will go if everyone who completes sends an update.

        Args:
            ask: see :class:`~fedsim.flower.selection.Asked`; called once for each instant at which
                the round might begin.

        Returns:
            The record; None if there will be no more rounds, for the reason ``ended``.
        """
        self._asked.ask, self._asked.answers = ask, {}
        state = copy.deepcopy(self._simulation.state())
        ahead = Simulation(self._composition.world, self._plan, None, state)
        record = next(iter(ahead), None)
        if record is None:
            assert ahead.ending is not None
            self.ended = ahead.ending.reason
        return record

    def close(self, verdicts: Mapping[int, Verdict]) -> RoundRecord:
        """Run the round that was looked at; ``verdicts`` holds one for each client that completed."""
        self._verdicts = verdicts
        record = next(self._records)
        rows = record.clients
        failed = [c for c, verdict in verdicts.items() if verdict.outcome == "failed"]
        rows.outcome[np.isin(rows.client, np.array(failed, dtype=np.int64))] = FAILED
        return record

    def train(self, round_index: int, clients: Ints, base_round: Ints, technique: Ints) -> RoundLearning:
        """What the engine's learner says: the verdicts, in the order of arrival."""
        found = [self._verdicts[int(client)] for client in clients]
        return RoundLearning(
            loss=np.array([one.loss for one in found], np.float64),
            weight=np.array([one.weight for one in found], np.float64),
            accepted=np.array([one.outcome == "completed" for one in found], np.bool_),
            metrics=[],
            examples=np.array([one.examples for one in found], np.float64),
        )

    def initial(self, metrics: Sequence[Metric]) -> None:
        """Keep what the app says of the initial model."""
        if metrics:
            self._writer.initial(metrics)

    def keep(self, record: RoundRecord, metrics: Sequence[Metric]) -> None:
        """Write a round that closed, with all that the app evaluated after it."""
        row = {"round": record.index, "start_s": record.start_s, "end_s": record.end_s, "loss": record.loss}
        self._writer.round(row, self._composition.columns(record), metrics)

    def finish(self, ended: str) -> None:
        """Write the final files; whatever the reason, there is nothing to go on with."""
        with self._writer:
            self._writer.finish(ended)

"""Running a scenario into a run directory: engine, learner and writer, round by round.

After each round the learner has its checkpoint, the writer has the row and, last of the three, the
engine's state is written. A run that is killed at any moment goes on from the newest engine state:
what was written beyond it is dropped and done again, with the same bytes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedsim import files, plugins, results
from fedsim.engine.records import RoundRecord
from fedsim.engine.server import Simulation, simulate
from fedsim.engine.world import Learner
from fedsim.errors import InputError, RunError, about, going_on
from fedsim.scenario import Loaded, Scenario, dump, file_access, load
from fedsim.scenario.file_access import FileAccess
from fedsim.simulation import examples, repeats, state
from fedsim.simulation.compose import WEIGHTS, Composition, compose
from fedsim.simulation.learner import RunLearner
from fedsim.simulation.progress import Progress, Silent
from fedsim.words import slashes

STATE_INTERVAL_S = 2.0  # of real time, between engine states of a timing-only run
DEFAULT_ROOT = Path("runs")

Adapt = Callable[[Composition], Composition]


def time_rounds(scenario: Scenario) -> list[RoundRecord]:
    """Run the time plane of a scenario and keep every round's record; nothing is written."""
    composition = compose(scenario)
    records: list[RoundRecord] = []
    simulate(composition.world, composition.plan, observe=records.append)
    return records


def run(
    loaded: Loaded,
    out: Path | None = None,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    command: Sequence[str] = (),
    adapt: Adapt | None = None,
    draws: int | None = 0,
) -> Path:
    """Run a scenario and return its run directory.

    Args:
        loaded: the scenario and its file.
        out: the run directory; None takes ``runs/<name>``, or ``<name>-2``, ... if that exists.
        workers: processes for real training; the result does not depend on it.
        progress: told how the run goes on.
        command: the command line, for the manifest.
        adapt: changes what was composed before it runs, such as the learner.
        draws: how often the time plane is repeated under drawn speeds of the devices, for intervals;
            None: as often as :func:`fedsim.simulation.repeats.usual_draws` says.

    Raises:
        InputError: if the scenario cannot be run, or ``out`` holds something already.
        FedsimError: for a fault on the way; every finished round is kept in the run directory.
    """
    scenario = loaded.scenario
    progress = progress or Silent()
    progress.note("pricing the fleet's work")
    with about(loaded.file):
        composition = compose(scenario)
    if adapt is not None:
        composition = adapt(composition)
    if draws is None:
        draws = repeats.usual_draws(composition.plan)
    notes = {**composition.notes, **({"draws": draws} if draws else {})}
    inputs = {"scenario": loaded.file, **composition.inputs, **plugins.files()}
    manifest = results.manifest(scenario.name, scenario.seed, composition.clients, inputs, command, notes)
    directory = out if out is not None else results.new_run_dir(DEFAULT_ROOT, scenario.name)
    writer = results.RunWriter(directory, dump(scenario), manifest, composition.devices, composition.ways)
    with writer:
        try:
            return _finish(composition, writer, workers, progress, loaded.file)
        except InputError as fault:
            if writer.last_round is None:  # what was asked cannot be: it is as if it had not been
                writer.discard()
                fault.way_on = ""
            raise


def resume(
    directory: Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    adapt: Adapt | None = None,
    access: FileAccess = file_access.NOWHERE,
) -> Path:
    """Go on with a run that was interrupted; the result is that of an undisturbed run.

    Arguments are those of :func:`run`, and ``access``: which files it may use beside the catalogue and
    those that it was made from.

    Raises:
        RunError: if there is no unfinished run in the directory.
        ScenarioError: if its scenario can no longer be read.
    """
    progress = progress or Silent()
    file = directory / "scenario.yaml"
    if not file.is_file():
        why = slashes(directory, "it has no scenario.yaml")
        raise RunError(f"holds no run to go on with: {why}", file=directory)
    if results.is_run(directory) and "flower" in results.Run(directory, finished=False).manifest:
        raise RunError("is the run of a Flower app, and only the app can do its rounds", file=directory)
    files.refuse_links(directory, RunError)
    plugins.refuse_others(
        {label: digest for label, digest in _recorded(directory).items() if label.startswith(plugins.LABEL)},
        directory,
    )
    with about(file):
        composition = compose(load(str(file), access=again(directory, access)).scenario)
    _refuse_other_weights(composition, directory)
    if adapt is not None:
        composition = adapt(composition)
    if (directory / "summary.json").is_file():  # a crash just before the very end leaves them
        state.clear(directory / "checkpoints")
    scenario = results.Run(directory, finished=False).scenario_text
    at, engine_state = state.newest(directory / "checkpoints", scenario)
    with results.RunWriter.resume(directory, at, composition.devices, composition.ways) as writer:
        files.remove_temporary(directory / "checkpoints")
        return _finish(composition, writer, workers, progress, file, at, engine_state)


def again(directory: Path, access: FileAccess) -> FileAccess:
    """File access with the files that the run in a directory was made from, by the SHA-256 that it lists."""
    return replace(access, known=access.known | set(_recorded(directory).values()))


def _refuse_other_weights(composition: Composition, directory: Path) -> None:
    """Refuse to go on from other weights than those that the run in a directory began with.

    Raises:
        RunError: they are others.
    """
    mine = f"{WEIGHTS}/"
    began = {label: digest for label, digest in _recorded(directory).items() if label.startswith(mine)}
    now = {label: files.sha256(p) for label, p in composition.inputs.items() if label.startswith(mine)}
    if began != now:
        raise RunError(
            f"the weights in learning.init are not what this run began with ({', '.join(began) or 'none'});"
            " put them back, or begin a new run",
            file=directory,
        )


def _recorded(directory: Path) -> dict[str, str]:
    """The SHA-256 of every file that the run in a directory was made from, by its label."""
    inputs = results.Run(directory, finished=False).manifest.get("inputs")
    entries = inputs.items() if isinstance(inputs, dict) else []
    return {label: str(entry.get("sha256")) for label, entry in entries if isinstance(entry, dict)}


def _finish(
    composition: Composition,
    writer: results.RunWriter,
    workers: int,
    progress: Progress,
    file: Path,
    at: int = 0,
    engine_state: dict[str, Any] | None = None,
) -> Path:
    """Run what is left of the scenario in ``file``, from round ``at`` and the engine's state there on."""
    began = time.monotonic()
    checkpoints = writer.path / "checkpoints"
    learner: RunLearner | None = None
    with going_on(results.go_on(writer.path), writer.path):
        try:
            if composition.learner is not None:
                progress.note("preparing the data and the workers")
                with about(file):
                    learner = composition.learner(workers, checkpoints)
                    _say_corpus(learner, writer, at, progress)
                    _say_examples(composition, learner, writer, progress)
                    _begin_learning(learner, writer, at, progress, composition.pretrains)
            _simulate(composition, learner, writer, engine_state, progress, began)
        finally:
            progress.end()
            if learner is not None:
                learner.close()
    return writer.path


def _say_corpus(learner: RunLearner, writer: results.RunWriter, at: int, progress: Progress) -> None:
    """Tell what the data hold and what of them was skipped, and keep it with the run."""
    for sentence in learner.notes:
        progress.note(sentence)
    if (account := learner.account) is None:
        return
    before = results.Run(writer.path, finished=False).manifest.get("corpus")
    if at and isinstance(before, dict) and before.get("sha256") != account["sha256"]:
        raise RunError(
            f"the data are not what this run began with: {_counted(account)}, then {_counted(before)};"
            " put them back, or begin a new run",
            file=writer.path,
        )
    writer.note("corpus", account)


def _counted(account: Mapping[str, Any]) -> str:
    """The whole numbers of an account in words: ``412 utterances, 40 speakers, 3 skipped``."""
    return ", ".join(f"{value:,} {key}" for key, value in account.items() if isinstance(value, int))


def _say_examples(
    composition: Composition, learner: RunLearner, writer: results.RunWriter, progress: Progress
) -> None:
    """Tell where clients train on another number of examples than the clock takes them to."""
    if composition.pretrains and (found := examples.difference(composition, learner)) is not None:
        writer.note("examples", found)
        progress.note(
            f"a client trains on {examples.in_words(found['learner'])} examples a round, and on "
            f"{examples.in_words(found['clock'])} on the simulated clock; updates weigh by the former"
        )


def _begin_learning(
    learner: RunLearner, writer: results.RunWriter, at: int, progress: Progress, pretrains: bool
) -> None:
    """Bring the learner to where the engine is; without pretraining, do all there is to do."""
    if at:
        learner.restore(at)
        return
    progress.note("evaluating the untrained model")
    metrics = learner.initial_metrics()
    if not pretrains:
        progress.note("fine-tuning the untrained model")
        metrics += learner.finetune()
    if writer.last_round is None:
        writer.initial(metrics)


def _simulate(
    composition: Composition,
    learner: Learner | None,
    writer: results.RunWriter,
    engine_state: dict[str, Any] | None,
    progress: Progress,
    began: float,
) -> None:
    scenario, draws = results.Run(writer.path, finished=False).scenario_text, _draws(writer)
    simulation = Simulation(composition.world, composition.plan, learner, engine_state)
    progress.begin(composition.plan.rounds, writer.next_round)
    saved = time.monotonic()
    for record in simulation:
        row = {"round": record.index, "start_s": record.start_s, "end_s": record.end_s, "loss": record.loss}
        writer.round(row, composition.columns(record), record.metrics)
        progress.round(record)
        before_repeats = draws > 0 and record.index + 1 == composition.plan.rounds
        if learner is not None or before_repeats or time.monotonic() - saved > STATE_INTERVAL_S:
            writer.sync()
            state.save(writer.path / "checkpoints", record.index + 1, simulation.state(), scenario)
            saved = time.monotonic()
    assert simulation.ending is not None
    wall = {"wall_s": round(time.monotonic() - began, 3), "python": sys.version.split()[0]}
    intervals = None
    if draws and writer.next_round:
        intervals = repeats.intervals(composition, draws, writer.next_round, progress)
    writer.finish(simulation.ending.reason, wall, intervals)
    state.clear(writer.path / "checkpoints")


def _draws(writer: results.RunWriter) -> int:
    """How many draws the run was begun with."""
    draws = results.Run(writer.path, finished=False).manifest.get("draws", 0)
    if type(draws) is not int or not 0 <= draws <= repeats.MOST_ASKED:
        right = f"it is a whole number up to {repeats.MOST_ASKED:,}"
        raise RunError(f"is damaged: {right}", file=writer.path / "manifest.json", key="draws")
    return draws

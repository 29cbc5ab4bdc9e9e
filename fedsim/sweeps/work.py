"""What a worker does: one job in, plain data out. The same on this machine and on a cluster.

A job holds all that it needs as plain data. With a ``directory`` the run is written there, and a run
that was cut off there is gone on with; without one it is written to a temporary place and its files
are handed back as bytes, so that workers elsewhere need no file system in common. What a scenario
names by path must be there wherever it runs.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fedsim import locks, plugins
from fedsim.errors import FedsimError, RunError

TABLES = ("rounds.parquet", "clients.parquet", "convergence.parquet")


@dataclass(frozen=True)
class Job:
    """One thing to compute.

    Attributes:
        scenario: the resolved scenario as YAML, files by absolute paths.
        origin: of its learning trajectory; None where nothing is learned or nothing can be shared.
        listen: only find out who would deliver what, without learning.
        known: answers of that trajectory by name, as lines.
        plugins: what the scenario needs beyond fedsim's own; see :func:`fedsim.plugins.carried`.
        directory: where to write the run; None hands its files back.
        draws: how often its clock is repeated under drawn speeds; see :mod:`fedsim.simulation.repeats`.
    """

    scenario: str
    origin: str | None = None
    listen: bool = False
    known: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[plugins.Source | str, ...] = ()
    directory: str | None = None
    draws: int = 0


@dataclass(frozen=True)
class Done:
    """What became of a job.

    Attributes:
        fault: why it failed, in one sentence; None if it did not.
        names: of a listening job: the names of the answers that the learner would give.
        answers: what the learner said, as lines, in order.
        learned: rounds that were really trained.
        recalled: rounds whose answer was known.
        files: of the run by relative name, where the job had no directory.
    """

    fault: str | None = None
    names: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    learned: int = 0
    recalled: int = 0
    files: Mapping[str, bytes] = field(default_factory=dict)


def do(job: Job) -> Done:
    """Do a job. A fault on the way is part of the result and never raised."""
    try:
        plugins.take_in(job.plugins)
        if job.listen:
            return _listen(job)
        if job.directory is not None:
            return _run(job, Path(job.directory))
        with _scratch() as place:
            directory = place / "run"
            done = _run(job, directory)
            files = {
                str(path.relative_to(directory)): path.read_bytes()
                for path in sorted(directory.rglob("*"))
                if path.is_file()
            }
            return replace(done, files=files)
    except FedsimError as error:
        return Done(fault=str(error))
    except Exception as error:
        return Done(fault=f"{type(error).__name__}: {error}")


def _scratch() -> AbstractContextManager[Path]:
    return locks.scratch(Path(tempfile.gettempdir()), "fedsim-point-")


def _load(job: Job, folder: Path) -> Any:
    from fedsim.scenario import load
    from fedsim.scenario.file_access import ANYWHERE

    file = folder / "scenario.yaml"
    file.write_text(job.scenario, encoding="utf-8")
    return load(str(file), access=ANYWHERE)  # whoever asked for the job has looked at it


def _listen(job: Job) -> Done:
    from fedsim.engine.server import simulate
    from fedsim.simulation.compose import compose
    from fedsim.sweeps.trajectory import Listener

    assert job.origin is not None
    with _scratch() as place:
        composition = compose(_load(job, place).scenario)
    listener = Listener(job.origin)
    simulate(composition.world, composition.plan, listener)
    return Done(names=tuple(listener.names))


def _run(job: Job, directory: Path) -> Done:
    from fedsim.simulation.compose import Composition
    from fedsim.simulation.execute import run
    from fedsim.sweeps.trajectory import Remembering, read

    learners: list[Remembering] = []
    origin = job.origin

    def adapt(composition: Composition) -> Composition:
        make = composition.learner
        if make is None or origin is None:
            return composition

        def remembering(workers: int, folder: Path) -> Remembering:
            learners.append(Remembering(lambda: make(workers, folder), origin, job.known, folder))
            return learners[-1]

        return replace(composition, learner=remembering)

    if directory.is_dir() and (job.origin is None or not _resumed(job, directory, adapt)):
        shutil.rmtree(directory)
    if not directory.is_dir():
        with _scratch() as place:
            run(_load(job, place), directory, adapt=adapt, draws=job.draws)
    return Done(
        answers=tuple(answer.line for answer in read(directory / "checkpoints")),
        learned=sum(learner.learned for learner in learners),
        recalled=sum(learner.recalled for learner in learners),
    )


def _resumed(job: Job, directory: Path, adapt: Any) -> bool:
    """Go on with a learning run that was cut off; False if that is not possible, or it is another run."""
    from fedsim.results import Run
    from fedsim.scenario import dump
    from fedsim.scenario.file_access import ANYWHERE
    from fedsim.simulation import state
    from fedsim.simulation.execute import resume

    if not state.available(directory / "checkpoints"):
        return False
    with _scratch() as place:
        wanted = dump(_load(job, place).scenario)
    try:
        if Run(directory, finished=False).scenario_text != wanted:
            return False
        resume(directory, adapt=adapt, access=ANYWHERE)
    except RunError:
        return False
    return True

"""Conducting a sweep: what is known is taken, what is not is computed once, and all of it is laid out.

Every point has an address; one that is in the directory or in the store under its address is not
computed. Points that learn are first run on the clock alone, which gives the names of the answers
that the learner will be asked for (timestamps do not depend on learning). Points with equal names
form a group: one of them really trains, the others wait for it and take its answers. Where the
choice of clients depends on losses the names are a guess, which decides only who waits for whom:
what a learner answers always goes by the calls that were really made.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsim import files, plugins, results, yamlfile
from fedsim.errors import InputError, ScenarioError, going_on
from fedsim.results.reading import read_json
from fedsim.scenario.sweep import Point, Sweep, said
from fedsim.simulation.compose import check
from fedsim.simulation.execute import DEFAULT_ROOT
from fedsim.sweeps import address, directory, table, trajectory
from fedsim.sweeps.executors import Executor
from fedsim.sweeps.progress import Progress, Silent
from fedsim.sweeps.store import Store
from fedsim.sweeps.table import Row
from fedsim.sweeps.work import Done, Job

MakeExecutor = Callable[[], Executor]


@dataclass(frozen=True)
class Conclusion:
    """What a sweep came to.

    Attributes:
        directory: where it lies.
        points: how many there are.
        failed: how many of them failed.
        computed: points that were computed now.
        kept: points that an earlier, interrupted sweep had left there.
        stored: points that the store had.
        learned_rounds: rounds of real training for them.
        recalled_rounds: rounds whose training was known from another point or an earlier sweep.
        wall_s: real seconds.
    """

    directory: Path
    points: int
    failed: int
    computed: int
    kept: int
    stored: int
    learned_rounds: int
    recalled_rounds: int
    wall_s: float

    def reuse(self) -> dict[str, Any]:
        """What was reused, as plain data."""
        return {
            "computed": self.computed,
            "kept": self.kept,
            "stored": self.stored,
            "learned_rounds": self.learned_rounds,
            "recalled_rounds": self.recalled_rounds,
            "wall_s": round(self.wall_s, 3),
        }


def start(
    sweep: Sweep,
    out: Path | None,
    executor: MakeExecutor,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = (),
    draws: int = 0,
) -> Conclusion:
    """Run a sweep into a new directory.

    Args:
        sweep: what to run.
        out: the directory; None takes ``runs/<name>``, or ``<name>-2``, ... if that exists.
        executor: makes where points are computed; called if there is anything to compute.
        store: what was computed before; None uses and keeps nothing.
        progress: told how it goes on.
        command: the command line, for ``sweep.json``.
        draws: how often the clock of each point is repeated under drawn speeds, for intervals.

    Raises:
        InputError: if a point cannot be run, or ``out`` holds something already.
        FedsimError: for a fault on the way; finished points are kept.
    """
    addresses = _addresses(sweep, draws)
    where = out if out is not None else results.new_run_dir(DEFAULT_ROOT, sweep.name)
    lock = directory.begin(where, sweep, addresses, command, draws)
    with closing(lock), going_on(directory.go_on(where), where):
        return _Conductor(sweep, addresses, where, executor, store, progress or Silent(), draws).conduct()


def resume(
    where: Path,
    executor: MakeExecutor,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
    outside: bool = False,
) -> Conclusion:
    """Go on with a sweep that was interrupted; the result is that of an undisturbed one.

    Finished points are kept if their address still holds; failed ones are tried again. Files that it
    did not begin with are used only if they are in the catalogue, or with ``outside``.

    Raises:
        InputError: if there is no sweep, or its points can no longer be run.
        FedsimError: for a fault on the way; finished points are kept.
    """
    sweep, said = directory.read(where, outside)
    draws = directory.draws_of(where, said)
    addresses = _addresses(sweep, draws)
    with closing(directory.hold(where)), going_on(directory.go_on(where), where):
        directory.renew(where, sweep, addresses, said)
        return _Conductor(sweep, addresses, where, executor, store, progress or Silent(), draws).conduct()


def _addresses(sweep: Sweep, draws: int) -> list[str]:
    """The address of every point.

    Raises:
        ScenarioError: if a point or a figure to draw cannot be.
    """
    for name in sweep.figures:
        if not table.is_figure(name):
            raise ScenarioError(f"{name!r} is no figure of a summary.json", key="sweep.figures")
    found = []
    for point in sweep.points:
        try:
            check(point.scenario)
            found.append(address.of_point(point.scenario, draws))
        except InputError as error:
            raise ScenarioError(f"{error}, at the point {said(point.parameters)}") from None
    return found


class _Conductor:
    """One sweep on its way."""

    def __init__(
        self,
        sweep: Sweep,
        addresses: Sequence[str],
        where: Path,
        executor: MakeExecutor,
        store: Store | None,
        progress: Progress,
        draws: int,
    ) -> None:
        self.draws = draws
        self.sweep, self.addresses, self.where = sweep, addresses, where
        self.store, self.progress = store, progress
        self.make_executor = executor
        self.executor: Executor | None = None
        self.rows: dict[int, Row] = {}
        self.origins: dict[int, str | None] = {}
        self.answers: dict[str, dict[str, str]] = {}  # by origin, then by name
        self.groups: dict[int, tuple[str, str]] = {}  # of the points that learn
        self.leaders: dict[tuple[str, str], int] = {}
        self.waiting: dict[tuple[str, str], list[int]] = {}
        self.listening: set[int] = set()
        self.learned = self.recalled = self.kept = self.stored = self.computed = 0

    def conduct(self) -> Conclusion:
        """Run what is left, and write the table."""
        began = time.monotonic()
        left = [point for point in self.sweep.points if not self._known(point)]
        self.progress.begin(len(self.sweep.points), len(self.sweep.points) - len(left))
        try:
            if left:
                self._compute(left)
        finally:
            self.progress.end()
            if self.executor is not None:
                self.executor.close()
        rows = list(self.rows.values())
        table.write(table.build(rows, self.sweep.columns), self.where)
        conclusion = Conclusion(
            directory=self.where,
            points=len(rows),
            failed=sum(row.fault is not None for row in rows),
            computed=self.computed,
            kept=self.kept,
            stored=self.stored,
            learned_rounds=self.learned,
            recalled_rounds=self.recalled,
            wall_s=time.monotonic() - began,
        )
        directory.finish(self.where, rows, conclusion.reuse())
        if self.store is not None:
            self.store.prune()
        return conclusion

    def _place(self, point: Point) -> Path:
        return directory.place(self.where, point, len(self.sweep.points))

    def _known(self, point: Point) -> bool:
        """Whether a point needs no computing: it is there already, or in the store."""
        place, known = self._place(point), self.addresses[point.number]
        if (place / "summary.json").is_file():
            self._remember(point)
            self.kept += 1
        elif (
            self.store is not None
            and not place.exists()
            and self.store.fetch(known, place, self._text(point), point.scenario.name)
        ):
            self.stored += 1
        else:
            return False
        self._done(point)
        return True

    def _text(self, point: Point) -> str:
        return yamlfile.dump(address.absolute(point.scenario))

    def _remember(self, point: Point) -> None:
        """Take the answers of a finished point's learner."""
        origin = self._origin(point)
        if origin is not None:
            answers = trajectory.read(self._place(point) / "checkpoints")
            self._learn(origin, {answer.name: answer.line for answer in answers})

    def _origin(self, point: Point) -> str | None:
        if point.number not in self.origins:
            self.origins[point.number] = address.of_learning(point.scenario)
        return self.origins[point.number]

    def _learn(self, origin: str, answers: dict[str, str]) -> None:
        known = self.answers.setdefault(origin, {})
        fresh = {name: line for name, line in answers.items() if name not in known}
        known |= fresh
        if self.store is not None and fresh:
            self.store.learn(origin, fresh)

    def _compute(self, points: Sequence[Point]) -> None:
        self.executor = self.make_executor()
        left = {point.number: point for point in points}
        for point in points:
            if self._origin(point) is None:
                self._submit(point)
            else:
                self._submit(point, listen=True)
        while left:
            number, done = self.executor.next()
            point = left[number]
            if number in self.listening:
                self.listening.discard(number)
                if done.fault is None:
                    self._join(point, done.names)
                    continue
            del left[number]
            self._finished(point, done)
            for follower in self._followers(number):
                self._submit(left[follower])

    def _submit(self, point: Point, listen: bool = False) -> None:
        assert self.executor is not None
        origin = self._origin(point)
        known: dict[str, str] = {}
        if listen:
            self.listening.add(point.number)
        elif origin is not None:
            known = self.answers.get(origin, {})
        job = Job(
            scenario=self._text(point),
            origin=origin,
            listen=listen,
            known=dict(known),
            plugins=plugins.carried(),
            directory=str(self._place(point).resolve()) if self.executor.shares_files else None,
            draws=self.draws,
        )
        self.executor.submit(point.number, job)

    def _join(self, point: Point, names: Sequence[str]) -> None:
        """Put a point that learns into its group, and let it begin if it need not wait."""
        origin = self._origin(point)
        assert origin is not None
        group = (origin, names[-1])
        self.groups[point.number] = group
        if self.store is not None:
            adaptive = point.scenario.rounds.select.adaptive
            known = self.answers.setdefault(origin, {})
            known |= self.store.answers(origin, None if adaptive else [n for n in names if n not in known])
        if group in self.leaders:
            self.waiting[group].append(point.number)
            return
        if any(name not in self.answers.get(origin, {}) for name in names):
            self.leaders[group], self.waiting[group] = point.number, []
        self._submit(point)

    def _followers(self, number: int) -> list[int]:
        """The points that waited for this one; they wait for nobody any more."""
        group = self.groups.get(number)
        if group is None or self.leaders.get(group) != number:
            return []
        del self.leaders[group]
        return self.waiting.pop(group)

    def _finished(self, point: Point, done: Done) -> None:
        """Lay out what became of a point."""
        place = self._place(point)
        self.computed += 1
        if done.fault is None and done.files:
            self._lay_out(place, done)
        if done.fault is None:
            origin = self._origin(point)
            if origin is not None:
                self._learn(origin, {a.name: a.line for a in map(trajectory.Answer.read, done.answers) if a})
            self.learned += done.learned
            self.recalled += done.recalled
            if self.store is not None:
                self.store.keep(self.addresses[point.number], place)
        self._done(point, done.fault)
        self.progress.point(point.parameters, done.fault)

    def _lay_out(self, place: Path, done: Done) -> None:
        """Write the files of a run that was computed elsewhere; the summary last, which makes it finished."""
        shutil.rmtree(place, ignore_errors=True)
        for name in sorted(done.files, key=lambda name: (name == "summary.json", name)):
            file = place / name
            file.parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(file, done.files[name])

    def _done(self, point: Point, fault: str | None = None) -> None:
        known = self.addresses[point.number]
        summary = None if fault is not None else read_json(self._place(point) / "summary.json")
        self.rows[point.number] = Row(point, known, summary, fault)

"""Writing a run directory while the run goes on, so that no finished round is ever lost.

Life of a run directory: ``scenario.yaml`` and ``manifest.json`` are there from the start. Each
finished round is a transaction of the database in ``parts/`` (:mod:`fedsim.results.store`). At the end
its rows are streamed into ``rounds.parquet``, ``clients.parquet`` and ``convergence.parquet``,
``summary.json`` is written last and makes the run finished, and ``parts/`` goes. The final files depend
on the rows alone: the same rounds give the same bytes, also after a crash and a resume.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import ArrayLike

from fedsim import files
from fedsim.errors import FedsimError, RunError, refused
from fedsim.locks import Lock
from fedsim.results import intervals as intervals_
from fedsim.results import parquet, store, tables
from fedsim.results.columns import TABLES
from fedsim.results.intervals import Intervals
from fedsim.results.manifest import check_format, check_goes_on
from fedsim.results.reading import Run, is_run, read_json
from fedsim.results.store import INITIAL, Store
from fedsim.results.summary import summarise

Metrics = Iterable[tuple[str, str, float]]


def go_on(path: Path) -> str:
    """What is kept of an unfinished run and how to go on with it, in words."""
    return f"finished rounds are kept; go on with: fedsim run --resume {shlex.quote(str(path))}"


def _never_began(path: Path) -> bool:
    """Whether all that a directory holds was left by a run that stopped before its manifest was written."""
    found = {entry.name for entry in path.iterdir() if not files.is_temporary(entry.name)}
    if "parts" not in found or not found <= {"parts", "scenario.yaml"}:
        return False
    ours = store.file(path).name
    inside = (entry.name for entry in (path / "parts").iterdir())
    return all(name == "lock" or name.startswith(ours) for name in inside)


class RunWriter:
    """Writes one run. Use as a context manager: leaving it closes files and keeps all rounds.

    Args:
        directory: the run directory; made if it is missing, must be empty if not, or hold no more than
            a run that was stopped before it began.
        scenario: the resolved scenario as YAML text.
        manifest: see :func:`fedsim.results.manifest.manifest`.
        devices: names for device positions, if clients' ``device`` will be given as positions.
        techniques: names for the positions of ways to train, likewise.

    Raises:
        RunError: if the directory holds another run or other files.
        FedsimError: if the disk refuses.
    """

    def __init__(
        self,
        directory: str | Path,
        scenario: str,
        manifest: Mapping[str, Any],
        devices: Sequence[str] = (),
        techniques: Sequence[str] = tables.ALL_ALIKE,
    ) -> None:
        self.path = Path(directory)
        self.devices, self.techniques = tuple(devices), tuple(techniques)
        with self._disk():
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                self._refuse_what_is_there()
                self._parts.mkdir(exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise RunError("is not a directory", file=self.path) from None
            self._lock = self._hold()
            try:
                self._refuse_what_is_there(ours=True)  # another run may have taken it meanwhile
                files.remove_temporary(self.path)
                for left in self._parts.glob(f"{store.file(self.path).name}*"):
                    left.unlink()
                self._store = Store(self.path)
                self.last_round = self._store.last
                files.write_text(self.path / "scenario.yaml", scenario)
                files.write_json(self.path / "manifest.json", manifest)
            except RunError:
                self._lock.close()
                with suppress(OSError):
                    self._parts.rmdir()
                raise
            except OSError:
                self.discard()
                raise

    def _refuse_what_is_there(self, ours: bool = False) -> None:
        """Refuse another run's directory; ``ours`` if we hold it by now."""
        if is_run(self.path):
            if not ours and (self._parts / "lock").is_file():
                self._hold().close()  # says who is writing it, if anybody is
            raise RunError(
                "already holds a run; choose another directory, or go on with it by "
                f"fedsim run --resume {shlex.quote(str(self.path))}",
                file=self.path,
            )
        if any(self.path.iterdir()) and not _never_began(self.path):
            raise RunError("is not empty; choose a new directory for the run", file=self.path)

    def discard(self) -> None:
        """Take back a run that has no round yet, and its directory too if nothing else is in it."""
        with suppress(FedsimError, AttributeError):  # it may not have come so far
            self._store.close()
        for folder in ("checkpoints", "parts"):
            shutil.rmtree(self.path / folder, ignore_errors=True)
        with suppress(OSError):
            for name in ("manifest.json", "scenario.yaml"):
                (self.path / name).unlink(missing_ok=True)
            files.remove_temporary(self.path)
            self.path.rmdir()
        self._lock.close()

    @classmethod
    def resume(
        cls,
        directory: str | Path,
        round_index: int | None = None,
        devices: Sequence[str] = (),
        techniques: Sequence[str] = tables.ALL_ALIKE,
    ) -> RunWriter:
        """Go on with an unfinished run.

        Args:
            directory: the run directory.
            round_index: drop this round and all later ones first; None keeps every finished round.
            devices, techniques: as in the constructor.

        Raises:
            RunError: if there is no run, it is finished or damaged, it lacks rounds before
                ``round_index``, or another process is writing it.
            FedsimError: if the disk refuses.
        """
        self = cls.__new__(cls)
        self.path = Path(directory)
        self.devices, self.techniques = tuple(devices), tuple(techniques)
        self._refuse_what_cannot_go_on()
        with self._disk(go_on(self.path)):
            self._lock = self._hold()
            try:
                self._refuse_what_cannot_go_on()  # another process may have finished it meanwhile
                store.look(self.path)
                self._store = Store(self.path)
                self._cut(round_index)
                files.remove_temporary(self.path)
            except BaseException:
                with suppress(AttributeError):  # it may not have come so far
                    self._store.close()
                self._lock.close()
                raise
        return self

    def _refuse_what_cannot_go_on(self) -> None:
        if not is_run(self.path):
            never = self.path.is_dir() and (_never_began(self.path) or not any(self.path.iterdir()))
            raise RunError(
                "holds a run that was stopped before it began; start it again with: "
                f"fedsim run SCENARIO --out {shlex.quote(str(self.path))}"
                if never
                else "holds no run to go on with: it has no manifest.json",
                file=self.path,
            )
        file = self.path / "manifest.json"
        manifest = read_json(file)
        check_format(manifest, file)
        if not isinstance(manifest.get("volatile", {}), dict):  # which is added to at the end
            raise RunError("is damaged: it is no mapping", file=file, key="volatile")
        if (self.path / "summary.json").is_file():
            if self._parts.is_dir():  # a crash just before the very end leaves them
                shutil.rmtree(self._parts, ignore_errors=True)
                files.remove_temporary(self.path)
            raise RunError(
                "holds a run that is finished; there is nothing to go on with, and its report is made again "
                f"by: fedsim report {shlex.quote(str(self.path))}",
                file=self.path,
            )
        check_goes_on(manifest, file)
        if not self._parts.is_dir():
            raise RunError("is damaged: it has neither summary.json nor parts", file=self.path)

    def _cut(self, round_index: int | None) -> None:
        """Drop the rounds from ``round_index`` on.

        Raises:
            RunError: if rounds before it are missing.
        """
        last = self._store.last
        have = INITIAL if last is None else last
        if round_index is not None:
            if have < round_index - 1:
                raise RunError(
                    f"has no round {have + 1}; it cannot go on from round {round_index}", file=self.path
                )
            self._store.cut(round_index)
        self.last_round = self._store.last

    def _hold(self) -> Lock:
        return Lock(self._parts / "lock", self.path)

    @property
    def _parts(self) -> Path:
        return self.path / "parts"

    @property
    def next_round(self) -> int:
        """The round to be written next: 0 for a new run."""
        return 0 if self.last_round is None else self.last_round + 1

    def initial(self, metrics: Metrics, time_s: float = 0.0) -> None:
        """Record the evaluation of the model before the first round (round -1).

        Raises:
            ValueError: if a round was written already.
        """
        self._write(INITIAL, None, None, metrics, time_s)

    def round(
        self,
        row: Mapping[str, Any],
        clients: Mapping[str, ArrayLike],
        metrics: Metrics = (),
        time_s: float | None = None,
    ) -> None:
        """Record one finished round.

        Args:
            row: ``round``, ``start_s``, ``end_s`` and, if there is one, ``loss``. The other columns
                of ``rounds.parquet`` are computed from ``clients``.
            clients: the columns of ``clients.parquet`` but ``round``, each of shape [n]; ``device``
                as names or positions in ``devices``, ``outcome`` as words or positions in OUTCOMES.
            metrics: evaluations of the model after this round: (metric, split, value).
            time_s: their simulated time; the round's end if not given.

        Raises:
            ValueError: if the round does not follow the last one, or columns do not fit.
            FedsimError: if the disk refuses; rounds written before are kept.
        """
        full = {**row, **tables.totals(clients)}
        self._write(
            int(row["round"]), full, clients, metrics, float(row["end_s"]) if time_s is None else time_s
        )

    def _write(
        self,
        round_index: int,
        row: Mapping[str, Any] | None,
        clients: Mapping[str, ArrayLike] | None,
        metrics: Metrics,
        time_s: float,
    ) -> None:
        expected = self.next_round if row is not None else INITIAL
        if round_index != expected or (row is None and self.last_round is not None):
            raise ValueError(f"round {round_index} was given where {self.next_round} comes next")
        columns = {
            "rounds": tables.empty("rounds") if row is None else tables.rounds_columns(row),
            "clients": tables.empty("clients")
            if clients is None
            else tables.clients_columns(round_index, clients, self.devices, self.techniques),
            "convergence": tables.convergence_columns(round_index, time_s, metrics),
        }
        with self._disk(go_on(self.path)):
            self._store.add(round_index, columns)
            self.last_round = round_index

    def note(self, key: str, value: Any) -> None:
        """Put something that became known only now into the manifest, in place of what it said.

        Raises:
            FedsimError: if the disk refuses.
        """
        with self._disk(go_on(self.path)):
            manifest = read_json(self.path / "manifest.json")
            if manifest.get(key) != value:
                files.write_json(self.path / "manifest.json", {**manifest, key: value})

    def sync(self) -> None:
        """Put every finished round on the disk now; call it before a checkpoint is written."""
        with self._disk(go_on(self.path)):
            self._store.sync()

    def finish(
        self,
        ended: str = "all rounds done",
        volatile: Mapping[str, Any] | None = None,
        intervals: Intervals | None = None,
    ) -> dict[str, Any]:
        """Write the final Parquet files and ``summary.json``; remove ``parts/``.

        Args:
            ended: why the run ended, in words; goes into the summary.
            volatile: what differs from run to run (wall-clock seconds); goes into the manifest.
            intervals: of its figures, if speeds were drawn; for the summary and a table of their own.

        Returns:
            The summary.
        """
        with self._disk(go_on(self.path)):
            run = Run(self.path, finished=False)
            for table in TABLES:
                parquet.write(self.path / f"{table}.parquet", table, run.batches(table))
            summary = summarise(Run(self.path, finished=True), ended)
            if intervals is not None:
                parquet.write(self.path / intervals_.FILE, "intervals", intervals.rows())
                summary = intervals.beside(summary, run.rounds["end_s"].to_numpy())
            if volatile:
                manifest = read_json(self.path / "manifest.json")
                manifest["volatile"] = {**manifest.get("volatile", {}), **volatile}
                files.write_json(self.path / "manifest.json", manifest)
            files.write_json(self.path / "summary.json", summary)
            self.close()
            shutil.rmtree(self._parts)
        return summary

    def close(self) -> None:
        """Close files and let go of the directory; an unfinished run can be resumed."""
        with self._disk(go_on(self.path)):
            try:
                self._store.close()
            finally:
                self._lock.close()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _disk(self, way_on: str = "") -> Iterator[None]:
        """Turn a refusal of the disk into one sentence."""
        try:
            yield
        except OSError as fault:
            raise refused(self.path, fault, way_on) from None

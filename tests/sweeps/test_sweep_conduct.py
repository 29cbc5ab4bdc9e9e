"""Whole sweeps: the table, reuse, interruptions, failures, and workers that die."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from fedsim import results
from fedsim.errors import RunError, ScenarioError
from fedsim.scenario import load
from fedsim.sweeps import resume, start, work
from fedsim.sweeps.here import Here
from fedsim.sweeps.processes import Processes
from fedsim.sweeps.store import Store
from fedsim.sweeps.work import Done, Job

from .conftest import GRID, LEARNING, TIMING, YEARS

RUN_FILES = ("rounds.parquet", "clients.parquet", "convergence.parquet", "summary.json", "scenario.yaml")


def table(directory):
    return (directory / "sweep.parquet").read_bytes()


def runs(directory):
    """The bytes of every point's run, by name."""
    return {
        (run.name, file): (run / file).read_bytes()
        for run in sorted(path for path in (directory / "points").iterdir() if path.is_dir())
        for file in RUN_FILES
    }


def rows(directory):
    return pq.read_table(directory / "sweep.parquet").to_pylist()


def test_a_point_is_the_run_of_its_scenario_and_a_row_of_its_summary(sweep_of, tmp_path):
    found = start(sweep_of(TIMING, GRID), tmp_path / "sweep", Here)
    assert (found.points, found.computed, found.failed) == (4, 4, 0)
    told = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [entry["status"] for entry in told["points"]] == ["done"] * 4
    (tmp_path / "plain.yaml").write_text(TIMING)
    for row, entry in zip(rows(tmp_path / "sweep"), told["points"], strict=True):
        values = [f"{key}={row[key]}" for key in ("hardware.year", "training.batch_size")]
        from fedsim.simulation.execute import run

        alone = run(load(tmp_path / "plain.yaml", values), tmp_path / f"alone-{row['point']}")
        place = tmp_path / "sweep" / entry["directory"]
        for file in ("rounds.parquet", "clients.parquet", "summary.json"):
            assert (place / file).read_bytes() == (alone / file).read_bytes()
        summary = results.load(alone).summary
        assert row["end_s"] == summary["end_s"]
        assert row["outcomes.completed"] == summary["outcomes"]["completed"]
        assert row["devices.raspberry-pi-4.energy_j"] == summary["devices"]["raspberry-pi-4"]["energy_j"]
        assert (row["status"], row["message"], row["address"]) == ("done", "", entry["address"])


def test_columns_are_tidy_and_documented(sweep_of, tmp_path):
    block = """
sweep:
  cases: {a: {}, b: {seed: 4}}
  rounds.close: [wait-all, {policy: deadline, after: 1h}]
  server.uplink: [unlimited, 1Gbps]
"""
    start(sweep_of(TIMING, block), tmp_path / "sweep", Here)
    found = pq.read_table(tmp_path / "sweep" / "sweep.parquet")
    assert found.column_names[:7] == [
        "point",
        "status",
        "message",
        "address",
        "case",
        "rounds.close",
        "server.uplink",
    ]
    assert found["rounds.close"].to_pylist()[:4] == ["wait-all"] * 2 + ["{policy: deadline, after: 1h}"] * 2
    for field in found.schema:
        assert field.metadata[b"meaning"], field.name
    units = {field.name: field.metadata[b"unit"] for field in found.schema}
    assert units["end_s"] == b"s"
    assert units["devices.raspberry-pi-4.footprint_bytes"] == b"bytes"
    assert units["energy_j"] == b"J"
    assert units["outcomes.oom"] == b""


def test_processes_give_the_same_bytes_as_this_process(sweep_of, tmp_path):
    sweep = sweep_of(TIMING, GRID)
    start(sweep, tmp_path / "here", Here)
    start(sweep, tmp_path / "there", lambda: Processes(2))
    assert table(tmp_path / "here") == table(tmp_path / "there")
    assert runs(tmp_path / "here") == runs(tmp_path / "there")


class Handing(Here):
    """An executor whose workers share no files with the sweep, as on a cluster."""

    shares_files = False


@pytest.mark.parametrize(("text", "block"), [(TIMING, GRID), (LEARNING, YEARS)], ids=["timing", "learning"])
def test_files_that_are_handed_back_are_those_written_in_place(sweep_of, tmp_path, text, block):
    start(sweep_of(text, block), tmp_path / "here", Here)
    start(sweep_of(text, block), tmp_path / "there", Handing)
    assert table(tmp_path / "here") == table(tmp_path / "there")
    assert runs(tmp_path / "here") == runs(tmp_path / "there")


def really(sweep, tmp_path):
    """The tables of a sweep whose every point is trained on its own, without any reuse."""
    found = {}
    for point in sweep.points:
        one = replace(sweep, points=(replace(point, number=0),))
        place = tmp_path / f"really-{point.number}"
        conclusion = start(one, place, Here)
        assert conclusion.recalled_rounds == 0
        found |= {(point.number, file): held for (_, file), held in runs(place).items()}
    return found


def by_number(found):
    return {(int(name.partition("-")[0]), file): data for (name, file), data in found.items()}


def test_equal_participation_is_trained_once_with_the_bytes_of_really_training(sweep_of, tmp_path):
    sweep = sweep_of(LEARNING, YEARS)
    found = start(sweep, tmp_path / "sweep", Here)
    assert (found.learned_rounds, found.recalled_rounds) == (3, 6)
    ends = [row["end_s"] for row in rows(tmp_path / "sweep")]
    assert ends[0] > ends[1] > ends[2]
    assert by_number(runs(tmp_path / "sweep")) == really(sweep, tmp_path)


def test_unequal_participation_is_never_taken_for_equal(sweep_of, tmp_path):
    text = LEARNING.replace("aggregate: loss-weighted", "aggregate: loss-weighted, close: CLOSE")
    text = text.replace("CLOSE", "{policy: deadline, after: 13s}").replace("share: 1.0", "share: 0.5")
    text = text.replace(
        "link: instant}", "link: instant}\n    - {device: nvidia-a40, share: 0.5, link: instant}"
    )
    sweep = sweep_of(text, YEARS)
    found = start(sweep, tmp_path / "sweep", Here)
    completed = [row["outcomes.completed"] for row in rows(tmp_path / "sweep")]
    assert len(set(completed)) > 1, "the deadline must bind in some years for this test to mean anything"
    assert found.learned_rounds > 3
    assert by_number(runs(tmp_path / "sweep")) == really(sweep, tmp_path)


def test_selection_by_loss_gets_what_really_training_gives(sweep_of, tmp_path):
    text = LEARNING.replace("cohort: 4", "cohort: 3, select: oort")
    sweep = sweep_of(text, "sweep: {hardware.year: [2022, 2030]}")
    start(sweep, tmp_path / "sweep", Here)
    assert by_number(runs(tmp_path / "sweep")) == really(sweep, tmp_path)


def test_a_second_sweep_takes_what_the_store_has_and_only_that(sweep_of, tmp_path):
    store = Store(tmp_path / "store")
    first = start(sweep_of(TIMING, "sweep: {seed: [1, 2]}"), tmp_path / "one", Here, store=store)
    assert (first.computed, first.stored) == (2, 0)
    renamed = sweep_of(TIMING, "sweep: {seed: [3, 2, 1]}", ["name=other", "description=another question"])
    second = start(renamed, tmp_path / "two", Here, store=store)
    assert (second.computed, second.stored) == (1, 2)
    start(renamed, tmp_path / "alone", Here)
    assert table(tmp_path / "two") == table(tmp_path / "alone")
    assert runs(tmp_path / "two") == runs(tmp_path / "alone")
    for run in (tmp_path / "two" / "points").glob("*-*"):
        assert results.load(run).manifest["name"] == "other"


def test_a_stored_learner_answers_a_later_sweep(sweep_of, tmp_path):
    store = Store(tmp_path / "store")
    start(sweep_of(LEARNING, "sweep: {hardware.year: [2022]}"), tmp_path / "one", Here, store=store)
    sweep = sweep_of(LEARNING, "sweep: {hardware.year: [2023, 2024]}")
    found = start(sweep, tmp_path / "two", Here, store=store)
    assert (found.stored, found.learned_rounds, found.recalled_rounds) == (0, 0, 6)
    assert by_number(runs(tmp_path / "two")) == really(sweep, tmp_path)


def test_what_is_damaged_in_the_store_is_computed_again(sweep_of, tmp_path):
    store, sweep = Store(tmp_path / "store"), sweep_of(TIMING, "sweep: {seed: [1, 2]}")
    start(sweep, tmp_path / "one", Here, store=store)
    first, second = sorted((tmp_path / "store" / "points").glob("*/*"))
    held = (first / "clients.parquet").read_bytes()
    (first / "clients.parquet").unlink()
    (first / "clients.parquet").write_bytes(held[:-20] + b"x" * 20)
    (second / "entry.json").write_text("[]")
    found = start(sweep, tmp_path / "two", Here, store=store)
    assert (found.computed, found.stored) == (2, 0)
    assert runs(tmp_path / "one") == runs(tmp_path / "two")
    assert start(sweep, tmp_path / "three", Here, store=store).stored == 2


def test_a_store_that_cannot_be_written_is_no_help_and_no_harm(sweep_of, tmp_path):
    (tmp_path / "file").write_text("")
    found = start(
        sweep_of(TIMING, "sweep: {seed: [1]}"), tmp_path / "one", Here, store=Store(tmp_path / "file")
    )
    assert (found.computed, found.failed) == (1, 0)


def test_what_was_long_not_used_is_dropped_from_the_store(sweep_of, tmp_path):
    store = Store(tmp_path / "store")
    start(sweep_of(TIMING, "sweep: {seed: [1, 2]}"), tmp_path / "one", Here, store=store)
    first, second = sorted((tmp_path / "store" / "points").glob("*/*"))
    os.utime(first, (1e9, 1e9))
    store.prune()
    assert (first.exists(), second.exists()) == (False, True)


def test_other_files_mean_another_address(sweep_of, tmp_path):
    from fedsim import paths
    from fedsim.sweeps.address import of_point

    mine = tmp_path / "board.yaml"
    text = (paths.data_dir("hardware") / "raspberry-pi-4.yaml").read_text()
    mine.write_text(text)

    def address(text):
        return of_point(sweep_of(text, "sweep: {seed: [1]}").points[0].scenario)

    plain = address(TIMING.replace("raspberry-pi-4", "board.yaml"))
    assert address(TIMING.replace("raspberry-pi-4", str(mine))) == plain
    assert plain != address(TIMING)
    mine.write_text(text + "# another byte\n")
    assert address(TIMING.replace("raspberry-pi-4", "board.yaml")) != plain


class Interrupted(Exception):
    pass


class Stopping(Here):
    """Stands for a sweep that dies when so many of its jobs are done."""

    def __init__(self, jobs):
        super().__init__()
        self.left = jobs

    def next(self):
        if self.left == 0:
            raise Interrupted
        self.left -= 1
        return super().next()


@pytest.mark.parametrize(("text", "block", "stop"), [(TIMING, GRID, 2), (LEARNING, YEARS, 4)])
def test_an_interrupted_sweep_goes_on_to_the_same_bytes(sweep_of, tmp_path, text, block, stop):
    start(sweep_of(text, block), tmp_path / "whole", Here)
    with pytest.raises(Interrupted):
        start(sweep_of(text, block), tmp_path / "cut", lambda: Stopping(stop))
    assert not (tmp_path / "cut" / "sweep.parquet").exists()
    found = resume(tmp_path / "cut", Here)
    assert found.kept == (stop if text is TIMING else stop - 3)
    assert found.kept + found.computed == found.points
    assert table(tmp_path / "cut") == table(tmp_path / "whole")
    assert runs(tmp_path / "cut") == runs(tmp_path / "whole")
    again = resume(tmp_path / "cut", Here)
    assert (again.kept, again.computed) == (found.points, 0)
    assert table(tmp_path / "cut") == table(tmp_path / "whole")


def test_a_run_that_was_cut_off_within_its_training_goes_on_there(sweep_of, tmp_path, monkeypatch):
    from fedsim.simulation import state

    start(sweep_of(LEARNING, YEARS), tmp_path / "whole", Here)
    saved = state.save

    def dying(folder, rounds_done, kept, scenario):
        saved(folder, rounds_done, kept, scenario)
        if rounds_done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(state, "save", dying)
    with pytest.raises(KeyboardInterrupt):
        start(sweep_of(LEARNING, YEARS), tmp_path / "cut", Here)
    monkeypatch.undo()
    found = resume(tmp_path / "cut", Here)
    assert found.learned_rounds == 1, "two of three rounds had been learned already"
    assert table(tmp_path / "cut") == table(tmp_path / "whole")
    assert runs(tmp_path / "cut") == runs(tmp_path / "whole")


def test_points_whose_address_no_longer_holds_are_computed_again(sweep_of, tmp_path):
    start(sweep_of(TIMING, GRID), tmp_path / "sweep", Here)
    told = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    told["points"][1]["address"] = "of other code"
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps(told))
    found = resume(tmp_path / "sweep", Here)
    assert (found.kept, found.computed) == (3, 1)


class Failing(Here):
    """A machine on which batches of 4 cannot be computed."""

    def next(self):
        number, job = self._waiting.popleft()
        if "batch_size: 4" in job.scenario:
            return number, Done(fault="no room for it")
        self._waiting.appendleft((number, job))
        return super().next()


def test_failed_points_are_recorded_and_the_rest_is_finished(sweep_of, tmp_path):
    found = start(sweep_of(TIMING, GRID), tmp_path / "sweep", Failing, store=Store(tmp_path / "store"))
    assert (found.failed, found.points) == (2, 4)
    table = rows(tmp_path / "sweep")
    assert [row["status"] for row in table] == ["done", "failed"] * 2
    assert [row["message"] for row in table] == ["", "no room for it"] * 2
    assert [row["end_s"] is None for row in table] == [False, True] * 2
    again = resume(tmp_path / "sweep", Here)
    assert (again.kept, again.computed, again.failed) == (2, 2, 0)
    start(sweep_of(TIMING, GRID), tmp_path / "whole", Here)
    assert rows(tmp_path / "sweep") == rows(tmp_path / "whole")


def test_a_leader_that_fails_lets_the_others_train(sweep_of, tmp_path):
    class FirstFails(Here):
        failed = False

        def next(self):
            number, job = self._waiting[0]
            if not job.listen and not self.failed:
                self.failed = True
                self._waiting.popleft()
                return number, Done(fault="bad luck")
            return super().next()

    found = start(sweep_of(LEARNING, YEARS), tmp_path / "sweep", FirstFails)
    assert (found.failed, found.points) == (1, 3)
    assert found.learned_rounds + found.recalled_rounds == 6


def test_a_fault_in_a_job_is_its_result():
    done = work.do(Job(scenario="rounds: 3"))
    assert done.fault is not None
    assert "scenario.yaml" in done.fault


def test_a_worker_that_dies_is_replaced_and_its_job_done_again(sweep_of, tmp_path):
    class Killing(Processes):
        def next(self):
            if self._workers and not self._deaths:
                os.kill(self._workers[0].process.pid, signal.SIGKILL)
            return super().next()

    made = []

    def make():
        made.append(Killing(2))
        return made[-1]

    start(sweep_of(TIMING, GRID), tmp_path / "here", Here)
    start(sweep_of(TIMING, GRID), tmp_path / "there", make)
    assert sum(made[0]._deaths.values()) == 1
    assert table(tmp_path / "here") == table(tmp_path / "there")
    assert runs(tmp_path / "here") == runs(tmp_path / "there")


def test_a_job_that_kills_every_worker_has_failed():
    class Killing(Processes):
        def _hand_out(self):
            super()._hand_out()
            for worker in self._workers:
                os.kill(worker.process.pid, signal.SIGKILL)

    executor = Killing(1)
    executor.submit(5, Job(scenario="{}"))
    number, found = executor.next()
    assert number == 5
    assert "its worker died 3 times (exit code -9)" in (found.fault or "")
    executor.close()
    executor.close()


def test_directories_that_are_taken_are_refused(sweep_of, tmp_path):
    sweep = sweep_of(TIMING, "sweep: {seed: [1]}")
    start(sweep, tmp_path / "one", Here)
    with pytest.raises(RunError, match="already holds a sweep"):
        start(sweep, tmp_path / "one", Here)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "notes.txt").write_text("")
    with pytest.raises(RunError, match="is not empty"):
        start(sweep, tmp_path / "two", Here)
    with pytest.raises(RunError, match="holds no sweep"):
        resume(tmp_path / "two", Here)
    (tmp_path / "one" / "sweep.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        resume(tmp_path / "one", Here)


def test_what_can_be_known_to_be_wrong_is_known_before_anything_is_written(sweep_of, tmp_path):
    cases = {
        "sweep: {'fleet.mix[0].battery': [{capacity: 10Wh}, {}]}": "has no battery of its own.*at the point",
        "sweep: {workload.max_seconds: [15, 0.01]}": "no clip.*at the point workload.max_seconds=0.01",
        "sweep: {seed: [1], figures: [end_s, speed]}": "sweep.figures: 'speed' is no figure",
    }
    for block, said in cases.items():
        with pytest.raises(ScenarioError, match=said):
            start(sweep_of(TIMING, block), tmp_path / "sweep", Here)
    assert not (tmp_path / "sweep").exists()


def test_figures_are_plain_numbers():
    from fedsim.sweeps.table import figures

    tree = {"a": 1, "b": {"c": None, "d": {"e": 2.5}}}
    assert list(figures(tree)) == [(("a",), 1), (("b", "d", "e"), 2.5)]
    assert np.isfinite([value for _, value in figures(tree)]).all()

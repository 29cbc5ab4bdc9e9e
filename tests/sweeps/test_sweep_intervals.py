"""Sweeps whose points' clocks are repeated under drawn speeds."""

import json

import pyarrow.parquet as pq
import pytest

from fedsim import results
from fedsim.errors import RunError
from fedsim.report import sweeps as pictures
from fedsim.scenario import load
from fedsim.simulation.execute import run
from fedsim.sweeps import resume, start
from fedsim.sweeps.here import Here
from fedsim.sweeps.store import Store

from .conftest import GRID, TIMING
from .test_sweep_conduct import rows, runs, table

SEEDS = "sweep: {seed: [1, 2]}"


def test_a_row_has_the_ends_of_its_point_s_intervals(sweep_of, tmp_path):
    start(sweep_of(TIMING, GRID), tmp_path / "sweep", Here, draws=9)
    (tmp_path / "plain.yaml").write_text(TIMING)
    found = rows(tmp_path / "sweep")
    for row in found:
        values = [f"{key}={row[key]}" for key in ("hardware.year", "training.batch_size")]
        alone = run(load(tmp_path / "plain.yaml", values), tmp_path / f"alone-{row['point']}", draws=9)
        interval = results.load(alone).summary["interval"]
        for name in ("end_s", "mean_round_s", "longest_round_s", "energy_j", "wasted_s"):
            for end in ("low", "high"):
                assert row[f"interval.{name}.{end}"] == interval[name][end]
    names = set(found[0])
    assert {"interval.end_s.level", "interval.end_s.draws"}.isdisjoint(names)
    assert not [name for name in names if name.startswith("devices.") and ".interval." in name]
    schema = pq.read_schema(tmp_path / "sweep" / "sweep.parquet")
    for name, unit in (("end_s", b"s"), ("energy_j", b"J"), ("wasted_s", b"s")):
        field = schema.field(f"interval.{name}.high")
        assert field.metadata[b"unit"] == unit
        assert b"High end" in field.metadata[b"meaning"]
    assert pictures.write(tmp_path / "sweep")


def test_the_store_tells_points_with_draws_from_those_without(sweep_of, tmp_path):
    store, sweep = Store(tmp_path / "store"), sweep_of(TIMING, SEEDS)
    start(sweep, tmp_path / "none", Here, store=store)
    first = start(sweep, tmp_path / "nine", Here, store=store, draws=9)
    assert (first.computed, first.stored) == (2, 0)
    assert start(sweep, tmp_path / "ten", Here, store=store, draws=10).stored == 0
    again = start(sweep, tmp_path / "again", Here, store=store, draws=9)
    assert (again.computed, again.stored) == (0, 2)
    assert table(tmp_path / "again") == table(tmp_path / "nine")
    assert runs(tmp_path / "again") == runs(tmp_path / "nine")
    for place in (tmp_path / "again" / "points").glob("*-*"):
        twin = tmp_path / "nine" / "points" / place.name
        assert (place / "intervals.parquet").read_bytes() == (twin / "intervals.parquet").read_bytes()
    assert not list((tmp_path / "none").glob("points/*/intervals.parquet"))
    assert start(sweep, tmp_path / "bare", Here, store=store).stored == 2


def test_a_sweep_goes_on_with_the_draws_that_it_began_with(sweep_of, tmp_path):
    sweep = sweep_of(TIMING, SEEDS)
    start(sweep, tmp_path / "whole", Here, draws=9)
    start(sweep, tmp_path / "cut", Here, draws=9)
    lost = next((tmp_path / "cut" / "points").glob("1-*"))
    for file in lost.iterdir():
        file.unlink()
    lost.rmdir()
    found = resume(tmp_path / "cut", Here)
    assert (found.kept, found.computed) == (1, 1)
    assert table(tmp_path / "cut") == table(tmp_path / "whole")
    assert runs(tmp_path / "cut") == runs(tmp_path / "whole")


@pytest.mark.parametrize("draws", [-1, "ten", 1.5, 10**7])
def test_draws_that_cannot_be_are_one_sentence(sweep_of, tmp_path, draws):
    start(sweep_of(TIMING, SEEDS), tmp_path / "sweep", Here)
    file = tmp_path / "sweep" / "sweep.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "draws": draws}))
    with pytest.raises(RunError, match=r"draws: is damaged: it is a whole number up to 10,000"):
        resume(tmp_path / "sweep", Here)

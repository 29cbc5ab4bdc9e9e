"""Null says that a number is not there; NaN, that somebody gave it. Files, readers and warnings agree."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fedsim import results
from fedsim.engine.aggregate import mean_loss
from fedsim.errors import RunError
from fedsim.missing import MISSING, from_list, is_missing
from fedsim.report import words
from fedsim.report.digest import digest
from fedsim.results.columns import CLIENTS, TABLES

SCENARIO = "name: gaps\nseed: 7\n"


def _clients(loss, weight):
    size = len(loss)
    floats = {c.name: np.ones(size) for c in CLIENTS if c.dtype == "float64"}
    return {
        **floats,
        "client": np.arange(size),
        "device": np.zeros(size, np.int64),
        "outcome": ["completed"] * size,
        "loss": from_list(loss),
        "weight": from_list(weight),
    }


@pytest.fixture(params=[True, False], ids=["finished", "going on"])
def run(request, tmp_path):
    """Round 0 trained for real, with losses of all kinds; round 1 not."""
    with results.RunWriter(tmp_path, SCENARIO, results.manifest("gaps", 7, 9, {}), ["nx"]) as writer:
        row = {"round": 0, "start_s": 0.0, "end_s": 1.0, "loss": math.nan}
        clients = _clients([0.5, math.nan, math.inf, None], [0.25, 0.25, 0.25, 0.25])
        writer.round(row, clients, [("loss", "train", math.nan), ("loss", "validation", 2.0)])
        row = {"round": 1, "start_s": 1.0, "end_s": 2.0}
        writer.round(row, _clients([None, None], [None, None]))
        if request.param:
            writer.finish()
    return results.load(tmp_path)


def _column(run, table, name):
    return pa.chunked_array([batch.column(name) for batch in run.batches(table, (name,))])


def test_what_is_not_there_is_null_and_what_was_reported_is_there(run):
    loss = _column(run, "clients", "loss")
    assert [repr(v) for v in loss.to_pylist()] == ["0.5", "nan", "inf", "None", "None", "None"]
    assert _column(run, "clients", "weight").to_pylist() == [0.25] * 4 + [None] * 2
    assert [repr(v) for v in _column(run, "rounds", "loss").to_pylist()] == ["nan", "None"]
    assert run.clients.loss.isna().tolist() == [False, True, False, True, True, True]  # pandas has one gap
    assert run.clients.weight[4:].isna().all()


def test_an_average_leaves_out_what_is_not_there(run):
    trained = pc.filter(_column(run, "clients", "loss"), pa.array([True, False, False, True, True, True]))
    assert pc.mean(trained).as_py() == 0.5
    assert pc.mean(_column(run, "clients", "weight")).as_py() == 0.25
    assert pc.mean(_column(run, "rounds", "loss").slice(1)).as_py() is None


def test_what_was_reported_is_counted_and_warned_of(run):
    assert run.summary["not_finite"] == {"losses": 2, "values": 1}
    said = (
        "Warning: 2 client-rounds report a loss that is NaN or infinite; 1 evaluation comes out as NaN or "
        "infinity."
    )
    assert said in words.answer(digest(run))


def test_only_columns_that_say_when_have_nulls(run):
    if not run.finished:
        return
    for table, columns in TABLES.items():
        schema = pq.read_schema(run.path / f"{table}.parquet")
        for column in columns:
            assert schema.field(column.name).nullable == bool(column.null)
            assert ("Null: " in schema.field(column.name).metadata[b"meaning"].decode()) == bool(column.null)
    assert {(t, c.name) for t, columns in TABLES.items() for c in columns if c.null} == {
        ("rounds", "loss"),
        ("clients", "weight"),
        ("clients", "loss"),
    }


def test_a_directory_of_before_says_null_where_it_has_nan(tmp_path):
    with results.RunWriter(tmp_path, SCENARIO, results.manifest("gaps", 7, 9, {}), ["nx"]) as writer:
        row = {"round": 0, "start_s": 0.0, "end_s": 1.0}
        writer.round(row, _clients([0.5, None], [None, None]))
        writer.finish()
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 1}))
    for table in ("rounds", "clients"):
        file = tmp_path / f"{table}.parquet"
        found = pq.read_table(file)
        columns = [pc.fill_null(c, math.nan) if pa.types.is_floating(c.type) else c for c in found.columns]
        schema = pa.schema([field.with_nullable(False) for field in found.schema])
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), file)
    old = results.load(tmp_path)
    assert _column(old, "clients", "loss").to_pylist() == [0.5, None]
    assert _column(old, "clients", "weight").to_pylist() == [None, None]
    assert _column(old, "rounds", "loss").to_pylist() == [None]
    assert old.clients.loss.tolist()[0] == 0.5
    (tmp_path / "summary.json").write_text("{}")
    assert results.summarise(old)["not_finite"] == {"losses": 0, "values": 0}


@pytest.mark.parametrize("form", [1, 2, 3])
def test_a_directory_of_before_says_nothing_of_how_clients_trained(tmp_path, form):
    with results.RunWriter(tmp_path, SCENARIO, results.manifest("gaps", 7, 9, {}), ["nx"]) as writer:
        writer.round({"round": 0, "start_s": 0.0, "end_s": 1.0}, _clients([0.5, 0.5], [0.5, 0.5]))
        writer.finish()
    assert results.load(tmp_path).clients.technique.tolist() == ["all", "all"]
    manifest, file = tmp_path / "manifest.json", tmp_path / "clients.parquet"
    gone = ["technique"] if form == 3 else ["technique", "startup_s"]
    pq.write_table(pq.read_table(file).drop_columns(gone), file)
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": form}))
    old = results.load(tmp_path)
    assert old.clients.technique.tolist() == ["", ""]
    assert list(old.clients.columns) == [column.name for column in CLIENTS]
    assert "techniques" not in results.summarise(old)


@pytest.mark.parametrize("form", [1, 2])
def test_a_directory_of_before_has_clients_that_did_not_start(tmp_path, form):
    with results.RunWriter(tmp_path, SCENARIO, results.manifest("gaps", 7, 9, {}), ["nx"]) as writer:
        writer.round({"round": 0, "start_s": 0.0, "end_s": 1.0}, _clients([0.5, 0.5], [0.5, 0.5]))
        writer.finish()
    manifest, file = tmp_path / "manifest.json", tmp_path / "clients.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["startup_s"]), file)
    with pytest.raises(RunError, match="has no column 'startup_s'"):
        _ = results.load(tmp_path).clients
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": form}))
    old = results.load(tmp_path)
    assert old.clients.startup_s.tolist() == [0.0, 0.0]
    assert old.clients.compute_s.tolist() == [1.0, 1.0]
    assert list(old.clients.columns) == [column.name for column in CLIENTS]
    assert results.summarise(old)["devices"]["nx"]["mean_startup_s"] == 0.0


@pytest.mark.parametrize("form", [1, 2])
def test_an_unfinished_run_of_before_is_started_again(tmp_path, form):
    with results.RunWriter(tmp_path, SCENARIO, results.manifest("gaps", 7, 9, {}), ["nx"]) as writer:
        writer.round({"round": 0, "start_s": 0.0, "end_s": 1.0}, _clients([0.5, 0.5], [0.5, 0.5]))
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": form}))
    for ask in (results.load, results.RunWriter.resume):
        with pytest.raises(RunError, match="has not finished; start that again"):
            ask(tmp_path)


@pytest.mark.parametrize(
    ("loss", "weight", "mean"),
    [
        ([1.0, 3.0], [0.75, 0.25], 1.5),
        ([1.0, 3.0], [None, None], 2.0),
        ([1.0, None], [0.5, 0.5], 1.0),
        ([None, None], [0.5, 0.5], None),
        ([], [], None),
        ([1.0, math.nan], [0.5, 0.5], math.nan),
        ([1.0, math.inf], [None, None], math.inf),
        ([1.0, math.nan, 5.0], [0.5, 0.0, 0.5], 3.0),
    ],
)
def test_the_mean_loss_of_a_round(loss, weight, mean):
    found = mean_loss(from_list(loss), from_list(weight))
    assert bool(is_missing(found)) == (mean is None)
    assert repr(found) == repr(MISSING if mean is None else mean)

"""Damaged run directories: everything either loads or is refused in one sentence."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.errors import RunError
from fedsim.results import OUTCOMES, RunWriter, load, manifest, summarise


def build(path, finish):
    rng = np.random.default_rng(5)
    with RunWriter(path, "name: x\n", manifest("x", 1, 50, {}), ("a", "b")) as run:
        for index in range(4):
            clients = {
                name: rng.random(8)
                for name in (
                    "dispatched_s",
                    "download_s",
                    "startup_s",
                    "compute_s",
                    "upload_s",
                    "ended_s",
                    "footprint_bytes",
                    "available_bytes",
                    "downloaded_bytes",
                    "uploaded_bytes",
                    "energy_j",
                    "examples",
                    "weight",
                    "loss",
                )
            }
            clients["client"] = rng.choice(50, 8, replace=False)
            clients["device"] = rng.integers(0, 2, 8)
            clients["outcome"] = rng.integers(0, len(OUTCOMES), 8)
            row = {"round": index, "start_s": float(index), "end_s": index + 1.0, "loss": 1.0}
            run.round(row, clients, [("loss", "validation", 1.0 / (index + 1))])
            if index == 1:
                run._store._db.execute("PRAGMA wal_checkpoint").fetchall()
        if finish:
            run.finish()
            return path
        copy = path.with_name("as-a-crash-leaves-it")  # half in the database and half in its log
        shutil.copytree(path, copy)
    return copy


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    where = tmp_path_factory.mktemp("damage")
    return {finish: build(where / str(finish), finish) for finish in (True, False)}


def use(path):
    run = load(path)
    _ = run.summary, run.rounds, run.clients, run.convergence
    summarise(run)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), finish=st.booleans())
def test_no_damage_gives_anything_but_a_sentence(whole, tmp_path_factory, data, finish):
    path = tmp_path_factory.mktemp("fuzz") / "run"
    shutil.copytree(whole[finish], path)
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != "lock")
    victim = data.draw(st.sampled_from(files))
    content = bytearray(victim.read_bytes())
    match data.draw(st.sampled_from(["delete", "cut", "flip", "garbage"])):
        case "delete":
            victim.unlink()
        case "cut":
            victim.write_bytes(bytes(content[: data.draw(st.integers(0, max(0, len(content) - 1)))]))
        case "flip":
            if content:
                for _ in range(data.draw(st.integers(1, 4))):
                    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
            victim.write_bytes(bytes(content))
        case "garbage":
            victim.write_bytes(data.draw(st.binary(max_size=200)))
    refusal = None
    try:
        use(path)
    except RunError as fault:
        refusal = fault
    assert refusal is None or ("\n" not in str(refusal) and len(str(refusal)) < 400)


def test_messages_name_the_file(whole, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(whole[True], path)
    with pytest.raises(RunError, match=r"nowhere: is not a directory"):
        load(tmp_path / "nowhere")
    with pytest.raises(RunError, match="holds no run"):
        load(tmp_path)
    (path / "clients.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"clients\.parquet: is damaged"):
        _ = load(path).clients
    (path / "summary.json").write_text("[1")
    with pytest.raises(RunError, match=r"summary\.json: is damaged: it is not valid JSON"):
        _ = load(path).summary
    (path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(RunError, match="has format 99; this fedsim reads formats 1 to 4"):
        load(path)


def test_a_file_with_other_columns_is_refused(whole, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(whole[True], path)
    rows = pq.read_table(path / "clients.parquet")
    pq.write_table(rows.drop_columns(["energy_j"]), path / "clients.parquet")
    with pytest.raises(RunError, match="has no column 'energy_j'"):
        _ = load(path).clients
    pq.write_table(rows.drop_columns(["outcome"]), path / "clients.parquet")
    with pytest.raises(RunError, match="lacks one of the columns device, outcome"):
        _ = load(path).clients
    place = rows.schema.get_field_index("client")
    pq.write_table(
        rows.set_column(place, "client", rows["client"].cast(pa.string())), path / "clients.parquet"
    )
    with pytest.raises(RunError, match="column 'client' is string, not int64"):
        _ = load(path).clients
    place = rows.schema.get_field_index("outcome")
    words = pa.array(["<b>tired</b>"] * rows.num_rows)
    pq.write_table(rows.set_column(place, "outcome", words), path / "clients.parquet")
    with pytest.raises(RunError, match="is no outcome"):
        summarise(load(path))
    place = rows.schema.get_field_index("client")
    huge = pa.array([2**62] * rows.num_rows)
    pq.write_table(rows.set_column(place, "client", huge), path / "clients.parquet")
    with pytest.raises(RunError, match="is no client"):
        summarise(load(path))


def test_a_single_changed_byte_of_data_is_noticed(whole, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(whole[True], path)
    file = path / "clients.parquet"
    content = bytearray(file.read_bytes())
    column = pq.ParquetFile(file).metadata.row_group(0).column(14)
    assert column.path_in_schema == "energy_j"
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(RunError, match=r"clients\.parquet: is damaged"):
        _ = load(path).clients


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON words BEGIN DELETE FROM rounds; END",
        "CREATE VIEW v AS SELECT * FROM rounds",
        "CREATE TABLE more (x)",
        "DROP TABLE clients",
    ],
)
def test_a_database_that_holds_anything_else_is_refused(whole, tmp_path, statement):
    path = tmp_path / "run"
    shutil.copytree(whole[False], path)
    with contextlib.closing(sqlite3.connect(path / "parts" / "rounds.sqlite")) as db, db:
        db.execute(statement)
    for use_it in (load, RunWriter.resume):
        with pytest.raises(RunError, match=r"rounds\.sqlite: is damaged"):
            use_it(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE clients SET packed = zeroblob(length(packed)) WHERE piece = 65536",
        "UPDATE rounds SET crc = crc + 1",
        "UPDATE rounds SET packed = zeroblob(100000000)",
        "UPDATE clients SET piece = 9 * 65536 WHERE piece = 65536",
        "UPDATE words SET word = 'somebody else' WHERE code = 1",
        "DELETE FROM words WHERE code = 1",
    ],
)
def test_rows_that_are_not_as_they_were_written_are_noticed(whole, tmp_path, statement):
    path = tmp_path / "run"
    shutil.copytree(whole[False], path)
    with contextlib.closing(sqlite3.connect(path / "parts" / "rounds.sqlite")) as db, db:
        db.execute(statement)
    run = load(path)
    with pytest.raises(RunError, match=r"rounds\.sqlite: is damaged"):
        _ = run.rounds, run.clients

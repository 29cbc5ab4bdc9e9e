"""Rounds of any size: the same rows in the same order while the run goes on and at its end."""

import numpy as np
import pytest

from fedsim import results
from fedsim.results import store, tables
from fedsim.results.columns import CLIENTS, TABLES

ROUNDS, COHORT = 530, 2


def _clients(index):
    texts = {"device": ["one", "two"], "outcome": ["completed", "rejected"]}
    numbers = {c.name: [float(index), index + 0.5] for c in CLIENTS if c.dtype == "float64"}
    return {**numbers, **texts, "client": [index % 7, 7]}


def test_small_rounds_read_the_same_before_and_after_the_end(tmp_path):
    manifest = results.manifest("small", 1, 8, {}, [], {})
    with results.RunWriter(tmp_path / "run", "name: small\n", manifest) as writer:
        for index in range(ROUNDS):
            row = {"round": index, "start_s": float(index), "end_s": index + 1.0}
            writer.round(row, _clients(index), [("loss", "validation", index / 3)])
        going = results.load(tmp_path / "run")
        before = {table: going.frame(table) for table in TABLES}
        some = going.frame("clients", (254, 257))
        summary = writer.finish()
    done = results.load(tmp_path / "run")
    for table in TABLES:
        assert before[table].equals(done.frame(table)), table
    assert some["round"].tolist() == [254, 254, 255, 255, 256, 256, 257, 257]
    assert summary["outcomes"]["rejected"] == ROUNDS
    assert summary["client_rounds"] == ROUNDS * COHORT


def test_a_piece_is_the_rows_as_packed_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PIECE_ROWS", 2)
    (tmp_path / "parts").mkdir()
    held = store.Store(tmp_path)
    clients = {**_clients(5), "client": [3, 4], "energy_j": [1.5, 2.5]}
    metrics = [("loss", "validation", 0.25), ("wer", "test", 0.5), ("loss", "test", 0.75)]
    held.add(
        5,
        {
            "rounds": tables.empty("rounds"),
            "clients": tables.clients_columns(5, clients, ()),
            "convergence": tables.convergence_columns(5, 6.0, metrics),
        },
    )
    assert held.last == 5
    words = [word for (word,) in held._db.execute("SELECT word FROM words ORDER BY code")]
    assert words == ["one", "two", *results.OUTCOMES, "all", "loss", "wer", "validation", "test"]
    ((piece, packed),) = held._db.execute("SELECT piece, packed FROM clients").fetchall()
    rows = np.frombuffer(packed, tables.layout("clients"))
    assert piece == 5 * 65536
    assert len(packed) == 2 * (17 * 8 + 3 * 4)
    assert rows["energy_j"].tolist() == [1.5, 2.5]
    assert [words[code] for code in rows["outcome"]] == ["completed", "rejected"]
    pieces = held._db.execute("SELECT piece, length(packed) FROM convergence").fetchall()
    assert pieces == [(5 * 65536, 2 * 32), (5 * 65536 + 1, 32)]
    (first, second) = store.read(tmp_path, "convergence", ["metric", "value"])
    assert first.to_pydict() == {"metric": ["loss", "wer"], "value": [0.25, 0.5]}
    assert second.column("metric").dictionary.to_pylist() == ["loss"]
    assert sum(batch.num_rows for batch in store.read(tmp_path, "convergence", ["value"], (5, 5))) == 3
    assert list(store.read(tmp_path, "convergence", ["value"], (6, 9))) == []
    assert list(store.read(tmp_path, "convergence", ["value"], (0, 4))) == []
    held.cut(5)
    assert held.last is None
    held.close()
    held.close()


def test_a_round_that_does_not_fit_leaves_no_word_behind(tmp_path):
    (tmp_path / "parts").mkdir()
    held = store.Store(tmp_path)

    def add(index, names):
        rows = {
            "rounds": tables.empty("rounds"),
            "clients": tables.empty("clients"),
            "convergence": tables.convergence_columns(index, 0.0, [(name, "test", 1.0) for name in names]),
        }
        held.add(index, rows)

    add(0, ["loss"])
    (pages,) = held._db.execute("PRAGMA page_count").fetchone()
    held._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError, match="database or disk is full"):
        add(1, [f"metric {number}" for number in range(1000)])
    held._db.execute("PRAGMA max_page_count = 1000000")
    add(1, ["wer", "loss"])
    metrics = [batch["metric"].to_pylist() for batch in store.read(tmp_path, "convergence", ["metric"])]
    assert metrics == [["loss", "wer", "loss"]]
    held.close()

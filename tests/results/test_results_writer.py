"""The run directory: what is written is what is read, and nothing finished is ever lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim import files
from fedsim.errors import FedsimError, RunError
from fedsim.outcomes import MEANINGS
from fedsim.results import OUTCOMES, RunWriter, load, manifest, new_run_dir, store, writer
from fedsim.results.columns import CLIENTS, FILES, ROUNDS, SUMMARY, TABLES, markdown, schema
from fedsim.results.intervals import Intervals
from fedsim.results.tables import totals

DEVICES = ("raspberry-pi-4", "jetson-xavier-nx", "snapdragon-870")


def some_clients(rng, size):
    outcome = rng.integers(0, len(OUTCOMES), size)
    return {
        "client": rng.choice(200, size, replace=False),
        "device": rng.integers(0, len(DEVICES), size),
        "outcome": outcome,
        **{
            name: rng.random(size) * 1000
            for name in (
                "dispatched_s",
                "download_s",
                "startup_s",
                "compute_s",
                "upload_s",
                "ended_s",
                "energy_j",
            )
        },
        **{name: rng.random(size) * 4e9 for name in ("footprint_bytes", "available_bytes")},
        **{name: np.floor(rng.random(size) * 4e8) for name in ("downloaded_bytes", "uploaded_bytes")},
        "examples": rng.integers(1, 50, size).astype(float),
        "weight": rng.random(size),
        "loss": np.where(rng.random(size) < 0.5, np.nan, rng.random(size)),
    }


def start(path, clients=200):
    return RunWriter(
        path, "name: test\nseed: 1\n", manifest("test", seed=1, clients=clients, inputs={}), DEVICES
    )


def write_rounds(run, first, last, seed=0, size=6):
    for index in range(first, last):
        rng = np.random.default_rng([seed, index])
        row = {
            "round": index,
            "start_s": 1000.0 * index,
            "end_s": 1000.0 * index + 999.0,
            "loss": 3.0 - 0.1 * index,
        }
        run.round(row, some_clients(rng, size), [("loss", "validation", 3.0 - 0.1 * index)])


def final_bytes(path):
    return {t: (path / f"{t}.parquet").read_bytes() for t in TABLES} | {
        "summary": (path / "summary.json").read_bytes()
    }


def test_what_is_written_is_read(tmp_path):
    rng = np.random.default_rng(3)
    clients = some_clients(rng, 50)
    with start(tmp_path / "run") as run:
        run.initial([("loss", "validation", 3.5)])
        run.round(
            {"round": 0, "start_s": 0.0, "end_s": 1000.0, "loss": 3.25}, clients, [("wer", "test", 0.5)]
        )
        run.finish()
    back = load(tmp_path / "run")
    assert list(back.clients.columns) == [c.name for c in CLIENTS]
    assert list(back.rounds.columns) == [c.name for c in ROUNDS]
    for name, values in clients.items():
        if name not in ("device", "outcome"):
            np.testing.assert_array_equal(back.clients[name].to_numpy(), values)
    assert list(back.clients["device"]) == [DEVICES[i] for i in clients["device"]]
    assert list(back.clients["outcome"]) == [OUTCOMES[i] for i in clients["outcome"]]
    assert back.convergence.to_dict("records") == [
        {"round": -1, "time_s": 0.0, "metric": "loss", "split": "validation", "value": 3.5},
        {"round": 0, "time_s": 1000.0, "metric": "wer", "split": "test", "value": 0.5},
    ]
    assert back.scenario == {"name": "test", "seed": 1}
    assert back.manifest["seed"] == 1
    assert not (tmp_path / "run" / "parts").exists()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "clients.parquet",
        "convergence.parquet",
        "manifest.json",
        "rounds.parquet",
        "scenario.yaml",
        "summary.json",
    ]


def test_files_carry_units_and_meanings(tmp_path):
    with start(tmp_path / "run") as run:
        write_rounds(run, 0, 1)
        run.finish()
    for table, columns in TABLES.items():
        found = pq.read_schema(tmp_path / "run" / f"{table}.parquet")
        for column in columns:
            assert found.field(column.name).metadata[b"unit"].decode() == column.unit
            assert found.field(column.name).metadata[b"meaning"].decode() == column.definition


def test_same_rounds_give_the_same_bytes_whatever_the_pieces(tmp_path, monkeypatch):
    with start(tmp_path / "a") as run:
        write_rounds(run, 0, 40)
        run.finish()
    monkeypatch.setattr(store, "PIECE_ROWS", 4)
    monkeypatch.setattr(store, "LOG_PAGES", 3)
    with start(tmp_path / "b") as run:
        write_rounds(run, 0, 40)
        (pieces,) = run._store._db.execute("SELECT count(*) FROM clients").fetchone()
        assert pieces == 80  # of four clients and of two
        run.finish()
    assert final_bytes(tmp_path / "a") == final_bytes(tmp_path / "b")
    with start(tmp_path / "c") as run:
        write_rounds(run, 0, 40, seed=1)
        run.finish()
    assert final_bytes(tmp_path / "a")["clients"] != final_bytes(tmp_path / "c")["clients"]


def as_a_crash_leaves_it(going, copy):
    """A run directory at this moment, without what a proper end would still put in order."""
    shutil.copytree(going, copy, ignore=shutil.ignore_patterns("lock"))


def log_of(path):
    return path / "parts" / "rounds.sqlite-wal"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The bytes of a run of 12 rounds that nothing happened to."""
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    with start(path) as run:
        run.initial([("loss", "validation", 4.0)])
        write_rounds(run, 0, 12)
        run.finish()
    return final_bytes(path)


@settings(max_examples=20, deadline=None)
@given(
    crash=st.integers(0, 12),
    back=st.integers(0, 12),
    log_pages=st.sampled_from([1, 5, 10**6]),
    torn=st.binary(max_size=9000),
)
def test_resume_gives_the_bytes_of_an_undisturbed_run(
    undisturbed, tmp_path_factory, crash, back, log_pages, torn
):
    where = tmp_path_factory.mktemp("resume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "LOG_PAGES", log_pages)
        with start(where / "going") as run:
            run.initial([("loss", "validation", 4.0)])
            write_rounds(run, 0, crash)
            as_a_crash_leaves_it(where / "going", where / "cut")
        with log_of(where / "cut").open("ab") as log:
            log.write(torn)
        again = min(crash, back)
        with RunWriter.resume(where / "cut", again, DEVICES) as run:
            assert run.next_round == again
            write_rounds(run, again, 12)
            run.finish()
    assert undisturbed == final_bytes(where / "cut")


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_log_that_is_cut_off_anywhere_leaves_the_rounds_before(undisturbed, tmp_path_factory, data):
    where = tmp_path_factory.mktemp("cut-off")
    with start(where / "going") as run:
        run.initial([("loss", "validation", 4.0)])
        write_rounds(run, 0, 9)
        as_a_crash_leaves_it(where / "going", where / "cut")
    whole = log_of(where / "cut").read_bytes()
    log_of(where / "cut").write_bytes(whole[: data.draw(st.integers(len(whole) // 3, len(whole)))])
    with RunWriter.resume(where / "cut", devices=DEVICES) as run:
        kept = run.next_round
        assert kept <= 9
        assert list(load(where / "cut").rounds["round"]) == list(range(kept))
        write_rounds(run, kept, 12)
        run.finish()
    assert undisturbed == final_bytes(where / "cut")


def test_a_rollback_journal_that_somebody_put_there_is_not_played_back(tmp_path):
    with start(tmp_path / "run") as run:
        write_rounds(run, 0, 2)
    journal = tmp_path / "run" / "parts" / "rounds.sqlite-journal"
    journal.write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(504))
    for use in (load, RunWriter.resume):
        with pytest.raises(RunError, match=r"rounds\.sqlite-journal: does not belong here"):
            use(tmp_path / "run")


def test_resume_without_a_round_keeps_all(tmp_path):
    with start(tmp_path / "run") as run:
        write_rounds(run, 0, 5)
    with RunWriter.resume(tmp_path / "run") as run:
        assert run.next_round == 5
    assert list(load(tmp_path / "run").rounds["round"]) == [0, 1, 2, 3, 4]


def test_resume_refuses_rounds_that_are_not_there(tmp_path):
    with start(tmp_path / "run") as run:
        write_rounds(run, 0, 3)
    with pytest.raises(RunError, match="has no round 3; it cannot go on from round 5"):
        RunWriter.resume(tmp_path / "run", 5)
    with RunWriter.resume(tmp_path / "run", 3) as run:
        run.finish()
    with pytest.raises(RunError, match="finished"):
        RunWriter.resume(tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"format": 99}', "has format 99"), ('{"format": 3, "volatile": null}', "volatile: is damaged")],
)
def test_resume_refuses_a_manifest_that_it_could_not_finish(tmp_path, text, said):
    with start(tmp_path / "run") as run:
        write_rounds(run, 0, 2)
    (tmp_path / "run" / "manifest.json").write_text(text)
    with pytest.raises(RunError, match=said):
        RunWriter.resume(tmp_path / "run")


def test_what_a_crash_at_the_very_end_leaves_is_cleared(tmp_path, monkeypatch):
    with start(tmp_path / "run") as run:
        write_rounds(run, 0, 2)
        with monkeypatch.context() as patch:
            patch.setattr(writer.shutil, "rmtree", lambda path: None)
            run.finish()
    assert (tmp_path / "run" / "parts").is_dir()
    assert len(load(tmp_path / "run").rounds) == 2
    with pytest.raises(RunError, match="finished"):
        RunWriter.resume(tmp_path / "run")
    assert not (tmp_path / "run" / "parts").exists()


KILLED = """
    import sys, numpy as np
    sys.path.insert(0, {tests!r})
    from test_results_writer import start, write_rounds
    from fedsim.results import store
    store.LOG_PAGES = 20
    run = start({path!r})
    index = 0
    while True:
        write_rounds(run, index, index + 1)
        print(index, flush=True)
        index += 1
"""


@pytest.mark.parametrize("lines", [1, 23, 150])
def test_a_killed_run_keeps_every_finished_round(tmp_path, lines):
    code = textwrap.dedent(KILLED).format(
        tests=os.fspath(Path(__file__).parent), path=os.fspath(tmp_path / "run")
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = -1
        for _ in range(lines):
            seen = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        seen = int(rest[-1]) if rest else seen
    run = load(tmp_path / "run")
    assert not run.finished
    kept = list(run.rounds["round"])
    assert kept == list(range(len(kept)))
    assert len(kept) >= seen + 1
    assert len(run.clients) == 6 * len(kept)
    with RunWriter.resume(tmp_path / "run", seen, DEVICES) as again:
        write_rounds(again, seen, seen + 5)
        again.finish()
    with start(tmp_path / "whole") as whole:
        write_rounds(whole, 0, seen + 5)
        whole.finish()
    assert final_bytes(tmp_path / "run") == final_bytes(tmp_path / "whole")


def test_an_unfinished_run_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "LOG_PAGES", 8)
    with start(tmp_path / "run") as run:
        write_rounds(run, 0, 9)
        back = load(tmp_path / "run")
        assert list(back.rounds["round"]) == list(range(9))
        assert back.summary["rounds"] == 9
        assert set(back.frame("clients", rounds=(3, 4))["round"]) == {3, 4}
        run.finish()
    back = load(tmp_path / "run")
    assert back.finished
    assert set(back.frame("clients", rounds=(3, 4))["round"]) == {3, 4}


def test_an_interrupted_run_can_be_read_where_nothing_may_be_written(tmp_path, monkeypatch):
    with start(tmp_path / "run") as run:
        write_rounds(run, 0, 3)
    before = sorted((tmp_path / "run" / "parts").iterdir())
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    batches = store.read(tmp_path / "run", "rounds", ["round"])
    assert [batch.to_pydict() for batch in batches] == [{"round": [0, 1, 2]}]
    assert sorted((tmp_path / "run" / "parts").iterdir()) == before


def test_rounds_must_follow_each_other(tmp_path):
    with start(tmp_path / "run") as run:
        write_rounds(run, 0, 2)
        with pytest.raises(ValueError, match="round 3 was given where 2 comes next"):
            write_rounds(run, 3, 4)
        with pytest.raises(ValueError, match="comes next"):
            run.initial([])


def test_another_run_is_never_overwritten(tmp_path):
    with start(tmp_path / "run") as run:
        write_rounds(run, 0, 1)
    with pytest.raises(RunError, match="already holds a run"):
        start(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="not empty"):
        start(tmp_path / "other")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="not a directory"):
        start(tmp_path / "file")


def test_two_writers_cannot_share_a_run(tmp_path):
    with start(tmp_path / "run") as run:
        write_rounds(run, 0, 1)
        with pytest.raises(RunError, match="being written by another process"):
            RunWriter.resume(tmp_path / "run")
    with RunWriter.resume(tmp_path / "run") as run:
        assert run.next_round == 1


def test_a_full_disk_is_one_sentence_and_loses_no_finished_round(tmp_path, monkeypatch):
    with start(tmp_path / "run") as run:
        write_rounds(run, 0, 3)
        db = run._store._db
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 2}")

        def full(path, size_bytes):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(files, "try_to_write", full)
            with pytest.raises(FedsimError, match=r"No space left on device.*--resume") as fault:
                write_rounds(run, 3, 4, size=150)
        assert fault.value.exit_code == 1
        assert list(load(tmp_path / "run").rounds["round"]) == [0, 1, 2]
        with pytest.raises(FedsimError, match=r"cannot be written: database or disk is full; .*--resume"):
            write_rounds(run, 3, 4, size=150)
        db.execute("PRAGMA max_page_count = 1000000")
        write_rounds(run, 3, 5)
    assert list(load(tmp_path / "run").rounds["round"]) == [0, 1, 2, 3, 4]
    assert len(load(tmp_path / "run").clients) == 5 * 6


def test_new_run_dir_counts_up(tmp_path):
    names = [new_run_dir(tmp_path / "runs", "quick start/../x").name for _ in range(3)]
    assert names == ["quick-start-..-x", "quick-start-..-x-2", "quick-start-..-x-3"]
    assert new_run_dir(tmp_path / "runs", "///").name == "run"


def flatten(value, prefix=""):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix


def test_every_summary_key_is_defined(tmp_path):
    account = {
        "utterances": 3,
        "images": 5,
        "classes": 2,
        "speakers": 1,
        "seconds": {"train": 9.0},
        "skipped": 1,
        "figures": 0,
        "sha256": "0",
    }
    with start(tmp_path / "run") as run:
        lists = {"skipped_files": ["a.wav is missing"], "doubtful_files": ["b.wav is faint"]}
        text = {"documents": 2, "repeated": 1, "tokens": {"train": 9}, "unigram_loss": {"test": 3.0}}
        run.note("corpus", {**account, **text, **lists, "doubtful": 1, "heard": {"test": 2}})
        some = {"least": 1.0, "mean": 2.0, "most": 3.0}
        run.note("examples", {"clock": some, "learner": some})
        run.note("layers", ["input", "1", "head"])
        run.note("trains", {"all": ["input", "1", "head"], "head": ["head"]})
        write_rounds(run, 0, 3)
        ends = {name: {"compute_s": (1.0, 2.0)} for name in DEVICES}
        found = Intervals(0.9, 10, {"end_s": (1.0, np.inf)}, ends, np.ones((2, 3)), np.full((2, 3), np.inf))
        summary = run.finish(intervals=found)
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
    assert summary["interval"] == {"end_s": {"low": 1.0, "high": None, "level": 0.9, "draws": 10}}
    rows = pq.read_table(tmp_path / "run" / "intervals.parquet")
    assert rows.schema.names == [column.name for column in FILES["intervals"]]
    assert rows.column("end_low_s").to_pylist() == [1.0] * 3
    assert rows.column("length_high_s").to_pylist() == [None] * 3

    def defined(key):
        names = key.split(".")
        return any(
            len(names) == len(p.split("."))
            and all(q in ("*", n) for q, n in zip(p.split("."), names, strict=True))
            for p in SUMMARY
        )

    keys = list(flatten(summary))
    assert [key for key in keys if not defined(key)] == []
    shapes = {tuple(k.split(".")) for k in keys}
    for pattern in SUMMARY:
        want = pattern.split(".")
        assert any(
            len(want) == len(s) and all(q in ("*", n) for q, n in zip(want, s, strict=True)) for s in shapes
        ), pattern


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 30), min_size=0, max_size=8), seed=st.integers(0, 10**6))
def test_the_summary_adds_up_with_the_tables(tmp_path_factory, sizes, seed):
    path = tmp_path_factory.mktemp("sums") / "run"
    with start(path) as run:
        for index, size in enumerate(sizes):
            row = {"round": index, "start_s": 10.0 * index, "end_s": 10.0 * index + 7.0}
            run.round(row, some_clients(np.random.default_rng([seed, index]), size))
        summary = run.finish()
    back = load(path)
    rounds, clients = back.rounds, back.clients
    assert summary["rounds"] == len(rounds) == len(sizes)
    assert summary["client_rounds"] == len(clients) == rounds["selected"].sum() == sum(sizes)
    for word in OUTCOMES:
        count = int((clients["outcome"] == word).sum())
        assert summary["outcomes"][word] == count == rounds[word].sum()
        assert sum(d["outcomes"][word] for d in summary["devices"].values()) == count
    for key in ("downloaded_bytes", "uploaded_bytes", "energy_j"):
        assert summary[key] == pytest.approx(clients[key].sum(), rel=1e-12)
        assert summary[key] == pytest.approx(rounds[key].sum(), rel=1e-12)
        assert summary[key] == pytest.approx(sum(d[key] for d in summary["devices"].values()), rel=1e-12)
    lost = clients[clients["outcome"] != "completed"]
    assert summary["wasted_j"] == pytest.approx(lost["energy_j"].sum(), rel=1e-12)
    assert rounds["wasted_j"].sum() == pytest.approx(lost["energy_j"].sum(), rel=1e-12)
    work = lost["download_s"] + lost["startup_s"] + lost["compute_s"] + lost["upload_s"]
    assert summary["wasted_s"] == pytest.approx(work.sum(), rel=1e-12)
    done = clients[clients["outcome"] == "completed"]
    assert summary["participation"]["selected"] == clients["client"].nunique()
    assert summary["participation"]["completed"] == done["client"].nunique()
    assert summary["participation"]["clients"] == 200
    for device, entry in summary["devices"].items():
        here = done[done["device"] == device]
        if len(here):
            for phase in ("startup_s", "compute_s"):
                assert entry[f"mean_{phase}"] == pytest.approx(here[phase].mean(), rel=1e-12)
        else:
            assert entry["mean_compute_s"] is None


def test_totals_by_hand():
    row = totals(
        {
            "outcome": ["completed", "oom", "late"],
            "download_s": [1, 2, 3],
            "startup_s": [0.5, 0.25, 0.125],
            "compute_s": [10, 20, 30],
            "upload_s": [100, 0, 300],
            "energy_j": [5, 7, 11],
            "downloaded_bytes": [1, 1, 1],
            "uploaded_bytes": [2, 0, 1],
        }
    )
    assert row == {
        "selected": 3,
        "completed": 1,
        "late": 1,
        "oom": 1,
        "offline": 0,
        "battery": 0,
        "rejected": 0,
        "failed": 0,
        "downloaded_bytes": 3.0,
        "uploaded_bytes": 3.0,
        "energy_j": 23.0,
        "wasted_j": 18.0,
        "wasted_s": 355.375,
    }


def test_columns_that_do_not_fit_are_refused(tmp_path):
    with start(tmp_path / "run") as run:
        clients = some_clients(np.random.default_rng(0), 4)
        row = {"round": 0, "start_s": 0.0, "end_s": 1.0}
        with pytest.raises(ValueError, match="column weight has 3 values for 4 clients"):
            run.round(row, {**clients, "weight": np.zeros(3)})
        with pytest.raises(ValueError, match="'tired' is not an outcome"):
            run.round(row, {**clients, "outcome": np.array(["tired"] * 4)})
        with pytest.raises(KeyError, match="loss"):
            run.round(row, {k: v for k, v in clients.items() if k != "loss"})
        assert run.next_round == 0


def test_schemas_match_the_definitions():
    for table, columns in TABLES.items():
        assert [(f.name, str(f.type)) for f in schema(table)] == [
            (c.name, c.dtype.replace("float64", "double")) for c in columns
        ]


def test_the_column_page_defines_everything():
    text = markdown()
    for table, columns in TABLES.items():
        section = text.split(f"## {table}.parquet")[1].split("## ")[0]
        for column in columns:
            assert f"| `{column.name}` | {column.dtype} | {column.unit} | {column.definition} |" in section
    assert all(f"| `{key}` |" in text for key in SUMMARY)
    assert set(MEANINGS) == set(OUTCOMES)

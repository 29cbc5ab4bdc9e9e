"""What the guide says of the ids of a trace, tested as it is written."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedsim.errors import InputError
from fedsim.scenario import load
from fedsim.simulation import compose
from tests.docs.test_docs_commands import ROOT, set_up

PAGE = ROOT / "docs" / "guide" / "traces.md"
ROW = re.compile(r"^\| (.*) \| (client (\d+)'s|refused) \|$", re.MULTILINE)
SCENARIO = """
fleet:
  clients: 1000
  mix: [{device: raspberry-pi-4, share: 1, availability: {kind: trace, file: FILE}}]
workload: {utterances: 8}
training: {model: wav2vec2-tiny}
rounds: {count: 1, cohort: 1}
"""


def ids() -> list[tuple[str, int | None]]:
    """The ids of the guide's table, each with the client whose it is; None if it is refused."""
    found: list[tuple[str, int | None]] = []
    for cells, _, client in ROW.findall(PAGE.read_text(encoding="utf-8")):
        for written in [*re.findall("`([^`]+)`", cells), *([""] if "a blank" in cells else [])]:
            found.append((written, int(client) if client else None))
    return found


def online(folder: Path, file: str):
    (folder / "it.yaml").write_text(SCENARIO.replace("FILE", file))
    fleet = compose(load(folder / "it.yaml").scenario).world.fleet
    return np.flatnonzero(fleet.offline_from_s(np.arange(fleet.clients), 0.0) > 0.0).tolist()


def test_the_table_is_found():
    assert len(ids()) == 9
    assert {client for _, client in ids()} == {3, None}


@pytest.mark.parametrize(("written", "client"), ids())
def test_an_id_of_the_table(written, client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(f"client,start_s,end_s\n{written},0,5\n")
    kinds = [pa.array([written])]
    if re.fullmatch(r"[-0-9.]+|NaN", written):
        kinds += [pa.array([float(written)])]
    for number, column in enumerate(kinds):
        table = pa.table({"client": column, "start_s": [0.0], "end_s": [5.0]})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    for file in ("t.csv", *(f"{number}.parquet" for number in range(len(kinds)))):
        if client is None:
            with pytest.raises(InputError, match=f"{file}: client: "):
                online(tmp_path, file)
        else:
            assert online(tmp_path, file) == [client]


def test_clients_follow_the_guides_phones_in_turn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_up(PAGE, tmp_path)
    fleet = compose(load(tmp_path / "repeated.yaml").scenario).world.fleet
    assert fleet.online_from_s(np.arange(5), 0.0).tolist() == [3600.0, 0.0, 3600.0, 0.0, 3600.0]


def test_the_replayed_clients_are_the_lines_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_up(PAGE, tmp_path)
    fleet = compose(load(tmp_path / "replayed.yaml").scenario).world.fleet
    assert fleet.online_from_s(np.arange(2), 36_000.0).tolist() == [80_000.0, 36_000.0]
    assert fleet.pressure_bytes(np.arange(2), 25_000.0).tolist() == [5.5e9, 3e9]

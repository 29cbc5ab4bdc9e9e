"""What fuzzing and reading with its eyes found, one example of each kind of fault."""

from __future__ import annotations

import copy
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kinds import SCENARIO, SPANS, beside, kinds
from mutations import TWIN, as_json, as_table, as_yaml
from run_files import base

from fedsim import results, units
from fedsim.errors import RunError, ScenarioError, TraceError
from fedsim.fleet import availability, spans
from fedsim.pricing import load_trace
from fedsim.report.digest import digest
from fedsim.scenario import load


def test_a_number_too_large_for_a_float_is_no_quantity(tmp_path):
    with pytest.raises(ValueError, match="is not a finite size"):
        units.parse_bytes(10**400)
    beside(tmp_path)
    data = copy.deepcopy(SCENARIO)
    data["server"]["uplink"] = 10**400
    (tmp_path / "mine.yaml").write_bytes(as_yaml(data))
    with pytest.raises(ScenarioError, match=r"mine\.yaml: server\.uplink: "):
        load(tmp_path / "mine.yaml")


def test_a_place_in_a_list_with_thousands_of_digits_is_no_key(tmp_path):
    beside(tmp_path)
    (tmp_path / "mine.yaml").write_bytes(as_yaml(SCENARIO))
    for key in (f"fleet.mix[{'9' * 5000}].share", f"fleet.mix.{'9' * 5000}.share"):
        with pytest.raises(ScenarioError):
            load(tmp_path / "mine.yaml", [f"{key}=1"])


def trace_with(tmp_path, change):
    tree = copy.deepcopy(next(kind for kind in kinds() if kind.name == "layer trace").sound())
    change(tree)
    file = tmp_path / "mine.json"
    file.write_bytes(as_json(tree))
    return file


def test_a_layer_trace_with_a_list_for_a_name_or_an_astronomic_number_is_refused(tmp_path):
    def profile(tree):
        return next(iter(tree["graph"]["profiles"].values()))[0]

    changes = {
        "block": lambda tree: tree["nodes"][0].update(block=["a"]),
        "coefficient up to 1e12": lambda tree: profile(tree).update(saved_bytes=[[10**30, 0, 0, 0]]),
        "give a whole number from 0 to 1e12": lambda tree: tree["nodes"][0].update(parameters=10**30),
        "kernel: is 1000.*; give a whole number from -1e6 to 1e6": lambda tree: tree["graph"]["axes"][
            1
        ].update(kernel=10**30),
        "the key .id. is given twice": lambda tree: tree["nodes"][0].update({f"id{TWIN}": "a"}),
    }
    for sentence, change in changes.items():
        with pytest.raises(TraceError, match=sentence):
            load_trace(trace_with(tmp_path, change))


def test_half_a_character_in_json_is_refused(tmp_path):
    (tmp_path / "mine.json").write_text('{"graph": "\\ud800"}')
    with pytest.raises(TraceError, match=r"mine\.json: is damaged: it is not valid JSON"):
        load_trace(tmp_path / "mine.json")


def test_times_that_leave_the_range_of_floats_are_refused_without_a_warning(tmp_path):
    with pytest.raises(TraceError, match="give seconds from 0 to 1e12"):
        spans.build(np.array([0]), np.array([1e308]), np.array([1e308]), None, "mine.csv")
    rows = copy.deepcopy(SPANS)
    rows[1][0] = 2**70
    (tmp_path / "mine.csv").write_bytes(as_table([row[:3] for row in rows], ","))
    with pytest.raises(TraceError, match=f"has {2**70} in line 2; a client is its number"):
        availability.Replay(str(tmp_path / "mine.csv"), 86_400.0).load()


@pytest.mark.parametrize("column", ["device", "client", "oom"])
def test_an_empty_cell_in_a_table_is_refused(tmp_path, column):
    shutil.copytree(base("finished"), tmp_path / "run")
    table = "rounds" if column == "oom" else "clients"
    file = tmp_path / "run" / f"{table}.parquet"
    held = pq.read_table(file)
    place = held.schema.get_field_index(column)
    cells = pa.array([None, *held[column].to_pylist()[1:]], held.schema.field(place).type)
    field = held.schema.field(place).with_nullable(True)
    pq.write_table(held.set_column(place, field, cells), file)
    with pytest.raises(RunError, match=rf"{table}\.parquet: column '{column}' has an empty cell"):
        digest(results.load(tmp_path / "run"))


def test_a_fault_in_a_sweep_directory_is_said_of_its_own_file(tmp_path):
    from fedsim.sweeps.directory import read

    shutil.copytree(base("sweep"), tmp_path / "sweep")
    file = tmp_path / "sweep" / "sweep.yaml"
    file.write_text(file.read_text().replace("seed: 7", "seed: seven"))
    with pytest.raises(ScenarioError) as fault:
        read(tmp_path / "sweep")
    assert str(fault.value).startswith(f"{file}: seed: 'seven' is not a whole number")


def test_a_damaged_engine_state_gives_way_to_the_one_before(tmp_path):
    from fedsim.simulation import state

    for rounds in (1, 2):
        state.save(tmp_path, rounds, {"next_round": rounds, "now_s": 0.5}, "name: x")
    newest = tmp_path / "engine-00002.json"
    newest.write_text(newest.read_text().replace("0.5", "0.6"))
    assert state.newest(tmp_path, "name: x") == (1, {"next_round": 1, "now_s": 0.5})
    with pytest.raises(RunError, match=r"engine-00002\.json: is damaged, or belongs to another scenario"):
        state.newest(tmp_path, "name: y")
    assert state.newest(tmp_path / "none", "name: x") == (0, None)


def test_a_file_that_a_scenario_needs_is_named_with_what_is_wrong(tmp_path):
    from fedsim.simulation import execute

    beside(tmp_path)
    data = copy.deepcopy(SCENARIO)
    del data["learning"]
    data["workload"]["mean_seconds"], data["workload"]["max_seconds"] = 20.0, 10.0
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(data))
    with pytest.raises(TraceError, match=r"mine\.yaml: utterances of 20 s on average cannot"):
        execute.run(load(file), tmp_path / "run")
    assert not (tmp_path / "run").exists()

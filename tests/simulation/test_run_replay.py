"""Availability and memory pressure replayed from a trace file, through the keys of a scenario."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from fedsim.cli import main
from fedsim.errors import InputError, ScenarioError, TraceError
from fedsim.scenario import load
from fedsim.simulation import compose, time_rounds
from fedsim.simulation.compose import check

SCENARIO = """
fleet:
  clients: 4
  mix: [{device: jetson-agx-xavier, share: 1.0, link: instant}]
workload: {utterances: 4}
training: {start: warm}
rounds: {count: 2, cohort: 4}
"""
HERE = "fleet.mix[0].availability={kind: trace, file: here.csv}"
HELD = "fleet.mix[0].pressure={kind: trace, file: held.csv}"


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it.yaml").write_text(SCENARIO)

    def scenario(*overrides, **files):
        for name, text in files.items():
            (tmp_path / f"{name}.csv").write_text(text)
        return load(tmp_path / "it.yaml", overrides).scenario

    return scenario


def fates(record):
    rows = record.clients
    return {int(c): name for c, name in zip(rows.client, rows.outcome_names(), strict=True)}


def test_clients_come_and_go_as_the_trace_says(scenario):
    # Four clients of the trace: always there; there from 5000 on; gone after one second; never there
    # at the same time as the first round starts.
    rows = "0,0,1e9\n1,5000,1e9\n2,0,1\n3,1,2\n"
    records = time_rounds(scenario(HERE, here="client,start_s,end_s\n" + rows))
    assert fates(records[0]) == {0: "completed", 2: "offline"}
    gone = records[0].clients
    assert gone.ended_s[gone.client == 2].tolist() == [1.0]
    assert fates(records[1]) == {0: "completed"}


def test_a_trace_with_a_period_comes_again(scenario):
    one = "client,start_s,end_s\n0,100,150\n"
    assert compose(scenario(HERE, here=one)).world.next_online_s(200.0) == float("inf")
    again = HERE.replace("}", ", period: 10min}")
    assert compose(scenario(again, here=one)).world.next_online_s(200.0) == 700.0


def test_memory_is_short_when_the_trace_says_so(scenario):
    # Client 1 finds its memory taken as it begins to train; client 2 at 13 s, while it trains.
    rows = "0,0,1,0\n1,0,1e9,16e9\n2,13,1e9,16e9\n3,0,1e9,1e6\n"
    records = time_rounds(scenario(HELD, held="client,start_s,end_s,bytes\n" + rows))
    assert fates(records[0]) == {0: "completed", 1: "oom", 2: "oom", 3: "completed"}
    clients = records[0].clients
    ended = dict(zip(clients.client.tolist(), clients.ended_s.tolist(), strict=True))
    assert 12.0 < clients.download_s[0] < 13.0  # four models over the server's 1 Gbps
    assert (ended[1], ended[2]) == (clients.download_s[0], 13.0)
    available = dict(zip(clients.client.tolist(), clients.available_bytes.tolist(), strict=True))
    assert available[0] - available[1] == 16e9
    assert available[0] - available[3] == 1e6


def test_parquet_is_read_like_csv(scenario, tmp_path):
    text = "client,start_s,end_s\n0,0,40\n1,0,1e9\n2,0,1\n3,0,1e9\n"
    csv = time_rounds(scenario(HERE, here=text))
    pq.write_table(pc.read_csv(tmp_path / "here.csv"), tmp_path / "here.parquet")
    parquet = time_rounds(scenario(HERE.replace("here.csv", "here.parquet")))
    for one, other in zip(csv, parquet, strict=True):
        assert one.clients.ended_s.tolist() == other.clients.ended_s.tolist()
    pq.write_table(pa.table({"client": [0], "start_s": [0.0]}), tmp_path / "here.parquet")
    with pytest.raises(TraceError, match="no column 'end_s'"):
        compose(scenario(HERE.replace("here.csv", "here.parquet")))


@pytest.mark.parametrize(
    ("what", "text", "said"),
    [
        (HERE, "client,start_s\n0,1\n", "no column 'end_s'"),
        (HERE, "client,start_s,end_s\n0,-1,5\n", "has -1.0 in line 2"),
        (HERE, "client,start_s,end_s\n0,9,5\n", "line 2 ends before it starts"),
        (HERE, "client,start_s,end_s\n", "has no rows"),
        (HERE, "client,start_s,end_s\n0,soon,5\n", "not a number in line 2"),
        (HELD, "client,start_s,end_s\n0,1,5\n", "no column 'bytes'"),
        (HELD, "client,start_s,end_s,bytes\n0,1,5,-2\n", "has -2.0 in line 2"),
        (HELD, "client,start_s,end_s,bytes\n0,1,5,2\n0,4,8,2\n", "line 3 overlaps"),
    ],
)
def test_fedsim_run_refuses_a_faulty_trace_in_one_sentence(scenario, capsys, tmp_path, what, text, said):
    name = "here" if what == HERE else "held"
    scenario(what, **{name: text})
    with pytest.raises(SystemExit) as stopped:
        main(["run", "it.yaml", "--set", what, "--out", "out", "--quiet", "--no-report"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert f"{name}.csv" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_trace_that_is_not_there_and_keys_that_do_not_belong(scenario, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["run", "it.yaml", "--set", HERE, "--out", "out", "--quiet"])
    assert stopped.value.code == 2
    assert "there is no trace 'here.csv'" in capsys.readouterr().err
    markov = "{kind: markov, mean_online: 1h, mean_offline: 1h, period: 1d}"
    with pytest.raises(ScenarioError, match="'period' belongs to trace, not to 'markov'"):
        scenario(f"fleet.mix[0].availability={markov}")
    with pytest.raises(ScenarioError, match="'trace' needs the key 'file'"):
        scenario("fleet.mix[0].pressure=trace")


TWO = "fleet.mix=[{device: raspberry-pi-4, share: 0.5}, {device: jetson-agx-xavier, share: 0.5, %s}]"
TIMES = "client,start_s,end_s\n"


def repeated(override):
    return override.replace("}", ", clients: repeat}")


def refusal(loaded):
    with pytest.raises(InputError) as fault:
        compose(loaded)
    with pytest.raises(InputError) as checked:  # before a sweep's first point, too
        check(loaded)
    assert str(checked.value) == str(fault.value)
    return str(fault.value)


def test_a_line_of_client_3_is_client_3s(scenario):
    it = scenario(HERE, here=TIMES + "3,0,1e9\n")
    assert fates(time_rounds(it)[0]) == {3: "completed"}
    assert compose(it).notes["client_traces"] == {
        "fleet.mix[0].availability": {"file": "here.csv", "clients": "by-number", "ids": 1}
    }


def test_clients_follow_any_ids_in_turn_if_asked_and_the_manifest_says_so(scenario, tmp_path):
    names = TIMES + "phone 10,5000,1e9\nphone 9,0,1e9\n"  # 9 comes before 10
    it = scenario(repeated(HERE), here=names)
    assert fates(time_rounds(it)[0]) == {0: "completed", 2: "completed"}
    with pytest.raises(SystemExit) as ended:
        main(["run", "it.yaml", "--set", repeated(HERE), "--out", "out", "--quiet", "--no-report"])
    assert ended.value.code == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["client_traces"] == {
        "fleet.mix[0].availability": {"file": "here.csv", "clients": "repeat", "ids": 2}
    }
    assert "clients: repeat" in (tmp_path / "out" / "scenario.yaml").read_text()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("10,0,1e9\n17,0,1e9\n99,0,1e9\n", "names client 99, and the fleet has 4"),
        ("1,0,1e9\n4,0,1e9\n", "names client 4, and the fleet has 4"),
        ("-1,0,1e9\n", "has -1 in line 2"),
        ("0,0,1e9\n0.5,0,1e9\n", "has 0.5 in line 3"),
        ("c1,0,1e9\n", "has 'c1' in line 2"),
    ],
)
def test_ids_that_are_no_clients_of_the_fleet_are_refused_for_either_model(scenario, rows, said):
    held = rows.replace("1e9\n", "1e9,1e9\n")
    for it in (
        scenario(HERE, here=TIMES + rows),
        scenario(HELD, held="client,start_s,end_s,bytes\n" + held),
    ):
        assert said in refusal(it)
        assert "repeat" in refusal(it) or "whole number" in refusal(it)
    large = scenario(HELD, "fleet.clients=100", held="client,start_s,end_s,bytes\n0,0,1,5\n99,0,1e9,1e9\n")
    assert fates(time_rounds(large)[0])


def pis_and_jetsons(scenario):
    world = compose(scenario(TWO % "link: wifi")).world
    names = ("raspberry-pi-4", "jetson-agx-xavier")
    return [np.flatnonzero(world.device == world.devices.index(name)).tolist() for name in names]


def test_ids_number_the_whole_fleet_whatever_the_line_of_the_mix(scenario):
    pis, jetsons = pis_and_jetsons(scenario)
    here = TWO % "availability: {kind: trace, file: here.csv}"
    said = refusal(scenario(here, here=TIMES + "".join(f"{c},0,1e9\n" for c in pis)))
    assert f"names none of the clients who follow it, {jetsons[0]}, {jetsons[1]};" in said
    assert "give fleet.mix[1].availability.clients: repeat" in said
    # One file may be everybody's: lines of others are theirs.
    everybody = TIMES + "".join(f"{c},0,1e9\n" for c in range(4))
    assert len(fates(time_rounds(scenario(here, here=everybody))[0])) == 4
    assert len(fates(time_rounds(scenario(here, here=TIMES + f"{jetsons[1]},0,1e9\n"))[0])) == 3
    for_both = here.replace("share: 0.5}", "share: 0.5, availability: {kind: trace, file: here.csv}}")
    one = scenario(for_both, here=TIMES + f"{pis[0]},0,1e9\n")
    assert fates(time_rounds(one)[0]) == {pis[0]: "completed"}


@pytest.mark.parametrize("period", ["", ", period: 1d"])
def test_calendar_times_are_refused_with_what_to_subtract(scenario, period):
    # 2023-11-15 is a Wednesday; the Monday before began at 1699833600.
    what = HERE.replace("}", period + "}"), HELD.replace("}", period + "}")
    files = {
        "here": TIMES + "0,1700000000,1700003600\n",
        "held": "client,start_s,end_s,bytes\n0,1700000000,1700003600,1e9\n",
    }
    for override in what:
        said = refusal(scenario(override, **files))
        assert "begins 53.9 years after time 0" in said
        assert "subtract 1699833600 " in said
    assert "give seconds from 0 to 1e12" in refusal(scenario(HERE, here=TIMES + "0,1700000000000,1.8e12\n"))
    later = TIMES + f"0,{1700000000 - 1699833600},1e9\n"  # Tuesday, 22:13:20
    assert compose(scenario(HERE, here=later)).world.next_online_s(0.0) == 86_400 + 22 * 3600 + 13 * 60 + 20


def test_a_trace_of_bytes_that_begins_when_its_period_ends_is_refused(scenario):
    held = "client,start_s,end_s,bytes\n0,90000,90001,1e9\n"
    assert "is empty before its period ends" in refusal(
        scenario(HELD.replace("}", ", period: 1d}"), held=held)
    )


def test_more_memory_than_the_machine_has_is_refused_and_what_is_left_is_never_below_zero(scenario):
    # The device has 16 GiB = 17.2 GB, of which its system takes 1.07.
    held = "client,start_s,end_s,bytes\n0,0,1e9,1e9\n2,0,1e9,%s\n"
    said = refusal(scenario(HELD, held=held % "40e9"))
    assert "held.csv: bytes: holds 40 GB on client 2; its device, jetson-agx-xavier, has 17.2 GB" in said
    for other in ("{kind: constant, bytes: 40GB}", "{kind: programs, base: 40GB, spread: 0.5}"):
        said = refusal(scenario(f"fleet.mix[0].pressure={other}"))
        assert "fleet.mix[0].pressure: other programs hold 40 GB at any time; a jetson-agx-xavier has" in said
    full = scenario(HELD, held=held % "17e9")
    clients = time_rounds(full)[0].clients
    available = dict(zip(clients.client.tolist(), clients.available_bytes.tolist(), strict=True))
    assert available[2] == 0.0
    assert available[1] - available[0] == 1e9
    assert fates(time_rounds(full)[0])[2] == "oom"


def test_bytes_are_held_against_the_device_of_the_client_that_they_are_of(scenario):
    # 10 GB fit into a Jetson and not into a Pi; one file is everybody's.
    both = TWO.replace("share: 0.5}", "share: 0.5, pressure: {kind: trace, file: held.csv}}")
    both %= "pressure: {kind: trace, file: held.csv}"
    pis, jetsons = pis_and_jetsons(scenario)
    for client in range(4):
        rows = [f"{c},0,1,1e9\n" for c in range(4)] + [f"{client},1,2,1e10\n"]
        it = scenario(both, held="client,start_s,end_s,bytes\n" + "".join(rows))
        if client in jetsons:
            assert compose(it).world.clients == 4
        else:
            assert f"holds 10 GB on client {client}; its device, raspberry-pi-4, has" in refusal(it)
    assert len(pis) == len(jetsons) == 2

"""Availability and memory pressure replayed from a trace file, through the keys of a scenario."""

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from fedsim.cli import main
from fedsim.errors import ScenarioError, TraceError
from fedsim.scenario import load
from fedsim.simulation import compose, time_rounds

SCENARIO = """
fleet:
  clients: 4
  mix: [{device: jetson-agx-xavier, share: 1.0, link: instant}]
workload: {utterances: 4}
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

"""What ``describe`` foretells is what ``run`` does: the whole where it was simulated, else carried on."""

import json

import pytest
from click.testing import CliRunner

import fedsim
from fedsim import yamlfile
from fedsim.cli import fedsim as cli
from fedsim.scenario import build, load
from fedsim.simulation import compose
from fedsim.simulation.execute import time_rounds
from fedsim.simulation.forecast import carried_on_s, forecast

DAY = 86_400.0
REPLAY = "{kind: trace, file: spans.csv, period: 1d}"
LIVES = {
    "always": "always",
    "markov": "{kind: markov, mean_online: 10min, mean_offline: 30min}",
    "overnight": "overnight",
    "replay": REPLAY,
}
CLOSES = {
    "synchronous": "wait-all",
    "deadline": "{policy: deadline, after: 10min}",
    "asynchronous": "{policy: async, buffer: 2}",
}


@pytest.fixture
def scenario(tmp_path):
    """Writes a scenario of clients with one kind of life; gives its file."""

    def write(life, close="wait-all", clients=4, rounds=40, cohort=2):
        spans = [f"{client},{3600 + client},{3700 + client}" for client in range(clients)]
        (tmp_path / "spans.csv").write_text("\n".join(["client,start_s,end_s", *spans]) + "\n")
        file = tmp_path / "mine.yaml"
        file.write_text(
            f"""
name: mine
fleet:
  clients: {clients}
  mix: [{{device: nvidia-a40, share: 1, link: instant, availability: {life}}}]
workload: {{utterances: 8}}
training: {{start: warm}}
rounds: {{count: {rounds}, cohort: {cohort}, close: {close}}}
"""
        )
        return file

    return write


def told_of(file):
    """What describe says of a scenario, as data and in words."""
    found = [CliRunner().invoke(cli, ["describe", str(file), *more]) for more in (["--json"], [])]
    assert [one.exit_code for one in found] == [0, 0]
    return json.loads(found[0].stdout)["forecast"], " ".join(found[1].stdout.split())


@pytest.mark.parametrize("close", CLOSES)
@pytest.mark.parametrize("life", LIVES)
def test_what_was_simulated_is_what_the_run_does(life, close, scenario, tmp_path):
    file = scenario(LIVES[life], CLOSES[close])
    told, words = told_of(file)
    run = fedsim.run(file, tmp_path / "run")
    assert told["looked_at"] == told["rounds"] == run.summary["rounds"]
    assert told["end_s"] == told["clock_s"] == run.summary["end_s"]
    assert told["energy_j"] * told["rounds"] == pytest.approx(run.summary["energy_j"], rel=1e-9)
    assert f"40 rounds take {fedsim.units.format_duration(run.summary['end_s'])}" in words


@pytest.mark.parametrize("close", CLOSES)
@pytest.mark.parametrize("life", LIVES)
def test_what_is_carried_on_counts_the_time_between_rounds(life, close, scenario):
    composition = compose(load(str(scenario(LIVES[life], CLOSES[close], rounds=600))).scenario)
    whole, part = forecast(composition, look_s=1e9), forecast(composition, look_s=1e9, most=300)
    assert (whole.looked_at, part.looked_at) == (600, 300)
    assert part.clock_s < whole.clock_s == whole.end_s
    assert part.end_s == pytest.approx(whole.end_s, rel=0.2)


def test_one_client_online_for_100_seconds_a_day_does_a_round_a_day(scenario):
    file = scenario(REPLAY, clients=1, rounds=10, cohort=1)
    spans = file.parent / "spans.csv"
    spans.write_text("client,start_s,end_s\n0,0,100\n")
    slow = {"mix": [{**yamlfile.load(file)["fleet"]["mix"][0], "device": "raspberry-pi-4"}], "clients": 1}
    made = build({**yamlfile.load(file), "fleet": slow}, file)
    records = time_rounds(made)
    lost = records[0].end_s
    assert records[-1].end_s == pytest.approx(9 * DAY + lost)  # it goes offline, a day after a day
    told = forecast(compose(made), look_s=1e9, most=3)
    assert told.end_s == pytest.approx(9 * DAY + lost, rel=1e-12)
    assert told.round_s == pytest.approx(lost)


def test_the_pace_is_that_of_whole_days():
    two_a_day = [day * DAY + hour * 3600 for day in range(4) for hour in (1, 2)]
    assert carried_on_s(two_a_day, 20) == 3 * DAY + 7200 + 12 * DAY / 2
    assert carried_on_s(two_a_day[:-1], 7) == 3 * DAY + 3600  # nothing is left
    assert carried_on_s([60.0, 130.0, 200.0], 5) == 200 + 2 * 70
    assert carried_on_s([60.0], 5) == 300
    assert carried_on_s([], 0) == 0


def test_rounds_that_never_take_place_are_not_foretold(scenario):
    file = scenario("{kind: trace, file: spans.csv}", clients=1, rounds=100, cohort=1)
    (file.parent / "spans.csv").write_text("client,start_s,end_s\n0,0,10\n0,86400,86410\n")
    (run,) = [load(str(file)).scenario]
    done = time_rounds(run)
    told, words = told_of(file)
    assert told["rounds"] == told["looked_at"] == len(done) < 100
    assert told["end_s"] == done[-1].end_s
    assert "From all rounds, simulated just now: time a round takes" in words
    assert f"It ends after {len(done)} rounds:" in words

"""Every policy that a scenario can name runs, and does what its name says, on a real fleet."""

import re

import numpy as np
import pytest

from fedsim import simulation as run
from fedsim.scenario import load
from fedsim.simulation import compose, time_rounds

BASE = """
seed: 5
fleet:
  clients: 60
  mix:
    - {device: jetson-xavier-nx, share: 0.5, link: wifi, speed_spread: 0.2}
    - {device: raspberry-pi-4, share: 0.5, link: ethernet}
workload: {max_seconds: 8}
training: {model: wav2vec2-base, batch_size: 4}
rounds: {count: 4, cohort: 10}
"""


@pytest.fixture
def scenario(tmp_path):
    def scenario(*overrides, text=BASE):
        file = tmp_path / "it.yaml"
        file.write_text(text)
        return load(file, overrides).scenario

    return scenario


@pytest.mark.parametrize("select", ["random", "round-robin", "fastest-first", "memory-aware", "oort"])
@pytest.mark.parametrize(
    "close",
    [
        "wait-all",
        "{policy: deadline, after: 2min}",
        "{policy: quorum, over: 0.5}",
        "{policy: async, buffer: 5}",
    ],
)
def test_every_pair_of_policies_runs(scenario, select, close):
    records = time_rounds(scenario(f"rounds.select={select}", f"rounds.close={close}"))
    assert [record.index for record in records] == [0, 1, 2, 3]
    ends = [record.end_s for record in records]
    assert ends == sorted(ends)
    for record in records:
        assert len(record.clients) >= 1
        assert (record.clients.ended_s <= record.end_s + 1e-6).all()
        if "deadline" in close:
            assert record.end_s - record.start_s <= 120.0 + 1e-6
        if "async" in close:
            assert record.counts()["completed"] == 5


def test_round_robin_asks_everybody_before_anybody_again(scenario):
    records = time_rounds(scenario("rounds.select=round-robin", "rounds.count=6"))
    asked = np.concatenate([record.clients.client for record in records])
    assert sorted(asked.tolist()) == list(range(60))


def test_memory_aware_selection_avoids_running_out_of_memory(scenario):
    pressed = ("fleet.mix[1].pressure={kind: constant, bytes: 7GB}", "rounds.count=8")
    random = sum(record.counts()["oom"] for record in time_rounds(scenario(*pressed)))
    aware = sum(
        record.counts()["oom"] for record in time_rounds(scenario(*pressed, "rounds.select=memory-aware"))
    )
    assert random > 0
    assert aware == 0


@pytest.mark.parametrize("on_oom", ["shrink-batch", "checkpoint"])
def test_falling_back_saves_clients_and_costs_them_time(scenario, on_oom):
    tight = ("fleet.mix[1].pressure={kind: constant, bytes: 3GB}", "rounds.cohort=60", "rounds.count=1")
    plain = time_rounds(scenario(*tight))[0]
    saved = time_rounds(scenario(*tight, f"training.on_oom={on_oom}"))[0]
    assert saved.counts()["oom"] < plain.counts()["oom"]
    order, again = np.argsort(plain.clients.client), np.argsort(saved.clients.client)
    completed = plain.clients.take(order).outcome == 0
    before, after = plain.clients.take(order), saved.clients.take(again)
    assert (before.compute_s[completed] == after.compute_s[completed]).all()
    rescued = ~completed & (after.outcome == 0)
    assert rescued.any()
    assert (after.footprint_bytes[rescued] < before.footprint_bytes[rescued]).all()


def test_compression_divides_the_bytes_of_an_update(scenario):
    plain = time_rounds(scenario("rounds.count=1"))[0]
    for compression, share in (("fp16", 0.5), ("int8", 0.25), ("{kind: top-k, share: 0.01}", 0.02)):
        small = time_rounds(scenario("rounds.count=1", f"rounds.compression={compression}"))[0]
        assert small.uploaded_bytes == pytest.approx(share * plain.uploaded_bytes, rel=1e-9)
        assert small.downloaded_bytes == plain.downloaded_bytes


def test_a_battery_that_is_never_plugged_in_runs_down(scenario):
    power = "fleet.mix[0].battery={capacity: 5Wh, floor: 0.5, start: 0.6, plugged: never}"
    records = time_rounds(scenario(power, "rounds.count=60", "rounds.cohort=60"))
    assert sum(record.counts()["battery"] for record in records) > 0


def test_clients_that_crash_fail(scenario):
    records = time_rounds(scenario("fleet.mix[0].crashes_per_day=2000", "rounds.count=3", "rounds.cohort=60"))
    assert sum(record.counts()["failed"] for record in records) > 0


MIX = (
    "{device: jetson-xavier-nx, share: 0.2, link: wifi, speed_spread: 0.2, memory_spread: 0.1}",
    "{device: raspberry-pi-4, share: 0.3, link: ethernet, availability: "
    "{kind: markov, mean_online: 1h, mean_offline: 1h}, crashes_per_day: 20}",
    "{device: macbook-pro-2019, share: 0.3, link: lte, pressure: laptop, battery: {capacity: 30Wh}}",
    "{device: snapdragon-870, share: 0.2, link: 5g, availability: overnight, pressure: phone, "
    "utc_offsets: [-5, 8]}",
)


@pytest.mark.parametrize("close", ["{policy: deadline, after: 10min}", "{policy: async, buffer: 5}"])
def test_reordering_the_mix_leaves_the_same_bytes(tmp_path, close):
    made = []
    for order in ((0, 1, 2, 3), (2, 0, 3, 1)):
        folder = tmp_path / "-".join(map(str, order))
        folder.mkdir()
        mix = "\n".join(f"    - {MIX[k]}" for k in order)
        (folder / "it.yaml").write_text(re.sub(r"  mix:\n(    - .*\n)+", f"  mix:\n{mix}\n", BASE))
        path = run.run(load(folder / "it.yaml", [f"rounds.close={close}"]), folder / "run")
        made.append({p.name: p.read_bytes() for p in path.iterdir() if p.is_file()})
    one, other = made
    assert one.keys() == other.keys()
    assert {name for name in one if one[name] != other[name]} == {"scenario.yaml", "manifest.json"}


def test_a_longer_deadline_never_completes_fewer(scenario):
    counts = [
        time_rounds(scenario("rounds.count=1", f"rounds.close={{policy: deadline, after: {seconds}}}"))[0]
        for seconds in (30, 60, 120, 600, 6000)
    ]
    completed = [record.counts()["completed"] for record in counts]
    assert completed == sorted(completed)


def test_a_fleet_that_is_never_online_again_ends_with_a_clear_account(scenario, tmp_path):
    from fedsim.engine.server import simulate

    trace = tmp_path / "once.csv"  # every client plays back this one: a second, and never again
    trace.write_text("client,start_s,end_s\n0,0,1\n")
    rows = [f"fleet.mix[{i}].availability={{kind: trace, file: {trace}, clients: repeat}}" for i in (0, 1)]
    composition = compose(scenario(*rows))
    ending = simulate(composition.world, composition.plan)
    assert ending.rounds_done == 1
    assert ending.reason == "no client is online at 1 s, and none will be"

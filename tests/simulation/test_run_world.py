"""The world joins fleet and prices: numbers here follow by hand from a made-up pricer."""

from dataclasses import replace

import numpy as np
import pytest

from fedsim import hardware
from fedsim.engine.plan import Plan
from fedsim.engine.server import simulate
from fedsim.fleet import Fleet, Group, batches, speech, workload
from fedsim.fleet.pressure import Constant
from fedsim.pricing.step_time import throttled_s
from fedsim.simulation.kinds import Kind
from fedsim.simulation.world import FleetWorld, price

HZ = 16_000
GB = 1e9


class Pricer:
    """A step takes as many seconds as its batch holds seconds of padded speech; so do its gigabytes."""

    def step_s(self, batch, samples):
        return batch * samples / HZ

    def footprint_bytes(self, batch, samples):
        return batch * samples / HZ * GB


def plain(device):
    """Clients that train all of the model in every round."""
    return [Kind(device, [Pricer()], [[0]], [0], [[100e6]], [100e6])]


def loads(*clips_of_each):
    speaker = np.repeat(np.arange(len(clips_of_each)), [len(clips) for clips in clips_of_each])
    corpus = speech.Speech.of("hand-made", speaker, np.concatenate(clips_of_each))
    return workload.Workloads(corpus.first, corpus.samples, np.arange(len(clips_of_each)))


def world(work, clients=None, batch_size=2, epochs=1, pressure_bytes=0.0, memory=8 * GB, link="instant"):
    device = replace(
        hardware.load_device("raspberry-pi-4"),
        memory_bytes=memory,
        system_bytes=1 * GB,
        throttle_after_s=None,
    )
    group = Group(
        device=device.name, share=1.0, link=hardware.load_link(link), pressure=Constant(pressure_bytes)
    )
    fleet = Fleet.build([group], clients or work.count, seed=1)
    made = batches.make(work, batch_size, "sorted", seed=1)
    return FleetWorld.build(fleet, plain(device), work, made, epochs)


def test_a_workload_costs_the_sum_of_its_padded_batches():
    work = loads([1.0, 2.0, 3.0, 4.0, 5.0], [2.0])
    made = batches.make(work, 2, "sorted", seed=1)
    prices = price(Pricer(), made, local_epochs=1)
    # Sorted batches of two: (1, 2), (3, 4), (5): 2 x 2 + 2 x 4 + 1 x 5 seconds; and 1 x 2.
    assert prices.compute_s.tolist() == [17.0, 2.0]
    assert (prices.footprint_bytes[:, -1] / GB).tolist() == [8.0, 2.0]
    assert price(Pricer(), made, local_epochs=3).compute_s.tolist() == [51.0, 6.0]


def test_the_footprint_only_grows_and_ends_at_the_peak():
    rng = np.random.default_rng(0)
    work = loads(*[rng.uniform(1, 10, size=n) for n in (1, 2, 3, 7, 40)])
    prices = price(Pricer(), batches.make(work, 2, "shuffled", seed=1), local_epochs=1)
    made = batches.make(work, 2, "shuffled", seed=1)
    for w, (first, last) in enumerate(zip(made.first[:-1], made.first[1:], strict=True)):
        peaks = made.size[first:last] * made.samples[first:last] / HZ * GB
        assert prices.footprint_bytes[w, -1] == peaks.max()
        assert (np.diff(prices.footprint_bytes[w]) >= 0).all()
        assert prices.footprint_bytes[w, 0] >= peaks[0]


def test_equal_clients_finish_at_exactly_download_plus_compute_plus_upload():
    work = loads(*[[4.0, 4.0]] * 5)
    it = world(work, memory=64 * GB, link="ethernet")
    rate = hardware.load_link("ethernet")
    fleet = replace(
        it.fleet,
        down_bytes_per_s=np.full(5, rate.down_bytes_per_s),
        up_bytes_per_s=np.full(5, rate.up_bytes_per_s),
    )
    records = []
    simulate(replace(it, fleet=fleet), Plan(rounds=3, cohort=5), observe=records.append)
    download = rate.latency_s + 100e6 / rate.down_bytes_per_s
    upload = rate.latency_s + 100e6 / rate.up_bytes_per_s
    assert records[0].end_s == download + 8.0 + upload
    for record in records[1:]:
        assert record.end_s - record.start_s == pytest.approx(download + 8.0 + upload, rel=1e-12)
    assert all(record.counts()["completed"] == 5 for record in records)


def test_memory_decides_by_the_longest_batch_and_by_what_else_runs():
    work = loads([1.0, 1.0, 3.0, 3.0], [1.0, 1.0])  # peaks of 6 GB and of 2 GB
    outcomes = {}
    for name, pressure_bytes in (("idle", 0.0), ("busy", 2 * GB), ("full", 6 * GB)):
        records = []
        simulate(world(work, pressure_bytes=pressure_bytes), Plan(rounds=1, cohort=2), observe=records.append)
        rows = records[0].clients
        outcomes[name] = [rows.outcome_names()[int(np.flatnonzero(rows.client == c)[0])] for c in (0, 1)]
    # 8 GB less 1 GB for the system leaves 7: 6 fits alone; beside 2 GB only 2 fits; beside 6 GB nothing.
    assert outcomes == {
        "idle": ["completed", "completed"],
        "busy": ["oom", "completed"],
        "full": ["oom", "oom"],
    }


def test_a_client_that_runs_out_of_memory_stops_before_the_batch_that_is_too_long():
    work = loads([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 3.0])  # batches of 2, 2, 2 and 6 s and GB
    records = []
    simulate(world(work, pressure_bytes=2 * GB), Plan(rounds=1, cohort=1), observe=records.append)
    rows = records[0].clients
    assert rows.outcome_names() == ["oom"]
    # The fourth of four parts holds the long batch; it begins after three quarters of 12 s.
    assert rows.compute_s[0] == 9.0


def test_a_hot_device_slows_down_to_its_sustained_share():
    work_s = np.array([100.0, 600.0, 700.0])
    assert throttled_s(work_s, np.full(3, 600.0), np.full(3, 0.5)).tolist() == [100.0, 600.0, 800.0]
    assert throttled_s(work_s, np.full(3, np.inf), np.full(3, 0.5)).tolist() == work_s.tolist()


@pytest.mark.parametrize("epochs", [1, 100])
def test_long_training_on_a_passively_cooled_phone_slows_down(epochs):
    phone = hardware.load_device("a15-bionic")
    assert phone.throttle_after_s is not None
    assert phone.sustained < 1.0
    work = loads([4.0, 4.0])  # one batch of two clips of 4 s: 8 s an epoch at full speed
    group = Group(device=phone.name, share=1.0, link=hardware.load_link("instant"))
    fleet = Fleet.build([group], 2, seed=1)
    made = batches.make(work, 2, "sorted", seed=1)
    cool = replace(phone, memory_bytes=64 * GB, throttle_after_s=200.0, sustained=0.5)
    it = FleetWorld.build(fleet, plain(cool), work, made, epochs)
    it = replace(it, fleet=replace(fleet, speed=np.array([1.0, 0.5])))
    # 800 s at full speed: 200 s cool, then 600 s of work at half speed. At half the speed to begin
    # with: 1600 s, of which 200 s cool and 1400 s of work at half of that.
    expected = [8.0, 16.0] if epochs == 1 else [200.0 + 1200.0, 200.0 + 2800.0]
    assert it.estimate(np.arange(2), 0, 0.0).compute_s.tolist() == expected

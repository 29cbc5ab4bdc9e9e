"""Clients that train different parts of a model: what each tries, and what of the model travels then.

The model is wav2vec2-tiny: 637,600 weights, of which 190,624 stand before its three layers of 132,480 each
and 49,536 after them, in the head.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from fedsim import hardware, results
from fedsim.engine.plan import Plan
from fedsim.engine.server import Simulation
from fedsim.errors import ScenarioError
from fedsim.fleet import Fleet, Group, batches, speech, workload
from fedsim.fleet.pressure import Pressure
from fedsim.learning.ways import Way
from fedsim.pricing import load_trace
from fedsim.pricing.trained import Last, OneLayer
from fedsim.scenario import load
from fedsim.scenario.technique import in_model
from fedsim.simulation import execute
from fedsim.simulation.compose import check, compose, federation_of
from fedsim.simulation.kinds import Kind
from fedsim.simulation.outlook import outlook
from fedsim.simulation.world import FleetWorld

WEIGHTS, INPUT, LAYER, HEAD = 637_600, 190_624, 132_480, 49_536
CNN = 320 + 64 + 3072 + 6144 + 2 * 12288 + 2 * 8192
GB = 1e9
BASE = """
fleet:
  clients: 2
  mix:
    - {device: raspberry-pi-4, share: 0.5, link: ethernet}
    - {device: jetson-xavier-nx, share: 0.5, link: ethernet}
workload: {utterances: 4}
training: {model: wav2vec2-tiny, start: warm}
rounds: {count: 5, cohort: 2}
"""
STAGES = "training.schedule=[{rounds: 2, train: layer:1}, {rounds: 1, train: head}, {train: layer:2}]"


@pytest.fixture
def scenario(tmp_path):
    file = tmp_path / "it.yaml"
    file.write_text(BASE)
    return lambda *changes: load(file, changes)


def rows(world, round_index=0):
    """What each client is sent and sends back, in weights, and its way: clients in order of device."""
    found = world.estimate(np.arange(2), round_index, 0.0)
    order = np.argsort(world.kind)
    down, up = found.download_bytes[order] / 4, found.upload_bytes[order] / 4
    return down.tolist(), up.tolist(), found.technique[order].tolist()


def test_the_model_is_as_this_file_says():
    assert load_trace("wav2vec2-tiny").parameters == WEIGHTS == INPUT + 3 * LAYER + HEAD


def test_what_all_train_travels_as_before(scenario):
    for change in ((), ("training.on_oom=shrink-batch",), ("training.checkpointing=true",)):
        composition = compose(scenario(*change).scenario)
        assert rows(composition.world) == ([WEIGHTS] * 2, [WEIGHTS] * 2, [0, 0])
        assert composition.ways == ("all",)
        assert composition.world.rounds_alike
        assert "trains" not in composition.notes


def test_only_what_trains_travels(scenario):
    world = compose(scenario("training.freeze_cnn=true").scenario).world
    assert rows(world) == ([WEIGHTS - CNN] * 2, [WEIGHTS - CNN] * 2, [0, 0])
    halved = compose(scenario("training.train=head", "rounds.compression=fp16").scenario).world
    assert rows(halved) == ([HEAD] * 2, [HEAD / 2] * 2, [0, 0])


def test_two_devices_that_train_different_parts_by_hand(scenario):
    composition = compose(
        scenario(
            "fleet.mix[0].training={train: last:1}", "fleet.mix[1].training={train: layer:1, depth: 2}"
        ).scenario
    )
    assert [kind.name for kind in composition.kinds] == [
        ("jetson-xavier-nx", "train layer:1, depth 2"),
        ("raspberry-pi-4", "train last:1"),
    ]
    assert composition.ways == ("last:1", "layer:1, depth 2")
    # Layers 1 and 3 and the head train somewhere; of layers, the jetson runs 1 and 2 only.
    down = [LAYER + HEAD, 2 * LAYER + HEAD]
    assert rows(composition.world) == (down, [LAYER, LAYER + HEAD], [1, 0])
    assert composition.notes["layers"] == ["input", "1", "2", "3", "head"]
    assert composition.notes["trains"] == {"last:1": ["3", "head"], "layer:1, depth 2": ["1"]}


@pytest.mark.parametrize(
    ("train", "numbers", "layers"),
    [
        ("lora:8", 6 * 8 * 2 * 128, ["1", "2", "3"]),  # queries and values: 128 to 8, 8 to 128
        ("adapters:4", 3 * (2 * 4 * 128 + 4 + 128), ["1", "2", "3"]),
        ("{lora: {rank: 8, head: true}}", 6 * 8 * 2 * 128 + HEAD, ["1", "2", "3", "head"]),
    ],
)
def test_what_is_put_into_the_model_is_sent_to_whoever_runs_it(scenario, train, numbers, layers):
    composition = compose(
        scenario(f"fleet.mix[0].training={{train: {train}}}", "fleet.mix[1].training={train: head}").scenario
    )
    down = numbers + (0 if "head" in train else HEAD)
    assert rows(composition.world) == ([down, down], [HEAD, numbers], [1, 0])
    assert composition.notes["trains"][composition.ways[0]] == layers
    shallow = scenario(
        f"fleet.mix[0].training={{train: {train}}}", "fleet.mix[1].training={train: head, depth: 1}"
    ).scenario
    own = numbers - (HEAD if "head" in train else 0)
    assert rows(compose(shallow).world)[0] == [own / 3 + HEAD, own + HEAD]  # of the three layers one runs


def test_two_entries_of_one_device_may_train_differently(scenario):
    same = "fleet.mix[1].device=raspberry-pi-4"
    composition = compose(scenario(same, "fleet.mix[1].training={train: head}").scenario)
    assert composition.devices == ("raspberry-pi-4",)
    assert composition.world.device.tolist() == [0, 0]
    assert sorted(composition.world.kind.tolist()) == [0, 1]
    assert rows(composition.world) == ([WEIGHTS] * 2, [WEIGHTS, HEAD], [0, 1])
    assert [(row.device, row.training, row.clients) for row in outlook(composition)] == [
        ("raspberry-pi-4", "", 1),
        ("raspberry-pi-4", "train head", 1),
    ]
    one = compose(scenario(same).scenario)  # without anything of its own they are one kind
    assert len(one.kinds) == 1


def test_a_precision_of_its_own_is_another_price_and_no_other_way(scenario):
    made = compose(scenario("fleet.mix[1].training={precision: mixed, checkpointing: transformer}").scenario)
    assert made.ways == ("all",)
    techniques = {kind.device.name: kind.pricers[0].technique for kind in made.kinds}
    assert techniques["jetson-xavier-nx"].precision == "mixed"
    assert techniques["jetson-xavier-nx"].checkpointing == "transformer"
    assert techniques["raspberry-pi-4"].precision == "fp32"


def test_what_travels_changes_with_the_stage(scenario):
    composition = compose(scenario(STAGES).scenario)
    world = composition.world
    assert not world.rounds_alike
    assert composition.ways == ("layer:1", "head", "layer:2")
    first, second, third = LAYER, LAYER + HEAD, 2 * LAYER + HEAD  # what anybody has trained so far
    down = [rows(world, index)[0][0] for index in range(6)]
    up = [rows(world, index)[1][0] for index in range(6)]
    assert down == [first, first, second, third, third, third]
    assert up == [LAYER, LAYER, HEAD, LAYER, LAYER, LAYER]
    one_by_one = [world.estimate(np.array([0]), index, 0.0) for index in (3, 0)]
    both = world.estimate(np.array([0, 0]), np.array([3, 0]), np.zeros(2))  # as asynchronous rounds ask
    for name in ("download_bytes", "upload_bytes", "technique"):
        assert getattr(both, name).tolist() == [getattr(one, name)[0] for one in one_by_one], name


def of_rounds(records):
    return [(r.index, r.end_s, r.downloaded_bytes, r.uploaded_bytes) for r in records]


@pytest.mark.parametrize("server", ["1Gbps", "unlimited"])
@pytest.mark.parametrize("close", ["wait-all", "{policy: async, buffer: 2}"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_stage_begins_at_its_round_after_a_resume_too(scenario, close, server, at):
    links = (f"server.uplink={server}", f"server.downlink={server}")
    composition = compose(scenario(STAGES, f"rounds.close={close}", "fleet.clients=6", *links).scenario)
    simulation = Simulation(composition.world, composition.plan)
    records, states = [], []
    for record in simulation:
        records.append(record)
        states.append(simulation.state())
    assert len(records) == 5
    again = list(Simulation(composition.world, composition.plan, None, states[at - 1]))
    assert of_rounds(again) == of_rounds(records[at:])
    for record in records:  # the model that a client was sent says how it trains
        stage = np.searchsorted([0, 2, 3], record.clients.base_round, side="right") - 1
        assert record.clients.technique.tolist() == stage.tolist()
    if close == "wait-all":
        sent = [LAYER, LAYER, HEAD, LAYER, LAYER]
        assert [r.uploaded_bytes for r in records] == [2 * 4 * weights for weights in sent]


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_an_interrupted_run_says_the_same_of_who_trained_what(scenario, tmp_path, stop, stop_after):
    it = scenario(STAGES, "fleet.mix[1].training={train: last:1}")
    whole = execute.run(it, tmp_path / "whole", draws=10)
    with pytest.raises(KeyboardInterrupt):
        execute.run(it, tmp_path / "cut", progress=stop_after(stop), draws=10)
    execute.resume(tmp_path / "cut")
    for name in ("clients", "rounds", "intervals"):
        file = f"{name}.parquet"
        assert (tmp_path / "cut" / file).read_bytes() == (whole / file).read_bytes(), name
    run = results.load(whole)
    summary = run.summary
    assert results.load(tmp_path / "cut").summary == summary
    assert set(run.clients.technique) == {"layer:1", "head", "layer:2", "last:1"}
    assert summary["techniques"]["last:1"] == {"client_rounds": 5, "completed": 5, "share": 0.5, "clients": 1}
    told = {layer: (entry["completed"], entry["never"]) for layer, entry in summary["coverage"].items()}
    # One client trains layer 3 and the head in five rounds; the other 1 twice, the head once, 2 twice.
    assert told == {"input": (0, 2), "1": (2, 1), "2": (2, 1), "3": (5, 1), "head": (6, 0)}


@dataclass(frozen=True)
class Rising(Pressure):
    """2 GB until 98 s, 5 GB until 198 s, then 8 GB."""

    def bytes_at(self, who, time_s):
        return np.select([time_s < 98, time_s < 198], [2 * GB, 5 * GB], 8 * GB)

    def range_bytes(self, who):
        return np.full(who.index.size, 2 * GB), np.full(who.index.size, 8 * GB)

    def first_exceeds_s(self, who, limit_bytes, start_s, end_s):
        steps = np.select(
            [limit_bytes < 2 * GB, limit_bytes < 5 * GB, limit_bytes < 8 * GB], [0, 98, 198], np.inf
        )
        at = np.maximum(start_s, steps)
        return np.where(at < end_s, at, np.inf)


class Needs:
    """A step that takes as many seconds as it needs gigabytes."""

    def __init__(self, gigabytes):
        self.gigabytes = gigabytes

    def step_s(self, batch, samples):
        return self.gigabytes * np.ones(np.shape(samples))

    def footprint_bytes(self, batch, samples):
        return self.gigabytes * GB * np.ones(np.shape(samples))


def shrinking_fleet(order=((0, 1, 2),)):
    device = replace(hardware.load_device("raspberry-pi-4"), memory_bytes=10 * GB, system_bytes=1 * GB)
    device = replace(device, throttle_after_s=None)
    group = Group(device.name, 1.0, hardware.load_link("instant"), pressure=Rising())
    corpus = speech.Speech.of("hand-made", np.zeros(2, int), np.array([4.0, 4.0]))
    loads = workload.Workloads(corpus.first, corpus.samples, np.zeros(1, int))
    down = [[70.0, 40.0, 20.0]] * len(order)
    kind = Kind(device, [Needs(7), Needs(4), Needs(2)], order, [0, 1, 2], down, [7.0, 4.0, 2.0])
    made = batches.make(loads, 2, "sorted", seed=1)
    return FleetWorld.build(Fleet.build([group], 1, seed=1), [kind], loads, made, 1, range(len(order)))


def test_the_deepest_that_fits_at_that_moment_is_trained():
    world, one = shrinking_fleet(), np.array([0])
    # 9 GB less 2, 5 and 8 leave 7, 4 and 1 GB: at last nothing fits, and the last is tried in vain.
    for time_s, way in ((0.0, 0), (97.9, 0), (98.0, 1), (150.0, 1), (198.0, 2), (1e6, 2)):
        found = world.estimate(one, 0, time_s)
        needs = (7, 4, 2)[way]
        assert found.technique.tolist() == [way], time_s
        assert found.footprint_bytes[0] == needs * GB
        assert found.compute_s[0] == needs
        assert (found.download_bytes[0], found.upload_bytes[0]) == (10.0 * needs, needs)
        start = np.array([time_s])
        ends = {97.9: 98.0, 198.0: 198.0, 1e6: 1e6}.get(time_s, np.inf)  # of memory, as far as it is short
        assert world.oom_from_s(found, start, start + needs).tolist() == [ends], time_s
    rows = [record.clients for record in Simulation(world, Plan(rounds=42, cohort=1))]
    # 14 rounds of 7 s, 25 of 4 s, and then there is no room even for the least of them.
    assert [int(row.technique[0]) for row in rows] == [0] * 14 + [1] * 25 + [2] * 3
    assert [row.outcome_names()[0] for row in rows] == ["completed"] * 39 + ["oom"] * 3
    assert rows[39].dispatched_s[0] == 198.0


def test_each_stage_has_fallbacks_of_its_own():
    world, one = shrinking_fleet(order=((0, 2), (1, 2))), np.array([0])
    assert [world.estimate(one, index, 0.0).technique[0] for index in (0, 1, 2)] == [0, 1, 1]
    assert [world.estimate(one, index, 150.0).technique[0] for index in (0, 1, 2)] == [2, 1, 1]


def test_stage_entry_and_fallback_override_in_this_order(scenario):
    composition = compose(
        scenario(
            "training.train=head",
            "training.schedule=[{rounds: 1, depth: 3}, {train: layer:1, depth: 2}]",
            "fleet.mix[0].training={train: last:2}",
            "training.on_oom=shallower",
            "training.shallower=[{depth: 2}, {train: last:1, depth: 1}]",
        ).scenario
    )
    tried = {
        kind.device.name: [
            [(str(kind.pricers[k].technique.train), kind.pricers[k].technique.depth) for k in stage]
            for stage in kind.order
        ]
        for kind in composition.kinds
    }
    assert tried == {
        "raspberry-pi-4": [
            [("last:2", 3), ("last:2", 2), ("last:1", 1)],
            [("last:2", 2), ("last:2", 2), ("last:1", 1)],
        ],
        "jetson-xavier-nx": [
            [("head", 3), ("head", 2), ("last:1", 1)],
            [("layer:1", 2), ("layer:1", 2), ("last:1", 1)],
        ],
    }
    assert composition.ways == (
        *("last:2, depth 3", "last:2, depth 2", "last:1, depth 1"),
        *("head, depth 3", "head, depth 2", "layer:1, depth 2"),
    )


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        (["training.depth=4"], "training.depth", "4 is beyond wav2vec2-tiny, which has 3 layers"),
        (["fleet.mix[1].training={train: last:4}"], r"fleet.mix\[1\].training.train", "has 3 layers"),
        (
            ["training.schedule=[{rounds: 2}, {depth: 9}]"],
            r"training.schedule\[1\].depth",
            "9 is beyond wav2vec2-tiny, which has 3 layers",
        ),
        (
            ["training.on_oom=shallower", "training.shallower=[{depth: 2}, {train: layer:3, depth: 2}]"],
            r"training.shallower\[1\].train",
            r"layer:3, and only 2 layers run",
        ),
        (
            ["training.train={lora: {rank: 8, modules: [q_proj, nope]}}"],
            "training.train.modules",
            "'nope' names no linear layer of wav2vec2-tiny",
        ),
        (
            ["fleet.mix[0].training={train: lora:8}", "fleet.mix[1].training={train: lora:4}"],
            "training.train",
            "is lora:4, and others of this federation train lora:8",
        ),
        (
            ["fleet.mix[0].training={train: lora:8}", "fleet.mix[1].training={train: adapters:4}"],
            "training.train",
            "is adapters:4, and others of this federation train lora:8",
        ),
        (
            ["fleet.mix[0].training={forward_only: true, checkpointing: true}"],
            r"fleet.mix\[0\].training.checkpointing",
            "cannot be, without a backward pass",
        ),
        (
            ["training.release_gradients=true", "training.on_oom=shrink-batch"],
            "training.release_gradients",
            "cannot be, with micro-batches",
        ),
    ],
)
def test_what_cannot_be_trained_is_said_of_its_place_in_one_sentence(scenario, changes, key, said):
    it = scenario(*changes).scenario
    for make in (compose, check):
        with pytest.raises(ScenarioError, match=f"^{key}: .*{said}"):
            make(it)


def test_one_machine_with_all_the_data_trains_as_the_scenario_says(scenario):
    it = scenario(
        "fleet.mix[0].training={train: last:1}",
        "training.train=head",
        "server.device=nvidia-a40",
        "learning={model: wav2vec2-tiny, baseline: centralised}",
    ).scenario
    composition = compose(it)
    assert composition.ways == ("head",)
    assert composition.world.estimate(np.array([0]), 0, 0.0).technique.tolist() == [0]


def test_a_smaller_model_is_really_trained_in_proportion(scenario):
    it = scenario(
        "training.model=wav2vec2-base",
        "training.schedule=[{rounds: 1, train: layer:1, depth: 4}, {rounds: 1, train: layer:5, depth: 5},"
        " {rounds: 1, train: last:7}, {rounds: 1, train: all, depth: 12}, {train: head}]",
        "learning={model: wav2vec2-tiny}",
    ).scenario
    ways = federation_of(it).ways
    # Of 12 layers 4 each are one of 3: layer 5 is in the second, the last 7 in the last 2.
    assert [(str(way.train), way.depth) for way in ways] == [
        ("layer:1", 1), ("layer:2", 2), ("last:2", None), ("all", 3), ("head", None)
    ]  # fmt: skip
    alike = federation_of(scenario("training.train=layer:3", "learning={model: wav2vec2-tiny}").scenario)
    assert [str(way.train) for way in alike.ways] == ["layer:3"]


@pytest.mark.parametrize("layers", [1, 3, 12])
@pytest.mark.parametrize("others", [1, 2, 3, 24])
def test_in_proportion_nothing_is_beyond_the_model_and_all_stays_all(layers, others):
    for depth in range(1, layers + 1):
        for some in range(1, depth + 1):
            way = in_model(Way(Last(some), depth), layers, others)
            assert 1 <= way.train.layers <= way.depth <= others
            assert in_model(Way(OneLayer(some)), layers, others).train.layer <= others
    assert in_model(Way(depth=layers), layers, others).depth == others

"""Ways to train: what of a model trains, runs and travels, and how unlike updates are averaged."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pytest
import torch
from federations import RULES, compression, rule
from torch import nn

from fedsim.errors import FedsimError, RunError, ScenarioError
from fedsim.learning import Federation, Learning, Way, checkpoint, inserted, make_learner
from fedsim.learning.local import Trainer, TrainJob, fresh_model
from fedsim.learning.partial import Ways
from fedsim.learning.parts import Parts
from fedsim.learning.restore import model_of
from fedsim.options import kind
from fedsim.pricing import load_trace, travel
from fedsim.pricing.technique import Technique
from fedsim.pricing.trained import (
    EVERYTHING,
    Adapters,
    Biases,
    FrozenCNN,
    Head,
    Last,
    LoRA,
    OneLayer,
)
from fedsim.tasks import Task, Wav2Vec2
from fedsim.tasks.base import Outcome
from fedsim.tasks.classification import Classification
from fedsim.tasks.language_model import LanguageModel

TASKS: dict[str, Task] = {
    "wav2vec2-tiny": Wav2Vec2(model="wav2vec2-tiny"),
    "language_model": LanguageModel(),
    "digits-cnn": Classification(),
}
TEXT = LanguageModel(width=16, layers=3, heads=2, context=16, evaluation_tokens=64, parts=8)
PLAIN = Way()
FLEET = 8


def federation(*ways: Way, **how: Any) -> Federation:
    """Eight clients that learn a small language model in two steps of two a round."""
    mine = {
        "clients_per_round": FLEET,
        "local_steps": 2,
        "batch_size": 2,
        "warmup_rounds": 0,
        "evaluate_every": 9,
    }
    mine |= {key: how.pop(key) for key in list(how) if key in Learning.__dataclass_fields__}
    learning = Learning(**{"task": TEXT, "checkpoint_every": 1, **mine})
    return Federation(learning=learning, clients=FLEET, rounds=9, ways=ways or (PLAIN,), **how)


def rounds(learner: Any, numbers: range, ways: Any = None, clients: Any = range(4)) -> list[Any]:
    """Train these clients, each in one of the ways, which go round."""
    who = np.array(list(clients))
    told = None if ways is None else np.array([ways[i % len(ways)] for i in range(len(who))])
    return [learner.train(r, who, np.full(len(who), r), told) for r in numbers]


def trained_numbers(task: Task, way: Way) -> int:
    """How many numbers of a task's model train in a way."""
    ways = Ways(task, (way,), 3)
    return Parts(ways.prepared(fresh_model(task, 3)), ways, Learning(task=task)).parameters


def by_trace(name: str, *prefixes: str) -> int:
    """Numbers in the layers of a trace whose names begin so."""
    return sum(x.parameters for x in load_trace(name).layers if f"{x.name}.".startswith(prefixes))


# -- what trains is what the trace says ----------------------------------------------------------------

SPEECH, WORDS, IMAGES = "wav2vec2-tiny", "language_model", "digits-cnn"
ALL_SPEECH, ALL_WORDS = by_trace(SPEECH, ""), by_trace(WORDS, "")
SPEECH_HEAD = by_trace(SPEECH, "project_hid.", "project_q.", "quantizer.")
WORDS_HEAD = by_trace(WORDS, "norm.", "head.")
FIRST, SECOND, THIRD = (by_trace(SPEECH, f"encoder.layers.{i}.") for i in range(3))
BIASES = 2 * (2 * 128 + 384 + 128 + 512 + 128)  # of a block: two norms, qkv, out, inner, outer
COUNTED = [
    (SPEECH, PLAIN, ALL_SPEECH),
    (SPEECH, Way(FrozenCNN()), ALL_SPEECH - by_trace(SPEECH, "feature_extractor.")),
    (SPEECH, Way(Head()), SPEECH_HEAD),
    (SPEECH, Way(Last(2)), SECOND + THIRD + SPEECH_HEAD),
    (SPEECH, Way(Last(1), depth=2), SECOND + SPEECH_HEAD),
    (SPEECH, Way(OneLayer(2)), SECOND),
    (SPEECH, Way(depth=1), ALL_SPEECH - SECOND - THIRD),
    (SPEECH, Way(depth=3), ALL_SPEECH),
    # beside q_proj and v_proj of each layer, 128 -> 128
    (SPEECH, Way(LoRA(4)), 3 * 2 * 4 * (128 + 128)),
    (SPEECH, Way(LoRA(4), depth=1), 2 * 4 * (128 + 128)),
    (SPEECH, Way(LoRA(2, ("out_proj", "project_hid"), head=True)), 4 * 2 * (128 + 128) + SPEECH_HEAD),
    # of a layer's attention, two norms and two linear layers; of the first norm and the projection with its
    # norm; of the positional convolution and the norm behind it; of the three linear layers of the head
    (SPEECH, Way(Biases()), 3 * (4 * 128 + 2 * 128 + 256 + 128) + 32 + 64 + 128 + 128 + 128 + 3 * 128),
    (SPEECH, Way(Adapters(8)), 3 * (2 * 128 * 8 + 8 + 128)),
    (WORDS, PLAIN, ALL_WORDS),
    (WORDS, Way(Head()), WORDS_HEAD),
    (WORDS, Way(Last(1)), by_trace(WORDS, "blocks.1.") + WORDS_HEAD),
    (WORDS, Way(OneLayer(1, head=True)), by_trace(WORDS, "blocks.0.") + WORDS_HEAD),
    (WORDS, Way(depth=1), ALL_WORDS - by_trace(WORDS, "blocks.1.")),
    # no layer is called as queries or values are, so all four of each block: qkv, out, inner, outer
    (WORDS, Way(LoRA(4)), 2 * 4 * ((128 + 384) + (128 + 128) + (128 + 512) + (512 + 128))),
    (WORDS, Way(LoRA(4, ("qkv",))), 2 * 4 * (128 + 384)),
    (WORDS, Way(Biases()), BIASES + 128 + 256),
    (WORDS, Way(Biases(head=True)), BIASES + WORDS_HEAD),
    (WORDS, Way(Adapters(8, head=True)), 2 * (2 * 128 * 8 + 8 + 128) + WORDS_HEAD),
    (IMAGES, PLAIN, by_trace(IMAGES, "")),
    (IMAGES, Way(Last(1)), by_trace(IMAGES, "9.")),  # its layers: 0, 3, 7 and 9; it has no head
    (IMAGES, Way(OneLayer(2)), by_trace(IMAGES, "3.")),
    (IMAGES, Way(OneLayer(1, head=True)), by_trace(IMAGES, "0.")),
    (IMAGES, Way(LoRA(4)), 4 * (128 + 64) + 4 * (64 + 10)),
    (IMAGES, Way(Biases()), 16 + 32 + 64 + 10),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "way", "numbers"), COUNTED, ids=[f"{n} {w.train} {w.depth}" for n, w, _ in COUNTED]
)
def test_as_many_numbers_train_as_the_trace_says(name, way, numbers):
    assert trained_numbers(TASKS[name], way) == numbers > 0
    priced = travel.trained(load_trace(name), Technique(train=way.train, depth=way.depth))
    assert sum(priced.values()) == numbers


# -- a model that is cut, and what is put into it --------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_cut_model_gives_the_hidden_states_of_its_first_layers(depth):
    task = TASKS["wav2vec2-tiny"]
    ways = Ways(task, (Way(depth=depth),), 3)
    model = ways.prepared(fresh_model(task, 3)).eval()
    waves = torch.randn(2, 8000, generator=torch.Generator().manual_seed(1))
    encoder, before = model.wav2vec2, list(model.parameters())
    with torch.no_grad():
        whole = encoder(waves, output_hidden_states=True).hidden_states
        with ways.applied(model, 0):
            assert len(encoder.encoder.layers) == depth
            cut = encoder(waves).last_hidden_state
        assert torch.equal(cut, whole[depth])
        assert torch.equal(encoder(waves).last_hidden_state, whole[3])
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("train", [LoRA(4), LoRA(2, ("head",)), Adapters(4)])
def test_what_is_put_in_changes_nothing_at_first_and_follows_from_seed_and_name(train):
    seen = {}
    for seed in (3, 3, 4):
        ways = Ways(TEXT, (Way(train),), seed)
        fresh = fresh_model(TEXT, 3).eval()
        text = torch.arange(24).reshape(2, 12)
        plain = fresh(text)
        model = ways.prepared(fresh)
        assert torch.equal(model(text), plain)
        drawn = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        assert all(inserted.is_inserted(name) for name in drawn)
        for name, values in seen.get(seed, {}).items():
            assert torch.equal(drawn[name], values)
        seen[seed] = drawn
    random = [name for name, values in seen[3].items() if values.any()]
    assert random
    assert all((seen[3][name] != seen[4][name]).any() for name in random)
    matrices = [seen[3][name].reshape(-1)[:16].tolist() for name in random]
    assert all(a != b for a, b in combinations(matrices, 2))


@dataclass(frozen=True, kw_only=True)
class Torchs(Task):
    """Three encoder layers of torch's own, which infer in another way than they train, as a model."""

    task: Literal["torchs"] = kind("torchs", "of a test")

    def build(self):
        options = {"dim_feedforward": 16, "dropout": 0.0, "batch_first": True}
        return nn.Sequential(*(nn.TransformerEncoderLayer(8, 2, **options) for _ in range(3)))

    def fake_batch(self, batch, sizes):
        return torch.empty(batch, 5, 8)

    def traced_loss(self, model, batch):
        return model(batch).sum()


@pytest.mark.parametrize("train", [LoRA(2), Adapters(2)])
def test_what_is_put_in_is_there_in_training_and_in_evaluation(train):
    ways = Ways(Torchs(), (Way(train, depth=2),), 3)
    model, waves = ways.prepared(fresh_model(Torchs(), 3)), torch.ones(2, 5, 8)
    with torch.no_grad():
        before = model.train()(waves)
        for name, parameter in model.named_parameters():
            if inserted.is_inserted(name):
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view(parameter.shape))
        trained, evaluated = model.train()(waves), model.eval()(waves)
        with ways.cut(model, 2):
            cut = model(waves)
        alone = ways.finished(model, 2)(waves)
    assert (trained - before).abs().max() > 0.01
    assert torch.allclose(trained, evaluated, atol=1e-5)
    assert torch.allclose(cut, alone, atol=1e-5)
    assert (cut - evaluated).abs().max() > 0.01


def test_what_is_put_in_sends_initial_metrics_as_they_are_without():
    found = []
    for way in (PLAIN, Way(LoRA(4)), Way(Adapters(4))):
        with make_learner(federation(way), 3) as learner:
            found.append(learner.initial_metrics())
    assert found[0] == found[1] == found[2]


def test_the_backward_pass_ends_at_the_first_layer_that_trains():
    """The convolutions of wav2vec 2.0 at its input have a graph only where one of them trains."""
    task, reached = TASKS["wav2vec2-tiny"], {}
    ways = Ways(task, (PLAIN, Way(FrozenCNN()), Way(LoRA(4)), Way(Last(1)), Way(Biases())), 3)
    model = ways.prepared(fresh_model(task, 3)).train()
    encoder = model.wav2vec2.feature_extractor
    for way, told in enumerate(ways.ways):
        with ways.applied(model, way):
            reached[str(told.train)] = encoder(torch.ones(2, 8000)).requires_grad
    assert reached == {"all": True, "frozen-cnn": False, "lora:4": False, "last:1": False, "biases": True}


@dataclass(frozen=True, kw_only=True)
class Line(Task):
    """y = W x, squared error: one linear layer of six by six without a bias."""

    task: Literal["line"] = kind("line", "of a test")
    splits = ()
    size = 6

    def build(self):
        return nn.Sequential(nn.Linear(self.size, self.size, bias=False))

    def data(self, seed):
        return LineData(seed, self.size)

    def fake_batch(self, batch, sizes):
        return torch.empty(batch, self.size), torch.empty(batch, self.size)

    def batch(self, data, examples, draw, training):
        return data.x[examples], data.y[examples]

    def loss(self, model, batch, round_index):
        loss = (model(batch[0]) - batch[1]).square().mean()
        return Outcome(loss, lambda: {"loss": loss.item() * len(batch[0]), "count": len(batch[0])})


class LineData:
    notes, account = (), None

    def __init__(self, seed, size):
        draw = torch.Generator().manual_seed(seed)
        self.x, self.y = (torch.randn(32, size, generator=draw) for _ in range(2))
        self.parts = [np.arange(4 * part, 4 * part + 4) for part in range(8)]

    def held_out(self, split):
        return []


@dataclass(frozen=True, kw_only=True)
class Normed(Line):
    """With a batch norm in between, whose running statistics are buffers."""

    task: Literal["normed"] = kind("normed", "of a test")

    def build(self):
        return nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 6))


STATISTICS = {"1.running_mean", "1.running_var"}


@pytest.mark.parametrize(
    ("train", "travels"),
    [
        (OneLayer(1), {"0.weight", "0.bias"}),
        (OneLayer(2), {"1.weight", "1.bias"} | STATISTICS),
        (Biases(), {"0.bias", "1.bias", "2.bias"} | STATISTICS),
        (LoRA(1, ("0",)), {"0.lora_A.weight", "0.lora_B.weight"}),
    ],
)
def test_statistics_travel_with_the_norm_that_they_belong_to(train, travels):
    how = federation(Way(train), task=Normed())
    with make_learner(how, 3) as learner:
        assert set(learner._shapes) == travels
        fixed = {name: values.copy() for name, values in learner._fixed.items()}
        rounds(learner, range(2))
        assert (set(fixed) >= STATISTICS) == (not STATISTICS & travels)
        model = learner._pool._trainer.model
        learner._pool._trainer._forget()  # what a client's batches made of them is gone
        for name in STATISTICS - travels:
            assert np.array_equal(model.get_buffer(name).numpy(), fixed[name])


FULL = LoRA(6, alpha=6.0)  # of full rank, with scale 1


def orthogonal(size: int) -> torch.Tensor:
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(5))
    return torch.linalg.qr(matrix).Q.contiguous()


def test_one_step_of_lora_at_full_rank_is_one_step_of_full_training():
    """With W + B A, B = 0 and G = dL/dW: dL/dB = G A', dL/dA = B' G = 0.

    A step of SGD at rate h makes B = -h G A', and W + B A = W - h G A' A, which is W - h G where A is
    orthogonal. A stands still, so that the mean of clients' B A is that of their updates of W.
    """
    task, seen = Line(), []
    for way in (PLAIN, Way(FULL)):
        asked = federation(way, task=task, optimizer="sgd", learning_rate=0.05, local_steps=1, clip_norm=1e9)
        with make_learner(asked, 3) as learner:
            if way is PLAIN:
                before = learner.weights().reshape(6, 6)
            else:
                a = orthogonal(6)
                learner._pool.versions[0][:36] = a.numpy().reshape(-1)  # A comes first, then B
            rounds(learner, range(1), clients=range(5))
            seen.append(learner.weights())
    full = seen[0].reshape(6, 6)
    down, up = (half.reshape(6, 6) for half in np.split(seen[1], 2))
    assert np.array_equal(down, a.numpy())
    assert np.abs(full - before).max() > 1e-3
    assert before + up @ down == pytest.approx(full, abs=1e-6)


def test_lora_at_full_rank_over_a_frozen_orthogonal_matrix_is_full_training():
    """With A orthogonal and frozen each step of B moves W + B A by -h G A' A = -h G: all of them agree."""
    data, models = LineData(3, 6), []
    for lora in (False, True):
        model = fresh_model(Line(), 3)
        if lora:
            model = Ways(Line(), (Way(FULL),), 3).prepared(model)
            model.get_parameter("0.lora_A.default.weight").requires_grad_(False).copy_(orthogonal(6))
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
        for _ in range(40):
            optimizer.zero_grad()
            (model(data.x) - data.y).square().mean().backward()
            optimizer.step()
        inserted.merge(model)
        models.append(model.get_parameter("0.weight").detach())
    assert (models[0] - fresh_model(Line(), 3).get_parameter("0.weight")).abs().max() > 0.05
    assert torch.allclose(models[0], models[1], atol=1e-5)


# -- averaging --------------------------------------------------------------------------------------------

HOWS: dict[str, dict[str, Any]] = {
    **{name: {"aggregate": rule(name)} for name in RULES},
    "averaged": {"optimizer_state": "averaged"},
    "int8": {"compression": compression("int8")},
    "top-k": {"compression": compression("top-k", 0.1)},
}


@pytest.mark.parametrize("how", HOWS)
def test_averaging_by_coordinate_over_equal_shapes_is_averaging_bit_for_bit(how):
    """Three groups of tensors, and every client sends them all."""
    seen = []
    for ways in ((PLAIN,), (PLAIN, Way(Last(1)), Way(Head()))):
        with make_learner(federation(*ways, **HOWS[how]), 3) as learner:
            told = rounds(learner, range(3))
            assert len(learner._parts.groups) == len(ways)
            seen.append(
                (learner.weights().tobytes(), [r.loss.tobytes() for r in told], [r.metrics for r in told])
            )
            shares = told[-1].weight
            assert shares.sum() == pytest.approx(1.0, abs=1e-12)
    assert seen[0] == seen[1]


def test_ways_that_send_the_same_are_one_group():
    with make_learner(federation(PLAIN, Way(release_gradients=True), clip_norm=None), 3) as learner:
        (told,) = rounds(learner, range(1), [0, 1])
        assert len(learner._parts.groups) == 1
        mixed = learner.weights()
    assert told.weight.sum() == pytest.approx(1.0, abs=1e-15)
    with make_learner(federation(clip_norm=None), 3) as learner:
        rounds(learner, range(1))
        assert np.array_equal(learner.weights(), mixed)


MIXED = (PLAIN, Way(Last(1)), Way(depth=1))


def alone(how: Federation, client: int, way: int) -> tuple[Any, Any]:
    """The update of one client of a round, as long as all that travels, and where it sends something."""
    trainer = Trainer(how, 3)
    with make_learner(how, 3) as learner:
        begin = np.array(learner._version(0))
    out, part = np.zeros_like(begin), trainer.parts.ways[way]
    trainer.train(TrainJob(client, 0, 0, way=way), begin, out)
    end, sends = begin.copy(), np.zeros(len(begin), bool)
    part.whole.put(end, out[: part.whole.size])
    part.whole.put(sends, np.ones(part.whole.size, bool))
    return end.astype(np.float64) - begin, sends


@pytest.mark.parametrize("state", ["fresh", "averaged"])
def test_each_number_is_averaged_over_those_who_sent_it(state):
    steps = {"optimizer": "sgd", "learning_rate": 0.5} if state == "fresh" else {"optimizer_state": state}
    how = federation(*MIXED, aggregate=rule("uniform"), clip_norm=0.5, **steps)
    updates = [alone(how, client, client % 3) for client in range(4)]
    count = np.sum([sends for _, sends in updates], axis=0)
    assert set(count.tolist()) == {2, 3, 4}  # layer 2; layer 1 and below, layer 3; the head
    mean = np.sum([update for update, _ in updates], axis=0) / np.maximum(count, 1)
    with make_learner(how, 3) as learner:
        before = np.array(learner._version(0), np.float64)
        (told,) = rounds(learner, range(1), [0, 1, 2])
        after = np.array(learner._version(1), np.float64)
        parameters = learner.parameters
    assert after - before == pytest.approx(mean, abs=1e-6)
    # a client's weight: the mean of 1 / count over what it sent of the model
    for client, (_, sends) in enumerate(updates):
        mine = sends[:parameters]
        assert told.weight[client] == pytest.approx((1.0 / count[:parameters][mine]).mean())


def test_the_trimmed_mean_trims_among_those_who_sent():
    """Of three who sent the body one at each end is left out; of five who sent the head, too."""
    how = federation(PLAIN, Way(Head()), aggregate=rule("trimmed-mean", trim=0.34))
    ways = [0, 0, 0, 1, 1]
    updates = [alone(how, client, way)[0] for client, way in enumerate(ways)]
    with make_learner(how, 3) as learner:
        before = learner.weights().astype(np.float64)
        rounds(learner, range(1), ways, range(5))
        step = learner.weights() - before
        body, head = learner._parts.groups
    assert (body.ways, head.ways) == ((0,), (0, 1))
    middle = np.sort(np.stack([body.model.of(u) for u in updates[:3]]), axis=0)[1:2].mean(axis=0)
    assert body.model.of(step) == pytest.approx(middle, abs=1e-6)
    middle = np.sort(np.stack([head.model.of(u) for u in updates]), axis=0)[1:4].mean(axis=0)
    assert head.model.of(step) == pytest.approx(middle, abs=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_what_nobody_sends_stays_under_every_rule(name):
    how = federation(PLAIN, Way(Head()), aggregate=rule(name), optimizer_state="averaged")
    with make_learner(how, 3) as learner:
        rounds(learner, range(2), [0])  # so that an adaptive server has momentum
        body, head = (group for group in learner._parts.groups)
        if body.ways != (0,):
            body, head = head, body
        before, memory = np.array(learner._version(2)), learner._server.state()
        rounds(learner, range(2, 4), [1])
        after = np.array(learner._version(4))
        assert np.array_equal(body.whole.of(after), body.whole.of(before))
        assert (head.whole.of(after) != head.whole.of(before)).mean() > 0.9
        for kept, values in learner._server.state().items():
            same = np.array_equal(values, memory[kept])
            assert same == (len(values) == body.parameters), kept


def test_a_group_of_liars_is_turned_away_and_the_honest_are_averaged():
    from fedsim.learning.byzantine import BYZANTINES

    for liar in BYZANTINES:
        lies = liar(0.3)
        how = federation(*MIXED, aggregate=rule("uniform"), byzantine=lies)
        with make_learner(how, 3) as learner:
            bad = learner._byzantine.among(np.arange(FLEET))
            assert 0 < bad.sum() < FLEET
            (told,) = rounds(learner, range(1), [0, 1, 2], range(FLEET))
            passes = liar.__name__ in ("Noise", "SignFlip")
            assert told.accepted.tolist() == [passes or not lie for lie in bad]
            assert np.isfinite(learner.weights()).all()
            crooked = learner.weights()
        if not passes:
            with make_learner(replace(how, learning=replace(how.learning, byzantine=None)), 3) as learner:
                honest = np.flatnonzero(~bad)
                learner.train(0, honest, np.zeros(len(honest)), honest % 3)
                assert np.array_equal(learner.weights(), crooked)


# -- the same bytes everywhere ----------------------------------------------------------------------------

REPEATED = {
    "depths": (MIXED, {"aggregate": rule("fedadam"), "optimizer_state": "averaged"}),
    "lora": ((Way(LoRA(2)), Way(LoRA(2, head=True)), Way(LoRA(2), depth=2)), {"aggregate": rule("fedyogi")}),
    "layers": ((Way(OneLayer(1), depth=1), Way(Adapters(2), depth=2), Way(OneLayer(3))),
               {"aggregate": rule("loss-weighted"), "compression": compression("int8"), "max_staleness": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", REPEATED)
def test_mixed_ways_give_the_same_bytes_on_two_workers_and_after_a_resume(name, tmp_path):
    ways, options = REPEATED[name]
    how, seen = federation(*ways, **options), []
    for workers, stop in ((1, None), (2, None), (1, 2)):
        folder = tmp_path / f"{workers}-{stop}"
        with make_learner(how, 3, workers, folder) as learner:
            learner.initial_metrics()
            rounds(learner, range(4 if stop is None else stop), [0, 1, 2])
            done = (learner.weights().tobytes(), learner.coverage(), learner.depth)
        if stop is not None:
            with make_learner(how, 3, workers, folder) as learner:
                assert learner.restore() == stop
                rounds(learner, range(stop, 4), [0, 1, 2])
                done = (learner.weights().tobytes(), learner.coverage(), learner.depth)
        seen.append((done, checkpoint.path(folder, 4).read_bytes()))
    assert all(one == seen[0] for one in seen)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_clients_keep_is_of_what_they_send(workers, tmp_path):
    from guide import copied

    from fedsim import plugins
    from fedsim.learning.aggregate import Aggregation

    known = set(plugins.of(Aggregation))
    plugins.load(copied("scaffold.py", tmp_path))
    (scaffold,) = set(plugins.of(Aggregation)) - known
    how = federation(PLAIN, Way(Head()), aggregate=scaffold(), optimizer="sgd", learning_rate=0.05)
    with make_learner(how, 3, workers, tmp_path / "whole") as learner:
        learner.initial_metrics()
        rounds(learner, range(3), [0, 1])
        body = next(group for group in learner._parts.groups if group.ways == (0,))
        mean = np.zeros(learner.parameters)
        for client, kept in learner._kept.items():
            assert body.model.of(kept["control"]).any() == (client % 2 == 0)  # the odd ones train the head
            mean += kept["control"].astype(np.float64) / FLEET
        assert learner._server.sent()["control"] == pytest.approx(mean, abs=1e-6)
        whole = learner.weights().tobytes()
    checkpoint.path(tmp_path / "whole", 3).unlink()
    with make_learner(how, 3, 1, tmp_path / "whole") as learner:
        assert learner.restore() == 2
        rounds(learner, range(2, 3), [0, 1])
        assert learner.weights().tobytes() == whole


# -- who trained what -------------------------------------------------------------------------------------


def test_coverage_counts_updates_and_clients_by_layer(tmp_path):
    how = federation(*MIXED)
    with make_learner(how, 3, 1, tmp_path) as learner:
        assert {(row["updates"], row["clients"], row["never"]) for row in learner.coverage()} == {
            (0, 0, FLEET)
        }
        rounds(learner, range(2), [0, 1, 2], range(4))  # 0 and 3 train all, 1 the last layer, 2 the first
        rounds(learner, range(2, 3), [2], [5])
        found = {row["layer"]: row for row in learner.coverage()}
        assert sum(row["numbers"] for row in found.values()) == learner.parameters
        told = {layer: (row["updates"], row["clients"], row["never"]) for layer, row in found.items()}
    assert told == {
        "embedding": (7, 4, 4),
        "blocks.0": (7, 4, 4),
        "blocks.1": (4, 2, 6),
        "blocks.2": (6, 3, 5),
        "norm": (9, 5, 3),
        "head": (9, 5, 3),
    }
    with make_learner(how, 3, 1, tmp_path) as learner:
        learner.restore()
        assert {row["layer"]: row for row in learner.coverage()} == found


@pytest.mark.parametrize(
    "text", ["", "[[1, 2, 3]]", "[[1, 2, -3], [[], [], []]]", "[[1, 2], [[1], [2]]]", "null"]
)
def test_a_damaged_account_of_who_delivered_is_one_sentence(text, tmp_path):
    from safetensors.numpy import load_file, save_file

    with make_learner(federation(*MIXED), 3, 1, tmp_path) as learner:
        file = learner.save()
        held = checkpoint.read(file)
        save_file(load_file(file), file, {**held.metadata, "delivered": text})
        with pytest.raises(RunError, match="is damaged: its list of delivered updates"):
            learner.restore()


def test_the_deepest_that_anybody_trained_is_evaluated():
    with make_learner(federation(Way(depth=1), Way(OneLayer(2), depth=2), PLAIN), 3) as learner:
        assert learner.depth is None
        seen = []
        for r, way in enumerate((0, 1, 0, 2)):
            rounds(learner, range(r, r + 1), [way])
            seen.append(learner.depth)
    assert seen == [1, 2, 2, None]


# -- a model out of a checkpoint --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ways", [(Way(LoRA(2)),), (Way(Adapters(2), depth=2),), (Way(Last(1), depth=1), PLAIN)]
)
def test_a_model_out_of_a_checkpoint_computes_what_the_federation_learned(ways, tmp_path):
    how = federation(*ways, learning_rate=0.05)
    with make_learner(how, 3, 1, tmp_path) as learner:
        rounds(learner, range(2))
        metrics, depth = (
            {m: v for m, split, v in learner.evaluate() if split == "validation"},
            learner.depth,
        )
    model = model_of(TEXT, checkpoint.path(tmp_path, 2), 3).eval()
    assert len(model.blocks) == (depth or 3)
    assert all(p.requires_grad for p in model.parameters())
    assert not any("lora" in name for name, _ in model.named_parameters())
    data, total, count = TEXT.data(3), 0.0, 0
    with torch.no_grad():
        for examples in data.held_out("validation"):
            batch = TEXT.batch(data, examples, np.random.default_rng(0), False)
            sums = TEXT.loss(model, batch, None).added_up()
            total, count = total + sums["loss"], count + sums["count"]
    assert total / count == pytest.approx(metrics["loss"], abs=1e-6)


def test_a_checkpoint_that_lies_about_what_was_put_in_is_one_sentence(tmp_path):
    from safetensors.numpy import load_file, save_file

    with make_learner(federation(Way(LoRA(2))), 3, 1, tmp_path) as learner:
        file = learner.save()
    held, tensors = checkpoint.read(file), load_file(file)
    for said in ('{"lora": {"rank": 0}}', "[", '{"lora": {"rank": 2, "modules": "x"}}'):
        save_file(tensors, file, {**held.metadata, "inserted": said})
        with pytest.raises(RunError, match="what was put into its model cannot be read"):
            model_of(TEXT, file, 3)


# -- what is refused --------------------------------------------------------------------------------------

NOT = "which the model has not"
OTHERS = "and others of this federation train"
UNLIKE = (Way(LoRA(2)), Way(LoRA(2, alpha=8.0)))
REFUSED = [
    (TEXT, (Way(LoRA(2, ("q_proj",))),), "training.train.modules: 'q_proj' names no linear layer of the "
     "model; there are qkv, out, inner, outer, head"),
    (TEXT, (Way(LoRA(2, ("qkv", "kv"))),), "training.train.modules: 'kv' names no"),
    (TEXT, (Way(depth=4),), "training.depth: is 4, and the model has 3 layers"),
    (TEXT, (PLAIN, Way(depth=9)), "training.depth: is 9, and the model has 3 layers"),
    (TEXT, (Way(Last(4)),), f"training.train: is last:4, {NOT}: it has 3 layers"),
    (TEXT, (Way(OneLayer(4)),), f"training.train: is layer:4, {NOT}: it has 3 layers"),
    (TEXT, (Way(OneLayer(3), depth=2),), f"is layer:3, {NOT}: only the first 2 of its 3 layers run"),
    (TEXT, (Way(Last(2), depth=1),), f"is last:2, {NOT}: only the first 1 of its 3 layers run"),
    (TEXT, (Way(LoRA(2)), Way(LoRA(4))), f"training.train: is lora:4, {OTHERS} lora:2; one model holds one"),
    (TEXT, UNLIKE, f"is lora:2, {OTHERS} lora:2 with other options"),
    (TEXT, (Way(LoRA(2)), PLAIN, Way(LoRA(2, ("qkv",)))), f"is lora:2, {OTHERS} lora:2 with other options"),
    (TEXT, (Way(LoRA(2)), Way(Adapters(2))), f"is adapters:2, {OTHERS} lora:2"),
    (TEXT, (), "are none; a federation needs at least one way"),
    (Classification(), (Way(depth=2),), "training.depth: is 2, and the model's 4 layers are not alike"),
    (Classification(), (Way(Head()),), "training.train: is head, and nothing of the model would train"),
    (Classification(), (Way(Adapters(4)),), "after each of a transformer's layers, and the model has none"),
    (Classification(), (Way(FrozenCNN()),), "training.train: is frozen-cnn, but the task"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "ways", "said"), REFUSED, ids=[said for _, _, said in REFUSED])
def test_ways_that_a_model_does_not_allow_are_one_sentence(task, ways, said):
    with pytest.raises(ScenarioError, match=re.escape(said)) as caught:
        Ways(task, ways, 3).prepared(fresh_model(task, 3))
    assert "\n" not in str(caught.value)


def test_ways_that_differ_only_in_the_head_go_together():
    for train in (LoRA(2), Adapters(2)):
        ways = (Way(train), Way(replace(train, head=True)), PLAIN)
        assert len(Ways(TEXT, ways, 3)) == 3
    Ways(TEXT, (Way(LoRA(2)), Way(LoRA(2, alpha=4.0))), 3)  # twice the rank, which is the default


def test_a_way_that_there_is_not_is_one_sentence():
    with make_learner(federation(PLAIN, Way(EVERYTHING, depth=1)), 3) as learner:
        for way in (2, -1):
            with pytest.raises(
                FedsimError, match="client of round 0 trained in a way that is none of the 2 ways"
            ):
                rounds(learner, range(1), [0, way])

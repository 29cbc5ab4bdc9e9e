"""What a federation sends is what trains, and what does not train stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from fedsim.learning import Federation, Learning, Way, make_learner, vector
from fedsim.learning.local import fresh_model
from fedsim.pricing import load_trace
from fedsim.pricing.trained import FrozenCNN
from fedsim.tasks import Ctc, Wav2Vec2
from fedsim.tasks.speech.corpus import Espeak

SPEECH = Espeak(speakers=6, minutes=0.6)
TASKS = {
    "wav2vec2": Wav2Vec2(model="wav2vec2-tiny", corpus=SPEECH),
    "ctc": Ctc(model="wav2vec2-tiny", corpus=SPEECH),
}


def cnn(model):
    """The parameters of the convolutions at the input, whatever the head above them."""
    encoder = next(m for name, m in model.named_modules() if name.endswith("feature_extractor"))
    return {id(p): p.numel() for p in encoder.parameters()}


@pytest.mark.parametrize("name", TASKS)
def test_a_frozen_cnn_does_not_travel(name):
    task = TASKS[name]
    whole, frozen = fresh_model(task, 3), fresh_model(task, 3)
    task.freeze_cnn(frozen)
    everything = sum(p.numel() for p in whole.parameters())
    assert vector.size(whole) == everything
    assert vector.size(frozen) == everything - sum(cnn(frozen).values())
    assert 0 < sum(cnn(frozen).values()) < everything
    if name == "wav2vec2":
        assert everything == load_trace("wav2vec2-tiny").parameters


@pytest.mark.parametrize("name", TASKS)
def test_what_is_frozen_stays_and_the_rest_learns(name):
    task = TASKS[name]
    learning = Learning(task=task, clients_per_round=2, local_steps=1, batch_size=2, warmup_rounds=0)
    with make_learner(
        Federation(learning=learning, clients=4, rounds=1, ways=(Way(FrozenCNN()),)), 3
    ) as learner:
        learner.initial_metrics()
        before = learner.weights()
        learner.train(0, np.array([0, 1]), np.zeros(2))
        after = learner.weights()
    model = fresh_model(task, 3)
    task.freeze_cnn(model)
    assert before.shape == after.shape == (vector.size(model),)
    assert (before != after).mean() > 0.9
    begun = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    vector.load(model, after)
    trains = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert {True, False} == set(trains.values())
    assert {name: bool((p != begun[name]).any()) for name, p in model.named_parameters()} == trains

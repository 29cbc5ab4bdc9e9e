"""The same code trains wav2vec 2.0 at its real size."""

from __future__ import annotations

import numpy as np
import pytest
from federations import federation

from fedsim.learning import make_learner, vector
from fedsim.tasks.speech import models
from fedsim.tasks.speech.corpus import Espeak


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [("wav2vec2-tiny", 0.6376e6), ("wav2vec2-base", 95.04e6), ("wav2vec2-large", 317.38e6)],
)
def test_presets_have_their_size(preset: str, parameters: float) -> None:
    """Base and large as in SUPERB's table 1 (Yang et al., Interspeech 2021): 95.04 and 317.38 million."""
    import torch
    from transformers import Wav2Vec2ForPreTraining

    with torch.device("meta"):
        net = Wav2Vec2ForPreTraining(models.configuration(preset))
    assert vector.size(net) == pytest.approx(parameters, abs=0.005e6)


@pytest.mark.slow
def test_two_clients_take_two_steps_with_the_base_model() -> None:
    spec = federation(
        clients=4,
        rounds=1,
        model="wav2vec2-base",
        corpus=Espeak(speakers=6, minutes=0.6),
        clients_per_round=2,
        batch_size=2,
        local_steps=2,
        learning_rate=1e-4,
        warmup_rounds=0,
        crop_seconds=2.0,
        evaluation_seconds=4.0,
        aggregate="loss-weighted",
        feature_gradient_scale=0.1,
        device="cpu",
    )
    with make_learner(spec, 1) as learner:
        before = learner.weights()
        metrics = learner.initial_metrics()
        outcome = learner.train(0, np.array([0, 1]), np.zeros(2, np.int64))
        after = learner.weights()
    assert len(before) == 95_044_608
    assert np.isfinite(outcome.loss).all()
    assert outcome.weight.sum() == pytest.approx(1.0)
    assert np.isfinite(after).all()
    assert 0 < np.abs(after - before).max() < 1e-2
    assert {name for name, split, _ in metrics if split == "validation"} == {
        "loss", "contrastive_accuracy", "codebook_perplexity",
    }  # fmt: skip

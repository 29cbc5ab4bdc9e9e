"""Variants of local training and of the schedule, on the small learner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from federations import changed

from fedsim.errors import ScenarioError
from fedsim.learning import Federation, baselines, checkpoint, make_learner, state, vector
from fedsim.learning.local import Trainer, TrainJob


def _train(
    spec: Federation, rounds: int = 2, folder: Path | None = None, resume_at: int | None = None
) -> Any:
    with make_learner(spec, 5, 1, folder) as learner:
        first = 0
        if resume_at is None:
            learner.initial_metrics()
        else:
            first = learner.restore(resume_at)
        for r in range(first, rounds):
            outcome = learner.train(r, np.arange(4), np.full(4, r))
            assert outcome.accepted.all()
            assert np.isfinite(learner.weights()).all()
        return learner.weights()


VARIANTS: dict[str, dict[str, Any]] = {
    "fedprox": {"aggregate": "fedprox", "proximal": 1.0},
    "fedadam": {"aggregate": "fedadam"},
    "fedyogi": {"aggregate": "fedyogi"},
    "trimmed-mean": {"aggregate": "trimmed-mean", "trim": 0.34},
    "averaged": {"optimizer_state": "averaged"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1},
    "top-k": {"compression": "top-k", "compression_share": 0.1},
    "int8": {"compression": "int8", "optimizer_state": "averaged"},
    "mixed": {"precision": "mixed"},
    "epochs": {"local_epochs": 1.0},
    "low quality": {"low_quality": 1.0},
    "dirichlet": {"partition": "dirichlet-speakers", "parts": 3},
    "no feature gradient": {"feature_gradient_scale": 0.0},
}


@pytest.mark.slow
def test_every_variant_matters_and_resumes_with_the_same_bytes(small: Federation, tmp_path: Path) -> None:
    small = changed(small, crop_seconds=0.5, evaluation_seconds=1.0, local_steps=2)
    seen = {"plain": _train(small)}
    for name, fields in VARIANTS.items():
        spec = changed(small, checkpoint_every=1, **fields)
        seen[name] = _train(spec, folder=tmp_path / name)
        assert np.array_equal(_train(spec, folder=tmp_path / name, resume_at=1), seen[name]), name
    assert len({weights.tobytes() for weights in seen.values()}) == len(seen)


def test_no_gradient_reaches_the_convolutions_when_scaled_by_zero(small: Federation) -> None:
    def moved(scale: float) -> float:
        trainer = Trainer(changed(small, feature_gradient_scale=scale), 5)
        before = vector.flatten(trainer.model)
        after = before.copy()
        trainer.train(TrainJob(0, 0, 0), before, after)
        convolutions = sum(p.numel() for p in trainer.model.wav2vec2.feature_extractor.parameters())
        start = next(
            sum(p.numel() for _, p in list(trainer.model.named_parameters())[:i])
            for i, (n, _) in enumerate(trainer.model.named_parameters())
            if "feature_extractor" in n
        )
        return float(np.abs(after - before)[start : start + convolutions].max())

    assert moved(0.0) == 0.0
    assert moved(1.0) > 0.0


def test_fedprox_keeps_clients_closer(small: Federation) -> None:
    def distance(pull: float) -> float:
        spec = changed(
            small, aggregate="fedprox", proximal=pull, local_steps=4, optimizer="sgd", learning_rate=0.02
        )
        trainer = Trainer(spec, 5)
        before = vector.flatten(trainer.model)
        after = before.copy()
        trainer.train(TrainJob(0, 0, 0), before, after)
        return float(np.linalg.norm(after - before))

    assert distance(40.0) < 0.9 * distance(0.0)


def test_the_optimizers_state_makes_the_round_trip(small: Federation) -> None:
    spec = changed(small, optimizer_state="averaged")
    trainer = Trainer(spec, 5)
    count = trainer.parameters
    assert state.length(count, spec.learning) == 3 * count + 1
    sent = np.random.default_rng(0).normal(size=3 * count + 1).astype(np.float32)
    sent[2 * count :] = np.abs(sent[2 * count :])
    optimizer = state.make_optimizer(trainer.model, spec.learning, 1e-3)
    out = np.zeros_like(sent)
    state.put(sent, trainer.model, optimizer, spec.learning)
    state.take(trainer.model, optimizer, spec.learning, out)
    assert np.array_equal(sent, out)


def test_centralised_carries_everything_from_round_to_round(small: Federation) -> None:
    """Rounds of one pooled client hand weights, moments and step count on unchanged."""
    spec = baselines.centralised(changed(small, clients_per_round=2, learning_rate=1e-3))
    assert (spec.learning.clients_per_round, spec.learning.local_steps) == (1, 2)
    federated = _train(spec, rounds=2)
    trainer = Trainer(spec, 5)
    sent = np.zeros(state.length(trainer.parameters, spec.learning), np.float32)
    vector.flatten(trainer.model, sent[: trainer.parameters])
    with make_learner(spec, 5) as learner:
        picks = [learner._choose(np.arange(4), np.ones(4, bool), r)[0] for r in range(2)]
    for r, client in enumerate(picks):
        out = np.empty_like(sent)
        trainer.train(TrainJob(client, r, 0), sent, out)
        sent = out
    assert np.abs(sent[: trainer.parameters] - federated).max() < 1e-7
    assert sent[-1] == 4.0


def test_local_only_hears_one_part(small: Federation) -> None:
    spec = baselines.local_only(small, part=1)
    trainer = Trainer(spec, 5)
    speaker = trainer.data.corpus.speaker
    assert {speaker[u] for c in range(9) for u in trainer.holdings.of(c)} == {
        speaker[trainer.data.parts[1][0]]
    }


def test_a_gpu_that_is_not_there_is_an_input_error(
    small: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ScenarioError, match="torch finds no GPU"):
        Trainer(changed(small, device="cuda"), 5)


def test_a_server_optimizers_state_is_in_the_checkpoint(small: Federation, tmp_path: Path) -> None:
    _train(changed(small, aggregate="fedadam"), rounds=1, folder=tmp_path)
    held = checkpoint.read(checkpoint.path(tmp_path, 1))
    assert set(held.group("server")) == {"first", "second"}
    assert np.abs(np.asarray(held.group("server")["first"])).max() > 0

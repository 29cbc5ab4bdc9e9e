"""The learner: equal bits on any number of workers, rejected updates, resume, clear failures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from federations import changed, federation
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from fedsim import checks
from fedsim.errors import FedsimError, RunError, ScenarioError
from fedsim.learning import Federation, Learning, RoundLearning, checkpoint, make_learner
from fedsim.learning.accumulator import Accumulator
from fedsim.learning.learner import FederatedLearner
from fedsim.learning.local import TrainJob


def _round(
    learner: FederatedLearner, index: int, clients: list[int], base: list[int] | None = None
) -> RoundLearning:
    count = len(clients)
    bases = np.array(base if base is not None else [index] * count, np.int64)
    return learner.train(index, np.array(clients, np.int64), bases)


def test_one_and_two_workers_give_equal_bits(small: Federation, tmp_path: Path) -> None:
    results: list[Any] = []
    for workers in (1, 2):
        with make_learner(small, 5, workers, tmp_path / str(workers)) as learner:
            metrics = [learner.initial_metrics()]
            rounds = [_round(learner, r, [4, 1, 0, 3, 2]) for r in range(2)]
            metrics += [r.metrics for r in rounds]
            results.append((learner.weights().tobytes(), metrics, [r.loss.tobytes() for r in rounds]))
            assert len(psutil.Process().children()) >= (workers if workers > 1 else 0)
    assert results[0] == results[1]
    one, two = (checkpoint.read(checkpoint.path(tmp_path / w, 2)) for w in ("1", "2"))
    assert one.metadata == two.metadata
    assert {k: v.tobytes() for k, v in one.tensors.items()} == {
        k: v.tobytes() for k, v in two.tensors.items()
    }


def test_what_a_round_reports(small: Federation) -> None:
    with make_learner(small, 5) as learner:
        before = learner.weights()
        first = _round(learner, 0, [4, 1, 0, 3, 2])
        second = _round(learner, 1, [4, 1, 0, 3, 2])
        third = _round(learner, 2, [])
        assert not np.array_equal(before, learner.weights())
    trained = np.isfinite(first.loss)
    assert trained.sum() == small.learning.clients_per_round
    assert first.accepted.all()
    assert first.weight.sum() == pytest.approx(1.0, abs=1e-15)
    assert ((first.weight > 0) == trained).all()
    assert first.examples.tolist() == learner.trains_on(np.array([4, 1, 0, 3, 2])).tolist()
    counts = first.examples[trained]
    assert first.weight[trained] == pytest.approx(counts / counts.sum())
    assert {(m, s) for m, s, _ in first.metrics} == {
        ("loss", "train"), ("contrastive_accuracy", "train"), ("codebook_perplexity", "train"),
    }  # fmt: skip
    assert {s for _, s, _ in second.metrics} == {"train", "validation"}
    assert {s for _, s, _ in third.metrics} == {"validation"}
    assert third.weight.shape == (0,)


def test_the_draw_of_trained_clients_does_not_depend_on_their_order(small: Federation) -> None:
    with make_learner(small, 5) as learner:
        able = np.ones(5, bool)
        one = learner._choose(np.array([9, 4, 7, 1, 3]), able, 3)
        other = learner._choose(np.array([3, 1, 7, 4, 9]), able, 3)
        assert {[9, 4, 7, 1, 3][p] for p in one} == {[3, 1, 7, 4, 9][p] for p in other}
        picks = {tuple(learner._choose(np.arange(5), able, r)) for r in range(40)}
        assert len(picks) > 5


def test_fedavg_over_identical_clients_is_one_client(small: Federation) -> None:
    spec = changed(small, clients_per_round=1)
    with make_learner(spec, 2) as alone, make_learner(changed(small, clients_per_round=4), 2) as many:
        _round(alone, 0, [3])
        many._jobs = lambda clients, base, chosen, r: [TrainJob(3, r, 0)] * len(chosen)  # type: ignore[method-assign]
        outcome = _round(many, 0, [3, 3, 3, 3])
        assert outcome.weight == pytest.approx([0.25] * 4)
        assert np.array_equal(alone.weights(), many.weights())


class _Doctored:
    """A pool whose results are changed on the way, as a faulty client would."""

    def __init__(self, pool: Any, spoil: dict[int, str]) -> None:
        self.pool, self.spoil, self.versions = pool, spoil, pool.versions

    def run(self, jobs: list[Any]) -> Iterator[tuple[Any, NDArray[np.float32]]]:
        for job, (report, weights) in zip(jobs, self.pool.run(jobs), strict=True):
            fault = self.spoil.get(getattr(job, "client", -1))
            if fault == "nan":
                weights[7] = np.nan
            elif fault == "loss":
                report = replace(report, sums=Accumulator({**report.sums.sums, "loss": math.inf}))
            yield report, weights[:-1] if fault == "shape" else weights

    def close(self) -> None:
        self.pool.close()


def test_a_spoilt_update_is_rejected_and_leaves_no_trace(small: Federation) -> None:
    spec = changed(small, clients_per_round=9, aggregate="loss-weighted")
    with make_learner(spec, 2) as clean, make_learner(spec, 2) as dirty:
        dirty._pool = _Doctored(dirty._pool, {0: "nan", 2: "loss", 3: "shape"})  # type: ignore[assignment]
        expected = _round(clean, 0, [1, 4])
        outcome = _round(dirty, 0, [0, 1, 2, 3, 4])
        assert outcome.accepted.tolist() == [False, True, False, False, True]
        assert outcome.weight.tolist() == [0.0, expected.weight[0], 0.0, 0.0, expected.weight[1]]
        assert np.array_equal(clean.weights(), dirty.weights())
        only = _round(dirty, 1, [0, 2, 3])
        assert not only.accepted.any()
        assert only.weight.sum() == 0
        assert np.array_equal(clean.weights(), dirty.weights())


def test_torchs_global_state_is_left_alone(small: Federation) -> None:
    torch.manual_seed(1)
    numbers, threads = torch.random.get_rng_state(), torch.get_num_threads()
    with make_learner(small, 5) as learner:
        _round(learner, 0, [1])
    assert torch.equal(numbers, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


def test_two_learners_side_by_side_do_not_meet(small: Federation) -> None:
    with make_learner(small, 5) as alone:
        for r in range(2):
            _round(alone, r, [0, 1])
        expected = alone.weights()
    with make_learner(small, 5) as one, make_learner(changed(small, learning_rate=0.1), 6) as other:
        for r in range(2):
            _round(other, r, [1, 2])
            _round(one, r, [0, 1])
        assert np.array_equal(one.weights(), expected)
        assert not np.array_equal(other.weights(), expected)


def test_late_updates_start_from_the_model_they_were_sent(small: Federation) -> None:
    spec = changed(small, rounds=9, max_staleness=2, clients_per_round=1, aggregate="uniform")
    with make_learner(spec, 5) as learner, make_learner(spec, 5) as plain:
        versions = [learner.weights()]
        for r in range(3):
            _round(learner, r, [r])
            versions.append(learner.weights())
        outcome = _round(learner, 3, [2], base=[1])
        update = learner.weights().astype(np.float64) - versions[3]
        # the same client trained in the same round from version 1, in a learner that stands there
        _round(plain, 0, [0])
        _round(plain, 3, [2])
        fresh = plain.weights().astype(np.float64) - versions[1]
        assert np.abs(update - fresh).max() < 1e-6
        assert outcome.accepted.all()
        assert not _round(learner, 4, [1], base=[1]).accepted.any()  # three rounds late


def test_a_resumed_learner_goes_on_with_the_same_bytes(small: Federation, tmp_path: Path) -> None:
    spec = changed(small, max_staleness=1, checkpoint_every=1)
    with make_learner(spec, 5, 1, tmp_path / "a") as whole:
        whole.initial_metrics()
        for r in range(3):
            _round(whole, r, [0, 1], base=[r, max(0, r - 1)])
        expected = whole.weights()
    for done in (0, 1, 2):
        for later in range(done + 1, 4):
            checkpoint.path(tmp_path / "a", later).unlink(missing_ok=True)
        with make_learner(spec, 5, 1, tmp_path / "a") as again:
            assert again.restore(done) == done
            for r in range(done, 3):
                _round(again, r, [0, 1], base=[r, max(0, r - 1)])
            assert np.array_equal(again.weights(), expected)
    assert checkpoint.available(tmp_path / "a") == [0, 1, 2, 3]


def test_rounds_without_updates_leave_no_checkpoint_and_resume_all_the_same(
    small: Federation, tmp_path: Path
) -> None:
    spec = changed(small, rounds=9, max_staleness=1)
    with make_learner(spec, 5, 1, tmp_path) as whole:
        whole.initial_metrics()
        for r in (0, 3):
            _round(whole, r, [0, 1])
        _round(whole, 5, [0, 1], base=[5, 4])
        expected = whole.weights()
    assert checkpoint.available(tmp_path) == [0, 4, 6]
    checkpoint.path(tmp_path, 6).unlink()
    with make_learner(spec, 5, 1, tmp_path) as again:
        assert again.restore(5) == 5
        _round(again, 5, [0, 1], base=[5, 4])
        assert np.array_equal(again.weights(), expected)


def test_checkpoints_are_named_thinned_and_refused(small: Federation, tmp_path: Path) -> None:
    spec = changed(small, rounds=7, evaluate_every=9, checkpoint_every=3, clients_per_round=1)
    with make_learner(spec, 5, 1, tmp_path) as learner:
        learner.initial_metrics()
        for r in range(5):
            _round(learner, r, [0])
        held = checkpoint.read(checkpoint.path(tmp_path, 5))
        flat = np.concatenate([v.reshape(-1) for v in held.group("model").values()])
        assert sorted(flat.tolist()) == sorted(learner.weights().tolist())
    assert checkpoint.available(tmp_path) == [0, 3, 4, 5]
    with (
        make_learner(spec, 6, 1, tmp_path) as stranger,
        pytest.raises(RunError, match="another scenario or seed"),
    ):
        stranger.restore()
    file = checkpoint.path(tmp_path, 5)
    tensors = load_file(file)
    first = next(name for name in tensors if name.startswith("model."))
    for wrong, said in (
        ({first: tensors[first].reshape(-1)[:-1]}, f"{first}: is .*; this model needs"),
        ({first: tensors[first].astype(np.float64)}, f"{first}: is .*; this model needs"),
        ({"model.other": np.zeros(3, np.float32)}, "model.other: is not a tensor of this model"),
    ):
        save_file(tensors | wrong, file, held.metadata)
        with make_learner(spec, 5, 1, tmp_path) as learner, pytest.raises(RunError, match=said):
            learner.restore()
    del tensors[first]
    save_file(tensors, file, held.metadata)
    with (
        make_learner(spec, 5, 1, tmp_path) as learner,
        pytest.raises(RunError, match=f"{first}: is missing"),
    ):
        learner.restore()
    file.write_bytes(b"torn")
    with make_learner(spec, 5, 1, tmp_path) as learner, pytest.raises(RunError, match="cannot be read"):
        learner.restore()
    with (
        make_learner(spec, 5, 1, tmp_path / "none") as learner,
        pytest.raises(RunError, match="no checkpoint"),
    ):
        learner.restore(2)


def test_a_worker_that_dies_is_one_error_that_names_the_client(small: Federation) -> None:
    learner = make_learner(changed(small, local_steps=400), 5, 2)
    pids = [process.pid for process in learner._pool._processes]  # type: ignore[union-attr]
    learner.evaluate()
    original = learner._pool._await  # type: ignore[union-attr]

    def kill_then_wait(busy: dict[int, tuple[int, int]]) -> list[int]:
        for worker, (job, _) in busy.items():
            if job == 0:
                psutil.Process(pids[worker]).kill()
        return original(busy)

    learner._pool._await = kill_then_wait  # type: ignore[union-attr, method-assign]
    with pytest.raises(FedsimError, match=r"died while training client 0 in round 0 \(exit code -?\d+\)"):
        _round(learner, 0, [4, 1, 0])
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    with pytest.raises(FedsimError, match="have ended"):
        _round(learner, 0, [4, 1, 0])
    learner.close()


def test_a_worker_that_fails_says_what_and_for_whom(
    small: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_learner(small, 5) as learner:
        monkeypatch.setattr(learner._pool._trainer, "holdings", None)  # type: ignore[union-attr]
        with pytest.raises(FedsimError, match="training client 1 in round 0 failed: AttributeError"):
            _round(learner, 0, [1])


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"learning_rate": 0.0}, "learning.learning_rate"),
        ({"learning_rate": math.nan}, "learning.learning_rate"),
        ({"clients_per_round": 0}, "learning.clients_per_round"),
        ({"crop_seconds": 0.1}, "learning.crop_seconds"),
        ({"local_epochs": -1.0}, "learning.local_epochs"),
    ],
)
def test_an_impossible_learner_names_its_key(fields: dict[str, Any], key: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        checks.check(Learning, fields, key="learning", error=ScenarioError)
    assert caught.value.key == key


def test_an_unknown_model_and_too_many_parts_are_input_errors(small: Federation) -> None:
    with pytest.raises(ScenarioError, match="'wav2vec9'; one of"):
        make_learner(changed(small, model="wav2vec9"), 5)
    with pytest.raises(Exception, match="4 training speakers, too few for 5 parts"):
        make_learner(changed(small, parts=5), 5)


def test_rounds_do_not_go_back(small: Federation) -> None:
    with make_learner(small, 5) as learner:
        _round(learner, 1, [])
        with pytest.raises(FedsimError, match="round 1 was asked for after 2 rounds"):
            _round(learner, 1, [0])
        with pytest.raises(FedsimError, match="does not exist yet"):
            _round(learner, 2, [0], base=[3])


def test_schedules() -> None:
    spec = federation(rounds=12, learning_rate=1.0, warmup_rounds=3, decay="linear", gumbel_decay=0.5)
    assert [spec.rate(r) for r in range(3)] == [0.25, 0.5, 0.75]
    assert spec.rate(3) == 1.0
    assert spec.rate(11) == pytest.approx(0.1)
    assert [spec.task.temperature(r) for r in range(4)] == [2.0, 1.0, 0.5, 0.5]
    assert [r for r in range(12) if changed(spec, evaluate_every=5).evaluates(r)] == [4, 9, 11]

"""Kinds of steps: MeZO by hand, and gradients let go within the backward pass to the last bit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from federations import changed, learnt
from torch import nn

from fedsim.errors import ScenarioError
from fedsim.learning import Federation, Learning, steps, vector
from fedsim.learning.local import EvaluateJob, Trainer, TrainJob, fresh_model
from fedsim.learning.state import make_optimizer
from fedsim.learning.ways import Way
from fedsim.pricing.trained import FrozenCNN, LoRA
from fedsim.tasks import Task, Wav2Vec2
from fedsim.tasks.base import Outcome
from fedsim.tasks.classification import Classification
from fedsim.tasks.ctc import Ctc
from fedsim.tasks.language_model import LanguageModel
from fedsim.tasks.speech.corpus import Espeak

CORPUS = Espeak(speakers=6, minutes=0.6)
TASKS: dict[str, Task] = {
    "wav2vec2": Wav2Vec2(corpus=CORPUS, crop_seconds=1.0),
    "ctc": Ctc(corpus=CORPUS),
    "classification": Classification(channels=4, hidden=8),
    "language_model": LanguageModel(width=16, layers=2, heads=2, context=16),
}
MEZO = (Way(forward_only=True),)
CURVES = torch.tensor([1.0, 4.0, 0.25])


class Bowl(nn.Module):
    """Half the sum of a w squared: its gradient is a w, and a central difference along z is (a w) . z."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.tensor([2.0, -1.0]))
        self.two = nn.Parameter(torch.tensor([4.0]))

    def loss(self) -> Outcome:
        w = torch.cat([self.one, self.two])
        loss = (CURVES * w * w).sum() / 2
        return Outcome(loss, {})


def client(
    model: nn.Module, correct: steps.Correct | None = None, seed: int = 0, **options: Any
) -> steps.Client:
    learning = Learning(**{"optimizer": "sgd", "clip_norm": None, "learning_rate": 0.1, **options})
    return steps.Client(
        vector.trained(model),
        make_optimizer(model, learning, learning.learning_rate),
        learning,
        learning.learning_rate,
        correct,
        torch.amp.GradScaler("cpu", enabled=False),
        np.random.default_rng(seed),
    )


def direction(seed: int) -> torch.Tensor:
    """The direction of a client's first step on the bowl."""
    first = int(np.random.default_rng(seed).integers(2**63, size=2)[0])
    generator = torch.Generator().manual_seed(first)
    return torch.cat([torch.empty(n).normal_(generator=generator) for n in (2, 1)])


def test_a_forward_only_step_on_a_bowl_is_the_slope_along_its_direction() -> None:
    bowl, w = Bowl(), torch.tensor([2.0, -1.0, 4.0])
    z = direction(0)
    ahead = steps.ForwardOnly(client(bowl, perturbation=0.01))(bowl.loss)
    slope = float((CURVES * w) @ z)
    moved = torch.cat([bowl.one, bowl.two]).detach()
    assert torch.allclose(moved, w - 0.1 * slope * z, atol=2e-5)
    there = w + 0.01 * z
    assert float(ahead.loss) == pytest.approx(float((CURVES * there * there).sum() / 2), rel=1e-5)
    assert bowl.one.grad is None
    assert not ahead.loss.requires_grad


def test_on_average_it_is_the_gradients_step() -> None:
    """E[z z'] = 1, and so E[(g . z) z] = g: 1,000 directions leave about 5% of |g| in three dimensions."""
    bowl, w = Bowl(), torch.tensor([2.0, -1.0, 4.0])
    step, begin = steps.ForwardOnly(client(bowl, perturbation=0.1)), copy.deepcopy(bowl.state_dict())
    total = torch.zeros(3)
    for _ in range(1000):
        bowl.load_state_dict(begin)
        step(bowl.loss)
        total += (w - torch.cat([bowl.one, bowl.two]).detach()) / 0.1
    gradient = CURVES * w
    assert float((total / 1000 - gradient).norm()) < 0.15 * float(gradient.norm())


def test_both_passes_see_the_same_noise() -> None:
    """A loss that is nothing but noise and a constant slope: the noise cancels."""
    bowl, z = Bowl(), direction(0)

    def noisy() -> Outcome:
        loss = torch.randn(()) * 1e3 + bowl.one.sum() + bowl.two.sum()
        return Outcome(loss, {})

    steps.ForwardOnly(client(bowl, perturbation=1.0))(noisy)
    expected = torch.tensor([2.0, -1.0, 4.0]) - 0.1 * float(z.sum()) * z
    assert torch.allclose(torch.cat([bowl.one, bowl.two]).detach(), expected, atol=1e-3)


@pytest.mark.parametrize("way", [{}, {"release_gradients": True}, {"forward_only": True}], ids=str)
def test_the_rules_correction_comes_before_the_step(way: dict[str, bool]) -> None:
    """One that doubles every gradient doubles the step, whatever the kind."""
    ends = []
    for correct in (None, lambda n, gradient: gradient.mul_(2)):
        bowl, w = Bowl(), torch.tensor([2.0, -1.0, 4.0])
        with steps.of(Way(**way), client(bowl, correct)) as step:
            step(bowl.loss)
        ends.append(torch.cat([bowl.one, bowl.two]).detach() - w)
    assert torch.allclose(ends[1], 2 * ends[0], atol=1e-5)


def federation(task: Task, **values: Any) -> Federation:
    few = {"clients": 3, "rounds": 2, "clients_per_round": 2, "batch_size": 2, "local_steps": 3}
    base = Federation(learning=Learning(task=task, clip_norm=None, warmup_rounds=0))
    return changed(base, **{**few, **values})


def released(federation: Federation) -> Federation:
    """The same with gradients that are let go."""
    return replace(federation, ways=tuple(replace(way, release_gradients=True) for way in federation.ways))


def trained(federation: Federation) -> np.ndarray[Any, Any]:
    """What a client sends, weights and what goes with them."""
    from fedsim.learning import state

    trainer = Trainer(federation, 5)
    sent = np.zeros(state.length(trainer.parameters, federation.learning), np.float32)
    vector.flatten(trainer.model, sent[: trainer.parameters])
    first, second = np.empty_like(sent), np.empty_like(sent)
    trainer.train(TrainJob(0, 0, 0), sent, first)
    trainer.train(TrainJob(0, 1, 0), first, second)  # a worker's second job finds no hook of the first
    assert not np.array_equal(sent, first)
    assert all(p.grad is None for p in trainer.model.parameters()) or not federation.ways[0].release_gradients
    return np.concatenate([first, second])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("task", TASKS)
def test_released_gradients_give_the_weights_of_the_ordinary_step(task: str, optimizer: str) -> None:
    plain = federation(TASKS[task], optimizer=optimizer)
    assert np.array_equal(trained(plain), trained(released(plain)))


@pytest.mark.parametrize(
    "how",
    [
        {"optimizer_state": "averaged"},
        {"aggregate": "fedprox", "proximal": 1.0},
        {"ways": (Way(train=FrozenCNN()),)},
        {"ways": (Way(train=LoRA(rank=2)),)},
    ],
    ids=["averaged", "fedprox", "frozen", "lora"],
)
def test_released_gradients_with_what_else_concerns_them(how: dict[str, Any]) -> None:
    plain = federation(TASKS["wav2vec2"], **how)
    assert np.array_equal(trained(plain), trained(released(plain)))
    if "aggregate" in how:
        assert not np.array_equal(trained(plain), trained(federation(TASKS["wav2vec2"])))


def test_what_a_worker_did_before_in_another_way_leaves_nothing() -> None:
    """Each kind of step after each other gives what it gives alone, as if no gradient were left."""
    kinds = (Way(), Way(release_gradients=True), MEZO[0])
    spec = replace(federation(TASKS["language_model"], optimizer="sgd", learning_rate=1e-3), ways=kinds)
    sent = vector.flatten(Trainer(spec, 5).model)

    def after(first: int | None, way: int) -> bytes:
        trainer, out = Trainer(spec, 5), np.empty_like(sent)
        for job in () if first is None else (TrainJob(1, 0, 0, way=first),):
            trainer.train(job, sent, out)
        trainer.train(TrainJob(0, 0, 0, way=way), sent, out)
        return out.tobytes()

    for way in range(3):
        assert {after(first, way) for first in range(3)} == {after(None, way)}


def test_no_gradient_outlives_its_layers_backward_pass() -> None:
    """Counted before each of ten layers' gradients come, and after all: none; in the ordinary step ten."""

    def most(released: bool) -> int:
        net, alive = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(10))), []

        def count(*_: Any) -> None:
            alive.append(sum(p.grad is not None for p in net.parameters()))

        for layer in net:
            layer.register_full_backward_hook(count)
        with steps.of(Way(release_gradients=released), client(net)) as step:
            step(lambda: Outcome(net(torch.ones(1, 8, requires_grad=True)).sum(), {}))
        count()
        return max(alive)

    assert (most(False), most(True)) == (10, 0)


@pytest.mark.parametrize("task", ["wav2vec2", "language_model"])
def test_forward_only_gives_the_same_bytes_on_any_workers(task: str) -> None:
    spec = federation(TASKS[task], optimizer="sgd", ways=MEZO, learning_rate=1e-5, rounds=1)
    spec = changed(spec, **({"evaluation_seconds": 2.0} if task == "wav2vec2" else {"evaluation_tokens": 64}))
    weights, _ = learnt(spec)
    assert weights != vector.flatten(fresh_model(spec.task, 3)).tobytes()


@pytest.mark.parametrize("task", TASKS)
def test_forward_only_is_the_same_again_and_needs_no_gradients(task: str) -> None:
    spec = federation(TASKS[task], optimizer="sgd", ways=MEZO, learning_rate=1e-5)
    once = trained(spec)
    assert np.isfinite(once).all()
    assert np.array_equal(once, trained(spec))


def test_forward_only_goes_downhill() -> None:
    task = replace(TASKS["classification"], parts=1)
    spec = federation(task, optimizer="sgd", ways=MEZO, learning_rate=0.02, local_steps=800)
    trainer = Trainer(changed(spec, batch_size=32), 5)
    begin = vector.flatten(trainer.model)
    end = np.empty_like(begin)
    trainer.train(TrainJob(0, 0, 0), begin, end)
    first, last = (trainer.evaluate(EvaluateJob("validation", 0, 9, 0), at).mean_loss for at in (begin, end))
    assert last < first - 0.05


def test_what_cannot_be_is_one_sentence() -> None:
    refused: list[tuple[Callable[[], Any], str]] = [
        (
            lambda: Federation(ways=MEZO),
            "learning.optimizer: is 'adam', and steps without a backward pass (training.forward_only) are"
            " sgd",
        ),
        (
            lambda: Federation(learning=Learning(optimizer="sgd"), ways=MEZO),
            "learning.clip_norm: is 2, and training.forward_only has no gradient to clip; give null",
        ),
        (
            lambda: Federation(ways=(Way(), Way(release_gradients=True))),
            "learning.clip_norm: is 2, and training.release_gradients lets each gradient go before the norm"
            " of all is known; give null",
        ),
    ]
    for make, said in refused:
        with pytest.raises(ScenarioError) as fault:
            make()
        assert str(fault.value) == said
    scaled = client(Bowl())
    scaled = steps.Client(**{**vars(scaled), "scaler": type("On", (), {"is_enabled": lambda self: True})()})
    with (
        pytest.raises(ScenarioError, match="releases gradients, which float16 cannot do"),
        steps.released(scaled),
    ):
        pass

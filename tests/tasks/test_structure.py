"""A model's layers and its head are those of its layer trace, though the model itself is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from torch import nn

from fedsim.errors import ScenarioError
from fedsim.options import kind
from fedsim.pricing import load_trace
from fedsim.tasks import Task, Wav2Vec2
from fedsim.tasks.classification import Classification
from fedsim.tasks.language_model import LanguageModel
from fedsim.tasks.structure.layers import structure_of

TASKS = {
    "wav2vec2-tiny": Wav2Vec2(model="wav2vec2-tiny"),
    "wav2vec2-large": Wav2Vec2(model="wav2vec2-large"),
    "language_model": LanguageModel(),
    "digits-cnn": Classification(),
}


def sizes(task):
    return {name: p.numel() for name, p in task.build().named_parameters()}


@pytest.mark.parametrize("name", [name for name in TASKS if name != "wav2vec2-large"])
def test_layers_and_head_have_the_parameters_that_the_trace_says(name):
    trace, found, own = load_trace(name), structure_of(TASKS[name]), sizes(TASKS[name])
    paths = [layer.removeprefix("wav2vec2.") for layer in found.layers]
    mine = dict.fromkeys(paths, 0)
    last = 0
    for number, layer in enumerate(trace.layers):
        for path in paths:
            if f"{layer.name}.".startswith(f"{path}."):
                mine[path] += layer.parameters
                last = number
    for path, layer in zip(paths, found.layers, strict=True):
        assert mine[path] == sum(n for p, n in own.items() if p.startswith(f"{layer}.")) > 0
    assert sum(layer.parameters for layer in trace.layers[last + 1 :]) == sum(own[p] for p in found.head)


def test_what_the_layers_of_shipped_models_are():
    counts = {name: len(structure_of(task).layers) for name, task in TASKS.items()}
    assert counts == {"wav2vec2-tiny": 3, "wav2vec2-large": 24, "language_model": 2, "digits-cnn": 4}
    cut = {name: structure_of(task).stack for name, task in TASKS.items()}
    assert cut["digits-cnn"] is None
    assert cut["language_model"] == "blocks"
    assert cut["wav2vec2-tiny"] == cut["wav2vec2-large"] == "wav2vec2.encoder.layers"
    assert structure_of(TASKS["wav2vec2-tiny"]).widths == (128,) * 3
    assert structure_of(TASKS["digits-cnn"]).widths == ()


class Odd(nn.Module):
    """Two layers that do not run in the order of their list, then a norm that is registered first."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.scale = nn.Parameter(torch.ones(4))
        self.idle = nn.Parameter(torch.ones(4))
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(4, w), nn.Linear(w, 4)) for w in (4, wide))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in reversed(self.layers):
            x = layer(x)
        return (self.norm(x) * self.scale).sum()


@dataclass(frozen=True, kw_only=True)
class OddTask(Task):
    """Of a test."""

    wide: int = 4
    fakes: bool = True
    task: Literal["odd"] = kind("odd", "of a test")

    def build(self):
        return Odd(self.wide)

    def fake_batch(self, batch, sizes):
        return torch.empty(batch, 4) if self.fakes else super().fake_batch(batch, sizes)

    def traced_loss(self, model, batch):
        return model(batch)


def test_order_and_head_follow_the_run_and_not_the_lists():
    found = structure_of(OddTask())
    assert found.layers == ("layers.1", "layers.0")
    assert found.head == {"norm.weight", "norm.bias", "scale"}
    assert found.linear == ("layers.1.0", "layers.1.1", "layers.0.0", "layers.0.1")
    assert [found.inside(name) for name in ("layers.1.0.weight", "layers.0", "norm", "layers.10")] == [
        1,
        2,
        None,
        None,
    ]
    assert found.stack is None  # its first entry is not its first layer


def test_layers_of_several_shapes_cannot_be_cut():
    assert structure_of(OddTask(wide=5)).stack is None


def test_a_task_without_a_fake_batch_is_one_sentence():
    with pytest.raises(
        ScenarioError, match=r"training\.train: needs the layers of the model, and the task 'odd' has no"
    ):
        structure_of(OddTask(fakes=False))


@dataclass(frozen=True, kw_only=True)
class OddNumbers(OddTask):
    """Asks for a number before its layers run, or behind them."""

    behind: bool = False
    task: Literal["odd-numbers"] = kind("odd-numbers", "of a test")

    def traced_loss(self, model, batch):
        scale = 1.0 if self.behind else batch.sum().item()
        loss = model(batch * scale)
        return loss * loss.item()


@dataclass(frozen=True, kw_only=True)
class ListTask(OddTask):
    """A model that is a list."""

    task: Literal["list"] = kind("list", "of a test")

    def build(self):
        return nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(3)))

    def traced_loss(self, model, batch):
        return model(batch).sum()


def test_a_model_that_asks_for_numbers_before_its_layers_have_run_is_one_sentence():
    said = r"training\.train: needs the layers of the model, which does not run without numbers: "
    with pytest.raises(ScenarioError, match=said) as caught:
        structure_of(OddNumbers())
    assert "\n" not in str(caught.value)


def test_a_loss_that_asks_for_numbers_behind_the_layers_does_no_harm():
    found, plain = structure_of(OddNumbers(behind=True)), structure_of(OddTask())
    assert (found.layers, found.linear, found.stack) == (plain.layers, plain.linear, plain.stack)
    assert found.head == plain.head | {"idle"}  # for all that can be known it may be used later


def test_a_model_may_be_its_list_of_layers():
    found = structure_of(ListTask())
    assert (found.layers, found.stack, found.head) == (("0", "1", "2"), "", frozenset())

"""What only the gradients of weights cost: by hand, and against steps in which the weights do not train."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn

from fedsim.pricing.layers import COUNTS
from fedsim.pricing.trace import parse_trace
from fedsim.tracing.fake import build
from fedsim.tracing.module import Module
from fedsim.tracing.recorder import Recorder
from fedsim.tracing.step import Step, Variant
from fedsim.tracing.trace import trace

VARIANTS = ("cpu/eager/fp32", "cuda/sdpa/fp32", "cuda/eager/mixed")


def record(make, *shape):
    mode, model = build(make)
    with mode:
        inputs = [torch.empty(*shape)]
        recorder = Recorder(model, inputs)
        with recorder:
            loss = model(*inputs).square().sum()
            recorder.start_backward()
            loss.backward()
        recorder.finish()
    return {layer.module: layer for layer in recorder.layers if not layer.idle}


def test_of_a_linear_layer_by_hand():
    layers = record(lambda: nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 7)), 11, 3)
    first, second = layers["0"], layers["1"]
    assert second.backward_flops == 2 * second.weight_flops == 4 * 11 * 5 * 7
    assert (second.backward_launches, second.weight_launches) == (
        3,
        2,
    )  # the input's; the weight's, the bias's
    gradient, kept, weight = 4 * 11 * 7, 4 * 11 * 5, 4 * 5 * 7
    assert second.weight_operand_bytes == gradient + kept + weight
    assert second.weight_stream_bytes == gradient + 4 * 7
    assert second.saved_bytes == second.weight_saved_bytes == kept
    assert first.weight_flops == first.backward_flops  # its input needs no gradient
    assert first.weight_saved_bytes == 0  # the batch itself


def test_of_a_convolution_by_hand():
    convolution = record(lambda: nn.Sequential(nn.Conv1d(2, 4, 1), nn.Conv1d(4, 6, 3)), 5, 2, 9)["1"]
    assert convolution.backward_flops == 2 * convolution.weight_flops == 4 * 5 * 7 * 6 * 4 * 3
    assert (convolution.backward_launches, convolution.weight_launches) == (3, 2)
    assert convolution.weight_operand_bytes == 4 * (6 * 4 * 3 + 6)
    assert convolution.saved_bytes == 4 * 5 * 4 * 9
    assert convolution.weight_saved_bytes == 0  # PyTorch keeps the input of a convolution for either gradient


class Fork(nn.Module):
    """Two linear layers of one tensor; what a third reads is kept for a sigmoid, too."""

    def __init__(self):
        super().__init__()
        self.root, self.a, self.b, self.c = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x):
        h = self.root(x)
        return self.c((self.a(h) + self.b(h)).sigmoid())


def test_what_is_kept_for_several_is_charged_to_the_first():
    layers = record(Fork, 3, 4)
    assert layers["a"].saved_bytes == layers["a"].weight_saved_bytes == 4 * 3 * 4
    assert layers["b"].saved_bytes == layers["b"].weight_saved_bytes == 0
    assert layers["b"].shares is not None
    assert layers["a"].shares is None
    assert layers["c"].weight_saved_bytes == 0  # the sigmoid keeps it anyway


class Net(nn.Module):
    """Convolutions with norms between, one of them with its weight normalised."""

    def __init__(self):
        super().__init__()
        self.root = nn.Conv1d(1, 8, 3)
        self.group, self.batch, self.layer = nn.GroupNorm(2, 8), nn.BatchNorm1d(8), nn.LayerNorm(8)
        self.plain = nn.Conv1d(8, 8, 3, padding=1)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv1d(8, 8, 3, padding=1, groups=2))
        self.one, self.two = nn.Linear(8, 4), nn.Linear(8, 4, bias=False)

    def forward(self, x):
        h = self.plain(self.group(self.root(x)).relu())
        h = self.layer(self.batch(self.normed(h)).relu().transpose(1, 2))
        return self.one(h) * self.two(h).sigmoid()


def small(kind):
    if kind == "net":
        return Module(
            "net",
            Net,
            lambda n, size: torch.zeros(n, 1, size),
            lambda net, x: net(x).square().mean(),
            {"size": 30},
        )
    if kind == "bert":
        config = transformers.BertConfig(
            vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48
        )
        config.architectures = ["BertForMaskedLM"]
    else:
        config = transformers.GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2)
        config.architectures = ["GPT2LMHeadModel"]
    return config


ROOTS = {
    "net": ("root",),
    "bert": ("word_embeddings", "position_embeddings", "token_type_embeddings", "predictions", "decoder"),
    "gpt2": ("wte", "wpe", "lm_head"),
}
"""Modules that train in either step: something has to, at the beginning; and what is tied to it."""


def held(step, size):
    """By module the metrics of a recorded step."""
    found = {}
    for layer in step.record(3, size).layers:
        row = found.setdefault(layer.module, dict.fromkeys(COUNTS, 0))
        for metric in COUNTS:
            row[metric] += getattr(layer, metric)
    return found


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["net", "bert", "gpt2"])
def test_without_its_weights_part_a_layer_costs_what_it_does_where_they_do_not_train(kind, variant):
    def freeze(model):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.split(".")[-2] in ROOTS[kind])

    how = Variant(*variant.split("/"))
    size = 30 if kind == "net" else 12
    whole, frozen = held(Step(small(kind), how), size), held(Step(small(kind), how, prepare=freeze), size)
    assert list(whole) == list(frozen)
    rooted = {m for m in whole if m.split(".")[-1] in ROOTS[kind]}
    for metric in ("flops", "launches", "operand_bytes", "stream_bytes"):
        ours = {
            module: row[f"backward_{metric}"] - (0 if module in rooted else row[f"weight_{metric}"])
            for module, row in whole.items()
        }
        assert sum(ours.values()) == sum(row[f"backward_{metric}"] for row in frozen.values()), metric
    kept = sum(
        row["saved_bytes"] - (0 if module in rooted else row["weight_saved_bytes"])
        for module, row in whole.items()
    )
    assert kept == sum(row["saved_bytes"] for row in frozen.values())
    assert sum(row["weight_flops"] for row in whole.values()) > 0


def test_a_trace_holds_the_parts_and_who_shares(tmp_path):
    held = parse_trace(trace(small("bert"), "small", [Variant("cpu", "eager", "fp32")]))
    layers = {layer.name: layer for layer in held.layers}
    name = "encoder.layer.1.attention.self"
    query, key = layers[f"bert.{name}.query"], layers[f"bert.{name}.key"]
    assert (key.shares, query.shares) == (query.name, None)
    dense = layers["bert.encoder.layer.0.intermediate.dense"]
    assert (dense.inputs, dense.outputs, dense.biases, dense.parameters) == (32, 48, 48, 32 * 48 + 48)
    axes = [int(n) for n in held.lengths(10)]
    assert dense.profile("cpu/eager/fp32")["weight_flops"].at(2, axes) == 2 * 2 * 10 * 32 * 48
    assert query.name in held.sources[f"bert.{name}.products_2"]

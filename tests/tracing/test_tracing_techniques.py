"""What follows from a trace about checkpointing and frozen encoders, against transformers' own."""

from __future__ import annotations

import pytest
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from fedsim.pricing.rates import FEATURES
from fedsim.pricing.technique import Technique
from fedsim.pricing.trained import FrozenCNN
from fedsim.pricing.work import collect
from fedsim.tracing.step import Step, Variant

BATCH, SAMPLES = 3, 22_000


def checkpoint(which):
    def prepare(model):
        model.activation_checkpointing_enable()
        for name, module in model.named_modules():
            if isinstance(module, GradientCheckpointingLayer):
                module.gradient_checkpointing = which == "both" or (which == "cnn") == ("conv_layers" in name)

    return prepare


def freeze(model):
    model.freeze_feature_encoder()


CASES = [
    (Technique(), None),
    (Technique(checkpointing="transformer"), checkpoint("transformer")),
    (Technique(checkpointing="cnn"), checkpoint("cnn")),
    (Technique(checkpointing="both"), checkpoint("both")),
    (Technique(train=FrozenCNN()), freeze),
    (
        Technique(train=FrozenCNN(), checkpointing="transformer"),
        lambda m: (freeze(m), checkpoint("transformer")(m)),
    ),
]


@pytest.mark.parametrize("variant", ["cpu/eager/fp32", "cuda/eager/mixed", "cuda/sdpa/fp32"])
@pytest.mark.parametrize(
    ("technique", "prepare"), CASES, ids=lambda x: str(x) if isinstance(x, Technique) else ""
)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_work_and_peak(small_config, small_trace, variant, technique, prepare):
    recorder = Step(small_config, Variant(*variant.split("/")), prepare=prepare).record(BATCH, SAMPLES)
    work = collect(small_trace, variant, technique)
    axes = [int(n) for n in small_trace.lengths(SAMPLES)]

    def ours(polynomial):
        return polynomial(BATCH, axes)

    layers = recorder.layers
    feature = dict(zip(FEATURES, map(ours, work.features), strict=True))
    direct_bytes = sum(
        layer.forward_operand_bytes
        + layer.forward_stream_bytes
        + layer.backward_operand_bytes
        + layer.backward_stream_bytes
        for layer in layers
    )
    our_bytes = feature["operand_bytes"] + feature["stream_bytes"]
    our_launches = feature["launches"]
    direct_launches = sum(layer.forward_launches + layer.backward_launches for layer in layers)
    assert ours(work.training_flops) == sum(layer.forward_flops + layer.backward_flops for layer in layers)
    if technique.train == FrozenCNN():
        # the first layer after a frozen encoder need not differentiate its input: one cast, one write
        assert 0 <= our_launches - direct_launches <= 1
        assert direct_bytes <= our_bytes <= 1.005 * direct_bytes
    else:
        assert our_launches == direct_launches
        assert our_bytes == direct_bytes

    peak = max(live for layer in layers for live in layer.forward_live_bytes + layer.backward_live_bytes)
    predicted = max(ours(m.saved + m.workspace) for m in work.timeline.moments) - ours(
        small_trace.input_bytes
    )
    assert peak <= predicted <= 1.02 * peak
    if technique == Technique():
        assert predicted == peak


@pytest.mark.parametrize("variant", ["cpu/eager/fp32", "cuda/sdpa/fp32", "cuda/eager/mixed"])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_the_largest_moment_of_a_frozen_encoder(small_config, small_trace, variant):
    recorder = Step(small_config, Variant(*variant.split("/")), prepare=freeze).record(BATCH, SAMPLES)
    axes = [int(n) for n in small_trace.lengths(SAMPLES)]
    moments = collect(small_trace, variant, Technique(train=FrozenCNN())).timeline.moments
    ours = max((m.saved + m.workspace)(BATCH, axes) for m in moments if ".conv_layers." in m.layer)
    direct = max(n for x in recorder.layers if ".conv_layers." in x.module for n in x.forward_live_bytes)
    assert ours - small_trace.input_bytes(BATCH, axes) == direct


def test_nothing_is_allocated(small_config):
    step = Step(small_config, Variant("cpu", "eager", "fp32"))
    assert all(type(p).__name__ == "FakeTensor" for p in (t.data for t in step.model.parameters()))
    step.trace(2, 16_000_000)  # 1,000 s: real tensors would take terabytes
    assert torch.tensor(1.0).item() == 1.0  # and fake mode is left behind

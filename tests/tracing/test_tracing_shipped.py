"""Traces that ship have their model's parameters and the FLOPs that torch counts, at sizes nobody fitted."""

from __future__ import annotations

from math import prod

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fedsim import paths
from fedsim.pricing import load_trace
from fedsim.tracing.configs import named
from fedsim.tracing.recorder import Recorder
from fedsim.tracing.step import Step, Variant

EAGER = Variant("cpu", "eager", "fp32")
FAST = ("digits-cnn", "language_model", "wav2vec2-tiny")
PARTS = ((2, 0.73), (3, 0.61), (7, 0.97))
"""Batches, and sizes in parts of the usual ones."""


def convolution_backward(grad, x, weight, *rest, out_val=None, **_):
    """By hand, since torch takes a grouped one for one that is not: as many products as gradients."""
    wanted = sum(rest[-1][:2])
    return 2 * wanted * grad[0] * prod(grad[2:]) * prod(weight)


COUNTED = {torch.ops.aten.convolution_backward: convolution_backward}


def counted(step, batch, sizes):
    """What torch counts in a forward pass, and in a whole step; the recorder only gives masks a shape."""
    with step.mode:
        inputs = step.subject.inputs(batch, *sizes)
        recorder = Recorder(step.model, [])
        with recorder, FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
            out = step.model(**inputs)
            forward = counter.get_total_flops()
            recorder.start_backward()
            (out if isinstance(out, torch.Tensor) else out.loss).backward()
            return forward, counter.get_total_flops()


@pytest.mark.parametrize(
    "name",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name in paths.names("traces", ".json")
    ],
)
def test_it_counts_as_torch_does(name):
    trace = load_trace(name)
    step = Step(named(name), EAGER)
    assert trace.parameters == sum(p.numel() for p in step.model.parameters())
    for batch, part in PARTS:
        sizes = [int(axis.usual * part) for axis in step.subject.axes]
        forward, backward = (
            sum(trace.per_layer(m, str(EAGER), batch, *(sizes or [1])))
            for m in ("forward_flops", "backward_flops")
        )
        theirs = counted(step, batch, sizes)
        off = trace.largest_error  # 0 where it is exact
        assert (forward, forward + backward) == pytest.approx(theirs, rel=off, abs=0)

"""What the recorder counts, against numbers derived by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedsim.tracing import flops
from fedsim.tracing.fake import build
from fedsim.tracing.recorder import Layer, Recorder


def record(make, *shapes, **needs) -> dict[str, Layer]:
    """Layers of one step of a module on fake inputs, by module name; the loss is a sum."""
    mode, model = build(make)
    with mode:
        inputs = [torch.empty(*shape, **needs) for shape in shapes]
        recorder = Recorder(model, inputs)
        with recorder:
            loss = model(*inputs).sum()
            recorder.start_backward()
            loss.backward()
        layers = recorder.finish()
    return {layer.module: layer for layer in layers if not layer.idle}


def test_linear():
    layer = record(lambda: nn.Sequential(nn.Linear(3, 5)), (2, 7, 3), requires_grad=True)["0"]
    rows = 2 * 7
    assert layer.arithmetic == "matmul"
    assert layer.forward_flops == 2 * rows * 3 * 5
    assert layer.backward_flops == 2 * (2 * rows * 3 * 5)
    assert layer.forward_operand_bytes == 4 * (rows * 3 + 3 * 5 + 5 + rows * 5)
    assert layer.forward_launches == 1
    assert layer.backward_launches == 3  # two products, and the bias adds up the rows


def test_linear_without_gradient_of_its_input():
    layer = record(lambda: nn.Sequential(nn.Linear(3, 5)), (2, 7, 3))["0"]
    assert layer.backward_flops == 2 * (2 * 7) * 3 * 5


def test_convolution():
    layer = record(lambda: nn.Sequential(nn.Conv1d(4, 6, 3, stride=2)), (2, 4, 21), requires_grad=True)["0"]
    frames = (21 - 3) // 2 + 1
    assert layer.arithmetic == "conv"
    assert layer.forward_flops == 2 * 2 * frames * 6 * 4 * 3
    assert layer.backward_flops == 2 * layer.forward_flops
    assert layer.backward_launches == 3


def test_grouped_convolution_costs_a_groupth_backward_too():
    def make(groups: int) -> nn.Module:
        return nn.Sequential(nn.Conv1d(8, 8, 5, padding=2, groups=groups, bias=False))

    whole = record(lambda: make(1), (3, 8, 10), requires_grad=True)["0"]
    grouped = record(lambda: make(4), (3, 8, 10), requires_grad=True)["0"]
    assert grouped.arithmetic == "grouped_conv"
    assert grouped.forward_flops == 2 * 3 * 10 * 8 * (8 // 4) * 5 == whole.forward_flops // 4
    assert grouped.backward_flops == 2 * grouped.forward_flops == whole.backward_flops // 4


def test_fused_attention_recomputes_scores():
    shape = (2, 3, 5, 4)
    scores = 2 * 2 * 3 * 5 * 5 * 4
    assert flops.count(flops.attention(shape, shape, shape)) == 2 * scores
    assert flops.count(flops.attention_backward(shape, shape, shape)) == 5 * scores


def test_saved_bytes_of_two_layers():
    layers = record(lambda: nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 2)), (7, 3))
    assert layers["0"].saved_bytes == 0  # keeps the input of the model, and weights
    assert layers["1"].saved_bytes == 4 * 7 * 5  # its input
    assert layers["2"].saved_bytes == 4 * 7 * 5  # its input, the activation


def test_a_tensor_kept_by_two_layers_counts_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.GELU()
            self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            y = self.shared(x)
            return self.left(y) + self.right(y)

    layers = record(Twice, (6, 4), requires_grad=True)
    assert layers["left"].saved_bytes == 4 * 6 * 4
    assert layers["right"].saved_bytes == 0


def test_views_and_allocations_are_no_kernels():
    class Shapes(nn.Module):
        def forward(self, x):
            return x.transpose(0, 1).reshape(-1)[2:].view(-1, 1).expand(-1, 3)

    layers = record(nn.Sequential, (4, 5), requires_grad=True)
    assert [layer.forward_launches for layer in layers.values()] == [1]  # the sum of the loss
    layers = record(lambda: nn.Sequential(Shapes()), (4, 5), requires_grad=True)
    assert layers["0"].forward_launches == 1  # the copy that reshape needs


def test_live_bytes_rise_and_fall():
    layers = record(lambda: nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 2)), (7, 3))
    hidden = 4 * 7 * 5
    assert layers["0"].forward_live_bytes == [hidden]
    assert layers["1"].forward_live_bytes == [2 * hidden]
    # backward of the activation: both hidden tensors, the gradients on both sides of it;
    # the gradients of weights are not counted here
    assert max(layers["1"].backward_live_bytes) == pytest.approx(3 * hidden + 4, abs=4)

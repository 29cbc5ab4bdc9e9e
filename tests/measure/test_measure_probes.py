"""The measurements beside the operators: what they count, and what they divide by."""

import pytest
import torch

from fedsim.measure import probes


class Constant:
    """A stopwatch that says the same for every call, and makes it."""

    clock = "a script"

    def __init__(self, seconds):
        self.value = seconds

    def seconds(self, call):
        call()
        return self.value


def test_launches_of_the_probe_are_counted_by_hand():
    # Forward, a block: norm, two linears, gelu, dropout (draw, divide, multiply), residual: 8.
    # Backward, a block: dropout 1, linears 2 x (2 products and a sum), gelu 1, norm 2, residual 1: 11,
    # but the first block's input needs no gradient: it adds nothing there, and its norm has one kernel less.
    # And the loss: a sum, and its 1.
    blocks = probes._BLOCKS
    assert probes.launches_of_stack() == 8 * blocks + 1 + 1 + 11 * blocks - 2


def test_a_launch_is_the_step_divided_by_its_launches():
    count = probes.launches_of_stack()
    assert probes.launch_s("cpu", Constant(count * 2e-6), runs=1) == pytest.approx(2e-6)


def test_adam_moves_eighteen_passes():
    # 18 reads or writes of 4 bytes for 1000 parameters in 0.5 s.
    rate = probes.optimizer_bytes_per_s("cpu", [(30, 30), (100,)], Constant(0.5))
    assert rate == pytest.approx(18 * 4 * 1000 / 0.5)


def test_a_copy_reads_and_writes(monkeypatch):
    monkeypatch.setattr(probes, "_COPY_BYTES", 4096)
    assert probes.copy_bytes_per_s("cpu", Constant(2.0)) == 4096


def test_a_product_is_two_flop_a_multiply_add(monkeypatch):
    assert probes.product_flops_per_s("cpu", "fp32", Constant(1.0)) == 2 * 1536**3


def test_parameters_are_left_out_where_memory_is_short():
    shapes = [(10, 10), (5,), (100, 100)]
    assert probes.affordable(shapes, 1e9) == shapes
    assert probes.affordable(shapes, 4 * 16 * 106) == shapes[:2]
    assert probes.affordable(shapes, 0.0) == shapes[:1]
    assert torch.Size(shapes[0]).numel() == 100

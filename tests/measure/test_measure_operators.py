"""What is timed is what the layer trace counts, and every operator runs on real memory."""

import pytest
import torch

from fedsim.measure.operators import TensorSpec, operators, specs
from fedsim.measure.replay import Replayer
from fedsim.pricing import FEATURES, Technique, load_trace
from fedsim.pricing.step_time import StepWork
from fedsim.tracing import configs
from fedsim.tracing.step import Step, Variant


@pytest.mark.parametrize(("batch", "samples"), [(1, 11_000), (3, 9_500)])
def test_operators_add_up_to_the_features_of_the_trace(tiny_step, batch, samples):
    found = operators(tiny_step, batch, samples)
    work = StepWork(load_trace("wav2vec2-tiny"), "cpu", Technique())
    expected = dict(zip(FEATURES, work.features(batch, samples) - work.per_step(), strict=True))
    assert expected.pop("examples") == batch  # no operator, but what a program does around them
    totals = dict.fromkeys(expected, 0)
    for o in found:
        totals["launches"] += o.count * o.cost.launches
        totals["stream_bytes" if o.kind == "stream" else "operand_bytes"] += o.count * o.cost.moved_bytes
        if o.kind != "stream":
            totals[f"{o.kind}_flops"] += o.count * o.cost.flops
    assert totals == {name: int(value) for name, value in expected.items()}


def test_repeated_layers_are_counted_and_not_listed(tiny_step):
    found = operators(tiny_step, 2, 9_500)
    width, inner = tiny_step.subject._config.hidden_size, tiny_step.subject._config.intermediate_size
    products = {list(specs(o.args))[-1].shape: o for o in found if o.name == "aten.addmm.default"}
    widening = products[width, inner]
    assert widening.count == tiny_step.subject._config.num_hidden_layers == 3
    assert widening.phase == "forward"


def test_shapes_are_readable(tiny_step):
    first = operators(tiny_step, 2, 9_500)[0]
    assert (first.name, first.kind) == ("aten.convolution.default", "conv")
    assert first.shapes.startswith("float32[2x1x9500] float32[")


def test_elements_are_what_a_tensor_spans():
    assert TensorSpec((4, 3), (3, 1), torch.float32).elements == 12
    assert TensorSpec((4, 3), (0, 1), torch.float32).elements == 3
    assert TensorSpec((), (), torch.float32).elements == 1
    assert TensorSpec((0, 3), (3, 1), torch.float32).elements == 0


ONLY_ON_CUDA = ("aten._softmax.default", "aten._softmax_backward_data.default")
"""With its conversion to fp32 fused in, which a CPU has no kernel for."""


@pytest.mark.parametrize(
    ("backend", "precision", "left_out"),
    [("cpu", "fp32", ()), ("cuda", "fp32", ()), ("cuda", "mixed", ONLY_ON_CUDA)],
)
def test_every_operator_of_a_step_runs(backend, precision, left_out):
    step = Step(configs.preset("wav2vec2-tiny"), Variant(backend, "eager", precision))
    replayer = Replayer("cpu")
    for operator in operators(step, 2, 9_500):
        if operator.name not in left_out:
            with torch.no_grad():
                assert replayer.call(operator)() is not None, operator.name


def test_bfloat16_takes_the_place_of_float16():
    step = Step(configs.preset("wav2vec2-tiny"), Variant("cpu", "eager", "mixed"))
    convolution = next(o for o in operators(step, 2, 9_500) if o.kind == "conv")
    call = Replayer("cpu").call(convolution, {torch.float16: torch.bfloat16})
    with torch.no_grad():
        assert call().dtype is torch.bfloat16


def test_softmax_is_of_float32_where_bfloat16_takes_the_place_of_float16():
    step = Step(configs.preset("wav2vec2-tiny"), Variant("cuda", "eager", "mixed"))
    found = {o.name: o for o in operators(step, 2, 9_500) if "softmax" in o.name and "float16" in str(o.args)}
    assert set(found) == {"aten._softmax.default", "aten._softmax_backward_data.default"}
    assert found["aten._softmax.default"].args[2] is True
    assert found["aten._softmax_backward_data.default"].args[3] is torch.float16
    for operator in found.values():
        call = Replayer("cpu").call(operator, {torch.float16: torch.bfloat16})
        with torch.no_grad():
            assert call().dtype is torch.float32


def test_what_is_overwritten_is_a_copy(tiny_step):
    replayer = Replayer("cpu")
    in_place = next(o for o in operators(tiny_step, 2, 9_500) if o.name == "aten.masked_fill_.Scalar")
    replayer.call(in_place)
    before = {dtype: pool.clone() for dtype, pool in replayer._pools.items()}
    replayer.call(in_place)()
    for dtype, pool in replayer._pools.items():
        assert torch.equal(pool, before[dtype])


def test_arguments_move_on_through_the_pool(tiny_step):
    replayer = Replayer("cpu")
    product = next(o for o in operators(tiny_step, 2, 9_500) if o.name == "aten.addmm.default")
    with torch.no_grad():
        assert not torch.equal(replayer.call(product)(), replayer.call(product)())

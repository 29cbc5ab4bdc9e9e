"""What trains decides what a step costs: by hand on a small trace, and that less never costs more."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.cli import main
from fedsim.errors import InputError
from fedsim.hardware import load_device
from fedsim.pricing import Pricer, StepWork, Technique, load_trace
from fedsim.pricing.inserted import inserted
from fedsim.pricing.states import course
from fedsim.pricing.structure import structure_of
from fedsim.pricing.trace import parse_trace
from fedsim.pricing.trained import (
    EVERYTHING,
    Adapters,
    Biases,
    FrozenCNN,
    Head,
    Last,
    LoRA,
    OneLayer,
)
from fedsim.pricing.travel import running, trained

SHIPPED = sorted(path.stem for path in Path("traces").glob("*.json"))
VARIANT = "cpu/eager/fp32"
ROWS = [1, 1, 0, 0]
"""The monomial of one row an example, as the first of its numbers is replaced."""


def rows(n):
    return [[n, *ROWS[1:]]] if n else []


def once(n):
    return [[n, 0, 0, 0]] if n else []


def linear(inputs, outputs, reached=True):
    """What a linear layer with a bias costs in fp32, by hand."""
    product = 2 * inputs * outputs
    return {
        "variants": [VARIANT],
        "forward_flops": rows(product),
        "backward_flops": rows(product * (2 if reached else 1)),
        "weight_flops": rows(product),
        "forward_launches": once(1),
        "backward_launches": once(3 if reached else 2),
        "weight_launches": once(2),
        "weight_stream_bytes": [[4 * outputs, 0, 0, 0], [4 * outputs, 1, 0, 0]],
        "backward_stream_bytes": [[4 * outputs, 0, 0, 0], [4 * outputs, 1, 0, 0]],
        "saved_bytes": rows(4 * inputs),
        "weight_saved_bytes": rows(4 * inputs),
    }


def relu(width):
    return {
        "variants": [VARIANT],
        "forward_launches": once(1),
        "backward_launches": once(1),
        "saved_bytes": rows(4 * width),
    }


def node(name, kind, block=None, inputs=None, outputs=None, **more):
    numbers = (inputs + 1) * outputs if inputs else 0
    return {
        "id": name,
        "class": "Linear" if inputs else "ReLU",
        "kind": kind,
        "group": "model",
        "arithmetic": "matmul" if inputs else None,
        "parameters": numbers,
        "tensors": 2 if inputs else 0,
        "sides": inputs + 2 * outputs if inputs else 0,
        "in_table1": False,
        "block": block,
        "profile": more.pop("profile", name),
        **({"inputs": inputs, "outputs": outputs, "biases": outputs} if inputs else {}),
        **more,
    }


def block(last):
    empty = {key: [] for key in ("kept_bytes", "tail_launches", "tail_operand_bytes", "tail_stream_bytes")}
    return {
        "stack": "transformer",
        "checkpointed": [{"variants": [VARIANT], "last": last, "input_bytes": rows(16), **empty}],
    }


@pytest.fixture(scope="module")
def small():
    """Two layers of a linear one (4 to 4) and a relu, and a head (4 to 2): 20 + 20 + 10 numbers."""
    nodes = [
        node("h.0.q", "matmul", "h.0", 4, 4),
        node("h.0.act", "elementwise", "h.0", profile="act"),
        node("h.1.q", "matmul", "h.1", 4, 4),
        node("h.1.act", "elementwise", "h.1", profile="act"),
        node("out", "matmul", None, 4, 2),
    ]
    names = [n["id"] for n in nodes]
    profiles = {
        "h.0.q": [linear(4, 4, reached=False)],
        "h.1.q": [linear(4, 4)],
        "act": [relu(4)],
        "out": [linear(4, 2)],
    }
    return parse_trace(
        {
            "graph": {
                "format": 3,
                "name": "small",
                "axes": [{"name": "none"}],
                "frames_axis": 0,
                "variants": [VARIANT],
                "input_bytes": [],
                "blocks": {"h.0": block("h.0.act"), "h.1": block("h.1.act")},
                "profiles": profiles,
            },
            "nodes": nodes,
            "edges": [{"source": a, "target": b} for a, b in itertools.pairwise(names)],
        }
    )


FORWARD = 32 + 32 + 16
"""FLOPs a row of the forward pass: two products of 4 x 4, one of 4 x 2."""

BY_HAND = {
    # (FLOPs a row, bytes kept a row, numbers that train)
    EVERYTHING: (FORWARD + 32 + 64 + 32, 5 * 16, 50),
    Last(2): (FORWARD + 32 + 64 + 32, 5 * 16, 50),
    Last(1): (FORWARD + 32 + 32, 3 * 16, 30),  # the second layer's input needs no gradient
    OneLayer(1): (FORWARD + 32 + 32 + 16, 3 * 16, 20),  # the relus' and its own
    OneLayer(2): (FORWARD + 32 + 16, 2 * 16, 20),
    OneLayer(2, head=True): (FORWARD + 32 + 32, 3 * 16, 30),
    Head(): (FORWARD + 16, 16, 10),
    Biases(): (FORWARD + 32 + 16, 2 * 16, 10),  # no product for weights; relus are kept
    Biases(head=True): (FORWARD + 32 + 32, 3 * 16, 8 + 10),
    # A and B: 2 x 2 x 4 forward each, as much for each weight and each input; x and A x are kept
    LoRA(2, modules=("q",)): (FORWARD + 64 + 48 + 64 + 32 + 16, 2 * (16 + 8) + 2 * 16, 32),
    LoRA(2, modules=("h.1.q",)): (FORWARD + 32 + 48 + 16, 16 + 8 + 16, 16),
    # down and up: 2 x 4 x 3 forward each, and twice that backward, but to the first layer's output
    Adapters(3): (FORWARD + 96 + 72 + 32 + 96 + 16, 16 + 12 + 16 + 16 + 12, 62),
}


@pytest.mark.parametrize("train", BY_HAND, ids=str)
def test_what_trains_by_hand(small, train):
    flops, kept, numbers = BY_HAND[train]
    technique = Technique(train=train)
    work = StepWork(small, "cpu", technique)
    assert work.several.training_flops(7, [1]) == 7 * flops
    assert work.several.timeline.saved(7, [1]) == 7 * kept
    assert work.trained_parameters == numbers
    assert work.optimizer.state_bytes == 8 * numbers
    assert sum(trained(small, technique).values()) == numbers
    assert Pricer(load_device("raspberry-pi-4"), small, technique).trained_bytes == 4 * numbers


def test_a_depth_by_hand(small):
    work = StepWork(small, "cpu", Technique(depth=1))
    assert work.several.training_flops(3, [1]) == 3 * (32 + 16 + 32 + 32)
    assert work.several.timeline.saved(3, [1]) == 3 * 3 * 16
    assert work.course.trace.parameters == 30
    assert running(small, Technique(depth=1)) == {"h.0.q", "h.0.q.bias", "out", "out.bias"}
    last = StepWork(small, "cpu", Technique(depth=1, train=Head()))
    assert last.several.training_flops(3, [1]) == 3 * (32 + 16 + 16)


def test_what_trains_by_part(small):
    assert trained(small, Technique(train=Last(1))) == {
        "h.1.q": 16,
        "h.1.q.bias": 4,
        "out": 8,
        "out.bias": 2,
    }
    assert trained(small, Technique(train=Biases())) == {"h.0.q.bias": 4, "h.1.q.bias": 4, "out.bias": 2}
    assert trained(small, Technique(train=LoRA(2, modules=("q",), head=True))) == {
        "h.0.q.lora": 16,
        "h.1.q.lora": 16,
        "out": 8,
        "out.bias": 2,
    }
    assert trained(small, Technique(train=Adapters(3))) == {"h.0.adapter": 31, "h.1.adapter": 31}
    for train in BY_HAND:
        technique = Technique(train=train)
        assert set(trained(small, technique)) <= running(small, technique)


def test_forward_passes_only_by_hand(small):
    work = StepWork(small, "cpu", Technique(forward_only=True))
    assert work.several.training_flops(3, [1]) == 3 * 2 * FORWARD
    assert work.several.forward_flops(3, [1]) == 3 * FORWARD
    assert work.several.timeline.saved(3, [1]) == 0
    assert work.optimizer.state_bytes == 0
    assert work.optimizer.moved_bytes == 4 * 4 * 4 * 50  # four times: a direction written, read, and added
    parts = Pricer(load_device("raspberry-pi-4"), small, Technique(forward_only=True)).footprint(3, 1)
    assert parts["gradients"] == parts["optimizer"] == 0


def test_released_gradients_by_hand(small):
    device = load_device("raspberry-pi-4")
    plain = Pricer(device, small, Technique())
    less = Pricer(device, small, Technique(release_gradients=True))
    assert plain.footprint(1, 1)["gradients"] == 4 * 50
    assert less.footprint(1, 1)["gradients"] <= 4 * 20  # of the largest layer
    assert less.work.optimizer.moved_bytes == plain.work.optimizer.moved_bytes
    assert less.work.optimizer.state_bytes == plain.work.optimizer.state_bytes


def test_a_block_that_neither_trains_nor_is_reached_is_not_run_again(small):
    again = [
        run.layer.name
        for run in StepWork(
            small, "cpu", Technique(checkpointing="transformer", train=Last(1))
        ).several.timeline.passes
        if run.again
    ]
    assert again == ["h.1.q", "h.1.act"]


def test_what_several_layers_keep_is_charged_to_the_first_of_them_that_trains(small):
    """The input of three products of one tensor: charged to the first; without it, to the next, once."""
    nodes = {layer.name: layer for layer in small.layers}
    empty = parse_profile(linear(4, 4), saved_bytes=[], weight_saved_bytes=[])
    first = replace(nodes["h.1.q"], name="h.1.q")
    more = [
        replace(first, name=name, shares="h.1.q", profiles={VARIANT: empty}) for name in ("h.1.k", "h.1.v")
    ]
    layers = [*small.layers[:3], *more, *small.layers[3:]]
    sources = dict(small.sources) | {"h.1.k": ("h.0.act",), "h.1.v": ("h.0.act",)}
    sources["h.1.act"] = ("h.1.q", "h.1.k", "h.1.v")
    three = replace(small, layers=tuple(layers), sources=sources)

    def kept(train):
        return StepWork(three, "cpu", Technique(train=train)).several.timeline.saved(1, [1])

    assert kept(Last(1)) == 3 * 16
    for modules in (("h.1.q",), ("h.1.k",), ("h.1.k", "h.1.v"), ("h.1.q", "h.1.v")):
        assert kept(LoRA(2, modules=modules)) == 16 + 8 * len(modules) + 16  # one input, each A x, a relu


def parse_profile(content, **changed):
    from fedsim.pricing.layers import Profile
    from fedsim.pricing.polynomial import Polynomial

    content = {**content, **changed}
    counts = {
        metric: Polynomial({tuple(term[1:]): term[0] for term in terms})
        for metric, terms in content.items()
        if metric != "variants"
    }
    return Profile(counts, {})


@pytest.mark.parametrize("name", SHIPPED)
def test_the_parts_of_a_layer_add_up(name):
    """For every shipped trace: neither part is negative, and kept for weights is no more than kept."""
    trace = load_trace(name)
    sizes = [{"samples": 16_000}.get(name, 64) for name in trace.sizes] or [1]
    for variant in trace.variants:
        if "@" in variant:
            continue

        def of(metric, variant=variant):
            return np.array(trace.per_layer(metric, variant, 2, *sizes))

        for part in ("flops", "operand_bytes", "stream_bytes", "launches"):
            assert (of(f"weight_{part}") >= 0).all()
            assert (of(f"weight_{part}") <= of(f"backward_{part}")).all()
        assert (of("weight_saved_bytes") >= 0).all()
        assert (of("weight_saved_bytes") <= of("saved_bytes")).all()
        assert {layer.shares for layer in trace.layers} - {None} <= {layer.name for layer in trace.layers}


def less_of(layers, width=8):
    """Things to train, each followed by others that train no more of the same model."""
    yield EVERYTHING, [FrozenCNN(), Last(layers), Biases(), OneLayer(1), Head()]
    for k in range(1, layers):
        yield Last(k + 1), [Last(k), OneLayer(layers), Head()]
    yield OneLayer(1, head=True), [OneLayer(1), Head()]
    yield Last(1), [Head(), OneLayer(layers), OneLayer(layers, head=True)]
    yield Biases(head=True), [Biases(), Head()]
    for make in (LoRA, Adapters):
        yield make(width, head=True), [make(width), make(width // 2, head=True)]
    yield LoRA(width), [LoRA(width // 2)]


def cost(device, trace, technique, batch, size):
    pricer = Pricer(device, trace, technique)
    return float(pricer.footprint_bytes(batch, size)), float(pricer.step_s(batch, size))


DEVICES = ("raspberry-pi-4", "jetson-xavier-nx")


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from([n for n in SHIPPED if "large" not in n and "2.0" not in n]),
    data=st.data(),
    device=st.sampled_from(DEVICES),
    batch=st.integers(1, 9),
    attention=st.sampled_from(["eager", "sdpa"]),
    checkpointing=st.sampled_from(["none", "transformer", "both"]),
    mixed=st.booleans(),
)
def test_training_fewer_layers_never_costs_more(name, data, device, batch, attention, checkpointing, mixed):
    trace, found = load_trace(name), load_device(device)
    layers = len(structure_of(trace).layers)
    more, fewer = data.draw(st.sampled_from([(a, b) for a, several in less_of(layers) for b in several]))
    precision = "mixed" if mixed and "mixed" in found.precisions else "fp32"
    plain = Technique(precision=precision, attention=attention, checkpointing=checkpointing)
    size = 40_000 if trace.sizes[:1] == ("samples",) else 100 if trace.sizes else 1
    try:
        whole = cost(found, trace, replace(plain, train=more), batch, size)
        less = cost(found, trace, replace(plain, train=fewer), batch, size)
    except InputError:  # the model has no such layers, or its trace says nothing of them
        return
    assert less[0] <= whole[0] * (1 + 1e-12)
    assert less[1] <= whole[1] * (1 + 1e-12)


def run(capsys, *asked):
    """The exit code, and what was printed."""
    with pytest.raises(SystemExit) as ended:
        main(list(asked))
    told = capsys.readouterr()
    return ended.value.code, told.out + told.err


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("last:13", "last:13, and wav2vec2-base has 12 layers"),
        ("layer:13", "layer:13, and wav2vec2-base has 12 layers"),
        ("lora:0", "0"),
        ("last:0", "0"),
        ("nonsense", "nonsense"),
        ("adapters:x", "x"),
    ],
)
def test_what_cannot_train_is_one_sentence(capsys, train, said):
    asked = ["--device", "raspberry-pi-4", "--model", "wav2vec2-base", "--train", train]
    for command in ("cost", "feasible"):
        code, told = run(capsys, command, *asked)
        assert code == 2
        assert said in told
        assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "depth", "said"),
    [
        ("wav2vec2-base", 13, "13 is beyond wav2vec2-base, which has 12 layers"),
        ("resnet-18", 2, "not alike"),
        ("whisper-tiny", 5, "not alike"),
        ("digits-cnn", 2, "not alike"),
    ],
)
def test_a_depth_that_cannot_be_is_one_sentence(capsys, model, depth, said):
    asked = ["--device", "raspberry-pi-4", "--model", model, "--depth", str(depth)]
    sizes = {"resnet-18": "pixels=64", "whisper-tiny": "tokens=8"}
    asked += ["--size", sizes[model]] if model in sizes else []
    code, told = run(capsys, "cost", *asked)
    assert code == 2
    assert said in told
    assert told.count("\n") == 1


def test_modules_that_do_not_exist(small):
    with pytest.raises(
        InputError, match="'k_proj' names no linear layer of small; there are q, out"
    ) as fault:
        course(small, Technique(train=LoRA(2, modules=("q", "k_proj"))))
    assert fault.value.key == "training.train.modules"
    with pytest.raises(InputError, match=r"only 1 layer .*run \(depth\)"):
        course(small, Technique(depth=1, train=Last(2)))


def test_without_names_queries_and_values_or_every_linear_layer_of_the_layers(small):
    assert set(trained(small, Technique(train=LoRA(2)))) == {"h.0.q.lora", "h.1.q.lora"}
    renamed = replace(
        small,
        layers=tuple(replace(x, name=x.name.replace("h.1.q", "h.1.v_proj")) for x in small.layers),
        sources={},
    )
    assert set(trained(renamed, Technique(train=LoRA(2)))) == {"h.1.v_proj.lora"}
    assert len(inserted(small, LoRA(2)).layers) == len(small.layers) + 4


def test_cost_says_what_trains(capsys):
    asked = ["cost", "--device", "raspberry-pi-4", "--model", "wav2vec2-base", "--json"]
    found = [json.loads(run(capsys, *asked, "--train", train)[1]) for train in ("all", "last:2")]
    assert found[1]["footprint_bytes"] < found[0]["footprint_bytes"]
    assert found[1]["step_s"] < found[0]["step_s"]
    assert found[1]["trained_bytes"] < found[0]["trained_bytes"] == 4 * found[0]["parameters"]

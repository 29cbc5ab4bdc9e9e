"""Lengths are found from the values that dimensions have, and repeated layers from the modules themselves."""

from __future__ import annotations

import pytest
from torch import nn

from fedsim.pricing.polynomial import lengths
from fedsim.tasks.structure.blocks import blocks
from fedsim.tracing.axes import discover, telling
from fedsim.tracing.repeats import place, shorten

RUNS = [(2, (97,)), (3, (97,)), (2, (60,)), (2, (73,)), (2, (88,)), (2, (51,))]


def values(of):
    return tuple(of(batch, size) for batch, (size,) in RUNS)


def conv(n, kernel, stride):
    return (n - kernel) // stride + 1


@pytest.mark.parametrize(
    ("of", "terms"),
    [
        (lambda b, n: 7, {(0, 0, 0): 7}),
        (lambda b, n: b, {(1, 0, 0): 1}),
        (lambda b, n: n, {(0, 0, 1): 1}),
        (lambda b, n: 3 * n - 2, {(0, 0, 1): 3, (0, 0, 0): -2}),
        (lambda b, n: 4 * b * n, {(1, 0, 1): 4}),
        (lambda b, n: b * n + 5, {(1, 0, 1): 1, (0, 0, 0): 5}),
        (lambda b, n: b * n + n, {(1, 0, 1): 1, (0, 0, 1): 1}),
        (lambda b, n: n * n, {(0, 0, 2): 1}),
        (lambda b, n: n * (2 * n - 1), {(0, 0, 2): 2, (0, 0, 1): -1}),
        (lambda b, n: b * b * n, {(2, 0, 1): 1}),
    ],
)
def test_dimensions_that_need_no_axis_of_their_own(of, terms):
    wanted = values(of)
    found = discover(["tokens"], RUNS, [wanted])
    assert len(found.axes) == 1
    assert {m: c for m, c in found.meaning[wanted].terms.items() if c} == terms


@pytest.mark.parametrize(
    "follows",
    [
        lambda n: n // 2,
        lambda n: -(-n // 3),
        lambda n: conv(n, 10, 5),
        lambda n: conv(conv(n, 10, 5), 3, 2),
        lambda n: -(-n // 8),
    ],
)
def test_a_length_that_follows_is_found_and_told_from_others(follows):
    runs = list(RUNS)
    for _ in range(20):
        found = discover(["tokens"], runs, [tuple(follows(n) for _, (n,) in runs)])
        more = telling(found, (48,), (97,)) if found.open else None
        if more is None:
            break
        assert (2, more) not in runs
        runs.append((2, more))
    assert len(found.axes) == 2
    assert found.axes[1].of == 0
    for n in range(48, 98):
        assert int(lengths(found.axes, n)[1]) == follows(n)


def test_a_scaled_length_is_one_axis_and_a_factor():
    wanted = values(lambda b, n: 8 * -(-n // 8))  # rounded up to 8
    found = discover(["tokens"], RUNS, [wanted])
    assert len(found.axes) == 2
    for batch, (n,) in RUNS:
        at = [int(x) for x in lengths(found.axes, n)]
        assert found.meaning[wanted].at(batch, at) == 8 * -(-n // 8)


def test_sums_and_products_of_two_lengths():
    half, product, both = (
        values(of)
        for of in (
            lambda b, n: n // 2,
            lambda b, n: n * (n // 2),
            lambda b, n: n + n // 2,
        )
    )
    found = discover(["tokens"], RUNS, [half, product, both])
    assert len(found.axes) == 2
    assert found.meaning[product].terms == {(0, 0, 1, 1, 1): 1}
    assert {m: c for m, c in found.meaning[both].terms.items() if c} == {(0, 0, 1): 1, (0, 1, 1): 1}


def test_twice_a_sum_or_a_product_less_one():
    # as relative positions have it, over what was joined or laid out flat
    half, joined, flat = (
        values(of)
        for of in (
            lambda b, n: -(-n // 2),
            lambda b, n: 2 * (n + -(-n // 2)) - 1,
            lambda b, n: 2 * n * -(-n // 2) - 1,
        )
    )
    found = discover(["tokens"], RUNS, [half, joined, flat])
    assert len(found.axes) == 2
    assert found.meaning[joined].terms == {
        (0, 0, 1): 2,
        (0, 1, 1): 2,
        (0, 0, 0): found.meaning[joined].terms[0, 0, 0],
    }
    assert found.meaning[flat].terms.keys() >= {(0, 0, 1, 1, 1)}
    for batch, (n,) in RUNS:
        at = [int(x) for x in lengths(found.axes, n)]
        assert found.meaning[joined].at(batch, at) == 2 * (n + -(-n // 2)) - 1
        assert found.meaning[flat].at(batch, at) == 2 * n * -(-n // 2) - 1


def test_what_follows_from_nothing_has_no_meaning():
    odd = values(lambda b, n: (n * 7919) % 101 + 1)
    found = discover(["tokens"], RUNS, [odd])
    assert found.meaning[odd] is None
    assert len(found.axes) == 1


def layer():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU())


def model_of(*lists):
    model = nn.Module()
    for name, entries in zip(("one", "two"), lists, strict=False):
        setattr(model, name, nn.ModuleList(entries))
    return model


def test_layers_between_the_first_and_the_last_alike_stand_for_each_other():
    model = model_of([nn.Linear(4, 6), *(layer() for _ in range(6)), nn.Linear(4, 4)], [layer()] * 1)
    assert shorten(model) == {"one": ((0,), (1,), (2, 3, 4, 5), (6,), (7,))}
    assert [type(m).__name__ for m in model.one] == ["Linear", *["Sequential"] * 3, "Linear"]
    assert len(model.two) == 1
    assert place("one.2.0", {"one": ()}) == ("one", 2, ".0")
    assert place("two.0", {"one": ()}) is None


@pytest.mark.parametrize(
    "entries",
    [
        [layer() for _ in range(3)],  # as many as would be kept
        [nn.Linear(4, 4 + i) for i in range(6)],  # none like another
        [nn.Conv1d(4, 4, 3, stride=2, padding=1) for _ in range(6)],  # each halves the length
        [nn.Conv1d(4, 4, 3) for _ in range(6)],  # each takes two off
        [nn.Sequential(nn.MaxPool1d(2)) for _ in range(6)],
    ],
)
def test_lists_that_are_left(entries):
    model = model_of(entries)
    assert shorten(model) == {}
    assert len(model.one) == len(entries)


def test_of_nested_lists_the_outer_is_shortened():
    model = model_of([nn.Sequential(*(layer() for _ in range(5))) for _ in range(5)])
    assert shorten(model) == {"one": ((0,), (1, 2, 3), (4,))}
    assert [len(inner) for inner in model.one] == [5, 5, 5]


def test_blocks_are_what_stands_beside_others_of_its_class():
    cnn = [nn.Sequential(nn.Conv1d(4, 4, 3), nn.ReLU()) for _ in range(2)]
    model = model_of([layer(), layer()], cnn)
    assert blocks(model) == {
        "one.0": "transformer",
        "one.1": "transformer",
        "two.0": "cnn",
        "two.1": "cnn",
    }
    assert blocks(model_of([layer()], [nn.Linear(4, 4), nn.Linear(4, 4)])) == {}
    nested = model_of([nn.Sequential(layer(), layer()) for _ in range(2)])
    assert list(blocks(nested)) == ["one.0", "one.1"]

"""Random small networks: whatever they make of their sizes is found, and counted as torch itself counts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from fedsim.pricing.trace import parse_trace
from fedsim.tracing.module import Module
from fedsim.tracing.step import VARIANTS
from fedsim.tracing.trace import trace

WIDTH = 4
FUSED = {  # torch knows those of CUDA alone
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(
        q, k, v
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda g, q, k, v, *_, **__: (
        sdpa_backward_flop_count(g, q, k, v)
    ),
}


def flops(model, batch, loss):
    """What torch counts in a forward pass, and in a whole step."""
    counted = []
    for backward in (False, True):
        with FlopCounterMode(display=False, custom_mapping=FUSED) as counter:
            found = loss(model, batch)
            if backward:
                found.backward()
        counted.append(counter.get_total_flops())
    return counted


class Convolved(nn.Module):
    """A convolution of one or two dimensions."""

    def __init__(self, dimensions, kernel, stride, padding, dilation):
        super().__init__()
        kind = (nn.Conv1d, nn.Conv2d)[dimensions - 1]
        self.conv = kind(WIDTH, WIDTH, kernel, stride, padding, dilation)

    def forward(self, x):
        return functional.relu(self.conv(x))


class Pooled(nn.Module):
    """Pooling, upsampling, or a slice with a step."""

    def __init__(self, dimensions, how, size):
        super().__init__()
        self.dimensions, self.how, self.size = dimensions, how, size

    def forward(self, x):
        d, n = self.dimensions, self.size
        if self.how == "max":
            return (functional.max_pool1d, functional.max_pool2d)[d - 1](x, n)
        if self.how == "average":
            return (functional.avg_pool1d, functional.avg_pool2d)[d - 1](x, n, ceil_mode=True)
        if self.how == "adaptive":
            return (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d)[d - 1](x, n)
        if self.how == "upsampled":
            return functional.interpolate(x, scale_factor=n)
        if self.how == "sliced":
            return x[..., ::n] if d == 1 else x[..., ::n, ::n]
        return functional.pad(x, (0, -x.shape[-1] % (2 * n)) * d)  # to a multiple


class Attended(nn.Module):
    """Attention over everything that is not a channel, eager or fused, with relative positions or none."""

    def __init__(self, fused, relative):
        super().__init__()
        self.fused, self.relative = fused, relative
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        rows = x.flatten(2).transpose(1, 2)
        query, key, value = self.qkv(rows).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        if self.fused:
            mixed = functional.scaled_dot_product_attention(query, key, value)
        else:
            scores = query @ key.transpose(-1, -2)
            if self.relative:
                n = rows.shape[1]
                positions = torch.ones(1, 2, query.shape[-1], 2 * n - 1, dtype=query.dtype)
                scores = scores + (query @ positions)[..., :n]
            mixed = scores.softmax(-1) @ value
        rows = rows + self.out(mixed.transpose(1, 2).flatten(2))
        return rows.transpose(1, 2).unflatten(2, x.shape[2:])


class Joined(nn.Module):
    """What came in, beside every other place of it."""

    def forward(self, x):
        return torch.cat([x, x[..., ::2]], dim=-1)


class Network(nn.Module):
    """Layers one after the other, and what they have left averaged."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x.flatten(2).mean(dim=2))


def layers(dimensions):
    small = st.integers(1, 3)
    convolutions = st.builds(Convolved, st.just(dimensions), small, small, st.integers(0, 2), small)
    how = st.sampled_from(["max", "average", "adaptive", "sliced"])
    pools = st.builds(Pooled, st.just(dimensions), how, st.integers(2, 3))
    attention = st.builds(Attended, st.booleans(), st.booleans())
    return st.one_of(convolutions, convolutions, pools, *([attention] if dimensions == 1 else []))


@st.composite
def networks(draw):
    """A network and the shape of its examples."""
    dimensions = draw(st.sampled_from([1, 2]))
    return dimensions, Network(*draw(st.lists(layers(dimensions), min_size=1, max_size=4 - dimensions)))


def check(model, make_batch, loss, sizes, variant, held_out):
    """A trace is exact, and at sizes that nobody fitted gives what torch counts."""
    content = trace(Module("mine", model, make_batch, loss, sizes), "mine", [variant])
    assert content["graph"]["exact"]
    found = parse_trace(content)
    assert found.parameters == sum(p.numel() for p in model.parameters())
    for batch, *lengths in held_out:
        name = str(variant)
        forward, backward = (
            sum(found.per_layer(m, name, batch, *lengths)) for m in ("forward_flops", "backward_flops")
        )
        assert [forward, forward + backward] == flops(model, make_batch(batch, *lengths), loss)


def mean(model, batch):
    return model(batch).mean()


@given(network=networks(), variant=st.sampled_from((*VARIANTS[:2], *VARIANTS)))
@settings(max_examples=6, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_whatever_a_network_makes_of_its_size_is_found(network, variant):
    dimensions, model = network
    usual = 97 if dimensions == 1 else 161
    held_out = [(2, usual + 12), (3, usual - 9), (5, usual + 1)]
    try:
        model(torch.zeros(1, WIDTH, *[usual // 2] * dimensions))
    except RuntimeError:  # a kernel that is wider than what a layer before it left
        assume(False)
    check(
        model,
        lambda n, s: torch.zeros(n, WIDTH, *[s] * dimensions),
        mean,
        {"places": usual},
        variant,
        held_out,
    )


@pytest.mark.parametrize(
    ("dimensions", "layers"),
    [
        (1, [Convolved(1, 3, 2, 1, 1), Convolved(1, 2, 3, 0, 2)]),
        (1, [Pooled(1, "average", 3)]),
        (1, [Pooled(1, "sliced", 3)]),
        (1, [Pooled(1, "padded", 3)]),
        (1, [Pooled(1, "upsampled", 3)]),
        (1, [Joined()]),
        (1, [Attended(False, True)]),
        (2, [Convolved(2, 3, 2, 1, 1)]),
    ],
)
def test_networks_of_each_kind(dimensions, layers):
    usual = 97 if dimensions == 1 else 41
    held_out = [(2, usual + 12), (3, usual - 9), (5, usual + 1)]

    def batch(n, size):
        return torch.zeros(n, WIDTH, *[size] * dimensions)

    check(Network(*layers), batch, mean, {"places": usual}, VARIANTS[0], held_out)


class Evened(nn.Module):
    """A convolution of what is made even first, as SEW makes its frames."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 2, 2)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        x = self.first(x).relu()
        if x.shape[-1] % 2:
            x = functional.pad(x, (0, 1))
        return self.head(self.conv(x).mean(dim=2))


def test_a_network_that_does_something_else_at_some_sizes_is_traced_and_says_how_far_it_is_off():
    module = Module("evened", Evened(), lambda n, s: torch.zeros(n, WIDTH, s), mean, {"places": 97})
    content = trace(module, "evened", VARIANTS[:1])
    assert not content["graph"]["exact"]
    assert content["graph"]["largest_error"] == pytest.approx(1, abs=0.1)  # what is padded is kept twice
    found = parse_trace(content)
    name = str(VARIANTS[0])
    for size in (81, 99):  # both odd, as the first that was measured
        assert (
            sum(found.per_layer("forward_flops", name, 2, size))
            == flops(Evened(), torch.zeros(2, WIDTH, size), mean)[0]
        )

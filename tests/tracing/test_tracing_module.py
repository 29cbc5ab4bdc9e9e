"""Any module of torch: traced, and counted as torch itself counts, at sizes that nobody fitted."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import fedsim
from fedsim.errors import TraceError
from fedsim.pricing import load_trace


def flops(model, batch, loss):
    """What torch counts in a forward pass, and in a whole step."""
    counted = []
    for backward in (False, True):
        with FlopCounterMode(display=False) as counter:
            found = loss(model, batch)
            if backward:
                found.backward()
        counted.append(counter.get_total_flops())
    return counted


def traced_flops(trace, batch, size):
    parts = [
        sum(trace.per_layer(m, "cpu/eager/fp32", batch, size)) for m in ("forward_flops", "backward_flops")
    ]
    return [parts[0], sum(parts)]


class Network(nn.Module):
    """A small picture network with a residual connection."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.second, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, pixels):
        x = functional.relu(self.norm(self.first(pixels)))
        x = functional.relu(x + self.second(x))
        return self.head(x.mean(dim=(2, 3)))


def pictures(n):
    return torch.zeros(n, 3, 20, 20), torch.zeros(n, dtype=torch.int64)


def entropy(model, batch):
    return functional.cross_entropy(model(batch[0]), batch[1])


def test_a_network_on_pictures(tmp_path):
    trace = load_trace(fedsim.trace(Network(), tmp_path, batch=pictures, loss=entropy, workers=1))
    assert trace.name == "Network"
    assert trace.parameters == (3 * 9 + 1) * 8 + 16 + (8 * 9 + 1) * 8 + 8 * 10 + 10
    for n in (2, 5, 64):
        assert traced_flops(trace, n, 1) == flops(Network(), pictures(n), entropy)
    # 2 x multiply-accumulates of 10 x 10 places, and of the last layer
    assert traced_flops(trace, 1, 1)[0] == 2 * (100 * 8 * 27 + 100 * 8 * 72 + 80)


class Encoder(nn.Module):
    """Words in, words out; the weights of the embedding are those of the head."""

    def __init__(self, width=16):
        super().__init__()
        self.embedding = nn.Embedding(50, width)
        self.qkv, self.norm = nn.Linear(width, 3 * width), nn.LayerNorm(width)
        self.head = nn.Linear(width, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        x = self.embedding(ids)
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        x = self.norm(x + torch.softmax(query @ key.transpose(1, 2), dim=-1) @ value)
        return self.head(x)


class Fused(Encoder):
    """The same with fused attention of two heads."""

    def forward(self, ids):
        x = self.embedding(ids)
        split = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
        return self.head(self.norm(x + mixed))


def words(n, tokens):
    return torch.zeros(n, tokens, dtype=torch.int64)


def next_word(model, ids):
    return functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten())


def test_attention_over_words_is_exact_in_their_number(tmp_path):
    path = fedsim.trace(
        Encoder, tmp_path, name="mine", batch=words, loss=next_word, sizes="tokens", workers=1
    )
    trace = load_trace(path)
    assert trace.sizes == ("tokens",)
    assert trace.parameters == 50 * 16 + 16 * 48 + 48 + 32  # tied weights once
    for n, tokens in ((2, 9), (3, 200), (7, 33)):
        assert traced_flops(trace, n, tokens) == flops(Encoder(), words(n, tokens), next_word)


def test_fused_attention_is_exact_too(tmp_path):
    # verified against the module itself, to the byte, at sizes that were not fitted
    # (with two workers, to which a function that was made on the spot cannot be sent)
    path = fedsim.trace(Fused(), tmp_path, batch=lambda *n: words(*n), loss=next_word, sizes="tokens")
    saved = [
        sum(load_trace(path).per_layer("saved_bytes", "cuda/sdpa/fp32", 2, tokens)) for tokens in (64, 65, 96)
    ]
    # float32 that grow with the words, and the log-sum-exp of 2 x 2 heads, rounded up to 32 words
    grows = saved[1] - saved[0] - 4 * 2 * 2 * 32
    assert saved[2] - saved[1] == 31 * grows


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "a module is traced with batch=, which makes batches, and loss="),
        (
            {"batch": pictures, "loss": lambda model, batch: model(batch[0])},
            r"Network cannot be run without numbers: its loss is a tensor \[2, 10\]; give a scalar tensor",
        ),
        (
            {"batch": pictures, "loss": lambda model, batch: 3.0},
            "Network cannot be run without numbers: its loss is float; give a scalar tensor",
        ),
        (
            {"batch": lambda n: 1 / 0, "loss": entropy},
            "Network cannot be run without numbers: division by zero",
        ),
        (
            {"batch": pictures, "loss": lambda model, batch: entropy(model, batch) * float(batch[0].sum())},
            "Network cannot be run without numbers: ",
        ),
        ({"batch": pictures, "loss": entropy, "sizes": "pixels"}, "Network cannot be run without numbers: "),
    ],
)
def test_what_cannot_be_traced_is_one_sentence(arguments, said, tmp_path):
    with pytest.raises(TraceError, match=said) as fault:
        fedsim.trace(Network(), tmp_path, workers=1, **arguments)
    assert "\n" not in str(fault.value)
    assert not list(tmp_path.iterdir())

"""A model with two sizes: priced with both, one of them fixed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import fedsim
from fedsim.errors import InputError, ScenarioError
from fedsim.pricing import load_trace
from fedsim.pricing.sizes import settled


class Reader(nn.Module):
    """Answers that look at a text: plain attention of width 8 from one to the other."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(20, 8), nn.Linear(8, 20)

    def forward(self, text, answer):
        text, asked = self.words(text), self.words(answer)
        return self.head(torch.softmax(asked @ text.transpose(1, 2), dim=-1) @ text)


def batch(n, text, answer):
    return tuple(torch.zeros(n, length, dtype=torch.int64) for length in (text, answer))


def loss(model, batch):
    return functional.cross_entropy(model(*batch).flatten(0, 1), batch[1].flatten())


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    return fedsim.trace(Reader(), folder, batch=batch, loss=loss, sizes=["text", "answer"], workers=1)


def test_its_arithmetic_is_a_product_of_both(path):
    trace = load_trace(path)
    assert trace.exact
    assert trace.sizes == ("text", "answer")
    for n, text, answer in ((2, 50, 7), (3, 11, 130)):
        # scores and mixture: 2 x 2 x 8 a pair of words; the head: 2 x 8 x 20 a word of the answer
        by_hand = n * (2 * 2 * 8 * text * answer + 2 * 8 * 20 * answer)
        assert sum(trace.per_layer("forward_flops", "cpu/eager/fp32", n, text, answer)) == by_hand
        held, size = settled(trace, None, {"answer": answer, "text": text})
        assert size == text
        assert held.sizes == ("text",)
        for metric in ("forward_flops", "saved_bytes", "backward_workspace_bytes"):
            whole = trace.per_layer(metric, "cuda/sdpa/fp32", n, text, answer)
            assert held.per_layer(metric, "cuda/sdpa/fp32", n, text) == whole


def test_a_cost_takes_both(path):
    sizes = {"text": 40, "answer": 10}
    price = fedsim.cost("raspberry-pi-4", str(path), batch=2, sizes=sizes)
    assert price["forward_flops"] == 2 * (2 * 2 * 8 * 40 * 10 + 2 * 8 * 20 * 10)
    for wrong, said in (
        ({"text": 4}, "give --size answer=NUMBER"),
        ({**sizes, "words": 3}, "has text and answer, and no 'words'"),
        ({**sizes, "answer": 0}, "answer=0 is not a size"),
    ):
        with pytest.raises(InputError, match=said):
            fedsim.cost("raspberry-pi-4", str(path), sizes=wrong)


def scenario(path, **sizes):
    return {
        "name": "answers",
        "fleet": {"clients": 3, "mix": [{"device": "raspberry-pi-4", "share": 1}]},
        "workload": {"examples": 8, "sizes": sizes},
        "training": {"model": str(path), "batch_size": 4},
        "rounds": {"count": 1, "cohort": 3},
    }


def test_a_scenario_says_both_and_spreads_one(path, tmp_path):
    plain = fedsim.run(scenario(path, answer=10, text=40), tmp_path / "plain")
    spread = fedsim.run(scenario(path, text=40, answer={"mean": 10, "spread": 0.0}), tmp_path / "spread")
    assert plain.clients.compute_s.nunique() == 1
    assert spread.clients.compute_s.tolist() == pytest.approx(plain.clients.compute_s.tolist())
    both = {"text": {"mean": 40, "spread": 0.1}, "answer": {"mean": 10, "spread": 0.1}}
    for wrong, said in (({"text": 40}, "give {text: ..., answer: ...}"), (both, "both spread")):
        with pytest.raises(ScenarioError, match=said):
            fedsim.run(scenario(path, **wrong), tmp_path / "wrong")

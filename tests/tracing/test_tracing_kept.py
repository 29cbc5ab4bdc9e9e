"""A module that was traced before is not traced again; one that costs something else always is."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from fedsim.errors import TraceError
from fedsim.pricing import load_trace
from fedsim.tracing import identity, kept

SOURCE = """
import torch
from torch import nn
from torch.nn import functional as F

SIDE = 8

def activation(x):
    return F.relu(x)

class Base(nn.Module):
    def pooled(self, x):
        return F.max_pool2d(x, 2)

class Net(Base):
    def __init__(self, channels=4):
        super().__init__()
        self.conv, self.times = nn.Conv2d(1, channels, 3, padding=1), 1
        self.norm = nn.BatchNorm2d(channels, eps=1e-5)
        self.out = nn.Linear(channels, 10)

    def forward(self, x):
        for _ in range(self.times):
            x = self.pooled(activation(self.norm(self.conv(x))))
        return self.out(x.mean(dim=(2, 3)))

def batches(more):
    return lambda n: (torch.zeros(n * more, 1, SIDE, SIDE), torch.zeros(n * more, dtype=torch.int64))

batch = batches(1)

def loss(net, batch, scale=1.0):
    return scale * F.cross_entropy(net(batch[0]), batch[1])
"""

COSTS_SOMETHING_ELSE = [
    ("SIDE = 8", "SIDE = 10"),  # a global that a function reaches
    ("batches(1)", "batches(2)"),  # a value that a function closes over
    ("scale=1.0", "scale=2.0"),  # a default
    ("channels=4", "channels=5"),  # a shape
    ("self.times = nn.Conv2d(1, channels, 3, padding=1), 1", "self.times = nn.Conv2d(1, channels, 3), 1"),
    ("padding=1), 1", "padding=1), 2"),  # an attribute that no repr shows
    ("F.relu", "F.gelu"),  # a function that the forward pass calls
    ("F.max_pool2d", "F.avg_pool2d"),  # a method of a class that it derives from
    ("x.mean(dim=(2, 3))", "x.amax(dim=(2, 3))"),  # the forward pass itself
    ("F.cross_entropy(net(batch[0]), batch[1])", "net(batch[0]).sum()"),  # the loss
]


def module_of(source: str, folder: Path, name: str = "mine"):
    """A module of somebody's own with this source."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(source)
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def told(made) -> str | None:
    return identity.digest(made.Net(), made.batch, made.loss, None)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_whatever_decides_a_trace_decides_its_digest(tmp_path):
    found = {told(module_of(SOURCE, tmp_path / "as-it-is"))}
    for number, (here, there) in enumerate(COSTS_SOMETHING_ELSE):
        assert SOURCE.count(here) == 1, here
        found.add(told(module_of(SOURCE.replace(here, there), tmp_path / str(number))))
    assert None not in found
    assert len(found) == 1 + len(COSTS_SOMETHING_ELSE)


def test_what_does_not_decide_it_does_not(tmp_path):
    first = module_of(SOURCE, tmp_path / "a")
    spoken = module_of(
        "# the same\n" + SOURCE.replace("    return F.relu", "    # here\n    return F.relu"), tmp_path
    )
    net = first.Net()
    with torch.no_grad():
        net.conv.weight += 1.0  # other numbers
    assert told(first) == told(spoken) == identity.digest(net, first.batch, first.loss, None)
    assert told(first) != identity.digest(first.Net(), first.batch, first.loss, "tokens")
    assert told(first) != identity.digest(first.Net(4).double(), first.batch, first.loss, None)


def test_another_process_tells_the_same(tmp_path):
    module_of(SOURCE, tmp_path)
    script = (
        "import mine\nfrom torch import nn\nfrom torch.nn.utils.parametrizations import weight_norm\n"
        "from transformers import GPT2Config, GPT2LMHeadModel\n"
        "from fedsim.tracing.identity import digest\n"
        "print(digest(mine.Net(), mine.batch, mine.loss))\n"
        "print(digest(GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2))))\n"
        "print(digest(nn.TransformerEncoderLayer(8, 2)), digest(weight_norm(nn.Linear(3, 2))))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")  # the second reads the bytecode that the first one wrote
    }
    assert len(said) == 1
    assert len({*said.pop().split(), "None"}) == 1 + 4


def imports_late(n):
    import not_imported_yet

    return not_imported_yet.batch(n)


@pytest.mark.parametrize(
    "what",
    [threading.Lock(), (n for n in range(3)), imports_late],
    ids=["a lock", "a generator", "a late import"],
)
def test_what_cannot_be_told_has_no_digest(what):
    assert identity.digest(lambda n: (n, what)) is None


def test_a_module_is_traced_once(tmp_path, cache, monkeypatch):
    made = module_of(SOURCE, tmp_path)
    path = kept.of_module(made.Net, made.batch, made.loss)
    assert path.is_relative_to(cache)
    assert path.name == "Net.json"
    assert load_trace(path).parameters == (9 + 1) * 4 + 2 * 4 + (4 + 1) * 10
    whole = path.read_text()
    with monkeypatch.context() as patch:
        patch.setattr("fedsim.tracing.trace.trace", None)  # whoever traces now, fails
        assert kept.of_module(made.Net, made.batch, made.loss) == path
        with pytest.raises(TypeError):
            kept.of_module(lambda: made.Net(8), made.batch, made.loss)
    for damaged in ("", whole[: len(whole) // 2], "{}"):
        path.write_text(damaged)
        assert kept.of_module(made.Net, made.batch, made.loss) == path
        assert path.read_text() == whole
    assert [file.name for file in path.parent.iterdir()] == ["Net.json"]


def test_what_cannot_be_told_is_traced_every_time(tmp_path, cache, monkeypatch):
    lock = threading.Lock()

    def batch(n: int) -> torch.Tensor:
        with lock:
            return torch.zeros(n, 3)

    def loss(net: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return net(batch).sum()

    path = kept.of_module(lambda: nn.Linear(3, 2), batch, loss)
    assert load_trace(path).parameters == 8
    assert kept.of_module(lambda: nn.Linear(3, 2), batch, loss) == path
    monkeypatch.setattr("fedsim.tracing.trace.trace", None)
    with pytest.raises(TypeError):
        kept.of_module(lambda: nn.Linear(3, 2), batch, loss)


def test_what_cannot_be_traced_is_one_sentence_and_nothing_is_kept(tmp_path, cache):
    def fails():
        raise ValueError("no such\nsize")

    for model, loss, said in (
        (fails, lambda net, batch: net(batch).sum(), "fails cannot be built: no such size"),
        (nn.Linear(3, 2), lambda net, batch: net(batch), r"Linear cannot .*its loss is a tensor \[2, 2\]"),
        (nn.Linear(4, 2), lambda net, batch: net(batch).sum(), "Linear cannot be run without numbers: "),
    ):
        with pytest.raises(TraceError, match=said):
            kept.of_module(model, lambda n: torch.zeros(n, 3), loss)
    assert not list(cache.rglob("*.json"))

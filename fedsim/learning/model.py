"""The model: wav2vec 2.0 for pretraining, from a preset, with weights from a stream of its own.

A preset is a configuration of transformers' ``Wav2Vec2ForPreTraining`` in
``fedsim/learning/configs``. The initial weights are a pure function of (preset, seed); torch's
global generator is left as it was. The federation sees a model as one flat float32 vector, its
parameters end to end in the order of ``named_parameters``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedsim import rng
from fedsim.errors import ScenarioError

CONFIGS = Path(__file__).resolve().parent / "configs"


def presets() -> list[str]:
    """The names that ``build_model`` accepts, sorted."""
    return sorted(path.stem for path in CONFIGS.glob("*.json"))


def configuration(name: str) -> Any:
    """The ``Wav2Vec2Config`` of a preset.

    Raises:
        ScenarioError: if there is no preset of that name.
    """
    from transformers import Wav2Vec2Config

    if name not in presets():
        raise ScenarioError(f"is {name!r}; one of {', '.join(presets())} is needed", key="learning.model")
    values = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    return Wav2Vec2Config(**{key: value for key, value in values.items() if key != "model_type"})


@contextmanager
def seeded(key: int, device: str = "cpu") -> Iterator[None]:
    """Seed torch's generators inside the block and restore them after it."""
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(key % 2**63)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside the block: sums then have one order, hence one result."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def build_model(name: str, seed: int) -> Any:
    """A ``Wav2Vec2ForPreTraining`` of the preset ``name`` with fresh weights.

    Raises:
        ScenarioError: if there is no preset of that name.
    """
    from transformers import Wav2Vec2ForPreTraining

    config = configuration(name)
    with seeded(rng.key(seed, "weights", name)), one_thread():
        return Wav2Vec2ForPreTraining(config)


def tensor(array: NDArray[Any], device: str = "cpu") -> torch.Tensor:
    """A tensor of its own from an array.

    A copy, since matrix libraries may round differently where memory is aligned differently, and
    torch aligns its own memory always alike.
    """
    return torch.tensor(array, device=device)


def size(model: torch.nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def flatten(model: torch.nn.Module, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """The parameters end to end, float32[size]; written into ``out`` if it is given."""
    vector = np.empty(size(model), np.float32) if out is None else out
    start = 0
    for parameter in model.parameters():
        stop = start + parameter.numel()
        vector[start:stop] = parameter.detach().reshape(-1).float().cpu().numpy()
        start = stop
    return vector


def load(model: torch.nn.Module, vector: NDArray[np.float32]) -> None:
    """Set the parameters from a flat vector, float32[size]."""
    start = 0
    with torch.no_grad():
        for parameter in model.parameters():
            stop = start + parameter.numel()
            values = torch.from_numpy(np.array(vector[start:stop], dtype=np.float32))
            parameter.copy_(values.view(parameter.shape))
            start = stop


def frames(config: Any, samples: int) -> int:
    """Number of frames that the convolutions make of a waveform."""
    count = samples
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        count = (count - kernel) // stride + 1
    return max(0, count)

"""Speech models by name: configurations of transformers, the same for what is traced and what is trained.

A preset is a JSON file in ``configs``, as ``save_pretrained`` writes it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from fedsim.errors import ScenarioError

CONFIGS = Path(__file__).resolve().parent / "configs"


def presets() -> list[str]:
    """The names of the models that fedsim knows how to build, sorted."""
    return sorted(path.stem for path in CONFIGS.glob("*.json"))


@cache
def configuration(name: str) -> Any:
    """The ``Wav2Vec2Config`` of a preset; one object, not to be changed.

    Raises:
        ScenarioError: if there is no preset of that name.
    """
    from transformers import Wav2Vec2Config

    if name not in presets():
        raise ScenarioError(f"is {name!r}; one of {', '.join(presets())} is needed", key="learning.model")
    values = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    return Wav2Vec2Config(**{key: value for key, value in values.items() if key != "model_type"})


def frames(config: Any, samples: int) -> int:
    """Number of frames that the convolutions make of a waveform."""
    count = samples
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        count = (count - kernel) // stride + 1
    return max(0, count)


def freeze_cnn(encoder: Any) -> None:
    """Stop training the convolutions of a transformers encoder."""
    encoder.feature_extractor._freeze_parameters()

"""Speech models by name: configurations of transformers, the same for what is traced and what is trained.

A preset is a JSON file in ``configs``, as ``save_pretrained`` writes it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from fedsim.errors import ScenarioError
from fedsim.pricing.polynomial import Axis, lengths

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


def convolutions(config: Any) -> list[Axis]:
    """Samples, and the frames after each convolution."""
    axes = [Axis("samples")]
    for index, (kernel, stride) in enumerate(zip(config.conv_kernel, config.conv_stride, strict=True)):
        axes.append(Axis(f"frames_{index + 1}", of=index, kernel=kernel, stride=stride))
    return axes


def frames(config: Any, samples: int) -> int:
    """Number of frames that the convolutions make of a waveform."""
    return int(lengths(convolutions(config), samples)[-1])


def freeze_cnn(encoder: Any) -> None:
    """Stop training the convolutions of a transformers encoder."""
    encoder.feature_extractor._freeze_parameters()

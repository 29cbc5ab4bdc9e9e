"""Configurations of models to trace: fedsim's own presets, and a user's JSON file.

Presets are the tasks' own, so that the model which is traced and the one which is trained are the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedsim import files, plugins
from fedsim.errors import TraceError
from fedsim.options import name_of
from fedsim.tasks import TASKS, Task
from fedsim.tasks.speech.models import CONFIGS, presets
from fedsim.tasks.speech.task import SpeechTask

_NEEDED = ("conv_kernel", "conv_stride", "num_hidden_layers")


def known() -> list[str]:
    """The models of fedsim's own: presets, and the tasks with a model of their own."""
    return [*presets(), *map(name_of, _tasks())]


def _tasks() -> list[type[Task]]:
    """Tasks on speech are traced by their presets."""
    return [task for task in TASKS if not issubclass(task, SpeechTask)]


def preset(name: str) -> Any:
    """The transformers configuration of a preset.

    Raises:
        TraceError: there is no such preset.
    """
    if name not in presets():
        raise TraceError(f"there is no model {name!r}; fedsim knows {', '.join(known())}, or give --config")
    return read(CONFIGS / f"{name}.json")


def named(name: str) -> Any:
    """What a name stands for: a task, with its options' defaults, or a preset.

    Raises:
        TraceError: there is no such model.
    """
    task = next((task for task in (*_tasks(), *plugins.of(Task)) if name_of(task) == name), None)
    return preset(name) if task is None else task()


def read(path: Path) -> Any:
    """The transformers configuration in a JSON file, as ``save_pretrained`` writes it.

    Raises:
        TraceError: the file is not one, or not of a speech model with a convolutional encoder.
    """
    content = files.read_json(path, TraceError, files.MB, finite=False)
    kind = content.get("model_type") if isinstance(content, dict) else None
    if not isinstance(kind, str):
        raise TraceError(
            "is missing; it says which model this is, such as wav2vec2", file=path, key="model_type"
        )
    from transformers import CONFIG_MAPPING

    if kind not in CONFIG_MAPPING:
        raise TraceError(f"{kind!r} is not a model that transformers knows", file=path, key="model_type")
    values = {k: v for k, v in content.items() if k not in ("model_type", "transformers_version")}
    try:
        config = CONFIG_MAPPING[kind](**values)
    except Exception as error:  # whatever transformers' validators raise
        why = " ".join(str(error).split())
        raise TraceError(f"is not a configuration of {kind}: {why}", file=path) from None
    for key in _NEEDED:
        if not hasattr(config, key):
            raise TraceError(f"{kind} has none, so it is not a speech model on waveforms", file=path, key=key)
    return config

"""Configurations of models to trace: fedsim's own presets, and a user's JSON file.

A preset is a JSON file as ``save_pretrained`` writes it. Those of tasks lie with the tasks, so that the model
which is traced and the one which is trained are the same; ``models`` holds further ones, with their sources.
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
from fedsim.tracing.architecture import training_of
from fedsim.tracing.objective import speech

MODELS = Path(__file__).resolve().parent / "models"


def own() -> dict[str, Task]:
    """Tasks of fedsim's own whose models are no transformers configurations, by the names of their models."""
    return {task.model_name: task for task in (cls() for cls in TASKS) if not isinstance(task, SpeechTask)}


def preset_files() -> dict[str, Path]:
    """The presets by name."""
    tasks = {name: CONFIGS / f"{name}.json" for name in presets()}
    return tasks | {path.stem: path for path in MODELS.glob("*.json")}


def names() -> list[str]:
    """The models that fedsim knows how to build, sorted."""
    return sorted([*preset_files(), *own()])


def preset(name: str) -> Any:
    """The transformers configuration of a preset.

    Raises:
        TraceError: there is no such preset.
    """
    path = preset_files().get(name)
    if path is None:
        raise TraceError(f"there is no model {name!r}; fedsim knows {', '.join(names())}, or give --config")
    return read(path)


def named(name: str) -> Any:
    """What a name stands for: a task of a plug-in or of fedsim's own, with its defaults, or a preset.

    Raises:
        TraceError: there is no such model.
    """
    for task in plugins.of(Task):
        if name_of(task) == name:
            return task()
    return own().get(name) or preset(name)


def read(path: Path) -> Any:
    """The transformers configuration in a JSON file, as ``save_pretrained`` writes it.

    Raises:
        TraceError: the file is not one, or of a model that cannot be trained without knowing more.
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
    named = content.get("architectures")
    if named is not None and not (isinstance(named, list) and all(isinstance(one, str) for one in named)):
        raise TraceError(
            f"is {named!r}; a list with the name of a class is needed", file=path, key="architectures"
        )
    values = {k: v for k, v in content.items() if k not in ("model_type", "transformers_version")}
    try:
        config = CONFIG_MAPPING[kind](**values)
    except Exception as error:  # whatever transformers' validators raise
        why = " ".join(str(error).split())
        raise TraceError(f"is not a configuration of {kind}: {why}", file=path) from None
    if not speech(config):
        try:
            training_of(config)
        except TraceError as error:
            raise TraceError(error.message, file=path, key="architectures") from None
    return config

"""Tasks: what is learned. One package a task; :mod:`fedsim.tasks.base` says what a task is.

Importing this package imports neither torch nor transformers; a task's methods do, when they are called.
"""

from __future__ import annotations

from fedsim.options import choices_in
from fedsim.tasks.base import Data, Metric, Outcome, Size, Task
from fedsim.tasks.ctc import Ctc
from fedsim.tasks.language_model import LanguageModel
from fedsim.tasks.wav2vec2 import Wav2Vec2

TASKS = choices_in(__name__, Task)

__all__ = ["TASKS", "Ctc", "Data", "LanguageModel", "Metric", "Outcome", "Size", "Task", "Wav2Vec2"]

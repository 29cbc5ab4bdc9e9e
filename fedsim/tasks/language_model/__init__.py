"""Language modelling: a small transformer decoder that predicts the next byte of a text."""

from __future__ import annotations

from fedsim.tasks.language_model.task import LanguageModel

__all__ = ["LanguageModel"]

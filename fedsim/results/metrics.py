"""What the numbers of ``convergence.parquet`` mean, as the run's task says in the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fedsim.tasks import TASKS
from fedsim.tasks.base import Metric

KNOWN: Mapping[str, Metric] = {metric.name: metric for task in TASKS for metric in task.metrics}
"""Those of fedsim's own tasks."""

PANELS = ("loss", "contrastive_accuracy", "wer", "cer")
"""Metrics of speech that are worth a panel, in order; those of other tasks come after them."""
_MEANS = ("codebook_perplexity", "contrastive_accuracy", "cer", "loss")
"""Of fedsim's own metrics those that a model is not judged by; they show how its training goes."""

HEARD = " (heard in training)"
"""Marks an error rate on a held-out split that :func:`heard` is true of."""


def definitions(manifest: Mapping[str, Any]) -> dict[str, Metric]:
    """The metrics of a run by name: what its manifest says, and fedsim's own."""
    said = manifest.get("metrics")
    found = dict(KNOWN)
    for name, entry in said.items() if isinstance(said, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("meaning"), str):
            better: Literal["lower", "higher"] = "higher" if entry.get("better") == "higher" else "lower"
            found[str(name)] = Metric(str(name), entry["meaning"], str(entry.get("unit", "")), better)
    return found


def shown(manifest: Mapping[str, Any]) -> list[Metric]:
    """The metrics of a run that are worth a panel, in order."""
    known, said = definitions(manifest), manifest.get("metrics")
    own = said if isinstance(said, dict) else {}
    return [
        known[name] for name in dict.fromkeys((*PANELS, *own)) if name in known and name not in _MEANS[:1]
    ]


def goals(manifest: Mapping[str, Any]) -> list[Metric]:
    """The metrics by which a run's model is judged beside its loss: word error rate, accuracy, ..."""
    return [metric for metric in shown(manifest) if metric.name not in _MEANS]


def better(metric: Metric | None, value: float, best: float) -> bool:
    """Whether a value is better than another; of a metric that nobody defined, lower is."""
    return value > best if metric is not None and metric.better == "higher" else value < best


def heard(tree: Mapping[str, Any], split: str) -> bool:
    """Whether training heard speakers or recordings of a split, by a run's manifest or summary."""
    corpus = tree.get("corpus")
    found = corpus.get("heard") if isinstance(corpus, dict) else None
    return isinstance(found, dict) and bool(found.get(split))

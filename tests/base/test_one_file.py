"""To add a choice to fedsim is to add one file to its room."""

from __future__ import annotations

import importlib
import sys

import pytest
from guide import copied

from fedsim.engine.completion import Completion
from fedsim.engine.selection import Selection
from fedsim.fleet.availability import Availability
from fedsim.learning.aggregate import Aggregation
from fedsim.options import choices_in, name_of
from fedsim.tasks import Task


@pytest.mark.parametrize(
    ("room", "base", "file", "word"),
    [
        ("fedsim.engine.selection", Selection, "smallest_first.py", "smallest-first"),
        ("fedsim.engine.completion", Completion, "two_thirds.py", "share"),
        ("fedsim.fleet.availability", Availability, "weekends.py", "weekends"),
        ("fedsim.learning.aggregate", Aggregation, "scaffold.py", "scaffold"),
        ("fedsim.tasks", Task, "perceptron.py", "perceptron"),
    ],
)
def test_a_file_in_the_room_is_a_choice(room, base, file, word, tmp_path, monkeypatch):
    package = importlib.import_module(room)
    before = choices_in(room, base)
    assert word not in [name_of(cls) for cls in before]
    copied(file, tmp_path)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    try:
        after = choices_in(room, base)
    finally:
        sys.modules.pop(f"{room}.{file.removesuffix('.py')}", None)
    assert set(before) < set(after)
    assert [name_of(cls) for cls in set(after) - set(before)] == [word]


@pytest.mark.parametrize(
    ("room", "base", "words"),
    [
        ("fedsim.engine.selection", Selection, "fastest-first memory-aware oort random round-robin"),
        ("fedsim.engine.completion", Completion, "async deadline quorum wait-all"),
        ("fedsim.fleet.availability", Availability, "always markov overnight trace"),
        (
            "fedsim.learning.aggregate",
            Aggregation,
            "fedadam fedavg fedprox fedyogi loss-weighted trimmed-mean uniform",
        ),
        ("fedsim.tasks", Task, "classification ctc language_model wav2vec2"),
    ],
)
def test_the_rooms_hold_what_scenarios_name(room, base, words):
    assert sorted(name_of(cls) for cls in choices_in(room, base)) == words.split()

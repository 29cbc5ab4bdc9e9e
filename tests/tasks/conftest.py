"""A cache of its own for the room's tests, made once, and a learner small enough to train in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from federations import federation

from fedsim.learning import Federation
from fedsim.tasks.speech.corpus import Espeak

SMALL_CORPUS = Espeak(speakers=6, minutes=0.6)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDSIM_CACHE", str(folder))
        yield folder


@pytest.fixture
def small() -> Federation:
    """Two rounds of three clients with a step of two utterances each."""
    return federation(
        clients=6,
        rounds=3,
        corpus=SMALL_CORPUS,
        clients_per_round=3,
        evaluate_every=2,
        batch_size=2,
        local_steps=1,
        crop_seconds=1.0,
        evaluation_seconds=4.0,
        warmup_rounds=0,
    )

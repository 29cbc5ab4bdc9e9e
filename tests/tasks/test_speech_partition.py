"""Partitions: every training utterance in exactly one part, whatever the way of dividing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from federations import federation
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.errors import CorpusError
from fedsim.learning.holdings import Holdings
from fedsim.tasks import Wav2Vec2
from fedsim.tasks.speech import partition, quality
from fedsim.tasks.speech.corpus.store import Corpus


def made_up(speakers: int, each: int = 12, clients: bool = False) -> Corpus:
    """A corpus of ``speakers`` training speakers and one of each held-out split, without sound."""
    names = [f"s{i:03d}" for i in range(speakers) for _ in range(each)] + ["v", "t"]
    splits = ["train"] * (speakers * each) + ["validation", "test"]
    samples = 8000 + 100 * (np.arange(len(names)) % 7)
    return Corpus(
        folder=Path(),
        audio=np.zeros(int(samples.sum()), np.int16),
        offset=np.cumsum(samples) - samples,
        samples=samples,
        speaker=tuple(names),
        text=("",) * len(names),
        split=tuple(splits),
        client=tuple(f"phone-{i % 5}" if clients else "" for i in range(len(names))),
        language=("",) * len(names),
    )


@settings(max_examples=60, deadline=None)
@given(
    way=st.sampled_from(["by-speaker", "natural", "dirichlet-speakers", "dirichlet-quality"]),
    speakers=st.integers(1, 9),
    parts=st.integers(1, 9),
    alpha=st.sampled_from([0.01, 0.5, 100.0]),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_every_training_utterance_is_in_exactly_one_part(
    way: str, speakers: int, parts: int, alpha: float, share: float, seed: int
) -> None:
    corpus = made_up(speakers)
    spec = Wav2Vec2(
        partition=way,
        parts=min(parts, speakers),
        dirichlet_alpha=alpha,
        low_quality=share,
    )
    divided = partition.divide(corpus, spec, seed)
    assert sorted(np.concatenate(divided.parts).tolist()) == corpus.of_split("train").tolist()
    assert all(len(part) for part in divided.parts)
    assert not divided.quality[-2:].any()  # held-out speech is never spoilt
    if way != "dirichlet-quality" and share in (0.0, 1.0):
        assert (divided.quality[:-2] > 0).all() == (share == 1.0)


def test_natural_parts_are_clients_where_the_list_names_them() -> None:
    spec = Wav2Vec2(partition="natural")
    assert len(partition.divide(made_up(3), spec, 0).parts) == 3
    named = partition.divide(made_up(3, clients=True), spec, 0)
    assert [set(part % 5) for part in named.parts] == [{0}, {1}, {2}, {3}, {4}]


def test_dirichlet_concentration_decides_how_mixed_parts_are() -> None:
    corpus = made_up(8, each=100)

    def largest_share(alpha: float) -> float:
        spec = Wav2Vec2(partition="dirichlet-speakers", parts=8, dirichlet_alpha=alpha)
        parts = partition.divide(corpus, spec, 1).parts
        tops = [np.bincount(part // 100, minlength=8).max() / len(part) for part in parts]
        return float(np.mean(tops))

    assert largest_share(1000.0) == pytest.approx(1 / 8, abs=0.03)
    assert largest_share(0.05) > 0.6


def test_low_quality_spoils_the_share_asked_for() -> None:
    spec = Wav2Vec2(low_quality=0.3)
    divided = partition.divide(made_up(10), spec, 4)
    kinds = [set(divided.quality[part]) for part in divided.parts]
    assert all(len(kind) == 1 for kind in kinds)
    assert sorted(k for kind in kinds for k in kind) == [0] * 7 + [1, 2, 3]
    mixed = partition.divide(
        made_up(10, each=200), Wav2Vec2(partition="dirichlet-quality", low_quality=0.3), 4
    )
    shares = np.bincount(mixed.quality[:-2], minlength=4) / 2000
    assert shares == pytest.approx([0.7, 0.1, 0.1, 0.1], abs=0.025)


def test_only_part_and_pooled() -> None:
    corpus = made_up(4)
    parts = partition.divide(corpus, Wav2Vec2(), 0).parts
    assert sorted(Holdings(parts, federation(), 0).order.tolist()) == [0, 1, 2, 3]
    assert Holdings(parts, federation(only_part=2), 0).part_of(range(6)).tolist() == [2] * 6
    assert len(Holdings(parts, federation(pooled=True), 0).of(3)) == 48


def test_too_many_parts_is_an_input_error() -> None:
    for way, message in (("by-speaker", "2 training speakers"), ("dirichlet-speakers", "24 training utter")):
        with pytest.raises(CorpusError, match=message):
            partition.divide(made_up(2), Wav2Vec2(partition=way, parts=25), 0)


def test_faults_sound_as_described() -> None:
    draw = np.random.default_rng(0)
    time_s = np.arange(16_000) / 16_000
    wave = (np.sin(2 * np.pi * 300 * time_s) + np.sin(2 * np.pi * 3000 * time_s)).astype(np.float32)
    noisy = quality.degrade(wave, 1, draw) - wave
    assert noisy.std() == pytest.approx(wave.std(), rel=0.05)  # 0 dB
    clipped = quality.degrade(wave, 2, draw)
    assert np.abs(clipped).max() == pytest.approx(0.1 * np.abs(wave).max(), rel=1e-6)
    assert (np.abs(clipped) > 0.0999 * np.abs(wave).max()).mean() > 0.8
    low = quality.degrade(wave, 3, draw)
    assert np.abs(low - np.sin(2 * np.pi * 300 * time_s)).max() < 1e-5
    assert np.array_equal(quality.degrade(wave, 0, draw), wave)

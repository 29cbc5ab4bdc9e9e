"""Batches and partitions: what a client sees, and that nobody sees what is not theirs."""

from __future__ import annotations

import numpy as np
import pytest
from federations import federation
from hypothesis import given
from hypothesis import strategies as st

from fedsim.errors import CorpusError
from fedsim.learning import Learning
from fedsim.learning.holdings import Holdings
from fedsim.learning.passes import passes
from fedsim.tasks import Wav2Vec2
from fedsim.tasks.speech import batches, corpus, models, partition
from fedsim.tasks.speech.corpus import Espeak

SMALL_CORPUS = Espeak(speakers=6, minutes=0.6)


def test_lengths_are_rounded_up_to_half_a_second() -> None:
    assert [batches.grain(s) for s in (0.1, 0.5, 0.51, 2.0, 3.9)] == [8000, 8000, 16000, 32000, 64000]


def test_waveforms_are_normalised_and_silence_stays_silent() -> None:
    wave = np.random.default_rng(0).integers(-20_000, 30_000, 5000).astype(np.int16)
    normal = batches.normalise(wave)
    assert abs(float(normal.mean(dtype=np.float64))) < 1e-6
    assert float(normal.std(dtype=np.float64)) == pytest.approx(1.0, abs=1e-6)
    assert not batches.normalise(np.full(100, 7, np.int16)).any()


def test_a_batch_is_padded_cropped_and_masked_in_speech_only() -> None:
    task = Wav2Vec2(corpus=SMALL_CORPUS, crop_seconds=2.5)
    data, config = task.data(0), models.configuration("wav2vec2-tiny")
    speech, crop = data.corpus, batches.grain(2.5)
    chosen = speech.of_split("train")[:6]
    made = task.batch(data, chosen, np.random.default_rng(1), True)
    lengths = np.minimum(speech.samples[chosen], crop)
    assert made.waves.shape == (6, batches.grain(lengths.max() / 16_000))
    for wave, masked, length in zip(made.waves, made.masked, lengths, strict=True):
        assert not wave[length:].any()
        assert not masked[models.frames(config, int(length)) :].any()
    assert made.negatives.shape == (made.masked.sum(), 30)
    again = task.batch(data, chosen, np.random.default_rng(1), True)
    assert np.array_equal(made.waves, again.waves)
    assert np.array_equal(made.negatives, again.negatives)


def test_frames_follow_the_convolutions() -> None:
    config = models.configuration("wav2vec2-tiny")
    assert [models.frames(config, n) for n in (399, 400, 16_000, 32_000)] == [0, 1, 49, 99]


def test_epochs_see_every_utterance_once_and_steps_go_round() -> None:
    mine = np.arange(10, 17)
    draw = np.random.default_rng(0)
    epochs = Learning(batch_size=3, local_epochs=2.0)
    seen = list(passes(mine, epochs, draw))
    assert [len(step) for step in seen] == [3, 3, 3, 3, 2]
    assert sorted(np.concatenate(seen).tolist()) == sorted([*mine, *mine])
    steps = list(passes(mine, Learning(batch_size=4, local_steps=5), draw))
    assert [len(step) for step in steps] == [4] * 5
    assert set(np.concatenate(steps)[:7]) == set(mine)


def test_parts_share_no_speaker_and_hold_no_held_out_one() -> None:
    speech = corpus.load(SMALL_CORPUS)
    divided = partition.divide(speech, Wav2Vec2(parts=2), 3)
    owners = [{speech.speaker[u] for u in part} for part in divided.parts]
    assert owners[0].isdisjoint(owners[1])
    assert sorted(np.concatenate(divided.parts).tolist()) == speech.of_split("train").tolist()
    hours = [int(speech.samples[part].sum()) for part in divided.parts]
    assert abs(hours[0] - hours[1]) <= max(speech.samples) * 2


def test_a_clients_part_is_a_pure_function_of_its_number() -> None:
    speech = corpus.load(SMALL_CORPUS)
    parts = partition.divide(speech, Wav2Vec2(), 3).parts
    divided = Holdings(parts, federation(), 3)
    assert len(divided.parts) == 4
    assert sorted(divided.part_of(range(4))) == [0, 1, 2, 3]
    assert divided.part_of([5, 2]).tolist() == divided.part_of(np.arange(9))[[5, 2]].tolist()
    assert np.array_equal(divided.of(6), divided.of(2))
    assert not np.array_equal(divided.order, Holdings(parts, federation(), 12).order)
    with pytest.raises(CorpusError, match="too few for 9 parts"):
        partition.divide(speech, Wav2Vec2(parts=9), 3)


def test_held_out_batches_are_the_same_for_every_run() -> None:
    speech = corpus.load(SMALL_CORPUS)
    one = np.concatenate(batches.held_out(speech, "validation", 3.0, 2.0))
    assert set(one) <= set(speech.of_split("validation"))
    lengths = np.minimum(speech.samples[one], 32_000)
    assert 3.0 <= lengths.sum() / 16_000 < 5.0
    assert (np.diff(lengths) <= 0).all()
    everything = batches.held_out(speech, "test", 1e6, 2.0)
    assert sorted(np.concatenate(everything)) == speech.of_split("test").tolist()


@given(st.lists(st.integers(4_800, 3600 * 16_000), max_size=60))
def test_evaluation_batches_are_bounded_and_leave_nobody_out(samples: list[int]) -> None:
    lengths = np.array(sorted(samples, reverse=True), np.int64)
    found = batches.by_length(np.arange(len(lengths)), lengths)
    assert [u for batch in found for u in batch.tolist()] == list(range(len(lengths)))
    for batch in found:
        padded = len(batch) * batches.grain(float(lengths[batch].max()) / 16_000)
        assert len(batch) == 1 or (len(batch) <= 8 and padded <= 120 * 16_000)


@pytest.mark.parametrize(
    ("seconds", "sizes"),
    [
        ([15.0] * 20, [8, 8, 4]),  # as it always was
        ([600.0] + [3.0] * 19, [1, 8, 8, 3]),  # nobody is padded to ten minutes
        ([60.0, 60.0, 20.0, 20.0], [2, 2]),
        ([60.1, 60.1], [1, 1]),  # padded to 60.5 s: 121 s in all
        ([30.0] * 6, [4, 2]),
        ([3600.0, 3600.0], [1, 1]),
        ([], []),
    ],
)
def test_evaluation_batches_by_hand(seconds: list[float], sizes: list[int]) -> None:
    lengths = np.array([round(s * 16_000) for s in seconds], np.int64)
    assert [len(batch) for batch in batches.by_length(np.arange(len(lengths)), lengths)] == sizes

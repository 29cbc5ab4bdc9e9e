"""Utterance lengths, workloads and batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.errors import ScenarioError, TraceError
from fedsim.fleet import batches, speech, workload
from fedsim.fleet.speech import Speech


@pytest.fixture(scope="module")
def italian():
    return speech.load("common-voice-it-7")


def test_the_profile_has_the_published_figures(italian):
    assert italian.clips == 194_732
    assert italian.speakers == 6_407
    assert italian.seconds / 3600 == pytest.approx(288.8, abs=0.1)
    assert italian.seconds / italian.clips == pytest.approx(5.34, abs=1e-4)
    assert italian.samples.min() >= 16_000
    assert italian.samples.max() <= 11.5 * 16_000


def test_clips_a_speaker_have_a_heavy_tail(italian):
    clips = np.sort(np.diff(italian.first))
    assert clips[0] >= 1
    assert np.median(clips) < clips.mean() / 4
    assert clips[-64:].sum() > 0.25 * italian.clips  # one speaker in a hundred, a quarter of the clips


def test_a_speaker_has_a_pace(italian):
    many = np.flatnonzero(np.diff(italian.first) >= 50)
    means = [italian.samples[italian.first[s] : italian.first[s + 1]].mean() for s in many]
    assert np.std(means) > 0.4 * italian.samples.std()


def test_the_profile_is_always_the_same(italian):
    assert (speech.load("common-voice-it-7").samples == italian.samples).all()


def test_rescaling_meets_the_mean(italian):
    scaled = italian.rescaled(5.5)
    assert scaled.seconds / scaled.clips == pytest.approx(5.5, abs=1e-5)
    assert (scaled.first == italian.first).all()


def test_limiting_drops_longer_clips_and_empty_speakers(italian):
    short = italian.limited(3.0)
    assert short.samples.max() <= 48_000
    assert short.clips == (italian.samples <= 48_000).sum()
    assert (np.diff(short.first) >= 1).all()
    assert short.speakers < italian.speakers
    with pytest.raises(TraceError, match="no clip of"):
        italian.limited(0.5)


def test_lengths_of_a_real_corpus():
    real = Speech.of("mine", ["b", "a", "b"], [1.0, 2.0, 0.5])
    assert real.first.tolist() == [0, 1, 3]
    assert real.samples.tolist() == [32_000, 16_000, 8_000]
    with pytest.raises(TraceError):
        Speech.of("mine", [], [])
    with pytest.raises(TraceError):
        Speech.of("mine", ["a"], [0.0])


def test_by_speaker_is_a_permutation_that_goes_round(italian):
    loads = workload.by_speaker(italian, 4)
    mine = loads.of(np.arange(2 * italian.speakers))
    assert sorted(mine[: italian.speakers].tolist()) == list(range(italian.speakers))
    assert (mine[italian.speakers :] == mine[: italian.speakers]).all()
    assert not (workload.by_speaker(italian, 5).of(np.arange(100)) == mine[:100]).all()
    assert loads.utterances.sum() == italian.clips


def test_equal_hours_are_about_equal_and_split_no_speaker(italian):
    loads = workload.equal_hours(italian, 10, 4)
    assert loads.count == 10
    assert loads.seconds.sum() == pytest.approx(italian.seconds)
    assert loads.seconds.max() - loads.seconds.min() < 0.001 * loads.seconds.mean()
    assert sorted(loads.of(np.arange(10)).tolist()) == list(range(10))
    tagged = Speech("t", np.array([0, 2, 5, 6, 10]), np.array([11, 11, 22, 22, 22, 33, 44, 44, 44, 44]))
    parts = workload.equal_hours(tagged, 2, 0)
    sets = [set(parts.samples[a:b].tolist()) for a, b in zip(parts.first, parts.first[1:], strict=False)]
    assert sets[0] & sets[1] == set()
    assert sets[0] | sets[1] == {11, 22, 33, 44}
    with pytest.raises(ScenarioError, match="5 clients"):
        workload.equal_hours(tagged, 5, 0)


def test_a_fixed_number_of_utterances(italian):
    ten = workload.fixed(italian, 19_473, 10, 1)
    assert ten.utterances.tolist() == [19_473] * 10
    assert ten.samples.size == 194_730
    assert abs(ten.samples.sum() - italian.samples.sum()) <= 2 * 11.5 * 16_000
    many = workload.fixed(italian, 20, 5000, 1)
    assert many.count == 1024
    assert (many.of(np.arange(5000)) == np.arange(5000) % 1024).all()
    few = workload.fixed(italian, 20, 7, 1)
    assert (few.samples == many.samples[: 7 * 20]).all()
    with pytest.raises(ScenarioError):
        workload.fixed(italian, 0, 7, 1)


def test_batches_by_hand():
    loads = workload.Workloads(np.array([0, 5, 6]), np.array([3, 9, 4, 7, 5, 8]), np.array([0, 1]))
    made = batches.make(loads, 2, "sorted", 0)
    assert made.first.tolist() == [0, 3, 4]
    assert made.size.tolist() == [2, 2, 1, 1]
    assert made.samples.tolist() == [4, 7, 9, 8]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=9), min_size=1, max_size=6),
    st.integers(1, 5),
    st.sampled_from(batches.ORDERS),
    st.integers(0, 99),
)
def test_every_clip_is_in_one_batch_of_its_own_workload(clips, batch_size, order, seed):
    count = np.array([len(c) for c in clips])
    first = np.concatenate([[0], np.cumsum(count)])
    loads = workload.Workloads(first, np.concatenate(clips), np.arange(len(clips)))
    made = batches.make(loads, batch_size, order, seed)
    for w, mine in enumerate(clips):
        size = made.size[made.first[w] : made.first[w + 1]]
        samples = made.samples[made.first[w] : made.first[w + 1]]
        assert size.sum() == len(mine)
        assert (size[:-1] == batch_size).all()
        assert samples.max() == max(mine)
        assert set(samples.tolist()) <= set(mine)
        assert (size * samples).sum() >= sum(mine)
        if order == "sorted":
            assert samples.tolist() == sorted(samples.tolist())


def test_sorted_batches_pad_hardly_anything(italian):
    loads = workload.fixed(italian, 5000, 4, 1)
    padded = {}
    for order in batches.ORDERS:
        made = batches.make(loads, 4, order, 1)
        padded[order] = (made.size * made.samples).sum() / loads.samples.sum()
    assert padded["sorted"] < 1.01
    assert padded["shuffled"] > 1.25


def test_batches_that_cannot_be_are_refused():
    loads = workload.Workloads(np.array([0, 1]), np.array([3]), np.array([0]))
    with pytest.raises(ScenarioError, match="a batch of 0"):
        batches.make(loads, 0, "sorted", 0)
    with pytest.raises(ScenarioError, match="'random' is no order"):
        batches.make(loads, 1, "random", 0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("clips: 194732", "clips: 12.5", "give a whole number"),
        ("clips: 194732", "clips: 12", "less than one a speaker"),
        ("mean: 5.34s", "mean: 99s", "must lie between"),
        ("mean: 5.34s", "mean: soon", "mean: is 'soon'; give a length from 0s to 1h, such as 5.3s"),
        ("shape: 2.2", "shap: 2.2", "'shap' is not a known key; did you mean 'shape'"),
        ("shape: 2.2\n", "", "is missing"),
    ],
)
def test_a_faulty_profile_is_one_sentence(tmp_path, old, new, said):
    from fedsim import paths

    text = paths.find("common-voice-it-7", "traces/lengths", ".yaml").read_text()
    assert old in text
    path = tmp_path / "p.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(TraceError, match=said):
        speech.load(str(path))


def test_a_profile_that_is_not_there():
    with pytest.raises(TraceError, match=r"there is no corpus 'klingon'.*common-voice-it-7"):
        speech.load("klingon")

"""The embedded corpus: the same bytes always, whoever else speaks; right Italian; atomic on disk."""

from __future__ import annotations

import hashlib
import multiprocessing
from pathlib import Path

import numpy as np
import psutil
import pytest

from fedsim import checks, paths
from fedsim.errors import CorpusError, ScenarioError
from fedsim.learning import Learning
from fedsim.tasks.speech import corpus
from fedsim.tasks.speech.corpus import Espeak, espeak, italian, store
from fedsim.tasks.speech.corpus.voices import VARIANTS, speaker

SPEC = Espeak(speakers=4, minutes=0.2)


def _bytes_by_speaker(made: store.Corpus) -> dict[str, str]:
    digests = {}
    for name in sorted(set(made.speaker)):
        mine = [made.waveform(i).tobytes() for i in range(len(made)) if made.speaker[i] == name]
        digests[name] = hashlib.sha256(b"".join(mine)).hexdigest()
    return digests


def test_same_parameters_give_same_bytes_in_another_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = corpus.load(SPEC)
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path))
    again = corpus.load(SPEC)
    assert again.folder != first.folder
    assert np.array_equal(first.audio, again.audio)
    assert first.text == again.text
    assert first.speaker == again.speaker


def test_a_speaker_says_the_same_whoever_else_speaks() -> None:
    few = _bytes_by_speaker(corpus.load(SPEC))
    more = _bytes_by_speaker(corpus.load(Espeak(speakers=5, minutes=0.25)))
    assert few == {name: more[name] for name in few}
    assert len(set(more.values())) == 5


def test_another_seed_speaks_otherwise() -> None:
    one, other = corpus.load(SPEC), corpus.load(Espeak(speakers=4, minutes=0.2, seed=1))
    assert set(_bytes_by_speaker(one).values()).isdisjoint(_bytes_by_speaker(other).values())


def test_minutes_speakers_and_splits_are_as_asked() -> None:
    made = corpus.load(SPEC)
    assert made.audio.dtype == np.int16
    longest = made.samples.max() / 16_000
    for name in set(made.speaker):
        spoken = sum(made.samples[i] for i in range(len(made)) if made.speaker[i] == name) / 16_000
        assert 3.0 <= spoken < 3.0 + longest
    held_out = {made.speaker[i]: made.split[i] for i in range(len(made))}
    assert held_out == {
        "espeak-0000": "train", "espeak-0001": "train", "espeak-0002": "validation", "espeak-0003": "test",
    }  # fmt: skip
    assert all(made.waveform(i).std() > 100 for i in range(len(made)))
    assert [espeak.split_of(n, 40) for n in range(40)].count("train") == 32


def test_a_larger_corpus_keeps_speakers_and_their_splits() -> None:
    assert [speaker(n, 0) for n in range(12)] == [speaker(n, 0) for n in range(60)][:12]
    assert len({speaker(n, 0).variant for n in range(len(VARIANTS))}) == len(VARIANTS)
    assert [espeak.split_of(n, 20) for n in range(20)] == [espeak.split_of(n, 90) for n in range(20)]


def test_no_process_and_no_temporary_folder_stay_behind() -> None:
    made = corpus.load(Espeak(speakers=3, minutes=0.1, seed=5))
    assert multiprocessing.active_children() == []
    assert [c for c in psutil.Process().children() if "synth" in " ".join(c.cmdline())] == []
    assert [entry.name for entry in made.folder.parent.iterdir() if entry.name.startswith(".")] == []


def test_a_damaged_cache_is_made_again() -> None:
    spec = Espeak(speakers=3, minutes=0.1, seed=6)
    made = corpus.load(spec)
    before = np.array(made.audio)
    (made.folder / "audio.i16").write_bytes(b"1234")
    assert np.array_equal(corpus.load(spec).audio, before)


def test_two_makers_of_one_corpus_leave_one(tmp_path: Path) -> None:
    place = tmp_path / "corpora" / "twice"

    def make(folder: Path) -> None:
        if not place.exists():  # somebody else finishes while this one is at work
            store.cached(place, make_plain)
        make_plain(folder)

    def make_plain(folder: Path) -> None:
        (folder / "audio.i16").write_bytes(np.arange(8, dtype="<i2").tobytes())
        store.write_table(folder, ["a"], ["ciao"], [8], ["train"])

    assert len(store.cached(place, make)) == 1
    assert [entry.name for entry in place.parent.iterdir()] == ["twice"]


def test_a_cache_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "file"))
    with pytest.raises(CorpusError, match="the cache folder cannot be written"):
        corpus.load(SPEC)
    assert str(paths.cache_dir()).endswith("file")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"speakers": 2}, "2 is not at least 3"),
        ({"minutes": 0.01}, "at least a second"),
        ({"language": "tlh"}, "for 'it' only, not for 'tlh'"),
        ({"kind": "tape"}, "'tape' is not one of 'espeak'"),
    ],
)
def test_an_impossible_corpus_names_its_key(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ScenarioError, match=message) as caught:
        checks.check(Learning, {"corpus": fields}, key="learning", error=ScenarioError)
    assert (caught.value.key or "").startswith("learning.corpus")


@pytest.mark.parametrize(
    ("word", "feminine", "plural", "expected"),
    [
        ("libro", False, False, "il"), ("zaino", False, False, "lo"), ("studente", False, False, "lo"),
        ("amico", False, False, "l'"), ("sasso", False, True, "i"), ("scogli", False, True, "gli"),
        ("amici", False, True, "gli"), ("casa", True, False, "la"), ("isola", True, False, "l'"),
        ("ore", True, True, "le"),
    ],
)  # fmt: skip
def test_articles(word: str, feminine: bool, plural: bool, expected: str) -> None:
    assert italian.article(word, feminine, plural) == expected


def test_sentences_vary_and_are_pure() -> None:
    said = [italian.sentence(np.random.default_rng(7)) for _ in range(2)]
    assert said[0] == said[1]
    draw = np.random.default_rng(0)
    sentences = [italian.sentence(draw) for _ in range(400)]
    assert len(set(sentences)) > 390
    assert len({word for text in sentences for word in text.split()}) > 500
    assert len(italian.vocabulary()) > 600
    assert not [text for text in sentences if "  " in text or "_" in text or text != text.strip()]

"""Recognition: text, greedy decoding, error rates, and fine-tuning that learns what it hears."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from federations import built, changed

from fedsim import checks
from fedsim.errors import CorpusError, RunError, ScenarioError
from fedsim.learning import Federation, Way, make_learner
from fedsim.learning.restore import model_of
from fedsim.pricing.trained import Adapters, LoRA
from fedsim.tasks.ctc import Ctc, finetune
from fedsim.tasks.ctc.finetuning import Finetuning
from fedsim.tasks.ctc.recogniser import Recogniser
from fedsim.tasks.ctc.transcripts import Vocabulary, frames_needed
from fedsim.tasks.speech import batches, corpus
from fedsim.tasks.speech.corpus import Espeak
from fedsim.tasks.speech.text import normalise

QUICK = Finetuning(minutes=0.1, steps=2, batch_size=2, head_size=16, test_minutes=0.1)


def test_text_is_normalised() -> None:
    assert normalise("  L’amico, disse: «Perché?» 3 volte ") == "l'amico disse perché 3 volte"
    assert normalise("perche\u0301") == "perch\u00e9"
    assert normalise("... !") == ""


def test_vocabulary_and_greedy_decoding() -> None:
    words = Vocabulary.of(["nonna", "oh"])
    assert words.characters == (" ", "a", "h", "n", "o")
    assert len(words) == 6
    assert words.encode("anno x") == [2, 4, 4, 5, 1]
    n, o, a, space = 4, 5, 2, 1
    assert words.decode([0, n, n, o, 0, n, 0, n, n, a, a, 0]) == "nonna"
    assert words.decode([space, n, o, space, space, 0, space, a, space]) == "no a"
    assert words.decode([0, 0]) == ""
    assert frames_needed([4, 5, 4, 4, 2]) == 6


def test_error_rates_by_hand() -> None:
    pairs = [("il gatto dorme", "il gatto corre"), ("ciao", "")]
    wer, cer = finetune.error_rates(pairs)
    assert wer == pytest.approx(2 / 4)  # one word of three wrong, one of one left out
    assert cer == pytest.approx((2 + 4) / (14 + 4))  # d->c, m->r and four letters left out


def test_fine_tuning_learns_its_own_sentences() -> None:
    """A few utterances, learnt by heart: the loss must fall far below that of a model that guesses."""
    spec = Finetuning(minutes=0.05, steps=40, batch_size=1, learning_rate=1e-3, mask_probability=0.0)
    speech = corpus.load(Espeak(speakers=6, minutes=0.6))

    def recognise(spec: Finetuning) -> finetune.Recognition:
        return finetune.recognise(built("wav2vec2-tiny", 0).wav2vec2, spec, speech, 1)

    untrained, trained = recognise(replace(spec, steps=2)), recognise(spec)
    assert trained.loss < 0.6 * untrained.loss
    speakers = {speech.speaker[u] for u in speech.of_split("test")}
    assert speakers.isdisjoint(speech.speaker[u] for u in speech.of_split("train"))
    assert len(trained.pairs) >= 1
    assert all(said == normalise(said) for said, _ in trained.pairs)
    np.random.seed(3)  # whatever the global state is
    assert recognise(replace(spec, steps=2)) == untrained


@pytest.mark.parametrize("way", [Way(), Way(LoRA(4)), Way(Adapters(4), depth=2)])
def test_within_a_run_and_from_its_checkpoint(small: Federation, tmp_path: Path, way: Way) -> None:
    spec = changed(small, rounds=2, downstream=QUICK, ways=(way,))
    with make_learner(spec, 5, 1, tmp_path) as learner:
        learner.initial_metrics()
        rounds = [learner.train(r, np.arange(2), np.full(2, r)) for r in range(2)]
    names = [{(m, s) for m, s, _ in r.metrics} for r in rounds]
    assert ("wer", "test") not in names[0]
    assert {("wer", "test"), ("cer", "test")} < names[1]
    file = tmp_path / "round-00002.safetensors"
    task = spec.task
    again = task.finetune(model_of(task, file, 5), task.data(5), 5, "cpu")
    assert ("wer", "test", again.wer) in rounds[1].metrics
    with pytest.raises(RunError, match="cannot be read"):
        model_of(task, tmp_path / "round-00009.safetensors", 5)


def test_speech_without_transcripts_is_an_input_error() -> None:
    speech = corpus.load(Espeak(speakers=6, minutes=0.6))
    silent = replace(speech, text=("...",) * len(speech))
    encoder = built("wav2vec2-tiny", 0).wav2vec2
    with pytest.raises(CorpusError, match="no transcribed speech in the test split"):
        finetune.recognise(encoder, QUICK, silent, 1)
    with pytest.raises(ScenarioError, match="at least 1"):
        checks.check(Finetuning, {"steps": 0}, error=ScenarioError)


def test_a_text_of_figures_only_is_a_transcript() -> None:
    speech = corpus.load(Espeak(speakers=6, minutes=0.6))
    numbers = replace(speech, text=("1984",) * len(speech))
    tested = finetune.recognise(built("wav2vec2-tiny", 0).wav2vec2, QUICK, numbers, 1)
    assert {said for said, _ in tested.pairs} == {"1984"}


def test_batches_of_a_bucket_are_alike_in_length_and_hold_every_utterance() -> None:
    samples = np.random.default_rng(0).integers(8_000, 160_000, 64)
    endless = finetune._endless(np.arange(64), samples, 8, np.random.default_rng(1))
    first = [next(endless) for _ in range(8)]
    assert sorted(u for batch in first for u in batch) == list(range(64))
    spread = np.mean([np.ptp(samples[batch]) for batch in first])
    assert spread < 0.25 * np.ptp(samples)
    assert [next(endless) for _ in range(8)] != first


def test_a_long_recording_is_heard_in_pieces_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """5.2 s in pieces of at most a second: five of 49 frames and a half one; a short one is one piece."""
    net = Recogniser(built("wav2vec2-tiny", 0).wav2vec2, 8, 5).eval()
    wave = torch.randn(1, 88_000, generator=torch.Generator().manual_seed(0))  # 5.2 s, padded to 5.5
    there = torch.arange(88_000)[None] < 83_200
    with torch.no_grad():
        once, frames = net.hear(wave, there, np.array([83_200]))
        assert torch.equal(once, net(wave, there, None))
        assert frames.tolist() == [259]  # (83_200 - 400) // 320 + 1
        monkeypatch.setattr(batches, "LONGEST_S", 1)
        widths: list[int] = []
        net.encoder.register_forward_hook(lambda module, given, out: widths.append(given[0].shape[1]))
        pieces, frames = net.hear(wave, there, np.array([83_200]))
    assert sum(widths) == 88_000
    assert max(widths) <= 16_000
    assert pieces.shape == (1, sum(49 if width == 16_000 else 24 for width in widths), 5)
    assert frames.tolist() == [5 * 49 + (3_200 - 400) // 320 + 1]
    assert torch.allclose(pieces.exp().sum(-1), torch.ones(1))


@pytest.mark.parametrize("which", ["fine-tuning", "federated recognition"])
def test_one_long_test_recording_among_short_ones(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than four seconds are in the network at once, and every recording is recognised."""
    monkeypatch.setattr(batches, "LONGEST_S", 2)
    monkeypatch.setattr(batches, "EVALUATION_SECONDS", 4)
    speech = corpus.load(Espeak(speakers=6, minutes=0.6))
    test, validation = speech.of_split("test"), speech.of_split("validation")
    samples = speech.samples.copy()
    for utterance in (test[0], validation[0]):  # it goes on into what follows
        samples[utterance] = min(20 * 16_000, len(speech.audio) - speech.offset[utterance])
    assert samples[[test[0], validation[0]]].min() > 4 * 16_000
    speech = replace(speech, samples=samples)
    sizes: list[int] = []
    forward = Recogniser.forward

    def watched(self: Recogniser, waves: torch.Tensor, *rest: torch.Tensor | None) -> torch.Tensor:
        sizes.append(waves.numel())
        return forward(self, waves, *rest)

    monkeypatch.setattr(Recogniser, "forward", watched)
    if which == "fine-tuning":
        encoder = built("wav2vec2-tiny", 0).wav2vec2
        got = finetune.recognise(encoder, replace(QUICK, steps=1, test_minutes=9, batch_size=1), speech, 1)
        assert len(got.pairs) == len(test)
        sizes = sizes[1:]  # the step
    else:
        task = Ctc(corpus=Espeak(speakers=6, minutes=0.6), evaluation_seconds=1e6)
        data = task.data(0)
        data.corpus = speech
        net, draw = task.build().eval(), np.random.default_rng(0)
        made = [task.batch(data, chosen, draw, False) for chosen in data.held_out("validation")]
        with torch.no_grad():
            sums = [task.loss(net, batch, None).added_up() for batch in made]
        assert sum(s["count"] for s in sums) == len(validation)
        assert all(np.isfinite(s["loss"]) for s in sums)
    assert max(sizes) <= 4 * 16_000

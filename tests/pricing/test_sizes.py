"""The size of an example, from what people say."""

from __future__ import annotations

import dataclasses
import json

import pytest
from click.testing import CliRunner

import fedsim
from fedsim.cli import fedsim as cli
from fedsim.errors import InputError
from fedsim.pricing import load_trace
from fedsim.pricing.layers import NO_SIZE
from fedsim.pricing.polynomial import Axis
from fedsim.pricing.sizes import batch_in_words, in_words, size_of

SPEECH = load_trace("wav2vec2-tiny")


def with_axis(name):
    return dataclasses.replace(SPEECH, name="mine", axes=(Axis(name), *SPEECH.axes[1:]))


WORDS, ALIKE = with_axis("tokens"), with_axis(NO_SIZE)


def test_what_is_said_becomes_a_length():
    assert size_of(SPEECH) == 88_000  # 5.5 s at 16 kHz
    assert size_of(SPEECH, 2.0) == size_of(SPEECH, sizes={"samples": 32_000}) == 32_000
    assert size_of(WORDS, sizes={"tokens": 4096}) == 4096
    assert size_of(ALIKE) == 1
    said = [in_words(SPEECH, 88_000), in_words(WORDS, 4096), in_words(ALIKE, 1)]
    assert said == ["5.5 s", "4,096 tokens", ""]


@pytest.mark.parametrize(
    ("trace", "given", "said"),
    [
        (WORDS, {}, "an example of mine has tokens: give --size tokens=NUMBER"),
        (WORDS, {"seconds": 3.0}, "an example of mine has tokens, and no seconds: give --size tokens=NUMBER"),
        (WORDS, {"sizes": {"samples": 3}}, "an example of mine has tokens, and no 'samples'"),
        (WORDS, {"sizes": {"tokens": 0}}, "tokens=0 is not a size; give a whole number from 1"),
        (WORDS, {"sizes": {"tokens": 10**9}}, "tokens=1000000000 is not a size"),
        (ALIKE, {"seconds": 3.0}, "an example of mine has no size: all are alike, and no seconds"),
        (ALIKE, {"sizes": {"tokens": 3}}, "an example of mine has no size: all are alike, and no 'tokens'"),
        (SPEECH, {"seconds": 0.001}, "0.001 seconds leave wav2vec2-tiny no frame; give a longer sentence"),
        (SPEECH, {"seconds": float("nan")}, "nan seconds leave wav2vec2-tiny no frame"),
        (SPEECH, {"seconds": 1.0, "sizes": {"samples": 9000}}, "both seconds and samples are given"),
        (SPEECH, {"sizes": {"samples": 10}}, "10 samples leave wav2vec2-tiny no frame"),
    ],
)
def test_what_it_does_not_have_is_one_sentence(trace, given, said):
    with pytest.raises(InputError, match=said):
        size_of(trace, **given)


def test_a_batch_in_the_models_own_unit():
    said = [batch_in_words(SPEECH, 4, 5.5), batch_in_words(WORDS, 8, 4096), batch_in_words(ALIKE, 8, 1)]
    assert said == ["4 x 5.5 s", "8 x 4,096 tokens", "8 examples"]


def test_cost_takes_a_size():
    asked = ["cost", "-d", "raspberry-pi-5", "-m", "wav2vec2-tiny", "--json"]
    by_size = CliRunner().invoke(cli, [*asked, "--size", "samples=32000"], catch_exceptions=False)
    assert json.loads(by_size.stdout) == fedsim.cost("raspberry-pi-5", "wav2vec2-tiny", seconds=2.0)
    with pytest.raises(InputError, match="'samples:3' is not a size; write its name and a whole number"):
        CliRunner().invoke(cli, [*asked, "--size", "samples:3"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("model", "size", "same"),
    [
        ("language_model", ["--tokens", "128"], {"sizes": {"tokens": 128}}),
        ("language_model", ["--size", "tokens=128"], {"sizes": {"tokens": 128}}),
        ("wav2vec2-tiny", ["--seconds", "2"], {"sizes": {"samples": 32_000}}),
        ("digits-cnn", [], {}),
    ],
)
def test_every_way_to_say_a_size(model, size, same):
    done = CliRunner().invoke(
        cli, ["cost", "-d", "raspberry-pi-5", "-m", model, *size, "--json"], catch_exceptions=False
    )
    assert json.loads(done.stdout) == fedsim.cost("raspberry-pi-5", model, **same)


@pytest.mark.parametrize("verb", ["cost", "fit"])
@pytest.mark.parametrize(
    ("size", "said"),
    [
        ([], "an example of language_model has tokens: give --size tokens=NUMBER"),
        (["--seconds", "3"], "has tokens, and no seconds: give --size tokens=NUMBER"),
        (["--tokens", "1", "--size", "tokens=2"], "tokens is given more than once; give one size"),
        (["--tokens", "0"], "tokens=0 is not a size; give a whole number from 1"),
        (["--size", "tokens"], "'tokens' is not a size; write its name and a whole number, as in tokens=128"),
    ],
)
def test_a_size_that_is_wrong_is_one_sentence_everywhere(verb, size, said):
    asked = [verb, "-d", "raspberry-pi-5", "-m", "language_model", *size]
    with pytest.raises(InputError, match=said):
        CliRunner().invoke(cli, asked, catch_exceptions=False)

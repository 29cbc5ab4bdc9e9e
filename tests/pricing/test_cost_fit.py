"""What makes training fit: held against a brute force that prices every technique on its own."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.cli.fit import answer, command
from fedsim.errors import InputError
from fedsim.hardware import load_device
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.pricing.advice import GRAVITY, Fit, Longest, micro_batches, others, techniques, ways
from fedsim.pricing.technique import ATTENTIONS, CHECKPOINTINGS, OPTIMIZERS
from fedsim.pricing.trained import Everything, FrozenCNN, Head, Last

BATCH, SAMPLES = 4, 12 * 16_000


@pytest.fixture(scope="module")
def tiny():
    return load_trace("wav2vec2-tiny")


@pytest.fixture(scope="module")
def roomy():
    return load_device("jetson-xavier-nx")


@pytest.fixture(scope="module")
def brute(tiny, roomy):
    """(technique, footprint, seconds) of every combination, each from a pricer of its own."""
    found = []
    fields = (OPTIMIZERS, ATTENTIONS, CHECKPOINTINGS, (Everything(), FrozenCNN()), (1, 2, 4))
    product = (Technique(*v) for v in itertools.product(roomy.training_precisions, *fields))
    for technique in (*product, *others(roomy.training_precisions, BATCH, tiny)):
        pricer = Pricer(roomy, tiny, technique)
        found.append(
            (technique, float(pricer.footprint_bytes(BATCH, SAMPLES)), float(pricer.step_s(BATCH, SAMPLES)))
        )
    return found


def with_room(device, room_bytes):
    return replace(device, memory_bytes=device.system_bytes + room_bytes)


@pytest.fixture(scope="module")
def tight(brute):
    """Room for about half of the combinations, not for plain training."""
    needs = sorted(need for _, need, _ in brute)
    plain = next(need for technique, need, _ in brute if technique == Technique())
    room = needs[len(needs) // 3]
    assert room < plain
    return room


@pytest.fixture(scope="module")
def fit(tiny, roomy, tight):
    return Fit(with_room(roomy, tight), tiny, BATCH, SAMPLES)


def test_every_combination_costs_what_a_pricer_says(fit, brute):
    priced = {technique: (need, seconds) for technique, need, seconds in brute}
    for option in fit.options:
        need, seconds = priced[option.technique]
        assert option.footprint_bytes == need
        assert option.step_s == pytest.approx(seconds, rel=1e-12)
        assert option.fits == (need <= fit.available_bytes)
    for option in fit.options[::25]:
        assert option.fits == bool(Pricer(fit.device, fit.trace, option.technique).fits(BATCH, SAMPLES))


def test_nothing_is_left_out_that_differs(fit, brute):
    """What is not listed is checkpointing of a frozen encoder, which equals a listed combination."""
    listed = {option.technique: option for option in fit.options}
    fewer = {"cnn": "none", "both": "transformer"}
    for technique, need, seconds in brute:
        if technique not in listed:
            assert technique.train == FrozenCNN()
            twin = listed[replace(technique, checkpointing=fewer[technique.checkpointing])]
            assert (need, seconds) == (twin.footprint_bytes, pytest.approx(twin.step_s, rel=1e-12))
    more = list(others(fit.device.training_precisions, BATCH, fit.trace))
    assert len(listed) == len(fit.options) == 2 * 6 * 2 * 6 * 3 + len(more)
    assert len(more) == len(set(more))


def test_the_fastest_is_the_minimum_of_the_brute_force(fit, brute, tight):
    steps = [s for t, need, s in brute if need <= tight and not t.forward_only]
    assert fit.fastest.step_s == pytest.approx(min(steps), rel=1e-12)
    whole = [(t, need, s) for t, need, s in brute if t.train == Everything() and t.depth is None]
    same = [s for t, n, s in whole if n <= tight and t.optimizer == "adam" and not t.forward_only]
    assert fit.fastest_same_learning.step_s == pytest.approx(min(same), rel=1e-12)
    assert fit.fastest_same_learning.effect in ("same", "rounding")


def test_the_cheapest_has_the_fewest_changes(fit, brute, tight):
    gravity = {option.technique: GRAVITY.index(option.effect) for option in fit.options}
    fitting = [
        (len(t.changes(Technique())), gravity[t], s) for t, need, s in brute if need <= tight and t in gravity
    ]
    fewest, least_grave, fastest = min(fitting)
    assert len(fit.cheapest.changes) == fewest >= 1
    assert GRAVITY.index(fit.cheapest.effect) == least_grave
    assert fit.cheapest.step_s == pytest.approx(fastest, rel=1e-12)


def test_plain_is_cheapest_where_it_fits(tiny, roomy):
    fit = Fit(roomy, tiny, BATCH, SAMPLES)
    assert fit.plain.fits
    assert fit.cheapest == fit.plain
    assert fit.plain.changes == ()


def test_the_table_is_sorted_and_the_front_unbeaten(fit):
    flags = [option.fits for option in fit.options]
    assert flags == sorted(flags, reverse=True)
    fitting = [option.step_s for option in fit.options if option.fits]
    assert fitting == sorted(fitting)
    needs = [option.footprint_bytes for option in fit.options if not option.fits]
    assert needs == sorted(needs)
    assert fit.fastest == next(option for option in fit.front if not option.technique.forward_only)
    for option in fit.front:
        assert not any(o.step_s < option.step_s and o.beats(option) for o in fit.options)


def test_what_is_missing_by_hand(tiny, roomy, brute):
    least = min(need for _, need, _ in brute)
    fit = Fit(with_room(roomy, least - 1e6), tiny, BATCH, SAMPLES)
    assert fit.fastest is fit.cheapest is fit.fastest_same_learning is None
    assert fit.missing_bytes == pytest.approx(1e6)
    assert Fit(with_room(roomy, least), tiny, BATCH, SAMPLES).missing_bytes == 0


def test_the_longest_sentence_fits_and_one_sample_more_does_not(fit):
    assert fit.longest_plain.technique == Technique()
    assert 0 < fit.longest_plain.size < SAMPLES
    for longest in (fit.longest_plain, fit.longest_same_learning, fit.longest):
        pricer = Pricer(fit.device, fit.trace, longest.technique)
        assert bool(pricer.fits(BATCH, longest.size))
        assert not bool(pricer.fits(BATCH, longest.size + 1))
    assert fit.longest_plain.size <= fit.longest_same_learning.size <= fit.longest.size
    for option in fit.options[::17]:
        assert not bool(Pricer(fit.device, fit.trace, option.technique).fits(BATCH, fit.longest.size + 1))


@settings(max_examples=4, deadline=None)
@given(share=st.floats(0.3, 1.5), more=st.floats(1.0, 2.0))
def test_more_memory_never_makes_it_worse(tiny, roomy, share, more):
    least = 1.5e9
    less = Fit(with_room(roomy, least * share), tiny, BATCH, SAMPLES)
    much = Fit(with_room(roomy, least * share * more), tiny, BATCH, SAMPLES)
    assert much.missing_bytes <= less.missing_bytes
    assert much.longest_plain.size >= less.longest_plain.size
    if less.fastest is not None:
        assert much.fastest.step_s <= less.fastest.step_s
        assert len(much.cheapest.changes) <= len(less.cheapest.changes)


def test_micro_batches_halve(tiny):
    assert micro_batches(1) == (1,)
    assert micro_batches(2) == (1, 2)
    assert micro_batches(5) == (1, 2, 4, 5)
    assert micro_batches(8) == (1, 2, 4, 8)
    assert len(list(techniques(("fp32",), 1, tiny))) == 6 * 2 * 6


def test_effects_on_learning(fit):
    effects = {option.technique: option.effect for option in fit.options}
    assert effects[Technique(attention="sdpa", checkpointing="both", accumulate=4)] == "same"
    assert effects[Technique(precision="mixed", accumulate=2)] == "rounding"
    assert effects[Technique(precision="mixed", optimizer="adam8bit")] == "learning"
    assert effects[Technique(train=FrozenCNN())] == "learning"
    assert Technique(precision="mixed", accumulate=2, train=FrozenCNN()).in_words() == (
        "2 micro-batches, mixed, frozen CNN"
    )


def test_ways_that_learn_otherwise(fit):
    """Marked so, and steps of forward passes only are not taken for steps like others."""
    words = {way.in_words() for way in ways(ALIKE)}
    assert {"last layer", "last 2 layers", "forward passes only"} <= words
    assert not any("depth" in word or "adapters" in word for word in words)  # it has no repeated blocks
    by_technique = {option.technique: option for option in fit.options}
    for train in (Last(1), Head()):
        assert by_technique[Technique(train=train)].effect == "learning"
    assert by_technique[Technique(release_gradients=True)].effect == "same"
    estimates = by_technique[Technique(forward_only=True)]
    assert (estimates.effect, estimates.words) == (
        "learning",
        "forward passes only, needs many more steps",
    )
    assert not fit.fastest.technique.forward_only
    assert fit.options[0].technique.forward_only or fit.options[0] == fit.fastest


def test_a_device_without_room_is_an_answer():
    done = CliRunner().invoke(
        command, ["-d", "raspberry-pi-4", "-m", "wav2vec2-large", "-s", "900", "--json"]
    )
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["fits"] is False
    assert said["fastest"] is said["cheapest"] is None
    assert said["missing_bytes"] == pytest.approx(
        said["leanest"]["footprint_bytes"] - said["available_bytes"]
    )
    shown = CliRunner().invoke(command, ["-d", "raspberry-pi-4", "-m", "wav2vec2-large", "-s", "900"])
    assert shown.exit_code == 0
    assert "does not fit" in shown.stdout
    assert "missing" in shown.stdout


def test_room_for_forward_passes_only_is_an_answer():
    """Nothing else fits: no combination is the fastest, but there is one."""
    asked = ["-d", "raspberry-pi-4", "-m", "wav2vec2-large", "-s", "90"]
    said = json.loads(CliRunner().invoke(command, [*asked, "--json"]).stdout)
    assert said["fits"] is True
    assert said["fastest"] is said["cheapest"] is None
    assert said["missing_bytes"] == 0
    assert said["leanest"]["forward_only"] is said["leanest"]["needs_many_more_steps"] is True
    assert "fits without a backward pass only" in CliRunner().invoke(command, asked).stdout


def test_the_table_on_screen(tiny, roomy):
    arguments = ["-d", "jetson-xavier-nx", "-m", "wav2vec2-tiny", "-s", "3"]
    few = CliRunner().invoke(command, arguments, env={"COLUMNS": "200"}).stdout
    everything = CliRunner().invoke(command, [*arguments, "--all"], env={"COLUMNS": "200"}).stdout
    number = len(Fit(roomy, tiny, 4, 48_000).options)
    assert sum(line.startswith("fits ") for line in everything.splitlines()) == number
    assert 0 < sum(line.startswith("fits ") for line in few.splitlines()) <= 15


def test_the_json_is_the_answer(fit):
    said = json.loads(json.dumps(answer(fit)))
    assert said["available_bytes"] == fit.available_bytes
    assert said["fastest"] == next(o for o in said["options"] if not o["needs_many_more_steps"])
    assert said["longest"]["any"]["seconds"] == fit.longest.size / 16_000


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0", "0.01", "1e9"])
def test_bad_lengths_are_one_sentence(seconds):
    done = CliRunner().invoke(command, ["-d", "raspberry-pi-4", "-m", "wav2vec2-tiny", "-s", seconds])
    assert isinstance(done.exception, InputError)
    assert re.search(
        r"seconds leave wav2vec2-tiny no frame|give an hour \(3600 s\) at most", str(done.exception)
    )
    assert done.exception.exit_code == 2


WORDS, ALIKE = load_trace("language_model"), load_trace("digits-cnn")


def test_the_most_tokens_that_fit(roomy):
    """One more does not, whatever the technique."""
    fit = Fit(with_room(roomy, 2e9), WORDS, BATCH, 64)
    for longest in (fit.longest_plain, fit.longest_same_learning, fit.longest):
        pricer = Pricer(fit.device, WORDS, longest.technique)
        assert bool(pricer.fits(BATCH, longest.size))
        assert not bool(pricer.fits(BATCH, longest.size + 1))
    said = answer(fit)
    assert said["sizes"] == {"tokens": 64}
    assert said["longest"]["any"]["sizes"] == {"tokens": fit.longest.size}
    assert "samples" not in said
    assert not {"samples", "seconds"} & set(said["longest"]["any"])


def test_the_largest_batch_where_examples_are_alike(roomy):
    """Device memory that a batch of 100 just fills."""
    need = float(Pricer(roomy, ALIKE, Technique()).footprint_bytes(100, 1))
    fit = Fit(with_room(roomy, need), ALIKE, BATCH, 1)
    assert fit.longest_plain == Longest(100, Technique())
    assert fit.longest.size >= fit.longest_same_learning.size >= 100
    assert fit.longest.technique.accumulate == 1  # cut up, any batch would fit
    said = answer(fit)
    assert said["largest_batch"]["plain"]["batch"] == 100
    assert "longest" not in said
    none = Fit(with_room(roomy, 1e6), ALIKE, BATCH, 1)
    assert none.longest.size == 0


def test_only_techniques_that_the_model_has(tiny):
    """Without blocks there is nothing to checkpoint, and without a CNN encoder nothing to freeze."""
    few, all_of_them = (list(techniques(("fp32",), 4, trace)) for trace in (ALIKE, tiny))
    assert len(few) == 6 * 2 * 3  # optimizers, attention, micro-batches
    assert {t.checkpointing for t in few} == {"none"}
    assert set(few) < set(all_of_them)
    transformer = replace(tiny, blocks={n: b for n, b in tiny.blocks.items() if b.stack == "transformer"})
    assert {t.checkpointing for t in techniques(("fp32",), 4, transformer)} == {"none", "transformer"}
    assert not any(t.train == FrozenCNN() for t in techniques(("fp32",), 4, transformer))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["-m", "language_model", "--tokens", "64"], ["4 x 64 tokens", "largest number of tokens that fits"]),
        (["-m", "digits-cnn"], ["4 examples", "largest batch that fits, in one piece", "65,536 or more"]),
        (["-m", "language_model", "--size", "tokens=1"], ["4 x 1 tokens"]),
    ],
)
def test_nothing_is_said_of_speech_where_there_is_none(asked, says):
    done = CliRunner().invoke(command, ["-d", "jetson-xavier-nx", *asked], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert all(words in done.stdout for words in says)
    assert not [word for word in ("entence", "codebook", "CNN", "speech") if word in done.stdout]

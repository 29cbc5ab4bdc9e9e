"""Pricing a step: parts that add up, arrays that equal scalars, and what must never fall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedsim.errors import InputError
from fedsim.hardware import load_device
from fedsim.pricing import FEATURES, Pricer, Rates, StepWork, Technique, TechniqueError, load_trace
from fedsim.pricing.footprint import footprint_bytes
from fedsim.pricing.memory import SLACK
from fedsim.pricing.optimizer import optimizer_cost
from fedsim.pricing.step_time import seconds_by_part, throttled_s
from fedsim.pricing.technique import CHECKPOINTINGS, OPTIMIZERS
from fedsim.pricing.trained import Everything, FrozenCNN
from fedsim.pricing.transfer import update_bytes
from fedsim.pricing.work import collect, contenders

TECHNIQUES = (
    Technique(),
    Technique(precision="mixed", attention="sdpa"),
    Technique(checkpointing="both", optimizer="adafactor"),
    Technique(train=FrozenCNN(), accumulate=3, optimizer="momentum"),
)
RATES = Rates(1e-5, 2e12, 3e11, 5e12, 4e12, 6e11)


@pytest.fixture(scope="module")
def base():
    return load_trace("wav2vec2-base")


@pytest.fixture(scope="module")
def a40():
    return load_device("nvidia-a40")


@pytest.fixture(
    scope="module", params=TECHNIQUES, ids=lambda t: f"{t.checkpointing}-{t.attention}-{t.accumulate}"
)
def pricer(request, base, a40):
    return Pricer(a40, base, request.param)


batches, lengths = st.integers(1, 33), st.integers(500, 16_000 * 30)
common = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(batch=batches, samples=lengths)
@common
def test_parts_add_up(pricer, batch, samples):
    parts = pricer.footprint(batch, samples)
    assert float(sum(parts.values())) == pytest.approx(
        float(pricer.footprint_bytes(batch, samples)), rel=1e-12
    )
    assert all(value >= 0 for name, value in parts.items() if name != "workspace")
    steps = pricer.step(batch, samples)
    assert float(sum(steps.values())) == pytest.approx(float(pricer.step_s(batch, samples)), rel=1e-12)
    assert all(value >= 0 for value in steps.values())


@given(batch=batches, samples=lengths, more=st.integers(1, 5), longer=st.integers(1, 40_000))
@common
def test_never_less_for_more(pricer, batch, samples, more, longer):
    for price in (pricer.footprint_bytes, pricer.saved_bytes, pricer.training_flops, pricer.step_s):
        here = float(price(batch, samples))
        assert float(price(batch, samples + longer)) >= here
        if price != pricer.step_s:  # a batch of 1 spares copies, a batch of 2 may not
            assert float(price(batch + more, samples)) >= here


def test_a_million_at_once_equals_one_by_one(pricer):
    rng = np.random.default_rng(5)
    batch = rng.integers(1, 20, 20_000)
    samples = rng.integers(400, 16_000 * 36, 20_000)
    step, peak = pricer.step_s(batch, samples), pricer.footprint_bytes(batch, samples)
    for i in rng.integers(0, 20_000, 25):
        one = (int(batch[i]), int(samples[i]))
        assert step[i] == pytest.approx(float(pricer.step_s(*one)), rel=1e-12)
        assert peak[i] == pytest.approx(float(pricer.footprint_bytes(*one)), rel=1e-12)


def test_arrays_broadcast(pricer):
    shape = pricer.step_s(np.array([[1], [2], [3]]), np.array([16_000, 32_000])).shape
    assert (
        shape == pricer.footprint_bytes(np.array([[1], [2], [3]]), np.array([16_000, 32_000])).shape == (3, 2)
    )


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_few_moments_hold_the_peak_of_all(data):
    trace = load_trace(data.draw(st.sampled_from(("wav2vec2-tiny", "wav2vec2-base", "wavlm-base-plus"))))
    variant = data.draw(st.sampled_from(trace.variants))
    technique = Technique(
        checkpointing=data.draw(st.sampled_from(CHECKPOINTINGS)),
        train=data.draw(st.sampled_from([Everything(), FrozenCNN()])),
        accumulate=data.draw(st.integers(1, 2)),
    )
    work = collect(trace, variant, technique)
    assert len(work.few_moments.moments) < len(work.all_moments.moments)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    batch = np.ones(300) if variant.endswith("@1") else rng.integers(1, 300, 300).astype(float)
    samples = np.geomspace(1, 16_000 * 3600, 300).astype(int)
    axes = [a.astype(float) for a in trace.lengths(samples)]
    everything = np.max([moment.total(batch, axes) for moment in work.timeline.moments], axis=0)
    np.testing.assert_array_equal(work.few_moments.peak_bytes(batch, axes), everything)
    np.testing.assert_array_equal(sum(work.few_moments.peak(batch, axes).values()), everything)


@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=12),
    st.lists(st.tuples(*[st.integers(0, 50)] * 3), min_size=1, max_size=8),
)
@settings(deadline=None)
def test_what_is_left_out_is_never_the_largest(rows, values):
    table, at = np.array(rows, float), np.array(values, float).T
    kept = contenders(table)
    np.testing.assert_array_equal((table[kept] @ at).max(axis=0), (table @ at).max(axis=0))
    for row in kept:  # and none is left in that another kept one covers
        assert not any((table[other] >= table[row]).all() for other in kept if other != row)


def test_features_are_what_the_layers_add_up_to(base):
    work = StepWork(base, "cpu", Technique(optimizer="sgd"))
    features = dict(zip(FEATURES, work.features(3, 70_000), strict=True))
    variant = "cpu/eager/fp32"

    def total(metric, arithmetic=None):
        values = base.per_layer(metric, variant, 3, 70_000)
        return sum(
            v for layer, v in zip(base.layers, values, strict=True) if arithmetic in (None, layer.arithmetic)
        )

    for kind in ("conv", "grouped_conv", "matmul", "attention"):
        assert features[f"{kind}_flops"] == total("forward_flops", kind) + total("backward_flops", kind)
    assert features["stream_bytes"] == total("forward_stream_bytes") + total("backward_stream_bytes")
    tensors = sum(layer.tensors for layer in base.layers)
    assert features["launches"] == total("forward_launches") + total("backward_launches") + tensors
    assert features["optimizer_bytes"] == 12 * base.parameters  # read gradient and weight, write weight


def test_seconds_are_features_over_rates(base):
    work = StepWork(base, "cuda", Technique())
    features = work.features(2, 50_000)
    f = dict(zip(FEATURES, features, strict=True))
    parts = seconds_by_part(features, RATES)
    assert parts["launches"] == pytest.approx(f["launches"] * 1e-5)
    assert parts["convolution"] == pytest.approx(f["conv_flops"] / 2e12 + f["grouped_conv_flops"] / 3e11)
    assert parts["matmul"] == pytest.approx(f["matmul_flops"] / 5e12)
    assert parts["memory"] == pytest.approx(f["stream_bytes"] / 6e11)
    assert float(work.weighted(RATES.seconds_per_unit(), 2, 50_000)) == pytest.approx(sum(parts.values()))


def test_footprint_by_hand(base, a40):
    """At 12 s x 8 nothing but the backward sweep can be the peak; weights and state are plain."""
    pricer = Pricer(a40, base, Technique())
    parts = {k: float(v) for k, v in pricer.footprint(8, 192_000).items()}
    assert parts["weights"] == 4 * base.parameters
    assert parts["optimizer"] == 8 * base.parameters
    assert parts["runtime"] == a40.runtime_bytes
    dynamic = parts["saved"] + parts["workspace"] + parts["gradients"]
    assert parts["slack"] == pytest.approx(SLACK["cuda"].fixed_bytes + SLACK["cuda"].share * dynamic)
    assert dynamic > float(pricer.saved_bytes(8, 192_000))


# Resident peaks of real steps: torch 2.13 on a CPU, one thread, eager fp32, Adam, bytes resident
# after importing torch and transformers 0.385e9. None of them was used to choose a constant.
@pytest.mark.parametrize(
    ("batch", "seconds", "resident_bytes"),
    [(1, 3, 2.286e9), (1, 5.5, 2.776e9), (2, 5.5, 3.549e9), (2, 8, 4.739e9), (4, 5.5, 5.632e9)],
)
def test_footprints_of_real_steps_within_ten_per_cent(base, batch, seconds, resident_bytes):
    work = StepWork(base, "cpu", Technique())
    predicted = float(footprint_bytes(work, 0.385e9, batch, round(seconds * 16_000)))
    assert predicted == pytest.approx(resident_bytes, rel=0.1)


def test_the_optimizer_step_can_be_the_peak(base, a40):
    parts = Pricer(a40, base, Technique()).footprint(1, 4_000)
    assert float(parts["gradients"]) == 4 * base.parameters
    assert float(parts["saved"]) == 0
    assert float(parts["workspace"]) == 4 * base.parameters  # square roots of all tensors at once


def test_optimizer_state(base, a40):
    kept = {
        o: float(Pricer(a40, base, Technique(optimizer=o)).footprint(1, 9_000)["optimizer"])
        for o in OPTIMIZERS
    }
    n = base.parameters
    assert kept["sgd"] == 0
    assert kept["momentum"] == 4 * n
    assert kept["adam"] == kept["adamw"] == 8 * n
    assert 2 * n < kept["adam8bit"] < 2.1 * n
    assert 0 < kept["adafactor"] < 0.1 * n


MULTI_TENSOR_CHUNK = 65_536 * 320


@pytest.mark.parametrize(
    ("name", "backend", "scaled", "n", "expected"),
    [  # state, transient, moved, launches; of 3 tensors, the largest of 400, with 70 rows and columns in all
        ("sgd", "cpu", False, 1_000, (0, 0, 12_000, 3)),
        ("momentum", "cpu", False, 1_000, (4_000, 1_600, 32_000, 9)),
        ("adam", "cpu", False, 1_000, (8_000, 1_600, 72_000, 21)),
        ("adam", "cuda", True, 1_000, (8_000, 4_000, 80_000, 9)),
        ("adafactor", "cuda", False, 1_000, (280, 1_600, 68_000, 30)),
        ("adam8bit", "cuda", False, 1_024, (2 * 1_024 + 2 * 4 * 4, 0, 16 * 1_024, 3)),
        ("sgd", "cuda", False, MULTI_TENSOR_CHUNK, (0, 0, 12 * MULTI_TENSOR_CHUNK, 1)),
        ("sgd", "cuda", True, MULTI_TENSOR_CHUNK + 1, (0, 0, 20 * (MULTI_TENSOR_CHUNK + 1), 4)),
    ],
)
def test_optimizers_by_hand(name, backend, scaled, n, expected):
    cost = optimizer_cost(name, backend, n, tensors=3, sides=70, largest=400, scaled=scaled)
    assert (cost.state_bytes, cost.transient_bytes, cost.moved_bytes, cost.launches) == expected


def test_every_way_to_save_memory_saves_memory(base, a40):
    def peak(**changes):
        return float(Pricer(a40, base, Technique(**changes)).footprint_bytes(8, 160_000))

    usual = peak()
    for change in (
        {"checkpointing": "transformer"},
        {"checkpointing": "cnn"},
        {"attention": "sdpa"},
        {"train": FrozenCNN()},
        {"precision": "mixed"},
        {"optimizer": "sgd"},
        {"accumulate": 4},
    ):
        assert peak(**change) < usual, change
    assert peak(checkpointing="both") < min(peak(checkpointing="cnn"), peak(checkpointing="transformer"))


def test_checkpointing_costs_about_a_forward_pass(base, a40):
    plain = Pricer(a40, base, Technique())
    again = Pricer(a40, base, Technique(checkpointing="both"))
    assert float(again.forward_flops(2, 90_000)) == float(plain.forward_flops(2, 90_000))
    extra = float(again.training_flops(2, 90_000)) / float(plain.training_flops(2, 90_000)) - 1
    assert 0.25 < extra < 1 / 3


def test_micro_batches_cost_the_same_flops(base, a40):
    whole = Pricer(a40, base, Technique())
    parts = Pricer(a40, base, Technique(accumulate=4))
    assert float(parts.training_flops(8, 90_000)) == float(whole.training_flops(8, 90_000))
    assert float(parts.saved_bytes(8, 90_000)) == float(whole.saved_bytes(2, 90_000))
    assert float(parts.step_s(8, 90_000)) > float(whole.step_s(8, 90_000))


def test_adding_up_micro_batches_reads_two_gradients_and_writes_one(base):
    one, four = (StepWork(base, "cuda", Technique(accumulate=parts)).per_step() for parts in (1, 4))
    more = dict(zip(FEATURES, four - one, strict=True))
    assert more.pop("stream_bytes") == 3 * (2 + 1) * 4 * base.parameters
    assert more.pop("launches") == 3 * sum(layer.tensors for layer in base.layers)
    assert not any(more.values())


def test_bfloat16_weighs_what_fp16_weighs(base, a40):
    mixed, bf16 = (Pricer(a40, base, Technique(precision=p)) for p in ("mixed", "bf16"))
    assert float(mixed.saved_bytes(4, 88_000)) == float(bf16.saved_bytes(4, 88_000))


def test_fits_counts_system_and_pressure(base, a40):
    pricer = Pricer(a40, base, Technique())
    room = a40.memory_bytes - a40.system_bytes - float(pricer.footprint_bytes(4, 88_000))
    assert room > 0
    assert bool(pricer.fits(4, 88_000, pressure_bytes=room * (1 - 1e-12)))
    assert not bool(pricer.fits(4, 88_000, pressure_bytes=room * (1 + 1e-9)))


def test_techniques_are_validated():
    for wrong, message in (
        ({"precision": "fp8"}, "'fp8' is not one of fp32, mixed, bf16"),
        ({"optimizer": "lion"}, "'lion' is not one of sgd"),
        ({"checkpointing": True}, "True is not one of none"),
        ({"train": "lora"}, "'lora' is not what can train"),
        ({"forward_only": 1}, "1 is not true or false"),
        ({"depth": 0}, "0 is not a whole number from 1 up"),
        ({"release_gradients": True, "accumulate": 2}, "micro-batches"),
        ({"accumulate": 0}, "0 is not a whole number from 1 up"),
        ({"accumulate": 2.0}, "2.0 is not a whole number"),
    ):
        with pytest.raises(TechniqueError, match=message) as error:
            Technique(**wrong)
        assert isinstance(error.value, InputError)


def test_a_technique_tells_what_another_changes():
    assert Technique().changes(Technique(optimizer="sgd", train=FrozenCNN())) == ("optimizer", "train")


def test_a_device_that_cannot_train_in_a_precision(base):
    with pytest.raises(TechniqueError, match="raspberry-pi-4 does not train in 'mixed'; it can in fp32"):
        Pricer(load_device("raspberry-pi-4"), base, Technique(precision="mixed"))


def test_updates_and_heat():
    assert update_bytes(1000) == 4000
    assert throttled_s([10.0, 100.0], 60.0, 0.5).tolist() == [10.0, 60.0 + 40.0 / 0.5]
    assert throttled_s(100.0, None, 0.5) == 100.0


def test_rates_are_validated():
    with pytest.raises(ValueError, match="launch_s"):
        Rates(-1e-6, 1, 1, 1, 1, 1)
    with pytest.raises(ValueError, match="matmul_flops_per_s is 0"):
        Rates(0, 1, 1, 0, 1, 1)
    assert Rates(0, 1, 1, 1, 1, 2).seconds_per_unit()[FEATURES.index("operand_bytes")] == 0


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_arrays_of_batches_by_samples_are_the_scalars_element_by_element(base, attention):
    work = StepWork(base, "cuda", Technique(attention=attention, accumulate=2))
    batch, samples = np.array([1, 2, 5])[:, None], np.array([8_000, 33_000, 90_000, 200_000])[None, :]
    features = work.features(batch, samples)
    parts = seconds_by_part(features, RATES)
    assert features.shape == (3, 4, len(FEATURES))
    for i, j in np.ndindex(3, 4):
        alone = work.features(int(batch[i, 0]), int(samples[0, j]))
        np.testing.assert_allclose(features[i, j], alone, rtol=1e-12)
        for part, seconds in seconds_by_part(alone, RATES).items():
            assert parts[part].shape == (3, 4)
            assert parts[part][i, j] == pytest.approx(float(seconds), rel=1e-12)


@pytest.mark.parametrize(("batch", "parts"), [(1, 1), (5, 1), (8, 4), (7, 3)])
def test_what_a_script_does_for_each_example_is_paid_once_for_each(batch, parts):
    work = StepWork(load_trace("wav2vec2-tiny"), "cuda", Technique(accumulate=parts))
    slower = replace(RATES, host_s=0.25)
    plain, more = (work.weighted(r.seconds_per_unit(), batch, [30_000, 50_000]) for r in (RATES, slower))
    np.testing.assert_allclose(more - plain, 0.25 * batch)
    np.testing.assert_allclose(
        sum(seconds_by_part(work.features(batch, [30_000, 50_000]), slower).values()), more
    )
    assert Rates(0, 1, 1, 1, 1, 1).seconds_per_unit()[FEATURES.index("examples")] == 0

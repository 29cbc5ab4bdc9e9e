"""The year where a device's speed is not known exactly: as fast, and as slow, as it may be."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import pytest

from fedsim import hardware
from fedsim.feasible import Limits, Procedure
from fedsim.feasible.answer import answer
from fedsim.feasible.background import background
from fedsim.feasible.question import Question
from fedsim.pricing import Pricer, Technique, load_trace

Z = NormalDist().inv_cdf(0.95)
COMPUTE_ONLY = {"compute": 1.5, "bandwidth": 1.5, "launch": 1.5}


def question(device, **limits):
    held = hardware.load_device(device)
    return Question(
        device=held,
        trace=load_trace("wav2vec2-base"),
        technique=Technique(),
        size=5.5,
        longest=5.5,
        batch=4,
        background=background("none", held),
        procedure=Procedure(),
        limits=Limits(**limits),
    )


def trend():
    """Everything that takes time halves every 18 months."""
    gao = hardware.load_trend("gao2022")
    return replace(gao, doubling_years={**gao.doubling_years, **COMPUTE_ONLY})


def log_error(device):
    pricer = Pricer(hardware.load_device(device), load_trace("wav2vec2-base"), Technique())
    return math.log(pricer.standard_error)


@pytest.mark.parametrize("device", ["raspberry-pi-5", "jetson-nano", "macbook-pro-2019"])
def test_days_come_as_much_later_as_it_takes_to_make_up_for_the_factor(device):
    """A factor f is made up for in log2(f) doublings of 1.5 years each; memory is not drawn."""
    asked = question(device, within_s=86_400.0)
    found = answer(asked, trend(), horizon=2100)
    days, later = found.findings["days"], 1.5 * math.log2(math.exp(Z * log_error(device)))
    assert found.question.device.throttle_after_s is None
    assert days.moments[0] == pytest.approx(days.moment - later, abs=1e-4)
    assert days.moments[1] == pytest.approx(days.moment + later, abs=1e-4)
    assert days.years == tuple(math.ceil(moment - 1e-5) for moment in days.moments)
    memory = found.findings["memory"]
    assert memory.years == (memory.year, memory.year)
    at = found.at(2030)
    for name in ("step_s", "round_s", "procedure_days", "round_j", "procedure_j"):
        low, high = (at["interval"][name][end] for end in ("low", "high"))
        assert (
            high / at[name] == pytest.approx(at[name] / low) == pytest.approx(math.exp(Z * log_error(device)))
        )


@pytest.mark.parametrize("device", ["raspberry-pi-5", "nvidia-h100", "jetson-xavier-nx"])
def test_beside_a_reference_both_may_be_off(device):
    reference = "nvidia-a40"
    asked = question(device, reference=hardware.load_device(reference))
    both = math.exp(Z * math.hypot(log_error(device), log_error(reference)))
    assert asked.spreads() == pytest.approx((math.exp(Z * log_error(device)), both))


@pytest.mark.parametrize("device", ["nvidia-a40", "nvidia-h100", "raspberry-pi-5"])
def test_a_device_beside_itself_is_off_by_nothing(device):
    found = answer(question(device, reference=hardware.load_device(device)), trend())
    speed = found.findings["parity_speed"]
    assert speed.years == (speed.year, speed.year) == (found.start, found.start)
    assert found.as_dict()["interval"]["year"]["low"] == found.start


def test_what_a_slow_device_never_does_is_open():
    frozen = replace(
        trend(), doubling_years={**trend().doubling_years, **dict.fromkeys(COMPUTE_ONLY, math.inf)}
    )
    plain = answer(question("raspberry-pi-5"), frozen).at(2030)["procedure_days"]
    found = answer(question("raspberry-pi-5", within_s=plain * 86_400.0 * 1.01), frozen)
    assert found.findings["days"].years == (found.start, None)
    assert found.as_dict()["criteria"]["days"]["interval"]["year"] == {
        "low": found.start,
        "high": None,
        "level": 0.9,
    }
    assert found.years[1] is None

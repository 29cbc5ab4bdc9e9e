"""Years by hand: doubling times, what agrees with fedsim cost, and what binds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.feasible import Background, Limits, Procedure, Question, answer, background, earliest, spread
from fedsim.feasible.crossing import first_years
from fedsim.feasible.grid import Grid, same_learning
from fedsim.feasible.study import study
from fedsim.hardware import load_device, load_trend, project
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.pricing.step_time import throttled_s
from fedsim.pricing.trained import Everything, FrozenCNN
from fedsim.units import DAY_S, GIB

NX, A40, PHONE = (load_device(n) for n in ("jetson-xavier-nx", "nvidia-a40", "snapdragon-870"))
BASE = load_trace("wav2vec2-base")
GAO, EPOCH = load_trend("gao2022"), load_trend("epoch")
TREND = """\
title: T
counted_from: release
doubling_years: {compute: 2, memory: 4, bandwidth: 2, launch: 2, links: 1, energy: 4}
range: {compute: [1, 4], memory: [2, 8]}
sources: {counted_from: a study, doubling_years: a study, range: a study}
"""


@pytest.fixture
def own_trend(tmp_path):
    (tmp_path / "t.yaml").write_text(TREND)
    return load_trend(str(tmp_path / "t.yaml"))


def ask(device=NX, technique=Technique(), seconds=5.5, batch=4, held=0.0, limits=Limits(A40), **more):  # noqa: B008
    return Question(
        device=device,
        trace=more.get("trace", BASE),
        technique=technique,
        size=seconds,
        longest=more.get("longest_s", seconds),
        batch=batch,
        background=Background("by hand", held),
        procedure=more.get("procedure", Procedure()),
        limits=limits,
    )


@pytest.mark.parametrize("trend", [GAO, EPOCH], ids=lambda t: t.name)
@pytest.mark.parametrize("device", [NX, PHONE, load_device("raspberry-pi-4")], ids=lambda d: d.name)
@pytest.mark.parametrize("year", [2022, 2026, 2031])
def test_a_year_is_what_fedsim_cost_says_of_it(trend, device, year):
    later = project(device, year, trend)
    pricer = Pricer(later, BASE, Technique())
    at = answer(ask(device), trend).at(year)
    assert at["step_s"] == pytest.approx(float(pricer.step_s(4, 88_000)), rel=1e-12)
    assert sum(at["step"].values()) == pytest.approx(at["step_s"])
    assert at["memory_bytes"] == pytest.approx(later.memory_bytes, rel=1e-12)
    assert at["active_w"] == pytest.approx(later.active_w, rel=1e-12)
    assert at["footprint_bytes"] == float(pricer.footprint_bytes(4, 88_000))
    work = float(throttled_s(4875 * at["step_s"], device.throttle_after_s, device.sustained))
    assert at["round_s"] == pytest.approx(work)
    assert at["procedure_days"] == pytest.approx(150 * work / DAY_S)
    assert at["round_j"] == pytest.approx(work * later.active_w)


def test_years_are_first_and_agree_with_a_projection():
    """In the year found everything holds for the projected device, in the year before it does not."""
    reference = float(Pricer(A40, BASE, Technique()).step_s(4, 88_000))
    for trend in (GAO, EPOCH):
        found = answer(ask(), trend)
        year = found.findings["parity_speed"].year
        step = [
            float(Pricer(project(NX, y, trend), BASE, Technique()).step_s(4, 88_000))
            for y in (year - 1, year)
        ]
        assert step[1] <= reference < step[0]
        year = found.findings["parity_memory"].year
        memory = [project(NX, y, trend).memory_bytes for y in (year - 1, year)]
        assert memory[0] < A40.memory_bytes <= memory[1]


def test_the_papers_question():
    """NX parity in 2026 to 2027 under the paper's growth; later under Epoch's, where memory binds."""
    gao, epoch = answer(ask(), GAO), answer(ask(), EPOCH)
    assert gao.findings["parity_speed"].year in (2026, 2027)
    assert gao.year == 2027
    # All of a step speeds up alike, so the moment is 18 months a doubling of 6.66 times.
    ratio = float(
        Pricer(NX, BASE, Technique()).step_s(4, 88_000) / Pricer(A40, BASE, Technique()).step_s(4, 88_000)
    )
    assert gao.findings["parity_speed"].moment == pytest.approx(2022 + 1.5 * math.log2(ratio), abs=1e-5)
    assert epoch.findings["parity_speed"].year > gao.findings["parity_speed"].year
    assert epoch.findings["parity_memory"].moment == pytest.approx(2020 + 4 * math.log2(6), abs=1e-5)
    assert epoch.binding.criterion.name == "parity_memory"
    assert epoch.year == 2031
    assert epoch.as_dict()["binds"] == epoch.as_dict()["parity"]["binds"] == "memory"


def test_memory_by_hand(own_trend):
    question = ask(held=20 * GIB, limits=Limits())
    needed = question.footprint_bytes + NX.system_bytes + 20 * GIB
    found = answer(question, own_trend)
    assert found.findings["memory"].moment == pytest.approx(
        2020 + 4 * math.log2(needed / NX.memory_bytes), abs=1e-5
    )
    assert found.year == math.ceil(found.moment)
    assert found.binding.criterion.resource == "memory"
    assert found.at(found.year)["memory_bytes"] >= needed > found.at(found.year - 1)["memory_bytes"]


def test_days_and_energy_by_hand(own_trend):
    """Everything in a step doubles its speed every 2 years, and a joule buys twice as much every 4."""
    plain = answer(ask(limits=Limits()), own_trend).at(2020)
    days = plain["procedure_days"]
    found = answer(ask(limits=Limits(None, days / 4 * DAY_S)), own_trend)
    assert found.findings["days"].moment == pytest.approx(2024, abs=1e-4)
    # After 4 years a round takes a quarter of the time at 4 + 2 x 11 W instead of 15.
    joules = plain["procedure_j"] / 4 * 26 / 15
    found = answer(ask(limits=Limits(None, None, joules)), own_trend)
    assert found.findings["energy"].moment == pytest.approx(2024, abs=1e-4)
    assert found.at(2024)["procedure_j"] == pytest.approx(joules)
    assert found.as_dict()["binds"] == "energy"


def test_battery_is_asked_of_devices_that_have_one():
    limits = Limits(None, None, None, 0.5)
    assert "battery" not in answer(ask(limits=limits), GAO).findings
    found = answer(ask(PHONE, limits=limits), GAO)
    assert found.findings["battery"].criterion.limit == 0.5 * PHONE.battery_j
    year = found.findings["battery"].year
    assert found.at(year)["round_j"] <= 0.5 * PHONE.battery_j < found.at(year - 1)["round_j"]


def test_what_is_so_from_the_start_binds_nothing():
    found = answer(ask(limits=Limits()), GAO)
    assert (found.year, found.binding, found.as_dict()["binds"]) == (2022, None, None)
    assert found.findings["memory"].as_sold
    assert "parity" not in found.as_dict()


def test_what_never_happens_is_said():
    found = answer(ask(held=1e15, limits=Limits()), EPOCH, horizon=2040)
    assert (found.year, found.moment) == (None, math.inf)
    assert found.as_dict()["year"] is found.as_dict()["moment"] is found.as_dict()["at_year"] is None
    assert found.as_dict()["binds"] == "memory"


def test_energy_may_fall_first_and_rise_later():
    """The first year is found although the budget does not hold from then on."""

    def holds(years):
        return (years >= 3.25) & (years <= 6)

    whole, moment = first_years(holds, 2, 40)
    assert whole.tolist() == [4, 4]
    assert moment == pytest.approx(3.25, abs=1e-5)
    whole, moment = first_years(lambda years: years > 50, 2, 40)
    assert np.isinf([*whole, *moment]).all()


@given(st.floats(1.0, 30.0), st.integers(1, 16), st.sampled_from([GAO, EPOCH]))
def test_more_of_anything_never_comes_earlier(seconds, batch, trend):
    small, large = (
        ask(seconds=seconds, batch=batch, limits=Limits()),
        ask(seconds=seconds, batch=batch + 4, limits=Limits()),
    )
    assert answer(small, trend).moment <= answer(large, trend).moment
    assert (
        answer(small, trend).moment
        <= answer(ask(seconds=seconds, batch=batch, held=5e9, limits=Limits()), trend).moment
    )


def test_the_papers_procedure():
    procedure = Procedure()
    assert procedure.steps(5.5, 4) == 4875
    assert procedure.steps(11.0, 4) == 2438  # 9,750 sentences of twice the length
    assert Procedure(epochs=3).steps(5.5, 4) == 3 * 4875
    days = answer(ask(limits=Limits()), GAO).at(2022)["procedure_days"]
    assert days == pytest.approx(15, rel=0.025)  # the paper's figure for the NX


def test_background_by_profile():
    assert background("none", NX).held_bytes == 0
    assert background("2GB", NX).held_bytes == 2e9
    assert background("usual", NX) == background("dedicated", NX)
    assert background("usual", PHONE).profile == "phone"
    # A phone's programs hold 0.3 to 2.2 GB; most clients' 95% lies at a burst of the smaller kind.
    assert 1e9 < background("phone", PHONE).held_bytes < 2.2e9
    assert background("phone", A40).held_bytes == 0  # programs live in the host's memory


def test_draws_surround_the_trends_own_answer():
    question = ask()
    drawn = spread(question, EPOCH, 4000, seed=1)
    found = answer(question, EPOCH)
    for name, moments in drawn.moments.items():
        middle = np.median(moments)
        assert middle == pytest.approx(found.findings[name].moment, abs=0.1)
        assert moments.min() <= found.findings[name].moment <= moments.max()
    assert (drawn.everything == np.maximum.reduce(list(drawn.moments.values()))).all()
    binding = drawn.binding()
    assert sum(binding.values()) == pytest.approx(1)
    assert binding["parity_memory"] > binding["parity_speed"] > 0.05


def test_each_draw_is_a_trend_of_its_own(own_trend, tmp_path):
    """The moment of draw 7 is that of a trend with its doubling times."""
    from dataclasses import replace

    from fedsim.hardware.trend_draws import draw_doubling_years

    drawn = spread(ask(), own_trend, 50, seed=5)
    years = {figure: float(v[7]) for figure, v in draw_doubling_years(own_trend, 50, 5).items()}
    alone = answer(ask(), replace(own_trend, doubling_years=years))
    for name, moments in drawn.moments.items():
        assert moments[7] == pytest.approx(alone.findings[name].moment, abs=1e-6)


def test_never_is_counted(own_trend):
    drawn = spread(ask(held=40 * GIB, limits=Limits()), own_trend, 4000, seed=1, horizon=2032)
    record = drawn.as_dict()["criteria"]["memory"]
    assert 0 < record["never"] < 1
    assert record["never"] == np.isinf(drawn.moments["memory"]).mean()
    assert record["quantiles"]["0.05"] is not None
    assert record["quantiles"]["0.95"] is None


def test_ten_thousand_draws_are_the_same_again():
    first, second = (spread(ask(), EPOCH, 10_000, seed=2).everything for _ in range(2))
    assert (first == second).all()
    assert (first[:100] == spread(ask(), EPOCH, 100, seed=2).everything).all()


def test_the_best_technique_is_never_later_and_learns_the_same():
    limits = Limits(None, 2 * DAY_S)
    plain = study(Grid([NX], [BASE], [15.0], limits=limits), [EPOCH])
    best = study(Grid([NX], [BASE], [15.0], limits=limits, best=True), [EPOCH])
    chosen = best.results[0].answer
    assert chosen.moment < plain.results[0].answer.moment
    assert (chosen.question.technique.optimizer, chosen.question.technique.train) == ("adam", Everything())
    assert all(
        t.optimizer == "adam" and t.train != FrozenCNN() for t in same_learning(("fp32", "mixed"), 4, BASE)
    )


def test_with_the_best_technique_the_reference_uses_its_own():
    cells = Grid([NX], [BASE], [5.5], limits=Limits(A40), best=True).cells()
    questions = next(iter(cells))
    fastest = questions[0].reference_round_s
    assert {q.reference_round_s for q in questions} == {fastest}
    assert fastest <= ask(technique=Technique("mixed")).reference_round_s
    assert earliest(answer(q, EPOCH) for q in questions).moment >= 2030


def test_a_precision_that_a_device_lacks_falls_back():
    grid = Grid(
        [NX, load_device("raspberry-pi-4")], [BASE], [5.5], techniques=[Technique("mixed"), Technique()]
    )
    asked = [(q.device.name, q.technique.precision) for cell in grid.cells() for q in cell]
    assert asked == [("jetson-xavier-nx", "mixed"), ("jetson-xavier-nx", "fp32"), ("raspberry-pi-4", "fp32")]


WORDS, ALIKE = load_trace("language_model"), load_trace("digits-cnn")


@pytest.mark.parametrize(("trace", "size"), [(WORDS, 128), (WORDS, 512), (ALIKE, 1)])
def test_another_model_is_priced_by_its_own_size_and_trained_on_examples(trace, size):
    """500 examples in batches of 8 are 63 steps; memory goes by the largest example."""
    largest = 2 * size if trace.sizes else 1
    question = ask(
        trace=trace, seconds=float(size), longest_s=float(largest), batch=8, limits=Limits(),
        procedure=Procedure(rounds=10, epochs=3, examples=500),
    )  # fmt: skip
    pricer = Pricer(NX, trace, Technique())
    assert question.steps == 3 * 63
    assert sum(question.parts_s.values()) == pytest.approx(float(pricer.step_s(8, size)), rel=1e-12)
    assert question.footprint_bytes == float(pricer.footprint_bytes(8, largest))
    told = answer(question, GAO).as_dict()
    assert told["at_start"]["round_s"] == pytest.approx(189 * float(pricer.step_s(8, size)), rel=1e-9)
    assert told["longest_sizes"] == ({"tokens": largest} if trace.sizes else {})
    assert not {"seconds", "longest_seconds"} & set(told)


def test_each_model_takes_the_sizes_that_are_its_own():
    grid = Grid([NX], [BASE, WORDS, ALIKE], [5.5, 15.0], sizes={"tokens": (64, 128, 256)})
    asked = [(q.trace.name, q.size, q.batch_in_words) for cell in grid.cells() for q in cell]
    assert asked == [
        ("wav2vec2-base", 5.5, "4 x 5.5 s"),
        ("wav2vec2-base", 15.0, "4 x 15 s"),
        ("language_model", 64, "4 x 64 tokens"),
        ("language_model", 128, "4 x 128 tokens"),
        ("language_model", 256, "4 x 256 tokens"),
        ("digits-cnn", 1.0, "4 examples"),
    ]

"""What devices of a kind have in common: fits that find what made the data, and the public record."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from fedsim import paths
from fedsim.errors import HardwareError
from fedsim.hardware import catalogue, load_device
from fedsim.pricing import Pricer, Technique, load_trace, pooling
from fedsim.pricing import priors as module
from fedsim.pricing.calibration import USUAL_LEFT_OUT, calibrate
from fedsim.pricing.pooling import FREE, Foretold, Step, fit, left_out, of_kind, score, standard_error, steps
from fedsim.pricing.priors import KINDS, own_kind, priors
from fedsim.pricing.rates import FEATURES


def made_up(names, truth, count=6, noise=0.0, model="any"):
    """Steps of some devices that take what ``truth`` says."""
    generator = np.random.default_rng(1)
    size = np.array([1000, 3e12, 2e11, 4e12, 3e11, 5e9, 1e11, 7e9, 8])
    found = []
    for name in names:
        device = load_device(name)
        for number in range(count):
            precision = ("fp32", "mixed")[number % 2] if "mixed" in device.training_precisions else "fp32"
            features = size * generator.uniform(0.1, 3, len(FEATURES))
            step = Step(device, f"{model}{number}", 8, "1 s", precision, "", 1.0, features, number < 3, None)
            off = math.exp(generator.normal(0, noise))
            found.append(replace(step, seconds=step.predicted_s(truth) * off))
    return found


TRUTHS = {
    "gpu": (
        ("nvidia-v100", "nvidia-a100-40gb", "geforce-rtx-4090"),
        {"launch_s": 2e-5, "conv": 0.6, "matmul": 0.6, "reach_32": 15.0, "reach_16": 50.0, "host_s": 0.02},
    ),
    "jetson": (("jetson-nano", "jetson-thor"), {"launch_s": 2e-4, "host_s": 0.01}),
    "arm": (("raspberry-pi-5", "a18-pro"), {"conv": 0.2, "matmul": 0.7}),
    "apple": (("macbook-air-m2", "macbook-pro-m4"), {"conv": 0.4, "matmul": 0.4}),
}


@pytest.mark.parametrize("kind", TRUTHS)
def test_a_fit_finds_what_made_the_data(kind):
    names, values = TRUTHS[kind]
    truth = replace(priors()[kind], **values)
    found = fit(kind, made_up(names, truth), priors()[kind])
    for name, value in values.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-3), name
    # and what is not free stays
    assert found.stream == truth.stream


def test_one_odd_device_moves_the_others_little():
    names, values = TRUTHS["gpu"]
    truth = replace(priors()["gpu"], **values)
    seen = made_up(names, truth)
    odd = [replace(s, seconds=s.seconds * 10) for s in made_up(("nvidia-t4",), truth, 3, model="odd")]
    found = fit("gpu", seen + odd, priors()["gpu"])
    assert found.matmul == pytest.approx(0.6, rel=0.25)


def test_nothing_is_fitted_where_nothing_is_free_or_known():
    prior = priors()["x86"]
    assert FREE["x86"] == {}
    assert fit("x86", of_kind("x86"), prior) is prior
    assert fit("gpu", [], priors()["gpu"]) is priors()["gpu"]


def test_errors_by_hand():
    """Chips err by 2 and by 1; two more by 1.3: the mean square of the logs is (0.48 + 0 + 2 x 0.069) / 4."""
    names, values = TRUTHS["gpu"]
    one, other = (s for s in made_up(names[:2], replace(priors()["gpu"], **values), 1))
    found = [Foretold(one, one.seconds * 2), Foretold(one, one.seconds / 2), Foretold(other, other.seconds)]
    expected = math.exp(math.sqrt((math.log(2) ** 2 + 2 * math.log(1.3) ** 2) / 4))
    assert standard_error(found) == pytest.approx(expected)
    s = score(found)
    assert (s.steps, s.bias, s.worst) == (3, pytest.approx(1.0), pytest.approx(2.0))
    assert s.typical == pytest.approx(2.0)


def test_cards_of_one_chip_are_left_out_together():
    a100 = {
        s.chip
        for name in ("nvidia-a100-40gb", "nvidia-a100-80gb")
        for s in made_up((name,), priors()["gpu"], 1)
    }
    assert a100 == {"nvidia-a100"}
    assert {s.chip for s in made_up(("nvidia-v100", "jetson-agx-orin-32gb"), priors()["gpu"], 1)} == {
        "nvidia-v100",
        "jetson-agx-orin",
    }


def test_every_kind_is_known_and_plausible():
    assert tuple(priors()) == KINDS
    for prior in priors().values():
        assert 0 < prior.conv <= 1
        assert 0 < prior.matmul <= 1
        assert 0 < prior.stream <= 1
        assert 1e-6 < prior.launch_s < 1e-3
        assert 1.05 < prior.error < 4
        assert prior.devices
        assert prior.evidence
    assert {own_kind(device) for device in catalogue()} == set(KINDS)


def test_a_damaged_file_of_kinds(tmp_path, monkeypatch):
    (tmp_path / "kinds.csv").write_text("kind,launch_s\ngpu,1\n")
    monkeypatch.setattr(module.paths, "data_dir", lambda name: tmp_path)
    priors.cache_clear()
    try:
        with pytest.raises(HardwareError, match=r"kinds\.csv: has other columns than kind,launch_s,conv"):
            priors()
    finally:
        monkeypatch.undo()
        priors.cache_clear()


def test_what_has_no_trace_or_no_device_waits_and_is_said():
    priced, waiting = steps()
    assert {w.why for w in waiting} <= {"which device is not known", "no trace yet"}
    assert any(w.published.model == "ssd-mobilenet-v1" for w in waiting)
    assert len(priced) + len(waiting) == len(pooling.public_record()) + 32


def half_width(error):
    """The factor of the 90% interval about a step, either way."""
    return error**1.645


@pytest.mark.parametrize("kind", ["gpu", "jetson"])
def test_a_chip_is_foretold_by_the_others(kind):
    s = score(left_out(kind))
    assert s.typical <= 1.4
    assert 0.9 <= s.bias <= 1.1
    assert s.worst <= 2.2


def test_intervals_hold_what_was_measured_and_are_not_wider_than_they_need():
    """90% intervals hold 85 to 97% of what was left out: chips of a kind, steps of a calibrated device."""
    held = [
        max(one.ratio, 1 / one.ratio) <= half_width(priors()[kind].error)
        for kind in KINDS
        for one in left_out(kind)
        if one.step.fitted
    ]
    widths: dict[str, list[float]] = {"calibrated": [], "inferred": []}
    for device in catalogue():
        known = calibrate(device)
        widths[known.status] += [half_width(known.standard_error(p)) for p in device.training_precisions]
        for r in known.residuals:
            if known.status == "calibrated" and r.left_out_s is not None:
                ratio = r.left_out_s / r.measured_s
                error = known.standard_error(r.measurement.precision)
                held.append(max(ratio, 1 / ratio) <= half_width(error))
    assert len(held) > 120
    assert 0.85 <= np.mean(held) <= 0.97
    assert np.median(widths["inferred"]) <= 1.8
    assert np.median(widths["calibrated"]) <= 1.15


def test_what_is_written_down_is_what_the_record_says():
    for kind, found in pooling.refit().items():
        known = priors()[kind]
        for name in ("launch_s", "conv", "matmul", "reach_32", "reach_16", "error"):
            assert getattr(found, name) == pytest.approx(getattr(known, name), rel=0.05), (kind, name)


def test_the_error_of_a_device_is_that_of_its_kind_or_its_own():
    assert calibrate(load_device("nvidia-t4")).standard_error("mixed") == priors()["gpu"].error
    nx = calibrate(load_device("jetson-xavier-nx"))
    logs = [
        math.log(1 + r.left_out_error)
        for r in nx.residuals
        if r.measurement.precision == "mixed" and r.left_out_error is not None
    ]
    assert len(logs) == 2
    logs += [math.log(USUAL_LEFT_OUT)] * 2  # two steps tell little: two more as usual
    assert nx.standard_error("mixed") == pytest.approx(math.exp(math.sqrt(np.mean(np.square(logs)))))
    assert nx.standard_error("fp32-strict") == nx.standard_error("fp32")  # the same, without TF32
    h200 = calibrate(load_device("nvidia-h200"))
    assert h200.standard_error("fp32-strict") == h200.standard_error("tf32") == priors()["gpu"].error


def test_the_record_on_the_command_line():
    from fedsim.cli.devices import command

    done = CliRunner().invoke(command, ["--record", "jetson-xavier-nx"])
    assert done.exit_code == 0
    assert done.output.count("wav2vec2-base") == 4
    table = CliRunner().invoke(command, ["--record", "nvidia-v100", "--csv"]).output.splitlines()
    assert len(table) == 1 + sum(s.device.name == "nvidia-v100" for s in steps()[0])
    assert CliRunner().invoke(command, ["--record", "a18-pro"]).exit_code != 0


def bounds(name):
    file = paths.data_dir("hardware") / "measurements" / "bounds" / f"{name}.csv"
    lines = file.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


@pytest.mark.parametrize("row", bounds("memory"), ids=lambda row: f"{row['model']}-{row['hardware']}")
def test_memory_that_others_have_published(row):
    words = dict(part.split("=") for part in row["technique"].split(";") if part)
    pricer = Pricer(
        load_device(row["device"]), load_trace(row["model"]), Technique(row["precision"], **words)
    )
    needed = (
        float(pricer.footprint_bytes(int(row["batch_size"]), round(float(row["seconds"]) * 16_000))) / 2**30
    )
    if row["least_gib"]:
        assert needed >= float(row["least_gib"]) * 0.92
    if row["most_gib"]:
        assert needed <= float(row["most_gib"])


@pytest.mark.parametrize("row", bounds("rates"), ids=lambda row: f"{row['device']}-{row['what']}")
def test_rates_that_others_have_published(row):
    """A Mac's are between what others measured; the Pis trade streams for products, and no more."""
    rates = calibrate(load_device(row["device"])).rates["fp32"]
    ours = rates.matmul_flops_per_s if row["what"] == "matmul" else rates.bandwidth_bytes_per_s
    assert row["source"].startswith("https://")
    assert float(row["least"] or 0) <= ours <= 1.5 * float(row["most"])


def test_a_step_whose_size_its_trace_does_not_know_waits(monkeypatch):
    row = replace(
        pooling.public_record()[0], device="nvidia-v100", model="wav2vec2-tiny", axis="tokens", size=128.0
    )
    speech = replace(row, axis="seconds", size=2.0)
    monkeypatch.setattr(pooling, "public_record", lambda: (row, speech))
    steps.cache_clear()
    try:
        priced, waiting = steps()
    finally:
        monkeypatch.undo()
        steps.cache_clear()
    assert [w.why for w in waiting] == ["its trace goes by samples"]
    assert priced[-1].published == speech
    assert priced[-1].size == "2 s"

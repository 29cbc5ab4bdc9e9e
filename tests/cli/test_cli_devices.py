"""``fedsim devices`` as people call it: tables, JSON, CSV, and one line for a fault."""

from __future__ import annotations

import csv
import io
import json

import pytest

import fedsim
from fedsim.cli import main
from fedsim.hardware import catalogue

CATALOGUE = catalogue()


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["devices", *arguments])
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_the_whole_catalogue_in_100_columns(capsys):
    code, out, _ = call(capsys)
    assert code == 0
    lines = out.rstrip("\n").splitlines()
    assert len(lines) == 1 + len(CATALOGUE)
    assert max(map(len, lines)) <= 100
    by_name = {line.split()[0]: line.split() for line in lines[1:]}
    assert set(by_name) == {d.name for d in CATALOGUE}
    assert by_name["nvidia-a40"] == [
        "nvidia-a40", "2020", "gpu", "48", "696", "37,400", "149,700", "300", "calibrated"
    ]  # fmt: skip
    assert by_name["jetson-orin-nx"][-1] == "inferred"


def test_filters_and_sorting(capsys):
    _, out, _ = call(capsys, "--family", "jetson", "--min-memory", "16GiB", "--sort", "memory", "--reverse")
    names = [line.split()[0] for line in out.splitlines()[1:]]
    assert names[0] == "jetson-thor"
    assert names[-2:] == ["jetson-agx-xavier", "jetson-orin-nx"]
    _, out, _ = call(capsys, "--status", "calibrated")
    assert len(out.splitlines()) == 1 + 6  # the five of Table 2, and the H200


def test_json_holds_si_values(capsys):
    _, out, _ = call(capsys, "--json", "--family", "raspberry-pi")
    devices = {d["name"]: d for d in json.loads(out)}
    assert set(devices) == {"raspberry-pi-4", "raspberry-pi-5"}
    assert devices["raspberry-pi-4"]["memory_bytes"] == 8 * 2**30
    assert devices["raspberry-pi-4"]["peak_flops_per_s"] == {"fp32": 48e9}
    assert devices["raspberry-pi-5"]["status"] == "inferred"
    assert devices["raspberry-pi-5"]["sources"]["memory.capacity"].startswith("Raspberry Pi 5 product brief")


def test_csv_has_one_row_a_device(capsys):
    _, out, _ = call(capsys, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == len(CATALOGUE)
    a40 = next(row for row in rows if row["name"] == "nvidia-a40")
    assert float(a40["peak_fp16_flops_per_s"]) == 149.7e12
    assert a40["training_precisions"] == "fp32 mixed bf16"


@pytest.mark.parametrize("name", ["jetson-xavier-nx", "a15-bionic", "nvidia-h100", "raspberry-pi-4"])
def test_one_device_with_its_sources(capsys, name):
    code, out, _ = call(capsys, name)
    assert code == 0
    device = next(d for d in CATALOGUE if d.name == name)
    assert device.title in out
    flat = " ".join(out.split())
    for source in device.sources.values():
        assert source.split()[0] in flat
    calibrated = name in ("jetson-xavier-nx", "raspberry-pi-4")
    assert ("calibrated: " in out) == calibrated
    assert ("Measured steps and predictions" in out) == calibrated
    assert ("inferred: nobody measured it" in flat) != calibrated


def test_one_device_as_json_carries_its_calibration(capsys):
    _, out, _ = call(capsys, "jetson-xavier-nx", "--json")
    answer = json.loads(out)["calibration"]
    assert (answer["status"], answer["measurements"]) == ("calibrated", 4)
    assert answer["parameters"] < 4
    assert {r["seconds"] for r in answer["residuals"]} == {5.5}
    assert answer["rates"]["fp32"]["operand_bytes_per_s"] is None


def test_all_residuals(capsys):
    code, out, _ = call(capsys, "--calibration")
    assert code == 0
    assert "all 32 measured steps: " in out
    assert "7 of 39 measured steps ran out of memory; all are predicted right" in out
    _, out, _ = call(capsys, "--calibration", "--json")
    answer = json.loads(out)
    assert answer["measurements"] == 32  # 25 of Table 2, 7 of our own on an H200
    assert answer["mean_error"] <= 0.05
    assert answer["worst_error"] <= 0.14
    assert answer["left_out_error"] <= 0.20
    assert sum(m["measured_oom"] for m in answer["memory"]) == 7
    _, out, _ = call(capsys, "--calibration", "--csv")
    assert len(out.splitlines()) == 33


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["jetson-xavier"], "fedsim: there is no device 'jetson-xavier'; did you mean 'jetson-"),
        (
            ["--min-memory", "lots"],
            "fedsim: --min-memory: 'lots' is not a size; write a number and one of B,",
        ),
        (["--min-memory", "1TiB"], "fedsim: no device of the catalogue passes these filters"),
        (["--family", "phone", "--calibration"], "fedsim: nobody measured any of these devices"),
        (["--json", "--csv"], "fedsim: --json and --csv exclude each other; give one"),
    ],
)
def test_a_fault_is_one_line_and_exit_code_2(capsys, arguments, expected):
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(expected)
    assert err.count("\n") == 1


def test_a_users_file_is_shown_like_any_other(capsys, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: Mine\nfamily: host\nreleased: 2024\nbackend: cpu\n"
        "memory: {capacity: 8GiB, shared: true, bandwidth: 20GB/s, system: 1GiB, runtime: 1GiB}\n"
        "compute: {fp32: 100GFLOP/s, trains_in: [fp32]}\npower: {idle: 4W, active: 15W}\n"
        "sources: {released: a, memory: a, compute: a, power: a}\n"
    )
    code, out, _ = call(capsys, str(path))
    assert code == 0
    assert "inferred: nobody measured it; it takes what" in out
    assert "of its kind (x86) have in common" in out.replace("\n", " ")


STEPS = [
    (
        ["-m", "language_model", "--tokens", "128"],
        {"sizes": {"tokens": 128}},
        "language_model, 4 x 128 tokens",
    ),
    (["-m", "digits-cnn", "-b", "64"], {"batch": 64}, "digits-cnn, 64 examples"),
    (["-m", "wav2vec2-base", "-s", "3"], {"seconds": 3.0}, "wav2vec2-base, 4 x 3 s"),
]


@pytest.mark.parametrize(("asked", "cost", "title"), STEPS)
def test_a_step_of_any_model_on_each_device_is_what_cost_says(capsys, asked, cost, title):
    filters = ["--family", "raspberry-pi", "--family", "jetson"]
    listed = json.loads(call(capsys, *filters, *asked, "--json")[1])
    rows = list(csv.DictReader(io.StringIO(call(capsys, *filters, *asked, "--csv")[1])))
    text = call(capsys, *filters, *asked)[1]
    assert len(listed) == len(rows) > 5
    assert text.startswith(title)
    for device, row in list(zip(listed, rows, strict=True))[::4]:
        price = fedsim.cost(device["name"], asked[1], **{"batch": 4, **cost})
        step = device["step"]
        assert (step["step_s"], step["footprint_bytes"], step["fits"]) == (
            price["step_s"], price["footprint_bytes"], price["fits"],
        )  # fmt: skip
        assert (float(row["step_s"]), row["fits"]) == (price["step_s"], str(price["fits"]))
        line = next(line for line in text.splitlines() if line.startswith(device["name"] + " "))
        assert (" fits " in line) == price["fits"]
    one = json.loads(call(capsys, listed[0]["name"], *asked, "--json")[1])
    assert one["step"] == listed[0]["step"]
    assert title in call(capsys, listed[0]["name"], *asked)[1]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--tokens", "128"], "a batch or a size without a model says nothing; give --model too"),
        (["-m", "language_model"], "an example of language_model has tokens: give --size tokens=NUMBER"),
        (["-m", "digits-cnn", "-s", "3"], "has no size: all are alike, and no seconds"),
        (["-m", "digits-cnn", "--calibration"], "--calibration shows steps that were measured"),
    ],
)
def test_a_step_that_cannot_be_priced_is_one_sentence(capsys, asked, said):
    code, _, err = call(capsys, *asked)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1

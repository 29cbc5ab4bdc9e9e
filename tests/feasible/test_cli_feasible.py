"""``fedsim feasible`` as people and scripts call it."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
from PIL import Image

from fedsim.cli import main

NX = ("feasible", "--device", "jetson-xavier-nx", "--model", "wav2vec2-base")


@pytest.fixture
def fedsim(capsys):
    """Call the command line in this process: exit code, standard output, standard error."""

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return SimpleNamespace(returncode=ending.value.code, stdout=out, stderr=err)

    return call


def results(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["results"]


def test_the_papers_question_under_both_trends(fedsim):
    (gao,) = results(fedsim(*NX, "--trend", "gao2022", "--json"))
    (epoch,) = results(fedsim(*NX, "--trend", "epoch", "--json"))
    assert 2026 <= gao["criteria"]["parity_speed"]["year"] <= gao["parity"]["year"] == 2027
    assert epoch["parity"]["year"] > gao["parity"]["year"]
    assert (epoch["binds"], epoch["binds_by"]) == ("memory", "parity_memory")


@pytest.mark.parametrize("trend", ["gao2022", "epoch"])
def test_a_year_agrees_with_fedsim_cost_of_that_year(fedsim, trend):
    how = ("--precision", "mixed", "--checkpointing", "transformer", "-s", 15, "-t", trend, "--json")
    (found,) = results(fedsim(*NX, *how))
    cost = fedsim("cost", *NX[1:], *how, "-b", 4, "--year", found["year"])
    assert cost.returncode == 0, cost.stderr
    price = json.loads(cost.stdout)
    at = found["at_year"]
    assert at["step_s"] == pytest.approx(price["step_s"], rel=1e-12)
    assert at["footprint_bytes"] == price["footprint_bytes"]
    assert at["memory_bytes"] == pytest.approx(price["memory_bytes"], rel=1e-12)
    assert at["step"]["launch"] == pytest.approx(price["step"]["launches"], rel=1e-12)
    compute = sum(price["step"][part] for part in ("convolution", "matmul", "attention"))
    assert at["step"]["compute"] == pytest.approx(compute, rel=1e-12)


def test_fedsim_cost_says_the_year(fedsim):
    done = fedsim("cost", *NX[1:], "--year", 2027)
    assert "of 2027 by gao2022" in done.stdout.replace("\n", " ")
    early = fedsim("cost", *NX[1:], "--year", 2019)
    assert early.returncode == 2
    assert "cannot be projected to 2019" in early.stderr


def test_as_sold_it_is_what_fedsim_cost_prints(fedsim):
    (found,) = results(fedsim(*NX, "-t", "gao2022", "--json"))
    cost = json.loads(
        fedsim("cost", "-d", "jetson-xavier-nx", "-m", "wav2vec2-base", "-b", 4, "-s", 5.5, "--json").stdout
    )
    assert found["at_start"]["step_s"] == pytest.approx(cost["step_s"], rel=1e-12)
    assert found["at_start"]["footprint_bytes"] == cost["footprint_bytes"]


def test_a_grid_of_everything(fedsim):
    found = results(
        fedsim(
            "feasible", "-d", "jetson-xavier-nx", "-d", "snapdragon-870", "-m", "wav2vec2-base", "-m",
            "wav2vec2-large", "-s", 5.5, "-s", 15, "--precision", "fp32", "--precision", "mixed",
            "--within", 5,
            "--budget", "20kWh", "--battery", 0.5, "--json",
        )
    )  # fmt: skip
    # The phone trains in fp32 only, so that both precisions are one cell there.
    assert len(found) == 2 * (2 * 2 * 2 + 2 * 2)
    for cell in found:
        years = [criterion["year"] for criterion in cell["criteria"].values()]
        assert cell["year"] == (None if None in years else max(years))
        assert ("battery" in cell["criteria"]) == (cell["device"] == "snapdragon-870")
        assert set(cell["criteria"]) >= {"memory", "parity_speed", "parity_memory", "days", "energy"}


def test_draws_give_a_distribution_and_a_picture(fedsim, tmp_path):
    done = fedsim(*NX, "--draws", 10_000, "--within", 3, "--out", tmp_path / "out", "--json")
    (gao, epoch) = results(done)
    assert json.loads((tmp_path / "out" / "feasible.json").read_text())["results"] == [gao, epoch]
    for cell in (gao, epoch):
        drawn = cell["draws"]
        assert drawn["draws"] == 10_000
        assert sum(drawn["binding"].values()) == pytest.approx(1)
        quantiles = list(drawn["criteria"]["everything"]["quantiles"].values())
        assert quantiles == sorted(quantiles)
        assert drawn["criteria"]["everything"]["never"] == 0
    with Image.open(tmp_path / "out" / "feasible.png") as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(maxcolors=1_000_000)) > 20
    first = (tmp_path / "out" / "feasible.png").read_bytes()
    fedsim(*NX, "--draws", 10_000, "--within", 3, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "feasible.png").read_bytes() == first


@pytest.mark.parametrize("draws", [(), ("--draws", 200)])
def test_a_picture_of_many_cells(fedsim, tmp_path, draws):
    done = fedsim("feasible", *draws, "--battery", 0.5, "-d", "raspberry-pi-4", "-d", "a15-bionic", "-d",
                  "jetson-nano", "--horizon", 2030, "--out", tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "feasible.png") as picture:
        assert picture.width > 1000


def test_the_table_says_what_binds(fedsim):
    done = fedsim(*NX, "--pressure", "phone")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("  wav2vec2-base 4 x 5.5 s")] == [
        "memory"
    ] * 2
    assert "Other programs hold 1.5" in done.stdout.replace("\n", " ")
    drawn = fedsim(*NX, "--draws", 500, "--best", "--within", 9, "--budget", "9kWh")
    assert "500 draws" in drawn.stdout
    below = [line.strip() for line in drawn.stdout.splitlines() if re.match(" {4}[a-z]", line)]
    assert below == []  # the same technique is best in both trends, and is said once
    assert "Technique: mixed, fused attention." in drawn.stdout


def test_a_trend_of_ones_own(fedsim, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: M\ncounted_from: 2024\n"
        "doubling_years: {compute: 1, memory: never, bandwidth: 1, launch: 1, links: never}\n"
        "sources: {counted_from: me, doubling_years: me}\n"
    )
    (found,) = results(fedsim(*NX, "--trend", path, "--json"))
    assert found["start"] == 2024
    assert found["criteria"]["parity_speed"]["year"] == 2027  # 6.66 times the speed in three doublings
    assert found["criteria"]["parity_memory"]["year"] is None
    assert (found["year"], found["binds"]) == (None, "memory")
    done = fedsim(*NX, "--trend", path, "--draws", 10)
    assert done.returncode == 2
    assert "states no range, so there is nothing to draw" in done.stderr


UNSOURCED = """\
title: M
counted_from: 2024
doubling_years: {compute: 1, memory: 2, bandwidth: 1, launch: 1, links: never}
sources: {counted_from: me}
"""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-d", "toaster"], "there is no device 'toaster'"),
        (["-m", "wav2vec9"], "there is no layer trace 'wav2vec9'"),
        (["-t", "goa2022"], "there is no trend 'goa2022'; did you mean 'gao2022'"),
        (["--parity", "toaster"], "there is no device 'toaster'"),
        (["--parity", "raspberry-pi-4", "--precision", "mixed"], "raspberry-pi-4 does not train in 'mixed'"),
        (["--within", "-3"], "--within: -3 days cannot be; give more than 0"),
        (["--within", "nan"], "--within: nan days cannot be"),
        (["--speech", "0"], "--speech: 0 hours cannot be"),
        (["--battery", "1.5"], "--battery: 1.5 of a battery cannot be"),
        (["--draws", "0"], "--draws: 0 draws give no distribution; give 1 to 1000000"),
        (["--draws", "-5"], "--draws: -5 draws"),
        (["--budget", "much"], "--budget: 'much' is not a energy"),
        (["--budget", "-2kWh"], "--budget: -2kWh is no energy to spend"),
        (["--pressure", "tablet"], "--pressure: 'tablet' is neither one of usual, none, dedicated"),
        (["--pressure", "-2GB"], "--pressure: '-2GB' is below zero"),
        (["-s", "nan"], "--seconds: nan is not a length"),
        (["-s", "0.001"], "--seconds: 0.001 leaves wav2vec2-base no frame"),
        (["-s", "12", "--longest", "8"], "--longest: 8 s is shorter than the average of 12 s"),
        (["-m", "language_model"], "has tokens: give --size tokens=NUMBER"),
        (["-m", "language_model", "--tokens", "0"], "tokens=0 is not a size"),
        (["-m", "language_model", "--size", "tokens"], "'tokens' is not a size; write its name"),
        (["-m", "language_model", "--tokens", "9", "-s", "3"], "--seconds: not for language_model"),
        (["-m", "language_model", "--tokens", "9", "--longest", "3"], "--longest: 3 tokens is shorter than"),
        (["-m", "language_model", "--tokens", "9", "--longest", "9.5"], "--longest: 9.5 tokens cannot be"),
        (["-m", "digits-cnn", "--speech", "3"], "--speech: not for digits-cnn: none is a model on speech"),
        (["-m", "digits-cnn", "--longest", "3"], "--longest: not for digits-cnn: all examples are alike"),
        (["--examples", "3"], "--examples: not for wav2vec2-base: they go by hours of speech"),
        (["--tokens", "3"], "--size: an example of wav2vec2-base has no 'tokens'"),
        (["--precision", "fp8"], "'fp8' is not one of"),
        (["--accumulate", "0"], "0 is not a whole number"),
        (["--horizon", "1999"], "Invalid value for '--horizon'"),
    ],
)
def test_bad_input_is_one_sentence(fedsim, arguments, sentence):
    done = fedsim("feasible", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_trend_without_a_source_is_refused(fedsim, tmp_path):
    (tmp_path / "t.yaml").write_text(UNSOURCED)
    done = fedsim(*NX, "--trend", tmp_path / "t.yaml")
    assert done.returncode == 2
    assert "doubling_years.compute" in done.stderr
    assert "has no source" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_out_has_to_be_a_folder(fedsim, tmp_path):
    (tmp_path / "taken").write_text("")
    done = fedsim(*NX, "--out", tmp_path / "taken")
    assert done.returncode == 2
    assert "is a file; give a folder" in done.stderr


def test_no_year_is_cut_off_or_left_out_in_a_pipe(fedsim, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    how = ("-t", "epoch", "--within", 15, "--budget", "20kWh", "--battery", 0.5, "--draws", 50)
    done = fedsim("feasible", "-d", "snapdragon-8-gen-3", "-m", "wav2vec2-large", *how)
    assert "…" not in done.stdout
    heads = next(line for line in done.stdout.splitlines() if "binds" in line).split()
    years = next(line for line in done.stdout.splitlines() if line.startswith("  wav2vec2-large"))
    assert heads == ["fits", "speed", "memory", "days", "energy", "battery", "all", "binds"]
    assert len(re.findall(r"\b20\d\d(?:-(?:\d\d|never))?(?= )", years)) == len(heads) - 1


def test_each_technique_is_named_at_its_own_years(fedsim):
    how = ("-t", "epoch", "--checkpointing", "none", "--checkpointing", "transformer")
    lines = fedsim(*NX, *how).stdout.splitlines()
    cells = [number for number, line in enumerate(lines) if "wav2vec2-base" in line]
    assert [lines[number + 1].strip() for number in cells] == [
        "plain (fp32, Adam, stored attention)",
        "checkpointing transformer",
    ]


@pytest.mark.parametrize(
    ("asked", "cost", "label", "work"),
    [
        (["-m", "language_model", "--tokens", 128], ["--tokens", 128], "4 x 128 tokens", "19,500 examples"),
        (
            ["-m", "language_model", "--size", "tokens=64", "--examples", 9],
            ["--tokens", 64],
            "x 64 tokens",
            "9 ex",
        ),
        (["-m", "digits-cnn", "--examples", 500], [], "4 examples", "500 examples a client"),
    ],
)
def test_any_model_by_examples_and_its_own_size(fedsim, asked, cost, label, work):
    how = ("feasible", "-d", "jetson-xavier-nx", "-t", "gao2022", *asked)
    done = fedsim(*how, "--json")
    (found,) = results(done)
    price = json.loads(fedsim("cost", "-d", "jetson-xavier-nx", *asked[:2], *cost, "-b", 4, "--json").stdout)
    assert found["at_start"]["step_s"] == pytest.approx(price["step_s"], rel=1e-12)
    assert found["at_start"]["footprint_bytes"] == price["footprint_bytes"]
    assert "speech_hours" not in json.loads(done.stdout)["procedure"]
    shown = fedsim(*how).stdout
    assert label in shown
    assert work in shown
    assert not [word for word in ("speech", "entence", " s ") if word in shown]

"""What verbs print in narrow windows and into pipes: no figure is cut, and nothing goes without a word."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from fedsim import printing
from fedsim.cli import main

TINY = """
name: a-fleet-with-a-rather-long-name
fleet:
  clients: 40
  mix:
    - {device: jetson-agx-xavier-32gb, share: 0.5, link: wifi}
    - {device: snapdragon-870, share: 0.5, link: lte, pressure: phone}
workload: {corpus: common-voice-it-7, max_seconds: 15}
training: {model: wav2vec2-base, batch_size: 4, precision: mixed}
rounds: {count: 4, cohort: 10, close: {policy: deadline, after: 6h}}
"""


@pytest.fixture
def fedsim(capsys, monkeypatch):
    """What the command line prints into a window of that width, or into a pipe."""

    def call(width, *arguments):
        if width is not None:
            monkeypatch.setattr(
                printing, "console", lambda quiet=False: Console(width=width, highlight=False)
            )
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main([str(argument) for argument in arguments])
        assert ending.value.code == 0
        return capsys.readouterr().out

    return call


@pytest.fixture
def scenario(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    return file


DEVICE = ("-d", "jetson-agx-xavier-32gb", "-m", "wav2vec2-base")
VERBS = [
    ("cost", *DEVICE),
    ("fit", *DEVICE, "-s", "12"),
    ("devices",),
    ("devices", "jetson-xavier-nx"),
    ("devices", "--calibration"),
    ("feasible", *DEVICE, "--within", "15", "--budget", "20kWh"),
]


def _quantities(text):
    """Figures with their units, in order of appearance."""
    return re.findall(r"[\d.,]*\d (?:Wh|kWh|J|s|ms|us|min|h|days|[kMG]?B|[MGT]FLOP(?:/s)?)\b", text)


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: " ".join(verb[:2]))
def test_figures_in_a_window_are_those_in_a_pipe(fedsim, verb, width):
    whole = fedsim(None, *verb)
    narrow = fedsim(width, *verb)
    assert "…" not in whole + narrow
    assert max(map(len, narrow.splitlines())) <= width
    assert set(_quantities(narrow)) <= set(_quantities(whole))
    first = [line.split()[0] for line in whole.splitlines() if re.match(r"(jetson|nvidia|memory|fits)", line)]
    assert first
    assert all(part in narrow for word in first for part in word.split("-"))


def test_runs_in_a_narrow_window(fedsim, scenario, tmp_path):
    runs = [tmp_path / "a-first-run-with-a-long-name", tmp_path / "a-second-run-with-a-long-name"]
    for run in runs:
        fedsim(None, "run", scenario, "--out", run, "--quiet", "--no-report")
    whole, narrow = (fedsim(width, "compare", *runs) for width in (None, 60))
    assert "Not shown" not in whole
    assert re.search(r"Not shown at this width: [^:]*\btraffic", " ".join(narrow.split()))
    for line in narrow.splitlines():
        assert len(line) <= 60
        if re.search(r"\d (min|h|Wh|kWh|GB)\b", line) and not re.match("All|a-.*is the", line):
            assert line.startswith("a-")  # every row of figures says whose they are
    assert set(_quantities(narrow)) <= set(_quantities(whole))
    energy = re.findall(r"[\d.]+ k?Wh", whole)
    assert energy
    assert set(re.findall(r"[\d.]+ k?Wh", narrow)) == set(energy)


@pytest.mark.parametrize("verb", ["validate", "describe"])
def test_scenarios_in_a_narrow_window(fedsim, scenario, verb):
    whole, narrow = (fedsim(width, verb, scenario) for width in (None, 60))
    assert "jetson-agx-xavier-32gb  " in whole
    assert "Not shown" not in whole
    table = narrow[narrow.index("device ") : narrow.index("Not shown")]
    assert max(map(len, table.splitlines())) <= 60
    assert set(_quantities(table)) <= set(_quantities(whole))
    assert "Not shown at this width: clients" in narrow


def test_reproduce_into_a_pipe_names_every_figure_whole(fedsim):
    text = fedsim(None, "reproduce")
    assert "…" not in text
    assert "  wall_clock/100 clients over one V100/cost model " in text

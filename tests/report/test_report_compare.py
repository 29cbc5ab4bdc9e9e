"""Runs beside each other: what a target took, reckoned by hand; what differs; what is refused; the page."""

from __future__ import annotations

import json

import numpy as np
import pytest
from browser import LAPTOP, PHONE
from click.testing import CliRunner
from rich.console import Console

from fedsim.cli.compare import command
from fedsim.errors import InputError
from fedsim.report.compare import build, terminal
from fedsim.report.compare.answer import answer, compare
from fedsim.report.compare.differences import differing
from fedsim.report.compare.gather import labels
from fedsim.report.compare.tables import overview
from fedsim.report.compare.targets import parse, reach
from fedsim.results import RunWriter, manifest

BASE = """name: {name}
seed: {seed}
fleet: {{clients: 4, mix: [{{device: board, share: 1.0}}]}}
training: {{model: wav2vec2-base}}
rounds: {{count: {rounds}, cohort: 2, aggregate: {aggregate}}}
"""


def small(
    path,
    ends,
    losses=None,
    wers=None,
    lost=0,
    energy_j=10.0,
    seed=1,
    aggregate="fedavg",
    finish=True,
    heard=None,
):
    """A run of rounds that end at ``ends``, two clients each, of whom ``lost`` are late; 5 bytes each way."""
    text = BASE.format(name=path.name, seed=seed, rounds=len(ends), aggregate=aggregate)
    run = RunWriter(path, text, manifest(path.name, seed, 4, {}, ["fedsim"]), ["board"])
    if heard:
        run.note("corpus", {"heard": heard})
    if losses:
        run.initial([("loss", "validation", losses[0])])
    start = 0.0
    for index, end in enumerate(ends):
        late = np.array([0, 1 if lost else 0])
        columns = {
            "client": np.array([0, 1]),
            "device": np.zeros(2, int),
            "dispatched_s": np.full(2, start),
            "download_s": np.zeros(2),
            "startup_s": np.zeros(2),
            "compute_s": np.full(2, end - start),
            "upload_s": np.zeros(2),
            "ended_s": np.full(2, end),
            "outcome": late,
            "footprint_bytes": np.full(2, 1e9),
            "available_bytes": np.full(2, 2e9),
            "downloaded_bytes": np.full(2, 5.0),
            "uploaded_bytes": np.full(2, 5.0),
            "energy_j": np.full(2, energy_j / 2),
            "examples": np.ones(2),
            "weight": np.full(2, np.nan),
            "loss": np.full(2, np.nan),
        }
        metrics = [("loss", "validation", losses[index + 1])] if losses else []
        metrics += [("wer", "test", wers[index])] if wers else []
        run.round({"round": index, "start_s": start, "end_s": end}, columns, metrics)
        start = end
    run.finish("all rounds done") if finish else run.close()
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two that learn, one that only keeps time; losses and ends are round numbers to reckon with."""
    where = tmp_path_factory.mktemp("compare")
    return {
        "quick": small(
            where / "quick", [100.0, 200.0, 300.0, 400.0], [4.0, 3.5, 3.1, 3.2, 3.0], [0.9, 0.8, 0.6, 0.5]
        ),
        "slow": small(
            where / "slow", [1000.0, 2000.0, 3000.0], [4.0, 3.3, 2.9, 2.7], [0.7, 0.5, 0.4],
            energy_j=4.0, seed=2, aggregate="uniform",
        ),
        "clock": small(where / "clock", [50.0, 100.0, 150.0, 200.0, 250.0], lost=1, energy_j=1.0),
    }  # fmt: skip


def found(runs, names, *targets):
    made = compare([runs[name] for name in names], targets)
    return {target.curve: (target.value, {one.run: one for one in each}) for target, each in made.targets}


def test_the_usual_target_is_the_best_loss_that_every_run_reaches(runs):
    # quick comes down to 3.0 and slow to 2.7, so 3.0 it is: quick after round 3, slow after round 1 (2.9).
    value, at = found(runs, ["quick", "slow"])["validation.loss"]
    assert value == 3.0
    assert (at["quick"].time_s, at["quick"].round, at["quick"].rounds) == (400.0, 3, 4)
    assert (at["slow"].time_s, at["slow"].round, at["slow"].rounds) == (2000.0, 1, 2)
    assert at["quick"].energy_j == 4 * 10.0
    assert at["slow"].energy_j == 2 * 4.0
    assert at["quick"].bytes_moved == 4 * 2 * 10.0
    assert at["slow"].updates == 4


def test_the_first_evaluation_that_is_as_good_counts_even_if_a_later_one_is_worse(runs):
    _, at = found(runs, ["quick", "slow"], "loss=3.15")["validation.loss"]
    assert at["quick"].time_s == 200.0
    assert at["slow"].time_s == 2000.0


def test_word_error_rates_have_targets_in_percent_and_usual_ones(runs):
    value, at = found(runs, ["quick", "slow"])["test.wer"]
    assert value == 0.5
    assert (at["quick"].time_s, at["slow"].time_s) == (400.0, 2000.0)
    _, at = found(runs, ["quick", "slow"], "wer=45%")["test.wer"]
    assert at["quick"].time_s is None
    assert (at["quick"].best, at["quick"].best_s) == (0.5, 400.0)
    assert at["slow"].time_s == 3000.0


def test_runs_that_only_keep_time_are_compared_by_updates_and_rounds(runs):
    # slow completes 2 a round and 6 in all, clock 1 a round and 5 in all: 5 updates, 3 rounds.
    both = found(runs, ["slow", "clock"])
    assert list(both) == ["updates", "rounds"]
    value, at = both["updates"]
    assert value == 5
    assert (at["slow"].time_s, at["clock"].time_s) == (3000.0, 250.0)
    value, at = both["rounds"]
    assert value == 3
    assert (at["slow"].time_s, at["clock"].time_s, at["clock"].energy_j) == (3000.0, 150.0, 3.0)


def test_the_initial_model_reaches_what_it_already_is(runs):
    _, at = found(runs, ["quick", "slow"], "loss=4.5")["validation.loss"]
    assert (at["quick"].time_s, at["quick"].round, at["quick"].energy_j) == (0.0, -1, 0.0)


def test_a_target_that_some_run_cannot_be_asked_is_said_so(runs):
    value, at = found(runs, ["quick", "slow", "clock"], "validation.loss=3.0")["validation.loss"]
    assert value == 3.0
    assert not at["clock"].measured


def test_what_is_asked_is_what_a_scan_of_the_curve_finds(usual, runs):
    entries = compare([usual, runs["quick"]]).entries
    for key, series in entries[0].curves.items():
        for value in np.unique(series.value)[:20]:
            target = parse(f"{key}={value}", [entries[0], entries[0]])
            better = (lambda v, t=value: v >= t) if target.grows else (lambda v, t=value: v <= t)
            first = next(t for t, v in zip(series.time_s, series.value, strict=True) if better(v))
            assert reach(entries[0], target).time_s == first


def test_what_differs_is_named_by_key_path(runs):
    told = answer(compare([runs["quick"], runs["slow"]]))["differences"]
    assert {d["key"]: d["values"] for d in told} == {
        "seed": [1, 2],
        "rounds.count": [4, 3],
        "rounds.aggregate": ["fedavg", "uniform"],
    }


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([{"a": 1}, {"a": 1}], {}),
        ([{"a": 1}, {"a": 2}], {"a": (1, 2)}),
        ([{"a": {"b": 1}}, {"a": None}], {"a": ({"b": 1}, None)}),
        ([{"a": [{"b": 1}]}, {"a": [{"b": 1}, {"b": 2}]}], {"a[1]": (None, {"b": 2})}),
        ([{"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}], {"a.b": (1, None)}),
        ([{"a": 1}, {"a": 1}, {"a": 2}], {"a": (1, 1, 2)}),
    ],
)
def test_differences_go_as_deep_as_all_reach(values, said):
    assert {d.key: d.values for d in differing(values)} == said


def test_runs_of_one_name_get_labels_that_tell_them_apart(tmp_path):
    places = [tmp_path / "a" / "run", tmp_path / "b" / "run", tmp_path / "b" / "other"]
    assert labels(places) == ["a/run", "b/run", "b/other"]


def test_the_terminal_shows_every_table_within_80_columns(runs, capsys):
    terminal.show(compare(list(runs.values())), console=Console(width=80, highlight=False))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for word in (
        "completed",
        "energy",
        "5 completed updates",
        "rounds.aggregate",
        "Nothing is learnt in clock",
    ):
        assert word in text
    terminal.show(
        compare([runs["quick"], runs["slow"]], ["wer=45%"]), console=Console(width=80, highlight=False)
    )
    text = capsys.readouterr().out
    assert "slow is the first to reach word error rate, test, 45% or less, after 50 min" in text
    assert "never: 50% at best" in text


def test_figures_side_by_side(runs):
    told = {one["run"]: one for one in answer(compare([runs["quick"], runs["clock"]]))["runs"]}
    assert told["quick"]["outcomes"]["completed"] == 8
    assert (told["clock"]["outcomes"]["completed"], told["clock"]["outcomes"]["late"]) == (5, 5)
    assert (told["clock"]["energy_j"], told["clock"]["wasted_j"]) == (5.0, 2.5)
    assert (told["quick"]["end_s"], told["quick"]["mean_round_s"]) == (400.0, 100.0)
    assert told["quick"]["last"] == {"validation.loss": 3.0, "test.wer": 0.5}


def test_an_error_rate_on_what_training_heard_is_marked(tmp_path):
    ends, losses, wers = [100.0, 200.0], [4.0, 3.5, 3.0], [0.9, 0.8]
    apart = small(tmp_path / "apart", ends, losses, wers)
    overlapping = small(tmp_path / "overlapping", ends, losses, wers, heard={"test": 2})
    compared = compare([apart, overlapping])
    ends = [row[-1] for row in overview(compared.entries)[0].rows]
    assert ends == ["80%", "80% (heard in training)"]
    assert [one.get("heard") for one in answer(compared)["runs"]] == [None, ["test"]]


def refused(*arguments):
    done = CliRunner().invoke(command, [str(one) for one in arguments])
    assert isinstance(done.exception, InputError), done.output
    assert done.exception.exit_code == 2
    assert "\n" not in str(done.exception)
    return str(done.exception)


def test_what_cannot_be_compared_is_refused_in_one_sentence(runs, tmp_path):
    quick = runs["quick"]
    unfinished = small(tmp_path / "half", [1.0], finish=False)
    assert "at least two" in refused(quick)
    assert "at least two" in refused()
    assert "not a directory" in refused(quick, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no manifest.json" in refused(quick, tmp_path / "empty")
    assert "given twice" in refused(quick, quick)
    assert f"fedsim run --resume {unfinished}" in refused(quick, unfinished)
    assert "no round" in refused(quick, small(tmp_path / "none", []))
    assert "at most 16" in refused(*[quick] * 17)
    assert "holds a run" in refused(quick, runs["slow"], "--out", quick)
    assert "--out DIR" in refused(quick, runs["slow"], "--quiet")
    for target, said in {
        "loss": "METRIC=VALUE",
        "=3": "METRIC=VALUE",
        "loss=much": "no number",
        "loss=50%": "no number",
        "loss=nan": "no number",
        "rounds=0": "whole number",
        "updates=2.5": "whole number",
        "cer=0.2": "none of these runs has 'cer'; two or more have rounds, test.wer, updates",
    }.items():
        assert said in refused(quick, runs["slow"], "--target", target)
    assert "one of these runs only has 'loss'" in refused(quick, runs["clock"], "--target", "loss=3")


def test_json_quiet_and_the_files_of_a_comparison(runs, tmp_path):
    both = [str(runs["quick"]), str(runs["slow"])]
    done = CliRunner().invoke(command, [*both, "--json", "--out", str(tmp_path / "new")])
    told = json.loads(done.output)
    assert [one["run"] for one in told["runs"]] == ["quick", "slow"]
    assert [target["curve"] for target in told["targets"]] == ["validation.loss", "test.wer", "updates"]
    assert sorted(p.name for p in (tmp_path / "new" / "figures").iterdir()) == [
        "curves.png", "energy.png", "outcomes.png", "progress.png",
    ]  # fmt: skip
    page = (tmp_path / "new" / "compare.html").read_text(encoding="utf-8")
    assert told["paths"]["page"] == str(tmp_path / "new" / "compare.html")
    assert "http:" not in page.replace("http://www.w3.org", "")
    done = CliRunner().invoke(command, [*both, "--quiet", "--out", str(tmp_path / "new")])
    assert done.output.strip() == str(tmp_path / "new" / "compare.html")
    assert (tmp_path / "new" / "compare.html").read_text(encoding="utf-8") == page


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    """Twelve runs whose clocks lie between minutes and months."""
    where = tmp_path_factory.mktemp("twelve")
    made = [
        small(
            where / f"run-{at:02}", [60.0 * 3**at * k for k in range(1, 7)], [4.0 - 0.1 * k for k in range(7)]
        )
        for at in range(12)
    ]
    return build.write(compare(made), where / "page")[0]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_page_stands_in_a_browser(browser, twelve, size, dark):
    with browser.open(twelve, size, dark=dark) as seen:
        assert seen.clean, (seen.errors, seen.requests)
        assert seen.too_wide_px <= 0
        drawn = seen.page.evaluate("[...document.querySelectorAll('figure.live')].map(f => f.id)")
        assert sorted(drawn) == ["curves", "energy", "outcomes", "progress"]
        assert seen.page.locator("#curves .key").count() == 12
        for mode in seen.page.locator("#curves .tools button[aria-pressed]").all():
            mode.click()
            assert mode.get_attribute("aria-pressed") == "true"
        assert seen.clean, seen.errors

"""A damaged or strange run directory is reported, or refused in one sentence; and a long run stays small."""

from __future__ import annotations

import io
import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from fedsim.errors import RunError
from fedsim.report import build, page, terminal, timeline
from fedsim.report.digest import digest
from fedsim.report.figures import CHARTS
from fedsim.report.style import LIGHT, render
from fedsim.results import load


@pytest.fixture(scope="module")
def sound(tmp_path_factory, make_run):
    where = tmp_path_factory.mktemp("sound")
    return [
        make_run(where / str(finish), rounds=3, cohort=5, clients=9, finish=finish)
        for finish in (True, False)
    ]


def show(path, target):
    found = digest(load(path))
    ready = [chart for chart in CHARTS if chart.ready(found)]
    assert all(chart.title(found) and chart.caption(found) for chart in ready)
    assert page.html(found, []).startswith("<!DOCTYPE html>")
    timeline.write(found, target)
    json.loads(target.read_text(encoding="utf-8"))
    terminal.show(found, console=Console(file=io.StringIO(), width=80))
    return found, ready


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), which=st.integers(0, 1), draw=st.booleans())
def test_damage_is_survived_or_refused(sound, tmp_path_factory, data, which, draw):
    where = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(sound[which], where / "run")
    files = sorted(p for p in (where / "run").rglob("*") if p.is_file() and p.name != "lock")
    victim = data.draw(st.sampled_from(files))
    content = bytearray(victim.read_bytes())
    if data.draw(st.booleans()) and content:
        for _ in range(data.draw(st.integers(1, 5))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    else:
        content = content[: data.draw(st.integers(0, max(0, len(content) - 1)))]
    victim.write_bytes(bytes(content))
    refusal = None
    try:
        found, ready = show(where / "run", where / "timeline.json")
        if draw and ready:
            chart = data.draw(st.sampled_from(ready))
            render(chart.draw(found, LIGHT))
    except RunError as fault:
        refusal = fault
    assert refusal is None or "\n" not in str(refusal)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(key=st.sampled_from(["name", "seed", "clients", "versions", "inputs", "volatile"]), value=TREES)
def test_a_strange_manifest_is_no_trouble_and_json_has_no_infinity(sound, tmp_path_factory, key, value):
    where = tmp_path_factory.mktemp("strange")
    shutil.copytree(sound[0], where / "run")
    path = where / "run" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        with pytest.raises(RunError, match="not a number in JSON"):
            show(where / "run", where / "timeline.json")
    else:
        show(where / "run", where / "timeline.json")


@settings(max_examples=60, deadline=None)
@given(block=st.sampled_from(["name", "fleet", "training", "rounds"]), value=TREES)
def test_a_strange_scenario_is_no_trouble(sound, tmp_path_factory, block, value):
    where = tmp_path_factory.mktemp("strange")
    shutil.copytree(sound[0], where / "run")
    (where / "run" / "scenario.yaml").write_text(json.dumps({block: value, "seed": 1}))
    refusal = None
    try:
        show(where / "run", where / "timeline.json")
    except RunError as fault:
        refusal = fault
    assert refusal is None or "scenario.yaml" in str(refusal)


@pytest.mark.slow
def test_a_long_run_of_a_large_fleet_stays_small(make_run, tmp_path):
    made = build.write(make_run(tmp_path / "run", rounds=1000, cohort=1000, clients=10_000))
    assert made.html.stat().st_size < 5_000_000
    assert made.timeline.stat().st_size < 20_000_000

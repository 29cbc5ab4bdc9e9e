"""The timeline of real runs is a valid Chrome trace: complete events that nest, and nothing lost."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise

import pytest

from fedsim import results
from fedsim import simulation as run
from fedsim.report import timeline
from fedsim.report.digest import digest
from fedsim.report.words import OUTCOME_WORDS
from fedsim.scenario import load

# Nobody is online for the first year: instants are large numbers there, and their sums are rounded.
SCENARIO = """
seed: 9
fleet:
  clients: 12
  mix:
    - device: macbook-pro-2019
      share: 0.5
      link: lte
      availability: {kind: trace, file: here.csv}
      pressure: laptop
      speed_spread: 0.2
      crashes_per_day: 100
    - {device: raspberry-pi-4, share: 0.5, link: wifi, availability: {kind: trace, file: here.csv}}
workload: {utterances: 20, max_seconds: 8}
rounds: {count: 12, cohort: 8}
"""
HERE = "client,start_s,end_s\n" + "".join(
    f"{k},{31_536_000 + 97 * k + lap},{31_536_000 + 97 * k + lap + 1500}\n"
    for k in range(5)
    for lap in range(0, 30_000, 1700)
)


@pytest.fixture(params=["wait-all", "{policy: deadline, after: 5min}", "{policy: async, buffer: 3}"])
def made(request, tmp_path):
    """A run, and its timeline."""
    (tmp_path / "here.csv").write_text(HERE)
    (tmp_path / "it.yaml").write_text(SCENARIO)
    path = run.run(load(tmp_path / "it.yaml", [f"rounds.close={request.param}"]), tmp_path / "run")
    found = results.load(path)
    timeline.write(digest(found), tmp_path / "timeline.json")
    return found, json.loads((tmp_path / "timeline.json").read_text())


def test_events_are_whole_and_spans_of_a_track_nest(made):
    _, trace = made
    assert set(trace) == {"displayTimeUnit", "otherData", "traceEvents"}
    spans = defaultdict(list)
    for event in trace["traceEvents"]:
        assert {"ph", "pid", "tid", "name"} <= set(event)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert event["ph"] in "MXiC"
        if event["ph"] == "M":
            assert event["args"]["name"]
            continue
        assert event["ts"] >= 0
        if event["ph"] == "i":
            assert event["s"] == "t"
        if event["ph"] == "X":
            assert event["dur"] >= 0
            spans[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert len(spans) > 2
    for track in spans.values():
        # No span here lies within another: one track does one thing at a time.
        for (_, end), (start, _) in pairwise(sorted(track)):
            assert end <= start


def test_every_phase_every_mishap_and_every_close_is_there(made):
    found, trace = made
    clients, events = found.clients, trace["traceEvents"]
    phases = {"download": "download_s", "start": "startup_s", "train": "compute_s", "upload": "upload_s"}
    for label, column in phases.items():
        lasted = [e["dur"] * 1e-6 for e in events if e["ph"] == "X" and e["name"] == label]
        assert len(lasted) == (clients[column] > 0).sum()
        assert sum(lasted) == pytest.approx(clients[column].sum(), abs=1e-6 * len(clients))
    told = [(e["name"], e["tid"] - 1, e["ts"]) for e in events if e["ph"] == "i" and e["pid"] == 2]
    wrong = clients[clients["outcome"] != "completed"]
    assert len(wrong) > 3
    assert sorted(told) == sorted(
        (OUTCOME_WORDS[row.outcome], row.client, round(row.ended_s * 1e6)) for row in wrong.itertuples()
    )
    closes = [e["ts"] for e in events if e["ph"] == "i" and e["pid"] == 1]
    assert closes == [round(end * 1e6) for end in found.rounds["end_s"]]
    assert closes[0] > 31_536_000e6

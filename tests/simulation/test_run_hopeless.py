"""Fleets and plans that cannot work out: the command ends with a clear account, not with a hang."""

import json

import pytest

from fedsim import results
from fedsim.cli import main

SCENARIO = """
seed: 5
fleet:
  clients: 12
  mix:
    - {device: jetson-xavier-nx, share: 0.5, link: wifi}
    - {device: raspberry-pi-4, share: 0.5, link: 3g}
workload: {utterances: 20, max_seconds: 8}
rounds: {count: 3, cohort: 6}
"""
NEVER = "{kind: trace, file: never.csv}"  # its only span is empty
WAYS = [
    "wait-all",
    "{policy: deadline, after: 5min}",
    "{policy: quorum, over: 0.5}",
    "{policy: async, buffer: 2}",
]


@pytest.fixture
def ran(tmp_path, monkeypatch, capsys):
    """Runs ``fedsim run`` with changes; gives the run, its summary and what was printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it.yaml").write_text(SCENARIO)
    (tmp_path / "never.csv").write_text("client,start_s,end_s\n0,0,0\n")

    def ran(*changes):
        settings = [word for change in changes for word in ("--set", change)]
        with pytest.raises(SystemExit) as stopped:
            main(["run", "it.yaml", "--out", "run", "--no-report", *settings])
        assert stopped.value.code == 0
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        return results.load(tmp_path / "run"), summary, capsys.readouterr().out

    return ran


@pytest.mark.parametrize("close", WAYS)
def test_a_fleet_that_is_never_online(ran, close):
    never = [f"fleet.mix[{k}].availability={NEVER}" for k in (0, 1)]
    found, summary, said = ran(*never, f"rounds.close={close}")
    assert len(found.rounds) == len(found.clients) == 0
    assert summary["rounds"] == 0
    assert "no client is online at 0 s, and none will be" in " ".join(said.split())


@pytest.mark.parametrize("close", WAYS)
def test_a_cohort_larger_than_the_fleet_takes_everyone_once(ran, close):
    found, summary, _ = ran("rounds.cohort=50", f"rounds.close={close}")
    assert summary["rounds"] == 3
    first = found.clients[found.clients["dispatched_s"] == 0.0]
    assert sorted(first["client"]) == list(range(12))
    if "async" not in close:
        assert (found.rounds["selected"] == 12).all()


def test_an_update_that_no_link_can_carry_before_the_deadline(ran):
    # 3g carries 0.2 MB/s or so: of 380 MB hardly a thing in one minute, and no update is ever complete.
    found, summary, said = ran("rounds.close={policy: deadline, after: 1min}")
    assert summary["rounds"] == 3
    assert summary["outcomes"]["completed"] == 0
    assert summary["outcomes"]["late"] == summary["client_rounds"] == 18
    assert found.rounds["end_s"].tolist() == [60.0, 120.0, 180.0]
    assert (found.clients["compute_s"] == 0.0)[found.clients["device"] == "raspberry-pi-4"].all()
    assert summary["wasted_j"] == pytest.approx(found.clients["energy_j"].sum())
    assert (found.clients["energy_j"] > 0.0).all()
    assert "late" in said

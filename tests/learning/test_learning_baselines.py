"""Baselines: the same learner under other circumstances, as runs in the same run directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from federations import changed

from fedsim import results
from fedsim import simulation as run
from fedsim.errors import InputError
from fedsim.learning import Federation, baselines, checkpoint
from fedsim.learning.holdings import Holdings
from fedsim.learning.restore import model_of
from fedsim.report import build
from fedsim.scenario import Loaded, load
from fedsim.simulation.progress import Silent
from fedsim.tasks import Wav2Vec2
from fedsim.tasks.ctc.finetuning import Finetuning
from fedsim.tasks.speech.corpus import Espeak

TEXT = """
seed: 3
fleet:
  clients: 6
  mix:
    - {device: jetson-xavier-nx, share: 0.5, link: wifi, speed_spread: 0.1}
    - device: jetson-agx-xavier
      share: 0.5
      link: lte
      availability: {kind: markov, mean_online: 12h, mean_offline: 1h}
      battery: {capacity: 50Wh, start: 0.15, floor: 0.1}
workload: {utterances: 8}
training: {batch_size: 4}
rounds: {count: 2, cohort: 3, aggregate: loss-weighted}
server: {device: nvidia-a40}
learning:
  corpus: {speakers: 6, minutes: 0.6}
  clients_per_round: 2
  local_steps: 3
  batch_size: 1
  crop_seconds: 0.5
  evaluation_seconds: 1
  optimizer_state: averaged
  downstream: {steps: 2, batch_size: 1, minutes: 0.05, test_minutes: 0.05}
"""


def scenario(folder: Path, *overrides: str) -> Loaded:
    file = folder / "it.yaml"
    file.write_text(TEXT)
    return load(file, overrides)


def test_none_and_no_pretraining_leave_the_federation_as_it_is(small: Federation) -> None:
    assert baselines.of(small, 2, 0) is small
    none = changed(small, baseline="no-pretraining", downstream=Finetuning())
    assert baselines.of(none, 2, 0) is none


@pytest.mark.parametrize(("trained", "cohort", "steps"), [(3, 20, 12), (20, 2, 8), (20, 20, 24)])
def test_centralised_takes_as_many_steps_as_those_who_train(
    small: Federation, trained: int, cohort: int, steps: int
) -> None:
    """The fewest of those trained for real, the cohort, and the six clients there are; 4 steps each."""
    spec = changed(small, clients_per_round=trained, local_steps=4, baseline="centralised")
    central = baselines.of(spec, cohort, 0)
    assert (central.clients, central.learning.clients_per_round) == (1, 1)
    assert central.learning.local_steps == steps
    assert central.pooled


def test_centralised_epochs_are_those_of_the_clients_share(small: Federation) -> None:
    """Three of ten parts, twice each: six tenths of a pass over everything."""
    spec = changed(small, clients=10, parts=10, clients_per_round=3, local_epochs=2.0)
    assert baselines.centralised(spec).learning.local_epochs == pytest.approx(0.6)


@pytest.mark.parametrize("client", [0, 4])
def test_local_only_hears_what_that_client_holds(small: Federation, client: int) -> None:
    parts = small.task.data(9).parts
    alone = baselines.of(changed(small, baseline="local-only", alone=client), 3, 9)
    assert np.array_equal(Holdings(parts, alone, 9).of(0), Holdings(parts, small, 9).of(client))


def test_a_centralised_run_is_on_the_servers_clock(tmp_path: Path) -> None:
    """A cohort of 3 with 8 utterances each is one client with 24 on the server's device."""
    central = results.load(run.run(scenario(tmp_path, "learning.baseline=centralised"), tmp_path / "central"))
    (tmp_path / "one.yaml").write_text(
        "seed: 3\nfleet: {clients: 1, mix: [{device: nvidia-a40, share: 1, link: instant}]}\n"
        "workload: {utterances: 24}\ntraining: {batch_size: 4, start: warm}\nrounds: {count: 2, cohort: 1}\n"
        "server: {uplink: unlimited, downlink: unlimited}\n"
    )
    one = run.time_rounds(load(tmp_path / "one.yaml").scenario)
    assert central.rounds["end_s"].tolist() == [record.end_s for record in one]
    assert set(central.clients["device"]) == {"nvidia-a40"}
    assert central.rounds[["downloaded_bytes", "uploaded_bytes"]].to_numpy().sum() == 0.0
    assert central.rounds["energy_j"].min() > 0.0
    held = checkpoint.read(checkpoint.path(tmp_path / "central" / "checkpoints", 2))
    assert held.tensors["optimizer"][-1] == 12.0  # steps: 2 rounds of 2 clients of 3
    assert central.manifest["clients"] == 1
    assert set(central.convergence["metric"]) >= {"loss", "wer"}


def test_without_pretraining_there_is_only_the_downstream_task(tmp_path: Path) -> None:
    none = results.load(run.run(scenario(tmp_path, "learning.baseline=no-pretraining"), tmp_path / "none"))
    run.run(scenario(tmp_path), tmp_path / "federated")
    assert none.rounds.empty
    assert none.clients.empty
    table = none.convergence.set_index(["metric", "split"])
    assert (table["round"] == -1).all()
    assert (table["time_s"] == 0.0).all()
    task = Wav2Vec2(
        corpus=Espeak(speakers=6, minutes=0.6),
        downstream=Finetuning(steps=2, batch_size=1, minutes=0.05, test_minutes=0.05),
    )
    begin = checkpoint.path(tmp_path / "federated" / "checkpoints", 0)  # the same weights
    expected = task.finetune(model_of(task, begin, 3), task.data(3), 3, "cpu")
    assert table.loc[("wer", "test"), "value"] == expected.wer
    assert table.loc[("cer", "test"), "value"] == expected.cer
    assert build.write(tmp_path / "none").html.is_file()


def test_a_client_alone_is_the_one_of_the_federation(tmp_path: Path) -> None:
    """Its training takes as long as in a federation of all six, and nothing is sent."""
    everyone = results.load(run.run(scenario(tmp_path, "rounds.cohort=6"), tmp_path / "all")).clients
    for client in (1, 4):
        settings = ("learning.baseline=local-only", f"learning.alone={client}")
        alone = results.load(run.run(scenario(tmp_path, *settings), tmp_path / f"{client}")).clients
        mine = everyone[(everyone["client"] == client) & (everyone["outcome"] == "completed")]
        assert set(alone["client"]) == {client}
        assert set(alone["device"]) == set(mine["device"])
        done = alone[alone["outcome"] == "completed"]
        assert len(done)
        assert np.allclose(done["compute_s"], mine["compute_s"].iloc[0], rtol=1e-12)
        assert alone[["download_s", "upload_s", "downloaded_bytes", "uploaded_bytes"]].to_numpy().sum() == 0.0


class _Stop(Silent):
    def round(self, record: object) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("settings", [["centralised"], ["local-only", "learning.alone=4"]])
def test_an_interrupted_baseline_goes_on(tmp_path: Path, settings: list[str]) -> None:
    asked = scenario(tmp_path, f"learning.baseline={settings[0]}", *settings[1:])
    whole = run.run(asked, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run.run(asked, tmp_path / "cut", progress=_Stop())
    run.resume(tmp_path / "cut")
    for name in ("rounds.parquet", "clients.parquet", "convergence.parquet"):
        assert (tmp_path / "cut" / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("learning.baseline=centralised", "server.device=null"), "needs the key server.device"),
        (("server.device=nvidia-a400",), "server.device"),
        (("learning.baseline=no-pretraining", "learning.downstream=null"), "needs the key 'downstream'"),
        (("learning.baseline=local-only",), "'alone'"),
        (("learning.alone=1",), "'alone'"),
        (("learning.baseline=local-only", "learning.alone=6"), "clients 0 to 5"),
        (("learning.baseline=central",), "is not one of"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, settings: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        scenario(tmp_path, *settings)


def test_a_baseline_runs_from_the_command_line(tmp_path: Path) -> None:
    from fedsim.cli import fedsim

    (tmp_path / "it.yaml").write_text(TEXT)
    words = ["run", str(tmp_path / "it.yaml"), "--set", "learning.baseline=no-pretraining", "--workers", "1"]
    done = CliRunner().invoke(fedsim, [*words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "fresh weights are fine-tuned, and nothing is pretrained" in said
    assert "Word error rate on test speakers is" in said
    assert (tmp_path / "out" / "summary.json").is_file()
    assert (tmp_path / "out" / "report.html").is_file()

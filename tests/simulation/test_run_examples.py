"""What an update weighs by is what it was trained on, whatever the simulated workload says."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from click.testing import CliRunner
from federations import changed, federation

import fedsim
from fedsim import yamlfile
from fedsim.cli import fedsim as cli
from fedsim.engine.selection import Oort
from fedsim.learning import make_learner
from fedsim.report import words
from fedsim.report.digest import digest
from fedsim.scenario import build
from fedsim.simulation import compose
from fedsim.simulation.forecast import forecast
from fedsim.tasks.ctc import Ctc
from fedsim.tasks.speech.corpus import Manifest

HELD = {"a": 3, "b": 3, "c": 1}  # training utterances by speaker


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    """Three speakers with 3, 3 and 1 utterances, of whom b has one without a transcript."""
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    rows = [["path", "speaker", "text", "split"]]
    for speaker, count in {**HELD, "d": 1, "e": 1}.items():
        for number in range(count):
            file = f"{speaker}-{number}.wav"
            soundfile.write(tmp_path / file, draw.normal(0, 0.1, 16_000), 16_000)
            text = "" if file == "b-2.wav" else "no"
            rows.append([file, speaker, text, {"d": "validation", "e": "test"}.get(speaker, "train")])
    with (tmp_path / "list.csv").open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    return tmp_path / "list.csv"


@pytest.fixture
def scenario(manifest):
    """Writes a scenario of three clients that hold what the three speakers said."""

    def write(rounds="count: 1, cohort: 3", learning="", workload="{}"):
        file = manifest.with_name("mine.yaml")
        file.write_text(
            f"""
name: mine
fleet: {{clients: 3, mix: [{{device: nvidia-a40, share: 1, link: instant}}]}}
workload: {workload}
rounds: {{{rounds}}}
learning:
  corpus: {{kind: manifest, path: {manifest.name}}}
  partition: natural
  batch_size: 2
  local_steps: 2
  crop_seconds: 1
  evaluation_seconds: 1
  {learning}
"""
        )
        return file

    return write


def clients_of(run):
    return pq.read_table(run.path / "clients.parquet").to_pylist()


@pytest.mark.parametrize(
    ("rule", "steps"),
    [("fedavg", "local_steps: 2"), ("fedprox", "local_steps: 3"), ("fedadam", "local_epochs: 2")],
)
def test_fedavg_weighs_by_the_utterances_that_were_trained_on(rule, steps, scenario, tmp_path):
    file = scenario(f"count: 1, cohort: 3, aggregate: {rule}")
    file.write_text(file.read_text().replace("local_steps: 2", steps))
    rows = clients_of(fedsim.run(file, tmp_path / "run", workers=1))
    assert sorted(row["examples"] for row in rows) == [1, 3, 3]
    assert [row["weight"] for row in rows] == pytest.approx([row["examples"] / 7 for row in rows])


def test_few_steps_do_not_go_through_all_that_a_client_holds(manifest):
    found = federation(
        corpus=Manifest(path=str(manifest)),
        partition="natural",
        clients=3,
        rounds=1,
        batch_size=2,
        local_steps=1,
        crop_seconds=1.0,
        evaluation_seconds=1.0,
    )
    with make_learner(found, 1) as learner:
        told = learner.train(0, np.arange(3), np.zeros(3, np.int64))
        assert sorted(told.examples) == [1, 2, 2]  # one step of two, of one utterance twice
        assert told.examples.tolist() == learner.trains_on(np.arange(3)).tolist()
    task = Ctc(
        model="wav2vec2-tiny", corpus=Manifest(path=str(manifest)), partition="natural", crop_seconds=1.0
    )
    with make_learner(changed(found, local_steps=3, task=task), 1) as learner:
        told = learner.train(0, np.arange(3), np.zeros(3, np.int64))
        assert sorted(told.examples) == [1, 2, 3]  # one of b's is not transcribed
        assert sorted(told.weight) == pytest.approx([1 / 6, 2 / 6, 3 / 6])


def test_oort_goes_by_them_too(scenario, monkeypatch, tmp_path):
    heard = []
    selector = type(Oort().begin(compose(build_of(scenario())).world, None, 0))
    learn = selector.learn

    def listen(self, clients):
        learn(self, clients)
        heard.append((self.client.tolist(), self.gain.tolist(), clients))

    monkeypatch.setattr(selector, "learn", listen)
    learning = "clients_per_round: 2"
    run = fedsim.run(
        scenario("count: 1, cohort: 3, select: oort", learning), tmp_path / "run", workers=1, draws=0
    )
    ((order, gain, _),) = heard
    held = {row["client"]: (row["examples"], row["loss"]) for row in clients_of(run)}
    assert sorted(examples for examples, _ in held.values()) == [1, 3, 3]  # also of who was not trained
    assert sum(loss is None or np.isnan(loss) for _, loss in held.values()) == 1
    for client, utility in zip(order, gain, strict=True):
        examples, loss = held[client]
        known = loss is not None and not np.isnan(loss)
        assert utility == pytest.approx(examples * (loss if known else 1.0))


def build_of(file):
    return build(yamlfile.load(file), file)


def test_where_the_clock_has_it_otherwise_validate_and_the_summary_say_so(scenario, tmp_path):
    file = scenario(workload="{utterances: 5}")
    said = CliRunner().invoke(cli, ["validate", str(file)])
    assert said.exit_code == 0, said.output
    assert (
        "On the simulated clock a client's round is 5 examples; really trained is 2 steps of 2" in said.stdout
    )
    run = fedsim.run(file, tmp_path / "run", workers=1)
    spreads = {
        "clock": {"least": 5, "mean": 5, "most": 5},
        "learner": {"least": 1, "mean": pytest.approx(7 / 3), "most": 3},
    }
    assert run.summary["examples"] == spreads
    assert words.examples_sentence(digest(run)) == (
        "In a round a client is trained on 1 to 3 (2.33 on average) examples, by which updates weigh; "
        "the simulated clock takes it to be 5."
    )


def test_where_both_agree_nothing_is_said(scenario, tmp_path):
    file = scenario(workload="{utterances: 1}", learning="alone: 0\n  baseline: local-only")
    file.write_text(
        file.read_text().replace("local_steps: 2", "local_steps: 1").replace("batch_size: 2", "batch_size: 1")
    )
    run = fedsim.run(file, tmp_path / "run", workers=1)
    assert "examples" not in run.summary
    assert words.examples_sentence(digest(run)) == ""
    said = CliRunner().invoke(cli, ["validate", str(file), "--json"])
    assert json.loads(said.stdout)["examples"] is None


def test_the_clock_is_as_it_is_without_learning(scenario, tmp_path):
    file = scenario("count: 2, cohort: 2", workload="{utterances: 5}")
    real = clients_of(fedsim.run(file, tmp_path / "run", workers=1))
    told = forecast(compose(build_of(file)))
    assert max(row["ended_s"] for row in real) == told.clock_s

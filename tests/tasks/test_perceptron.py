"""The guide's task goes the whole way: traced, priced, simulated, trained, reported."""

from __future__ import annotations

import pytest
from federations import learnt
from guide import copied

from fedsim import plugins, scenario
from fedsim.hardware import load_device
from fedsim.learning import Federation, Learning
from fedsim.pricing import Pricer, Technique
from fedsim.pricing.trace import load_trace
from fedsim.scenario.file_access import ANYWHERE
from fedsim.tasks import Task
from fedsim.tracing.trace import trace, write


@pytest.fixture
def file(tmp_path):
    return copied("perceptron.py", tmp_path)


@pytest.fixture
def perceptron(file):
    plugins.load(file)
    (task,) = [cls for cls in plugins.of(Task) if cls.__name__ == "Perceptron"]
    return task


@pytest.fixture
def traced(perceptron, tmp_path):
    return write(trace(perceptron(hidden=3), "perceptron"), tmp_path)


def test_it_is_traced_and_priced_by_hand(traced):
    found = load_trace(traced)
    assert found.sizes == ()
    # 2 x 3 + 3 of the first layer, 3 + 3 of the batch norm, 3 x 2 + 2 of the last
    assert found.parameters == 9 + 6 + 8
    pricer = Pricer(load_device("raspberry-pi-4"), found, Technique())
    # 2 x multiply-accumulates of the two linear layers, for ten points
    assert float(pricer.forward_flops_paper(10, 1)) == 10 * 2 * (2 * 3 + 3 * 2)
    assert float(pricer.step_s(20, 1)) > float(pricer.step_s(10, 1)) > 0.0


def test_it_learns_the_same_on_any_number_of_workers(perceptron):
    task = perceptron()
    learning = Learning(
        task=task, clients_per_round=4, local_steps=10, batch_size=8, learning_rate=0.02, warmup_rounds=0
    )
    weights, values = learnt(Federation(learning=learning, clients=8, rounds=6))
    # 2 x 16 + 16 + 32 + 16 x 2 + 2 weights, and the running mean and variance of 16 units
    assert len(weights) == 4 * (114 + 32)
    assert values["accuracy", "validation"][-1] > 0.9
    assert values["loss", "validation"][-1] < 0.6 * values["loss", "validation"][0]


def test_what_does_not_travel_is_forgotten_between_clients(file):
    """Without a momentum, batch norm weighs by a count of batches, which is a buffer that stays behind."""
    file.write_text(
        file.read_text().replace("(self.hidden), nn.ReLU", "(self.hidden, momentum=None), nn.ReLU")
    )
    plugins.load(file)
    task = next(cls for cls in plugins.of(Task) if cls.__name__ == "Perceptron")(hidden=4)
    assert task.build()[1].momentum is None
    learning = Learning(task=task, clients_per_round=4, local_steps=3, batch_size=8, warmup_rounds=0)
    learnt(Federation(learning=learning, clients=8, rounds=2))


def test_it_goes_the_whole_way_from_the_command_line(traced, file, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from fedsim.cli import fedsim
    from fedsim.results import load

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        f"""
fleet: {{clients: 8, mix: [{{device: raspberry-pi-4, share: 1.0}}]}}
workload: {{examples: 40}}
training: {{model: {traced.name}, batch_size: 8}}
rounds: {{count: 4, cohort: 4}}
learning: {{task: perceptron, hidden: 8, clients_per_round: 4, learning_rate: 0.02, warmup_rounds: 0}}
"""
    )
    for arguments in (
        ["validate", "mine.yaml"],
        ["describe", "mine.yaml"],
        ["run", "mine.yaml", "--out", "run", "--workers", "2"],
    ):
        done = CliRunner().invoke(fedsim, [*arguments, "--plugin", str(file)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    run = load(tmp_path / "run")
    table = run.convergence
    assert set(table["metric"]) == {"loss", "accuracy"}
    validation = table[(table["metric"] == "accuracy") & (table["split"] == "validation")]
    assert validation["value"].iloc[-1] > 0.6
    assert "plugins/perceptron.py" in run.manifest["inputs"]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "accuracy" in page


def test_keys_of_the_task_are_checked_like_any_others(perceptron, tmp_path):
    from fedsim.errors import ScenarioError

    data = {
        "name": "x",
        "fleet": {"clients": 8, "mix": [{"device": "raspberry-pi-4", "share": 1.0}]},
        "rounds": {"count": 1, "cohort": 2},
        "learning": {"task": "perceptron", "hiden": 3},
    }
    with pytest.raises(ScenarioError, match=r"learning.hiden: .* did you mean 'hidden'"):
        scenario.build(data, tmp_path / "x.yaml", ANYWHERE)
    data["learning"] = {"task": "perceptron", "corpus": {}}
    with pytest.raises(ScenarioError, match=r"'corpus' belongs to ctc or .*wav2vec2, not to 'perceptron'"):
        scenario.build(data, tmp_path / "x.yaml", ANYWHERE)

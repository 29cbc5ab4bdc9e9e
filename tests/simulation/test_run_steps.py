"""Kinds of steps in a run: the bytes of the ordinary one, and one sentence where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import fedsim
from fedsim.cli import validate
from fedsim.errors import ScenarioError
from fedsim.scenario import load
from fedsim.simulation import compose, execute
from fedsim.simulation.host import learning_outlook
from fedsim.sweeps import address

SCENARIO = """
seed: 3
fleet: {clients: 2, mix: [{device: jetson-xavier-nx, share: 1.0, link: instant}]}
workload: {examples: 8}
training: {model: digits-cnn}
rounds: {count: 2, cohort: 2}
learning: {task: classification, parts: 2, local_steps: 3, clip_norm: null, warmup_rounds: 0}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(SCENARIO)
    return tmp_path / "s.yaml"


def weights(run: Path) -> bytes:
    """The numbers of the newest checkpoint."""
    whole = (run / "checkpoints" / "round-00002.safetensors").read_bytes()
    return whole[8 + int.from_bytes(whole[:8], "little") :]


@pytest.mark.parametrize("rule", ["fedavg", "fedprox"])
def test_a_run_that_releases_gradients_ends_with_the_same_weights(file: Path, rule: str) -> None:
    ends = {}
    for released in ("false", "true"):
        said = [f"training.release_gradients={released}", f"rounds.aggregate={rule}"]
        ends[released] = execute.run(load(file, said), file.parent / released)
    assert weights(ends["true"]) == weights(ends["false"])
    assert load(ends["true"] / "scenario.yaml").scenario.training.release_gradients


def test_a_run_of_forward_only_steps_takes_other_ones(file: Path) -> None:
    sgd = ["learning.optimizer=sgd", "learning.learning_rate=0.001"]
    plain = execute.run(load(file, sgd), file.parent / "plain")
    far = [*sgd, "training.forward_only=true", "learning.perturbation=0.1"]
    runs = [
        execute.run(load(file, [*far[:-1]]), file.parent / "mezo"),
        execute.run(load(file, far), file.parent / "far"),
    ]
    assert len({weights(run) for run in (plain, *runs)}) == 3


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (["training.forward_only=true"], "learning.optimizer: is 'adam', and steps without a backward pass"),
        (
            ["training.forward_only=true", "learning.optimizer=sgd", "learning.clip_norm=1"],
            "learning.clip_norm: is 1, and training.forward_only has no gradient to clip; give null",
        ),
        (
            ["training.release_gradients=true", "learning.clip_norm=2.5"],
            "learning.clip_norm: is 2.5, and training.release_gradients lets each gradient go",
        ),
    ],
)
def test_a_step_that_cannot_be_is_refused_with_the_file(file: Path, said: list[str], sentence: str) -> None:
    arguments = [word for change in said for word in ("--set", change)]
    with pytest.raises(ScenarioError) as fault:
        CliRunner().invoke(validate.command, [str(file), *arguments], catch_exceptions=False)
    assert str(fault.value).startswith(f"{file}: {sentence}")


def test_where_nothing_is_really_trained_the_learners_keys_do_not_matter(file: Path) -> None:
    for key in ("forward_only", "release_gradients"):
        compose(load(file, [f"training.{key}=true", "learning=null"]).scenario)


def test_the_kind_of_steps_is_part_of_what_a_sweep_knows_a_trajectory_by(file: Path) -> None:
    said = ["learning.optimizer=sgd"]
    found = [
        address.of_learning(load(file, [*said, *more]).scenario)
        for more in ([], ["training.forward_only=true"], ["training.release_gradients=true"])
    ]
    assert None not in found
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    "how", [{}, {"release_gradients": True}, {"forward_only": True}, {"train": "last:1"}], ids=str
)
def test_the_outlook_of_real_training_prices_the_steps_that_are_taken(
    file: Path, how: dict[str, Any]
) -> None:
    said = ["learning.optimizer=sgd", *(f"training.{key}={str(value).lower()}" for key, value in how.items())]
    (found,) = learning_outlook(load(file, said).scenario, ("raspberry-pi-4",))
    batch = {"batch": 4, "attention": "sdpa", "optimizer": "sgd"}
    priced = fedsim.cost("raspberry-pi-4", "digits-cnn", **batch, **how)
    assert (found.step_s, found.worker_bytes) == (priced["step_s"], priced["footprint_bytes"])

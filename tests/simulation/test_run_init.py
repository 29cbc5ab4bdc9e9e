"""A run that begins with weights: whose files they may be, what is said of them, and going on with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from fedsim import results
from fedsim.cli import describe, validate
from fedsim.errors import RunError, ScenarioError
from fedsim.files import sha256
from fedsim.learning.local import fresh_model
from fedsim.scenario import load
from fedsim.scenario.file_access import ALLOWED
from fedsim.simulation import execute
from fedsim.sweeps import address
from fedsim.tasks.classification import Classification

SCENARIO = """
seed: 3
fleet: {clients: 2, mix: [{device: jetson-xavier-nx, share: 1.0, link: instant}]}
workload: {examples: 8}
training: {model: digits-cnn}
rounds: {count: 2, cohort: 2}
learning: {task: classification, parts: 2, local_steps: 1, INIT}
"""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights in ``mine/digits`` and in ``theirs/digits``; the scenario is to lie in ``mine``."""
    for number, place in enumerate(("mine", "theirs")):
        (tmp_path / place / "digits").mkdir(parents=True)
        held = fresh_model(Classification(parts=2), number).state_dict()
        save_file(held, tmp_path / place / "digits" / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scenario(house: Path, init: str | None) -> Path:
    file = house / "mine" / "s.yaml"
    file.write_text(SCENARIO.replace("INIT", "" if init is None else f"init: {init}"))
    return file


def metrics(run: Path) -> list[float]:
    return [float(value) for value in results.load(run).convergence["value"]]


def test_the_run_begins_there_and_its_manifest_lists_the_files(house: Path) -> None:
    class Told(execute.Silent):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, text: str) -> None:
            self.notes.append(text)

    told = Told()
    run = execute.run(load(scenario(house, "digits")), house / "run", progress=told)
    file = house / "mine" / "digits" / "model.safetensors"
    assert f"8 tensors of the model begin as in {file}" in told.notes
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["inputs"]["init/model.safetensors"] == {"sha256": sha256(file)}
    first = load_file(run / "checkpoints" / "round-00000.safetensors")
    assert all(torch.equal(first[f"model.{name}"], tensor) for name, tensor in load_file(file).items())
    plain = execute.run(load(scenario(house, None)), house / "plain")
    assert not any("init" in label for label in json.loads((plain / "manifest.json").read_text())["inputs"])
    assert metrics(plain) != metrics(run)
    on = execute.run(load(scenario(house, None), [("learning.init", str(run))]), house / "on")
    assert metrics(on)[:4] == metrics(run)[-4:], "it goes on where the other run ended"
    label = "init/round-00002.safetensors"
    newest = run / "checkpoints" / "round-00002.safetensors"
    assert json.loads((on / "manifest.json").read_text())["inputs"][label] == {"sha256": sha256(newest)}


def test_it_goes_on_with_the_same_bytes_and_never_from_other_weights(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = execute.run(load(scenario(house, "digits")), house / "whole")

    class Stopped(execute.Silent):
        def round(self, record: Any) -> None:
            raise KeyboardInterrupt

    cut = house / "cut"
    with pytest.raises(KeyboardInterrupt):
        execute.run(load(scenario(house, "digits")), cut, progress=Stopped())
    weights = house / "mine" / "digits" / "model.safetensors"
    right = weights.read_bytes()
    save_file({n: t + 1 for n, t in load_file(weights).items()}, weights)
    with pytest.raises(RunError, match=r"not what this run began with \(init/model.safetensors\); put them"):
        execute.resume(cut, access=ALLOWED)
    with pytest.raises(ScenarioError, match="lies outside of the folder"):
        execute.resume(cut)
    weights.unlink()
    with pytest.raises(ScenarioError, match=r"holds neither model\.safetensors nor"):
        execute.resume(cut, access=ALLOWED)
    weights.write_bytes(right)
    execute.resume(cut)
    for name in ("rounds", "clients", "convergence"):
        assert (cut / f"{name}.parquet").read_bytes() == (whole / f"{name}.parquet").read_bytes()
    last = "checkpoints/round-00002.safetensors"
    assert (cut / last).read_bytes() == (whole / last).read_bytes()


def test_what_lies_elsewhere_needs_a_word_from_the_command_line(house: Path) -> None:
    """A folder, a file, and a folder of one's own whose file is a link."""
    linked = house / "mine" / "linked"
    linked.mkdir()
    (linked / "model.safetensors").symlink_to(house / "theirs" / "digits" / "model.safetensors")
    for init in ("../theirs/digits", "../theirs/digits/model.safetensors", "linked"):
        with pytest.raises(ScenarioError, match="lies outside of the folder") as fault:
            load(scenario(house, init))
        assert fault.value.key == "learning.init"
        there = load(scenario(house, init), access=ALLOWED).scenario
        assert there.learning is not None
        assert Path(str(there.learning.init)).exists()
        load(scenario(house, None), [("learning.init", str(house / "mine" / init))])


def test_an_address_goes_by_content_and_not_by_place(house: Path) -> None:
    def addresses(init: str | None) -> tuple[str, str | None]:
        made = load(scenario(house, init), access=ALLOWED).scenario
        return address.of_point(made), address.of_learning(made)

    mine, theirs, none = addresses("digits"), addresses("../theirs/digits"), addresses(None)
    for one, two, three in zip(mine, theirs, none, strict=True):
        assert len({one, two, three}) == 3
    (house / "mine" / "copy").mkdir()
    save_file(load_file("mine/digits/model.safetensors"), "mine/copy/model.safetensors")
    assert addresses("copy") == mine


def test_validate_and_describe_say_it_and_refuse_what_a_run_would(house: Path) -> None:
    file, weights = scenario(house, "digits"), house / "mine" / "digits" / "model.safetensors"
    said = CliRunner().invoke(validate.command, [str(file)])
    assert f"8 tensors of the model begin as in {weights}." in said.output
    said = CliRunner().invoke(validate.command, [str(file), "--json"])
    assert json.loads(said.stdout)["init"] == [f"8 tensors of the model begin as in {weights}"]
    said = CliRunner().invoke(describe.command, [str(file)])
    assert f"weights   begin as in {weights}" in said.output
    held = load_file(weights)
    save_file(held | {"0.bias": torch.zeros(3)}, weights)
    for refuse in (
        lambda: CliRunner().invoke(validate.command, [str(file)], catch_exceptions=False),
        lambda: execute.run(load(file), house / "run"),
    ):
        with pytest.raises(ScenarioError, match=r"0.bias: is F32\[3\]; this model needs F32\[16\]"):
            refuse()
    assert not (house / "run").exists()
    for verb in (validate.command, describe.command):
        with pytest.raises(ScenarioError, match="there is no 'no-such'"):
            CliRunner().invoke(verb, [str(scenario(house, "no-such"))], catch_exceptions=False)

"""What a run would find out at its end is found by ``validate``, and by the run before its first round."""

from __future__ import annotations

import csv
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from fedsim.cli import main
from fedsim.errors import CorpusError, FedsimError, InputError, RunError, ScenarioError
from fedsim.learning import worker, workers
from fedsim.scenario import load
from fedsim.simulation import execute
from fedsim.simulation import finetune as finetuning

SCENARIO = """
seed: 3
fleet: {clients: 2, mix: [{device: jetson-xavier-nx, share: 1.0, link: instant}]}
rounds: {count: 1, cohort: 2}
learning:
  corpus: {kind: manifest, path: list.csv}
  partition: natural
  clients_per_round: 1
  batch_size: 1
  local_steps: 1
  crop_seconds: 1
  evaluation_seconds: 2
"""
SPLITS = ("train", "validation", "test")
DOWNSTREAM = "  downstream: {steps: 1, batch_size: 1, head_size: 8}\n"
CTC = "  task: ctc\n"
SHORT = "questa frase ha troppe lettere per un secondo di parlato e quindi non basta"  # for 49 frames
NO_SPEECH = "the corpus has no transcribed speech in the {} split that can be used: of 2 recordings, {}"

FAULTS = {
    "no test transcripts": (
        DOWNSTREAM,
        {"train": "sì", "validation": "sì", "test": ""},
        "learning.downstream: " + NO_SPEECH.format("test", "2 without a transcript"),
    ),
    "punctuation only": (
        DOWNSTREAM,
        {"train": "... !", "validation": "", "test": "sì"},
        "learning.downstream: " + NO_SPEECH.format("train", "2 without a transcript"),
    ),
    "clips too short for their text": (
        DOWNSTREAM,
        {"train": SHORT, "validation": "", "test": "sì"},
        "learning.downstream: " + NO_SPEECH.format("train", "2 too short for the text"),
    ),
    "clips too long to fine-tune on": (
        DOWNSTREAM.replace("steps: 1", "steps: 1, longest_seconds: 0.9"),
        {"train": "sì", "validation": "", "test": "sì"},
        "learning.downstream: " + NO_SPEECH.format("train", "2 longer than 0.9 s"),
    ),
    "recognition of nothing": (
        CTC,
        {"train": "", "validation": "sì", "test": "sì"},
        "learning.corpus: " + NO_SPEECH.format("train", "2 without a transcript"),
    ),
    "recognition that cannot be evaluated": (
        CTC,
        {"train": "sì", "validation": "", "test": "sì"},
        "learning.corpus: " + NO_SPEECH.format("validation", "2 without a transcript"),
    ),
    "recognition that cannot be tested": (
        CTC,
        {"train": "sì", "validation": "sì", "test": ""},
        "learning.corpus: " + NO_SPEECH.format("test", "2 without a transcript"),
    ),
    "nothing to mask": (
        "  mask_span_frames: 50\n",
        {},
        "learning.corpus: has nothing to mask in the train split: a masked span is 50 frames, "
        "and the longest piece has 49",
    ),
    "too many parts": (
        "  parts: 3\n",
        {},
        "learning.parts: the corpus has 2 training speakers, too few for 3 parts",
    ),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for split in SPLITS:
        for number in range(2):
            soundfile.write(tmp_path / f"{split}-{number}.wav", draw.normal(0, 0.1, 16_000), 16_000)
    return tmp_path


def write(folder: Path, more: str, texts: dict[str, str]) -> Path:
    """A scenario whose corpus has two clips of a second in each split, with these texts."""
    with (folder / "list.csv").open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["path", "speaker", "text", "split"])
        for split in SPLITS:
            for number in range(2):
                rows.writerow([f"{split}-{number}.wav", f"{split}-{number}", texts.get(split, ""), split])
    scenario = SCENARIO.replace("natural", "by-speaker") if "parts" in more else SCENARIO
    (folder / "speech.yaml").write_text(scenario + more, encoding="utf-8")
    return folder / "speech.yaml"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command line says on standard error, where it ends with exit code 2."""
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    assert end.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("name", FAULTS)
def test_validate_and_run_say_the_same_before_the_first_round(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more, texts, sentence = FAULTS[name]
    write(folder, more, texts)
    expected = f"fedsim: speech.yaml: {sentence}"
    assert expected in said(capsys, "validate", "speech.yaml", "--json")
    found = said(capsys, "run", "speech.yaml", "--quiet")
    assert expected in found
    assert "resume" not in found
    assert not any((folder / "runs").iterdir())


def test_a_corpus_that_is_not_there_yet_is_valid(folder: Path) -> None:
    write(folder, DOWNSTREAM, {}).with_name("list.csv").unlink()
    with pytest.raises(SystemExit) as end:
        main(["validate", "speech.yaml", "--json"])
    assert end.value.code == 0


def test_fine_tuning_without_transcripts_names_no_file_that_is_not_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = execute.run(load(str(write(folder, "", {}))), folder / "out")
    found = said(capsys, "finetune", "out", "--steps", "1")
    assert found == "fedsim: out: " + NO_SPEECH.format("test", "2 without a transcript") + "\n"
    assert not (run / "finetune.json").exists()
    found = said(capsys, "finetune", "out", "--workers", "2", "--seed", "1", "--seed", "2")
    assert "finetune.json" not in found


def test_what_is_said_to_be_kept_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine-tuning that fails at its third of three says that two are there, and they are."""
    texts = dict.fromkeys(SPLITS, "sì")
    run = execute.run(load(str(write(folder, DOWNSTREAM, texts))), folder / "out")
    one = finetuning._one

    def failing(job: Any) -> dict[str, Any]:
        if job[-1] == 9:
            raise FedsimError("enough")
        return one(job)

    monkeypatch.setattr(finetuning, "_one", failing)
    with pytest.raises(FedsimError, match=r"^enough$"):
        finetuning.finetune(run, seeds=[9])
    with pytest.raises(FedsimError, match=r"^enough; 2 of 3 fine-tunings are finished and in finetune.json$"):
        finetuning.finetune(run, seeds=[7, 8, 9])
    assert [result["seed"] for result in finetuning.finetuned.read(run)] == [7, 8]


ERRORS = [
    CorpusError("has no usable training speech", file="list.csv"),
    ScenarioError("is 'cuda', but torch finds no GPU", key="learning.device"),
    RunError("is damaged", file="out", key="model"),
    FedsimError("the disk is full"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_bad_input_that_a_worker_process_finds_is_bad_input(
    error: FedsimError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error arrives as it was raised: with its sentence, its file, its key and its exit code."""

    def refuse(*_: object) -> None:
        raise error

    here, there = multiprocessing.Pipe()
    monkeypatch.setattr(worker, "Trainer", refuse)
    monkeypatch.setattr(worker.children, "attend", lambda: None)
    monkeypatch.setattr(worker.torch, "set_num_threads", lambda count: None)
    worker.serve(there, None, 0, worker.torch.zeros(1), 1)  # type: ignore[arg-type]
    pool = workers.Processes.__new__(workers.Processes)
    pool._pipes = [here]
    with pytest.raises(type(error)) as found:
        pool._receive(0, [], {})
    assert str(found.value) == str(error)
    assert found.value.exit_code == error.exit_code
    if isinstance(error, InputError):
        assert vars(found.value) == vars(error)
    assert str(pickle.loads(pickle.dumps(found.value))) == str(error)

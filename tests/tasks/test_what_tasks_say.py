"""A task says which files it learns from, and what it will ask of a machine: a stranger's, too."""

from __future__ import annotations

import numpy as np
import pytest

import fedsim
from fedsim import plugins, scenario
from fedsim.errors import CorpusError, ScenarioError
from fedsim.files import sha256
from fedsim.scenario.file_access import FileAccess, files_of
from fedsim.simulation.compose import compose
from fedsim.simulation.host import check_data, learning_outlook
from fedsim.tasks import Ctc, LanguageModel, Wav2Vec2
from fedsim.tasks.classification import Classification
from fedsim.tasks.ctc.finetuning import Finetuning
from fedsim.tasks.language_model.options import TextFiles
from fedsim.tasks.speech.corpus import CommonVoice, Espeak, Manifest

TREE = ("cv/it/train.tsv", "cv/dev.tsv", "cv/it/clip.mp3", "im/a/1.png", "im/b/2.JPG", "im/b/notes.txt")
TREE += ("tx/a.txt", "tx/deep/b.txt", "tx/c.md", "st/1.points", "st/2.points", "st/readme")

FOLDERS = [
    (
        "wav2vec2",
        "corpus",
        {"kind": "common-voice", "path": "cv"},
        ["cv/it/train.tsv", "cv/dev.tsv"],
        "corpus",
    ),
    ("ctc", "corpus", {"kind": "manifest", "path": "cv/dev.tsv"}, ["cv/dev.tsv"], "corpus"),
    ("classification", "images", {"kind": "folder", "path": "im"}, ["im/a/1.png", "im/b/2.JPG"], "images/"),
    ("language_model", "corpus", {"kind": "files", "path": "tx"}, ["tx/a.txt", "tx/deep/b.txt"], "corpus"),
    ("language_model", "corpus", {"kind": "files", "path": "tx", "pattern": "*.md"}, ["tx/c.md"], "corpus"),
    ("strangers", "points", {"path": "st"}, ["st/1.points", "st/2.points"], "points"),
]
SMALL = {
    "fleet": {"clients": 2, "mix": [{"device": "raspberry-pi-4", "share": 1.0}]},
    "workload": {"examples": 24},
    "training": {"model": "digits-cnn"},
    "rounds": {"count": 4, "cohort": 2},
}


STRANGERS = """
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedsim.errors import CorpusError
from fedsim.extend import Task, kind, option
from fedsim.options import Options


@dataclass(frozen=True, kw_only=True)
class Points(Options):
    path: str = option(description="a folder")


@dataclass(frozen=True, kw_only=True)
class Strangers(Task):
    reads = ("points",)
    points: Points = option(description="what is learned from")
    task: Literal["strangers"] = kind("strangers", "what is learned")

    @property
    def model_name(self):
        return "digits-cnn"

    @classmethod
    def files_in(cls, folder, option):
        return sorted(folder.glob("*.points"))

    @classmethod
    def label(cls, path):
        return "points"

    def missing(self):
        return None if Path(self.points.path).exists() else self.points.path

    def data(self, seed):
        raise CorpusError("was looked at")

    def evaluation_batches(self):
        return 5, 10

    def cached_bytes(self, corpus_s):
        return 1e6
"""


@pytest.fixture
def strangers(tmp_path):
    """A task that learns from files of its own, trains the network of the digits, and evaluates much."""
    (tmp_path / "strangers.py").write_text(STRANGERS)
    plugins.load(tmp_path / "strangers.py")


@pytest.fixture
def tree(tmp_path):
    """The folder ``theirs`` with data for each task."""
    for name in TREE:
        file = tmp_path / "theirs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (tmp_path / "mine").mkdir()
    return tmp_path / "theirs"


@pytest.mark.parametrize(
    ("task", "key", "block", "found", "label"), FOLDERS, ids=[f"{f[0]}-{f[2]['path']}" for f in FOLDERS]
)
def test_the_files_of_a_folder_are_those_that_its_task_says(task, key, block, found, label, tree, strangers):
    there = [tree / name for name in found]
    learning = {"task": task, key: {**block, "path": str(tree / block["path"])}}
    assert files_of({"learning": learning}) == there
    made = scenario.build({"name": "x", **SMALL, "learning": learning}, tree / "x.yaml")
    inputs = compose(made).inputs
    assert [path for name, path in inputs.items() if name.startswith(label)] == there
    outside = {
        "name": "x",
        **SMALL,
        "learning": {"task": task, key: {**block, "path": f"../theirs/{block['path']}"}},
    }
    mine = tree.parent / "mine" / "x.yaml"
    with pytest.raises(ScenarioError, match="lies outside of the folder") as fault:
        scenario.build(outside, mine)
    assert fault.value.key == f"learning.{key}.path"
    scenario.build(outside, mine, FileAccess(known=frozenset(map(sha256, there))))  # what a run was made from


def test_what_a_task_asks_of_a_machine_is_what_it_says(tree, strangers):
    def outlook(task):
        learning = {"task": task, "evaluate_every": 1}
        learning |= {"points": {"path": str(tree / "st")}} if task == "strangers" else {}
        made = scenario.build({"name": "x", **SMALL, "learning": learning}, tree / "x.yaml")
        return learning_outlook(made, ("raspberry-pi-4",))[0], made

    (theirs, made), (ours, _) = outlook("strangers"), outlook("classification")
    step_s = {
        n: fedsim.cost("raspberry-pi-4", "digits-cnn", batch=n, attention="sdpa")["step_s"] for n in (8, 10)
    }
    assert theirs.step_s == ours.step_s
    assert theirs.evaluation_s / ours.evaluation_s == pytest.approx(5 * step_s[10] / step_s[8])
    vector = 4 * ((9 + 1) * 16 + (16 * 9 + 1) * 32 + (32 * 2 * 2 + 1) * 64 + (64 + 1) * 10)
    assert theirs.disk_bytes == vector * (4 // made.learning.checkpoint_every + 3) + 1e6
    assert ours.disk_bytes is None
    with pytest.raises(CorpusError, match="was looked at"):
        check_data(made)
    for file in (tree / "st").iterdir():
        file.unlink()
    (tree / "st").rmdir()
    check_data(made)  # nothing to look at
    assert learning_outlook(made)[0].corpus_missing == str(tree / "st")


def test_sizes_evaluation_and_data_of_the_tasks_that_ship(tmp_path):
    sizes = np.array([1.0, 16_000.0, 19_200.0, 1e9, np.inf])
    speech = Wav2Vec2(crop_seconds=2.0, evaluation_seconds=61.0)
    assert list(speech.padded(sizes)) == [8_000, 16_000, 24_000, 32_000, 32_000]
    assert speech.evaluation_batches() == (4, 8)  # 30.5 pieces of 2 s
    assert Ctc(crop_seconds=15.0, evaluation_seconds=61.0).evaluation_batches() == (2, 8)  # of two splits
    text = LanguageModel(context=64, evaluation_tokens=16_385)
    assert list(text.padded(sizes)) == [64.0] * 5
    assert text.evaluation_batches() == (2 * 8, 32)  # 256 examples of each of two splits
    assert list(Classification().padded(sizes)) == list(sizes)
    assert Wav2Vec2().finetuning is None
    after = Wav2Vec2(downstream=Finetuning(every=3, longest_seconds=1.0)).finetuning
    assert after is not None
    assert [after.times(rounds) for rounds in (1, 3, 4, 9)] == [1, 1, 2, 3]
    assert Finetuning().times(9) == 1
    assert list(after.padded(sizes)) == [8_000] + [16_000] * 4
    path = str(tmp_path / "not-there")
    minute = 60 * 16_000 * 2
    for corpus, held in (
        (Espeak(minutes=10), 12 * minute),  # two tenths are held out
        (Espeak(), None),
        (Manifest(path=path, minutes=5), 6 * minute),
        (CommonVoice(path=path), 100 * minute),
        (CommonVoice(path=path, minutes=10), 12 * minute),
        (CommonVoice(path=path, minutes=1000), 100 * minute),
    ):
        assert Wav2Vec2(corpus=corpus).cached_bytes(100 * 60.0) == held
        assert Wav2Vec2(corpus=corpus).missing() == (None if isinstance(corpus, Espeak) else path)
    assert LanguageModel(corpus=TextFiles(path=path)).missing() == path
    assert LanguageModel().missing() is Classification().missing() is None

"""Images by class: where they come from, how they are divided, what the network counts, that it learns."""

from __future__ import annotations

import builtins
import json
import os
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from federations import learnt
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fedsim import files, scenario, yamlfile
from fedsim.cli import fedsim
from fedsim.errors import CorpusError, RunError, ScenarioError
from fedsim.hardware import load_device
from fedsim.learning import Federation, Learning
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.report.digest import digest
from fedsim.report.text import share
from fedsim.report.words import cards, learning_sentence
from fedsim.results import load
from fedsim.scenario.file_access import ANYWHERE, NOWHERE, FileAccess
from fedsim.simulation import execute
from fedsim.simulation.baseline import on_server
from fedsim.simulation.progress import Silent
from fedsim.tasks import images, partition
from fedsim.tasks.classification import Classification
from fedsim.tasks.images import Digits, Folder
from fedsim.tracing import configs
from fedsim.tracing.step import VARIANTS, Step
from fedsim.tracing.subject import subject_of
from fedsim.tracing.trace import verify


def paint(folder, counts, side=8):
    """A folder of images by class: class k is lit at k's own place, and a little noise is everywhere."""
    draw = np.random.default_rng(0)
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for k in range(count):
            pixels = draw.integers(0, 60, (side, side, 3), dtype=np.uint8)
            pixels[number * 3 : number * 3 + 3] += 180
            Image.fromarray(pixels).save(folder / name / f"{k:03}.png")
    return folder


@pytest.fixture
def painted(tmp_path):
    return paint(tmp_path / "stripes", {"low": 60, "high": 40})


def small(folder, **options):
    return Classification(images=Folder(path=str(folder), pixels=8), parts=5, channels=4, hidden=8, **options)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    parts=st.integers(1, 12),
    alpha=st.sampled_from([0.01, 0.5, 100.0]),
    seed=st.integers(0, 5),
)
def test_every_example_is_in_exactly_one_part(sizes, parts, alpha, seed):
    total = sum(sizes)
    parts = min(parts, total)
    members = np.split(np.arange(100, 100 + total), np.cumsum(sizes)[:-1])
    classes = [(str(k), found) for k, found in enumerate(members)]
    even = partition.alike(np.arange(100, 100 + total), parts, seed)
    for divided in (even, partition.dirichlet(classes, parts, alpha, seed)):
        assert len(divided) == parts
        assert min(map(len, divided)) > 0
        assert np.sort(np.concatenate(divided)).tolist() == list(range(100, 100 + total))
    assert {len(part) for part in even} <= {total // parts, -(-total // parts)}


def test_splits_are_apart_and_the_same_share_of_every_class_whatever_the_seed(painted):
    seen = []
    for task, seed in ((small(painted), 1), (small(painted, partition="dirichlet"), 2)):
        data = task.data(seed)
        held = {split: np.concatenate(data.held_out(split)) for split in task.splits}
        everything = np.concatenate([*data.parts, *held.values()])
        assert np.sort(everything).tolist() == list(range(100))
        for chosen in held.values():  # a tenth of 40 and of 60; classes go by name
            assert np.bincount(data.pictures.labels[chosen]).tolist() == [4, 6]
        seen.append({split: chosen.tolist() for split, chosen in held.items()})
    assert seen[0] == seen[1]
    other = replace(small(painted), images=Folder(path=str(painted), pixels=8, seed=1)).data(1)
    assert np.concatenate(other.held_out("test")).tolist() != seen[0]["test"]


def test_the_concentration_decides_how_mixed_parts_are(painted):
    def purity(alpha):
        data = small(painted, partition="dirichlet", dirichlet_alpha=alpha).data(0)
        counts = [np.bincount(data.pictures.labels[part], minlength=2) for part in data.parts]
        return sum(int(held.max()) for held in counts) / 80  # 80 images are trained on

    assert purity(0.05) > 0.9
    assert purity(1000.0) < 0.65  # 48 of 80 are of one class


def test_a_batch_is_what_the_files_hold(tmp_path):
    white, black = (np.full((6, 4, 3), value, np.uint8) for value in (255, 0))
    for name, pixels in (("a", white), ("b", black)):
        (tmp_path / name).mkdir()
        for k in range(3):
            Image.fromarray(pixels).save(tmp_path / name / f"{k}.png")
    (tmp_path / "a" / "notes.txt").write_text("not an image by its name")
    for colour, planes in ((True, 3), (False, 1)):
        task = Classification(images=Folder(path=str(tmp_path), pixels=4, colour=colour), parts=2)
        pixels, labels = task.batch(task.data(0), np.array([0, 5]), np.random.default_rng(0), True)
        assert pixels.tolist() == np.stack([np.ones((planes, 4, 4)), np.zeros((planes, 4, 4))]).tolist()
        assert labels.tolist() == [0, 1]


def test_the_network_is_counted_by_hand():
    # 3 x 3 x 1 x 4 + 4; 3 x 3 x 4 x 8 + 8; 8 channels of 2 x 2 pixels x 5 + 5; 5 x 10 + 10
    model = Classification(channels=4, hidden=5).build()
    assert sum(p.numel() for p in model.parameters()) == 40 + 296 + 165 + 60


def test_the_shipped_trace_is_that_of_the_defaults():
    task, found = configs.named("digits-cnn"), load_trace("digits-cnn")
    assert task == Classification()
    assert task.model_name == found.name
    assert found.sizes == ()
    assert found.parameters == 160 + 4640 + 8256 + 650
    pricer = Pricer(load_device("raspberry-pi-4"), found, Technique())
    products = 64 * 9 * 16 + 16 * 9 * 16 * 32 + 128 * 64 + 64 * 10  # of one image
    assert float(pricer.forward_flops_paper(7, 1)) == 7 * 2 * products
    for variant in VARIANTS:
        verify(found, variant, Step(subject_of(task), variant), 3, 1)


def test_another_network_is_not_taken_for_the_one_that_was_traced():
    assert Classification(hidden=65).model_name == "digits-cnn-16-65"
    assert Classification(parts=3, partition="dirichlet").model_name == "digits-cnn"


def test_it_learns_the_same_on_any_number_of_workers(painted):
    learning = Learning(
        task=small(painted, partition="dirichlet"),
        clients_per_round=5,
        batch_size=8,
        local_steps=12,
        learning_rate=0.01,
        warmup_rounds=0,
    )
    _, values = learnt(Federation(learning=learning, clients=5, rounds=4))
    accuracy = values["accuracy", "test"]
    assert accuracy[-1] == 1.0  # of 10 images
    assert accuracy[0] < 1.0


def test_the_digits_are_those_of_scikit_learn():
    pytest.importorskip("sklearn")
    task = Classification(parts=10)
    data = task.data(0)
    assert data.account["images"] == 1797
    assert data.account["classes"] == 10
    assert len(set(map(len, data.parts))) <= 2
    pixels, labels = task.batch(data, np.array([0, 1]), np.random.default_rng(0), True)
    assert tuple(pixels.shape) == (2, 1, 8, 8)
    assert float(pixels.max()) <= 1.0
    assert labels.tolist() == [0, 1]  # the first two of the set
    assert data.pictures.pixels[0, 0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_without_scikit_learn_one_sentence_says_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("sklearn"):
            raise ModuleNotFoundError("No module named 'sklearn'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        CorpusError, match=r"scikit-learn, which cannot be imported .*pip install '\.\[vision\]'"
    ):
        Digits().read()


def _nothing(folder):
    folder.rmdir()


def _a_file(folder):
    folder.rmdir()
    folder.write_text("x")


def _one_class(folder):
    paint(folder, {"only": 3})


def _empty_class(folder):
    paint(folder, {"a": 3})
    (folder / "b").mkdir()


def _few(folder):
    paint(folder, {"a": 3, "b": 2})


def _broken(folder):
    paint(folder, {"a": 3, "b": 3})
    (folder / "b" / "000.png").write_bytes(b"not an image")


def _cut(folder):
    paint(folder, {"a": 3, "b": 3})
    file = folder / "b" / "000.png"
    file.write_bytes(file.read_bytes()[:100])


def _a_folder_as_image(folder):
    paint(folder, {"a": 3, "b": 3})
    (folder / "b" / "more.png").mkdir()


def _a_link_out(folder):
    paint(folder, {"a": 3, "b": 3})
    (folder / "b" / "x.png").symlink_to("/etc/hostname")


def _a_pipe(folder):
    paint(folder, {"a": 3, "b": 3})
    os.mkfifo(folder / "b" / "x.png")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_nothing, "cannot be read: there is no such folder"),
        (_a_file, "cannot be read: it is not a folder"),
        (_one_class, "has 1 folder in it; give each class its own, at least two"),
        (_empty_class, r"b: holds no images; they end in \.png"),
        (_few, "the class 'b' has 2 images: with 1 held out for each of validation and test, none is left"),
        (_broken, "000.png: is not an image that can be read: cannot identify image file$"),
        (_cut, "000.png: is not an image that can be read"),
        (_a_folder_as_image, "more.png: cannot be read: it is a folder, not a file"),
        (_a_link_out, "x.png: is a link that leads out of this directory"),
        (_a_pipe, "x.png: is a pipe, socket or device"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path, make, said):
    folder = tmp_path / "images"
    folder.mkdir()
    make(folder)
    with pytest.raises(CorpusError, match=said):
        small(folder).data(0)


def test_too_many_parts_too_many_pixels(painted, monkeypatch):
    with pytest.raises(CorpusError, match="there are 80 training images, too few for 81 parts"):
        replace(small(painted), parts=81).data(0)
    monkeypatch.setattr(images, "MOST_PIXELS", 63)
    with pytest.raises(CorpusError, match=r"is too large: 8 x 8 pixels, where 6.3e-05 million is the most"):
        Folder(path=str(painted), pixels=4).read()
    monkeypatch.setattr(images, "MOST_BYTES", 100 * 3 * 8 * 8 - 1)
    with pytest.raises(CorpusError, match=r"100 images of 8 x 8 pixels come to .* make 'pixels' smaller"):
        Folder(path=str(painted), pixels=8).read()


def test_what_was_read_is_read_again_when_a_file_changes(painted):
    first = small(painted).content()
    assert small(painted).content() == first
    Image.new("RGB", (8, 8), "red").save(painted / "low" / "000.png")
    assert small(painted).content() != first


def test_its_keys_are_checked_like_any_others(tmp_path):
    def built(learning):
        data = {"name": "x", "fleet": {"clients": 8, "mix": [{"device": "raspberry-pi-4", "share": 1.0}]}}
        data |= {"rounds": {"count": 1, "cohort": 2}, "learning": {"task": "classification", **learning}}
        return scenario.build(data, tmp_path / "x.yaml", ANYWHERE).learning.task

    assert built({}) == Classification()
    assert built({"images": "digits"}) == Classification()
    assert built({"images": {"kind": "folder", "path": "there"}}).images.path == "there"
    for wrong, said in (
        ({"images": "folder"}, r"learning.images: .*path"),
        ({"images": {"kind": "digit"}}, r"learning.images.*digits"),
        ({"partition": "by-speaker"}, r"learning.partition: .*dirichlet"),
        ({"dirichlet_alpha": 0}, r"learning.dirichlet_alpha: .*above 0"),
        ({"chanels": 3}, r"learning.chanels: .*did you mean 'channels'"),
    ):
        with pytest.raises(ScenarioError, match=said):
            built(wrong)


SMALL = """
fleet: {{clients: 6, mix: [{{device: raspberry-pi-4, share: 1.0}}]}}
workload: {{examples: 16}}
training: {{model: digits-cnn, batch_size: 8}}
rounds: {{count: {rounds}, cohort: 3}}
learning:
  task: classification
  images: {{kind: folder, path: {path}, pixels: 8}}
  parts: 5
  channels: 4
  hidden: 8
  batch_size: 8
  clients_per_round: 3
  evaluate_every: 1
"""
SPEECH = re.compile("speech|speaker|utterance|wav2vec|recording|transcript|word error", re.IGNORECASE)


def told(*arguments):
    done = CliRunner().invoke(fedsim, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output + done.stderr


def test_from_the_command_line_to_reports_nothing_speaks_of_speech(painted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, rounds in (("a", 2), ("b", 3)):
        (tmp_path / f"{name}.yaml").write_text(SMALL.format(rounds=rounds, path=painted.name))
    said = told("validate", "a.yaml") + told("describe", "a.yaml")
    said += told("run", "a.yaml", "--out", "a") + told("run", "b.yaml", "--out", "b")
    compared = told("compare", "a", "b", "--out", "both")
    assert "80 images of 2 classes to train on, 10 images for validation and 10 images for test" in said
    assert "accuracy at the end" in compared
    assert re.search(r"Validation accuracy .*% or more", compared)
    page = (tmp_path / "a" / "report.html").read_text(encoding="utf-8").partition("<dt>Command")[0]
    assert "evaluated on examples that no client trains on" in page
    both = (tmp_path / "both" / "compare.html").read_text(encoding="utf-8")
    assert "a global model on the validation split" in re.sub(r"\s+", " ", both)
    for text in (said, compared, page, both):
        assert not SPEECH.findall(re.sub("<script.*?</script>|<style.*?</style>", "", text, flags=re.DOTALL))
    run = load(tmp_path / "a")
    assert run.summary["corpus"]["images"] == 100
    assert run.summary["corpus"]["classes"] == 2
    assert "images/low/000.png" in run.manifest["inputs"]
    found = digest(run)
    first, last = (found.series["test", "accuracy"].value[at] for at in (0, -1))
    assert "accuracy on the test split" in learning_sentence(found)
    (card,) = [card for card in cards(found) if card.label == "Accuracy, test"]
    assert (card.value, card.note) == (share(last), f"from {share(first)}")


def test_a_folder_elsewhere_is_used_only_if_its_images_are_known(painted, tmp_path):
    place = tmp_path / "scenario"
    place.mkdir()
    text = SMALL.format(rounds=1, path=painted)

    def built(access):
        return scenario.build(yamlfile.parse(text, "x.yaml"), place / "x.yaml", access)

    with pytest.raises(ScenarioError, match=r"learning.images.path: .*lies outside of the folder"):
        built(NOWHERE)
    known = frozenset(files.sha256(path) for path in painted.glob("*/*.png"))
    assert len(known) == 100
    assert built(FileAccess(known=known)).learning.task.images.path == str(painted)
    Image.new("RGB", (8, 8)).save(painted / "low" / "secret.png")
    with pytest.raises(ScenarioError, match="lies outside of the folder"):
        built(FileAccess(known=known))


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ({"images": 101, "classes": 2, "sha256": "x"}, "101 images, 2 classes, then 100 images, 2 classes"),
        (
            {"utterances": 1200, "speakers": 3, "seconds": {"train": 1.5}, "skipped": 0, "sha256": "x"},
            "1,200 utterances, 3 speakers, 0 skipped, then 100 images",
        ),
        ({"sha256": "x", "lines": 7, "skipped_files": ["a"]}, "7 lines, then 100 images"),
    ],
)
def test_data_that_changed_stop_a_run_that_is_gone_on_with(tmp_path, account, said):
    before = {"images": 100, "classes": 2, "sha256": "y"}
    (tmp_path / "manifest.json").write_text(json.dumps({"corpus": before}))
    writer = SimpleNamespace(path=tmp_path, note=lambda *_: None)
    execute._say_corpus(SimpleNamespace(notes=[], account={**account, "sha256": "y"}), writer, 1, Silent())
    with pytest.raises(RunError, match=f"the data are not what this run began with: {said}.*put them back"):
        execute._say_corpus(SimpleNamespace(notes=[], account=account), writer, 1, Silent())


@pytest.mark.parametrize(("counted", "model"), [("examples", "digits-cnn"), ("utterances", "wav2vec2-base")])
def test_the_central_baseline_does_a_cohorts_work_of_any_examples(tmp_path, counted, model):
    text = SMALL.format(rounds=1, path="x").replace("examples: 16", f"{counted}: 16")
    text = text.replace("digits-cnn", model)
    text += "  baseline: centralised\nserver: {device: nvidia-a40}\n"
    built = scenario.build(yamlfile.parse(text, "x.yaml"), tmp_path / "x.yaml", ANYWHERE)
    assert getattr(on_server(built).workload, counted) == 3 * 16  # a cohort of 3


def test_the_scenario_that_ships_is_priced_by_the_model_that_it_trains():
    shipped = scenario.load("digits").scenario
    assert shipped.training.model == shipped.learning.task.model_name == "digits-cnn"
    assert load_trace("digits-cnn").parameters == sum(
        p.numel() for p in shipped.learning.task.build().parameters()
    )

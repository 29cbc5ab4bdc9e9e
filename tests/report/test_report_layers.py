"""Who trained which layers: the table, the sentence, and nothing where all train alike."""

import numpy as np
import pytest

from fedsim.report import build, words
from fedsim.report.digest import digest
from fedsim.results import RunWriter, load, manifest

PHASES = ("download_s", "startup_s", "compute_s", "upload_s")
OTHERS = ("ended_s", "footprint_bytes", "available_bytes", "downloaded_bytes", "uploaded_bytes", "energy_j")
WAYS = {"last:2": ["3", "4", "head"], "layer:1": ["1"]}


def write(path, ways, clients=5):
    """Two rounds: clients 0 to 2 train by position in ``ways``; client 2 never completes."""
    with RunWriter(path, "name: x\n", manifest("x", 1, clients, {}), ["pi"], list(WAYS)) as run:
        if ways:
            run.note("layers", ["input", "1", "2", "3", "4", "head"])
            run.note("trains", ways)
        for index in range(2):
            zeros = dict.fromkeys(
                (*PHASES, *OTHERS, "dispatched_s", "examples", "weight", "loss"), np.zeros(3)
            )
            rows = {
                **zeros,
                "client": np.arange(3),
                "device": np.zeros(3, int),
                "outcome": np.array([0, 0, 2]),
            }
            run.round(
                {"round": index, "start_s": 1.0 * index, "end_s": index + 1.0},
                {**rows, "technique": np.array([0, 1, 1])},
            )
        run.finish()
    return path


def test_the_table_says_who_never_trains_a_layer(tmp_path):
    made = build.write(write(tmp_path / "run", WAYS))
    rows = [
        (r.layers, r.completed, r.share, r.clients, r.never, r.ways) for r in words.layer_rows(made.digest)
    ]
    assert rows == [
        ("what is before the layers", 0, "0%", 0, 5, "nobody"),
        ("layer 1", 2, "50%", 1, 4, "layer:1"),
        ("layer 2", 0, "0%", 0, 5, "nobody"),
        ("layers 3 to 4", 2, "50%", 1, 4, "last:2"),
        ("the head", 2, "50%", 1, 4, "last:2"),
    ]
    assert (
        words.coverage_sentence(made.digest)
        == "Nobody trains what is before the layers and layer 2 of the model."
    )
    page = made.html.read_text()
    assert '<section id="layers">' in page
    assert '<a href="#layers">' in page
    assert '<th scope="row">layers 3 to 4</th>' in page


@pytest.mark.parametrize(
    ("ways", "said"),
    [
        ({"last:2": ["input", "1", "2", "3", "4", "head"], "layer:1": ["1"]}, "4 of 5 clients never train"),
        ({way: ["input", "1", "2", "3", "4", "head"] for way in WAYS}, "3 of 5 clients never train"),
    ],
)
def test_the_sentence_counts_those_who_never_train_what_fewest_train(tmp_path, ways, said):
    found = digest(load(write(tmp_path / "run", ways)))
    assert words.coverage_sentence(found).startswith(said)
    assert words.coverage_sentence(found) in words.answer(found)


def test_if_everybody_trains_everything_in_some_way_that_is_said(tmp_path):
    every = {way: ["input", "1", "2", "3", "4", "head"] for way in WAYS}
    path = write(tmp_path / "run", every, clients=3)
    found = digest(load(path))
    assert words.coverage_sentence(found).startswith("1 of 3 clients never train")  # who never completes


@pytest.mark.parametrize("ways", [None, {"all": ["1"]}])
def test_where_all_train_alike_there_is_no_table(tmp_path, ways):
    made = build.write(write(tmp_path / "run", ways))
    assert words.layer_rows(made.digest) == []
    assert words.coverage_sentence(made.digest) == ""
    assert '<section id="layers">' not in made.html.read_text()


def test_an_entry_of_the_fleet_says_what_it_trains(tmp_path):
    made = digest(load(write(tmp_path / "run", WAYS)))
    own = [
        {"train": {"kind": "last", "layers": 2}, "depth": 6},
        {"precision": "mixed"},
        {},
        None,
        "all",
        {"train": 7},
    ]
    for entry, said in zip(own, [" (last, depth 6)", " (precision mixed)", "", "", "", ""], strict=True):
        made.run.scenario["fleet"] = {"mix": [{"device": "pi", "share": 1.0, "training": entry}]}
        assert words.fleet(made) == f"100% pi{said}", entry

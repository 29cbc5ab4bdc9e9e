"""Published training steps beyond speech: every row is whole and follows from its source's figure."""

from __future__ import annotations

import ast
import csv
import operator
from collections.abc import Callable
from pathlib import Path

import pytest

from fedsim import paths
from fedsim.errors import HardwareError
from fedsim.hardware import catalogue, measurements
from fedsim.hardware.device import TRAINING_PRECISIONS
from fedsim.hardware.record import COLUMNS, public_record

FOLDER = paths.data_dir("hardware") / "measurements" / "public"
# What a row may leave empty: a device that the catalogue lacks, a figure that is no throughput, no remark,
# nothing to add to plain training.
OPTIONAL = {"device", "technique", "throughput", "note"}
FAMILIES = {device.name: device.family for device in catalogue()}
OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def read(file: Path) -> list[dict[str, str]]:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    rows = csv.reader(lines)
    assert tuple(next(rows)) == COLUMNS
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


ROWS = [row for file in sorted(FOLDER.glob("*.csv")) for row in read(file)]


def computed(node: ast.expr) -> float:
    """What an arithmetic expression of numbers, sums, products and quotients comes to."""
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](computed(node.left), computed(node.right))
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, int | float)
    return float(node.value)


@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: "-".join((row["hardware"], row["model"], row["precision"]))
)
def test_a_row_is_whole_and_follows_from_its_source(row: dict[str, str]):
    assert all(cell == cell.strip() for cell in row.values())
    assert [key for key, cell in row.items() if not cell and key not in OPTIONAL] == []
    assert row["source"].startswith("https://")
    assert row["precision"] in (*TRAINING_PRECISIONS, "tf32")
    assert row["family"] == FAMILIES.get(row["device"], row["family"])
    assert row["family"] in FAMILIES.values()
    assert row["device"] in ("", *FAMILIES)
    batch = int(row["batch_size"])
    axis, size = row["size"].split("=")
    assert axis in {"pixels", "tokens", "seconds"}
    assert batch > 0
    assert float(size) > 0
    seconds = float(row["seconds_per_batch"])
    assert seconds > 0
    assert seconds == pytest.approx(computed(ast.parse(row["derivation"], mode="eval").body), rel=1e-3)
    if row["throughput"]:
        assert row["throughput"] in row["published"]
        assert seconds == pytest.approx(batch / float(row["throughput"]), rel=1e-3)


def test_the_rows_reach_from_phones_to_data_centres():
    assert len(ROWS) >= 10
    assert {"resnet-18", "resnet-50", "mobilenet-v2", "vit-base", "bert-base", "gpt2"} <= {
        r["model"] for r in ROWS
    }
    assert {row["family"] for row in ROWS if row["device"]} == {
        "gpu",
        "jetson",
        "raspberry-pi",
        "phone",
        "laptop",
    }


def test_no_case_stands_twice():
    cases = [tuple(row[key] for key in COLUMNS if key != "note") for row in ROWS]
    assert len(set(cases)) == len(cases)


def test_no_calibration_reads_them():
    """No device is fitted to them: only what the devices of a kind have in common is."""
    assert all(row.file.parent.name == "measurements" for row in measurements())
    assert not {file.stem for file in FOLDER.glob("*.csv")} & set(
        paths.names("hardware/measurements", ".csv")
    )


def test_the_record_is_read_as_it_stands():
    steps = public_record()
    assert len(steps) == len(ROWS)
    (row,) = (s for s in steps if s.technique[:1] == (("freeze_cnn", "true"),) and s.batch_size == 128)
    assert (row.device, row.model, row.axis, row.size) == ("nvidia-v100", "wav2vec2-base-ctc", "seconds", 1.0)
    assert dict(row.technique) == {"freeze_cnn": "true", "accumulate": "4"}
    assert row.seconds_per_batch == pytest.approx(1 / 2.275, rel=1e-3)


@pytest.mark.parametrize(
    ("cell", "wrong", "said"),
    [
        ("batch_size", "some", "line 2, batch_size: is 'some'; give a number"),
        ("size", "big", "line 2, size: is 'big'; give AXIS=NUMBER"),
        ("seconds_per_batch", "", "line 2, seconds_per_batch: is ''; give a number"),
    ],
)
def test_a_damaged_row_is_one_sentence(tmp_path, monkeypatch, cell, wrong, said):
    folder = tmp_path / "measurements" / "public"
    folder.mkdir(parents=True)
    row = {**ROWS[0], cell: wrong}
    with (folder / "mine.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerow(row)
    monkeypatch.setattr(paths, "data_dir", lambda name: tmp_path)
    with pytest.raises(HardwareError) as caught:
        public_record()
    assert str(caught.value).endswith(said)

"""The paper's figures: within the tolerance that fedsim promises, and each from a computation."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedsim import reproduce
from fedsim.errors import InputError
from fedsim.reproduce import section3, table1
from fedsim.reproduce.figure import PAPER, Figure, commented, rows
from fedsim.reproduce.page import markdown

ANALYSIS = Path(__file__).resolve().parents[2] / "analysis"


@pytest.fixture(scope="module")
def figures():
    return {(figure.artifact, figure.item): figure for figure in reproduce.figures()}


# Three small figures that the paper prints with two digits only: ours is exact (see the quantizer's
# FLOPs below), and what is left is the paper's rounding.
TWO_DIGITS = {
    "base/quantization/gflops": 0.0102,  # 0.3232 printed as 0.32
    "large/quantization/gflops": 0.0067,  # 0.9338 printed as 0.94
    "large/quantization/parameters": 0.0072,  # 0.5741 printed as 0.57
}


@pytest.mark.parametrize("row", list(rows("table1.csv")), ids=lambda row: f"{row['model']}-{row['module']}")
def test_table_1(figures, row):
    for item, column in (("parameters", "params_millions"), ("gflops", "gflops")):
        name = f"{row['model']}/{row['module']}/{item}"
        figure = figures["table1", name]
        assert figure.paper == float(row[column])
        assert abs(figure.relative_error) <= TWO_DIGITS.get(name, 0.005)


def test_the_quantizers_flops_follow_by_hand():
    # 274 frames x 2 x (quantizer 512 x 640, project_hid 768 x 256, project_q 256 x 256).
    from fedsim.pricing import load_trace

    assert table1.module_flops(load_trace("wav2vec2-base"))["quantization"] == 274 * 2 * (
        512 * 640 + 768 * 256 + 256 * 256
    )


@pytest.mark.parametrize("item", ["a40_total", "macbook_total", "rpi_total", "agx_total", "nx_total"])
def test_totals_of_section_3_3_within_two_and_a_half_per_cent(figures, item):
    assert abs(figures["section3.3", item].relative_error) <= 0.025


def test_a_total_is_what_the_engine_ran():
    # 150 equal rounds of 4,875 batches each, nothing but computing.
    total = section3._total_s("jetson-xavier-nx")
    rounds = section3._rounds_s("jetson-xavier-nx")
    assert len(rounds) == 150
    assert total == pytest.approx(150 * rounds[0], rel=1e-9)
    assert rounds[0] / 4875 == pytest.approx(1.78, rel=0.04)


def test_every_record_says_how_it_came_about(figures):
    for figure in figures.values():
        record = figure.as_dict()
        assert record["how"]
        assert record["unit"]
        assert record["paper"] is not None or "holds" in record


def test_claims_of_section_3_3_are_all_there(figures):
    with (PAPER / "claims.csv").open(newline="") as handle:
        wanted = {
            row["id"].removeprefix("s33.")
            for row in csv.DictReader(line for line in handle if not line.startswith("#"))
            if row["id"].startswith("s33.") and row["id"] != "s33.large_on_16gb_seconds"
        }
    assert wanted == {item for artifact, item in figures if artifact == "section3.3"}


def test_relative_error_by_hand():
    assert Figure("a", "b", 2.0, 2.1, "s", "by hand").relative_error == pytest.approx(0.05)
    assert Figure("a", "b", None, 2.1, "s", "by hand", holds=True).relative_error is None


def test_whatever_differs_is_commented_and_nothing_else(figures):
    for (artifact, item), figure in figures.items():
        assert bool(figure.comment) == figure.differs, f"{artifact} {item}"


def test_comments_go_to_what_differs_and_none_is_left_over():
    near, far = Figure("a", "x/near", 2.0, 2.01, "s", ""), Figure("a", "x/far", 2.0, 3.0, "s", "")
    assert [f.comment for f in commented([near, far], {"x/*": "why"})] == ["", "why"]
    with pytest.raises(AssertionError, match="x/near"):
        commented([near, far], {"x/far": "why", "x/near": "gone"})


def test_the_committed_page_is_fresh(figures):
    committed = (ANALYSIS / "reproduction.md").read_text(encoding="utf-8")
    assert markdown(list(figures.values()), ANALYSIS) == committed, "run fedsim reproduce --markdown"


def test_the_page_by_hand(tmp_path):
    made = [
        Figure("table2", "board/batch_1", 2.0, 2.3, "s", "priced", comment="It is slow."),
        Figure("table2", "board/oom", None, None, "s", "does not fit", holds=True),
        Figure("section4.1", "memory", 2027.0, 2031.0, "year", "a | trend", holds=False),
    ]
    page = markdown(made, tmp_path)
    assert "| `board/batch_1` | 2 | 2.3 | s | +15.0% | priced. **It is slow.** |" in page
    assert "| `board/oom` |  |  | s | agrees | does not fit. |" in page
    assert "| `memory` | 2027 | 2031 | year | +4.0 years differs | a / trend. |" in page
    assert "1 numbers: half of them within 15.0%, 0 within 5%. 2 statements and years: 1 agree." in page
    assert "![" not in page  # no pictures lie beside it
    assert "takes hours of real training" in page
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "fig5-orders.csv").write_text("claim,better\nx,y\n")
    with pytest.raises(InputError, match=r"fig5-orders\.csv: is damaged"):
        markdown(made, tmp_path)


def test_a_page_in_no_folder_is_refused(tmp_path):
    from fedsim.cli.reproduce import command

    done = CliRunner().invoke(command, ["--markdown", str(tmp_path / "nowhere" / "page.md")])
    assert isinstance(done.exception, InputError)
    assert "does not exist" in str(done.exception)

"""Figures, page, timeline and terminal output of whole runs."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import itertools
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.text import Text
from PIL import Image
from rich.console import Console

from fedsim.cli.report import command
from fedsim.errors import RunError
from fedsim.report import build, page, terminal, timeline
from fedsim.report.digest import digest
from fedsim.report.figures import CHARTS
from fedsim.report.style import DARK, LIGHT, Rendered, render
from fedsim.results import OUTCOMES, load

ALL = ["convergence", "rounds", "phases", "round", "memory", "energy", "participation"]
NASTY = "<script>alert('x')</script>&\"{{7*7}}[bold]$\\frac$"


@pytest.fixture(scope="module")
def cases(tmp_path_factory, make_run, kinds):
    where = tmp_path_factory.mktemp("cases")
    one = kinds[:1]
    odd = [
        dataclasses.replace(kinds[0], device=NASTY),
        dataclasses.replace(kinds[1], device="naïve 設備 🦉 " + "x" * 90),
    ]
    return {
        "usual": make_run(where / "usual", rounds=12),
        "timing": make_run(where / "timing", rounds=6, learning=False),
        "one-round": make_run(where / "one-round", rounds=1, cohort=6),
        "one-client": make_run(where / "one-client", rounds=8, cohort=1, clients=1, kinds=one),
        "all-oom": make_run(where / "all-oom", rounds=5, only="oom"),
        "unfinished": make_run(where / "unfinished", rounds=4, finish=False),
        "none": make_run(where / "none", rounds=0, learning=False),
        "large-cohort": make_run(where / "large-cohort", rounds=2, cohort=200, clients=1000),
        "nasty": make_run(where / "nasty", rounds=3, kinds=odd, name=NASTY),
    }


NAMES = [
    "usual", "timing", "one-round", "one-client", "all-oom", "unfinished", "none", "large-cohort", "nasty",
]  # fmt: skip


BUILT = ["usual", "timing", "none", "nasty"]


@pytest.fixture(scope="module")
def digests(cases):
    return {name: digest(load(path)) for name, path in cases.items()}


@pytest.mark.parametrize(
    ("case", "missing"),
    [("usual", []), ("timing", ["convergence"]), ("none", ALL), ("all-oom", []), ("one-client", [])],
)
def test_a_picture_without_data_is_left_out(digests, case, missing):
    drawn = [chart.name for chart in CHARTS if chart.ready(digests[case])]
    assert drawn == [name for name in ALL if name not in missing]


def unseen(figure):
    """Labels of ticks that lie outside their axis; matplotlib makes them but does not draw them."""
    for ax in [inner for outer in figure.axes for inner in (outer, *outer.child_axes)]:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                    yield from (tick.label1, tick.label2)


@pytest.mark.parametrize("case", NAMES)
def test_no_text_is_cut_off_or_empty(digests, case):
    for chart in CHARTS:
        found = digests[case]
        if not chart.ready(found):
            continue
        frame = chart.draw(found, LIGHT)
        picture = render(frame)
        width, height = frame.figure.bbox.width, frame.figure.bbox.height
        hidden = set(unseen(frame.figure))
        for item in frame.figure.findobj(Text):
            if not item.get_visible() or not item.get_text().strip() or item in hidden:
                continue
            box = item.get_window_extent()
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
            assert inside, f"{chart.name} of {case}: {item.get_text()!r} is cut off"
        for ax in frame.figure.axes:
            assert ax.get_xlabel() or ax.get_shared_x_axes().get_siblings(ax) != [ax]
        assert picture.pixels.std() > 5


def overlapping(labels):
    boxes = sorted(
        (t.get_window_extent() for t in labels if t.get_visible() and t.get_text()), key=lambda b: b.x0
    )
    return any(a.x1 > b.x0 + 0.5 for a, b in itertools.pairwise(boxes))


@pytest.mark.parametrize("case", ["usual", "one-round", "one-client", "large-cohort"])
def test_tick_labels_do_not_overlap(digests, case):
    for chart in CHARTS:
        if chart.ready(digests[case]):
            frame = chart.draw(digests[case], LIGHT)
            render(frame)
            for ax in frame.figure.axes:
                low, high = ax.get_xlim()
                ticks = ax.xaxis.get_major_ticks()
                shown = [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
                assert not overlapping(shown), f"{chart.name} of {case}"


def test_pictures_are_png_of_the_stated_size(digests):
    for chart in CHARTS:
        first = render(chart.draw(digests["usual"], LIGHT))
        image = Image.open(io.BytesIO(first.body))
        assert image.format == "PNG"
        assert image.size == (first.width, first.height)
        assert image.info == {} or set(image.info) <= {"transparency"}


def test_pictures_have_the_paper_of_their_theme(digests):
    for theme in (LIGHT, DARK):
        picture = render(CHARTS[0].draw(digests["usual"], theme))
        pixels = Image.open(io.BytesIO(picture.body)).convert("RGB")
        assert "#{:02x}{:02x}{:02x}".format(*pixels.getpixel((0, 0))) == theme.paper


class Page(HTMLParser):
    """Collects what a browser would load, and checks that tags nest."""

    VOID = ("meta", "link", "img", "source", "br")

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.loads, self.tags, self.ids, self.text = [], [], [], set(), ""
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("src", "href", "srcset", "data", "action"):
                self.loads.append(value)
            if key == "id":
                assert value not in self.ids
                self.ids.add(value)
            assert not key.startswith("on")
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def reports(cases, tmp_path_factory):
    where = tmp_path_factory.mktemp("reports")
    return {name: build.write(cases[name], where / name) for name in BUILT}


@pytest.mark.parametrize("case", BUILT)
def test_the_page_stands_alone(reports, case):
    text = reports[case].html.read_text(encoding="utf-8")
    found = Page(text)
    for load_ in found.loads:
        assert load_.startswith(("data:", "#")), load_[:60]
        if load_.startswith("#"):
            assert load_[1:] in found.ids
    assert found.tags.count("script") == 3
    told = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert re.findall(r"https?://[^ \"']*", told) == ["https://github.com/leeoniya/uPlot"]
    assert "default-src 'none'" in text
    for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL):
        digest_ = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest_}'" in text
    assert "prefers-color-scheme: dark" in text
    assert len(text) < 5_000_000
    pictures = [tag for tag in found.tags if tag == "picture"]
    assert len(pictures) == len(reports[case].figures)
    for words in (
        *terminal.words.answer(reports[case].digest),
        terminal.words.question(reports[case].digest),
    ):
        assert words in found.text


def test_markup_in_names_stays_text(reports):
    text = reports["nasty"].html.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    found = Page(text)
    assert found.tags.count("script") == 3
    assert "<script>alert('x')</script>&\"{{7*7}}[bold]$\\frac$" in found.text
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", text)[0]
    json.loads(reports["nasty"].timeline.read_text(encoding="utf-8"))


def test_the_page_shows_what_went_in(reports):
    found = Page(reports["usual"].html.read_text(encoding="utf-8"))
    assert 'device: "raspberry-pi-4", share: 0.15' in found.text
    assert "Seed" in found.text
    assert "pyarrow" in found.text
    assert "fedsim run phones-and-jetsons.yaml" in found.text
    assert "Peak bytes of a training step" in found.text


def test_the_same_run_gives_the_same_report_and_nothing_lingers(cases, reports, tmp_path):
    out = tmp_path / "out"
    (out / "figures").mkdir(parents=True)
    (out / "figures" / "convergence.png").write_bytes(b"of an earlier run, with learning")
    made = build.write(cases["timing"], out)
    before = reports["timing"]
    assert sorted(p.name for p in (out / "figures").iterdir()) == sorted(f"{n}.png" for n in ALL[1:])
    assert not list(out.rglob("*.tmp"))
    pairs = [
        (before.html, made.html),
        (before.timeline, made.timeline),
        *zip(before.figures, made.figures, strict=True),
    ]
    for old, new in pairs:
        assert old.read_bytes() == new.read_bytes()


def test_columns_of_pictures_are_balanced():
    pictures = [
        page.Picture(str(height), "h", "t", "c", picture, picture, {"panels": [{"height": height}]})
        for height in (380, 420, 160, 500, 340, 160, 300)
        for picture in [Rendered(np.zeros((80, 900, 3), np.uint8), 80)]
    ]
    left, right = page.columns(pictures)
    assert sorted(place for place, _ in left + right) == list(range(7))
    assert left[0][0] == 0
    assert right[0][0] == 1
    heights = [sum(p.live["panels"][0]["height"] + 240 for _, p in side) for side in (left, right)]
    assert abs(heights[0] - heights[1]) <= 160  # the lowest chart could at most be moved to the other side


@pytest.mark.parametrize("case", NAMES)
def test_the_timeline_is_a_valid_trace(digests, tmp_path, case):
    timeline.write(digests[case], tmp_path / "timeline.json")
    trace = json.loads((tmp_path / "timeline.json").read_text(encoding="utf-8"))
    events = trace["traceEvents"]
    named = {(e["pid"], e["tid"]) for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    for event in events:
        assert event["ph"] in "MXiC"
        if event["ph"] != "M":
            assert (event["pid"], event["tid"]) in named
            assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] >= 0
    summary = digests[case].summary
    rounds = [e for e in events if e["ph"] == "X" and e["pid"] == 1]
    assert len(rounds) == summary["rounds"]
    closes = [e for e in events if e["ph"] == "i" and e["pid"] == 1]
    assert len(closes) == summary["rounds"]
    if trace["otherData"]["client-rounds shown"] == summary["client_rounds"]:
        trouble = [e for e in events if e["ph"] == "i" and e["pid"] == 2]
        assert len(trouble) == sum(summary["outcomes"][word] for word in OUTCOMES[1:])
    assert len({e["tid"] for e in events if e["pid"] == 2 and e["ph"] == "X"}) <= timeline.MOST_CLIENTS


def test_spans_of_the_timeline_are_the_clients_own(digests, tmp_path):
    found = digests["one-client"]
    timeline.write(found, tmp_path / "timeline.json")
    events = json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    frame = found.run.clients
    trained = [e for e in events if e["name"] == "train"]
    assert [e["dur"] for e in trained] == pytest.approx(list(frame["compute_s"] * 1e6), abs=1.0)
    starts = (frame["dispatched_s"] + frame["download_s"] + frame["startup_s"]) * 1e6
    assert [e["ts"] for e in trained] == pytest.approx(list(starts), abs=0.51)


def test_a_large_timeline_is_a_sample_that_says_so(digests, tmp_path, monkeypatch):
    monkeypatch.setattr(timeline, "MOST_CLIENT_ROUNDS", 50)
    timeline.write(digests["large-cohort"], tmp_path / "t.json")
    trace = json.loads((tmp_path / "t.json").read_text())
    assert trace["otherData"]["clients shown"] == 200
    assert trace["otherData"]["client-rounds shown"] == 50
    assert trace["otherData"]["client-rounds"] == 400
    assert len([e for e in trace["traceEvents"] if e["name"] == "download"]) == 50


def printed(found, width=80, encoding="utf-8"):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    terminal.show(found, found.run.path / "report.html", Console(file=stream, width=width, highlight=False))
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("width", [80, 100])
def test_the_terminal_summary_fits_and_is_plain(digests, case, width):
    text = printed(digests[case], width)
    assert "\x1b" not in text
    assert all(len(line) <= width for line in text.splitlines())
    assert "report.html" in text.replace("\n", "")
    if case == "usual":
        assert "…" not in text
        for device in digests[case].devices:
            assert device in text


def test_markup_is_not_read_by_the_terminal(digests):
    assert "[bold]" in printed(digests["nasty"], 100)


def test_a_terminal_without_utf8_gets_plain_letters(digests):
    text = printed(digests["usual"], encoding="ascii")
    assert "###" in text
    assert "?" not in text


def test_the_command_makes_the_report_again(cases, tmp_path):
    out = tmp_path / "out"
    done = CliRunner().invoke(command, [str(cases["none"]), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "No round was closed." in done.output
    assert (out / "report.html").is_file()
    done = CliRunner().invoke(command, [str(cases["none"]), "--out", str(out), "--json"])
    told = json.loads(done.output)
    assert told["rounds"] == 0
    assert told["paths"]["report"] == str(out / "report.html")
    done = CliRunner().invoke(command, [str(cases["none"]), "--out", str(out), "--quiet"])
    assert done.output == f"{out / 'report.html'}\n"


def test_the_command_refuses_what_is_no_run(tmp_path):
    done = CliRunner().invoke(command, [str(tmp_path)])
    assert isinstance(done.exception, RunError)
    assert "holds no run" in str(done.exception)

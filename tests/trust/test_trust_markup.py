"""Markup in every text field stays text: in pages that Chromium opens, and in the terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from rich.console import Console

from fedsim import hardware, yamlfile

NASTY = (
    "<script>alert('a')</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "</title><svg onload=alert(3)>",
    "<!--",
    "]]></pre><iframe src='http://example.org'>",
    "' onmouseover='alert(4)",
    "javascript:alert(5)",
    "{{ 7 * 7 }}{% if %}",
    "&lt;b&gt;&amp;",
    "[bold red]x[/bold red][/]",
    "$\\frac{$^_",
)
ESCAPE = "\x1b]0;owned\x07\x1b[31m\u202e"
WHOLE = " ".join(NASTY)


def poisoned(data, text):
    """Plain data with ``text`` in place of every text in it, and at the end of every free key."""
    if isinstance(data, dict):
        return {key: poisoned(value, text) for key, value in data.items()}
    if isinstance(data, list):
        return [poisoned(value, text) for value in data]
    return text if isinstance(data, str) else data


@pytest.fixture(scope="module")
def runs(make_run, tmp_path_factory):
    """Two runs that say nasty things wherever a run can say anything."""
    import report_conftest

    kinds = [replace(kind, device=f"{NASTY[i]}{NASTY[-i]}") for i, kind in enumerate(report_conftest.KINDS)]
    found = []
    for seed in (1, 2):
        run = make_run(
            tmp_path_factory.mktemp("nasty") / "run", rounds=6, kinds=kinds, name=WHOLE[:300], seed=seed
        )
        scenario = poisoned(yamlfile.load(run / "scenario.yaml"), f"{seed}{WHOLE}")
        scenario |= {"description": WHOLE, "extra": {f"key{i}": text for i, text in enumerate(NASTY)}}
        (run / "scenario.yaml").write_text(yamlfile.dump(scenario), encoding="utf-8")
        manifest = json.loads((run / "manifest.json").read_text())
        manifest |= {"name": WHOLE + ESCAPE, "versions": dict.fromkeys([*NASTY, "fedsim"], WHOLE + ESCAPE)}
        manifest["inputs"] = {text + ESCAPE: {"sha256": text + ESCAPE} for text in NASTY}
        manifest["corpus"] = {"skipped": 2, "skipped_files": [WHOLE + ESCAPE, NASTY[0]], "sha256": WHOLE}
        manifest["volatile"] = {"created": WHOLE + ESCAPE, "command": [*NASTY, ESCAPE]}
        (run / "manifest.json").write_text(json.dumps(manifest))
        summary = json.loads((run / "summary.json").read_text())
        (run / "summary.json").write_text(json.dumps({**summary, "ended": WHOLE + ESCAPE}))
        table = pq.read_table(run / "convergence.parquet")
        place = table.schema.get_field_index("metric")
        metric = [
            f"{word}{NASTY[i % 2]}" if i % 3 else word for i, word in enumerate(table["metric"].to_pylist())
        ]
        table = table.set_column(place, table.schema.field(place), pa.array(metric, pa.string()))
        pq.write_table(table, run / "convergence.parquet")
        found.append(run)
    return found


HARMLESS = """() => {
    const at = [...document.querySelectorAll("*")];
    return {
        elements: at.filter(e => ["IMG", "IFRAME", "SVG", "OBJECT", "EMBED"].includes(e.tagName.toUpperCase())
            && !(e.getAttribute("src") || "").startsWith("data:")).length,
        handlers: at.flatMap(e => e.getAttributeNames()).filter(name => name.startsWith("on")).length,
        scripts: at.filter(e => e.tagName === "SCRIPT").length,
        links: at.filter(e => (e.getAttribute("href") || "").includes("javascript:")).length,
        text: document.body.innerText.length,
        title: document.title,
    };
}"""


def test_a_report_shows_markup_as_text(runs, browser, tmp_path):
    from fedsim.report import build

    made = build.write(runs[0], tmp_path)
    with browser.open(made.html) as seen:
        assert seen.clean, (seen.errors, seen.requests, seen.dialogs)
        found = seen.page.evaluate(HARMLESS)
        assert (found["elements"], found["handlers"], found["links"]) == (0, 0, 0)
        assert found["scripts"] == 3, "the data and our two scripts"
        assert found["title"].startswith("1<script>alert('a')</script>")
        assert "<iframe src='http://example.org'>" in seen.page.inner_text(".description")
        assert len(json.loads(seen.page.text_content("#charts-data"))) == len(made.figures)
        seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert "{{ 7 * 7 }}{% if %}" in seen.page.inner_text("#inputs")
        assert seen.clean
    timeline = json.loads((tmp_path / "timeline.json").read_text(encoding="utf-8"))
    assert timeline["traceEvents"]
    assert "\x1b" not in made.html.read_text(encoding="utf-8").split("<details>")[0]


def test_a_comparison_shows_markup_as_text(runs, browser, tmp_path):
    from fedsim.report.compare import build
    from fedsim.report.compare.answer import compare

    page, _ = build.write(compare(runs), tmp_path)
    with browser.open(page) as seen:
        assert seen.clean, (seen.errors, seen.requests, seen.dialogs)
        found = seen.page.evaluate(HARMLESS)
        assert (found["elements"], found["handlers"], found["links"]) == (0, 0, 0)
        assert found["scripts"] == 3


def test_the_terminal_is_not_steered(runs):
    from fedsim.report import terminal
    from fedsim.report.compare import terminal as beside
    from fedsim.report.compare.answer import compare
    from fedsim.report.digest import digest
    from fedsim.results import load

    shown = io.StringIO()
    terminal.show(digest(load(runs[0])), console=Console(file=shown, width=200))
    assert "\x1b" not in shown.getvalue()
    assert "[bold red]" in shown.getvalue() or "<script>" in shown.getvalue()
    done = CliRunner().invoke(_command("compare"), [str(run) for run in runs])
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert callable(beside.show)
    assert compare(runs)


def _command(name):
    from fedsim.cli import fedsim

    return fedsim.get_command(None, name)


def test_devices_and_prices_show_markup_as_text(tmp_path):
    data = yamlfile.load(hardware.load_device("raspberry-pi-4").file)
    data["title"] = "A [red]board[/red] [/]"
    data["sources"] = dict.fromkeys(data["sources"], "[blink]said[/blink] [/nothing]")
    file = tmp_path / "[i]mine[i].yaml"
    file.write_text(yamlfile.dump(data))
    for verb, arguments in (
        ("devices", [str(file)]),
        ("cost", ["-d", str(file), "-m", "wav2vec2-tiny"]),
        ("fit", ["-d", str(file), "-m", "wav2vec2-tiny", "-s", "4"]),
    ):
        done = CliRunner().invoke(_command(verb), arguments)
        assert done.exit_code == 0, (verb, done.output, done.exception)
        assert "A [red]board[/red] [/]" in done.output
    assert "[blink]said[/blink]" in CliRunner().invoke(_command("devices"), [str(file)]).output


def test_control_characters_in_a_file_are_refused_and_spelled_out(tmp_path):
    from fedsim.errors import HardwareError, InputError

    file = tmp_path / "mine.yaml"
    file.write_text('title: "a\\e[31mred"\n')
    with pytest.raises(HardwareError) as fault:
        hardware.load_device(str(file))
    assert str(fault.value).endswith(r"title: 'a\x1b[31mred' holds the control character '\x1b'")
    said = str(InputError("line\nend \x1b[2J \u202e", file="a\x07b"))
    assert said == r"a\x07b: line\nend \x1b[2J \u202e"

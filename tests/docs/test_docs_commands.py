"""README and guide: every command is run, every scenario is loaded, every generated part is fresh."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedsim.cli import fedsim

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SLOW = re.compile(r"calibrate|my-machine|my-traces|quickstart$|text$|finetune|trained|reproduce|sweep years")


def blocks(page):
    return [(m[1], m[2]) for m in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def commands(page):
    for language, text in blocks(page):
        if language == "sh":
            for line in text.splitlines():
                yield line.partition(" #")[0].strip().removeprefix(".venv/bin/")


def set_up(page, folder):
    """The files that a page shows, under the name that their first line says."""
    for language, text in blocks(page):
        first = re.match(r"# ([\w-]+\.(?:yaml|csv|py))$", text.split("\n")[0])
        if first and language in ("yaml", "csv", "python"):
            (folder / first[1]).write_text(text.split("\n", 1)[1] if language == "csv" else text)
        elif language == "json":
            (folder / "my-model.json").write_text(text)


def test_there_are_commands():
    assert sum(1 for page in PAGES for _ in commands(page)) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page(page, tmp_path, monkeypatch):
    run_all(page, tmp_path, monkeypatch, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_slow_commands_too(page, tmp_path, monkeypatch):
    run_all(page, tmp_path, monkeypatch, slow=True)


def run_all(page, folder, monkeypatch, slow):
    monkeypatch.chdir(folder)
    set_up(page, folder)
    for line in commands(page):
        words = shlex.split(line)
        if words[:1] == ["make"] or (not slow and SLOW.search(line)):
            continue
        assert words[0] == "fedsim", line
        done = CliRunner().invoke(fedsim, words[1:], catch_exceptions=False)
        assert done.exit_code == 0, f"{line}\n{done.output}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for language, text in blocks(page):
        if language == "python" and not re.match(r"# \w+\.py$", text.split("\n")[0]):
            exec(compile(text, str(page), "exec"), {"__name__": "__main__"})


def test_generated_parts_are_fresh():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for page in (ROOT / "docs" / "guide").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert generate.filled(text) == text, f"run python docs/generate.py: {page.name} is out of date"

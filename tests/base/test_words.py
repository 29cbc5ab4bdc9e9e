"""Counted nouns agree with their number, wherever a sentence counts something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console

import fedsim
from fedsim import printing
from fedsim.cli import main
from fedsim.words import plural, verb


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0 rounds take"),
        (1, "1 round takes"),
        (2, "2 rounds take"),
        (12_345, "12,345 rounds take"),
        (1.5, "1.5 rounds take"),
    ],
)
def test_nouns_and_verbs_agree(value, said):
    assert f"{plural(value, 'round')} {verb(value, 'take')}" == said
    assert verb(value, "be") == ("is" if value == 1 else "are")


ONE = """
name: one
fleet: {clients: 1, mix: [{device: jetson-agx-xavier, share: 1, link: wifi}]}
workload: {corpus: common-voice-it-7, max_seconds: 15}
training: {model: wav2vec2-base, batch_size: 4, precision: mixed}
rounds: {count: 1, cohort: 1, close: {policy: wait-all}}
"""


def _said(capsys, *arguments):
    with pytest.raises(SystemExit) as ending:
        main([str(argument) for argument in arguments])
    assert ending.value.code == 0
    return capsys.readouterr().out


def test_one_of_everything(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(printing, "console", lambda quiet=False: Console(width=200, highlight=False))
    file = tmp_path / "one.yaml"
    file.write_text(ONE)
    procedure = ("--rounds", "1", "--epochs", "1", "--within", "1")
    said = {
        "describe": _said(capsys, "describe", file),
        "run": _said(capsys, "run", file, "--out", tmp_path / "run", "--no-report"),
        "feasible": _said(capsys, "feasible", "-d", "jetson-tx2", "-m", "wav2vec2-base", *procedure),
        "devices": _said(capsys, "devices", "jetson-nano"),
    }
    assert "1 client trains wav2vec2-base" in said["describe"]
    assert "in 1 round of 1" in said["describe"]
    assert "1 round takes" in said["describe"]
    assert "1 round takes" in said["run"]
    assert "1 round of 1 local epoch" in said["feasible"]
    assert "within 1 day." in said["feasible"]
    for verb_, text in said.items():
        wrong = re.findall(r"(?<![\d.,/-])1 [a-z-]+s\b(?! =)", text)
        assert [found for found in wrong if found not in ("1 is", "1 was")] == [], verb_


def test_no_sentence_makes_its_own_plural():
    """One function for counted nouns: no ``speaker(s)``, and no ``s`` that is added for itself."""
    own = re.compile(r"""[a-z]\(s\) and|[a-z]\(s\) for \{|'s'\}|"s"\}|else "s"|else 's'""")
    found = [
        f"{path.name}: {line.strip()}"
        for path in Path(fedsim.__file__).parent.rglob("*.py")
        if path.name != "words.py" or path.parent.name == "report"
        for line in path.read_text(encoding="utf-8").splitlines()
        if own.search(line)
    ]
    assert found == []

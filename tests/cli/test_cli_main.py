"""The command line as a shell sees it: what is imported, exit codes, one line for a fault."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedsim import cli
from fedsim.cli import CHAPTERS, VERBS, fedsim, main

HEAVY = {"torch", "pandas", "numpy", "pydantic", "matplotlib", "transformers", "rich"}


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "fedsim", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from fedsim.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "HEAVY []" in done.stdout
    for verb, meaning in VERBS.items():
        assert f"  {verb} " in done.stdout
        assert meaning in done.stdout


def test_help_is_a_table_of_contents():
    files = Path(cli.__file__).parent.glob("*.py")
    assert set(VERBS) == {file.stem for file in files if "def command(" in file.read_text(encoding="utf-8")}
    assert sum(map(len, CHAPTERS.values())) == len(VERBS)
    said = CliRunner().invoke(fedsim, ["--help"]).output
    places = [said.index(f"\n{chapter}:\n") for chapter in CHAPTERS]
    assert places == sorted(places)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_of_its_own(verb, capsys):
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert "Usage: fedsim " + verb in capsys.readouterr().out
    assert fedsim.get_command(None, verb).get_short_help_str() != ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "no-such-scenario"], "'no-such-scenario' is not a known scenario"),
        (["run"], "give either a scenario to run or --resume DIR"),
        (["run", "--resume", "nowhere"], "nowhere: holds no run to go on with"),
        (["run", "quickstart", "--set", "rounds.cuont=3"], "did you mean 'count'?"),
        (["validate", "quickstart", "--set", "fleet.clients=0"], "fleet.clients: 0 is not at least 1"),
        (["report", "nowhere"], "nowhere"),
        (["devices", "no-such-device"], "no-such-device"),
        (["run", "--workers", "0"], "0 is not in the range 1<=x<=64; see fedsim run --help"),
        (["run", "--wrokers", "1"], "--wrokers"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, sentence):
    done = run(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_an_unknown_verb_is_refused_with_exit_code_2():
    done = run("rnu")
    assert done.returncode == 2
    assert "rnu" in done.stderr

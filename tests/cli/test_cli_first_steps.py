"""The first steps: init, schema, describe and completion, each held against what really happens."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

import fedsim
from fedsim import paths, yamlfile
from fedsim.cli import fedsim as cli
from fedsim.cli import main
from fedsim.scenario import build, dump
from fedsim.scenario.example import example
from fedsim.scenario.schema import schema

SCENARIOS = sorted(paths.data_dir("scenarios").rglob("*.yaml"))


def built(text):
    return build(yamlfile.parse(text, "x.yaml"), Path("x.yaml"))


@pytest.mark.parametrize("learning", [False, True])
def test_the_example_is_a_scenario(learning):
    scenario = built(example("mine", learning))
    assert scenario.name == "mine"
    assert (scenario.learning is not None) == learning


def test_every_default_of_the_example_is_the_default():
    """Uncommenting all that is commented out changes nothing but switching real training on."""
    text = example("mine")
    woken = re.sub(r"^( *)# ([a-z_]+:)", r"\1\2", text, flags=re.MULTILINE)
    assert woken != text
    more = [line for line in woken.splitlines() if not re.match(r" {6}[a-z_]+:", line)]  # of the mix
    assert replace(built("\n".join(more)), learning=None) == built(text)


def test_init_writes_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["init", "my phones.yaml", "--learning"])
    assert end.value.code == 0
    text = Path("my phones.yaml").read_text()
    assert "name: my-phones" in text
    for verb in ("validate", "describe", "run"):
        assert f"fedsim {verb} 'my phones.yaml' " in text
    assert capsys.readouterr().out == "wrote my phones.yaml; next: fedsim describe 'my phones.yaml'\n"
    with pytest.raises(SystemExit) as end:
        main(["init", "my phones.yaml"])
    assert end.value.code == 2
    assert "my phones.yaml: exists already" in capsys.readouterr().err


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema())


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda path: path.stem)
def test_the_schema_accepts_every_scenario_that_ships(file, validator):
    data = yamlfile.load(file)
    assert list(validator.iter_errors(data)) == []
    if "sweep" not in data:
        assert list(validator.iter_errors(yamlfile.parse(dump(build(data, file)), "resolved"))) == []


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"cuont": 3}, "$.rounds"),
        ({"close": "deadline"}, "$.rounds.close"),  # which needs to know when
        ({"close": {"policy": "deadline", "after": "six"}}, "$.rounds.close"),
        ({"cohort": 0}, "$.rounds.cohort"),
        ({"select": "best"}, "$.rounds.select"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(change, place, validator):
    data = yamlfile.parse(example("mine"), "x.yaml")
    data["rounds"].update(change)
    assert [error.json_path for error in validator.iter_errors(data)] == [place]
    with pytest.raises(fedsim.InputError):
        build(data, Path("x.yaml"))


def test_describe_foretells_what_a_short_run_does(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(example("mine"), encoding="utf-8")
    told = json.loads(CliRunner().invoke(cli, ["describe", str(file), "--json"]).stdout)["forecast"]
    run = fedsim.run(file, tmp_path / "run")
    assert told["looked_at"] == told["rounds"] == 50
    assert told["outcomes"] == {k: v for k, v in run.summary["outcomes"].items() if v}
    assert told["round_s"] == pytest.approx(run.summary["mean_round_s"], rel=1e-12)
    assert told["longest_s"] == run.summary["longest_round_s"]
    assert told["energy_j"] * 50 == pytest.approx(run.summary["energy_j"], rel=1e-9)
    assert told["wasted_j"] * 50 == pytest.approx(run.summary["wasted_j"], rel=1e-9)
    assert told["downloaded_bytes"] * 50 == pytest.approx(run.summary["downloaded_bytes"], rel=1e-12)


def test_describe_speaks_of_who_runs_out_of_memory():
    told = CliRunner().invoke(cli, ["describe", "quickstart"])
    assert "chosen by random; each closes after 30 min; aggregated by loss-weighted;" in told.stdout
    assert "clients start afresh each time." in told.stdout
    assert told.exit_code == 0
    assert re.search(r"memory +runs out on a15-bionic", told.stdout)
    assert "400 clients train wav2vec2-base" in told.stdout


def test_run_can_answer_a_script(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["run", "paper/fl10-nvidia-a40", "--set", "rounds.count=2", "--no-report", "--json"])
    assert end.value.code == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["summary"]["rounds"] == 2
    assert fedsim.load(answer["run"]).summary == answer["summary"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("run quick", "quickstart"),
        ("describe paper/fl100", "paper/fl100-jetson-xavier-nx"),
        ("cost --device jetson-th", "jetson-thor"),
        ("fit --model hubert-b", "hubert-base"),
    ],
)
def test_the_shell_completes_names(words, name, monkeypatch, capfd):
    monkeypatch.setenv("COMP_WORDS", f"fedsim {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    monkeypatch.setenv("_FEDSIM_COMPLETE", "bash_complete")
    with pytest.raises(SystemExit):
        main([])
    assert f"plain,{name}\n" in capfd.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("fedsim comp", {"compare"}),
        ("fedsim run quick", {"quickstart"}),
        ("fedsim sweep yea", {"years"}),
        ("fedsim cost --device raspberry-pi-4 --mo", {"--model"}),
        ("fedsim run quickstart --engine fl", {"flower"}),
    ],
)
def test_bash_completes_as_the_guide_sets_it_up(words, offered, tmp_path):
    typed = words.split()
    script = (
        'eval "$(_FEDSIM_COMPLETE=bash_source fedsim)"\n'
        "complete -p fedsim >/dev/null || exit 1\n"
        f"COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}\n"
        f"_fedsim_completion fedsim {typed[-1]} {typed[-2]}\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path, env={**os.environ, **path},
    )  # fmt: skip
    assert offered <= set(done.stdout.split())
    assert all(word.startswith(typed[-1]) for word in done.stdout.split())


def test_quiet_prints_a_path_or_nothing(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["init", str(tmp_path / "mine.yaml"), "--quiet"])
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit):
        main(["run", str(tmp_path / "mine.yaml"), "--set", "rounds.count=1", "--no-report", "--quiet",
              "--out", str(tmp_path / "run")])  # fmt: skip
    assert capsys.readouterr().out == f"{tmp_path / 'run'}\n"

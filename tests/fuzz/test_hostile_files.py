"""Files made to hurt: the command line refuses each in one sentence, in 5 s of processor time and 2 GB."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

MOST_BYTES, MOST_CPU_S = 3_000_000_000, 270  # limits that stop a runaway; the verdict is below
CHILD = """
import resource, sys, time
from fedsim.cli import main
import fedsim.simulation.compose, fedsim.report.build  # what the verb needs anyway is not counted
resource.setrlimit(resource.RLIMIT_AS, (%d, %d))
for arguments in %r:
    began = time.process_time()
    try:
        main(arguments)
    except SystemExit as end:
        print(end.code, round(time.process_time() - began, 2), flush=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""

LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)
)
TEXTS = {
    "laughs.yaml": LAUGHS,
    "loop.yaml": "fleet: &f {mix: *f}\n",
    "deep.yaml": "fleet: " + "[" * 10_000,
    "deeper.yaml": "fleet:\n" + "".join(" " * i + "a:\n" for i in range(700)),
    "deep.json": "[" * 10_000 + "]" * 10_000,
    "object.json": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "tag.yaml": "fleet: !!python/object/apply:os.system ['touch owned']\n",
    "twice.yaml": "name: a\nname: b\n",
    "wide.json": "[" + "[]," * 9_000_000 + "[]]",
    "digits.yaml": "seed: " + "9" * 100_000 + "\n",
    "nan.json": '{"graph": NaN, "nodes": [], "edges": []}',
    "nul.csv": "client,start_s,end_s\na,0,\0\n",
    "keys.yaml": "".join(f"key{i}: 1\n" for i in range(45_000)),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "wide.yaml").write_bytes(os.urandom(300_000))
    (folder / "utf16.yaml").write_bytes("name: a\nfleet: 3\n".encode("utf-16"))
    (folder / "utf16.csv").write_bytes("client,start_s,end_s\na,0,1\n".encode("utf-16"))
    mix = "[{device: nvidia-a40, share: 1.0}]"
    small = f"fleet: {{clients: 4, mix: {mix}}}\ntraining: {{model: wav2vec2-tiny}}\n"
    (folder / "small.yaml").write_text(
        f"{small}workload: {{utterances: 8}}\nrounds: {{count: 1, cohort: 2}}\n"
    )
    for suffix in ("yaml", "json", "csv", "parquet"):
        (folder / f"garbage.{suffix}").write_bytes(os.urandom(100_000))
        with (folder / f"huge.{suffix}").open("wb") as file:
            file.truncate(10**9)
        os.mkfifo(folder / f"pipe.{suffix}")
        (folder / f"folder.{suffix}").mkdir()
        (folder / f"round.{suffix}").symlink_to(folder / f"trip.{suffix}")
        (folder / f"trip.{suffix}").symlink_to(folder / f"round.{suffix}")
    for name in ("manifest.json", "summary.json", "scenario.yaml", "rounds.parquet"):
        run = folder / f"run-{name}"
        run.mkdir()
        (run / "manifest.json").write_text('{"format": 1}')
        (run / "summary.json").write_text("{}")
        (run / "scenario.yaml").write_text("name: a\n")
        with (run / name).open("wb") as file:
            file.truncate(10**9)
    return folder


def said_of(commands: list[list[str]], folder: Path) -> tuple[list[tuple[int, float]], list[str], int]:
    """Exit code and processor seconds of each command, what was said of each, and the most memory."""
    code = CHILD % (MOST_BYTES, MOST_BYTES, commands)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1500,  # for what hangs without computing; a loaded machine may be slow
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S)),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *ends, memory = done.stdout.split("\n")[:-1]
    told = [line for line in done.stderr.splitlines() if line.startswith("fedsim: ")]
    return [(int(end.split()[0]), float(end.split()[1])) for end in ends], told, int(memory)


def verbs(name: str) -> list[list[str]]:
    """Every command that reads a file of this kind."""
    trace = ["--set", f"fleet.mix[0].availability={{kind: trace, file: {name}}}"]
    if name.endswith(".yaml"):
        return [
            ["validate", name],
            ["run", name, "--out", "out"],
            ["sweep", name, "--out", "out"],
            ["cost", "--device", name, "--model", "wav2vec2-tiny"],
            ["devices", name],
            ["validate", "small.yaml", "--set", f"hardware.trend={name}"],
        ]
    if name.endswith(".json"):
        return [["cost", "--device", "nvidia-a40", "--model", name]]
    held = ["--set", f"learning.corpus={{kind: manifest, path: {name}}}"]
    run = ["run", "small.yaml", "--out", "out", "--no-report", "--set", "rounds.count=1"]
    return [["validate", "small.yaml", *trace], *([[*run, *held]] if name.endswith(".csv") else [])]


@pytest.mark.timeout(1600)
@pytest.mark.parametrize("suffix", ["yaml", "json", pytest.param("csv", marks=pytest.mark.slow), "parquet"])
def test_it_is_refused_in_seconds_and_two_gigabytes(place, suffix):
    found = (path.name for path in place.iterdir() if path.suffix == f".{suffix}")
    names = sorted(name for name in found if not name.startswith(("run-", "small")))
    asked = [command for name in names for command in verbs(name)]
    ends, told, memory = said_of(asked, place)
    assert len(told) == len(asked) == len(ends)
    for command, (code, seconds), sentence in zip(asked, ends, told, strict=True):
        assert code == 2, (command, sentence)
        assert seconds < 5.0, (command, sentence)
        named = next(name for name in names if any(name in argument for argument in command))
        assert named in sentence or named.partition(".")[0] in sentence, (command, sentence)
    assert memory < 2e9
    assert not (place / "out").exists(), "nothing half-written is left"
    assert not (place / "owned").exists()


@pytest.mark.timeout(1600)
def test_a_run_directory_of_zeros_is_refused(place):
    runs = sorted(path.name for path in place.iterdir() if path.name.startswith("run-"))
    asked = [
        [verb, *rest, run] for run in runs for verb, *rest in (["report"], ["finetune"], ["run", "--resume"])
    ]
    ends, told, memory = said_of(asked, place)
    assert [code for code, _ in ends] == [2] * len(asked), told
    assert max(seconds for _, seconds in ends) < 5.0
    assert memory < 2e9


NUMBERS = (
    "312.5e-1",
    "1e-3",
    "no",
    "1:30",
    ".nan",
    ".inf",
    "-.inf",
    "'8'",
    "true",
    "null",
    "[]",
    "1e400",
    "0x10",
)


def test_what_is_no_number_is_refused_by_key_and_value(tmp_path, monkeypatch):
    from fedsim.errors import ScenarioError
    from fedsim.scenario import load

    (tmp_path / "mine.yaml").write_text(
        json.dumps(
            {
                "fleet": {"clients": 8, "mix": [{"device": "nvidia-a40", "share": 1.0}]},
                "rounds": {"count": 2, "cohort": 2},
            }
        )
    )
    for key in ("fleet.clients", "rounds.count", "seed"):
        for text in NUMBERS:
            with pytest.raises(ScenarioError) as fault:
                load(tmp_path / "mine.yaml", [f"{key}={text}"])
            assert key in str(fault.value) or "mine.yaml" in str(fault.value)
    assert (
        load(tmp_path / "mine.yaml", ["learning={learning_rate: 1e-3}"]).scenario.learning.learning_rate
        == 0.001
    )

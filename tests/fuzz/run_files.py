"""Directories that fedsim writes, as somebody else hands them over: runs, sweeps, checkpoints."""

from __future__ import annotations

import atexit
import io
import json
import shutil
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from kinds import SCENARIO, Kind, as_json, as_yaml, beside, command, parquet, shipped  # noqa: F401
from rich.console import Console

from fedsim import results, yamlfile

TABLES = ("rounds", "clients", "convergence")
PLAIN = {key: value for key, value in SCENARIO.items() if key not in ("learning", "hardware")}


class _Dies:
    """A progress that stops the run in its second round."""

    def begin(self, rounds: int, done: int) -> None: ...
    def note(self, text: str) -> None: ...
    def end(self) -> None: ...
    def round(self, record: Any) -> None:
        if record.index == 1:
            raise KeyboardInterrupt


@cache
def base(kind: str) -> Path:
    """A sound directory of a kind, made once."""
    from fedsim.scenario import load
    from fedsim.simulation import execute

    root = Path(tempfile.mkdtemp(prefix="fedsim-fuzz-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    beside(root)
    if kind == "sweep":
        from fedsim.scenario.sweep import load as load_sweep
        from fedsim.sweeps import conduct
        from fedsim.sweeps.here import Here

        file = root / "sweep.yaml"
        file.write_bytes(as_yaml({**PLAIN, "sweep": {"rounds.cohort": [2, 3]}}))
        return conduct.start(load_sweep(file), root / "sweep", Here).directory
    file = root / "fuzzed.yaml"
    file.write_bytes(as_yaml({**PLAIN, "rounds": {**PLAIN["rounds"], "count": 3}}))
    if kind == "finished":
        return execute.run(load(file), root / "run")
    interval = execute.STATE_INTERVAL_S
    execute.STATE_INTERVAL_S = -1.0  # a state after every round
    try:
        execute.run(load(file), root / "run", progress=_Dies())
    except KeyboardInterrupt:
        pass
    finally:
        execute.STATE_INTERVAL_S = interval
    assert (root / "run" / "checkpoints" / "engine-00001.json").is_file()
    return root / "run"


@cache
def content(kind: str) -> dict[str, Any]:
    """What the files of a directory say: JSON and YAML as they are, tables as rows below a header."""
    found: dict[str, Any] = {}
    for path in sorted(base(kind).rglob("*")):
        name = str(path.relative_to(base(kind)))
        if name.startswith("points"):
            continue
        if path.suffix == ".json":
            found[name] = json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".yaml":
            found[name] = yamlfile.load(path)
        elif path.suffix == ".parquet":
            table = pq.read_table(path)
            found[name] = [table.column_names, *(list(row.values()) for row in table.to_pylist())]
    return found


def write(kind: str, target: Path, tree: Any) -> None:
    """A copy of the sound directory with the files that differ from its tree."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(base(kind), target)
    sound = content(kind)
    for name, said in (tree if isinstance(tree, dict) else {}).items():
        if name not in sound or repr(said) == repr(sound[name]):
            continue
        file = target / name
        if file.suffix == ".parquet":
            parquet(file, said)
        else:
            file.write_bytes(as_yaml(said) if file.suffix == ".yaml" else as_json(said))
    for name in set(sound) - set(tree if isinstance(tree, dict) else {}):
        (target / name).unlink()


def look(directory: Path) -> None:
    """All that a report says of a run but the pixels."""
    from fedsim.report import page, terminal, timeline
    from fedsim.report.digest import digest
    from fedsim.report.figures import CHARTS
    from fedsim.results import finetuned

    run = results.load(directory)
    found = digest(run)
    for chart in CHARTS:
        if chart.ready(found):
            assert chart.title(found)
            assert chart.caption(found)
            chart.live(found)
    assert page.html(found, []).encode("utf-8").startswith(b"<!DOCTYPE html>")
    timeline.write(found, directory.parent / "timeline.json")
    terminal.show(found, console=Console(file=io.StringIO(), width=80))
    _ = run.summary, run.rounds, run.clients, run.convergence
    finetuned.read(directory)


def go_on(directory: Path) -> None:
    from fedsim.simulation import execute

    execute.resume(directory)


def beside_another(directory: Path) -> None:
    """Compared with a run that nobody touched, target and pictures included."""
    command("compare", base("finished"), directory, "--out", directory.parent / "compared", "--json")
    command("compare", directory, base("finished"), "--target", "rounds=2")


def look_at_sweep(directory: Path) -> None:
    from fedsim.report import sweeps
    from fedsim.sweeps.directory import read

    read(directory)
    sweeps.read(directory)


EXPECTED = {"model.a": (2, 3), "model.b": (4,), "optimizer": (5,)}


@cache
def weights() -> tuple[dict[str, Any], bytes]:
    """The header and the data of a small checkpoint."""
    from fedsim.learning import checkpoint

    with tempfile.TemporaryDirectory() as folder:
        tensors = {name: np.ones(shape, np.float32) for name, shape in EXPECTED.items()}
        raw = checkpoint.save(Path(folder), 1, tensors, model="wav2vec2-tiny").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def put_weights(file: Path, header: Any) -> None:
    text = as_json(header)
    file.write_bytes(len(text).to_bytes(8, "little") + text + weights()[1])


def read_weights(file: Path) -> None:
    from fedsim.learning import checkpoint

    expected = {name: checkpoint.Kind(shape) for name, shape in EXPECTED.items()}
    assert set(checkpoint.read(file, expected).tensors) == set(EXPECTED)


def run_kinds() -> list[Kind]:
    """Directories, and the files in them that are neither JSON nor tables."""

    def kind(name: str, made: str, read: Any, share: float) -> Kind:
        return Kind(name, partial(content, made), "it", None, read, share, partial(write, made))

    return [
        kind("finished run", "finished", look, 6),
        kind("unfinished run", "unfinished", look, 4),
        kind("unfinished run, resumed", "unfinished", go_on, 2),
        kind("finished run, fedsim report", "finished", lambda at: command("report", at, "--json"), 0.1),
        kind("finished run, fedsim compare", "finished", beside_another, 0.2),
        kind("sweep directory", "sweep", look_at_sweep, 3),
        Kind(
            "checkpoint", lambda: weights()[0], "round-00001.safetensors", None, read_weights, 5, put_weights
        ),
    ]

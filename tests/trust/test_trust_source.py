"""Nothing from outside is unpickled or executed: the source says so, and planted pickles stay asleep."""

from __future__ import annotations

import ast
import os
import pickle
import shutil
from pathlib import Path

import pytest

from fedsim.errors import InputError
from fedsim.tasks.speech.corpus import Manifest

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "torch.load", "torch.jit.load", "np.load", "numpy.load",
    "pd.read_pickle", "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads", "marshal.load",
    "shelve.open", "joblib.load", "dill.loads", "cloudpickle.loads", "yaml.load", "yaml.unsafe_load",
    "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all", "os.system", "os.popen", "from_pretrained",
}  # fmt: skip
TRUSTED = {
    ("fedsim/flower/executor.py", "pickle.loads"),
    ("fedsim/plugins.py", "exec"),  # of a file that was named on the command line
    ("fedsim/plugins.py", "compile"),
}
"""What one process of a run hands to another of the same run, over Flower's own connection; never a file."""


def called(node: ast.Call) -> str:
    """The dotted name of what is called."""
    parts = []
    at: ast.expr = node.func
    while isinstance(at, ast.Attribute):
        parts.append(at.attr)
        at = at.value
    return ".".join([*([at.id] if isinstance(at, ast.Name) else []), *reversed(parts)])


def test_the_source_calls_nothing_that_executes_what_it_reads():
    files = sorted((ROOT / "fedsim").rglob("*.py"))
    assert len(files) > 200
    found = set()
    for file in files:
        name = file.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            what = called(node)
            if what in FORBIDDEN or what.rpartition(".")[2] in ("from_pretrained", "read_pickle"):
                found.add((name, what))
            for keyword in node.keywords:
                assert not (keyword.arg == "allow_pickle" and getattr(keyword.value, "value", True)), name
                assert keyword.arg != "trust_remote_code", name
                assert not (keyword.arg == "shell" and getattr(keyword.value, "value", True)), name
    assert found == TRUSTED


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def bomb(tmp_path):
    mark = tmp_path / "unpickled"
    raw = pickle.dumps(Bomb(mark))
    yield raw
    assert not mark.exists(), "somebody unpickled it"


def test_the_bomb_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "unpickled")))
    assert (tmp_path / "unpickled").is_dir()


def test_pickles_in_place_of_files_are_refused(bomb, tmp_path):
    from fedsim import hardware
    from fedsim.fleet import availability, pressure
    from fedsim.learning import checkpoint
    from fedsim.pricing import load_trace
    from fedsim.scenario import load
    from fedsim.simulation import state
    from fedsim.tasks.speech.corpus import manifest

    def planted(name: str) -> str:
        (tmp_path / name).write_bytes(bomb)
        return str(tmp_path / name)

    readers = [
        (load, "scenario.yaml"),
        (hardware.load_device, "device.yaml"),
        (load_trace, "trace.json"),
        (lambda name: availability.Replay(name).load(), "online.csv"),
        (lambda name: availability.Replay(name).load(), "online.parquet"),
        (lambda name: pressure.File(name).load(), "pressure.yaml"),
        (lambda name: manifest.read(Path(name), Manifest(path=name)), "speech.csv"),
        (lambda name: checkpoint.read(Path(name)), "round-00001.safetensors"),
        (lambda name: state.read(Path(name).parent, 1, "name: x"), "engine-00001.json"),
    ]
    for read, name in readers:
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            read(planted(name))


def test_a_run_directory_of_pickles_is_refused(bomb, tmp_path, make_run):
    from fedsim import results
    from fedsim.report.digest import digest

    def use(directory):
        run = results.load(directory)
        return digest(run), run.summary

    sound = make_run(tmp_path / "sound", rounds=2, cohort=3, clients=9)
    for file in sorted(path for path in sound.rglob("*") if path.is_file()):
        shutil.copytree(sound, tmp_path / "run")
        (tmp_path / "run" / file.name).write_bytes(bomb)
        with pytest.raises(InputError):
            use(tmp_path / "run")
        shutil.rmtree(tmp_path / "run")

"""What pip installs is ours: its name, every instruction, and a word about another project's ``fedsim``."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import fedsim_devices
from fedsim.version import install

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOLDERS = ("fedsim", "docs", "analysis", "scenarios", "tests")
TEXTS = [
    path
    for path in (
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")),
        *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))),
    )
    if path.suffix in (".py", ".md", ".toml", ".yaml", "") and path.is_file()
]


def installed(folder, name, version, files):
    """A distribution that is installed in a folder, as pip leaves it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("")


def test_the_project_is_called_as_the_command_says():
    assert PROJECT["name"] == fedsim_devices.DISTRIBUTION != fedsim_devices.STRANGER
    assert PROJECT["scripts"] == {"fedsim": "fedsim_devices:main"}
    own = [need for need in PROJECT["optional-dependencies"]["dev"] if need.startswith("fedsim")]
    assert own == ["fedsim-devices[flower,ray,vision]"]


@pytest.mark.parametrize("extra", ["flower", "ray"])
def test_an_extra_that_is_told_of_is_there(extra):
    assert extra in PROJECT["optional-dependencies"]
    assert install(extra).startswith(f"pip install '.[{extra}]'")


def test_no_instruction_installs_another_projects_package():
    wrong = re.compile(r"pip install (-\S+ )*[\"']?fed" + r"sim(\[|[\"'`\s]|$)|fed" + r"sim\[(flower|ray)")
    assert len(TEXTS) > 100
    found = [path for path in TEXTS if wrong.search(path.read_text(encoding="utf-8", errors="replace"))]
    assert found == []
    assert wrong.search("`pip install fed" + "sim[ray]`")


@pytest.mark.parametrize(
    ("files", "is_strange"),
    [
        (["fedsim/__init__.py", "fedsim/losses.py"], True),
        (["fedsim/__init__.py", "fedsim_cli/__init__.py"], True),
        (["_editable_impl_fedsim.pth"], False),  # this project, installed from a clone under its earlier name
        ([], False),
    ],
)
def test_another_projects_package_is_told_from_an_older_installation_of_this_one(
    files, is_strange, tmp_path, monkeypatch
):
    installed(tmp_path, "fedsim", "0.9.0", files)
    monkeypatch.syspath_prepend(str(tmp_path))
    said = fedsim_devices.stranger()
    assert (said is not None) == is_strange
    assert said is None or "'fedsim' 0.9.0 that is installed here is another project's" in said


def start(*paths):
    """What ``fedsim --version`` says with these folders first on the path."""
    code = f"import sys; sys.path[:0] = {list(map(str, paths))}; import fedsim_devices; fedsim_devices.main()"
    return subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, timeout=120, check=False
    )


def test_where_it_takes_our_place_the_command_says_so_and_ends(tmp_path):
    installed(tmp_path, "fedsim", "0.9.0", ["fedsim/__init__.py"])
    done = start(tmp_path, ROOT)
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"fedsim: the package 'fedsim' 0\.9\.0 .*pip uninstall fedsim.*\n", done.stderr)


def test_where_it_lies_beside_us_the_command_says_so_and_works(tmp_path):
    installed(tmp_path, "fedsim", "0.9.0", ["fedsim/__init__.py"])
    done = start(ROOT, tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("fedsim, version ")
    assert done.stderr.count("\n") == 1


def test_alone_there_is_nothing_to_say(tmp_path):
    installed(tmp_path, "fedsim", "0.1.0", ["_editable_impl_fedsim.pth"])
    done = start(ROOT, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")

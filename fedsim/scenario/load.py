"""From a scenario file to checked, frozen data; and back to text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from fedsim import checks, paths, yamlfile
from fedsim.errors import InputError, ScenarioError
from fedsim.scenario import file_access, moved, override
from fedsim.scenario.file_access import FileAccess
from fedsim.scenario.model import Scenario
from fedsim.scenario.names import check_names
from fedsim.words import plain_name


@dataclass(frozen=True)
class Loaded:
    """A checked scenario and the file that it came from."""

    scenario: Scenario
    file: Path


def load(
    name_or_path: str | Path,
    overrides: Iterable[str | tuple[str, Any]] = (),
    access: FileAccess = file_access.NOWHERE,
) -> Loaded:
    """Load a scenario by path or by its name in ``scenarios/``.

    Args:
        name_or_path: ``my.yaml``, ``quickstart`` or ``paper/fl10-jetson-xavier-nx``.
        overrides: ``key.path=value`` texts, or pairs of key path and value, applied in order before
            anything is checked.
        access: what it may use beside the catalogue, its own folder, and what the overrides name.

    Raises:
        ScenarioError: if there is no such file or anything in it is wrong; names file, key path,
            value and what would be right.
    """
    given = list(overrides)
    changes = [override.parse(change) if isinstance(change, str) else change for change in given]
    changes = [(moved.today(key), value) for key, value in changes]
    data, path = stated(name_or_path, changes)
    said = tuple(override.plain(key) for key, _ in changes)
    access = replace(access, said=access.said + said)
    typed = any(isinstance(change, str) for change in given)
    with file_access.as_said(access, "--set" if typed else None):
        return Loaded(build(data, path, access), path)


def stated(name_or_path: str | Path, changes: Iterable[tuple[str, Any]] = ()) -> tuple[Any, Path]:
    """What the file of a scenario says, with changes by key path, before defaults come in; and the file.

    Raises:
        ScenarioError: if there is no such file, it is not YAML, or a change cannot be made.
    """
    path = paths.find(str(name_or_path), "scenarios", ".yaml")
    if path is None:
        known = sorted(p.stem for p in paths.data_dir("scenarios").glob("*.yaml"))
        raise ScenarioError(checks.unknown(str(name_or_path), known, "scenario and not a file"))
    data = yamlfile.load(path, ScenarioError)
    moved.rename(data, path)
    if isinstance(data, dict):
        for key, value in changes:
            override.apply(data, key, value, str(path))
    return data, path


def build(data: Any, file: Path, access: FileAccess = file_access.NOWHERE) -> Scenario:
    """Check scenario data that came from ``file``; ``access`` says which files it may use.

    Raises:
        ScenarioError: at the first thing that is wrong.
    """
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"holds {type(data).__name__}, not keys and values"
        keys = ", ".join(field.name for field in fields(Scenario))
        raise ScenarioError(f"{found}; a scenario has the keys {keys}", file=file)
    moved.rename(data, file)
    moved.to_the_rule(data, file)
    file_access.resolve(data, file, access)
    scenario = checks.check(Scenario, {"name": plain_name(file.stem), **data}, file=file, error=ScenarioError)
    try:
        check_names(scenario)
    except ScenarioError as error:
        raise ScenarioError(error.message, file=file, key=error.key) from None
    except InputError as error:
        raise ScenarioError(str(error), file=file) from None
    return scenario


def dump(scenario: Scenario) -> str:
    """The resolved scenario as YAML: every key with its value, and loadable again."""
    return yamlfile.dump(checks.dump(scenario))

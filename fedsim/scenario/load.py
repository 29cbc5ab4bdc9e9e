"""From a scenario file to checked, frozen data; and back to text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedsim import paths, yamlfile
from fedsim.errors import InputError, ScenarioError
from fedsim.scenario import faults, override
from fedsim.scenario.checks import check_names
from fedsim.scenario.model import Scenario


@dataclass(frozen=True)
class Loaded:
    """A checked scenario and the file that it came from."""

    scenario: Scenario
    file: Path


def load(name_or_path: str | Path, overrides: Iterable[str | tuple[str, Any]] = ()) -> Loaded:
    """Load a scenario by path or by its name in ``scenarios/``.

    Args:
        name_or_path: ``my.yaml``, ``quickstart`` or ``paper/fl10-jetson-xavier-nx``.
        overrides: ``key.path=value`` texts, or pairs of key path and value, applied in order before
            anything is checked.

    Raises:
        ScenarioError: if there is no such file or anything in it is wrong; names file, key path,
            value and what would be right.
    """
    path = paths.find(str(name_or_path), "scenarios", ".yaml")
    if path is None:
        known = sorted(p.stem for p in paths.data_dir("scenarios").glob("*.yaml"))
        raise ScenarioError(faults.unknown(str(name_or_path), known, "scenario and not a file"))
    data = yamlfile.load(path, ScenarioError)
    for change in overrides:
        key, value = override.parse(change) if isinstance(change, str) else change
        if not isinstance(data, dict):
            break
        override.apply(data, key, value, str(path))
    return Loaded(build(data, path), path)


def build(data: Any, file: Path) -> Scenario:
    """Check scenario data that came from ``file``.

    Raises:
        ScenarioError: at the first thing that is wrong.
    """
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"holds {type(data).__name__}, not keys and values"
        raise ScenarioError(f"{found}; a scenario has the keys {', '.join(Scenario.model_fields)}", file=file)
    _resolve_files(data, file.parent)
    try:
        scenario = Scenario.model_validate({"name": file.stem, **data})
    except ValidationError as error:
        key, message = faults.first(error, Scenario)
        raise ScenarioError(message, file=file, key=key) from None
    try:
        check_names(scenario)
    except ScenarioError as error:
        raise ScenarioError(error.message, file=file, key=error.key) from None
    except InputError as error:
        raise ScenarioError(str(error), file=file) from None
    return scenario


def _resolve_files(data: dict[str, Any], base: Path) -> None:
    """Turn names that are files or folders beside the scenario into their paths, in place."""

    def resolve(block: Any, *keys: str) -> None:
        for key in keys:
            name = block.get(key) if isinstance(block, dict) else None
            if isinstance(name, dict):
                resolve(name, "file", "path")
            elif isinstance(name, str) and not Path(name).exists() and (base / name).exists():
                block[key] = str(base / name)

    resolve(data.get("hardware"), "trend")
    resolve(data.get("workload"), "corpus")
    resolve(data.get("training"), "model")
    resolve(data.get("learning"), "corpus")
    resolve(data.get("server"), "device")
    fleet = data.get("fleet")
    mix = fleet.get("mix") if isinstance(fleet, dict) else None
    for entry in mix if isinstance(mix, list) else []:
        resolve(entry, "device", "link", "availability", "pressure")


def dump(scenario: Scenario) -> str:
    """The resolved scenario as YAML: every key with its value, and loadable again."""
    data = scenario.model_dump(mode="json", exclude_none=True)
    return yamlfile.dump(data)

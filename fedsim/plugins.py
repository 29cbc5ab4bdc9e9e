"""Plug-ins: choices that come from outside, from a stranger's file or from an installed package.

A plug-in is a frozen dataclass that derives from one of fedsim's bases (a selection policy, a completion
policy, an aggregation rule, a pressure model, an availability model, a task). Once known, it is a choice
like the built-in ones, and its fields are keys of a scenario. There are three ways to make it known:

- ``fedsim run scenario.yaml --plugin my_policies.py``: naming a Python file on the command line is
  consent to run it; a scenario never names code;
- ``@fedsim.plugin`` above the class, from Python;
- an entry point of the group ``fedsim.plugins`` in an installed package, which names a module or a class.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any, TypeVar

from fedsim.errors import InputError

GROUP = "fedsim.plugins"
T = TypeVar("T", bound=type)

_added: list[type] = []
_modules: dict[str, tuple[Path, str]] = {}  # what was loaded from files: module -> file, SHA-256
_installed = False


class PluginError(InputError):
    """A plug-in cannot be used."""


def plugin(cls: T) -> T:
    """Make a class a choice of scenarios; a decorator.

    Raises:
        PluginError: it derives from none of fedsim's bases, is no frozen dataclass, has no name, or one
            that another plug-in has.
    """
    base = base_of(cls)
    if base is None:
        raise PluginError(f"{cls.__name__} derives from none of the bases in fedsim.extend")
    if not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise PluginError(f"{cls.__name__} is no frozen dataclass; write @dataclass(frozen=True) above it")
    key = base.key  # type: ignore[attr-defined]
    field = cls.__dataclass_fields__.get(key)
    if field is None or not isinstance(field.default, str):
        raise PluginError(f'{cls.__name__} has no name; give it {key}: Literal["mine"] = kind("mine")')
    for other in [one for one in _added if base_of(one) is base]:
        if other.__dataclass_fields__[key].default == field.default:  # type: ignore[attr-defined]
            if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
                raise PluginError(f"there are two plug-ins called {field.default!r}")
            _added.remove(other)  # the same class, defined again
    _added.append(cls)
    return cls


def base_of(cls: type) -> type | None:
    """The base of fedsim's that a class derives from: the one that says which ``point`` it is."""
    return next((base for base in cls.__mro__ if "point" in vars(base)), None)


def of(base: type) -> list[type]:
    """The plug-ins that derive from a base, those of installed packages included."""
    global _installed
    if not _installed:
        _installed = True
        for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
            _take_in(entry.load())
    return [cls for cls in _added if base_of(cls) is base]


def state() -> int:
    """Changes whenever a plug-in is added, so that what was made from the choices is made again."""
    return hash(tuple(_added))


def load(file: str | Path) -> None:
    """Run a Python file and take in the plug-ins that it defines.

    Raises:
        PluginError: there is no such file, it fails, or it defines no plug-in.
    """
    path = Path(file).resolve()
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise PluginError(f"cannot be read: {fault.strerror or fault}", file=file) from None
    digest = hashlib.sha256(content).hexdigest()
    name = f"fedsim_plugin_{path.stem}_{digest[:12]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError("is no Python file; its name has to end in .py", file=file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickle look for it
    try:
        spec.loader.exec_module(module)
        found = _take_in(module)
    except PluginError as fault:
        del sys.modules[name]
        raise PluginError(fault.message, file=file) from None
    except Exception as fault:  # whatever a stranger's code raises
        del sys.modules[name]
        line = next(
            (
                f.lineno
                for f in reversed(traceback.extract_tb(fault.__traceback__))
                if f.filename == str(path)
            ),
            None,
        )
        at = "" if line is None else f" in line {line}"
        raise PluginError(f"fails{at}: {type(fault).__name__}: {fault}", file=file) from fault
    if not found:
        del sys.modules[name]
        raise PluginError("defines no plug-in: no class that derives from a base in fedsim.extend", file=file)
    _modules[name] = (path, digest)


def files() -> dict[Path, str]:
    """The files that plug-ins were loaded from, with their SHA-256."""
    return dict(_modules.values())


def reduce(thing: Any) -> tuple[Any, ...] | None:
    """How an object of a class from a plug-in file is pickled: other processes load the file first."""
    cls = type(thing)
    if cls.__module__ not in _modules:
        return None
    path, _ = _modules[cls.__module__]
    return _again, (str(path), cls.__module__, cls.__qualname__, thing.__dict__)


def _again(path: str, module: str, name: str, content: dict[str, Any]) -> Any:
    if module not in sys.modules:
        load(path)
    if module not in sys.modules:
        raise PluginError("has changed since the run began", file=path)
    thing = object.__new__(getattr(sys.modules[module], name))
    thing.__dict__.update(content)
    return thing


def _take_in(thing: Any) -> int:
    """Add the plug-ins of a module, or a class; how many there are."""
    if isinstance(thing, type):
        plugin(thing)
        return 1
    found = [
        value
        for value in vars(thing).values()
        if isinstance(value, type) and value.__module__ == thing.__name__ and base_of(value) is not None
    ]
    for cls in found:
        plugin(cls)
    return len(found)

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
import importlib
import sys
import traceback
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fedsim.errors import InputError
from fedsim.words import slashes

GROUP = "fedsim.plugins"
LABEL = "plugins/"
T = TypeVar("T", bound=type)

_added: list[type] = []
_sources: dict[str, Source] = {}  # of the modules that were files
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
        import importlib.metadata

        for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
            _define(entry.load())
    return [cls for cls in _added if base_of(cls) is base]


def state() -> int:
    """Changes whenever a plug-in is added, so that what was made from the choices is made again."""
    return hash(tuple(_added))


@dataclasses.dataclass(frozen=True)
class Source:
    """A plug-in file as it was read: what another process needs to know the same classes."""

    path: str
    text: str

    @property
    def module(self) -> str:
        """The name under which it is imported."""
        digest = hashlib.sha256(self.text.encode("utf-8")).hexdigest()
        return f"fedsim_plugin_{Path(self.path).stem}_{digest[:12]}"


def load(file: str | Path) -> None:
    """Run a Python file and take in the plug-ins that it defines.

    Raises:
        PluginError: there is no such file, it fails, or it defines no plug-in.
    """
    _run(read(file))


def read(file: str | Path) -> Source:
    """A Python file, to be run.

    Raises:
        PluginError: it cannot be read.
    """
    path = Path(file).resolve()
    try:
        return Source(str(path), path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        why = getattr(fault, "strerror", None) or "it is not text in UTF-8"
        hint = slashes(file) if isinstance(fault, FileNotFoundError) else ""
        raise PluginError("; ".join(filter(None, [f"cannot be read: {why}", hint])), file=file) from None


def executed(source: Source) -> types.ModuleType:
    """The module that a Python file makes; one that was run already is not run again.

    Raises:
        PluginError: it fails; says in which line.
    """
    name = source.module
    if name in sys.modules:
        return sys.modules[name]
    module = types.ModuleType(name)
    module.__file__ = source.path
    sys.modules[name] = module  # where dataclasses and pickle look for it
    try:
        exec(compile(source.text, source.path, "exec"), module.__dict__)
    except PluginError as fault:
        del sys.modules[name]
        raise PluginError(fault.message, file=source.path) from None
    except Exception as fault:  # whatever a stranger's code raises
        del sys.modules[name]
        lines = [f.lineno for f in traceback.extract_tb(fault.__traceback__) if f.filename == source.path]
        line = fault.lineno if isinstance(fault, SyntaxError) else lines[-1] if lines else None
        at = "" if line is None else f" in line {line}"
        raise PluginError(f"fails{at}: {type(fault).__name__}: {fault}", file=source.path) from fault
    _sources[name] = source
    return module


def carried() -> tuple[Source | str, ...]:
    """What makes today's plug-ins known to another process: see :func:`take_in`."""
    modules = dict.fromkeys(cls.__module__ for cls in _added)
    return tuple(_sources.get(module, module) for module in modules if module != "__main__")


def take_in(known: Iterable[Source | str]) -> None:
    """Make plug-ins known that another process knows.

    Raises:
        PluginError: a module of theirs cannot be imported here.
    """
    for one in known:
        if isinstance(one, Source):
            _run(one)
            continue
        try:
            importlib.import_module(one)
        except ImportError as fault:
            raise PluginError(f"the plug-ins of {one} cannot be had here: {fault}") from None


def files() -> dict[str, Path]:
    """The files that define today's plug-ins, by the label under which a manifest lists them."""
    found: dict[str, Path] = {}
    for module in dict.fromkeys(cls.__module__ for cls in _added):
        source = _sources.get(module)
        path = source.path if source is not None else getattr(sys.modules.get(module), "__file__", None)
        if path is not None and Path(path).is_file():
            found[f"{LABEL}{Path(path).name}"] = Path(path)
    return found


def refuse_others(recorded: Mapping[str, str], place: Path) -> None:
    """Refuse to go on with work that was begun with other plug-ins than today's.

    Args:
        recorded: SHA-256 of the plug-in files that it began with, by label.
        place: where the work is.

    Raises:
        PluginError: one of them is not there, or has changed.
    """
    today = files()
    for label, digest in recorded.items():
        name = label.removeprefix(LABEL)
        if label not in today:
            raise PluginError(f"began with the plug-in {name}; name it again: --plugin {name}", file=place)
        if hashlib.sha256(today[label].read_bytes()).hexdigest() != digest:
            raise PluginError(
                f"began with another {name} (its SHA-256 was {digest[:12]}...); give that one, or begin anew",
                file=place,
            )


def reduce(thing: Any) -> tuple[Any, ...] | None:
    """How an object of a class from a plug-in file is pickled: with the file, for other processes."""
    cls = type(thing)
    source = _sources.get(cls.__module__)
    return None if source is None else (_again, (source, cls.__qualname__, thing.__dict__))


def _again(source: Source, name: str, content: dict[str, Any]) -> Any:
    _run(source)
    thing = object.__new__(getattr(sys.modules[source.module], name))
    thing.__dict__.update(content)
    return thing


def _run(source: Source) -> None:
    """Execute a plug-in file, once, and take in what it defines."""
    if source.module in sys.modules:
        return
    module = executed(source)
    try:
        if not _define(module):
            raise PluginError("defines no plug-in: no class that derives from a base in fedsim.extend")
    except PluginError as fault:
        del sys.modules[source.module], _sources[source.module]
        raise PluginError(fault.message, file=source.path) from None


def _define(thing: Any) -> int:
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

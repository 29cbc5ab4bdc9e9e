"""What a module, its batches and its loss are, as a digest: where two are equal, so are the traces.

Told are the attributes of modules and the classes that they are of, shapes and types of tensors, and of
functions what runs: their bytecode, and whatever they reach from outside (globals, closures, defaults).
What is installed is known by the list of its files with their hashes, which every installer writes.
Numbers in tensors do not matter, since a trace is taken without any.

Whatever cannot be told (a function in C of one's own, an open file) has no digest; better none than one
that stays the same when the trace would not.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import sys
from importlib import metadata
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

import torch
from torch import nn

from fedsim import tracing
from fedsim.pricing.layers import FORMAT

_PYTHON = (type(None), bool, int, float, complex, str, bytes, type(...))
_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_NOT_TOLD = frozenset(
    {"__dict__", "__weakref__", "__doc__", "__annotations__", "_abc_impl", "_original_object_hash"}
)
"""Attributes that decide nothing; the last is of transformers' generation, other in each process."""


def digest(*things: Any) -> str | None:
    """A digest of things, of this Python, of torch, and of how fedsim traces; None if one cannot be told."""
    teller = _Teller()
    try:
        for thing in (sys.version, FORMAT, torch.get_default_dtype(), torch, *_own_sources(), *things):
            teller.tell(thing)
    except Exception:  # whatever an attempt to take a stranger's object apart raises
        return None
    return teller.found.hexdigest()


def _own_sources() -> list[bytes]:
    """The code that traces, which a version alone does not tell."""
    return [path.read_bytes() for path in sorted(Path(str(tracing.__file__)).parent.glob("*.py"))]


class _Teller:
    """Tells things to a digest; each once, and afterwards by its number."""

    def __init__(self) -> None:
        self.found = hashlib.sha256()
        self._seen: dict[int, tuple[int, Any]] = {}  # holds on to things, so that no id is used twice

    def say(self, *words: object) -> None:
        self.found.update(repr(words).encode("utf-8", "backslashreplace"))

    def tell(self, thing: Any, attributes: frozenset[str] = frozenset()) -> None:
        """Tell a thing; of somebody's own Python module the ``attributes`` that are used."""
        if isinstance(thing, _PYTHON + _TORCH):
            return self.say(type(thing).__name__, thing)
        if isinstance(thing, ModuleType):
            return self.module(thing, attributes)
        if type(thing) in (tuple, frozenset):  # whether two equal ones are one is the compiler's affair
            return self.anew(thing)
        if id(thing) in self._seen:
            return self.say("again", self._seen[id(thing)][0])
        self._seen[id(thing)] = len(self._seen), thing
        return self.anew(thing)

    def anew(self, thing: Any) -> None:
        """Tell a thing that was not told before."""
        named = isinstance(thing, FunctionType | BuiltinFunctionType | type)
        where = _package(thing) if named else None
        self.say(type(thing).__qualname__, where)
        parts: Any
        if where is not None:
            parts = (thing.__module__, thing.__qualname__)
        elif isinstance(thing, GetSetDescriptorType | MemberDescriptorType):
            parts = (thing.__qualname__,)
        elif type(thing) in (tuple, list):
            parts = thing
        elif type(thing) is dict:
            parts = [part for item in thing.items() if item[0] not in _NOT_TOLD for part in item]
        elif type(thing) in (set, frozenset):
            parts = sorted(thing)
        elif isinstance(thing, torch.Tensor):
            parts = (tuple(thing.shape), thing.dtype, thing.requires_grad)
        elif isinstance(thing, FunctionType):
            self.code(thing.__code__, thing.__globals__)
            cells = [cell.cell_contents for cell in thing.__closure__ or ()]
            parts = (thing.__defaults__, thing.__kwdefaults__, *cells)
        elif isinstance(thing, MethodType):
            parts = (thing.__func__, thing.__self__)
        elif isinstance(thing, type):
            parts = (*thing.__mro__[1:], dict(vars(thing)))
        elif isinstance(thing, nn.Module):  # parametrized ones refuse to be pickled
            parts = (type(thing), vars(thing))
        elif isinstance(thing, property):
            parts = (thing.fget, thing.fset)
        elif isinstance(thing, staticmethod | classmethod):
            parts = (thing.__func__,)
        elif isinstance(thing, functools.cached_property):
            parts = (thing.func,)
        else:  # any object, as it would be pickled
            parts = thing.__reduce_ex__(2)
            if isinstance(parts, str):
                raise TypeError(f"{parts} is pickled by its name, which tells nothing of what it is")
            parts = [list(part) if hasattr(part, "__next__") else part for part in parts]
        self.say(len(parts))
        for part in parts:
            self.tell(part)

    def code(self, code: CodeType, outside: dict[str, Any]) -> None:
        """Tell bytecode, and what its names lead to outside of it."""
        self.say(code.co_code, code.co_exceptiontable, code.co_flags, code.co_names, code.co_freevars)
        self.say(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self.code(constant, outside)
            else:
                self.tell(constant)
        attributes = frozenset(code.co_names)
        for step in dis.get_instructions(code):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in outside:
                self.tell(outside[step.argval], attributes)
            elif step.opname == "IMPORT_NAME":
                self.tell(sys.modules[step.argval], attributes)

    def module(self, module: ModuleType, attributes: frozenset[str]) -> None:
        """Tell a Python module."""
        self.say(module.__name__, where := _package(module))
        for name in sorted(attributes & vars(module).keys()) if where is None else ():
            if not isinstance(value := vars(module)[name], ModuleType) or value is not module:
                self.say(name)
                self.tell(value, attributes - {name})


def _package(thing: Any) -> str | None:
    """What tells the package that a thing is installed with; None for what is somebody's own."""
    name = thing.__name__ if isinstance(thing, ModuleType) else thing.__module__ or "builtins"
    return _installed(str(name).partition(".")[0])


@functools.cache
def _installed(top: str) -> str | None:
    if top in sys.stdlib_module_names:
        return "python"
    try:
        found = metadata.distribution(top)
    except metadata.PackageNotFoundError:
        several = metadata.packages_distributions().get(top)
        if several is None:
            return None
        found = metadata.distribution(several[0])
    here = getattr(sys.modules.get(top), "__file__", None)
    if here is None or not Path(here).is_relative_to(str(found.locate_file(""))):
        return None  # installed as a link to where it is worked on
    files = found.read_text("RECORD") or found.version
    return hashlib.sha256(files.encode("utf-8")).hexdigest()

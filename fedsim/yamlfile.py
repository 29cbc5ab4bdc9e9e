"""Strict YAML: what a person means is what is read, or one sentence says why not.

PyYAML follows YAML 1.1, where ``1e-3`` is a string, ``no`` is False, ``1:30`` is 90 and the last
of two equal keys wins. Here numbers follow YAML 1.2's core schema (``1e-3`` and ``312e12`` are
floats), only ``true`` and ``false`` are booleans, there are no dates and no base-60 numbers, a
duplicate key is an error, and anchors, aliases and tags are refused, since no file of fedsim
needs them and they are how a small file becomes a huge one.
"""

from __future__ import annotations

import copy
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from fedsim import files
from fedsim.errors import CONTROL, InputError

MAX_BYTES = 500_000
"""Read in 2.5 s at worst; the largest sweep that fedsim accepts takes a third of it."""
MAX_DEPTH = 40
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML has it: 5 times faster


class _Strict(_Safe):  # type: ignore[misc]  # one of two classes
    """A SafeLoader with YAML 1.2 scalars."""


_Strict.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:int", r"^[-+]?[0-9]+$", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
):
    _Strict.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


def _int(loader: _Strict, node: yaml.ScalarNode) -> int:
    return int(str(loader.construct_scalar(node)))


_Strict.add_constructor("tag:yaml.org,2002:int", _int)


def _build(loader: _Strict, node: yaml.Node, path: str, error: type[InputError], file: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise error("has a key that is not plain text", file=file, key=path or None)
            name = _plain(str(key_node.value), path, error, file)
            where = f"{path}.{name}" if path else name
            if name in result:
                line = key_node.start_mark.line + 1
                raise error(f"is given twice (again on line {line}); keep one", file=file, key=where)
            result[name] = _build(loader, value_node, where, error, file)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, f"{path}[{i}]", error, file) for i, item in enumerate(node.value)]
    if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rpartition(":")[2] not in {
        "bool",
        "null",
        "int",
        "float",
        "str",
    }:
        raise error(f"has the tag {node.tag!r}; tags are not used here", file=file, key=path or None)
    try:
        value = loader.construct_object(node, deep=True)
    except ValueError as fault:
        raise error(f"{node.value!r} cannot be read: {fault}", file=file, key=path or None) from None
    return _plain(value, path, error, file) if isinstance(value, str) else value


def _plain(text: str, path: str, error: type[InputError], file: str) -> str:
    """Text as it is, if it holds no control character but line ends and tabs."""
    found = CONTROL.search(text.replace("\n", "").replace("\t", ""))
    if found is not None:
        raise error(f"{text!r} holds the control character {found[0]!r}", file=file, key=path or None)
    return text


def parse(text: str, file: str | Path, error: type[InputError] = InputError) -> Any:
    """Read YAML text strictly.

    Args:
        text: the document.
        file: the name to put into messages.
        error: the kind of :class:`~fedsim.errors.InputError` to raise.

    Raises:
        InputError: (of kind ``error``) for anything that is not one plain YAML document.
    """
    return copy.deepcopy(_parsed(text, str(file), error))  # type: ignore[arg-type]  # a class is hashable


@lru_cache(maxsize=256)
def _parsed(text: str, name: str, error: type[InputError]) -> Any:
    """What a document says; the same document is read once, and never handed out itself."""
    try:
        _check_events(text, error, name)
        loader = _Strict(text)
        try:
            node = loader.get_single_node()
            return None if node is None else _build(loader, node, "", error, name)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark
        line = f" on line {mark.line + 1}" if mark else ""
        raise error(f"is not valid YAML{line}: {fault.problem}", file=name) from None
    except yaml.YAMLError as fault:
        raise error(f"is not valid YAML: {str(fault).splitlines()[0]}", file=name) from None


def _check_events(text: str, error: type[InputError], file: str) -> None:
    """Refuse anchors and deep nesting before anything is built from the text."""
    depth = 0
    for event in yaml.parse(text, Loader=_Strict):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            line = event.start_mark.line + 1 if event.start_mark else "?"
            raise error(f"uses a YAML anchor or alias on line {line}; write the value out", file=file)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise error(f"is nested more than {MAX_DEPTH} levels deep", file=file)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def load(path: str | Path, error: type[InputError] = InputError) -> Any:
    """Read a YAML file strictly; see :func:`parse`.

    Raises:
        InputError: (of kind ``error``) if the file cannot be read, is larger than 500 kB, is not
            UTF-8, or is not one plain YAML document.
    """
    return parse(files.read_text(Path(path), error, MAX_BYTES), path, error)


class _StrictDumper(yaml.SafeDumper):
    """Quotes what any reader would not read as text, strict or YAML 1.1, and repeats instead of aliasing."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _first, _resolvers in _Strict.yaml_implicit_resolvers.items():
    for _tag, _pattern in _resolvers:
        _StrictDumper.add_implicit_resolver(_tag, _pattern, [_first])


def dump(data: Any, flow: bool = False) -> str:
    """Write plain data (dicts, lists, text, numbers) as YAML that :func:`parse` reads back equal.

    Readers of YAML 1.1, such as PyYAML, read the same: ``no``, ``1:30`` and ``2027-01-01`` are quoted.
    ``flow`` writes it on one line, with braces and brackets.
    """
    width = 1_000_000 if flow else None
    return str(
        yaml.dump(
            data,
            Dumper=_StrictDumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=flow,
            width=width,
        )
    )

"""Checking: plain data become options, or one sentence says what is wrong with them.

Every file that people write (scenarios, devices, links, trends, traces) is declared as classes of
options (:mod:`fedsim.options`) and read here. A complaint names the file, the key path, the value that
was found and what would be right.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from fedsim import plugins
from fedsim.errors import InputError
from fedsim.options import PLAIN, OneOf, name_of
from fedsim.words import nearest, shown

T = TypeVar("T")


def check(
    cls: type[T],
    data: Any,
    *,
    file: str | Path | None = None,
    key: str = "",
    error: type[InputError] = InputError,
) -> T:
    """The options that plain data stand for.

    Args:
        cls: a class of options.
        data: what a file holds.
        file: the file, for the sentence.
        key: the key path of the data within the file; empty for the whole of it.
        error: what is raised.

    Raises:
        InputError: of the class ``error``, at the first thing that is wrong; unknown keys come first.
    """
    from pydantic import ValidationError

    try:
        return typing.cast(T, adapter(cls).validate_python(data))
    except ValidationError as fault:
        where, message = first_fault(fault, cls, data)
        path = f"{key}.{where}" if key and where and not where.startswith("[") else key + where
        raise error(message, file=file, key=path or None) from None


def dump(options: Any) -> dict[str, Any]:
    """Options as plain data that read back equal; what is None is left out."""
    data: dict[str, Any] = adapter(type(options)).dump_python(options, mode="json", exclude_none=True)
    return data


def schema(cls: type) -> dict[str, Any]:
    """The JSON schema of a class of options; a choice offers exactly the keys of the chosen class."""
    found: dict[str, Any] = adapter(cls).json_schema()
    return found


def adapter(cls: type) -> Any:
    """pydantic's reader of a class, made anew when plug-ins have come."""
    return _adapter(cls, plugins.state())


@cache
def _adapter(cls: type, _plugins: int) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def either(words: Iterable[str]) -> str:
    """``a, b or c``."""
    *head, last = list(words)
    return f"{', '.join(head)} or {last}" if head else last


def unknown(name: str, known: Sequence[str], what: str) -> str:
    """``'chorot' is not a known key; did you mean 'cohort'?``, or all that is known."""
    return f"{name!r} is not a known {what}; {nearest(name, known, most=1)}"


def key_path(location: Sequence[str | int]) -> str:
    """``("fleet", "mix", 1, "share")`` as ``fleet.mix[1].share``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a fault is, in terms of the options.

    Attributes:
        path: the keys and positions that a person wrote.
        block: the class of options that holds it, or that it is.
        choice: the mark of the choice of which ``block`` is one, if it is.
        inside: the class of options that should stand there, if one should.
        around: the class whose keys stand beside those of ``block``, if one's do.
        field: the name of the nearest declared key on the way.
    """

    path: tuple[str | int, ...]
    block: type | None
    choice: OneOf | None
    inside: type | None
    around: type | None = None
    field: str | None = None


def _place(cls: type, location: Sequence[str | int]) -> _Place:
    """Follow a location of pydantic's, which names chosen classes and branches of unions on the way."""
    path: list[str | int] = []
    at: Any = cls
    block = around = choice = field = None
    for part in location:
        mark, plain = _kind(at)
        if mark is not None:  # the name of the chosen class
            at, choice = mark.choices().get(str(part)), mark
        elif isinstance(part, int):
            path.append(part)
            at = _item(plain)
        elif isinstance(plain, type) and dataclasses.is_dataclass(plain):
            if part not in _hints(plain) and str(part).partition("[")[0] in (
                plain.__name__,
                "literal",
                PLAIN,
            ):
                continue  # a branch of a union
            if choice is not None and plain not in choice.choices().values():
                block = choice = None
            is_flat = part == getattr(plain, "flat", None)
            block, around = plain, plain if is_flat else around if choice is not None else None
            at, field = _hints(block).get(part), str(part)
            path += [] if is_flat else [part]
        elif typing.get_origin(plain) in (dict, Mapping):
            path.append(part)
            at = typing.get_args(plain)[-1]
    mark, plain = _kind(at)
    inside = plain if mark is None and isinstance(plain, type) and dataclasses.is_dataclass(plain) else None
    return _Place(tuple(path), block, choice, inside, around, field)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _kind(annotation: Any) -> tuple[OneOf | None, Any]:
    """The mark of a choice in an annotation, and the class, list or mapping that it is otherwise."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *marks = typing.get_args(annotation)
        mark = next((m for m in marks if isinstance(m, OneOf)), None)
        return (mark, inner) if mark is not None else _kind(inner)
    if isinstance(annotation, type) or typing.get_origin(annotation) in (list, tuple, dict, Mapping):
        return None, annotation
    for inner in typing.get_args(annotation):  # X | None
        found = _kind(inner)
        if found[0] is not None or dataclasses.is_dataclass(found[1]) or typing.get_origin(found[1]):
            return found
    return None, None


def _item(annotation: Any) -> Any:
    return next(iter(typing.get_args(annotation)), None)


def _weight(fault: dict[str, Any]) -> int:
    """What is said first: a key that is unknown; last, that a block is none of some words."""
    if fault["type"] == "unexpected_keyword_argument":
        return 0
    return 2 if fault["type"] == "literal_error" and isinstance(fault["input"], dict) else 1


def first_fault(error: Any, cls: type, data: Any) -> tuple[str, str]:
    """The key path and the sentence for the first fault that pydantic found in data."""
    faults = sorted(error.errors(include_url=False), key=_weight)
    fault = faults[0]
    place = _place(cls, fault["loc"])
    if isinstance(fault["input"], (float, int)):  # perhaps read from text with a unit, or from 1e6
        fault = {**fault, "input": _written(data, place.path, fault["input"])}
    path, message = _sentence(fault, place)
    return key_path(path), message


def _written(data: Any, path: Sequence[str | int], otherwise: Any) -> Any:
    """What a person wrote at a place."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return otherwise
    return data


def _sentence(fault: dict[str, Any], place: _Place) -> tuple[tuple[str | int, ...], str]:
    kind, value = fault["type"], typing.cast(Any, fault.get("input"))
    context: dict[str, Any] = fault.get("ctx", {})
    path, block = place.path, place.block
    if kind == "unexpected_keyword_argument":
        return _unexpected(str(path[-1]), place)
    if kind == "missing":
        field = _field(place)
        if place.choice is not None and block is not None:
            return path[:-1], f"{name_of(block)!r} needs the key {str(path[-1])!r} beside it"
        if (right := _right(field)) is not None:
            return path, f"is missing; give {right}"
        meaning = "" if field is None else field.metadata.get("description", "")
        return path, f"is missing and has no default{f' ({meaning})' if meaning else ''}"
    if kind == "value_error":
        said = str(context.get("error", fault["msg"]))
        right = _right(_field(place)) if place.inside is None else None
        return path, f"is {shown(value)}; give {right}" if right is not None else said
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = str(context["discriminator"]).strip("'")
        names = str(context.get("expected_tags", "")).split(", ")
        if kind == "union_tag_not_found":
            return (*path, key), "is missing; it says which kind is meant"
        said = f"{shown(value[key])} is not one of {either(names)}"
        return (*path, key), f"{said}; if it is a plug-in's, name its file with --plugin"
    if (right := _right(_field(place))) is not None:
        return path, f"is {shown(value)}; give {right}"
    if kind in ("dataclass_type", "dict_type", "mapping_type", "model_attributes_type"):
        names = [f.name for f in dataclasses.fields(place.inside)] if place.inside is not None else []
        found = "is empty; give" if value is None else f"{shown(value)} is not"
        return path, f"{found} a block" + (f" with the keys {', '.join(names)}" if names else "")
    if kind == "literal_error":
        return path, f"{shown(value)} is not one of {context['expected']}"
    if kind == "string_pattern_mismatch":
        return path, f"{shown(value)} is not a plain name; use letters, digits, '.', '_' and '-', 80 at most"
    if (wants := _WANTED.get(kind)) is not None:
        plain = {name: f"{n:g}" if isinstance(n, float) else n for name, n in context.items()}
        return path, f"{shown(value)} is not {wants.format(**plain)}"
    return path, f"{shown(value)}: {fault['msg']}"


def _unexpected(name: str, place: _Place) -> tuple[tuple[str | int, ...], str]:
    """A key that a block does not have: another choice's, or nobody's."""
    block = place.block
    blocks = [cls for cls in (place.around, block) if cls is not None]
    known = list(dict.fromkeys(f.name for cls in blocks for f in dataclasses.fields(cls)))
    if place.choice is not None and block is not None:
        choices: dict[str, Any] = place.choice.choices()
        owners = [owner for owner, cls in choices.items() if name in cls.__dataclass_fields__]
        if owners:
            said = f"the key {name!r} belongs to {' or '.join(owners)}, not to {name_of(block)!r}"
            return place.path[:-1], said
    return place.path, unknown(name, known, "key")


def _field(place: _Place) -> dataclasses.Field[Any] | None:
    """The declaration of the nearest key on the way to a place."""
    if place.block is None or place.field is None:
        return None
    fields: dict[str, dataclasses.Field[Any]] = typing.cast(Any, place.block).__dataclass_fields__
    return fields.get(place.field)


def _right(field: dataclasses.Field[Any] | None) -> str | None:
    return None if field is None else field.metadata.get("right")


_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "finite_number": "a finite number",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "long enough: give at least {min_length}",
    "string_too_long": "short enough: give at most {max_length} characters",
}

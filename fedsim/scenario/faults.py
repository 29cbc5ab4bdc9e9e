"""Turns what pydantic found into the one sentence that fedsim says: key path, value, what is right."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from fedsim.words import did_you_mean, shown


def _join(words: Iterable[str]) -> str:
    *head, last = list(words)
    return f"{', '.join(head)} or {last}" if head else last


def key_path(location: Sequence[str | int]) -> str:
    """``("fleet", "mix", 1, "share")`` as ``fleet.mix[1].share``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _block_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel] | None:
    """The block's class at a location, by walking field annotations."""
    found: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or found is None:
            continue
        field = found.model_fields.get(part)
        found = _block_in(field.annotation) if field else None
    return found


def _block_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in typing.get_args(annotation):
        block = _block_in(inner)
        if block is not None:
            return block
    return None


def unknown(name: str, known: Sequence[str], what: str) -> str:
    """``'chorot' is not a known key; did you mean 'cohort'?``, or all that is known."""
    hint = did_you_mean(name, known, most=1) or f"known here: {', '.join(known)}"
    return f"{name!r} is not a known {what}; {hint}"


def first(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """The key path and the sentence for the first fault that pydantic found."""
    faults = error.errors(include_url=False)
    unknown_first = sorted(faults, key=lambda item: item["type"] != "extra_forbidden")
    fault = unknown_first[0]
    location = [part for part in fault["loc"] if not (isinstance(part, str) and part.startswith("literal["))]
    return key_path(location), _sentence(dict(fault), location, model)


def _sentence(fault: dict[str, Any], location: list[str | int], model: type[BaseModel]) -> str:
    kind, value, context = fault["type"], fault.get("input"), fault.get("ctx", {})
    if kind == "extra_forbidden":
        block = _block_at(model, location[:-1])
        return unknown(str(location[-1]), list(block.model_fields) if block else [], "key")
    if kind == "missing":
        block = _block_at(model, location[:-1])
        field = block.model_fields.get(str(location[-1])) if block else None
        meaning = f" ({field.description})" if field and field.description else ""
        return f"is missing and has no default{meaning}"
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        block = _block_at(model, location)
        keys = f" with the keys {', '.join(block.model_fields)}" if block else ""
        return f"{shown(value)} is not a block{keys}"
    if kind == "value_error":
        return str(context.get("error", fault["msg"]))
    if kind == "literal_error":
        return f"{shown(value)} is not one of {context['expected']}"
    if kind == "string_pattern_mismatch":
        return f"{shown(value)} is not a plain name; use letters, digits, '.', '_' and '-', 80 at most"
    wants = _WANTED.get(kind)
    if wants is not None:
        return f"{shown(value)} is not {wants.format(**context)}"
    return f"{shown(value)}: {fault['msg']}"


_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "finite_number": "a finite number",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "long enough: give at least {min_length}",
    "string_too_long": "short enough: give at most {max_length} characters",
}

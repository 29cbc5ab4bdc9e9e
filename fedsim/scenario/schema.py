"""The JSON schema of a scenario or sweep file, for editors that complete and check YAML.

It is made from the models, so that it cannot say anything else than they do. It knows nothing of
what lies beyond one key: whether shares add up, or whether a device exists.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from fedsim.scenario import model

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SHORT = {"AvailabilitySpec": "kind", "PressureSpec": "kind", "Compression": "kind", "ClosePolicy": "policy"}
"""Blocks that may be written as one word, and the key that the word stands for."""

_SWEEP = {
    "type": "object",
    "description": "the axes: a key path of the scenario and the values it takes",
    "minProperties": 1,
    "properties": {
        "zip": {
            "type": "object",
            "description": "keys that change together: lists of one length",
            "additionalProperties": {"type": "array", "minItems": 1},
        },
        "cases": {
            "type": "object",
            "description": "named sets of changes",
            "additionalProperties": {"type": "object"},
        },
        "figures": {
            "type": "array",
            "description": "figures of summary.json to draw",
            "items": {"type": "string"},
        },
    },
    "additionalProperties": {"type": "array", "minItems": 1},
}


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a scenario file, with or without a ``sweep`` block."""
    found = model.Scenario.model_json_schema()
    found["required"] = [key for key in found["required"] if key != "name"]  # the file's name by default
    _allow_words(found)
    found["properties"]["sweep"] = _SWEEP
    return {"$schema": DIALECT, **found, "title": "fedsim scenario"}


def _allow_words(node: Any) -> None:
    """Let each block of :data:`_SHORT` be one of its words too, in place."""
    if isinstance(node, dict):
        for key, value in node.items():
            name = value.get("$ref", "").rpartition("/")[2] if isinstance(value, dict) else ""
            if name in _SHORT:
                node[key] = {"anyOf": [{"enum": _words(name)}, value]}
            else:
                _allow_words(value)
    elif isinstance(node, list):
        for value in node:
            _allow_words(value)


def _words(name: str) -> list[str]:
    """The words that are a whole block, with no other key beside them."""
    block, key = getattr(model, name), _SHORT[name]
    words: list[str] = list(block.model_json_schema()["properties"][key]["enum"])
    return [word for word in words if _is_whole(block, {key: word})]


def _is_whole(block: type[model.Block], data: dict[str, str]) -> bool:
    try:
        block.model_validate(data)
    except ValidationError:
        return False
    return True

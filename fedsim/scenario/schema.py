"""The JSON schema of a scenario or sweep file, for editors that complete and check YAML.

It is made from the options that rooms and plug-ins declare, so that it cannot say anything else than
they do; where a block is one of several choices, it offers the keys of the chosen one. It knows nothing of
what lies beyond one key: whether shares add up, or whether a device exists.
"""

from __future__ import annotations

from typing import Any

from fedsim import checks
from fedsim.scenario.model import Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"
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
    found = checks.schema(Scenario)
    found["required"] = [key for key in found["required"] if key != "name"]  # the file's name by default
    found["properties"]["sweep"] = _SWEEP
    return {"$schema": DIALECT, **found, "title": "fedsim scenario"}

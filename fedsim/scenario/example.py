"""A first scenario with every key explained, made from the models: what ``fedsim init`` writes.

Keys of the sample stand as they are; every other key stands commented out with its default.
"""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fedsim import yamlfile
from fedsim.scenario import model

WIDTH = 44  # where explanations begin

SAMPLE: dict[str, Any] = {
    "description": "Can my devices train this model together, and how long does it take?",
    "seed": 1,
    "fleet": {
        "clients": 100,
        "mix": [
            {"device": "jetson-orin-nano-super", "share": 0.3, "link": "wifi", "speed_spread": 0.05},
            {"device": "raspberry-pi-5", "share": 0.3, "link": "ethernet"},
            {
                "device": "snapdragon-8-gen-3",
                "share": 0.4,
                "link": "5g",
                "availability": "overnight",
                "pressure": "phone",
            },
        ],
    },
    "workload": {"corpus": "common-voice-it-7", "max_seconds": 15},
    "training": {"model": "wav2vec2-base", "precision": "mixed", "batch_size": 4, "on_oom": "shrink-batch"},
    "rounds": {"count": 50, "cohort": 20, "close": {"policy": "deadline", "after": "2h"}},
    "server": {"uplink": "1Gbps", "downlink": "1Gbps"},
}

LEARNING: dict[str, Any] = {
    "model": "wav2vec2-tiny",
    "corpus": {"kind": "espeak", "speakers": 40, "minutes": 30},
    "clients_per_round": 8,
    "evaluate_every": 5,
}


def example(name: str, learning: bool = False) -> str:
    """A scenario file as text.

    Args:
        name: the scenario's name.
        learning: whether models are really trained; if not, that block is commented out.
    """
    sample = {"name": name, **SAMPLE, **({"learning": LEARNING} if learning else {})}
    head = [
        "# A scenario of fedsim. Keys that are commented out stand at their default.",
        f"#   fedsim validate {name}.yaml     is it right, and who fits?",
        f"#   fedsim describe {name}.yaml     what will happen?",
        f"#   fedsim run {name}.yaml          make it happen",
    ]
    return "\n".join([*head, *_block(model.Scenario, sample, "", False)]) + "\n"


def _block(block: type[BaseModel], sample: dict[str, Any], indent: str, asleep: bool) -> list[str]:
    lines: list[str] = []
    for key, field in block.model_fields.items():
        inner = _inner(field)
        given = sample.get(key)
        off = asleep or key not in sample
        if key == "mix":
            lines += [_line(f"{indent}mix:", field.description, off), *_mix(given or [], indent + "  ")]
        elif inner is not None and not isinstance(given, str) and (given is not None or indent == ""):
            if indent == "":
                lines.append("")
            lines.append(_line(f"{indent}{key}:", field.description or _first(inner), off))
            lines += _block(inner, given or {}, indent + "  ", off)
        else:
            value = given if given is not None else field.get_default()
            value = _plain(value)
            lines.append(_line(f"{indent}{key}: {_flow(value)}".rstrip(), _said(field), off))
    return lines


def _mix(entries: list[dict[str, Any]], indent: str) -> list[str]:
    lines = [f"{indent}- {_flow(entry)}" for entry in entries]
    return [
        *lines,
        f"{indent}# an entry may have:",
        *(
            _line(f"{indent}  {key}: {_flow(_plain(field.get_default()))}".rstrip(), text, True)
            for key, field in model.MixEntry.model_fields.items()
            if not field.is_required()
            for text in [field.description or _first(_inner(field))]
        ),
    ]


def _said(field: FieldInfo) -> str:
    """The description, and the words that are accepted if it does not name them."""
    said = field.description or ""
    kinds = [field.annotation, *typing.get_args(field.annotation)]
    words = [w for kind in kinds if typing.get_origin(kind) is typing.Literal for w in typing.get_args(kind)]
    if all(word in said for word in words):
        return said
    return f"{said}: {', '.join(words)}"


def _line(text: str, said: str | None, off: bool) -> str:
    if off:
        inside = text.lstrip()
        text = f"{text[: len(text) - len(inside)]}# {inside}"
    return f"{text:<{WIDTH}}  # {said}" if said else text


def _flow(value: Any) -> str:
    """A value on one line; nothing for a value that there is none of."""
    return "" if value is None else yamlfile.dump([value], flow=True).strip()[1:-1]


def _plain(value: Any) -> Any:
    """A default as a person would write it: a block of one word as that word."""
    if isinstance(value, BaseModel):
        data = value.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        rest = value.model_dump(mode="json", exclude_none=True)
        return next(iter(rest.values())) if not data and len(rest) == 1 else rest
    return value


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a block, if the field is one."""
    kinds = [field.annotation, *typing.get_args(field.annotation)]
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _first(inner: type[BaseModel] | None) -> str:
    text = (inner.__doc__ or "").split("\n")[0].rstrip(".") if inner is not None else ""
    return text[:1].lower() + text[1:]

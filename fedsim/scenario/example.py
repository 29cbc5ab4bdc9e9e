"""A first scenario with every key explained, made from the models: what ``fedsim init`` writes.

Keys of the sample stand as they are; every other key stands commented out with its default.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from fedsim import checks, yamlfile
from fedsim.options import Choice, OneOf, Options
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


def example(name: str, learning: bool = False, file: str | None = None) -> str:
    """A scenario file as text.

    Args:
        name: the scenario's name.
        learning: whether models are really trained; if not, that block is commented out.
        file: what it will be written to, as a shell takes it; by default ``<name>.yaml``.
    """
    file = file or f"{name}.yaml"
    sample = {"name": name, **SAMPLE, **({"learning": LEARNING} if learning else {})}
    head = [
        "# A scenario of fedsim. Keys that are commented out stand at their default.",
        f"#   fedsim validate {file}     is it right, and who fits?",
        f"#   fedsim describe {file}     what will happen?",
        f"#   fedsim run {file}          make it happen",
    ]
    return "\n".join([*head, *_block(model.Scenario, sample, "", False)]) + "\n"


def _block(block: type, sample: dict[str, Any], indent: str, asleep: bool) -> list[str]:
    lines: list[str] = []
    hints = typing.get_type_hints(block, include_extras=True)
    for field in dataclasses.fields(block):
        key, said = field.name, field.metadata.get("description", "")
        given = sample.get(key)
        off = asleep or key not in sample
        inner = _inner(hints[key])
        if key == getattr(block, "flat", None):  # the chosen class's keys stand here, beside the others
            names = ", ".join(_mark(hints[key]).choices())
            word = given or field.default.name
            lines.append(_line(f"{indent}{key}: {word}", f"{said}: {names}", off))
            lines += _block(type(field.default), sample, indent, asleep)
        elif isinstance(field.default, str) and key == getattr(block, "key", None):
            continue  # said already
        elif key == "mix":
            lines += [_line(f"{indent}mix:", said, off), *_mix(given or [], indent + "  ")]
        elif inner is not None and (given is not None or indent == ""):
            if indent == "":
                lines.append("")
            lines.append(_line(f"{indent}{key}:", said, off))
            lines += _block(inner, given or {}, indent + "  ", off)
        else:
            text = _flow(given if given is not None else _default(field))
            lines.append(_line(f"{indent}{key}: {text}".rstrip(), _said(said, hints[key]), off))
    return lines


def _mix(entries: list[dict[str, Any]], indent: str) -> list[str]:
    lines = [f"{indent}- {_flow(entry)}" for entry in entries]
    hints = typing.get_type_hints(model.MixEntry, include_extras=True)
    optional = [f for f in dataclasses.fields(model.MixEntry) if f.default is not dataclasses.MISSING]
    return [
        *lines,
        f"{indent}# an entry may have:",
        *(
            _line(f"{indent}  {f.name}: {_flow(_default(f))}".rstrip(), said, True)
            for f in optional
            for said in [_said(f.metadata["description"], hints[f.name])]
        ),
    ]


def _said(said: str, annotation: Any) -> str:
    """The description, and the words that are accepted if it does not name them, with their keys."""
    words = _words(annotation)
    return said if all(word in said for word in words) else f"{said}: {', '.join(words)}"


def _words(annotation: Any) -> list[str]:
    if isinstance(annotation, OneOf):
        return [_with_keys(name, choice) for name, choice in annotation.choices().items()]
    if typing.get_origin(annotation) is typing.Literal:
        return [word for word in typing.get_args(annotation) if isinstance(word, str)]
    return [word for part in typing.get_args(annotation) for word in _words(part)]


def _mark(annotation: Any) -> OneOf:
    return next(mark for mark in annotation.__metadata__ if isinstance(mark, OneOf))


def _with_keys(name: str, choice: Any) -> str:
    keys = [field.name for field in dataclasses.fields(choice) if field.name != choice.key]
    return f"{name} ({', '.join(keys)})" if keys else name


def _line(text: str, said: str | None, off: bool) -> str:
    if off:
        inside = text.lstrip()
        text = f"{text[: len(text) - len(inside)]}# {inside}"
    return f"{text:<{WIDTH}}  # {said}" if said else text


def _flow(value: Any) -> str:
    """A value on one line; nothing for a value that there is none of."""
    return "" if value is None else yamlfile.dump([value], flow=True).strip()[1:-1]


def _default(field: dataclasses.Field[Any]) -> Any:
    """A default as a person would write it: a choice without options as its name."""
    value = field.default
    if value is dataclasses.MISSING:
        value = None if field.default_factory is dataclasses.MISSING else field.default_factory()
    if isinstance(value, Choice):
        data = checks.dump(value)
        return data[value.key] if len(data) == 1 else data
    return list(value) if isinstance(value, tuple) else value


def _inner(annotation: Any) -> type | None:
    """The class of a block, if the field is one and not one of several choices."""
    kinds = [kind for kind in (annotation, *typing.get_args(annotation)) if isinstance(kind, type)]
    return next((k for k in kinds if issubclass(k, Options) and not issubclass(k, Choice)), None)

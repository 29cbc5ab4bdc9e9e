"""Options: how a choice declares what can be set about it, in one place.

An option is a field of a frozen dataclass that derives from :class:`Options`. Its type, default, bounds
and meaning stand in the declaration, beside the code that uses them; scenario files, hardware files,
the JSON schema, the guide and a plug-in's keys all follow from it (:mod:`fedsim.checks` reads it).

    @dataclass(frozen=True)
    class Deadline(Completion):
        '''Close when time is up.'''

        policy: Literal["deadline"] = kind("deadline")
        after: Duration = option(description="how long a round may take")

Where a file may choose among several classes, the field says so with :func:`one_of`; the classes that
plug-ins add (:mod:`fedsim.plugins`) are choices like any other. Nothing here imports pydantic until
something is checked, so that a room can declare its options and stay light.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, TypeVar

from fedsim import plugins, units
from fedsim.errors import CONTROL

_SCALARS = ("float", "str", "bool")


class Options:
    """Base of every class of options: unknown keys are refused, and so is text where a number belongs.

    Attributes:
        flat: a field with :func:`one_of` whose keys stand beside those of this class, as they do in
            ``learning: {task: wav2vec2, corpus: ..., clients_per_round: 8}``. It has the name of its
            base's key, and a default.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    flat: ClassVar[str | None] = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        schema = _strictly(handler(source))
        return schema if cls.flat is None else cls._one_of(cls.flat).lay_flat(cls, schema)

    @classmethod
    def _one_of(cls, field: str) -> OneOf:
        """The mark of a field that takes one of several classes."""
        annotation = typing.get_type_hints(cls, include_extras=True)[field]
        return next(mark for mark in annotation.__metadata__ if isinstance(mark, OneOf))


class Choice(Options):
    """Base of the classes that a file chooses among, such as all completion policies.

    Attributes:
        key: the key whose value names the class, a field made with :func:`kind`.
        point: what they are, in the words of an error or a plug-in: ``completion policy``.
        short: whether a file may also write ``{last: 2}`` or ``last:2`` for ``{kind: last, layers: 2}``,
            where ``layers`` is the first field, and ``{lora: {rank: 8}}`` for ``{kind: lora, rank: 8}``.
    """

    key: ClassVar[str] = "kind"
    point: ClassVar[str]
    short: ClassVar[bool] = False

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        schema = super().__get_pydantic_core_schema__(source, handler)
        for fields in (schema["schema"]["fields"], schema["fields"]) if schema["type"] == "dataclass" else ():
            fields.sort(key=lambda field: (field if isinstance(field, str) else field["name"]) != cls.key)
        return schema

    @property
    def name(self) -> str:
        """The word by which a file chooses its class."""
        return name_of(type(self))

    def __reduce__(self) -> Any:
        return plugins.reduce(self) or super().__reduce__()


def option(
    default: Any = dataclasses.MISSING,
    description: str = "",
    *,
    factory: Callable[[], Any] | None = None,
    right: str | None = None,
    **bounds: Any,
) -> Any:
    """A field of a class of options.

    Args:
        default: its value where none is given; without one it is required.
        description: what it means, in a few words.
        factory: makes the default, where that must not be shared.
        right: what would be right, as an error says it (``give ...``); by default it follows from
            the type and the bounds.
        bounds: ``ge``, ``gt``, ``le``, ``lt``, ``pattern``, ``min_length``, ``max_length``.
    """
    metadata = {"description": description, **bounds} if description else bounds
    if right is not None:
        metadata["right"] = right
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def kind(name: str, description: str = "") -> Any:
    """The field by whose value a file chooses this class; its type is ``Literal[name]``."""
    metadata = {"description": description} if description else {}
    return dataclasses.field(default=name, kw_only=True, metadata=metadata)


def name_of(choice: type) -> str:
    """The word by which a file chooses a class."""
    word: str = choice.__dataclass_fields__[choice.key].default  # type: ignore[attr-defined]
    return word


@dataclasses.dataclass(frozen=True)
class OneOf:
    """The mark of a field that takes one of several classes; see :func:`one_of`."""

    base: type[Choice]
    built_in: tuple[type, ...]
    default: str | None = None

    def choices(self) -> dict[str, type]:
        """The classes by name, those of plug-ins last."""
        found: dict[str, type] = {name_of(cls): cls for cls in self.built_in}
        for cls in plugins.of(self.base):
            if name_of(cls) in found:
                raise plugins.PluginError(f"{name_of(cls)!r} is a {self.base.point} of fedsim's own")
            found[name_of(cls)] = cls
        return found

    def whole(self) -> list[str]:
        """The names that say everything, since nothing else of them is required."""
        return [
            name
            for name, cls in self.choices().items()
            if not any(
                f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
                for f in dataclasses.fields(cls)
            )
        ]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        union = core_schema.tagged_union_schema(
            {name: handler.generate_schema(cls) for name, cls in self.choices().items()},
            discriminator=self.base.key,
        )
        return core_schema.no_info_before_validator_function(self._read, union)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        forms = [{"enum": self.whole()}, handler(schema)]
        if self.base.short:
            names = list(self.choices())
            forms.append({"type": "string", "pattern": f"^({'|'.join(names)}):[0-9]+$"})
            named = {"propertyNames": {"enum": names}, "minProperties": 1, "maxProperties": 1}
            forms.append({"type": "object", **named})
        return {"anyOf": forms}

    def _unfolded(self, value: Any) -> Any:
        """``last:2`` and ``{last: 2}`` as ``{kind: last, layers: 2}``; what is of another form as it is."""
        if isinstance(value, str) and ":" in value:
            name, _, rest = value.partition(":")
            value = {name: int(rest) if rest.isascii() and rest.isdigit() else rest}
        if not isinstance(value, dict) or len(value) != 1:
            return value
        ((name, inner),) = value.items()
        chosen = self.choices().get(str(name))
        if name == self.base.key or chosen is None:
            return value if name == self.base.key else {self.base.key: name}
        if isinstance(inner, dict):
            return {self.base.key: name, **inner}
        return {self.base.key: name, dataclasses.fields(chosen)[0].name: inner}

    def lay_flat(self, block: type, schema: Any) -> Any:
        """Let the chosen class's keys stand beside those of ``block``, in files and in the JSON schema."""
        from pydantic_core import core_schema

        key, own = self.base.key, {f.name for f in dataclasses.fields(block)}

        def gather(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            chosen = {name: inner for name, inner in value.items() if name not in own or name == key}
            rest = {name: inner for name, inner in value.items() if name in own}
            return {**rest, key: {key: self.default, **chosen}}

        def spread(value: Any, handler: Any) -> Any:
            written = handler(value)
            return {**written.pop(key), **written}

        return core_schema.no_info_before_validator_function(
            gather,
            schema,
            serialization=core_schema.wrap_serializer_function_ser_schema(spread),
            metadata={"pydantic_js_functions": [lambda inner, handler: self._flat_schema(inner, handler)]},
        )

    def _flat_schema(self, schema: Any, handler: Any) -> dict[str, Any]:
        """One object schema a choice: the block's own keys and that choice's."""
        key = self.base.key
        outer = handler.resolve_ref_schema(handler(schema))
        union = outer["properties"].pop(key)["anyOf"][1]
        made = []
        for name, reference in union["discriminator"]["mapping"].items():
            inner = handler.resolve_ref_schema({"$ref": reference})
            needed = [*outer.get("required", []), *inner.get("required", [])]
            made.append(
                {
                    "title": name,
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {**inner["properties"], **outer["properties"]},
                    "required": needed if name == self.default else [key, *needed],
                }
            )
        return {"description": outer.get("description", ""), "oneOf": made}

    def _read(self, value: Any) -> Any:
        """Read the short form ``close: wait-all`` as ``{policy: wait-all}``, and no name as the default."""
        if self.base.short:
            value = self._unfolded(value)
        if isinstance(value, str):
            return {self.base.key: value}
        if isinstance(value, dict) and self.base.key not in value and self.default is not None:
            return {self.base.key: self.default, **value}
        return value


C = TypeVar("C", bound=Choice)


def choices_in(room: str, base: type[C]) -> tuple[type[C], ...]:
    """The classes of a package that a file may choose: whatever its modules define, by name of the module.

    To add one is to add its file.

    Args:
        room: the name of the package; its own modules and packages are imported.
        base: what the classes have in common.
    """
    found: list[type[C]] = []
    for module in sorted(pkgutil.iter_modules(sys.modules[room].__path__), key=lambda module: module.name):
        for cls in vars(importlib.import_module(f"{room}.{module.name}")).values():
            if (
                isinstance(cls, type)
                and issubclass(cls, base)
                and base.key in getattr(cls, "__dataclass_fields__", ())
            ):
                found.append(cls)
    return tuple(dict.fromkeys(found))


def one_of(base: type[Choice], built_in: Sequence[type], default: str | None = None) -> OneOf:
    """Mark a field, ``Annotated[Base, one_of(Base, CHOICES)]``, as taking one of several classes.

    Args:
        base: what they have in common.
        built_in: the classes that fedsim brings; those of plug-ins come to them.
        default: the name that is meant where a block gives options and no name.
    """
    return OneOf(base, tuple(built_in), default)


@dataclasses.dataclass(frozen=True)
class Quantity:
    """The mark of a float in SI units that files write with a unit: ``6h``, ``380MB``.

    Written back it reads as a person would write it, and read again it gives the same float.

    Args:
        parse: text or number to SI; raises ValueError.
        factors: SI units in each unit that is written, by its symbol.
        examples: for editors.
        word: that stands for infinity, if one does.
        above: whether zero is refused, too.
    """

    parse: Callable[[object], float]
    factors: tuple[tuple[str, float], ...]
    examples: tuple[str, ...]
    word: str | None = None
    above: bool = True

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(
            self._read,
            {**handler(source), "strict": True, "allow_inf_nan": self.word is not None},
            serialization=core_schema.plain_serializer_function_ser_schema(self.write),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        pattern = r"^[0-9.]+([eE][-+]?[0-9]+)? ?[A-Za-zµ/]+$"
        if self.word is not None:
            pattern = f"^{self.word}$|{pattern}"
        number = {"type": "number", "exclusiveMinimum" if self.above else "minimum": 0}
        return {"anyOf": [{"type": "string", "pattern": pattern}, number], "examples": list(self.examples)}

    def _read(self, value: object) -> float:
        if self.word is not None and value in (self.word, math.inf):
            return math.inf
        number = self.parse(value)
        if self.above and number <= 0:
            raise ValueError(f"{value!r} is not above zero")
        if number < 0:
            raise ValueError(f"{value!r} is below zero")
        return number

    def write(self, value: float | None) -> object:
        """The shortest text that reads back as the same float, else the float."""
        if value is None:
            return None
        if value == math.inf and self.word is not None:
            return self.word
        for unit, factor in sorted(self.factors, key=lambda item: -item[1]):
            text = f"{value / factor:.12g}{unit}"
            if abs(value) >= factor and len(text) <= 10 and self.parse(text) == value:
                return text
        return value


_DURATION = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86400.0))
_SIZE = (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9))
_RATE = (("kbps", 125.0), ("Mbps", 125e3), ("Gbps", 125e6))

Duration = Annotated[float, Quantity(units.parse_duration_s, _DURATION, ("90s", "6h"))]
Size = Annotated[float, Quantity(units.parse_bytes, _SIZE, ("380MB", "4GiB"))]
DurationOrZero = Annotated[float, Quantity(units.parse_duration_s, _DURATION, ("90s", "6h"), above=False)]
"""A duration that may be zero, such as a time of day."""
SizeOrZero = Annotated[float, Quantity(units.parse_bytes, _SIZE, ("380MB", "4GiB"), above=False)]
"""A size that may be zero."""
Energy = Annotated[float, Quantity(units.parse_j, (("J", 1.0), ("Wh", 3600.0)), ("15Wh",))]
Power = Annotated[float, Quantity(units.parse_w, (("W", 1.0),), ("10W",))]
PowerOrZero = Annotated[float, Quantity(units.parse_w, (("W", 1.0),), ("10W",), above=False)]
"""A power that may be zero, such as what an idle device draws."""
Rate = Annotated[float, Quantity(units.parse_bytes_per_s, _RATE, ("20Mbps", "1Gbps"), word="unlimited")]
"""Bytes per second; ``unlimited`` is infinite."""
Bandwidth = Annotated[float, Quantity(units.parse_bytes_per_s, (("GB/s", 1e9),), ("59.7GB/s",))]
"""Bytes per second of a memory."""
FlopRate = Annotated[float, Quantity(units.parse_flops_per_s, (("GFLOP/s", 1e9),), ("845GFLOP/s",))]
"""FLOP per second."""
Clock = Annotated[float, Quantity(units.parse_hz, (("MHz", 1e6), ("GHz", 1e9)), ("612MHz", "1.3GHz"))]
"""Cycles per second."""
Doubling = Annotated[float, Quantity(units.parse_years, (), (), word="never")]
"""Years; ``never`` is infinite."""


class _Text:
    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {**handler(source), "strip_whitespace": True, "min_length": 1}


class _Name:
    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._check, handler(source))

    @staticmethod
    def _check(value: str) -> str:
        if CONTROL.search(value):
            raise ValueError(f"{value!r} holds a control character")
        return value


Text = Annotated[str, _Text()]
"""Text that is not blank."""
Name = Annotated[str, _Name()]
"""Text without control characters, so that it can be shown anywhere."""


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The mark of a number within bounds, inside a list: ``tuple[Annotated[float, Bounds(ge=0)], ...]``."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        bounds = {name: value for name, value in vars(self).items() if value is not None}
        return {**handler(source), **bounds}


class OrBlock:
    """The mark of a value that is plain or a block: ``Annotated[int | Spread, OrBlock()]``.

    Which of the two is meant follows from what stands there, so that a complaint is about that one.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        plain, block = typing.get_args(source)
        return core_schema.tagged_union_schema(
            {PLAIN: handler.generate_schema(plain), block.__name__: handler.generate_schema(block)},
            discriminator=lambda value: block.__name__ if isinstance(value, (dict, block)) else PLAIN,
        )


PLAIN = "plain"
"""The branch of a value that is not a block."""


def _whole(value: Any) -> Any:
    """A float that is a whole number as an int; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _strictly(schema: Any) -> Any:
    """Make every scalar of a core schema strict, in place: no text for a number, no NaN, no 1 for true.

    A whole number may be written as ``1e6`` or ``10.0``.
    """
    if isinstance(schema, dict):
        if schema.get("type") == "function-before" and schema["function"]["function"] is _whole:
            return schema  # one that was made strict already, as part of another class
        if schema.get("type") == "int":
            from pydantic_core import core_schema

            number = {**schema, "strict": True}
            schema.clear()
            schema.update(core_schema.no_info_before_validator_function(_whole, number))
            return schema
        if schema.get("type") in _SCALARS:
            schema.setdefault("strict", True)
        if schema.get("type") == "float":
            schema.setdefault("allow_inf_nan", False)
        for part in schema.values():
            _strictly(part)
    elif isinstance(schema, (list, tuple)):
        for part in schema:
            _strictly(part)
    return schema

"""Options are declared once; what is wrong with a file is one sentence that follows from them."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim import checks
from fedsim.errors import InputError, ScenarioError
from fedsim.options import Bounds, Choice, Duration, Options, OrBlock, Rate, Size, kind, one_of, option


class Shape(Choice):
    point = "shape"
    key = "shape"


@dataclass(frozen=True)
class Round(Shape):
    shape: Literal["round"] = kind("round")


@dataclass(frozen=True)
class Square(Shape):
    side: float = option(description="in metres", gt=0)
    shape: Literal["square"] = kind("square")


@dataclass(frozen=True)
class Oblong(Shape):
    wide: float = option(2.0, "in metres", gt=0)
    high: float = option(1.0, "in metres", gt=0)
    shape: Literal["oblong"] = kind("oblong")

    def __post_init__(self) -> None:
        if self.wide <= self.high:
            raise ValueError(f"{self.wide:g} m is not wider than {self.high:g} m")


SHAPES = (Round, Square, Oblong)


@dataclass(frozen=True)
class Tile(Options):
    count: int = option(description="how many", ge=1)
    shape: Annotated[Shape, one_of(Shape, SHAPES, default="round")] = Round()
    lasts: Duration | None = option(None, "how long")
    size: Size = option(1e6, "of the file")
    rate: Rate = option(math.inf, "of the link")
    corners: tuple[Annotated[float, Bounds(ge=-18, le=18)], ...] = option((0.0,), "where", min_length=1)
    colour: str = option("red", "of it", right="a colour such as red")
    glazed: bool | Literal["twice"] = option(False, "or twice")
    tiles: tuple[Square, ...] = option((), "more")


def read(**data):
    return checks.check(Tile, data, file="tiles.yaml", error=ScenarioError)


def test_what_is_right_is_read_and_written_back():
    found = read(count=3, shape={"shape": "square", "side": 2}, lasts="6h", size="380MB", rate="unlimited")
    assert found == Tile(3, Square(2.0), 21_600.0, 380e6, math.inf)
    assert checks.dump(found) == {
        "count": 3,
        "shape": {"shape": "square", "side": 2.0},
        "lasts": "6h",
        "size": "380MB",
        "rate": "unlimited",
        "corners": [0.0],
        "colour": "red",
        "glazed": False,
        "tiles": [],
    }
    assert list(checks.dump(found)["shape"]) == ["shape", "side"]
    assert read(**checks.dump(found)) == found
    assert read(count=1, shape="round").shape == Round()
    assert read(count=1, shape={"shape": "oblong"}).shape == Oblong()


SENTENCES = [
    ({}, "count: is missing and has no default (how many)"),
    ({"count": True}, "count: True is not a whole number"),
    ({"count": 2.5}, "count: 2.5 is not a whole number"),
    ({"count": "2"}, "count: '2' is not a whole number"),
    ({"count": 0}, "count: 0 is not at least 1"),
    ({"cuont": 1}, "cuont: 'cuont' is not a known key; did you mean 'count'?"),
    ({"count": 1, "shape": "flat"}, "shape.shape: 'flat' is not one of 'round', 'square' or 'oblong'"),
    ({"count": 1, "shape": "square"}, "shape: 'square' needs the key 'side' beside it"),
    ({"count": 1, "shape": {"side": 2}}, "shape: the key 'side' belongs to square, not to 'round'"),
    (
        {"count": 1, "shape": {"shape": "oblong", "wdie": 2}},
        "shape.wdie: 'wdie' is not a known key; did you mean 'wide'?",
    ),
    ({"count": 1, "shape": {"shape": "square", "side": -1.0}}, "shape.side: -1.0 is not above 0"),
    ({"count": 1, "shape": {"shape": "oblong", "high": 5.0}}, "shape: 2 m is not wider than 5 m"),
    ({"count": 1, "shape": 3}, "shape: 3 is not a block"),
    ({"count": 1, "lasts": "0s"}, "lasts: '0s' is not above zero"),
    ({"count": 1, "corners": [3, 19]}, "corners[1]: 19 is not at most 18"),
    ({"count": 1, "corners": ["x"]}, "corners[0]: 'x' is not a number"),
    ({"count": 1, "corners": 3}, "corners: 3 is not a list"),
    ({"count": 1, "size": float("nan")}, "size: "),
    ({"count": 1, "colour": 3}, "colour: is 3; give a colour such as red"),
    ({"count": 1, "glazed": "thrice"}, "glazed: "),
    ({"count": 1, "tiles": [{"side": 1}, {"sdie": 1}]}, "tiles[1].sdie: 'sdie' is not a known key"),
    ({"count": 1, "tiles": [{"side": 1}, {}]}, "tiles[1].side: is missing and has no default (in metres)"),
    ({"count": 1, "tiles": [7]}, "tiles[0]: 7 is not a block with the keys side, shape"),
]


@pytest.mark.parametrize(("data", "sentence"), SENTENCES, ids=[s[:40] for _, s in SENTENCES])
def test_what_is_wrong_is_one_sentence(data, sentence):
    with pytest.raises(ScenarioError) as fault:
        read(**data)
    assert str(fault.value).startswith(f"tiles.yaml: {sentence}")


@dataclass(frozen=True)
class Floor(Options):
    """A block whose shape's keys stand beside its own."""

    flat = "shape"

    area: float = option(description="of it", gt=0)
    shape: Annotated[Shape, one_of(Shape, SHAPES, default="oblong")] = Oblong()


@dataclass(frozen=True)
class House(Options):
    floor: Floor | None = option(None, "of stone")


def test_keys_of_a_flat_choice_stand_beside_those_of_its_block():
    found = checks.check(House, {"floor": {"area": 3, "wide": 4}})
    assert found == House(Floor(3.0, Oblong(4.0)))
    assert checks.dump(found) == {"floor": {"shape": "oblong", "wide": 4.0, "high": 1.0, "area": 3.0}}
    assert checks.check(House, checks.dump(found)) == found
    assert checks.check(House, {"floor": {"shape": "round", "area": 3}}).floor.shape == Round()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"wide": 4}, "floor.area: is missing and has no default (of it)"),
        ({"area": 3, "wide": -4}, "floor.wide: -4 is not above 0"),
        ({"area": 3, "wdie": 4}, "floor.wdie: 'wdie' is not a known key; did you mean 'wide'?"),
        ({"aera": 3}, "floor.aera: 'aera' is not a known key; did you mean 'area'?"),
        ({"area": 3, "side": 4}, "floor: the key 'side' belongs to square, not to 'oblong'"),
        ({"area": 3, "shape": "square"}, "floor: 'square' needs the key 'side' beside it"),
        ({"area": 3, "shape": "flat"}, "floor.shape: 'flat' is not one of 'round', 'square' or 'oblong'"),
        ({"area": 3, "shape": 3}, "floor.shape: 3 is not one of 'round', 'square' or 'oblong'"),
        (3, "floor: 3 is not a block with the keys area, shape"),
    ],
)
def test_what_is_wrong_in_a_flat_block_is_one_sentence(data, sentence):
    with pytest.raises(ScenarioError) as fault:
        checks.check(House, {"floor": data}, error=ScenarioError)
    assert str(fault.value).startswith(sentence)


def test_the_schema_of_a_flat_block_is_one_object_a_choice():
    options = checks.schema(House)["properties"]["floor"]["anyOf"][0]["oneOf"]
    assert [sorted(one["properties"]) for one in options] == [
        ["area", "shape"],
        ["area", "shape", "side"],
        ["area", "high", "shape", "wide"],
    ]
    assert [one["required"] for one in options] == [["shape", "area"], ["shape", "area", "side"], ["area"]]


def test_the_schema_offers_the_keys_of_the_chosen_class():
    found = checks.schema(Tile)
    words, union = found["properties"]["shape"]["anyOf"]
    assert words == {"enum": ["round", "oblong"]}
    assert union["discriminator"]["propertyName"] == "shape"
    assert set(found["$defs"]["Square"]["properties"]) == {"side", "shape"}
    assert found["$defs"]["Square"]["additionalProperties"] is False
    assert found["properties"]["count"]["minimum"] == 1


@given(st.floats(min_value=1e-3, max_value=1e12))
def test_a_quantity_reads_back_as_the_same_float(value):
    for made in (Tile(1, lasts=value), Tile(1, size=value), Tile(1, rate=value)):
        assert read(**checks.dump(made)) == made


def test_declaring_options_imports_nothing_heavy():
    code = "import sys, fedsim.options; print({'pydantic', 'pydantic_core', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@dataclass(frozen=True)
class Range(Options):
    low: int = option(ge=0)
    high: int = option(9)


@dataclass(frozen=True)
class Either(Options):
    one: Annotated[Annotated[int, Bounds(ge=1)] | Range, OrBlock()] = option(1)
    many: dict[str, Annotated[str | Range, OrBlock()]] = option(factory=dict)


@pytest.mark.parametrize(
    "data", [{"one": 3}, {"one": {"low": 2, "high": 5}}, {"many": {"a": "b", "c": {"low": 1}}}]
)
def test_a_value_or_a_block_reads_back(data):
    found = checks.check(Either, data)
    assert checks.check(Either, checks.dump(found)) == found
    assert isinstance(found.one, int if data.get("one", 3) == 3 else Range)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"one": 0}, "one: 0 is not at least 1"),
        ({"one": "x"}, "one: 'x' is not a whole number"),
        ({"one": {"low": -1}}, "one.low: -1 is not at least 0"),
        ({"one": {}}, "one.low: is missing"),
        ({"many": {"a": {"lo": 1}}}, "many.a.lo: 'lo' is not a known key; did you mean 'low'"),
        ({"many": {"a": 3}}, "many.a: 3 is not text"),
    ],
)
def test_a_complaint_is_about_the_value_or_about_the_block(data, said):
    with pytest.raises(InputError) as fault:
        checks.check(Either, data)
    assert said in str(fault.value)

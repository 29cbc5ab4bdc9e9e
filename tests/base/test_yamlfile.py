import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedsim import yamlfile
from fedsim.errors import InputError, ScenarioError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("312e12", 312e12),
        ("no", "no"),
        ("1:30", "1:30"),
        ("010", 10),
        ("2022-01-01", "2022-01-01"),
        ("true", True),
        ("~", None),
        ("6h", "6h"),
        ("'1'", "1"),
        ("[1, 2.5]", [1, 2.5]),
        ("", None),
    ],
)
def test_scalars_mean_what_a_person_means(text, value):
    read = yamlfile.parse(text, "x.yaml")
    assert read == value
    assert type(read) is type(value)


def test_a_duplicate_key_names_its_path_and_line():
    with pytest.raises(ScenarioError, match=r"^x\.yaml: fleet\.clients: is given twice \(again on line 3\)"):
        yamlfile.parse("fleet:\n  clients: 1\n  clients: 2\n", "x.yaml", ScenarioError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [1]\nb: *x", "anchor"),
        ("a: !!python/object:os.system x", "tag"),
        ("a: [1", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("- " * 10_000 + "1", "nested"),
        ("[" * 10_000, "nested"),
        ("{1: 2}: 3", "key that is not plain text"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_what_no_file_needs_is_refused_in_one_sentence(text, message):
    with pytest.raises(InputError, match=message) as fault:
        yamlfile.parse(text, "x.yaml")
    assert str(fault.value).startswith("x.yaml: ")
    assert "\n" not in str(fault.value)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read"):
        yamlfile.load(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        yamlfile.load(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: caff\xe8")
    with pytest.raises(InputError, match="not UTF-8"):
        yamlfile.load(latin)
    large = tmp_path / "large.yaml"
    with large.open("wb") as handle:
        handle.truncate(10**9)
    with pytest.raises(InputError, match=r"is too large: 1,000 MB where 0\.5 MB is the most"):
        yamlfile.load(large)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**60), max_value=2**60)
    | st.floats(allow_nan=False)
    | st.text(st.characters(max_codepoint=0x2FF, exclude_categories=("Cc", "Cs")), max_size=20)
    | st.sampled_from(["no", "1e-3", "1e5", "010", "1:30", "~", "null", "true", "=", "<<", "6h", ".5"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), inner)
    ),
    max_leaves=12,
)


@given(plain)
def test_what_is_written_is_read_back_equal(data):
    again = yamlfile.parse(yamlfile.dump(data), "x.yaml")
    assert again == data
    if isinstance(data, float) and math.isfinite(data):
        assert isinstance(again, float)


WORDS = ["no", "Yes", "on", "off", "1:30", "2027-01-01", "0x1F", "1_000", "=", "<<", "~", "1e1", ".5", "010"]
PLAIN = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20)


@pytest.mark.parametrize("word", WORDS)
def test_text_that_is_something_else_to_another_reader_is_quoted(word):
    """PyYAML reads a plain ``no`` as False, ``1:30`` as 90 and ``2027-01-01`` as a date."""
    for flow in (False, True):
        text = yamlfile.dump({"name": word, word: [word]}, flow=flow)
        assert yaml.safe_load(text) == yamlfile.parse(text, "x.yaml") == {"name": word, word: [word]}


@given(
    st.recursive(
        PLAIN | st.sampled_from(WORDS) | st.integers() | st.floats(allow_nan=False) | st.booleans(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN, inner, max_size=4),
    )
)
def test_what_is_written_reads_alike_everywhere(data):
    text = yamlfile.dump({"a": data})
    assert yaml.safe_load(text) == yamlfile.parse(text, "x.yaml") == {"a": data}


def test_numbers_and_plain_words_stay_as_they_are():
    assert yamlfile.dump({"name": "small", "after": "6h", "n": 3, "x": 0.5, "y": True}) == (
        "name: small\nafter: 6h\nn: 3\nx: 0.5\ny: true\n"
    )

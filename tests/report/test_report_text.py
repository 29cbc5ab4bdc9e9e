"""How numbers and names are written."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim import words as said
from fedsim.report import text
from fedsim.report.closeup import sample
from fedsim.report.figures.convergence import round_ticks
from fedsim.report.figures.participation import edges
from fedsim.report.figures.rounds import bins
from fedsim.report.style import balanced, columns


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0%"), (1.0, "100%"), (0.0623, "6.2%"), (0.41, "41%"), (0.913, "91.3%"), (0.0004, "<0.1%"),
        (0.9996, ">99.9%"), (None, "–"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_shares(value, written):
    assert text.share(value) == written


def test_other_numbers():
    assert said.count(1234567) == "1,234,567"
    assert said.plural(1, "round") == "1 round"
    assert said.plural(1500, "client") == "1,500 clients"
    assert text.figure(2.8) == "2.80"
    assert text.figure(0.19149) == "0.191"
    assert text.figure(1234.6) == "1,235"
    assert text.figure(None) == "–"
    assert text.duration(0) == "0 s"
    assert text.duration(15.125 * 86400) == "15.1 days"
    assert text.duration(2.414 * 3600) == "2.41 h"
    assert text.size(-5.0) == "0 B"
    assert text.size(2.54e9) == "2.54 GB"
    assert text.energy(5.2e6) == "1.44 kWh"
    assert text.time_unit(3 * 86400) == (86400.0, "days")
    assert text.time_unit(0.0) == (1e-3, "milliseconds")
    assert text.size_unit(5e9) == (1e9, "GB")
    assert text.energy_unit(7.2e6) == (3.6e6, "kWh")


def test_names_stay_on_one_line():
    assert text.name("a\nb\x00c\u202e  d") == "a b c d"
    assert text.name("") == "?"
    assert len(text.name("x" * 100, 26)) == 26


def test_lists():
    assert text.listed([]) == ""
    assert text.listed(["a"]) == "a"
    assert text.listed(["a", "b"]) == "a and b"
    assert text.listed(["a", "b", "c"]) == "a, b and c"
    assert text.listed(["a", "b", "c", "d", "e"]) == "a, b and 3 more"


def test_dig():
    assert text.dig({"a": {"b": 3}}, "a", "b") == 3
    assert text.dig({"a": [1]}, "a", "b") is None
    assert text.dig(None, "a") is None


@given(st.integers(1, 100_000), st.integers(1, 200))
def test_bins_cover_every_round_once(size, most):
    edge = bins(size, most)
    assert edge[0] == 0
    assert edge[-1] == size
    assert len(edge) - 1 <= most
    widths = np.diff(edge)
    assert np.all(widths > 0)
    assert np.all(widths[:-1] == widths[0])


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 40))
def test_participation_bins_cover_every_count(smallest, more, most):
    edge = edges(smallest, smallest + more, most)
    assert edge[0] == smallest
    assert edge[-1] > smallest + more
    assert len(edge) - 1 <= most + 1


@given(st.lists(st.integers(0, 6), min_size=1, max_size=400), st.integers(10, 30))
def test_a_sample_of_a_cohort_keeps_what_matters(outcomes, most):
    codes = np.array(outcomes)
    kept = sample(codes, most)
    assert len(kept) <= max(most, 1)
    assert np.all(np.diff(kept) > 0)
    assert set(codes[kept]) == set(codes)
    assert len(codes) - 1 in kept
    if 0 in outcomes:
        assert int(np.flatnonzero(codes == 0)[-1]) in kept


@given(st.lists(st.sampled_from(["a", "round", "jetson-xavier-nx", "takes"]), min_size=1, max_size=40))
def test_titles_take_two_lines_at_most(words):
    lines = balanced(" ".join(words))
    assert 1 <= len(lines) <= 2
    assert all(len(line) <= 56 for line in lines)


def test_round_ticks_are_few_and_round():
    rounds = SimpleNamespace(rounds={"end_s": np.arange(1, 501) * 10.0})
    assert round_ticks(rounds) == [(1000.0, 100), (2000.0, 200), (3000.0, 300), (4000.0, 400), (5000.0, 500)]


@given(st.lists(st.text("abc", min_size=1, max_size=22), min_size=1, max_size=12), st.floats(1.0, 5.0))
def test_legends_use_the_room_and_no_more(labels, room_in):
    number = columns(labels, room_in)
    rows = -(-len(labels) // number)
    assert 1 <= number <= len(labels)
    if number > 1:
        widest = [max(map(len, labels[at : at + rows])) for at in range(0, len(labels), rows)]
        assert sum((24 + 5.4 * width) / 72 for width in widest) <= room_in

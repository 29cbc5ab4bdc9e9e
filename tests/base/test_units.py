import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim import units


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_duration_s, "6h", 21600.0),
        (units.parse_duration_s, "1.5 d", 129600.0),
        (units.parse_duration_s, 90, 90.0),
        (units.parse_duration_s, "15min", 900.0),
        (units.parse_bytes, "380MB", 380e6),
        (units.parse_bytes, "8GiB", 8 * 2.0**30),
        (units.parse_bytes_per_s, "1Gbps", 125e6),
        (units.parse_bytes_per_s, "59.7GB/s", 59.7e9),
        (units.parse_flops_per_s, "37.4TFLOP/s", 37.4e12),
        (units.parse_w, "300W", 300.0),
        (units.parse_j, "17Wh", 61200.0),
        (units.parse_hz, "612MHz", 612e6),
        (units.parse_hz, "1.3GHz", 1.3e9),
        (units.parse_hz, 5, 5.0),
    ],
)
def test_text_with_a_unit_becomes_si(parse, text, value):
    assert parse(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("text", ["6 hours", "h", "", "1e999s", None, True, [1], "6h6m", "0x10s"])
def test_what_is_no_duration_is_refused_with_what_would_be(text):
    with pytest.raises(ValueError, match="6h"):
        units.parse_duration_s(text)


def test_sizes_and_durations_read_as_people_say_them():
    assert units.format_bytes(2.54e9) == "2.54 GB"
    assert units.format_duration(0.27) == "270 ms"
    assert units.format_duration(55.5 * 3600) == "2.312 days"
    assert units.format_duration(math.inf) == "never"
    assert units.format_j(3.6e6) == "1 kWh"
    assert units.format_j(720.0) == "0.2 Wh"
    assert units.format_j(12.0) == "12 J"
    assert units.format_flops(76.68e9) == "76.7 GFLOP"


@given(st.floats(min_value=1e-3, max_value=1e9))
def test_a_duration_in_hours_is_3600_times_its_number(number):
    assert units.parse_duration_s(f"{number!r}h") == pytest.approx(number * 3600.0, rel=1e-12)

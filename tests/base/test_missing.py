"""A number that is not there is told from NaN, wherever arrays go."""

import json
import math
import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedsim.missing import MISSING, from_list, is_missing, to_list
from fedsim.simulation import state

numbers = st.lists(st.just(None) | st.floats(width=64), max_size=30)


@given(numbers)
def test_lists_come_back_with_every_number_and_every_gap(values):
    array = from_list(values)
    assert is_missing(array).tolist() == [value is None for value in values]
    assert [repr(v) for v in to_list(array)] == [repr(v) for v in values]
    assert [repr(v) for v in to_list(from_list(json.loads(json.dumps(to_list(array)))))] == [
        repr(v) for v in values
    ]


def test_a_gap_is_a_nan_that_copies_keep_and_no_arithmetic_makes():
    array = from_list([None, 1.0, math.nan, math.inf])
    assert np.isnan(array).tolist() == [True, False, True, False]
    for kept in (
        array[::-1][::-1],
        np.concatenate([array, array])[4:],
        pickle.loads(pickle.dumps(array)),
        np.where([True] * 4, array, 0.0),
        np.array(array.tolist()),
        np.frombuffer(array.tobytes()),
    ):
        assert is_missing(kept).tolist() == [True, False, False, False]
    with np.errstate(all="ignore"):
        made = np.array([np.inf - np.inf, np.float64("nan"), float("nan"), -math.nan, np.float64(0) * np.inf])
    assert not is_missing(made).any()
    assert bool(is_missing(MISSING))


def test_the_engine_s_state_keeps_gaps(tmp_path):
    kept = {
        "next_round": 3,
        "a": from_list([None, math.nan, 2.0]),
        "b": np.array([[1.0, 2.0]]),
        "n": np.arange(2),
    }
    state.save(tmp_path, 3, kept, "s")
    found = state.read(tmp_path, 3, "s")
    assert is_missing(found["a"]).tolist() == [True, False, False]
    assert found["b"].tolist() == [[1.0, 2.0]]

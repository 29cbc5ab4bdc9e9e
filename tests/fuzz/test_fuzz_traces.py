"""Whose lines a trace holds, however its ids are written: held against the plainest reading of its rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.errors import TraceError
from fedsim.fleet import Who, availability, pressure

CLIENTS = 9
WAYS = {  # how a table may hold an id: the type of a Parquet column, and the text of a CSV cell
    "integers": (lambda n: n, pa.int32(), str),
    "floats, as pandas writes them beside a blank": (float, pa.float64(), lambda n: str(float(n))),
    "short floats": (float, pa.float32(), lambda n: f"{n}."),
    "text": (str, pa.string(), lambda n: f'"{n}"'),
    "text of floats": (lambda n: f"{n}.00", pa.large_string(), lambda n: f"{n}.00"),
    "text with spaces and zeros": (lambda n: f" {n:02d} ", pa.string(), lambda n: f" {n:02d} "),
    "categories": (str, pa.dictionary(pa.int8(), pa.string()), lambda n: f"+{n}"),
}
BAD = {  # what is no client's number, and whether it is some id's name
    "": False, " ": False, "NaN": False, "0.5": False, "3.0001": False, "-1": False, "-2.0": False,
    "1e-05": False, "c3": True, "true": True, "3 4": True, "0x3": True, "2024-01-01": True, "1e400": True,
}  # fmt: skip

rows = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 50), st.integers(0, 20)), min_size=1, max_size=20)


def written(folder, suffix, way, ids, spans):
    """The file of a trace; ids that are text already stay as they are."""
    cell, kind, text = WAYS[way]
    start, end = [float(a) for _, a, _ in spans], [float(a + d) for _, a, d in spans]
    if suffix == "csv":
        names = [n if isinstance(n, str) else text(n) for n in ids]
        lines = [f"{n},{a},{b}\n" for n, a, b in zip(names, start, end, strict=True)]
        (folder / "t.csv").write_text("client,start_s,end_s\n" + "".join(lines))
    else:
        mixed = any(isinstance(n, str) for n in ids)
        names = [n if isinstance(n, str) else str(n) if mixed else cell(n) for n in ids]
        client = pa.array(names, pa.string() if mixed else kind)
        pq.write_table(pa.table({"client": client, "start_s": start, "end_s": end}), folder / "t.parquet")
    return str(folder / f"t.{suffix}")


def online(model, time_s):
    everyone = Who(np.arange(CLIENTS), np.zeros(CLIENTS), np.zeros(CLIENTS), 1)
    now = np.full(CLIENTS, float(time_s))
    return (model.online_from_s(everyone, now) == now).tolist()


def plainly(spans, mine, time_s):
    return any(a <= time_s < a + d for n, a, d in spans if n == mine)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@settings(max_examples=60, deadline=None)
@given(spans=rows, way=st.sampled_from(sorted(WAYS)), time_s=st.integers(0, 70))
def test_an_id_is_the_number_of_a_client_however_it_is_written(tmp_path_factory, suffix, spans, way, time_s):
    folder = tmp_path_factory.mktemp("t")
    file = written(folder, suffix, way, [n for n, _, _ in spans], spans)
    found = online(availability.Replay(file).load(), time_s)
    assert found == [plainly(spans, client, time_s) for client in range(CLIENTS)]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@settings(max_examples=60, deadline=None)
@given(spans=rows, way=st.sampled_from([*sorted(WAYS), "names"]), time_s=st.integers(0, 70))
def test_clients_that_repeat_follow_the_ids_in_natural_order(tmp_path_factory, suffix, spans, way, time_s):
    # Ids with gaps, whose text is in another order than their numbers: 4, 10, 16, 22, ... 106.
    ids = [4 + 6 * n + 60 * (n > 5) for n, _, _ in spans]
    names = [f"client {n}" for n in ids] if way == "names" else ids
    way = "text" if way == "names" else way
    file = written(tmp_path_factory.mktemp("t"), suffix, way, names, spans)
    found = online(availability.Replay(file, clients="repeat").load(), time_s)
    there = sorted({n for n, _, _ in spans})
    assert found == [plainly(spans, there[client % len(there)], time_s) for client in range(CLIENTS)]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@settings(max_examples=60, deadline=None)
@given(spans=rows, bad=st.sampled_from(sorted(BAD)), data=st.data())
def test_what_is_no_number_of_a_client_is_refused_with_its_line(tmp_path_factory, suffix, spans, bad, data):
    at = data.draw(st.integers(0, len(spans) - 1))
    ids = [bad if row == at else n for row, (n, _, _) in enumerate(spans)]
    file = written(tmp_path_factory.mktemp("t"), suffix, "integers", ids, spans)
    line = f"line {at + 2};" if suffix == "csv" else f"row {at + 1};"
    with pytest.raises(TraceError) as fault:
        availability.Replay(file).load()
    assert line in str(fault.value)
    assert file in str(fault.value)
    in_turn = availability.Replay(file, clients="repeat")
    if BAD[bad]:
        assert in_turn.load().spans.ids.size == len(set(map(str, ids)))
        return
    with pytest.raises(TraceError) as fault:
        in_turn.load()
    assert line in str(fault.value)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([0.0, None]), "has nothing in row 2"),
        (pa.array([0.0, float("nan")]), "has nothing in row 2"),
        (pa.array([None, None], pa.int64()), "has nothing in row 1"),
        (pa.array([0.0, 0.5]), "has 0.5 in row 2"),
        (pa.array([0.0, float("inf")]), "has 'inf' in row 2"),
        (pa.array([True, False]), "has 'true' in row 1"),
        (pa.array([0, 2**64 - 1], pa.uint64()), "has 18446744073709551615 in row 2"),
        (pa.array([[1], [2]]), "neither numbers nor text"),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", [availability.Replay, pressure.Replay])
def test_a_parquet_column_of_ids_that_are_none_is_refused(tmp_path, model, column, said):
    held = {"client": column, "start_s": [0.0, 1.0], "end_s": [1.0, 2.0], "bytes": [1.0, 1.0]}
    pq.write_table(pa.table(held), tmp_path / "t.parquet")
    with pytest.raises(TraceError, match=said):
        model(str(tmp_path / "t.parquet")).load()


def test_a_line_is_counted_as_an_editor_counts_it(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"client,start_s,end_s\r\n\r\n0,0,1\r\n\r\n0.5,1,2\r\n")
    with pytest.raises(TraceError, match=r"has 0\.5 in line 5;"):
        availability.Replay(str(tmp_path / "t.csv")).load()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("7", None),
        ("7.0", None),
        ("true", "holds something that is not a number in (line 3|row 2)"),
        ("2023-11-14 22:13:20", "holds something that is not a number in (line 3|row 2)"),
        ("", "has nan in (line 3|row 2); give seconds"),
        ("-7", r"has -7\.0 in (line 3|row 2); give seconds"),
    ],
)
def test_a_time_is_a_number_however_a_table_holds_it(tmp_path, cell, said):
    (tmp_path / "t.csv").write_text(f"client,start_s,end_s\n0,3,4\n0,{cell},9\n")
    start = pa.array(["3", cell]) if cell else pa.array([3.0, None])
    pq.write_table(pa.table({"client": [0, 0], "start_s": start, "end_s": [4, 9]}), tmp_path / "t.parquet")
    for file in ("t.csv", "t.parquet"):
        model = availability.Replay(str(tmp_path / file))
        if said is None:
            assert model.load().spans.start_s.tolist() == [3.0, 7.0]
        else:
            with pytest.raises(TraceError, match=f"{file}: start_s: {said}"):
                model.load()

"""Many small rounds: joined in memory, and the same rows in the same order wherever they lie."""

import pyarrow as pa

from fedsim import results
from fedsim.results import tables
from fedsim.results.columns import CLIENTS, TABLES, schema
from fedsim.results.journal import Record
from fedsim.results.pending import Pending, joined

ROUNDS, COHORT = 530, 2


def _clients(index):
    texts = {"device": ["one", "two"], "outcome": ["completed", "rejected"]}
    numbers = {c.name: [float(index), index + 0.5] for c in CLIENTS if c.dtype == "float64"}
    return {**numbers, **texts, "client": [index % 7, 7]}


def _record(index):
    clients = _clients(index)
    row = {"round": index, "start_s": index, "end_s": index + 1, **tables.totals(clients)}
    metrics = [("loss", "validation", index / 3)] if index % 100 == 0 else []
    return Record(
        index,
        (
            tables.rounds_batch(row),
            tables.clients_batch(index, clients, ()),
            tables.convergence_batch(index, index + 1.0, metrics),
        ),
    )


def _rows(records, table):
    position = list(TABLES).index(table)
    return pa.Table.from_batches([r.batches[position] for r in records], schema(table)).to_pydict()


def test_joined_records_hold_the_same_rows():
    single, pending = [_record(index) for index in range(ROUNDS)], Pending()
    assert pending.first is None
    for record in single:
        pending.add(record)
    assert (pending.first, pending.last) == (0, ROUNDS - 1)
    assert pending.nbytes == sum(record.nbytes for record in single)
    assert len(pending.records) == 2 + ROUNDS - 2 * 256
    assert [record.round for record in joined(single)] == [255, 511, ROUNDS - 1]
    for table in TABLES:
        rows = _rows(single, table)
        assert str(rows) == str(_rows(pending.records, table)) == str(_rows(joined(single), table))
    assert list(joined([])) == []


def test_small_rounds_read_the_same_before_and_after_the_end(tmp_path):
    manifest = results.manifest("small", 1, 8, {}, [], {})
    with results.RunWriter(tmp_path / "run", "name: small\n", manifest) as writer:
        for index in range(ROUNDS):
            row = {"round": index, "start_s": float(index), "end_s": index + 1.0}
            writer.round(row, _clients(index), [("loss", "validation", index / 3)])
        going = results.load(tmp_path / "run")
        before = {table: going.frame(table) for table in TABLES}
        some = going.frame("clients", (254, 257))
        summary = writer.finish()
    done = results.load(tmp_path / "run")
    for table in TABLES:
        assert before[table].equals(done.frame(table)), table
    assert some["round"].tolist() == [254, 254, 255, 255, 256, 256, 257, 257]
    assert summary["outcomes"]["rejected"] == ROUNDS
    assert summary["client_rounds"] == ROUNDS * COHORT

"""``timeline.json``: the run in Chrome's trace format, for https://ui.perfetto.dev.

One track shows the rounds, one track each shows a client: spans for download, start, train and upload,
instants for everything that went wrong. Of a large fleet only some clients are shown, the busiest of
each device; of a long run only as many client-rounds as keep the file small. The field ``otherData``
says what was left out. Format: "Trace Event Format", Google, 2016.

Simulated seconds are written as whole microseconds, so a day of the simulation reads as a day. A span
lasts from its rounded start to its rounded end: spans that follow one another meet, and never overlap,
which viewers would take for a span inside another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedsim.files import replacing
from fedsim.outcomes import OUTCOMES
from fedsim.report.digest import Digest
from fedsim.report.text import name
from fedsim.report.words import OUTCOME_WORDS
from fedsim.results.codes import Codes
from fedsim.results.summary import numbers, outcome_of

MOST_CLIENTS = 200
MOST_CLIENT_ROUNDS = 20_000
MOST_ROUNDS = 10_000
_SERVER, _CLIENTS = 1, 2
_PHASES = (("download", "download_s"), ("start", "startup_s"), ("train", "compute_s"), ("upload", "upload_s"))
_COLUMNS = (
    "round", "client", "device", "outcome", "dispatched_s", *(key for _, key in _PHASES), "ended_s",
    "footprint_bytes", "available_bytes", "energy_j",
)  # fmt: skip


def chosen(digest: Digest, most: int = MOST_CLIENTS) -> list[int]:
    """The clients to show: the busiest of each device in turn, until there are ``most``."""
    sums = digest.sums
    dispatched, device = sums.dispatched[: sums.width], sums.device_of[: sums.width]
    queues = []
    for place in range(len(sums.devices.names)):
        clients = np.flatnonzero(device == place)
        queues.append(clients[np.lexsort((clients, -dispatched[clients]))][:most])
    taken: list[int] = []
    for rank in range(most):
        for queue in queues:
            if rank < queue.size and len(taken) < most:
                taken.append(int(queue[rank]))
    return sorted(taken)


def _us(seconds: float) -> int:
    return round(float(seconds) * 1e6) if np.isfinite(seconds) else 0


def _meta(kind: str, pid: int, tid: int, label: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": label}}


def _span(label: str, pid: int, tid: int, start_s: float, end_s: float, **args: Any) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": label,
        "cat": label,
        "pid": pid,
        "tid": tid,
        "ts": _us(start_s),
        "dur": max(_us(end_s) - _us(start_s), 0),
        "args": args,
    }


def _instant(label: str, pid: int, tid: int, at_s: float, **args: Any) -> dict[str, Any]:
    return {
        "ph": "i",
        "s": "t",
        "name": label,
        "cat": "outcome",
        "pid": pid,
        "tid": tid,
        "ts": _us(at_s),
        "args": args,
    }


def _rounds(digest: Digest) -> Iterator[dict[str, Any]]:
    yield _meta("process_name", _SERVER, 0, "server")
    yield _meta("thread_name", _SERVER, 1, "rounds")
    table = digest.rounds
    for at in range(min(table["round"].size, MOST_ROUNDS)):
        index, start, end = int(table["round"][at]), float(table["start_s"][at]), float(table["end_s"][at])
        counts = {word: int(table[word][at]) for word in OUTCOMES if table[word][at]}
        yield _span(f"round {index}", _SERVER, 1, start, end, **counts)
        yield _instant("round closes", _SERVER, 1, end, round=index)
    for (split, metric), series in sorted(digest.series.items()):
        for time_s, value in zip(series.time_s[:MOST_ROUNDS], series.value[:MOST_ROUNDS], strict=True):
            label = f"{split} {metric}"
            yield {
                "ph": "C",
                "name": label,
                "pid": _SERVER,
                "tid": 1,
                "ts": _us(time_s),
                "args": {"value": value},
            }


def _clients(digest: Digest, clients: list[int]) -> Iterator[dict[str, Any]]:
    yield _meta("process_name", _CLIENTS, 0, "clients")
    sums = digest.sums
    for client in clients:
        device = sums.devices.names[sums.device_of[client]]
        yield _meta("thread_name", _CLIENTS, client + 1, f"{name(device)} {client}")
    wanted, codes, left = np.asarray(clients, dtype=np.int64), Codes(), MOST_CLIENT_ROUNDS
    for batch in digest.run.batches("clients", _COLUMNS):
        device_at, outcome = codes.of(batch.column("device")), outcome_of(batch.column("outcome"), digest.run)
        columns = {c: numbers(batch, c) for c in _COLUMNS if c not in ("device", "outcome")}
        for row in np.flatnonzero(np.isin(columns["client"], wanted))[:left]:
            left -= 1
            value = {key: column[row].item() for key, column in columns.items()}
            value["device"] = name(codes.names[device_at[row]])
            yield from _client_round(value, OUTCOMES[outcome[row]])
        if left <= 0:
            return


def _client_round(row: dict[str, Any], outcome: str) -> Iterator[dict[str, Any]]:
    track, start = row["client"] + 1, row["dispatched_s"]
    for label, key in _PHASES:
        if row[key] > 0:
            args = {"round": row["round"], "device": row["device"]}
            if label == "train":
                args |= {
                    key: row[key] if np.isfinite(row[key]) else None
                    for key in ("footprint_bytes", "available_bytes", "energy_j")
                }
            end = min(start + row[key], row["ended_s"])  # sums are rounded
            yield _span(label, _CLIENTS, track, start, end, **args)
            start = end
    if outcome != "completed":
        yield _instant(OUTCOME_WORDS[outcome], _CLIENTS, track, row["ended_s"], round=row["round"])


def write(digest: Digest, path: Path) -> None:
    """Write the timeline of a run.

    Raises:
        RunError: if the run is damaged.
        OSError: if the disk refuses.
    """
    clients = chosen(digest)
    shown = int(digest.sums.dispatched[clients].sum()) if clients else 0
    other = {
        "run": name(digest.name, 80),
        "clients shown": len(clients),
        "clients dispatched": digest.summary["participation"]["selected"],
        "client-rounds shown": min(shown, MOST_CLIENT_ROUNDS),
        "client-rounds": digest.summary["client_rounds"],
        "rounds shown": min(digest.summary["rounds"], MOST_ROUNDS),
    }
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"displayTimeUnit": "ms", "otherData": ' + json.dumps(other) + ',\n"traceEvents": [\n')
        comma = ""
        for events in (_rounds(digest), _clients(digest, clients)):
            for event in events:
                file.write(comma + json.dumps(event, allow_nan=False))
                comma = ",\n"
        file.write("\n]}\n")

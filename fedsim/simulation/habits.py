"""Whether the habits that a scenario gives its clients can be theirs.

A trace names clients of the fleet, and what other programs hold fits into the device's memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedsim.errors import ScenarioError, TraceError
from fedsim.fleet import Group, Who
from fedsim.fleet.family import alone
from fedsim.fleet.population import in_order
from fedsim.fleet.pressure import Replay
from fedsim.fleet.spans import Recording, Spans
from fedsim.fleet.who import Ints
from fedsim.hardware import Device
from fedsim.scenario import Scenario
from fedsim.units import format_bytes

KEYS = ("availability", "pressure")


def check(groups: Sequence[Group], devices: Mapping[str, Device], clients: int) -> None:
    """Refuse traces of another fleet, and more memory held than there is.

    Args:
        groups: in the order of the scenario's mix.
        devices: by name.
        clients: how many the fleet has.

    Raises:
        TraceError: if a file names a client that the fleet has not, or none of those who follow it, or
            holds more on a client than its device has.
        ScenarioError: if other programs hold more than that at any time.
    """
    for number, group in enumerate(groups):
        memory_bytes = devices[group.device].memory_bytes
        least, _ = alone(group.pressure).range_bytes(_MEDIAN)
        if least[0] > memory_bytes:
            raise ScenarioError(
                f"other programs hold {format_bytes(least[0])} at any time; "
                f"a {group.device} has {format_bytes(memory_bytes)}",
                key=f"fleet.mix[{number}].pressure",
            )
    if not any(_traces(group) for group in groups):
        return
    order, place = in_order(groups, clients)
    members = [np.flatnonzero(place == order.index(number)) for number in range(len(groups))]
    for number, group in enumerate(groups):
        for key, trace in _traces(group).items():
            others = [_traces(other).get(key) for other in groups]
            same = [other is not None and other.spans.file == trace.spans.file for other in others]
            mine = np.sort(np.concatenate([members[k] for k in np.flatnonzero(same)]))
            _check_ids(trace.spans, mine, clients, f"fleet.mix[{number}].{key}")
        if isinstance(group.pressure, Replay) and members[number].size:
            _check_bytes(group.pressure.spans, members[number], devices[group.device])


_MEDIAN = Who(np.zeros(1, np.int64), np.zeros(1), np.zeros(1), 0)


def _traces(group: Group) -> dict[str, Recording]:
    models = {key: getattr(group, key) for key in KEYS}
    return {key: model for key, model in models.items() if isinstance(model, Recording)}


def _check_ids(spans: Spans, mine: Ints, clients: int, key: str) -> None:
    if spans.repeat:
        return
    if spans.ids[-1] >= clients:
        raise TraceError(
            f"names client {spans.ids[-1]}, and the fleet has {clients}, numbered from 0; "
            f"give it more clients, or {key}.clients: repeat to let them follow the file's in turn",
            file=spans.file,
            key="client",
        )
    if mine.size and (spans.place(mine) < 0).all():
        who = ", ".join([*map(str, mine[:3]), *["..."] * (mine.size > 3)])
        raise TraceError(
            f"names none of the clients who follow it, {who}; ids are numbers in the whole fleet, "
            f"or give {key}.clients: repeat to let them follow the file's in turn",
            file=spans.file,
            key="client",
        )


def _check_bytes(spans: Spans, mine: Ints, device: Device) -> None:
    most = spans.most(mine)
    if most.max() > device.memory_bytes:
        raise TraceError(
            f"holds {format_bytes(most.max())} on client {mine[most.argmax()]}; "
            f"its device, {device.name}, has {format_bytes(device.memory_bytes)}",
            file=spans.file,
            key="bytes",
        )


def notes(scenario: Scenario) -> dict[str, Any]:
    """Of each trace that clients follow, for the manifest: how many ids it has, and whose they are."""
    found = {
        f"fleet.mix[{number}].{key}": {
            "file": model.file,
            "clients": model.clients,
            "ids": int(model.spans.ids.size),
        }
        for number, entry in enumerate(scenario.fleet.mix)
        for key in KEYS
        if isinstance(model := getattr(entry, key), Recording)
    }
    return {"client_traces": found} if found else {}

"""Who trained which layers of the model, where clients train in several ways.

The manifest says which layers the model has (``layers``: ``input``, ``1``, ``2``, ..., ``head``) and which
of them a way trains (``trains``, by the way's name); ``clients.parquet`` who trained in which way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fedsim.results.codes import Codes, grown

MOST = 1000  # ways, and layers


class HasManifest(Protocol):
    """What says which layers a way trains."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What went in."""


def trains(run: HasManifest) -> dict[str, list[str]]:
    """By layer of the model, the names of the ways that train it; empty where all train alike."""
    said, layers = run.manifest.get("trains"), run.manifest.get("layers")
    if not isinstance(said, dict) or not isinstance(layers, list) or len(said) > MOST:
        return {}
    ways = {str(way): found for way, found in said.items() if isinstance(found, list)}
    if len(ways) < 2:
        return {}
    return {str(one): [way for way, found in ways.items() if one in found] for one in layers[:MOST]}


class ByWay:
    """Sums over ``clients.parquet`` by way to train; nothing where all train alike.

    Args:
        ways: by layer of the model, the ways that train it.
    """

    def __init__(self, ways: Mapping[str, Sequence[str]]) -> None:
        self._ways = ways
        self._codes = Codes()
        self._counts: dict[str, NDArray[np.int64]] = {
            name: np.zeros(0, np.int64) for name in ("client_rounds", "completed")
        }
        self._who: list[NDArray[np.bool_]] = []

    def add(
        self, technique: pa.Array, client: NDArray[np.int64], done: NDArray[np.bool_], width: int
    ) -> None:
        """Take in some rows: the way of each, its client, and whether it completed."""
        if not self._ways:
            return
        way = self._codes.of(technique)
        ways = len(self._codes.names)
        for name, rows in (("client_rounds", way), ("completed", way[done])):
            self._counts[name] = grown(self._counts[name], ways)
            np.add.at(self._counts[name], rows, 1)
        self._who += [np.zeros(0, np.bool_) for _ in range(ways - len(self._who))]
        for place in np.unique(way[done]):
            self._who[place] = grown(self._who[place], width)
            self._who[place][client[done & (way == place)]] = True

    def figures(self, clients: int) -> dict[str, dict[str, dict[str, Any]]]:
        """``techniques`` and ``coverage`` of the summary of a fleet of so many clients."""
        if not self._ways:
            return {}
        place = {name: k for k, name in enumerate(self._codes.names)}
        total = int(self._counts["completed"].sum())
        techniques = {}
        for name, k in place.items():
            done = int(self._counts["completed"][k])
            techniques[name] = {
                "client_rounds": int(self._counts["client_rounds"][k]),
                "completed": done,
                "share": done / total if total else math.nan,
                "clients": int(self._who[k].sum()),
            }
        coverage = {}
        for layer, by in self._ways.items():
            who = np.zeros(clients, np.bool_)
            seen = [name for name in by if name in place]
            for mine in (self._who[place[name]][:clients] for name in seen):
                who[: mine.size] |= mine
            trained = int(who.sum())
            coverage[layer] = {
                "completed": sum(techniques[name]["completed"] for name in seen),
                "clients": trained,
                "never": clients - trained,
            }
        return {"techniques": techniques, "coverage": coverage}

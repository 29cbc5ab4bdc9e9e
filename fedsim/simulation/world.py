"""The world that the engine asks: a fleet and the price of its work, as plain seconds and bytes.

Purpose: joins `fleet` (who is online, what else is in memory, which link) with `cost` (what a
padded batch costs on a device). Every batch of every workload is priced once, when the world is
made, for each kind of client and technique; an estimate afterwards is a look-up.

Assumptions: a client's batches are drawn once and trained in the same order in every round. Its
footprint grows while it trains, as longer batches come along and the allocator keeps what it has;
that curve is kept as the running maximum at the end of each of ``LEVELS`` equal parts of the
client's batches, which is never below the true one. A device that slows down once hot
(``sustained``) trains at full speed for ``throttle_after_s`` and at its sustained share after that.
In every stage of the run a client has techniques to try, in order: it takes the first that fits into
what it has free at dispatch; if none does, it takes the last, and runs out of memory with that. The
stage is that of the round whose model it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedsim.engine.world import WorkEstimate
from fedsim.errors import TraceError
from fedsim.fleet import Fleet, batches, speech, workload
from fedsim.fleet.battery import Batteries
from fedsim.pricing import Pricer
from fedsim.pricing.step_time import throttled_s
from fedsim.simulation.kinds import Kind
from fedsim.units import SAMPLES_PER_S

LEVELS = 4

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Prices:
    """What each workload costs on one device model; every array has one row a workload.

    Attributes:
        compute_s: float64[w], seconds of one round's training at the device's full speed.
        footprint_bytes: float64[w, LEVELS], peak so far at the end of each part of the training.
    """

    compute_s: Floats
    footprint_bytes: Floats


def price(pricer: Pricer, work: batches.Batches, local_epochs: int) -> Prices:
    """Price every batch of every workload on one device model, and sum up by workload."""
    shape = work.samples.shape
    step_s = np.broadcast_to(pricer.step_s(work.size, work.samples), shape)
    footprint = np.broadcast_to(pricer.footprint_bytes(work.size, work.samples), shape)
    starts, counts = work.first[:-1], np.diff(work.first)
    levels = np.empty((counts.size, LEVELS))
    padded = np.append(footprint, 0.0)  # reduceat wants every index to be inside
    for level in range(LEVELS):
        share = 1 if local_epochs > 1 else (level + 1) / LEVELS  # later epochs meet nothing longer
        ends = starts + np.maximum(1, np.ceil(counts * share).astype(np.int64))
        levels[:, level] = np.maximum.reduceat(padded, np.column_stack([starts, ends]).ravel())[::2]
    return Prices(local_epochs * np.add.reduceat(step_s, starts), levels)


@dataclass(frozen=True, eq=False)
class FleetWorld:
    """Implements the engine's ``World``.

    Attributes:
        fleet: the clients.
        devices: names of the device models, by position.
        device: int64[clients], each client's position in ``devices``.
        kind: int64[clients], the position of each client's kind: its device and how it trains.
        workloads: the distinct workloads and who has which.
        starts: int64[stages], the first round of each stage.
        order: int64[stages, tries, kinds], the techniques that a client tries, in order; the last again
            where a kind has fewer.
        way: int64[techniques, kinds], the way of training, as the learner knows it.
        compute_s: float64[techniques, kinds, workloads], seconds of a round's training at the device's
            full speed.
        startup_s: float64[kinds], seconds before the first step at the device's full speed; 0 where
            clients run all along.
        footprint_bytes: float64[techniques, kinds, workloads, LEVELS], see :class:`Prices`.
        memory_bytes, system_bytes, idle_w, active_w: float64[kinds].
        throttle_after_s, sustained: float64[kinds], see :func:`~fedsim.pricing.step_time.throttled_s`.
        radio_w, latency_s: float64[groups], of the groups' links.
        down_bytes: float64[stages, techniques, kinds], size of what is sent to a client.
        up_bytes: float64[techniques, kinds], size of what it sends back, compressed if it is.
    """

    fleet: Fleet
    devices: tuple[str, ...]
    device: Ints
    kind: Ints
    workloads: workload.Workloads
    starts: Ints
    order: Ints
    way: Ints
    compute_s: Floats
    startup_s: Floats
    footprint_bytes: Floats
    memory_bytes: Floats
    system_bytes: Floats
    idle_w: Floats
    active_w: Floats
    throttle_after_s: Floats
    sustained: Floats
    radio_w: Floats
    latency_s: Floats
    down_bytes: Floats
    up_bytes: Floats

    @staticmethod
    def build(
        fleet: Fleet,
        kinds: Sequence[Kind],
        workloads: workload.Workloads,
        work: batches.Batches,
        local_epochs: int,
        starts: Sequence[int] = (0,),
        startup_s: Mapping[str, float] | None = None,
    ) -> FleetWorld:
        """Price all work of a fleet.

        Args:
            fleet: whose groups name a kind each, by its device and how it trains.
            kinds: the kinds, all with as many pricers; see :func:`fedsim.simulation.kinds.make`.
            workloads: the distinct workloads.
            work: their batches.
            local_epochs: passes over a workload in a round.
            starts: the first round of each stage.
            startup_s: seconds before the first step, by device; None: clients run all along.
        """
        names = tuple(sorted({one.device.name for one in kinds}))
        by_name = {one.name: place for place, one in enumerate(kinds)}
        kind = np.array([by_name[group.device, group.training] for group in fleet.groups], dtype=np.int64)
        models = [one.device for one in kinds]
        device = np.array([names.index(model.name) for model in models], dtype=np.int64)
        known = {pricer: price(pricer, work, local_epochs) for one in kinds for pricer in one.pricers}
        prices = [[known[one.pricers[t]] for one in kinds] for t in range(len(kinds[0].pricers))]
        tries = max(len(tried) for one in kinds for tried in one.order)
        order = [[[*tried, *[tried[-1]] * (tries - len(tried))] for tried in one.order] for one in kinds]
        return FleetWorld(
            fleet=fleet,
            devices=names,
            device=device[kind][fleet.group],
            kind=kind[fleet.group],
            workloads=workloads,
            starts=np.array(starts, dtype=np.int64),
            order=np.array(order, dtype=np.int64).transpose(1, 2, 0),
            way=np.array([one.way for one in kinds], dtype=np.int64).T,
            compute_s=np.array([[one.compute_s for one in row] for row in prices]),
            startup_s=np.array([0.0 if startup_s is None else startup_s[model.name] for model in models]),
            footprint_bytes=np.array([[one.footprint_bytes for one in row] for row in prices]),
            memory_bytes=np.array([model.memory_bytes for model in models]),
            system_bytes=np.array([model.system_bytes for model in models]),
            idle_w=np.array([model.idle_w for model in models]),
            active_w=np.array([model.active_w for model in models]),
            throttle_after_s=np.array(
                [np.inf if model.throttle_after_s is None else model.throttle_after_s for model in models]
            ),
            sustained=np.array([model.sustained for model in models]),
            radio_w=np.array([group.link.radio_w for group in fleet.groups]),
            latency_s=np.array([group.link.latency_s for group in fleet.groups]),
            down_bytes=np.array([one.down_bytes for one in kinds]).transpose(1, 2, 0),
            up_bytes=np.array([one.up_bytes for one in kinds]).T,
        )

    def at_speeds(self, factors: Floats) -> FleetWorld:
        """The same, where training takes float64[techniques, kinds] times as long."""
        return replace(self, compute_s=self.compute_s * factors[:, :, None])

    @property
    def rounds_alike(self) -> bool:
        """Whether an estimate is the same whatever the round."""
        return self.starts.size == 1

    @property
    def battery(self) -> Batteries | None:
        """The clients' batteries; None if all are always powered."""
        return self.fleet.battery

    @property
    def clients(self) -> int:
        return self.fleet.clients

    def next_online_s(self, time_s: float) -> float:
        """The first instant from ``time_s`` on at which any client is online."""
        return self.fleet.next_online_s(time_s)

    def offline_from_s(self, clients: Ints, time_s: Floats) -> Floats:
        """The first instant from ``time_s`` on at which each client is not online."""
        return self.fleet.offline_from_s(clients, time_s)

    def online_from_s(self, clients: Ints, time_s: Floats) -> Floats:
        """The first instant from ``time_s`` on at which each client is online."""
        return self.fleet.online_from_s(clients, time_s)

    def room_bytes(self, clients: Ints) -> Floats:
        """Memory that the system leaves to training and to other programs together."""
        return self._room_bytes[clients]

    @cached_property
    def _room_bytes(self) -> Floats:
        kind = self.kind
        return np.asarray(self.memory_bytes[kind] - self.system_bytes[kind] * self.fleet.system_factor)

    def _tries(self, clients: Ints, available_bytes: Floats, stage: Ints) -> Ints:
        """int64[n]: the first technique that fits into what is available, else the last."""
        kind = self.kind[clients]
        tried: Ints = self.order[stage, :, kind]
        if tried.shape[1] == 1:
            return tried[:, 0]
        work = self.workloads.of(clients)
        peak = self.footprint_bytes[tried, kind[:, None], work[:, None], -1]
        fits = peak <= available_bytes[:, None]
        first = np.where(fits.any(axis=1), fits.argmax(axis=1), tried.shape[1] - 1)
        found: Ints = tried[np.arange(clients.size), first]
        return found

    @cached_property
    def _one_way(self) -> bool:
        """Whether a client trains alike at all times."""
        return self.order.shape[:2] == (1, 1)

    @cached_property
    def _steady(self) -> Floats:
        """float64[clients, 14]: what of an estimate does not change; a row a client, read in one piece.

        Of clients that train now one way, now another, the last six stand for the first.
        """
        fleet, kind = self.fleet, self.kind
        work, group = self.workloads.of(np.arange(fleet.clients)), fleet.group
        how = self.order[0, 0, kind]
        columns = (
            fleet.down_bytes_per_s,
            fleet.up_bytes_per_s,
            self.latency_s[group],
            self.startup_s[kind] / fleet.speed,
            self._room_bytes,
            self.workloads.utterances[work],
            self.idle_w[kind],
            self.active_w[kind],
            self.radio_w[group],
            self._compute_s(how, kind, work, fleet.speed),
            self.footprint_bytes[how, kind, work, -1],
            self.down_bytes[0, how, kind],
            self.up_bytes[how, kind],
            self.way[how, kind],
        )
        table = np.empty((fleet.clients, len(columns)))
        for k, column in enumerate(columns):
            table[:, k] = column
        return table

    def _compute_s(self, how: Ints, kind: Ints, work: Ints, speed: Floats) -> Floats:
        compute_s = self.compute_s[how, kind, work] / speed
        return throttled_s(compute_s, self.throttle_after_s[kind], self.sustained[kind])

    def estimate(self, clients: Ints, round_index: int | Ints, time_s: float | Floats) -> WorkEstimate:
        """What a round dispatched at ``time_s`` would take each client."""
        table = self._steady.take(clients, axis=0).T.copy()
        down, up, latency_s, startup_s, room, examples, idle_w, active_w, radio_w = table[:9]
        compute_s, footprint, down_bytes, up_bytes, way = table[9:]
        technique = way.astype(np.int64)
        available = np.maximum(room - self.fleet.pressure_bytes(clients, time_s), 0.0)
        how = None
        if not self._one_way:
            kind, work = self.kind[clients], self.workloads.of(clients)
            stage = np.searchsorted(self.starts, round_index, side="right") - 1
            stage = np.broadcast_to(stage, clients.shape)
            how = self._tries(clients, available, stage)
            compute_s = self._compute_s(how, kind, work, self.fleet.speed[clients])
            footprint = self.footprint_bytes[how, kind, work, -1]
            down_bytes, up_bytes = self.down_bytes[stage, how, kind], self.up_bytes[how, kind]
            technique = self.way[how, kind]
        return WorkEstimate(
            client=clients,
            download_bytes=down_bytes,
            upload_bytes=up_bytes,
            down_bytes_per_s=down,
            up_bytes_per_s=up,
            latency_s=latency_s,
            startup_s=startup_s,
            compute_s=compute_s,
            footprint_bytes=footprint,
            available_bytes=available,
            examples=examples,
            idle_w=idle_w,
            compute_w=active_w,
            radio_w=radio_w,
            crash_from_s=self.fleet.crash_from_s(clients, time_s),
            technique=technique,
            mark=how,
        )

    def oom_from_s(self, estimate: WorkEstimate, start_s: Floats, end_s: Floats) -> Floats:
        """The first instant in [start_s, end_s) at which memory is short; ``inf`` if there is none.

        Whoever would have room for the peak of the whole training at the worst of times, or none for
        its beginning at the best, needs no look, and whoever has room for the peak all the while no
        closer look at the parts of the training.
        """
        always, most = self._tightness.take(estimate.client, axis=0).T
        first = np.where((always > 0.0) & (start_s < end_s), start_s, np.inf)
        room = self._room_bytes.take(estimate.client) - estimate.footprint_bytes
        tight = np.flatnonzero((most > room) & (always <= 0.0))
        if tight.size:
            start, end = start_s[tight], end_s[tight]
            at_peak = self.fleet.first_exceeds_s(estimate.client[tight], room[tight], start, end)
            short = np.flatnonzero(at_peak < np.inf)
            if short.size:
                rows = tight[short]
                some = estimate.take(rows)
                first[rows] = self._oom_by_parts(some, start[short], end[short], at_peak[short])
        return first

    @cached_property
    def _tightness(self) -> Floats:
        """float64[clients, 2]: by how much room is short even at the best of times, and at most held."""
        least, most = self.fleet.pressure_range_bytes
        work = self.workloads.of(np.arange(self.clients))
        begins = self.footprint_bytes[:, self.kind, work, 0].min(axis=0)
        return np.column_stack([least - (self._room_bytes - begins), most])

    def _oom_by_parts(
        self, estimate: WorkEstimate, start_s: Floats, end_s: Floats, at_peak_s: Floats
    ) -> Floats:
        """The same, part by part of the training; ``at_peak_s`` if it were all as hungry as its peak."""
        clients = estimate.client
        kind = self.kind[clients]
        how = self.order[0, 0, kind] if estimate.mark is None else estimate.mark
        levels = self.footprint_bytes[how, kind, self.workloads.of(clients)].T
        edge_s = start_s + estimate.compute_s * _EDGES
        np.minimum(edge_s, end_s, out=edge_s)
        edge_s[-1] = end_s
        begin_s = np.concatenate([start_s[None], edge_s[:-1]])
        left = self._room_bytes.take(clients) - levels
        most = self.fleet.pressure_range_bytes[1].take(clients)
        # Nothing is short before it would be at the peak.
        asks = (left < most) & (begin_s < edge_s) & (edge_s > at_peak_s)
        _, row = np.nonzero(asks)
        found = np.full(left.shape, np.inf)
        found[asks] = self.fleet.first_exceeds_s(clients[row], left[asks], begin_s[asks], edge_s[asks])
        return np.asarray(found.min(axis=0))


_EDGES = np.arange(1, LEVELS + 1)[:, None] / LEVELS


def make_workloads(
    block: workload.Workload, batch_size: int, clients: int, seed: int
) -> tuple[workload.Workloads, batches.Batches]:
    """The workloads that a scenario describes, and their batches.

    Raises:
        InputError: if the corpus profile cannot be used, or cannot be divided as asked.
    """
    if block.examples is not None:
        loads = workload.of_size(block.examples, block.size, clients, seed)
        return loads, batches.make(loads, batch_size, block.batching, seed)
    corpus = _lengths(speech.load(block.corpus), block.mean_seconds, block.max_seconds)
    if block.utterances is not None:
        loads = workload.fixed(corpus, block.utterances, clients, seed)
    elif block.partition == "equal-hours":
        loads = workload.equal_hours(corpus, clients, seed)
    else:
        loads = workload.by_speaker(corpus, seed)
    return loads, batches.make(loads, batch_size, block.batching, seed)


def _lengths(corpus: speech.Speech, mean_s: float | None, max_s: float | None) -> speech.Speech:
    """The corpus with the mean and the longest utterance that are asked for.

    With both, as many of the longest utterances are left out as it takes for the rest to have the
    mean and stay within the longest once rescaled.

    Raises:
        TraceError: if no utterance is left, or the longest is not above the mean.
    """
    if max_s is None:
        return corpus if mean_s is None else corpus.rescaled(mean_s)
    if mean_s is None:
        return corpus.limited(max_s)
    if max_s <= mean_s:
        raise TraceError(f"utterances of {mean_s:g} s on average cannot all be within {max_s:g} s")

    def longest_s(limit_s: float) -> float:
        left = corpus.limited(limit_s).rescaled(mean_s)
        return float(left.samples.max()) / SAMPLES_PER_S

    low, high = float(corpus.samples.min()) / SAMPLES_PER_S, float(corpus.samples.max())
    high /= SAMPLES_PER_S
    if longest_s(high) <= max_s:
        return corpus.rescaled(mean_s)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if longest_s(middle) <= max_s else (low, middle)
    return corpus.limited(low).rescaled(mean_s)

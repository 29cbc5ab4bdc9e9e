"""The course of an app: what stands between Flower's loop and the app's own strategy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import INFO, WARNING
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from flwr.supercore import log
from numpy.typing import NDArray

from fedsim.engine.records import RoundRecord
from fedsim.flower import replies as read
from fedsim.flower.chance import own_generators
from fedsim.flower.nodes import ClientGrid, Nodes, OfferedGrid, Waiting
from fedsim.flower.rounds import ALL_DONE, COMPLETED, Metric, Rounds
from fedsim.flower.selection import AskedNobody
from fedsim.units import format_duration

METHODS = ("configure_train", "aggregate_train", "configure_evaluate", "aggregate_evaluate")

Ints = NDArray[np.int64]
Evaluate = Callable[[int, ArrayRecord], "MetricRecord | None"]


class Course:
    """Takes the place of a strategy's four methods while it runs.

    Args:
        rounds: the simulated rounds.
        strategy: the app's own.
        nodes: its nodes.
        loss_names: metrics that may hold a client's loss.
        least: how many nodes the strategy waits for.
    """

    def __init__(
        self, rounds: Rounds, strategy: Strategy, nodes: Nodes, loss_names: Sequence[str], least: int
    ) -> None:
        self.rounds, self.strategy, self.nodes = rounds, strategy, nodes
        self.loss_names, self.least = loss_names, least
        self._own: dict[str, Any] = {name: getattr(strategy, name) for name in METHODS}
        self._messages: dict[int, list[Message]] = {}
        self._evaluating: list[Message] = []
        self._arrived: list[int] | None = None  # who completes in the open round, in order of arrival
        self._closed: tuple[RoundRecord, list[Metric]] | None = None  # not yet written
        self._nobody: list[int] = []  # rounds of the app in which the strategy asked nobody
        self._began = self._done = False

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's messages to those who will complete, in the order of their arrival."""
        self._write()
        self._arrived = None
        self._began = True
        if self.rounds.ended is not None:
            return []
        self.nodes.check(grid)

        faults: list[Exception] = []

        def ask(offered: Ints, time_s: float) -> Ints:
            try:
                return self._ask(offered, server_round, arrays, config, grid)
            except Exception as fault:  # the clock cannot carry every exception as it is
                faults.append(fault)
                raise AskedNobody from fault

        try:
            ahead = self.rounds.look_ahead(ask)
        except AskedNobody:
            if not isinstance(faults[0], AskedNobody):
                raise faults[0] from None
            self._nobody.append(server_round)
            log(WARNING, "fedsim: the strategy asks nobody in round %d; it takes no time", server_round)
            self._arrived = []
            return []
        if ahead is None:
            log(WARNING, "fedsim: no more rounds: %s", self.rounds.ended)
            return []
        rows = ahead.clients
        done = np.flatnonzero(rows.outcome == COMPLETED)
        done = done[np.lexsort((rows.client[done], rows.ended_s[done]))]
        self._arrived = [int(client) for client in rows.client[done]]
        counts = ", ".join(f"{count} {name}" for name, count in ahead.counts().items() if count)
        end = format_duration(ahead.end_s)
        log(INFO, "fedsim: round %d closes at %s of the simulated clock: %s", server_round, end, counts)
        return [message for client in self._arrived for message in self._messages[client]]

    def _ask(
        self, offered: Ints, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Ints:
        """Whom of those on offer the strategy asks; nobody if it waits for more."""
        nobody = np.zeros(0, dtype=np.int64)
        if offered.size < self.least:
            return nobody
        view = OfferedGrid(grid, self.nodes.of(offered.tolist()))
        try:
            messages = self._call("configure_train", server_round, arrays, config, view)
        except Waiting:
            self.least = int(offered.size) + 1
            return nobody
        if not messages:
            raise AskedNobody
        there = set(offered.tolist())
        self._messages = {}
        for message in messages:
            client = self.nodes.client.get(message.metadata.dst_node_id)
            if client is not None and client in there:
                self._messages.setdefault(client, []).append(message)
        return np.array(sorted(self._messages), dtype=np.int64)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The strategy's aggregate of the replies; the round closes with what they say."""
        arrived = self._arrived
        if arrived is None:
            return None, None
        if self._nobody and self._nobody[-1] == server_round:
            return self._aggregate(server_round, replies)
        place = {client: position for position, client in enumerate(arrived)}
        sent = [message for client in arrived for message in self._messages[client]]
        known = self._in_order(replies, place, sent)
        found = self._aggregate(server_round, known) if known else (None, None)
        by_client: dict[int, Message] = {}
        for reply in known:
            by_client.setdefault(self.nodes.client[reply.metadata.src_node_id], reply)
        record = self.rounds.close(read.verdicts(self.strategy, arrived, by_client, self.loss_names))
        self._closed = (record, read.lines(read.as_metrics(found[1]), "train"))
        return found

    def _in_order(
        self, replies: Iterable[Message], place: Mapping[int, int], sent: Sequence[Message]
    ) -> list[Message]:
        """The replies of clients that have a ``place``, by that; of one client as it was ``sent`` to them."""
        turn = {message.metadata.message_id: number for number, message in enumerate(sent)}

        def key(reply: Message) -> tuple[int, int]:
            client = self.nodes.client[reply.metadata.src_node_id]
            return place[client], turn.get(reply.metadata.reply_to_message_id, len(turn))

        return sorted((r for r in replies if self.nodes.client.get(r.metadata.src_node_id) in place), key=key)

    def _call(self, method: str, server_round: int, *args: Any) -> Any:
        """What a method of the strategy gives, which draws from generators of its own in each round."""
        with own_generators(self.rounds.seed, method, server_round):
            found = self._own[method](server_round, *args)
            return list(found or ()) if method.startswith("configure") else found

    def _aggregate(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        arrays, metrics = self._call("aggregate_train", server_round, replies) or (None, None)
        return arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's own, on all nodes in the order of clients; nothing once the fleet has ended."""
        if self.rounds.ended is not None:
            return []
        view = ClientGrid(grid, self.nodes.ids)
        self._evaluating = self._call("configure_evaluate", server_round, arrays, config, view)
        return self._evaluating

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """The strategy's own, of replies in the order of clients; its metrics are of the validation split."""
        if self.rounds.ended is not None:
            return None
        place = {client: client for client in self.nodes.client.values()}
        known = self._in_order(replies, place, self._evaluating)
        metrics: MetricRecord | None = self._call("aggregate_evaluate", server_round, known)
        self._add(read.lines(read.as_metrics(metrics), "validation"))
        return metrics

    def watch(self, evaluate: Evaluate) -> Evaluate:
        """The app's central evaluation; its metrics are kept as those of the test split."""

        def watched(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
            metrics = evaluate(server_round, arrays)
            found = read.lines(read.as_metrics(metrics), "test")
            if self._began:
                self._add(found)
            else:
                self.rounds.initial(found)
                self._began = True
            return metrics

        return watched

    def _add(self, metrics: list[Metric]) -> None:
        if self._closed is not None:
            self._closed[1].extend(metrics)

    def _write(self) -> None:
        if self._closed is not None:
            self.rounds.keep(*self._closed)
            self._closed = None

    def finish(self, ended: str | None = None) -> None:
        """Write what is left; ``ended`` says why, if it is not for having done all rounds."""
        if self._done:
            return
        self._done = True
        self._write()
        if ended is None:
            ended = self.rounds.ended or ALL_DONE
            if self._nobody:
                which = ", ".join(str(number) for number in self._nobody)
                ended = f"{ended}; the strategy asked nobody in round {which} of the app"
        self.rounds.finish(" ".join(ended.split()))

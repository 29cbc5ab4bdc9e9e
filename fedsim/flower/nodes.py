"""Which Flower node is which client of the fleet, and a grid that shows only some of the nodes.

Flower draws node ids anew in every run. Client i of the fleet is the node that registered i-th with
Flower's server (the smaller id first, should two have registered in the same microsecond or the
server not say when). Flower's simulation registers partition 0 first, then 1, and so on, so there
client i is the node whose ``partition-id`` is i, in every run and under every seed. Where nodes
connect in an order of their own, ``client_of`` says which is which.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedsim.errors import InputError
from fedsim.words import plural

RULE = "client i is the node that registered i-th; in Flower's simulation the node whose partition-id is i"
LOOK_S = 0.05  # of real time, between two looks at who has connected
ASKS = 10  # times that a strategy asks who is there before it is taken to wait for more

ClientOf = Callable[[Any], int]


class Waiting(Exception):
    """The strategy waits for more nodes than it was offered."""


class Nodes:
    """The nodes of an app, by client of the fleet.

    Attributes:
        ids: node id of each client, by client.
        client: client of each node id.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = list(ids)
        self.client = {node: client for client, node in enumerate(self.ids)}

    def of(self, clients: Iterable[int]) -> list[int]:
        """Node ids of some clients, in their order."""
        return [self.ids[client] for client in clients]

    def check(self, grid: Grid) -> None:
        """Hold the nodes against those connected now.

        Raises:
            InputError: if there are nodes that are no client.
        """
        present = set(grid.get_node_ids())
        if present - set(self.client):
            raise too_many(len(self.ids), len(present | set(self.client)))


def too_many(clients: int, nodes: int) -> InputError:
    """The sentence for an app with more nodes than the fleet has clients."""
    return InputError(
        f"the app has {plural(nodes, 'node')} and the scenario's fleet {plural(clients, 'client')}, but each "
        f"node is one client; set fleet.clients to {nodes}, or start the app with "
        f"{plural(clients, 'supernode')}"
    )


def discover(grid: Grid, clients: int, patience_s: float, client_of: ClientOf | None = None) -> Nodes:
    """Wait until every client of the fleet has its node.

    Args:
        grid: of the app.
        clients: how many there must be.
        patience_s: real seconds to wait for them.
        client_of: the client of a node (a ``NodeInfo`` with ``node_id``, ``name``, ``registered_at``, ...);
            by default the order of registration.

    Raises:
        InputError: if there are fewer nodes than clients by then, or more, or ``client_of`` does not
            give each client one node.
    """
    until = time.monotonic() + patience_s
    while len(nodes := list(grid.get_nodes())) < clients:
        if time.monotonic() >= until:
            raise InputError(
                f"the scenario's fleet has {plural(clients, 'client')} and the app "
                f"{plural(len(nodes), 'node')} after {patience_s:g} s, but each client needs its node; "
                f"set fleet.clients to {len(nodes)}, or start the app with {plural(clients, 'supernode')}"
            )
        time.sleep(LOOK_S)
    if len(nodes) > clients:
        raise too_many(clients, len(nodes))
    if client_of is None:
        return Nodes([n.node_id for n in sorted(nodes, key=lambda n: (n.registered_at, n.node_id))])
    by_client = {client_of(node): node.node_id for node in nodes}
    if sorted(by_client) != list(range(clients)):
        raise InputError(f"client_of must give each of the {clients} nodes its own client from 0 on")
    return Nodes([by_client[client] for client in range(clients)])


class ClientGrid(Grid):
    """A grid whose nodes come in the order of their clients; everything else goes to the real one."""

    def __init__(self, grid: Grid, nodes: Sequence[int]) -> None:
        self._grid = grid
        self._nodes = list(nodes)

    def get_node_ids(self) -> Iterable[int]:
        """Those of the nodes that are connected, in the order of their clients."""
        present = set(self._grid.get_node_ids())
        return [node for node in self._nodes if node in present]

    def get_nodes(self) -> Iterable[Any]:
        """The same with all that is known about them."""
        wanted = list(self.get_node_ids())
        known = {node.node_id: node for node in self._grid.get_nodes()}
        return [known[node] for node in wanted if node in known]

    def set_run(self, run: Any) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        return self._grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return self._grid.send_and_receive(messages, timeout=timeout)


class OfferedGrid(ClientGrid):
    """A grid on which only some nodes are connected."""

    def __init__(self, grid: Grid, nodes: Sequence[int]) -> None:
        super().__init__(grid, nodes)
        self._asks = 0

    def get_node_ids(self) -> Iterable[int]:
        """The nodes on offer, in the order of their clients.

        Raises:
            Waiting: if asked again and again.
        """
        self._asks += 1
        if self._asks > ASKS:
            raise Waiting
        return list(self._nodes)

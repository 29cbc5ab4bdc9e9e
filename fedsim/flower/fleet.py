"""A scenario's fleet for any Flower app: two lines in its ServerApp, none in its ClientApp.

    fleet = Fleet("my-fleet.yaml", model=make_net, batch=make_batch, loss=loss_of)
    strategy = fleet.wrap(FedAvg(fraction_train=0.5))
    result = strategy.start(grid=grid, initial_arrays=arrays, num_rounds=10)

What the fleet decides, and what it leaves alone:

* The strategy's ``configure_train`` is called with a grid on which only those clients are connected
  that are online at that instant of the simulated clock; whom it asks and what it sends them is its
  own affair. If it waits for more, the simulated clock moves on until they are there.
* Whoever is asked runs its race on the simulated clock (:mod:`fedsim.engine`). Only to those who
  complete a message is really sent; the others are recorded with how they ended.
* The replies reach ``aggregate_train`` in the order of arrival on the simulated clock, so the sum
  does not depend on which process was faster. If nobody delivered, the strategy is not called.
* Evaluation is the experimenter's: it takes no simulated time, and every node takes part; the
  strategy sees nodes and replies in the order of clients.
* What the strategy draws from the generators of Python and NumPy is drawn from ones of its own, made
  of the scenario's seed, in each of its methods and rounds.

The clock, the memory and the transfers are those of the app's own module, which is traced at the start
(see :mod:`fedsim.tracing.kept`: the same module once), or of the scenario's ``training.model``; never of
anything else. ``rounds.count``, ``rounds.aggregate`` and ``learning`` are the app's.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from logging import INFO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from flwr.supercore import log

from fedsim.errors import InputError
from fedsim.flower import nodes as node_ids
from fedsim.flower.course import METHODS, Course
from fedsim.flower.model import priced
from fedsim.flower.replies import LOSS_NAMES
from fedsim.flower.rounds import Rounds
from fedsim.words import plural

if TYPE_CHECKING:
    import torch
    from torch import nn


class Fleet:
    """A fleet for Flower apps.

    Args:
        scenario: a YAML file, or a name from ``scenarios/``.
        out: the run directory; None takes ``runs/<name>``, ``<name>-2``, ...
        changes: values by key path, such as ``{"fleet.clients": 10}``.
        select: ``strategy``: the strategy is offered everyone online. ``scenario``: it is offered
            whom the scenario's ``rounds.select`` chooses, ``rounds.cohort`` of them (and more where
            the scenario asks for more, as a quorum does); then a strategy that asks all
            whom it sees gives the rounds of ``fedsim run``.
        model: the module that the app trains, or a function that builds one; None: the layer trace that
            the scenario names as ``training.model``.
        batch: with a model: ``batch(n)`` gives a batch of n examples, ``batch(n, size)`` if they have a
            size. It is called without numbers (on fake tensors), so it makes its tensors itself.
        loss: with a model: ``loss(model, batch)`` gives the loss, a scalar tensor.
        sizes: what the size of examples is called, if they have one: ``tokens``, say (see ``fedsim.trace``).
        loss_key: the metric that holds a client's mean training loss; by default the first of
            ``train_loss``, ``train-loss``, ``loss`` that there is. Without one, losses are missing.
        report: whether to draw the figures and write ``report.html`` at the end.
        patience_s: real seconds to wait until each client has its node.
        client_of: see :func:`fedsim.flower.nodes.discover`.

    Raises:
        InputError: if the scenario cannot be used, there is no model or two different ones, or the
            app's cannot be traced.
    """

    def __init__(
        self,
        scenario: str | Path,
        out: str | Path | None = None,
        *,
        model: nn.Module | Callable[[], nn.Module] | None = None,
        batch: Callable[..., Any] | None = None,
        loss: Callable[[Any, Any], torch.Tensor] | None = None,
        sizes: str | Sequence[str] | Mapping[str, int] = (),
        changes: Mapping[str, Any] | None = None,
        select: str = "strategy",
        loss_key: str | None = None,
        report: bool = True,
        patience_s: float = 30.0,
        client_of: node_ids.ClientOf | None = None,
    ) -> None:
        if select not in ("strategy", "scenario"):
            raise InputError(f"select is {select!r}; it is 'strategy' or 'scenario'")
        self.loaded = priced(scenario, changes or {}, model, batch, loss, sizes)
        self.out = None if out is None else Path(out)
        self.by_policy = select == "scenario"
        self.loss_names = LOSS_NAMES if loss_key is None else (loss_key,)
        self.report = report
        self.patience_s = patience_s
        self.client_of = client_of

    def wrap(self, strategy: Strategy) -> FleetStrategy:
        """The strategy with this fleet: start it as you would have started the other."""
        return FleetStrategy(strategy, self)


class FleetStrategy(Strategy):
    """A strategy whose clients are a fleet's. Everything not said here is the strategy's own.

    Attributes:
        strategy: the app's own.
        run_dir: the run directory, once started.
    """

    def __init__(self, strategy: Strategy, fleet: Fleet) -> None:
        self.strategy = strategy
        self.fleet = fleet
        self.run_dir: Path | None = None

    def __getattr__(self, name: str) -> Any:
        """Attributes of the app's strategy."""
        if name in ("strategy", "fleet"):
            raise AttributeError(name)
        return getattr(self.strategy, name)

    def start(self, grid: Grid, *args: Any, **kwargs: Any) -> Result:
        """Run the app: the strategy's own ``start``, with the fleet in between.

        Raises:
            InputError: if fleet and app do not fit, before anything is trained.
        """
        call = inspect.signature(self.strategy.start).bind(grid, *args, **kwargs)
        call.apply_defaults()
        fleet, given = self.fleet, call.arguments
        clients = fleet.loaded.scenario.fleet.clients
        found = node_ids.discover(grid, clients, fleet.patience_s, fleet.client_of)
        sent = given.get("initial_arrays")
        about = {
            "version": metadata.version("flwr"),
            "strategy": type(self.strategy).__name__,
            "clients": "given by client_of" if fleet.client_of is not None else node_ids.RULE,
            "select": "scenario" if fleet.by_policy else "strategy",
            "arrays_bytes": sum(len(a.data) for a in sent.values()) if sent is not None else None,
        }
        wanted = int(given.get("num_rounds", fleet.loaded.scenario.rounds.count))
        least = _least(self.strategy)
        _fits(self.strategy, least, clients, "the fleet has {}")
        rounds = Rounds(fleet.loaded, wanted, fleet.by_policy, fleet.out, about)
        self.run_dir = rounds.directory
        course = Course(rounds, self.strategy, found, fleet.loss_names, least)
        try:
            if fleet.by_policy:
                _fits(self.strategy, least, rounds.wanted, "the scenario offers it {} a round")
            if callable(given.get("evaluate_fn")):
                given["evaluate_fn"] = course.watch(given["evaluate_fn"])
            with _in_between(self.strategy, course):
                result: Result = self.strategy.start(*call.args, **call.kwargs)
        except BaseException as fault:
            course.finish(f"the app stopped: {type(fault).__name__}: {str(fault).strip()}")
            raise
        course.finish()
        if fleet.report:
            from fedsim.report import build

            build.write(rounds.directory)
        log(INFO, "fedsim: the run is in %s", rounds.directory)
        return result

    def summary(self) -> None:
        self.strategy.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        raise self._not_outermost()

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        raise self._not_outermost()

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        raise self._not_outermost()

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        raise self._not_outermost()

    def _not_outermost(self) -> InputError:
        return InputError(
            "a strategy with a fleet must be the one whose start is called: wrap the outermost strategy, "
            "as in Fleet(...).wrap(DifferentialPrivacyServerSideFixedClipping(FedAvg(), ...))"
        )


def _least(strategy: Any) -> int:
    """How many nodes a strategy waits for; 0 if it does not say. Looks into strategies that it wraps."""
    found = [0]
    seen: set[int] = set()
    while strategy is not None and id(strategy) not in seen:
        seen.add(id(strategy))
        values = [getattr(strategy, name, 0) for name in ("min_available_nodes", "min_train_nodes")]
        found += [value for value in values if isinstance(value, int)]
        strategy = getattr(strategy, "strategy", None)
    return max(found)


def _fits(strategy: Strategy, least: int, clients: int, words: str) -> None:
    if least > clients:
        raise InputError(
            f"{type(strategy).__name__} waits for {plural(least, 'node')} and "
            f"{words.format(plural(clients, 'client'))}; lower its "
            "min_available_nodes and min_train_nodes, or ask for a larger fleet"
        )


@contextlib.contextmanager
def _in_between(strategy: Strategy, course: Course) -> Iterator[None]:
    """Put the course before the four methods of a strategy for as long as it runs."""
    own = {name: value for name, value in vars(strategy).items() if name in METHODS}
    for name in METHODS:
        setattr(strategy, name, getattr(course, name))
    try:
        yield
    finally:
        for name in METHODS:
            delattr(strategy, name)
        for name, value in own.items():
            setattr(strategy, name, value)

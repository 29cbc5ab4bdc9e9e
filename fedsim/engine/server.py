"""One run of a plan: the server, synchronous or not, on a clock.

:func:`simulate` runs to the end. :class:`Simulation` gives one record after another and can be
asked for its state between two of them; a simulation begun from that state goes on as if it had
never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fedsim.engine.asynchronous import Asynchronous
from fedsim.engine.clock import Clock
from fedsim.engine.completion import Buffered
from fedsim.engine.plan import Plan
from fedsim.engine.records import Ending, RoundRecord
from fedsim.engine.server_state import ServerState, State
from fedsim.engine.synchronous import Synchronous
from fedsim.engine.world import Learner, World


class Simulation:
    """One run of a plan, round by round.

    Iterating gives a :class:`RoundRecord` at each close. ``ending`` is set when there are no more.

    Args:
        world: clients, and what rounds take them.
        plan: what the server does.
        learner: what makes a model of the updates; without one the run is timing-only, with the same
            times and outcomes (``rejected`` aside, which only a learner can decide).
        state: what :meth:`state` gave at the close of an earlier round, to go on from.
    """

    def __init__(self, world: World, plan: Plan, learner: Learner | None = None, state: State | None = None):
        clock = Clock(0.0 if state is None else float(state["now_s"]))
        self._state = ServerState(world, plan, learner, clock)
        self._process: Synchronous | Asynchronous
        if isinstance(plan.close, Buffered):
            self._process = Asynchronous(self._state, plan.close)
        else:
            self._process = Synchronous(self._state, plan.close)
        if state is not None:
            self._state.restore(state)
            self._process.restore(state)
        self._records = clock.records()
        clock.start(self._process.rounds())

    def __iter__(self) -> Iterator[RoundRecord]:
        return self._records

    @property
    def ending(self) -> Ending | None:
        """How it ended; None as long as there may be more records."""
        clock = self._state.clock
        if clock.reason is None:
            return None
        return Ending(self._state.next_round, clock.reason, clock.now_s)

    def state(self) -> dict[str, Any]:
        """What a simulation that goes on from here needs: plain numbers, arrays, dicts of them."""
        return {**self._state.state(), **self._process.state()}


def simulate(
    world: World,
    plan: Plan,
    learner: Learner | None = None,
    observe: Callable[[RoundRecord], None] | None = None,
    state: State | None = None,
) -> Ending:
    """Run a plan to its end; see :class:`Simulation`.

    Args:
        world: clients, and what rounds take them.
        plan: what the server does.
        learner: what makes a model of the updates, if anything does.
        observe: called at the close of each round, in order.
        state: to go on from.
    """
    simulation = Simulation(world, plan, learner, state)
    for record in simulation:
        if observe is not None:
            observe(record)
    assert simulation.ending is not None
    return simulation.ending

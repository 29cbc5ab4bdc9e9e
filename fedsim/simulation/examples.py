"""On how many examples a client trains in a round: as the clock has it, and as the learner does.

The clock goes by the scenario's workload, a profile or a number; the learner by what there really is to
learn from. They need not agree. Updates weigh by the latter, so both are told where they differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim import words
from fedsim.learning.options import Learning
from fedsim.simulation.compose import Composition
from fedsim.simulation.learner import RunLearner
from fedsim.simulation.outlook import SAMPLE


def on_the_clock(composition: Composition) -> NDArray[np.float64]:
    """Examples of each client's round on the simulated clock, float64[n]; of the first 20,000 clients."""
    clients = np.arange(min(composition.world.clients, SAMPLE), dtype=np.int64)
    return composition.world.estimate(clients, 0, 0.0).examples


def spread(examples: NDArray[Any]) -> dict[str, float]:
    """The ``least``, ``mean`` and ``most`` over clients (at least one)."""
    return {"least": float(examples.min()), "mean": float(examples.mean()), "most": float(examples.max())}


def difference(composition: Composition, learner: RunLearner) -> dict[str, dict[str, float]] | None:
    """The spreads of the ``clock`` and of the ``learner``; None if they agree on every client.

    None also if the learner does not know yet.
    """
    clock = on_the_clock(composition)
    real = learner.trains_on(np.arange(clock.size, dtype=np.int64))
    if real is None or np.array_equal(clock, real):
        return None
    return {"clock": spread(clock), "learner": spread(real)}


def in_words(found: dict[str, float]) -> str:
    """A spread: ``2 to 8 (4.67 on average)``, or the one number that there is."""
    return words.spread(found["least"], found["most"], f"{found['mean']:,.3g}")


def rule(learning: Learning) -> str:
    """What the learner has a client train on in a round, as far as the scenario says it."""
    if learning.local_epochs is None:
        return f"{words.plural(learning.local_steps, 'step')} of {learning.batch_size:,}"
    return words.plural(learning.local_epochs, "epoch")

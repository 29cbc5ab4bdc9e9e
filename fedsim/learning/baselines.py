"""What federated training is held against: the same learner under other circumstances.

Each is a :class:`~fedsim.learning.federation.Federation` of one client, so it runs through the same
loop and ends in the same run directory. ``no-pretraining`` trains nothing: it is the federation itself,
whose initial model is fine-tuned.
"""

from __future__ import annotations

from dataclasses import replace

from fedsim.learning.aggregate import Uniform
from fedsim.learning.compression import Whole
from fedsim.learning.federation import Federation


def of(federation: Federation, cohort: int, seed: int) -> Federation:
    """The baseline that a federation asks for, or the federation as it is.

    Args:
        federation: its ``learning.baseline`` names the baseline, ``alone`` the client of ``local-only``.
        cohort: clients a round of the federation.
        seed: of the run.

    Raises:
        CorpusError: if the data cannot be had or divided (``local-only`` looks into them).
    """
    learning = federation.learning
    if learning.baseline == "centralised":
        return replace(centralised(federation, cohort), clients=1)
    if learning.baseline == "local-only":
        assert learning.alone is not None
        return replace(local_only(federation, part_of(federation, seed, learning.alone)), clients=1)
    return federation


def centralised(federation: Federation, cohort: int | None = None) -> Federation:
    """All training examples in one place, as many optimizer steps in all as the federation takes.

    A round is as many consecutive steps as the clients trained for real in a round take together
    (no more than ``cohort``, if given), and the optimizer's state is carried from round to round.
    With ``local_epochs`` the federation's steps depend on who holds how much; a round is then that
    many passes over the share of the data that those clients hold on average.
    """
    learning = federation.learning
    trained = learning.clients_per_round if cohort is None else min(learning.clients_per_round, cohort)
    trained = min(trained, federation.clients)
    share = min(1.0, trained / (learning.task.parts_wanted or federation.clients))
    single = _single(federation)
    steps = replace(
        single.learning,
        local_steps=trained * learning.local_steps,
        local_epochs=None if learning.local_epochs is None else learning.local_epochs * share,
    )
    return replace(single, learning=steps, pooled=True)


def local_only(federation: Federation, part: int = 0) -> Federation:
    """One client alone with what it holds, round after round: what it would get without the others."""
    return replace(_single(federation), only_part=part)


def part_of(federation: Federation, seed: int, client: int) -> int:
    """The part of the data that a client of the federation holds."""
    from fedsim.learning.holdings import Holdings

    data = federation.task.data(seed)
    return int(Holdings(data.parts, federation, seed).part_of([client])[0])


def _single(federation: Federation) -> Federation:
    """One client a round, whose weights and optimizer go on from round to round unchanged."""
    learning = federation.learning
    return replace(
        federation,
        learning=replace(
            learning,
            clients_per_round=1,
            optimizer_state="averaged" if learning.optimizer != "sgd" else "fresh",
            byzantine=None,
        ),
        aggregate=Uniform(),
        compression=Whole(),
        max_staleness=0,
    )

"""What federated training is held against: the same learner under other circumstances.

Each is a :class:`~fedsim.learning.spec.LearnerSpec` for a federation of one client, so it runs
through the same loop and ends in the same run directory. ``no-pretraining`` trains nothing: its
spec is that of the federation, whose initial model is fine-tuned.
"""

from __future__ import annotations

from dataclasses import replace

from fedsim.learning.spec import LearnerSpec


def of(kind: str | None, spec: LearnerSpec, cohort: int, seed: int, client: int | None = None) -> LearnerSpec:
    """The spec of a baseline.

    Args:
        kind: ``centralised``, ``local-only``, ``no-pretraining``; None: ``spec`` as it is.
        spec: of the federation.
        cohort: clients a round of the federation.
        seed: of the run.
        client: of ``local-only``: the client of the federation who is alone.

    Raises:
        CorpusError: if the corpus cannot be had or divided (``local-only`` looks into it).
    """
    if kind == "centralised":
        return replace(centralised(spec, cohort), clients=1)
    if kind == "local-only":
        assert client is not None
        return replace(local_only(spec, part_of(spec, seed, client)), clients=1)
    return spec


def centralised(spec: LearnerSpec, cohort: int | None = None) -> LearnerSpec:
    """All training speech in one place, as many optimizer steps in all as the federation takes.

    A round is as many consecutive steps as the clients trained for real in a round take together
    (no more than ``cohort``, if given), and the optimizer's state is carried from round to round.
    With ``local_epochs`` the federation's steps depend on who holds how much; a round is then that
    many passes over the share of the speech that those clients hold on average.
    """
    trained = spec.clients_per_round if cohort is None else min(spec.clients_per_round, cohort)
    trained = min(trained, spec.clients)
    share = min(1.0, trained / (spec.parts or spec.clients))
    return replace(
        _single(spec),
        pooled=True,
        local_steps=trained * spec.local_steps,
        local_epochs=None if spec.local_epochs is None else spec.local_epochs * share,
    )


def local_only(spec: LearnerSpec, part: int = 0) -> LearnerSpec:
    """One client alone with its own speech, round after round: what it would get without the others."""
    return replace(_single(spec), only_part=part)


def part_of(spec: LearnerSpec, seed: int, client: int) -> int:
    """The part of the corpus that a client of the federation holds."""
    from fedsim.learning import corpus, partition

    return int(partition.divide(corpus.load(spec.corpus), spec, seed).part_of([client])[0])


def _single(spec: LearnerSpec) -> LearnerSpec:
    """One client a round, whose weights and optimizer go on from round to round unchanged."""
    return replace(
        spec,
        clients_per_round=1,
        optimizer_state="averaged" if spec.optimizer != "sgd" else "fresh",
        aggregate="uniform",
        compression="none",
        byzantine=None,
        max_staleness=0,
    )

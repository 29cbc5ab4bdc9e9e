"""What federated training is held against: the same learner under other circumstances.

Each is a :class:`~fedsim.learning.spec.LearnerSpec`, so it runs on the same schedule and ends in
the same run directory. ``no-pretraining`` needs none: fine-tune the checkpoint after 0 rounds.
"""

from __future__ import annotations

from dataclasses import replace

from fedsim.learning.spec import LearnerSpec


def centralised(spec: LearnerSpec) -> LearnerSpec:
    """All training speech in one place, as many optimizer steps in all as the federation takes.

    A round is ``clients_per_round`` x ``local_steps`` consecutive steps, and the optimizer's state
    is carried from round to round.
    """
    return replace(
        spec,
        pooled=True,
        clients_per_round=1,
        local_steps=spec.clients_per_round * spec.local_steps,
        optimizer_state="averaged" if spec.optimizer != "sgd" else "fresh",
        aggregate="uniform",
        compression="none",
        max_staleness=0,
    )


def local_only(spec: LearnerSpec, part: int = 0) -> LearnerSpec:
    """One client alone with its own speech, round after round: what it would get without the others."""
    return replace(
        spec,
        only_part=part,
        clients_per_round=1,
        optimizer_state="averaged" if spec.optimizer != "sgd" else "fresh",
        aggregate="uniform",
        compression="none",
        max_staleness=0,
    )

"""What a scenario says reaches the rooms that act on it."""

from dataclasses import fields

from fedsim.learning import FinetuneSpec, LearnerSpec
from fedsim.learning.spec import CorpusSpec
from fedsim.scenario import model

ABOUT_THE_RUN = {"baseline", "alone"}  # what is run at all, which is no matter of the learner


def shared_defaults(block, spec):
    known = {field.name: field for field in fields(spec)}
    made = block.model_construct()
    return {
        name: (getattr(made, name), known[name].default)
        for name in block.model_fields
        if name not in {"corpus", "downstream", *ABOUT_THE_RUN}
    }


def test_a_scenarios_learning_block_has_the_learners_own_keys_and_defaults():
    for block, spec in (
        (model.Learning, LearnerSpec),
        (model.Downstream, FinetuneSpec),
        (model.CorpusSpec, CorpusSpec),
    ):
        for name, (ours, theirs) in shared_defaults(block, spec).items():
            assert ours == theirs, f"{block.__name__}.{name}"

"""What techniques save, against ratios that a paper measured with a model of twelve equal layers."""

from __future__ import annotations

from statistics import mean

import pytest

from fedsim.hardware import load_device
from fedsim.pricing import Pricer, Technique, load_trace


def flops(stages):
    device, trace = load_device("nvidia-a100-40gb"), load_trace("vit-base")
    return mean(float(Pricer(device, trace, stage).training_flops(64, 1)) for stage in stages)


@pytest.mark.parametrize(
    ("stages", "published"),
    [
        ([Technique.of(train={"layer": {"layer": s, "head": True}}, depth=s) for s in range(1, 13)], 4.20),
        ([Technique(depth=s) for s in range(1, 13)], 1.84),
    ],
    ids=["layer-wise", "progressive"],
)
def test_stages_of_a_transformer_save_the_flops_that_were_published(stages, published):
    """Tun et al., arXiv 2401.11647, abstract: 4.20 and 1.84 times less than end to end."""
    assert flops([Technique()]) / flops(stages) == pytest.approx(published, rel=0.01)

import sys
from pathlib import Path

import pytest
import torch

from fedsim.measure.operators import Operator, TensorSpec
from fedsim.measure.timing import Setting, Timed
from fedsim.tracing import configs
from fedsim.tracing.operators import Cost
from fedsim.tracing.step import Step, Variant

sys.path.insert(0, str(Path(__file__).parent))  # tests import constants of those beside them

FORWARD, BACKWARD = False, True


@pytest.fixture
def made():
    """Operators and timed operators from plain numbers."""
    return Maker()


class Maker:
    def operator(self, kind="matmul", flops=0, moved=0, count=1, backward=FORWARD):
        spec = TensorSpec((2, 3), (3, 1), torch.float32)
        cost = Cost(kind, backward, flops, moved, 1)
        return Operator(torch.ops.aten.mul.Tensor, (spec, spec), (), cost, count)

    def timed(self, kind, work, runs, count=1, setting=None, precision="fp32"):
        stream = kind == "stream"
        operator = self.operator(
            None if stream else kind, 0 if stream else work, work if stream else 8, count
        )
        return Timed(precision, setting or Setting(1, 4.0), operator, tuple(runs))


@pytest.fixture(scope="session")
def tiny_step():
    return Step(configs.preset("wav2vec2-tiny"), Variant("cpu", "eager", "fp32"))

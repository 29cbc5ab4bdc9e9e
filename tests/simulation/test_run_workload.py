"""A workload of examples of one size, instead of speech."""

from pathlib import Path

import pytest

from fedsim import scenario
from fedsim.errors import ScenarioError
from fedsim.scenario.file_access import ANYWHERE
from fedsim.simulation.execute import time_rounds

DATA = {
    "name": "one-size",
    "fleet": {"clients": 3, "mix": [{"device": "jetson-xavier-nx", "share": 1.0, "link": "instant"}]},
    "workload": {"examples": 12, "sizes": {"samples": 88_000}},
    "training": {"batch_size": 4, "local_epochs": 2},
    "rounds": {"count": 1, "cohort": 3},
}


def build(**workload):
    data = {**DATA, "workload": {**DATA["workload"], **workload}}
    return scenario.build(data, Path("one.yaml"), ANYWHERE)


def test_a_round_takes_passes_times_batches_times_a_step():
    from fedsim.hardware import load_device
    from fedsim.pricing import Pricer, Technique, load_trace

    (record,) = time_rounds(build())
    pricer = Pricer(load_device("jetson-xavier-nx"), load_trace("wav2vec2-base"), Technique())
    assert record.clients.compute_s == pytest.approx([2 * 3 * float(pricer.step_s(4, 88_000))] * 3)
    assert record.clients.examples.tolist() == [12.0] * 3


@pytest.mark.parametrize(
    ("workload", "sentence"),
    [
        (
            {"sizes": {}},
            r"workload.sizes: none given; an example of wav2vec2-base has samples: give \{samples: ...\}",
        ),
        ({"sizes": {"tokens": 3}}, "workload.sizes: tokens given; an example of wav2vec2-base has samples"),
        ({"sizes": {"samples": 0}}, "workload.sizes.samples: 0 is not at least 1"),
        ({"examples": None}, "workload: the key 'sizes' needs the key 'examples' beside it"),
        ({"mean_seconds": 3.0}, "workload: the key 'mean_seconds' is about speech"),
        ({"examples": 0}, "workload.examples: 0 is not at least 1"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(workload, sentence):
    with pytest.raises(ScenarioError, match=sentence):
        build(**workload)

"""A trace gives what a direct one gives: every layer, every metric, to the byte."""

from __future__ import annotations

import copy
import json

import networkx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedsim.errors import FedsimError
from fedsim.pricing.trace import load_trace, parse_trace
from fedsim.tracing import configs
from fedsim.tracing.interpolation import FitError, fit
from fedsim.tracing.step import VARIANTS, Step, Variant
from fedsim.tracing.trace import VerificationError, dumps, verify


@pytest.fixture(scope="module")
def steps(small_config, small_trace):
    names = [v for v in small_trace.variants if "@" not in v]
    return {name: Step(small_config, Variant(*name.split("/"))) for name in names}


@given(data=st.data())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_batch_and_length(small_trace, steps, data):
    name = data.draw(st.sampled_from(sorted(steps)))
    batch = data.draw(st.integers(1, 9))
    samples = data.draw(st.integers(400, 60_000))
    verify(small_trace, steps[name].variant, steps[name], batch, samples)


def test_it_is_held_to_the_byte(small_content, steps):
    content = copy.deepcopy(small_content)
    profile = content["graph"]["profiles"]["encoder.layers.0.attention.q_proj"][0]
    profile["saved_bytes"] = [[c + 1, *rest] for c, *rest in profile["saved_bytes"]]
    step = next(iter(steps.values()))
    with pytest.raises(VerificationError, match="saved_bytes of encoder"):
        verify(parse_trace(content), step.variant, step, 2, 5000)


def test_the_shipped_tiny_trace_is_that_of_its_configuration():
    trace = load_trace("wav2vec2-tiny")
    config = configs.preset("wav2vec2-tiny")
    variant = Variant("cpu", "eager", "fp32")
    verify(trace, variant, Step(config, variant), 3, 31_337)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("name", configs.presets())
def test_the_shipped_traces_at_full_size(name, variant):
    trace = load_trace(name)
    step = Step(configs.preset(name), variant)
    verify(trace, variant, step, 1, 47_777)
    verify(trace, variant, step, 7, 203_456)


def test_written_traces_read_back_the_same(small_content):
    assert json.loads(dumps(small_content)) == small_content


def test_a_trace_is_a_graph_from_waveform_to_loss(small_content, small_trace):
    graph = networkx.node_link_graph(small_content, edges="edges")
    place = {name: index for index, name in enumerate(graph)}
    assert all(place[source] < place[target] for source, target in graph.edges)
    assert graph.number_of_nodes() == len(small_trace.layers)
    first, last = small_trace.layers[0].name, small_trace.layers[-1].name
    assert "objective" in networkx.descendants(graph, first)
    assert list(graph.predecessors("encoder.layers.2.residual")) == [
        "encoder.layers.1.final_layer_norm",
        "encoder.layers.2.dropout",
    ]
    assert last.startswith("objective")


def test_deepened_layers_are_distinct_and_counted(small_trace, small_config):
    from transformers import Wav2Vec2ForPreTraining

    from fedsim.tracing.fake import build

    _, model = build(lambda: Wav2Vec2ForPreTraining(small_config))
    assert small_trace.parameters == sum(p.numel() for p in model.parameters())
    assert sum(layer.tensors for layer in small_trace.layers) == len(list(model.parameters()))


LINES = ((0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1))
SQUARES = ((0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 0, 0), (1, 0, 1), (1, 0, 2))


def test_fit_refuses_what_is_no_polynomial():
    points = [(b, (n,)) for b in (1, 2, 3) for n in (5, 7, 11, 13)]
    cubes = [[n**3] for _, (n,) in points]
    with pytest.raises(FitError, match="not polynomial"):
        fit(points, cubes, [LINES, SQUARES])
    squares = [[3 * b * n * n - 2 * n + 7] for b, (n,) in points]
    (found,) = fit(points, squares, [LINES, SQUARES])
    assert found.terms == {(1, 0, 2): 3, (0, 0, 1): -2, (0, 0, 0): 7}
    assert issubclass(FitError, FedsimError)

"""What of a model trains, and so travels, by part: for the engine, which adds up who sends what.

A part is a layer of the trace (``encoder.layers.0.attention.q_proj``), its biases (``….q_proj.bias``), or
what is put beside it or after a block (``….q_proj.lora``, ``encoder.layers.0.adapter``).
"""

from __future__ import annotations

from collections.abc import Iterator

from fedsim.pricing.inserted import Inserted
from fedsim.pricing.layers import Layer, LayerTrace
from fedsim.pricing.states import course
from fedsim.pricing.technique import Technique


def trained(trace: LayerTrace, technique: Technique) -> dict[str, int]:
    """Numbers that train, by part; parts without any are left out.

    Raises:
        InputError: the model has not got what the technique names.
    """
    found: dict[str, int] = {}
    for state in course(trace, technique).states:
        for part, numbers in _parts(state.layer):
            if state.trains == "all" or (state.trains == "biases" and part.endswith(".bias")):
                found[part] = found.get(part, 0) + numbers
    return found


def running(trace: LayerTrace, technique: Technique) -> frozenset[str]:
    """The parts of the model that run.

    Raises:
        InputError: the model has not got what the technique names.
    """
    layers = course(trace, technique).trace.layers
    return frozenset(part for layer in layers for part, _ in _parts(layer))


def _parts(layer: Layer) -> Iterator[tuple[str, int]]:
    """The parts of a layer that hold numbers, and how many."""
    if isinstance(layer, Inserted):
        yield layer.part, layer.parameters
        return
    for part, numbers in (
        (layer.name, layer.parameters - layer.biases),
        (f"{layer.name}.bias", layer.biases),
    ):
        if numbers:
            yield part, numbers

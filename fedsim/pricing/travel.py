"""Which parts of a model train, and which run."""

from __future__ import annotations

from fedsim.pricing.layers import LayerTrace
from fedsim.pricing.structure import check_depth, check_layers, linear_layers, structure_of
from fedsim.pricing.technique import Technique
from fedsim.pricing.trained import Biases, Everything, FrozenCNN, Head, Last, LoRA, OneLayer


def trained(trace: LayerTrace, technique: Technique) -> dict[str, int]:
    """How many numbers train, by part of the model."""
    found, train = structure_of(trace), technique.train
    if technique.depth is not None:
        check_depth(trace, technique.depth)
    check_layers(trace, train, technique.depth)
    top = technique.depth or len(found.layers)
    parts = {}
    if isinstance(train, LoRA):
        for layer in linear_layers(trace, train):
            if found.number.get(layer.name, 0) <= top:
                parts[f"{layer.name}.lora"] = train.rank * ((layer.inputs or 0) + (layer.outputs or 0))
    for layer in trace.layers:
        number, head = found.number.get(layer.name, 0), layer.name in found.head
        if number > top or not layer.parameters:
            continue
        cnn = layer.block is not None and trace.blocks[layer.block].stack == "cnn"
        whole = (
            isinstance(train, Everything)
            or (isinstance(train, FrozenCNN) and not cnn)
            or (isinstance(train, Last) and number > top - train.layers)
            or (isinstance(train, OneLayer) and number == train.layer)
            or (head and (isinstance(train, Head | Last) or getattr(train, "head", False)))
        )
        if whole:
            parts[layer.name] = layer.parameters - layer.biases
        if layer.biases and (whole or isinstance(train, Biases)):
            parts[f"{layer.name}.bias"] = layer.biases
    return parts


def running(trace: LayerTrace, technique: Technique) -> frozenset[str]:
    """The parts that run."""
    found = structure_of(trace)
    top = technique.depth or len(found.layers)
    return frozenset(layer.name for layer in trace.layers if found.number.get(layer.name, 0) <= top)

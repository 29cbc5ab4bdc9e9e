"""Figure 2's training memory under several accounts, side by side.

The paper states 2.54 GB at 5.5 s x 4 and 9.89 GB at 12 s x 8 for wav2vec 2.0 base. Both lie on one
straight line in seconds of audio that meets zero seconds at 0.355, which is the fp32 weights in GiB
(0.354): so its GB are 2**30 bytes, and nothing in its account grows with the square of the length.
What is really alive does: eager attention keeps two to three frames x frames maps.

The account under which both figures hold is what model summaries print (torchsummary, torchinfo):
weights, and for the output of every module without children once its value and once its gradient.
Attention's maps are no module's output; activation functions were none either in the transformers
of early 2022, where they were plain functions, and are left out. It comes to 2.52 and 9.69 GiB, 0.8
and 2.0% below the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.pricing.layers import Layer, LayerTrace
from fedsim.pricing.technique import Technique
from fedsim.pricing.timeline import timeline
from fedsim.pricing.transfer import update_bytes


@dataclass(frozen=True)
class Account:
    """Bytes of a training step by one way of counting, and what it counts."""

    name: str
    bytes: float
    how: str


def counts_as_module(layer: Layer) -> bool:
    """Whether a layer is a module in the model-summary account."""
    return "Activation" not in layer.module_class


def accounts(trace: LayerTrace, batch: int, samples: int, variant: str = "cpu/eager/fp32") -> list[Account]:
    """Every account of a step at one batch and length, by the metrics of ``variant``."""
    weights = update_bytes(trace.parameters)
    saved = list(zip(trace.layers, trace.per_layer("saved_bytes", variant, batch, samples), strict=True))
    outputs = zip(trace.layers, trace.per_layer("output_bytes", variant, batch, samples), strict=True)
    modules = sum(value for layer, value in outputs if counts_as_module(layer))
    kept = sum(value for _, value in saved)
    loss = sum(value for layer, value in saved if layer.group == "loss")
    maps = sum(value for layer, value in saved if layer.arithmetic == "attention")
    alive = peak_bytes(trace, batch, samples, variant)
    return [
        Account("modules", weights + 2.0 * modules, "weights, outputs of modules and their gradients"),
        Account(
            "saved without loss", weights + kept - loss, "weights and what autograd keeps, less the loss"
        ),
        Account("saved", weights + kept, "weights and what autograd keeps at the end of the forward pass"),
        Account("saved without maps", weights + kept - loss - maps, "the same without attention's products"),
        Account("alive", weights + alive, "weights and the most that is alive in forward and backward"),
    ]


def peak_bytes(trace: LayerTrace, batch: int, samples: int, variant: str = "cpu/eager/fp32") -> float:
    """The most that is alive in forward and backward pass beside weights and optimizer state."""
    single, several = trace.names(variant)
    steps = timeline(trace, single if batch == 1 else several, Technique())
    axes = [int(n) for n in trace.lengths(samples)]
    return max(float(moment.total(batch, axes)) for moment in steps.moments)

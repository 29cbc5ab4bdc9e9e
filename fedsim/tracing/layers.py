"""What a recorded layer is called, and where it belongs: name, kind, group, block.

The groups are the rows of the paper's Table 1, by the accounting under which its sixteen figures
come out: the feature projection counts with the CNN encoder; the two projections in front of the
contrastive loss (``project_hid``, ``project_q``) count with the quantizer in FLOPs, and their
parameters are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.tracing.recorder import Layer
from fedsim.tracing.roles import ASIDE

Key = tuple[str, int]
"""A module's path and which of its stretches this is: the same layer in every trace of a model."""

_PROJECTIONS = ("project_hid", "project_q")


@dataclass(frozen=True)
class Identity:
    """Everything about a layer that does not depend on the variant."""

    module: str
    module_class: str
    label: str
    kind: str
    group: str
    in_table1: bool


def keyed(layers: list[Layer]) -> dict[Key, Layer]:
    """The layers under keys that are stable from trace to trace, idle ones included."""
    seen: dict[str, int] = {}
    found: dict[Key, Layer] = {}
    for layer in layers:
        seen[layer.module] = seen.get(layer.module, -1) + 1
        found[layer.module, seen[layer.module]] = layer
    return found


def identify(layer: Layer) -> Identity:
    """What the layer is, from its module and the arithmetic it does."""
    module, name = layer.module, layer.module_class
    whole = module.removesuffix(ASIDE).removesuffix(".")  # what this was set aside of, if it was
    if layer.leaf:
        label = ""
    elif not module:
        label = "objective"
    elif "Attention" in name:
        label = "products" if layer.arithmetic else "reshape"
    elif "Quantizer" in name:
        label = "codebook"
    elif name.endswith("Model"):
        label = "masking"
    elif "EncoderLayer" in name:
        label = "residual"
    else:
        label = "functional"
    if layer.arithmetic in ("conv", "grouped_conv"):
        kind = "conv"
    elif layer.arithmetic in ("matmul", "attention"):
        kind = layer.arithmetic
    elif "Norm" in name:
        kind = "norm"
    else:
        kind = "elementwise" if whole else "loss"
    return Identity(module, name, label, kind, _group(whole), module.split(".")[-1] not in _PROJECTIONS)


def _group(module: str) -> str:
    parts = module.split(".")
    if "feature_extractor" in parts or "feature_projection" in parts:
        return "cnn_encoder"
    if parts[0] in ("head", "final_proj"):
        return "head"
    if "quantizer" in parts or parts[-1] in _PROJECTIONS or "dropout_features" in parts:
        return "quantization"
    if (parts[0] == "model" and len(parts) > 1) or module == "model":
        return "model"
    return "transformer" if module else "loss"

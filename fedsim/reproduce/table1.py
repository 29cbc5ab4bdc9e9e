"""Table 1: parameters and inference FLOPs of the three modules, from the layer traces."""

from __future__ import annotations

from fedsim.pricing import LayerTrace, load_trace
from fedsim.reproduce.figure import Figure, rows

SAMPLES = 88_000  # 5.5 s at 16 kHz
_GROUPS = {"cnn_encoder": "cnn_encoder", "transformer": "transformer", "quantization": "quantization"}
_HOW_FLOPS = "layer trace: 2 x multiply-adds of convolutions and linear layers, batch 1, 5.5 s"
_HOW_PARAMETERS = "layer trace: weights of the module's layers"


def module_parameters(trace: LayerTrace) -> dict[str, int]:
    """Parameters by module of Table 1, and ``total``.

    The projections in front of the contrastive loss (``project_hid``, ``project_q``) are left out,
    as the paper's sums show.
    """
    found = {
        module: sum(layer.parameters for layer in trace.layers if layer.group == group and layer.in_table1)
        for module, group in _GROUPS.items()
    }
    return found | {"total": sum(found.values())}


def module_flops(trace: LayerTrace, samples: int = SAMPLES) -> dict[str, int]:
    """Forward FLOPs of one sequence by module of Table 1, and ``total``, in the paper's convention."""
    flops = trace.per_layer("forward_flops", trace.variants[0].removesuffix("@1"), 1, samples)
    found = {
        module: sum(
            count
            for layer, count in zip(trace.layers, flops, strict=True)
            if layer.group == group and layer.arithmetic in ("conv", "grouped_conv", "matmul")
        )
        for module, group in _GROUPS.items()
    }
    return found | {"total": sum(found.values())}


def figures() -> list[Figure]:
    """All 16 figures of Table 1."""
    found = []
    traces = {model: load_trace(f"wav2vec2-{model}") for model in ("base", "large")}
    for row in rows("table1.csv"):
        model, module = row["model"], row["module"]
        trace = traces[model]
        for item, paper, ours, unit, how in (
            (
                "parameters",
                row["params_millions"],
                module_parameters(trace)[module] / 1e6,
                "million",
                _HOW_PARAMETERS,
            ),
            ("gflops", row["gflops"], module_flops(trace)[module] / 1e9, "GFLOP", _HOW_FLOPS),
        ):
            found.append(Figure("table1", f"{model}/{module}/{item}", float(paper), ours, unit, how))
    return found

"""What techniques save, priced layer by layer, beside what papers measured.

    python analysis/techniques.py [--out analysis/results/techniques.csv]

Layer-wise training goes through a model's layers in as many stages of equal length: in stage s the first s
run, and layer s and the head train. Progressive training runs the first s, too, and trains them all. Memory
is that of the stage that needs most; FLOPs and bytes are means over the stages. Bytes are those that a client
sends. Each figure is how many times less than end-to-end training needs.
"""

# %% Setup
from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from fedsim.hardware import load_device
from fedsim.pricing import LayerTrace, Pricer, Technique, load_trace
from fedsim.pricing.sizes import counted

RESULTS = Path(__file__).resolve().parent / "results"
CASES = (("vit-base", 1, 64), ("wav2vec2-base", 5.5, 4), ("bert-base", 128, 8))
"""Model, size of an example (seconds, tokens, whatever if all are alike), batch."""
DEVICE = "nvidia-a100-40gb"
PUBLISHED = {
    # Tun et al., arXiv 2401.11647 (v5, abstract): MoCo v3 on ViT-Tiny with 12 layers, up to
    ("vit-base", "layer-wise"): {"memory": 3.34, "flops": 4.20, "bytes": 5.07},
    ("vit-base", "progressive"): {"memory": 1.0, "flops": 1.84, "bytes": 1.67},
}
FIGURES = ("memory", "flops", "seconds", "bytes")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "techniques.csv")
    return parser.parse_args()


# %% What a technique is made of
def ways(layers: int) -> dict[str, list[Technique]]:
    """Techniques by name, as the stages of a training."""
    numbers = range(1, layers + 1)
    return {
        "end to end": [Technique()],
        "layer-wise": [Technique.of(train={"layer": {"layer": s, "head": True}}, depth=s) for s in numbers],
        "progressive": [Technique(depth=s) for s in numbers],
        "last 2 layers": [Technique.of(train="last:2")],
        "LoRA rank 8": [Technique.of(train="lora:8")],
        "adapters of 64": [Technique.of(train="adapters:64")],
        "biases": [Technique.of(train="biases")],
        "forward passes only": [Technique(optimizer="sgd", forward_only=True)],
    }


def price(trace: LayerTrace, stages: Sequence[Technique], batch: int, size: int) -> dict[str, float]:
    """Memory of tensors, FLOPs and seconds of a step, bytes that a client sends."""
    pricers = [Pricer(load_device(DEVICE), trace, stage) for stage in stages]
    parts = [pricer.footprint(batch, size) for pricer in pricers]
    return {
        "memory": max(
            float(sum(v for k, v in part.items() if k not in ("runtime", "slack"))) for part in parts
        ),
        "flops": mean(float(pricer.training_flops(batch, size)) for pricer in pricers),
        "seconds": mean(float(pricer.step_s(batch, size)) for pricer in pricers),
        "bytes": mean(pricer.trained_bytes for pricer in pricers),
    }


def rows() -> list[dict[str, Any]]:
    """A row for each model and technique."""
    found = []
    for model, amount, batch in CASES:
        trace = load_trace(model)
        size = counted(trace, amount) if trace.sizes else 1
        layers = sum(block.stack != "cnn" for block in trace.blocks.values())
        priced = {name: price(trace, stages, batch, size) for name, stages in ways(layers).items()}
        whole = priced["end to end"]
        for name, ours in priced.items():
            published = PUBLISHED.get((model, name), {})
            row: dict[str, Any] = {"model": model, "batch": batch, "size": amount, "technique": name}
            for figure in FIGURES:
                row[f"{figure}_times_less"] = round(whole[figure] / ours[figure], 3)
            row |= {
                f"{figure}_published": published.get(figure, "") for figure in FIGURES if figure != "seconds"
            }
            found.append(row)
    return found


# %% All of it
def main() -> None:
    args = options()
    found = rows()
    with args.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    for row in found:
        said = [f"{row[f'{figure}_times_less']:9.2f}" for figure in FIGURES]
        print(f"{row['model']:14}{row['technique']:22}{''.join(said)}")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()

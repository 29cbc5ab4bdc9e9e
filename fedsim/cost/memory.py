"""Memory that no layer asks for: what allocators lose and what libraries take.

Constants of the footprint that follow from neither the trace nor the technique, each with its
source. Shares are of what is allocated and released within a step (saved tensors, workspace,
gradients); weights and optimizer state stay where they are and lose nothing.

CPU: resident peak of real wav2vec2-base training steps against the traced peak plus the resident
size after ``import torch, transformers``, torch 2.13 on Linux x86-64 with glibc 2.36, at batch x
seconds 1 x 2, 1 x 4, 1 x 10, 2 x 7, 3 x 4, 3 x 6, eager fp32 and Adam, fourth step: a least-squares
line. The share is the heap's fragmentation (glibc keeps blocks below its mmap threshold, which
grows to 32 MiB), the constant is what the first step loads and caches (oneDNN kernels, torch's lazy
imports).

CUDA: estimated. The caching allocator rounds blocks to 512 B and segments to 2 MiB or 20 MiB
(c10/cuda/CUDACachingAllocator.cpp) and keeps freed segments, and cuBLAS holds a workspace of 8 MiB
a handle; both shares are estimates of their sum, to be replaced by a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Slack:
    """Bytes beyond what is asked for: a share of what a step allocates, and a constant."""

    share: float
    fixed_bytes: float
    source: str


SLACK = {
    "cpu": Slack(0.25, 150e6, "measured: wav2vec2-base on a 2-core x86-64, torch 2.13, glibc 2.36"),
    "cuda": Slack(0.06, 64e6, "estimated: block rounding and cached segments of PyTorch's allocator"),
}
"""By backend."""

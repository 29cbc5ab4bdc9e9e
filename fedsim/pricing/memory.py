"""Memory that no layer asks for: what allocators lose and what libraries take.

Constants of the footprint that follow from neither the trace nor the technique, each with its
source.

CPU: measured. Resident peak of real training steps (torch 2.13, Linux x86-64, glibc 2.36, one
thread, eager fp32, Adam, median of the steps after the first) less the traced peak and the resident
size after ``import torch, transformers``:

    wav2vec2-base, batch x s    1x2   1x4   2x4   1x10  3x4   2x7   3x6   4x8
    a step allocates, GB        0.45  0.58  1.14  1.69  1.71  2.17  2.71  5.08
    lost, GB                    0.24  0.46  0.28  0.39  0.35  0.48  0.53  1.14
    wav2vec2-large 1x4, 1x8     1.42  3.09 allocated, 1.00  0.94 lost

The shares are the least-squares plane through these. What is lost is the heap's fragmentation: glibc
keeps blocks below its mmap threshold, which grows to 32 MiB, and gradients that are released after
every step leave holes between weights and state that stay. Held against five batches that the plane
has not seen (1 x 3, 1 x 5.5, 2 x 5.5, 2 x 8, 4 x 5.5, base), the whole footprint is off by 0, -4, +1,
-3 and -4%.

CUDA: estimated. The caching allocator rounds blocks to 512 B and segments to 2 MiB or 20 MiB
(c10/cuda/CUDACachingAllocator.cpp) and keeps freed segments, and cuBLAS holds a workspace of 8 MiB
a handle; both shares are estimates of their sum, to be replaced by a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Slack:
    """Bytes beyond what is asked for.

    ``share`` is of what a step allocates and releases, ``gradient_share`` of all gradients,
    ``fixed_bytes`` a constant.
    """

    share: float
    gradient_share: float
    fixed_bytes: float
    source: str


SLACK = {
    "cpu": Slack(0.12, 0.56, 12e6, "measured: wav2vec2 base and large on x86-64, torch 2.13, glibc 2.36"),
    "cuda": Slack(0.06, 0.0, 64e6, "estimated: block rounding and cached segments of PyTorch's allocator"),
}
"""By backend."""

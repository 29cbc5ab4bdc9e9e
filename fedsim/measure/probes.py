"""Measurements beside the operators of a step: launches, optimizer, copy, square product.

Each takes the median of a few runs, after one that warms up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from fedsim.measure.host import backend_of
from fedsim.measure.rates import Probes
from fedsim.measure.stopwatch import ProcessorStopwatch, Stopwatch, WallStopwatch, wait
from fedsim.pricing.optimizer import optimizer_cost
from fedsim.tracing.fake import build
from fedsim.tracing.recorder import Recorder

DTYPES = {"fp32": torch.float32, "mixed": torch.float16, "bf16": torch.bfloat16}
RUNS = 7
_COPY_BYTES = 256 * 2**20
_WIDTH = 8
_SQUARE = {"cpu": 1536, "mps": 4096, "cuda": 8192}
_BLOCKS = 12


class _Block(torch.nn.Module):
    """What a transformer is made of, eight numbers wide: all overhead and no work."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(_WIDTH)
        self.inner = torch.nn.Linear(_WIDTH, _WIDTH)
        self.outer = torch.nn.Linear(_WIDTH, _WIDTH)
        self.dropout = torch.nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [..., width] to the same."""
        hidden: torch.Tensor = torch.nn.functional.gelu(self.inner(self.norm(x)))
        out: torch.Tensor = x + self.dropout(self.outer(hidden))
        return out


def _stack() -> torch.nn.Module:
    return torch.nn.Sequential(*(_Block() for _ in range(_BLOCKS)))


def launches_of_stack() -> int:
    """Launches of one forward and backward pass of the probe, counted as layer traces count them."""
    mode, model = build(_stack)
    count = 0

    def watch(function: Any, args: Any, kwargs: Any, cost: Any) -> None:
        nonlocal count
        count += cost.launches

    with mode:
        inputs = torch.empty(1, _WIDTH)
        with Recorder(model, [inputs], watch=watch) as recorder:
            loss: torch.Tensor = model(inputs).sum()
            recorder.start_backward()
            loss.backward()  # type: ignore[no-untyped-call]
    return count


def launch_s(device: str, stopwatch: Stopwatch, runs: int = 50) -> float:
    """Seconds a launch in forward and backward passes that do no work, Python and autograd included."""
    model = _stack().to(device).train()
    inputs = torch.zeros(1, _WIDTH, device=device)

    def step() -> None:
        model(inputs).sum().backward()
        wait(device)

    return _median(step, stopwatch, runs) / launches_of_stack()


def optimizer_bytes_per_s(device: str, shapes: list[tuple[int, ...]], stopwatch: Stopwatch) -> float:
    """The rate at which Adam's traffic flows, as the cost model counts it.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        shapes: of the parameters to step over.
        stopwatch: takes the time.
    """
    parameters = [torch.nn.Parameter(torch.randn(shape, device=device)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer = torch.optim.Adam(parameters, lr=1e-5)
    seconds = _median(optimizer.step, stopwatch, RUNS)
    numbers = [parameter.numel() for parameter in parameters]
    backend = backend_of(device)
    cost = optimizer_cost("adam", backend, sum(numbers), len(numbers), sum(numbers), max(numbers), False)
    return cost.moved_bytes / seconds


def copy_bytes_per_s(device: str, stopwatch: Stopwatch) -> float:
    """Bytes read and written a second by one copy too long for any cache."""
    source = torch.ones(_COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return 2 * _COPY_BYTES / _best(lambda: target.copy_(source), stopwatch)


def product_flops_per_s(device: str, precision: str, stopwatch: Stopwatch) -> float:
    """FLOP/s of one large square matrix product."""
    size = _SQUARE[device]
    a, b = (torch.randn(size, size, device=device).to(DTYPES[precision]) for _ in range(2))
    return 2 * size**3 / _best(lambda: a @ b, stopwatch)


def run(device: str, precisions: tuple[str, ...], shapes: list[tuple[int, ...]], watch: Stopwatch) -> Probes:
    """All of them."""
    eager = watch if isinstance(watch, ProcessorStopwatch) else WallStopwatch()
    return Probes(
        launch_s=launch_s(device, eager),
        optimizer_bytes_per_s=optimizer_bytes_per_s(device, shapes, watch),
        copy_bytes_per_s=copy_bytes_per_s(device, watch),
        product_flops_per_s={p: product_flops_per_s(device, p, watch) for p in precisions},
    )


def affordable(shapes: list[tuple[int, ...]], bytes_free: float) -> list[tuple[int, ...]]:
    """As many of the parameters as fit, with gradient and both moments, in a quarter of the memory."""
    kept: list[tuple[int, ...]] = []
    left = bytes_free / 4
    for shape in shapes:
        left -= 16 * torch.Size(shape).numel()
        if left < 0 and kept:
            break
        kept.append(shape)
    return kept


def _median(call: Callable[[], object], stopwatch: Stopwatch, runs: int) -> float:
    stopwatch.seconds(call)
    return float(median(stopwatch.seconds(call) for _ in range(runs)))


def _best(call: Callable[[], object], stopwatch: Stopwatch) -> float:
    stopwatch.seconds(call)
    return min(stopwatch.seconds(call) for _ in range(RUNS))


def wall() -> float:
    """Seconds by the wall, from any start."""
    return time.perf_counter()

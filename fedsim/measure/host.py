"""What there is to know of the host without timing it: processor, memory, the process itself.

No name of the machine is read; what it writes down is the processor's model.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from fedsim.errors import FedsimError

_RESIDENT = """
import psutil, torch, transformers
from transformers import Wav2Vec2ForPreTraining
print(psutil.Process().memory_info().rss)
"""

_METAL = """
import psutil, torch, transformers
from transformers import Wav2Vec2ForPreTraining
layer = torch.nn.Conv1d(8, 8, 3).to("mps")
layer(torch.zeros(1, 8, 64, device="mps")).sum().backward()
torch.mps.synchronize()
beyond = torch.mps.driver_allocated_memory() - torch.mps.current_allocated_memory()
print(psutil.Process().memory_info().rss + max(0, beyond))
"""

_CONTEXT = """
import torch
layer = torch.nn.Conv1d(8, 8, 3).cuda()
layer(torch.zeros(1, 8, 64, device="cuda")).sum().backward()
(torch.zeros(64, 64, device="cuda") @ torch.zeros(64, 64, device="cuda")).sum().item()
free, total = torch.cuda.mem_get_info()
print(total - free - torch.cuda.memory_reserved())
"""


@dataclass(frozen=True)
class Host:
    """The machine as a device's file describes it; bytes, watts.

    Attributes:
        title: the processor or GPU, and how many threads compute.
        memory_bytes: of the memory that training uses.
        memory_shared: whether the operating system lives in it.
        system_bytes: held by everything but this process.
        runtime_bytes: of a training process before any tensor.
        idle_w: estimated.
        active_w: estimated.
        precisions: what it trains in.
        startup_s: from being asked to the first step; None while nobody has timed it.
    """

    title: str
    memory_bytes: int
    memory_shared: bool
    system_bytes: int
    runtime_bytes: int
    idle_w: float
    active_w: float
    precisions: tuple[str, ...]
    startup_s: float | None = None


def describe(device: str, threads: int) -> Host:
    """The host, with one short process started to see how large it is.

    Raises:
        FedsimError: if that process fails.
    """
    if device == "cuda":
        return _gpu()
    memory, used = _memory()
    unit = "GPU by way of Metal" if device == "mps" else f"{threads} thread{'s' if threads > 1 else ''}"
    return Host(
        title=f"{processor()}, {unit}",
        memory_bytes=memory,
        memory_shared=True,
        system_bytes=used,
        runtime_bytes=_ask(_METAL if device == "mps" else _RESIDENT),
        idle_w=5.0,
        active_w=5.0 + 8.0 * threads,
        precisions=("fp32",),
    )


def backend_of(device: str) -> str:
    """The variant of a layer trace that a device executes: a Mac's GPU has no fused optimizer, as a CPU."""
    return "cuda" if device == "cuda" else "cpu"


def processor() -> str:
    """The processor's model, such as ``AMD EPYC``."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return next((m for m in models if m), "") or platform.processor() or platform.machine()


def _memory() -> tuple[int, int]:
    """Memory that this machine or its control group may use, and what others hold of it."""
    found = psutil.virtual_memory()
    own = psutil.Process().memory_info().rss
    total, used = int(found.total), int(found.total - found.available - own)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8").strip()
    except OSError:
        limit = "max"
    if limit.isdigit() and int(limit) < total:
        total, used = int(limit), 0
    return total, max(0, used)


def _gpu() -> Host:
    properties = torch.cuda.get_device_properties(0)
    shared = bool(getattr(properties, "is_integrated", False))
    return Host(
        title=str(properties.name),
        memory_bytes=int(properties.total_memory),
        memory_shared=shared,
        system_bytes=_memory()[1] if shared else 0,
        runtime_bytes=_ask(_CONTEXT),
        idle_w=50.0,
        active_w=300.0,
        precisions=("fp32", "mixed", "bf16") if torch.cuda.is_bf16_supported() else ("fp32", "mixed"),
    )


def _ask(script: str) -> int:
    """The one number that a short process prints."""
    environment = {**os.environ, "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, env=environment
    )
    answer = done.stdout.split()
    if done.returncode or not answer or not answer[-1].isdigit():
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise FedsimError(f"the process whose memory was to be measured failed: {last}")
    return int(answer[-1])

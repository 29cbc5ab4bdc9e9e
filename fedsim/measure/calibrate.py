"""Measure this machine: the whole of ``fedsim calibrate`` but its printing.

Settings are batches and lengths like those of federated training, and none of those at which
``analysis/validate_host.py`` runs real steps.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import psutil
import torch
import transformers

from fedsim.errors import HardwareError
from fedsim.measure import probes as probing
from fedsim.measure.device_file import Circumstances
from fedsim.measure.host import Host, backend_of, describe
from fedsim.measure.operators import operators
from fedsim.measure.rates import HostRates, Probes, summarize
from fedsim.measure.replay import Replayer
from fedsim.measure.startup import startup_s
from fedsim.measure.stopwatch import stopwatch
from fedsim.measure.timing import Job, Setting, Timed, time_jobs
from fedsim.tracing import configs
from fedsim.tracing.step import Step, Variant
from fedsim.units import SAMPLES_PER_S

MODEL = "wav2vec2-base"
SETTINGS = (Setting(1, 4.0), Setting(2, 7.0), Setting(4, 3.5))


@dataclass(frozen=True)
class Measured:
    """Everything that was found."""

    host: Host
    rates: HostRates
    probes: Probes
    timed: tuple[Timed, ...]
    circumstances: Circumstances


def check(device: str, threads: int | None) -> int:
    """The threads to compute with; refuse what this machine cannot do.

    Raises:
        HardwareError: CUDA, Metal or more threads than processors are asked for, and not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise HardwareError("--device cuda: there is no GPU here that this PyTorch can use; give cpu")
    if device == "mps" and not torch.backends.mps.is_available():
        raise HardwareError("--device mps: there is no Mac's GPU here that this PyTorch can use; give cpu")
    most = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads is not None and threads > most:
        raise HardwareError(
            f"--threads {threads} is more than the {most} processors here; give at most {most}"
        )
    return threads or min(torch.get_num_threads(), most)


def calibrate(
    device: str,
    threads: int,
    minutes: float,
    progress: Callable[[str, float], None] = lambda what, share: None,
    settings: tuple[Setting, ...] = SETTINGS,
    model: str = MODEL,
) -> Measured:
    """Measure the host for about so many minutes; at least one round, however long that takes.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        threads: that compute; torch is set to so many.
        minutes: to spend on timing operators.
        progress: told what is being done, and its share from 0 to 1.
        settings: batches to take operators from.
        model: a preset.
    """
    torch.set_num_threads(threads)
    watch = stopwatch(device, threads)
    progress("looking at the machine", 0.0)
    host = describe(device, threads)
    progress("starting processes", 0.0)
    config, first = str(configs.preset_files()[model]), settings[0]
    start = startup_s(device, threads, config, first.batch, round(first.seconds * SAMPLES_PER_S))
    host = replace(host, startup_s=start)
    replayer = Replayer(device)
    jobs: list[Job] = []
    shapes: list[tuple[int, ...]] = []
    for index, precision in enumerate(host.precisions):
        progress("tracing operators", index / len(host.precisions))
        variant = Variant(backend_of(device), "eager", "fp32" if precision == "fp32" else "mixed")
        step = Step(configs.preset(model), variant)
        shapes = shapes or [tuple(p.shape) for p in step.model.parameters()]
        replacing = {torch.float16: torch.bfloat16} if precision == "bf16" else {}
        for setting in settings:
            found = operators(step, setting.batch, round(setting.seconds * SAMPLES_PER_S))
            jobs += [(precision, setting, o, partial(replayer.call, o, replacing)) for o in found]
    progress("optimizer, copy, launches", 0.0)
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available
    probes = probing.run(device, host.precisions, probing.affordable(shapes, free), watch)
    now = probing.wall
    with torch.no_grad():
        until = now() + 60.0 * minutes
        timed = time_jobs(jobs, watch, now, until, partial(progress, "operators of a training step"))
    when = Circumstances(
        device=device,
        date=datetime.date.today().isoformat(),
        torch=torch.__version__.split("+")[0],
        transformers=transformers.__version__,
        threads=threads,
        clock=watch.clock,
        model=model,
        settings=", ".join(map(str, settings)),
    )
    return Measured(host, summarize(timed, probes), probes, tuple(timed), when)

"""Real training steps of models at full size, to hold predictions against.

wav2vec 2.0 is transformers' Wav2Vec2ForPreTraining with masking, 100 negatives, contrastive and diversity
loss; others train as they are traced. Eager attention and torch's Adam, in fp32 or autocast; gradients of
fp16 are scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map_only

from fedsim.hardware import Device
from fedsim.hardware.device import STATED_PRECISIONS, StatedStep
from fedsim.learning.partial import Ways
from fedsim.learning.ways import Way
from fedsim.measure.stopwatch import ProcessorStopwatch, WallStopwatch, wait
from fedsim.measure.timing import Setting
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.pricing.trained import parse_trained
from fedsim.tasks.speech.models import frames
from fedsim.tracing import configs
from fedsim.tracing.module import Module
from fedsim.tracing.subject import subject_of
from fedsim.units import SAMPLES_PER_S

RUNS = 3
_AUTOCAST = {"mixed": torch.float16, "bf16": torch.bfloat16}


def make(
    model: str, batch: int, size: float, precision: str, device: str, train: str = "all"
) -> Callable[[], torch.Tensor]:
    """A training step that can be called again and again; it ends when the device has done it.

    Args:
        model: one that ``fedsim trace`` knows.
        batch: examples.
        size: of each: seconds of speech, tokens of text, pixels a side; whatever if all are alike.
        precision: ``fp32``, ``mixed`` or ``bf16``.
        device: ``cpu``, ``cuda`` or ``mps``.
        train: what trains, as the command line says it: ``last:2``, ``lora:8``.

    Returns:
        What takes the step, and gives its loss.
    """
    torch.manual_seed(0)
    np.random.seed(0)
    trained, inputs = (_pretraining if model.startswith("wav2vec2") else _any_other)(model, batch, size)
    _only(train, trained, inputs).to(device).train()
    inputs = _moved(inputs, device)
    optimizer = torch.optim.Adam([p for p in trained.parameters() if p.requires_grad], lr=1e-5)
    scaler = torch.amp.GradScaler(device, init_scale=128.0, enabled=precision == "mixed")  # none is skipped

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        kind = _AUTOCAST.get(precision)
        with nullcontext() if kind is None else torch.autocast(device, kind):
            out = trained(**inputs)
            loss: torch.Tensor = out if isinstance(out, torch.Tensor) else out.loss
            del out
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
        wait(device)
        return loss.detach()

    return step


def _only(train: str, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.nn.Module:
    """The model, of which just that trains."""
    way = Way(parse_trained(train))
    if way == Way():
        return model

    def batch(_: int) -> dict[str, Any]:
        made: dict[str, Any] = tree_map_only(
            torch.Tensor, lambda t: torch.zeros(t.shape, dtype=t.dtype), inputs
        )
        return made

    def loss(made: Any, given: dict[str, Any]) -> torch.Tensor:
        out = made(**given)
        return out if isinstance(out, torch.Tensor) else out.loss

    task: Any = Module("step", model, batch, loss)
    prepared: torch.nn.Module = Ways(task, (way,), 0).prepared(model)
    return prepared


def _pretraining(model: str, batch: int, seconds: float) -> tuple[torch.nn.Module, dict[str, Any]]:
    """wav2vec 2.0, and a batch of noise with masks and negatives as its training draws them."""
    from transformers import Wav2Vec2ForPreTraining
    from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices, _sample_negative_indices

    config = configs.preset(model)
    config.layerdrop = 0.0
    config._attn_implementation = "eager"
    samples = round(seconds * SAMPLES_PER_S)
    shape = (batch, frames(config, samples))
    masked = _compute_mask_indices(shape, config.mask_time_prob, config.mask_time_length)
    negatives = _sample_negative_indices(shape, config.num_negatives, masked)
    return Wav2Vec2ForPreTraining(config), {
        "input_values": torch.randn(batch, samples),
        "mask_time_indices": torch.from_numpy(masked).bool(),
        "sampled_negative_indices": torch.from_numpy(negatives),
    }


def _any_other(model: str, batch: int, size: float) -> tuple[torch.nn.Module, dict[str, Any]]:
    """A model with its loss, as it is traced, and a batch of noise and of labels 0 and 1."""
    subject = subject_of(configs.named(model))
    inputs = subject.inputs(batch, round(size))
    for tensor in inputs["batch"].values():
        if isinstance(tensor, torch.Tensor):
            tensor.random_(0, 2) if tensor.dtype is torch.int64 else tensor.normal_()
    return subject.build("eager"), inputs


def _moved(values: Any, device: str) -> Any:
    """A batch on a device."""
    if isinstance(values, dict):
        return {key: _moved(value, device) for key, value in values.items()}
    return values.to(device) if isinstance(values, torch.Tensor) else values


def run(
    priced: Device, device: str, model: str, settings: Sequence[Setting], threads: int, runs: int = RUNS
) -> list[StatedStep]:
    """Time a step in every precision and setting that ``priced`` has memory for: the median of ``runs``.

    Args:
        priced: the device, as it was measured; says what fits.
        device: ``cpu``, ``cuda`` or ``mps``.
        model: a preset of wav2vec 2.0.
        settings: the batches.
        threads: that compute.
        runs: steps of each that count, after one that does not.
    """
    torch.set_num_threads(threads)
    clock = ProcessorStopwatch() if device == "cpu" and threads == 1 else WallStopwatch()
    trace, found = load_trace(model), []
    for precision in (p for p in STATED_PRECISIONS if p in priced.training_precisions):
        pricer = Pricer(priced, trace, Technique(precision=precision))
        for setting in settings:
            if pricer.fits(setting.batch, round(setting.seconds * SAMPLES_PER_S)):
                step = make(model, setting.batch, setting.seconds, precision, device)
                clock.seconds(step)
                taken = float(median(clock.seconds(step) for _ in range(runs)))
                found.append(StatedStep(model, setting.batch, setting.seconds, precision, taken))
    return found

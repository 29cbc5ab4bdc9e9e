"""What a fleet is priced by: the app's own module, or the layer trace that its scenario names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsim.errors import InputError, ScenarioError, TraceError
from fedsim.pricing import LayerTrace, load_trace
from fedsim.scenario import Loaded, load
from fedsim.scenario.load import stated

if TYPE_CHECKING:
    import torch
    from torch import nn

KEY = "training.model"


def priced(
    scenario: str | Path,
    changes: Mapping[str, Any],
    model: nn.Module | Callable[[], nn.Module] | None,
    batch: Callable[..., Any] | None,
    loss: Callable[[Any, Any], torch.Tensor] | None,
    sizes: str | Sequence[str] | Mapping[str, int],
) -> Loaded:
    """A scenario whose ``training.model`` is the trace of an app's module; arguments as of ``Fleet``.

    Raises:
        InputError: if the scenario cannot be used, or names no model where the app brings none, or
            another one.
        TraceError: if the module cannot be traced.
    """
    data, file = stated(scenario, changes.items())
    training = data.get("training") if isinstance(data, dict) else None
    named = training.get("model") if isinstance(training, dict) else None
    if model is None:
        if not (batch is None and loss is None and not sizes):
            raise InputError(
                "batch, loss and sizes are of a model: give the module that they go with, model=; the name "
                "of a metric is loss_key="
            )
        loaded = load(scenario, changes.items())
        if named is None:
            raise ScenarioError(
                "is missing, so nobody says what the app trains; give its module, as in Fleet(..., "
                "model=make_net, batch=make_batch, loss=loss_of), or name a layer trace here",
                file=file,
                key=KEY,
            )
        return loaded
    if not callable(model):
        raise InputError(
            f"model is {model!r}; it is a module of torch or a function that builds one, and a layer trace "
            f"is named in the scenario, as {KEY}"
        )
    if not (callable(batch) and callable(loss)):
        raise TraceError(
            "a module is priced with batch=, which makes batches, and loss=, which gives its loss; the name "
            "of a metric is loss_key="
        )
    from fedsim.tracing import kept

    trace = kept.of_module(model, batch, loss, sizes)
    if named is not None:
        theirs = load_trace(load(scenario, changes.items()).scenario.training.model)
        if _costs(theirs) != _costs(ours := load_trace(trace)):
            raise ScenarioError(
                f"is {named!r}, but the app brings a model of its own that costs something else: "
                f"{ours.parameters:,} parameters, not {theirs.parameters:,}, or other layers; leave one out",
                file=file,
                key=KEY,
            )
    return load(scenario, {**changes, KEY: str(trace)}.items())


def _costs(trace: LayerTrace) -> tuple[object, ...]:
    """All of a trace that decides a price."""
    return trace.layers, trace.blocks, trace.axes, trace.frames_axis, trace.input_bytes

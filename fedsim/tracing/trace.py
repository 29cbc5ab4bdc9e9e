"""Trace a model, verify the trace against the model, write it down.

A finished trace is held against direct traces at batches and sizes that were not fitted, and against the
whole model with all of its layers. One that calls itself exact and differs anywhere, by one byte, is not
written; one that does not says how far it is off.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from fedsim import children, files
from fedsim.errors import FedsimError, TraceError, refused
from fedsim.pricing.layers import COUNTS, WORKSPACES, LayerTrace
from fedsim.pricing.trace import parse_trace
from fedsim.tracing.assemble import assemble
from fedsim.tracing.axes import Sizes
from fedsim.tracing.fake import forget
from fedsim.tracing.measure import Measurement, measure, merge, table
from fedsim.tracing.plan import LOOKED_AT, Plan, plan
from fedsim.tracing.step import VARIANTS, Step, Variant
from fedsim.tracing.subject import Subject, subject_of

_traced: dict[str, Subject] = {}
"""What is traced now, by name: forked workers inherit it, since functions of a stranger's do not pickle."""


class VerificationError(FedsimError):
    """A trace does not equal the model it was taken from."""


def trace(thing: Any, name: str, variants: Iterable[Variant] = VARIANTS, workers: int = 1) -> dict[str, Any]:
    """The verified content of a trace file for a task, a module, or a transformers configuration.

    Args:
        thing: a task, a module, or a configuration of a speech model.
        name: what the trace is called.
        variants: those to trace; all by default.
        workers: processes that share the variants; they are forked.

    Raises:
        TraceError: the model cannot be built, or not run without numbers.
        VerificationError: the finished trace differs from a direct one.
    """
    subject = subject_of(thing)
    _try(subject, name)
    _traced[name] = subject
    try:
        with _uncollected():
            for short, quickly in _WAYS:
                last = (short, quickly) == _WAYS[-1]
                try:
                    how = plan(subject, short, quickly)
                    content = _traced_so(subject, name, how, variants, workers)
                    off = 0.0 if content["graph"]["exact"] else content["graph"]["largest_error"]
                    if off < _CLOSE or last or not how.alike:
                        break
                except Exception:  # whatever a model raises that was taken apart
                    if last:
                        raise
        return content
    finally:
        forget()
        del _traced[name]


_WAYS = ((True, True), (True, False), (False, True), (False, False))
"""With few layers and quickly, if that gives what the whole model gives; else without one, or both."""
_CLOSE = 1e-3
"""An error that the whole model would hardly make smaller."""


def _traced_so(
    subject: Subject, name: str, plan: Plan, variants: Iterable[Variant], workers: int
) -> dict[str, Any]:
    details = {"objective": subject.objective, "config": subject.config}
    one = partial(_measured_and_verified, name, details, plan)
    if workers > 1:
        with children.pool(workers, "fork") as pool:
            with children.deaf():
                jobs = [pool.submit(one, variant) for variant in variants]
            parts = [job.result() for job in jobs]
    else:
        parts = [one(variant) for variant in variants]
    return assemble(merge(parts), name, details)


def _try(subject: Subject, name: str) -> None:
    """Build a subject and run a step, to say at once what is wrong."""
    done = "built"
    try:
        step = Step(subject, Variant("cpu", "eager", "fp32"))
        done = "run without numbers"
        step.trace(2, *(size.usual for size in subject.axes))
    except Exception as error:  # whatever transformers, or a stranger's module, raises
        raise TraceError(f"{name} cannot be {done}: {_why(error)}") from error


def _why(error: Exception) -> str:
    """In a sentence, also where PyTorch only says which operator asked for numbers."""
    if isinstance(error, DataDependentOutputException | DynamicOutputShapeException):
        return f"what it does depends on the values in its tensors ({error.func})"
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection, which would take most of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _measured_and_verified(name: str, details: dict[str, Any], plan: Plan, variant: Variant) -> Measurement:
    subject = _traced[name]
    found, step = measure(subject, variant, plan)
    held = parse_trace(assemble(replace(found, stacks={}), name, details))
    if not found.exact:
        found.largest_error = max(
            _error(held, variant, step, batch, sizes)
            for batch, sizes in zip((2, 5, 7), plan.unseen, strict=True)
        )
        if found.largest_error or not plan.alike:
            return found
        found.exact = True  # of monomials that follow from others, some were left out
    verify(held, variant, step, 4, *plan.unseen[0])
    if variant in LOOKED_AT[:2]:
        _verify_far(found, held, step, plan)
    if step.stacks and (variant.attention == "eager") == (variant.precision == "fp32"):
        whole = parse_trace(assemble(found, name, details))
        verify(whole, variant, Step(subject, variant), 5, *plan.unseen[1], quickly=plan.quickly)
    return found


def _verify_far(found: Measurement, held: LayerTrace, step: Step, plan: Plan) -> None:
    """Try sizes well outside of those that were fitted, as far as the model runs there."""
    for sizes in plan.far:
        try:
            verify(held, step.variant, step, 2, *sizes, quickly=plan.quickly)
        except VerificationError:
            found.exact = False
            found.largest_error = max(found.largest_error, _error(held, step.variant, step, 2, sizes))
        except Exception:  # whatever a model raises at a size that is not for it
            continue


def verify(
    held: LayerTrace, variant: Variant, step: Step, batch: int, *sizes: int, quickly: bool = False
) -> None:
    """Hold a trace against a direct one of the same depth: every layer, every metric, to the byte.

    Raises:
        VerificationError: naming the first metric and layer that differ.
    """
    direct = table(step.trace(batch, *sizes, quickly=quickly))
    name = held.names(str(variant))[0 if batch == 1 else 1]
    busy = [
        i
        for i, layer in enumerate(held.layers)
        if layer.profile(name).counts or layer.profile(name).workspaces
    ]
    if len(busy) != len(direct):
        raise VerificationError(f"{held.name} {variant}: {len(busy)} layers, directly {len(direct)}")
    parameters = sum(p.numel() for p in step.model.parameters())
    if held.parameters != parameters:
        raise VerificationError(f"{held.name}: {held.parameters} parameters, directly {parameters}")
    for metric in (*COUNTS, *WORKSPACES):
        ours = held.per_layer(metric, str(variant), batch, *sizes)
        for i, row in zip(busy, direct.values(), strict=True):
            theirs = max(row[metric], default=0) if metric in WORKSPACES else row[metric]
            if ours[i] != theirs:
                raise VerificationError(
                    f"{held.name} {variant} at batch {batch}, sizes {list(sizes)}: {metric} of "
                    f"{held.layers[i].name} is {ours[i]}, directly {theirs}"
                )


def _error(held: LayerTrace, variant: Variant, step: Step, batch: int, sizes: Sizes) -> float:
    """How far the sum over the layers of any count is off, in parts of it."""
    direct = table(step.trace(batch, *sizes))
    errors = [0.0]
    for metric in COUNTS:
        theirs = sum(row[metric] for row in direct.values())
        if theirs:
            errors.append(abs(sum(held.per_layer(metric, str(variant), batch, *sizes)) / theirs - 1.0))
    return max(errors)


def write(content: dict[str, Any], folder: Path) -> Path:
    """Write a trace as ``folder/<name>.json``, one layer or profile a line; returns the path.

    Raises:
        FedsimError: if the disk refuses.
    """
    path = folder / f"{content['graph']['name']}.json"
    with _writing(path):
        files.write_text(path, dumps(content))
    return path


def check_writable(folder: Path, name: str) -> None:
    """Refuse a folder in which the trace called ``name`` could not be written, before it is made.

    Raises:
        FedsimError: in one sentence.
    """
    path = folder / f"{name}.json"
    with _writing(path):
        files.try_to_write(path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Make the folder of ``path``, and say in one sentence what the disk refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as fault:
        raise refused(path, fault) from None


def dumps(content: dict[str, Any]) -> str:
    """JSON with one line for each entry of a profile, each layer and each edge."""
    graph = dict(content["graph"])
    profiles, blocks = graph.pop("profiles"), graph.pop("blocks")
    lines = ["{", ' "directed": true,', ' "multigraph": false,', ' "graph": {']
    lines += [f"  {json.dumps(k)}: {_compact(v)}," for k, v in graph.items()]
    lines.append('  "blocks": {')
    lines += _joined(f"   {json.dumps(k)}: {_compact(v)}" for k, v in blocks.items())
    lines += ["  },", '  "profiles": {']
    groups = []
    for name, entries in profiles.items():
        inside = ",\n".join(f"    {_compact(e)}" for e in entries)
        groups.append(f"   {json.dumps(name)}: [\n{inside}\n   ]")
    lines += [",\n".join(groups), "  }", " },"]
    for part in ("nodes", "edges"):
        lines.append(f' "{part}": [')
        lines += _joined(f"  {_compact(x)}" for x in content[part])
        lines.append(" ]," if part == "nodes" else " ]")
    return "\n".join([*lines, "}"]) + "\n"


def _joined(lines: Iterable[str]) -> list[str]:
    text = ",\n".join(lines)
    return [text] if text else []


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))

"""Trace a model, verify the trace against the model, write it down.

A finished trace is held against direct traces at a batch and a length that were not fitted, and
against the whole model at its full depth. One that differs anywhere, by one byte, is not written.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fedsim import children, files
from fedsim.errors import FedsimError, TraceError, refused
from fedsim.pricing.layers import COUNTS, WORKSPACES, LayerTrace
from fedsim.pricing.trace import parse_trace
from fedsim.tracing.assemble import assemble
from fedsim.tracing.fake import forget
from fedsim.tracing.measure import Measurement, measure, merge, table
from fedsim.tracing.step import VARIANTS, Step, Variant
from fedsim.tracing.subject import Subject, subject_of

_traced: dict[str, Any] = {}
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
        FitError: a count is not polynomial in batch and sizes.
        VerificationError: the finished trace differs from a direct one.
    """
    subject = subject_of(thing)
    _try(subject, name)
    details = {"objective": subject.objective, "config": subject.config}
    _traced[name] = thing
    one = partial(_one, name, details)
    try:
        if workers > 1:
            with children.pool(workers, "fork") as pool:
                with children.deaf():
                    jobs = [pool.submit(one, variant) for variant in variants]
                parts = [job.result() for job in jobs]
        else:
            parts = [one(variant) for variant in variants]
            forget()
    finally:
        del _traced[name]
    return assemble(merge(parts), subject.depth, name, details)


def _try(subject: Subject, name: str) -> None:
    """Build a subject and, unless it is a speech model of ours, run a step, to say at once what is wrong."""
    done = "built"
    try:
        step = Step(subject, Variant("cpu", "eager", "fp32"), layers=1)
        done = "run without numbers"
        if not subject.quick:
            step.trace(2, subject.sizes()[0])
    except Exception as error:  # whatever transformers, or a stranger's module, raises
        why = " ".join(str(error).split()) or type(error).__name__
        raise TraceError(f"{name} cannot be {done}: {why}") from error


def _one(name: str, details: dict[str, Any], variant: Variant) -> Measurement:
    """One variant, measured and verified; without garbage collection, which would take most of it."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _measured_and_verified(subject_of(_traced[name]), name, details, variant)
    finally:
        if collecting:
            gc.enable()


def _measured_and_verified(
    subject: Subject, name: str, details: dict[str, Any], variant: Variant
) -> Measurement:
    found, step = measure(subject, variant)
    unseen, another = subject.unseen(subject.sizes())
    shallow = parse_trace(assemble(found, found.depth, name, details))
    verify(shallow, variant, step, 4, unseen)
    depth = subject.depth
    if depth != found.depth and (variant.attention == "eager") == (variant.precision == "fp32"):
        whole = parse_trace(assemble(found, depth, name, details))
        verify(whole, variant, Step(subject, variant), 5, another, quickly=True)
    return found


def verify(
    held: LayerTrace, variant: Variant, step: Step, batch: int, samples: int, quickly: bool = False
) -> None:
    """Hold a trace against a direct one of the same depth: every layer, every metric, to the byte.

    Raises:
        VerificationError: naming the first metric and layer that differ.
    """
    direct = table(step.trace(batch, samples, quickly))
    for metric in (*COUNTS, *WORKSPACES):
        ours = held.per_layer(metric, str(variant), batch, samples)
        active = [
            (layer.name, value)
            for layer, value in zip(held.layers, ours, strict=True)
            if layer.profile(held.names(str(variant))[0 if batch == 1 else 1]).counts
            or layer.profile(held.names(str(variant))[0 if batch == 1 else 1]).workspaces
        ]
        theirs = [max(r[metric], default=0) if metric in WORKSPACES else r[metric] for r in direct.values()]
        if len(active) != len(theirs):
            raise VerificationError(f"{held.name} {variant}: {len(active)} layers, directly {len(theirs)}")
        for (name, mine), value in zip(active, theirs, strict=True):
            if mine != value:
                raise VerificationError(
                    f"{held.name} {variant} at batch {batch}, {samples} samples: {metric} of {name} is "
                    f"{mine}, directly {value}"
                )


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

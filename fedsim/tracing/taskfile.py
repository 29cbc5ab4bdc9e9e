"""A task of somebody's own, from a Python file: ``my_module.py:MyTask``."""

from __future__ import annotations

import inspect
from typing import Any

from fedsim import plugins
from fedsim.errors import TraceError
from fedsim.tasks.base import Size, Task
from fedsim.tracing.traceable import Traceable

METHODS = ("build", "fake_batch", "traced_loss")


def load(place: str) -> Task | Traceable:
    """What a Python file calls so: a task, or whatever has its methods for tracing.

    A class or a function is called without arguments.

    Args:
        place: ``FILE:NAME``.

    Raises:
        TraceError: it does not name a file and something in it, or that is no task.
        PluginError: the file cannot be read, or fails.
    """
    file, _, name = place.rpartition(":")
    if not file or not name.isidentifier():
        raise TraceError(f"{place!r} names nothing in a file; write my_module.py:MyTask")
    module = plugins.executed(plugins.read(file))
    found = getattr(module, name, None)
    if found is None:
        own = [
            key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
        ]
        raise TraceError(f"has no {name!r}; it has {', '.join(own) or 'nothing of its own'}", file=file)
    if callable(found):
        try:
            found = found()
        except Exception as error:  # whatever a stranger's code raises
            why = " ".join(str(error).split()) or type(error).__name__
            raise TraceError(f"{name} cannot be made without arguments: {why}", file=file) from error
    if isinstance(found, Task):
        return found
    lacking = [method for method in METHODS if not callable(getattr(found, method, None))]
    if lacking:
        raise TraceError(f"{name} is no task: it has no {', '.join(lacking)}", file=file)
    sizes = getattr(found, "sizes", ())
    if not isinstance(sizes, tuple) or not all(isinstance(size, Size) for size in sizes):
        raise TraceError(f"{name}.sizes is {sizes!r}; give a tuple of fedsim.extend.SizeAxis", file=file)
    return Traceable(
        str(getattr(found, "name", name)),
        str(getattr(found, "objective", name)),
        sizes,
        dict(getattr(found, "config", {"task": name})),
        _with_attention(found.build),
        found.fake_batch,
        found.traced_loss,
    )


def _with_attention(build: Any) -> Any:
    """``build`` itself if it takes an attention; else a function that ignores it."""
    try:
        inspect.signature(build).bind("eager")
    except TypeError:
        return lambda attention: build()
    return build

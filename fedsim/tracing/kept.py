"""Traces of modules that are kept: a module that was traced before is not traced again.

They lie in the user's cache folder, which may be deleted at any time, by :mod:`fedsim.tracing.identity`'s
digest of all that decides them. One that cannot be read any more is made anew.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from fedsim import paths
from fedsim.errors import TraceError
from fedsim.pricing import load_trace
from fedsim.tracing import identity
from fedsim.tracing.module import Module, Sizes, usual_sizes


def of_module(
    model: nn.Module | Callable[[], nn.Module],
    batch: Callable[..., Any],
    loss: Callable[[Any, Any], Any],
    sizes: Sizes = (),
) -> Path:
    """The trace of a module, called as its class; arguments are those of :func:`fedsim.trace`.

    Raises:
        TraceError: it cannot be traced.
        FedsimError: the cache folder cannot be written to.
    """
    try:
        with warnings.catch_warnings(), FakeTensorMode():
            warnings.simplefilter("ignore")  # of whoever is not used to fake tensors
            built = model if isinstance(model, nn.Module) else model()
    except Exception:  # whoever traces it says what is wrong
        built = None
    name = str(getattr(model, "__name__", "module")) if built is None else type(built).__name__
    known = None if built is None else identity.digest(built, batch, loss, usual_sizes(sizes))
    folder = paths.cache_dir() / "traces"
    if known is not None:
        place = folder / known / f"{name}.json"
        try:
            load_trace(place)
            return place
        except TraceError:  # there is none, or it is damaged
            pass
    from fedsim.tracing import trace as tracing  # which imports transformers

    content = tracing.trace(Module(name, model, batch, loss, usual_sizes(sizes)), name)
    if known is None:
        known = hashlib.sha256(tracing.dumps(content).encode("utf-8")).hexdigest()
    return tracing.write(content, folder / known)

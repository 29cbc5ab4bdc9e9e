"""The size of an example as a trace counts it, from what people say: seconds of speech, or a number."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from fedsim.errors import InputError
from fedsim.pricing.layers import LayerTrace
from fedsim.units import SAMPLES_PER_S
from fedsim.words import plural

USUAL_S = 5.5
"""Seconds of a sentence where nobody says, the mean of the study's."""
LARGEST = 10**8
"""Of a size: beyond it, counts that grow with its square leave 64 bits."""

WAVEFORM = "samples"


@lru_cache(maxsize=16)
def _held(trace: LayerTrace, sizes: tuple[tuple[str, int], ...]) -> LayerTrace:
    return trace.holding(**dict(sizes))


def held(trace: LayerTrace, sizes: Mapping[str, int]) -> LayerTrace:
    """A model with some of its sizes fixed; the same object for the same sizes."""
    return _held(trace, tuple(sizes.items()))


def settled(
    trace: LayerTrace, seconds: float | None = None, sizes: Mapping[str, int] | None = None
) -> tuple[LayerTrace, int]:
    """A model with all but its first size fixed, and the length of that; arguments as of :func:`size_of`.

    Raises:
        InputError: as :func:`size_of`; or one of several sizes is not given.
    """
    if len(trace.sizes) < 2:
        return trace, size_of(trace, seconds, sizes)
    given = dict(sizes or {})
    has = f"an example of {trace.name} has {' and '.join(trace.sizes)}"
    if seconds is not None or (unknown := [name for name in given if name not in trace.sizes]):
        raise InputError(f"{has}, and no {'seconds' if seconds is not None else repr(unknown[0])}")
    lacking = [name for name in trace.sizes if name not in given]
    if lacking:
        raise InputError(f"{has}: give {' '.join(f'--size {name}=NUMBER' for name in lacking)}")
    first = trace.sizes[0]
    rest = {name: n for name, n in given.items() if name != first}
    for name, n in rest.items():
        if not 1 <= n <= LARGEST:
            raise InputError(f"{name}={n} is not a size; give a whole number from 1 to 1e8")
    whole = held(trace, rest)
    return whole, size_of(whole, None, {first: given[first]})


def size_of(trace: LayerTrace, seconds: float | None = None, sizes: Mapping[str, int] | None = None) -> int:
    """The length of a trace's first axis; 1 if all of its examples are alike.

    Args:
        trace: of the model.
        seconds: of speech, for a model on waveforms; ``USUAL_S`` where neither is given.
        sizes: the size by its name, such as ``{"tokens": 128}``.

    Raises:
        InputError: what is given is not what the model's examples have, or leaves it nothing to work on.
    """
    axis = trace.sizes[0] if trace.sizes else None
    has = f"has {axis}" if axis else "has no size: all are alike"
    for name, value in (sizes or {}).items():
        if name != axis:
            raise InputError(f"an example of {trace.name} {has}, and no {name!r}")
        if not 1 <= value <= LARGEST:
            raise InputError(f"{name}={value} is not a size; give a whole number from 1 to 1e8")
    if seconds is not None and axis != WAVEFORM:
        instead = f": give --size {axis}=NUMBER" if axis else ""
        raise InputError(f"an example of {trace.name} {has}, and no seconds{instead}")
    if axis is None:
        return 1
    if sizes:
        if seconds is not None:
            raise InputError(f"both seconds and {axis} are given; give one of them")
        size, said = sizes[axis], f"{sizes[axis]:,} {axis} leave"
    elif axis == WAVEFORM:
        asked = USUAL_S if seconds is None else seconds
        size, said = (round(asked * SAMPLES_PER_S) if abs(asked) < 1e9 else 0), f"{asked:g} seconds leave"
    else:
        raise InputError(f"an example of {trace.name} {has}: give --size {axis}=NUMBER")
    if size < 1 or trace.frames(size) < 1:
        raise InputError(
            f"{said} {trace.name} no frame; give a {'longer sentence' if is_speech(trace) else 'larger size'}"
        )
    return size


def is_speech(trace: LayerTrace) -> bool:
    """Whether examples are waveforms, whose size people say in seconds."""
    return trace.sizes == (WAVEFORM,)


def per_unit(trace: LayerTrace) -> int:
    """What a trace counts for each that people say: 16,000 samples a second of speech, else 1."""
    return SAMPLES_PER_S if is_speech(trace) else 1


def counted(trace: LayerTrace, amount: float) -> int:
    """A size as the trace counts it, from so many of what people say."""
    return round(amount * per_unit(trace))


def in_unit(trace: LayerTrace, amount: float) -> str:
    """So many of what people say: ``5.5 s``, ``128 tokens``; empty if all examples are alike."""
    if not trace.sizes:
        return ""
    return f"{amount:g} s" if is_speech(trace) else f"{amount:,.0f} {trace.sizes[0]}"


def in_words(trace: LayerTrace, size: int) -> str:
    """A size of the trace as people say it, by :func:`in_unit`."""
    return in_unit(trace, size / per_unit(trace))


def batch_in_words(trace: LayerTrace, batch: int, amount: float) -> str:
    """A batch of examples: ``4 x 5.5 s``, ``8 x 128 tokens``; ``8 examples`` if all are alike."""
    size = in_unit(trace, amount)
    return f"{batch} x {size}" if size else plural(batch, "example")


def sizes_of(trace: LayerTrace, size: int) -> dict[str, int]:
    """A size by its name; empty if all examples are alike."""
    return {trace.sizes[0]: size} if trace.sizes else {}

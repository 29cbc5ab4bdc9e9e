"""The moments kept as contenders for the peak have the maximum of all moments, wherever one looks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.pricing.peak import LONGEST_SAMPLES, contenders
from fedsim.pricing.polynomial import Axis, Polynomial, lengths

FRAMES = 2
SCALE = 1000
"""Bytes per unit of a coefficient, far above the byte by which proofs may err."""
BATCHES = np.array([1, 2, 3, 7, 300, 5000], float)[:, None]

convolutions = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(0, 1))
small = st.integers(-3, 3)


@st.composite
def models(draw) -> tuple[Axis, ...]:
    (kernel_1, stride_1, padding_1), (kernel_2, stride_2, padding_2) = draw(convolutions), draw(convolutions)
    return (
        Axis("samples"),
        Axis("frames_1", 0, max(kernel_1, 1 + 2 * padding_1), stride_1, padding_1),
        Axis("frames_2", 1, max(kernel_2, 1 + 2 * padding_2), stride_2, padding_2),
        Axis("frames_2_by_8", 2, multiple=8),
    )


@st.composite
def near_zero(draw, axes: tuple[Axis, ...], power: int) -> Polynomial:
    """Terms that cancel but for what flooring and rounding leave, and a parabola with its turn in range."""
    waveform, first, rounded = draw(small), draw(small), draw(small)
    square, turn = draw(st.sampled_from([0, 0, 1, -1])), draw(st.integers(1, 60))
    slope = -(waveform * axes[1].stride + first) * axes[2].stride - rounded - 2 * square * turn
    constant = square * turn * turn + draw(st.integers(-40, 40))
    terms = {
        (power, 0, 1): waveform,
        (power, 1, 1): first,
        (power, FRAMES, 1): slope + draw(st.sampled_from([0, 0, 1, -1])),
        (power, FRAMES, 2): square,
        (power, 3, 1): rounded,
        (power, 0, 0): constant,
    }
    return Polynomial({m: c * SCALE for m, c in terms.items()})


def largest(candidates, axes, samples):
    values = [float_length.astype(float) for float_length in lengths(axes, samples)]
    return np.max([np.broadcast_to(c(BATCHES, values), (len(BATCHES), len(samples))) for c in candidates], 0)


@given(data=st.data(), axes=models(), others=st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_contenders_have_the_maximum_of_all_polynomials(data, axes, others):
    base = Polynomial({(1, 0, 1): 40 * SCALE, (1, FRAMES, 2): 2 * SCALE, (0, 0, 0): 10**6})
    candidates = [base]
    for _ in range(others):
        fixed, per_sentence = (data.draw(near_zero(axes, power)) for power in (0, 1))
        candidates.append(base + fixed + per_sentence)
    kept = contenders(candidates, axes, FRAMES)
    samples = np.arange(1, 700)
    samples = samples[lengths(axes, samples)[FRAMES] >= 1]
    samples = np.concatenate([samples, np.arange(LONGEST_SAMPLES - 60, LONGEST_SAMPLES + 1)])
    difference = largest(candidates, axes, samples) - largest([candidates[i] for i in kept], axes, samples)
    assert np.max(difference) < SCALE / 2


def test_what_is_below_everywhere_goes():
    axes = (
        Axis("samples"),
        Axis("frames_1", 0, 4, 2),
        Axis("frames_2", 1, 3, 2),
        Axis("by_8", 2, multiple=8),
    )
    large, low = Polynomial({(1, 0, 1): 5}), Polynomial({(1, 0, 1): 4})
    assert contenders([low, large, low], axes, FRAMES) == [1]


@pytest.mark.parametrize(("more", "larger"), [(2, "samples"), (3, "frames")])
def test_the_bounds_of_a_convolution_are_reached(more, larger):
    """A kernel of 4 and a stride of 2: ``2 frames + 2 <= samples <= 2 frames + 3``."""
    axes = (Axis("samples"), Axis("frames_1", 0, 4, 2))
    samples = Polynomial({(1, 0, 1): 1000})
    frames = Polynomial({(1, 1, 1): 2000, (1, 0, 0): more * 1000})
    first, second = (samples, frames) if larger == "samples" else (frames, samples)
    assert contenders([first, second], axes, 1) == [0]

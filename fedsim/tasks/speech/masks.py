"""What is hidden from the model, and what it must tell the truth apart from.

Span masking and negatives of wav2vec 2.0 (Baevski et al., NeurIPS 2020, sections 3.1 and 3.2;
the span count as in fairseq and transformers), with the generator passed in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spans(
    valid: NDArray[np.int64], frames: int, probability: float, length: int, draw: np.random.Generator
) -> NDArray[np.bool_]:
    """Which frames are masked.

    Spans of ``length`` frames begin at distinct places drawn without replacement and may overlap,
    so a smaller share than ``probability`` is masked. Padding is never masked.

    Args:
        valid: int64[batch], frames of each utterance that are speech.
        frames: frames of the padded batch.
        probability: spans x length / valid frames; the count is rounded at random.
        length: frames a span.
        draw: the generator.

    Returns:
        bool[batch, frames]; a row is all False if its utterance is shorter than a span.
    """
    masked = np.zeros((len(valid), frames), dtype=bool)
    rounding = draw.random(len(valid))
    for row, count in enumerate(valid.tolist()):
        places = count - length + 1
        wanted = min(max(1, int(probability * count / length + rounding[row])), max(places, 0))
        if wanted > 0:
            starts = draw.permutation(places)[:wanted]
            masked[row, (starts[:, None] + np.arange(length)).ravel()] = True
    return masked


def negatives(masked: NDArray[np.bool_], count: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Distractors for each masked frame: other masked frames of the same utterance.

    Drawn uniformly with replacement.

    Args:
        masked: bool[batch, frames], with no row of exactly one masked frame.
        count: distractors a masked frame.
        draw: the generator.

    Returns:
        int64[masked frames, count]; indices into the list of masked frames in row-major order.
    """
    blocks, first = [], 0
    for total in masked.sum(axis=1).tolist():
        if total:
            own = np.arange(total)[:, None]
            drawn = draw.integers(0, max(total - 1, 1), size=(total, count))
            blocks.append(first + drawn + (drawn >= own) if total > 1 else first + drawn)
            first += total
    return np.concatenate(blocks) if blocks else np.zeros((0, count), np.int64)

"""wav2vec 2.0: self-supervised pretraining on speech by telling masked frames apart.

Baevski et al., "wav2vec 2.0" (NeurIPS 2020). The study's own task.
"""

from __future__ import annotations

from fedsim.tasks.wav2vec2.task import Wav2Vec2

__all__ = ["Wav2Vec2"]

"""Speech corpora: each kind becomes the same flat array of samples and table of utterances."""

from __future__ import annotations

from fedsim.learning.corpus.store import SAMPLE_RATE_HZ, Corpus
from fedsim.learning.spec import CorpusSpec

__all__ = ["SAMPLE_RATE_HZ", "Corpus", "load"]


def load(spec: CorpusSpec) -> Corpus:
    """Open the corpus that ``spec`` describes, making or decoding it if the cache lacks it.

    Raises:
        CorpusError: if there is no usable speech.
    """
    from fedsim.learning.corpus import common_voice, espeak, manifest

    kinds = {"espeak": espeak.load, "manifest": manifest.load, "common-voice": common_voice.load}
    return kinds[spec.kind](spec)

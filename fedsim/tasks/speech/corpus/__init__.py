"""Speech corpora: each kind becomes the same flat array of samples and table of utterances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsim.tasks.speech.corpus.options import CORPORA, CommonVoice, Corpus, Espeak, Listed, Manifest

if TYPE_CHECKING:
    from fedsim.tasks.speech.corpus import store

__all__ = ["CORPORA", "CommonVoice", "Corpus", "Espeak", "Listed", "Manifest", "load"]


def load(corpus: Corpus) -> store.Corpus:
    """Open a corpus, making or decoding it if the cache lacks it.

    Raises:
        CorpusError: if there is no usable speech.
    """
    from fedsim.tasks.speech.corpus import common_voice, espeak, manifest

    if isinstance(corpus, Espeak):
        return espeak.load(corpus)
    if isinstance(corpus, Manifest):
        return manifest.load(corpus)
    assert isinstance(corpus, CommonVoice)
    return common_voice.load(corpus)

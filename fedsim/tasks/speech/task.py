"""What tasks on speech have in common: the corpus, who holds which of it, and waveforms as examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from fedsim.options import one_of, option
from fedsim.tasks.base import Size, Task
from fedsim.tasks.speech.corpus.options import CORPORA, CommonVoice, Corpus, Espeak, Listed
from fedsim.units import SAMPLES_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fedsim.tasks.speech.data import SpeechData

LISTS = ("validated.tsv", "train.tsv", "dev.tsv", "test.tsv")
"""Files by which a corpus that is a folder is known."""
HEARD_SHARE = 1.2
"""Of the training speech that is asked for, what is decoded: two tenths are held out."""
SAMPLE_BYTES = 2

Models = Literal["wav2vec2-tiny", "wav2vec2-small", "wav2vec2-base", "wav2vec2-large"]


@dataclass(frozen=True, kw_only=True)
class SpeechTask(Task):
    """Learning from waveforms at 16 kHz."""

    sizes: ClassVar[tuple[Size, ...]] = (
        Size("samples", "samples at 16 kHz", SAMPLES_PER_S, usual=2 * SAMPLES_PER_S),
    )
    reads: ClassVar[tuple[str, ...]] = ("corpus",)

    model: Models = option("wav2vec2-tiny", "the model that is really trained")
    corpus: Annotated[Corpus, one_of(Corpus, CORPORA, "espeak")] = option(
        Espeak(), "the speech that is really trained on"
    )
    partition: Literal["by-speaker", "natural", "dirichlet-speakers", "dirichlet-quality"] = option(
        "by-speaker", "how training speech is divided among clients"
    )
    parts: int | None = option(None, "number of parts; none: one a training speaker", ge=1)
    dirichlet_alpha: float = option(0.5, "concentration of the dirichlet partitions", gt=0)
    low_quality: float = option(0.0, "share of the parts that are recorded badly", ge=0, le=1)
    crop_seconds: float = option(2.0, "longest piece of an utterance in a batch", ge=0.5, le=60)
    evaluation_seconds: float = option(60.0, "held-out speech evaluated at most", gt=0)

    @property
    def parts_wanted(self) -> int | None:
        return self.parts

    @property
    def longest_evaluated_s(self) -> float:
        """Of a held-out utterance, what is evaluated at most."""
        return self.crop_seconds

    def data(self, seed: int) -> SpeechData:
        """The corpus, divided and checked."""
        return _data(self, seed)

    def check(self, data: SpeechData) -> None:
        """Refuse speech of which nothing is left to learn from, to evaluate or to fine-tune on.

        What is found here is not found in the middle of a run, or at its end.

        Raises:
            CorpusError: says what is missing.
        """

    @classmethod
    def files_in(cls, folder: Path, option: Mapping[str, Any]) -> list[Path]:
        """The lists of a corpus, and those of the folders in it."""
        found = [one for name in LISTS for one in (folder / name, *sorted(folder.glob(f"*/{name}")))]
        return [one for one in found if one.is_file()]

    def missing(self) -> str | None:
        path = self.corpus.path if isinstance(self.corpus, Listed) else None
        return None if path is None or Path(path).exists() else path

    def look_through(self, seed: int) -> None:
        """Recordings are decoded into the cache; speech that fedsim makes itself is not made for this."""
        if not isinstance(self.corpus, Espeak):
            super().look_through(seed)

    def cached_bytes(self, corpus_s: float) -> float | None:
        """Decoded speech."""
        minutes = self.corpus.minutes if isinstance(self.corpus, Espeak | Listed) else None
        seconds = None if minutes is None else 60 * HEARD_SHARE * minutes
        if isinstance(self.corpus, CommonVoice):
            seconds = corpus_s if seconds is None else min(corpus_s, seconds)
        return None if seconds is None else seconds * SAMPLES_PER_S * SAMPLE_BYTES

    def padded(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cut to ``crop_seconds`` and rounded up to half a second."""
        from fedsim.tasks.speech.batches import padded

        return padded(sizes, self.crop_seconds)

    def evaluation_batches(self) -> tuple[float, int]:
        import numpy as np

        from fedsim.tasks.speech.batches import evaluated_at_once

        at_once = evaluated_at_once(self.crop_seconds)
        spoken, whole = self.evaluation_seconds * SAMPLES_PER_S, float(self.padded(np.array(np.inf)))
        return float(np.ceil(spoken / whole / at_once)) * len(self.splits), at_once

    def content(self) -> dict[str, Any]:
        from fedsim.tasks.speech.corpus.content import content

        return {"corpus": content(self.corpus)}

    def freeze_cnn(self, model: Any) -> None:
        """Stop training the convolutional feature encoder."""
        model.freeze_feature_encoder()


@lru_cache(maxsize=1)
def _data(task: SpeechTask, seed: int) -> SpeechData:
    """The learner and its worker in this process share one."""
    from fedsim.tasks.speech.data import SpeechData

    return SpeechData(task, seed)

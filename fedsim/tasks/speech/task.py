"""What tasks on speech have in common: the corpus, who holds which of it, and waveforms as examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from fedsim.options import one_of, option
from fedsim.tasks.base import Size, Task
from fedsim.tasks.speech.corpus.options import CORPORA, Corpus, Espeak
from fedsim.units import SAMPLES_PER_S

if TYPE_CHECKING:
    from fedsim.tasks.speech.data import SpeechData

Models = Literal["wav2vec2-tiny", "wav2vec2-small", "wav2vec2-base", "wav2vec2-large"]


@dataclass(frozen=True, kw_only=True)
class SpeechTask(Task):
    """Learning from waveforms at 16 kHz."""

    sizes: ClassVar[tuple[Size, ...]] = (
        Size("samples", "samples at 16 kHz", SAMPLES_PER_S, usual=2 * SAMPLES_PER_S),
    )

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

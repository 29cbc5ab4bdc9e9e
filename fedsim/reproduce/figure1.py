"""Figure 1: what self-supervision and federation cost in time.

Left: V100 hours on LibriSpeech. wav2vec 2.0 trains as its authors say (Baevski et al. 2020, section
4.2): base 400,000 updates of 1.4 million samples on each of 64 GPUs in crops of 250,000, in 1.6
days; large 250,000 updates of 1.2 million samples on each of 128 in crops of 320,000, in 2.3 days.
The rate at which base trained (its FLOPs over its hours) gives the hours of everything else from its
FLOPs. The paper's "over 7000" is the large model.

Right: days on Common Voice Italian, federated on Jetson Xavier NX against centralised on V100s. The
paper prints no number and does not say how often the centralised run saw the corpus, so equal passes
are compared: 150 rounds in which all clients take part are 150 epochs, 500 rounds of a fifth are 100.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedsim.hardware import load_device
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.reproduce.figure import Figure, commented, rows
from fedsim.reproduce.supervised import crdnn, transformer
from fedsim.scenario import load
from fedsim.simulation import time_rounds
from fedsim.units import DAY_S, HOUR_S

UTTERANCES, MACHINES = 195_000, 10
SETTINGS = {
    "10 clients": ("fl10-jetson-xavier-nx", 150),
    "100 clients": ("fl100-jetson-xavier-nx", 500 * 20 // 100),
}
"""Section 4.2: scenario, and how often it passes over the corpus: rounds times the share of clients."""

AVERAGE, LONGEST = 88_000, 128_000  # samples: 5.5 s, and the 8 s of the benchmark's longest sentence


@dataclass(frozen=True)
class Pretraining:
    """A published pretraining run of wav2vec 2.0 on LibriSpeech."""

    size: str
    gpus: int
    samples_a_gpu: int
    crop_samples: int
    updates: int
    days: float

    @property
    def gpu_hours(self) -> float:
        """As published."""
        return self.gpus * self.days * 24

    @property
    def training_flops(self) -> float:
        """FLOPs of all updates, from the layer trace."""
        pricer = Pricer(load_device("nvidia-v100"), load_trace(f"wav2vec2-{self.size}"), Technique())
        one = float(pricer.training_flops(1, self.crop_samples))
        return one * self.samples_a_gpu / self.crop_samples * self.gpus * self.updates

    def simulated_gpu_hours(self) -> float:
        """GPU hours by the cost model in mixed precision, without communication."""
        pricer = Pricer(load_device("nvidia-v100"), load_trace(f"wav2vec2-{self.size}"), Technique("mixed"))
        batch = round(self.samples_a_gpu / self.crop_samples)
        return float(pricer.step_s(batch, self.crop_samples)) * self.updates * self.gpus / HOUR_S


BASE = Pretraining("base", 64, 1_400_000, 250_000, 400_000, 1.6)
LARGE = Pretraining("large", 128, 1_200_000, 320_000, 250_000, 2.3)


def gpu_hours() -> Iterator[Figure]:
    """The left part."""
    (claim,) = (float(row["value"]) for row in rows("claims.csv") if row["id"] == "fig1.w2v2_gpu_hours")
    rate = BASE.training_flops / BASE.gpu_hours  # FLOP a GPU hour
    large = LARGE.training_flops / rate
    said = f"at the {rate / HOUR_S / 1e12:.1f} TFLOP/s that its authors' base model reached"
    how = f"FLOPs of wav2vec 2.0 large {said}; holds: over 7000"
    yield Figure("figure1", "w2v2_gpu_hours", claim, large, "GPU hours", how, holds=large > claim)
    how = "128 V100 for 2.3 days, as its authors say (Baevski et al. 2020)"
    yield Figure("figure1", "w2v2_gpu_hours/published", claim, LARGE.gpu_hours, "GPU hours", how)
    how = "our cost model on a V100, by what cards have in common, mixed precision, communication left out"
    yield Figure("figure1", "w2v2_gpu_hours/cost model", claim, LARGE.simulated_gpu_hours(), "GPU hours", how)
    for recipe in (transformer(), crdnn()):
        hours = recipe.training_flops / rate
        how = (
            f"FLOPs of {recipe.epochs} epochs of SpeechBrain's recipe at the same rate; its README says"
            f" {recipe.gpu_hours:.0f}; holds: several times less than wav2vec 2.0"
        )
        yield Figure(
            "figure1", f"{recipe.name}/gpu_hours", None, hours, "GPU hours", how, holds=hours < large / 3
        )
    best = max(transformer().training_flops, crdnn().training_flops)
    how = "FLOPs of wav2vec 2.0 large over those of the transformer; the paper: an order of magnitude"
    yield Figure("figure1", "over_supervised/flops", 10.0, LARGE.training_flops / best, "ratio", how)
    how = "published hours of wav2vec 2.0 large over those that the transformer's README gives"
    yield Figure(
        "figure1", "over_supervised/hours", 10.0, LARGE.gpu_hours / transformer().gpu_hours, "ratio", how
    )


def centralised_days(epochs: int) -> dict[str, tuple[float, str]]:
    """Days of so many epochs by kind of centre, and how each came about."""
    v100, trace = load_device("nvidia-v100"), load_trace("wav2vec2-base")
    pricer = Pricer(v100, trace, Technique("mixed"))
    batch = max(2**k for k in range(8) if bool(pricer.fits(2**k, LONGEST)))
    sentences = UTTERANCES * epochs
    priced = float(pricer.step_s(batch, AVERAGE)) * sentences / batch / DAY_S
    flops = float(pricer.training_flops(1, AVERAGE)) * sentences
    reached = flops / (BASE.training_flops / BASE.gpu_hours) / 24
    slow = f"a V100 by what cards have in common, mixed precision, batch {batch}"
    fast = "a V100 at the rate that its authors' base model reached"
    return {
        "one V100": (reached, fast),
        "ten V100": (reached / MACHINES, f"ten times {fast}, communication left out"),
        "one V100/cost model": (priced, slow),
    }


def federated_days(name: str) -> float:
    """Days of a scenario of the paper on the simulated clock."""
    return sum(r.end_s - r.start_s for r in time_rounds(load(f"paper/{name}").scenario)) / DAY_S


def wall_clock() -> Iterator[Figure]:
    """The right part; the paper's statement is that federated training takes longer."""
    for federated, (name, epochs) in SETTINGS.items():
        days = federated_days(name)
        for centre, (alone, what) in centralised_days(epochs).items():
            how = (
                f"paper/{name}, run: {days:.1f} days; {epochs} epochs of Common Voice Italian on {what}:"
                f" {alone:.1f} days; base; holds: federated takes longer"
            )
            item = f"wall_clock/{federated} over {centre}"
            yield Figure("figure1", item, None, days / alone, "ratio", how, holds=days > alone)


_COMMENTS = {
    "w2v2_gpu_hours/cost model": (
        "Nobody measured a V100 in the paper. By what NVIDIA cards have in common 128 of them would "
        "have taken less without the exchange of gradients between them, which is not priced."
    ),
    "over_supervised/flops": (
        "The paper compares hours, and in hours it is tenfold (next line). By FLOPs the supervised recipe "
        "should have taken a quarter of the hours that its README gives."
    ),
}


def figures() -> list[Figure]:
    """All of them."""
    return commented([*gpu_hours(), *wall_clock()], _COMMENTS)

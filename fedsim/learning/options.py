"""Real training within a run: what can be set about it, whatever the task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fedsim.errors import ScenarioError
from fedsim.files import sha256
from fedsim.learning import weights
from fedsim.learning.byzantine import BYZANTINES, Byzantine
from fedsim.options import Options, one_of, option
from fedsim.tasks import TASKS, Task, Wav2Vec2


@dataclass(frozen=True, kw_only=True)
class Learning(Options):
    """Real training of real models; leave the block out for a timing-only run.

    The keys of the task stand beside these.
    """

    flat = "task"

    task: Annotated[Task, one_of(Task, TASKS, "wav2vec2")] = option(Wav2Vec2(), "what is learned")
    init: str | None = option(
        None,
        "weights to begin with: a folder with model.safetensors, a run (its newest checkpoint) or a file;"
        " none: drawn by the seed",
    )
    clients_per_round: int = option(
        8, "of those that complete, how many are trained for real", ge=1, le=10_000
    )
    evaluate_every: int = option(2, "rounds between evaluations; the last always is", ge=1)
    batch_size: int = option(4, "examples a step of real training", ge=1, le=512)
    local_steps: int = option(8, "optimizer steps a client takes in a round", ge=1, le=100_000)
    local_epochs: float | None = option(
        None, "passes over the client's part, instead of steps", gt=0, le=1000
    )
    learning_rate: float = option(2e-3, "peak rate of the local optimizer", gt=0, le=1)
    warmup_rounds: int = option(3, "rounds over which the learning rate rises", ge=0)
    decay: Literal["none", "linear"] = option("none", "of the learning rate after the warm-up")
    optimizer: Literal["adam", "adamw", "sgd"] = option("adam", "the local optimizer")
    optimizer_state: Literal["fresh", "averaged"] = option(
        "fresh", "fresh in every round, or averaged by the server with the weights"
    )
    weight_decay: float = option(0.01, "of adamw", ge=0)
    clip_norm: float | None = option(2.0, "largest norm of the gradient; none: any", gt=0)
    perturbation: float = option(
        1e-3,
        "of forward-only steps: how far along a random direction the loss is looked at (epsilon)",
        gt=0,
        le=1,
    )
    precision: Literal["fp32", "mixed"] = option("fp32", "of the real training; mixed needs a GPU")
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "where real training happens; auto: on a GPU if there is one"
    )
    largest_update: float = option(
        10.0, "an update is rejected if its norm exceeds so many norms of the initial model", gt=0, le=1e6
    )
    byzantine: Annotated[Byzantine, one_of(Byzantine, BYZANTINES)] | None = option(
        None, "clients that send garbage"
    )
    staleness_exponent: float = option(
        0.5, "async: an update s rounds late weighs (1 + s)**-exponent as much", ge=0
    )
    checkpoint_every: int = option(
        10, "rounds between checkpoints that are kept; the newest two always are", ge=1
    )
    baseline: Literal["centralised", "local-only", "no-pretraining"] | None = option(
        None,
        "instead of the federation: its steps in one place on server.device; one client alone;"
        " or the downstream task on fresh weights",
    )
    alone: int | None = option(None, "local-only: the client that is alone", ge=0)

    def __post_init__(self) -> None:
        if self.baseline == "no-pretraining" and not self.task.finetunes(0, 1):
            raise ValueError("'no-pretraining' needs the key 'downstream' beside it")
        if self.baseline == "no-pretraining" and self.init is not None:
            raise ValueError("the baseline 'no-pretraining' begins with fresh weights; leave out 'init'")
        if (self.alone is not None) != (self.baseline == "local-only"):
            raise ValueError("the key 'alone' belongs to baseline 'local-only', and that needs it")
        if self.optimizer_state == "averaged" and self.optimizer == "sgd":
            raise ValueError("optimizer_state is 'averaged', but sgd has no state")

    def check_steps(self, release_gradients: bool, forward_only: bool) -> None:
        """Refuse a kind of steps that cannot be had with these options.

        Raises:
            ScenarioError: gradients are to be clipped whose norm is not known; or an optimizer is to use
                gradients that there are not.
        """
        if forward_only and self.optimizer != "sgd":
            said = f"is {self.optimizer!r}, and steps without a backward pass (training.forward_only) are sgd"
            raise ScenarioError(said, key="learning.optimizer")
        if self.clip_norm is not None and (forward_only or release_gradients):
            why = "training.forward_only has no gradient to clip"
            if release_gradients:
                why = "training.release_gradients lets each gradient go before the norm of all is known"
            raise ScenarioError(f"is {self.clip_norm:g}, and {why}; give null", key="learning.clip_norm")

    def begins_with(self) -> list[Path]:
        """The files with the weights to begin with; none where these are fresh.

        Raises:
            ScenarioError: they are not there.
        """
        return [] if self.init is None else weights.files_of(Path(self.init))

    def content(self) -> dict[str, Any]:
        """By key, the content of what options name by path: what decides a result, wherever it lies.

        Raises:
            InputError: it cannot be read.
        """
        held = [sha256(file) for file in self.begins_with()]
        return self.task.content() | ({"init": held} if held else {})

"""What of a model trains: all of it, or as little as people train on devices.

One class a way, frozen options like any other choice. A file says ``train: all``, ``train: {last: 2}``,
``train: {lora: {rank: 8, modules: [q_proj, v_proj]}}``; the command line says ``--train last:2``. Pricing
and learning read the same objects.

*Layers* are a model's repeated blocks (a transformer's layers, a residual network's stages), those of a
convolutional encoder at the input aside; they are counted from 1 in the order in which they run. The
*head* is all that runs after the last of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fedsim import checks
from fedsim.options import Choice, Name, Options, kind, one_of, option


@dataclass(frozen=True)
class Trained(Choice):
    """What of a model trains; the rest keeps the weights that it begins with."""

    point = "way to say what trains"
    short = True

    def __str__(self) -> str:
        """As the command line takes it: ``lora:8``."""
        said = [f.name for f in dataclasses.fields(self) if f.name != self.key]
        return f"{self.name}:{getattr(self, said[0])}" if said and said[0] != "head" else self.name

    @property
    def words(self) -> str:
        """In a few words, for tables."""
        return str(self)


@dataclass(frozen=True)
class Everything(Trained):
    """All parameters."""

    kind: Literal["all"] = kind("all")


@dataclass(frozen=True)
class FrozenCNN(Trained):
    """All but the convolutional encoder at the model's input."""

    kind: Literal["frozen-cnn"] = kind("frozen-cnn")

    @property
    def words(self) -> str:
        return "frozen CNN"


@dataclass(frozen=True)
class Head(Trained):
    """The head alone."""

    kind: Literal["head"] = kind("head")

    @property
    def words(self) -> str:
        return "head alone"


@dataclass(frozen=True)
class Biases(Trained):
    """Biases alone (BitFit, Ben Zaken et al., ACL 2022), shifts of norms among them."""

    head: bool = option(False, "train the head too")
    kind: Literal["biases"] = kind("biases")

    @property
    def words(self) -> str:
        return "biases alone"


@dataclass(frozen=True)
class Last(Trained):
    """The last layers, and the head."""

    layers: int = option(description="how many", ge=1)
    kind: Literal["last"] = kind("last")

    @property
    def words(self) -> str:
        return f"last {self.layers} layers" if self.layers > 1 else "last layer"


@dataclass(frozen=True)
class OneLayer(Trained):
    """One layer alone, as in layer-wise training."""

    layer: int = option(description="its number, from 1", ge=1)
    head: bool = option(False, "train the head too")
    kind: Literal["layer"] = kind("layer")

    @property
    def words(self) -> str:
        return f"layer {self.layer} alone" if not self.head else f"layer {self.layer} and head"


_QUERIES_AND_VALUES = ("q_proj", "v_proj", "query", "value", "q_lin", "v_lin", "linear_q", "linear_v")
"""Last names of the linear layers beside which low-rank updates stand where none is named."""


@dataclass(frozen=True)
class LoRA(Trained):
    """Low-rank updates of linear layers (Hu et al., ICLR 2022): B A x, scaled, beside W x.

    A module is named by its path or the end of it, as in peft (``q_proj`` means every module so called).
    """

    rank: int = option(description="of the update", ge=1, le=65_536)
    modules: tuple[Name, ...] = option(
        (), "linear layers by name; none: the queries and values of attention, else every linear layer"
    )
    alpha: float | None = option(
        None, "the update is scaled by alpha / rank; none: twice the rank", gt=0, le=1e6
    )
    head: bool = option(False, "train the head too")
    kind: Literal["lora"] = kind("lora")

    @property
    def words(self) -> str:
        return f"LoRA rank {self.rank}"

    def unknown(self, linear: Sequence[str]) -> str | None:
        """The first of the names that no linear layer has, given the paths of all; None if there is none."""
        return next((name for name in self.modules if not any(_ends(path, name) for path in linear)), None)

    def beside(self, linear: Sequence[str], inside: Callable[[str], object]) -> list[str]:
        """The linear layers beside which updates stand: what is priced is what is trained.

        Args:
            linear: paths of all linear layers.
            inside: whether one is inside the layers of the model.
        """
        if self.modules:
            return [path for path in linear if any(_ends(path, name) for name in self.modules)]
        found = [path for path in linear if path.rpartition(".")[2] in _QUERIES_AND_VALUES]
        return found or [path for path in linear if inside(path)]

    @property
    def scale(self) -> float:
        """What the update is multiplied with."""
        return 2.0 if self.alpha is None else self.alpha / self.rank


def _ends(path: str, name: str) -> bool:
    return f".{path}".endswith(f".{name}")


@dataclass(frozen=True)
class Adapters(Trained):
    """A bottleneck after each layer (Houlsby et al., ICML 2019; one a layer, as Pfeiffer et al., 2021).

    h + up(relu(down(h))), with biases, where h is what the layer hands on.
    """

    width: int = option(description="of the bottleneck", ge=1, le=65_536)
    head: bool = option(False, "train the head too")
    kind: Literal["adapters"] = kind("adapters")

    @property
    def words(self) -> str:
        return f"adapters of {self.width}"


TRAINED: tuple[type[Trained], ...] = (
    Everything,
    FrozenCNN,
    Head,
    Biases,
    Last,
    OneLayer,
    LoRA,
    Adapters,
)
EVERYTHING = Everything()
TRAIN = one_of(Trained, TRAINED)
"""The mark of a key that says what trains."""


@dataclass(frozen=True)
class _Asked(Options):
    train: Annotated[Trained, TRAIN] = option(EVERYTHING)


def parse_trained(said: object) -> Trained:
    """What ``lora:8`` stands for, as the command line takes it, or ``{"lora": {"rank": 8}}``, as a file does.

    Raises:
        InputError: it stands for nothing, in one sentence with the key ``train``.
    """
    return checks.check(_Asked, {"train": said}).train

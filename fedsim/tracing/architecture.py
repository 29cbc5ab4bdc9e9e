"""Any configuration of transformers as a thing to trace: how its model is made, what a batch of it holds.

The objective follows from the configuration's first architecture, through the tables in which transformers
lists its classes by what they are for; without one, or with a bare encoder, from what the model type is
usually trained for. What a batch holds follows from the arguments that the class takes.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.overrides import TorchFunctionMode

from fedsim.errors import TraceError
from fedsim.tasks.base import Size
from fedsim.tasks.ctc.task import FAKE_CHARACTERS
from fedsim.tasks.speech.models import frames
from fedsim.tracing import heads
from fedsim.tracing.traceable import Traceable

MEL_BANDS, MEL_FRAMES_PER_S = 80, 100
"""Of the log-mel spectrograms that speech models take; wider features are such frames, stacked."""
PIXELS = 224
"""A side of an image, if a configuration does not say."""


@dataclass(frozen=True)
class Kind:
    """A way of training.

    Attributes:
        objective: in words.
        table: which of transformers' tables lists its classes: ``MODEL_FOR_<table>_MAPPING_NAMES``.
        needs: an argument that a class must take; the tables hold some that give no loss.
        each_token: whether every token has a label, rather than every example.
    """

    objective: str
    table: str
    needs: str = "labels"
    each_token: bool = False

    def classes(self) -> dict[str, tuple[str, ...]]:
        """The names of its classes, by model type."""
        from transformers.models.auto import modeling_auto

        table = getattr(modeling_auto, f"MODEL_FOR_{self.table}_MAPPING_NAMES")
        found = {model: (name,) if isinstance(name, str) else tuple(name) for model, name in table.items()}
        if self.table != "PRETRAINING":
            return found
        # where there is no such class, transformers lists one that is for something else
        return {
            model: tuple(n for n in names if n.endswith("ForPreTraining")) for model, names in found.items()
        }


INPUTS = ("input_ids", "input_values", "input_features", "pixel_values", "image", "audio")
"""What arguments are called that hold what a model is given, whole or in part."""

CTC = Kind("CTC", "CTC")
KINDS = (
    Kind("contrastive pretraining", "PRETRAINING", "sampled_negative_indices"),
    Kind("speech to text", "SPEECH_SEQ_2_SEQ", each_token=True),
    Kind("text to text", "SEQ_TO_SEQ_CAUSAL_LM", each_token=True),
    Kind("masked language model", "MASKED_LM", each_token=True),
    Kind("causal language model", "CAUSAL_LM", each_token=True),
    Kind("image classification", "IMAGE_CLASSIFICATION"),
    Kind("masked autoencoder of images", "PRETRAINING", "noise"),
    CTC,
    Kind("audio classification", "AUDIO_CLASSIFICATION"),
    Kind("sequence classification", "SEQUENCE_CLASSIFICATION"),
    Kind("token classification", "TOKEN_CLASSIFICATION", each_token=True),
    Kind("pretraining on text", "PRETRAINING", each_token=True),
)
"""In the order in which they are usual for a model type that has several."""


@dataclass(frozen=True)
class Training:
    """How a configuration is trained: the class with the loss, and of which kind; None if it is our own."""

    name: str
    objective: str
    make: Any
    kind: Kind | None = None


def training_of(config: Any) -> Training:
    """How a transformers configuration is trained.

    Raises:
        TraceError: its architecture is none whose loss is known; says which are.
    """
    named = (getattr(config, "architectures", None) or [""])[0]
    known = _known(config.model_type)
    bare = _bare(config.model_type)
    if named in heads.ARCHITECTURES:
        own = Training(named, *heads.ARCHITECTURES[named])
        if own.make.main_input_name == getattr(bare, "main_input_name", ""):
            return own
    bare_name = "" if bare is None else str(bare.__name__)
    predicts = "mask_time_indices" in _arguments(bare) and KINDS[0] not in known.values()
    if predicts and (named in ("", bare_name) or named.endswith("ForPreTraining")):
        # transformers has no pretraining of such a speech model, or one without a loss
        return Training(bare_name, *heads.MASKED_PREDICTION)
    if named in ("", bare_name):
        named = next(iter(known), named)
    if named in known:
        return Training(named, known[named].objective, _class(named), known[named])
    if known:
        can = ", ".join(known)
        raise TraceError(
            f"the loss of {named!r} is not known; what of {config.model_type} can be traced is {can}"
        )
    kinds = ", ".join(dict.fromkeys(kind.objective for kind in KINDS))
    raise TraceError(f"{config.model_type} has none whose loss is known; what can be traced is {kinds}")


def architecture_of(config: Any) -> Traceable:
    """A transformers configuration as a thing to trace.

    Raises:
        TraceError: its architecture is none whose loss is known.
    """
    training = training_of(config)
    kind = training.kind
    takes = _arguments(training.make)
    main = str((training.make if kind is not None else _bare(config.model_type)).main_input_name)
    build = partial(_built, training.make, config)

    def batch(n: int, sizes: Mapping[str, int]) -> dict[str, Any]:
        inputs = _inputs(config, main, n, sizes)
        made = {} if kind is None else {main: inputs, **_labels(config, kind, n, sizes.get("tokens", 0))}
        if takes & heads.GIVEN:
            count = frames(config, sizes["samples"]) if "samples" in sizes else sizes["frames"]
            made |= heads.given(config, inputs, count)
        tensors = {key: tensor for key, tensor in made.items() if key in takes}
        return tensors | {"use_cache": False} if "use_cache" in takes else tensors

    return Traceable(
        name=training.name,
        objective=training.objective,
        sizes=_sizes(config, main, kind, build),
        config=_told(config),
        make=build,
        make_batch=batch,
        loss_of=_ctc if kind is CTC else _own_loss,
    )


def _told(config: Any) -> dict[str, Any]:
    """What a trace's file says of a configuration: of the classes' names how many there are."""
    content: dict[str, Any] = config.to_diff_dict()
    if "id2label" in content:
        content["num_labels"] = len(content["id2label"])
    unsaid = ("transformers_version", "dtype", "id2label", "label2id")
    return {key: value for key, value in content.items() if key not in unsaid}


def _known(model_type: str) -> dict[str, Kind]:
    """The classes of a model type that can be trained without knowing more, and how."""
    known: dict[str, Kind] = {}
    for kind in KINDS:
        for name in kind.classes().get(model_type, ()):
            made = _class(name)
            takes = _arguments(made)
            given = {a for a in takes if any(part in a for part in INPUTS) and not a.startswith("decoder_")}
            # one input, not images beside text, say, since nobody tells how much of each there is
            if kind.needs in takes and given == {made.main_input_name}:
                known.setdefault(name, kind)
    return known


def _class(name: str) -> Any:
    import transformers

    return getattr(transformers, name, None)


def _bare(model_type: str) -> Any:
    """The class of the encoder alone."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    name = MODEL_MAPPING_NAMES.get(model_type)
    return _class(name if isinstance(name, str) else name[0]) if name else None


def _arguments(made: Any) -> set[str]:
    """What the forward pass of a class takes."""
    return set(inspect.signature(made.forward).parameters) if made is not None else set()


def _built(make: Any, config: Any, attention: str = "eager") -> nn.Module:
    config = copy.deepcopy(config)
    for key in vars(config):
        if key.endswith("layerdrop"):
            setattr(config, key, 0.0)
    config.dtype = None
    for key in ("pad_token_id", "decoder_start_token_id"):  # which of the tokens it is, costs nothing
        if getattr(config, key, None) is None:
            setattr(config, key, 0)
    supports = getattr(make, "_supports_sdpa", None)
    fused = _bare(config.model_type)._supports_sdpa if supports is None else supports
    config._attn_implementation = attention if fused else "eager"
    with _Numbers():
        model: nn.Module = make(config)
    if any(type(module).__name__.endswith("Experts") for module in model.modules()):
        raise TraceError("which expert of a mixture a token goes to, is not known without numbers")
    tie: Callable[[], None] | None = getattr(model, "tie_weights", None)
    if tie is not None:
        tie()  # transformers itself does so when it draws numbers, of which there are none
    return model


class _Numbers(TorchFunctionMode):
    """Rates of stochastic depth, made with ``linspace``, have numbers even where no other tensor has."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        elif not (args and type(args[0]) is torch.Tensor and args[0].device.type == "cpu"):
            return func(*args, **kwargs)
        with unset_fake_temporarily():
            return func(*args, **kwargs)


def _own_loss(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    out = model(**batch)
    loss: torch.Tensor = out if isinstance(out, torch.Tensor) else out.loss
    return loss


def _ctc(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """transformers' own asks how long each sentence is, which tensors without numbers cannot say."""
    text = batch["labels"]
    logits = model(**{key: value for key, value in batch.items() if key != "labels"}).logits
    lengths = [logits.shape[1]] * len(text), [text.shape[1]] * len(text)
    likely = nn.functional.log_softmax(logits, dim=-1, dtype=torch.float32).transpose(0, 1)
    ctc_loss: Any = nn.functional.ctc_loss
    loss: torch.Tensor = ctc_loss(likely, text, *lengths, reduction="sum")
    return loss


# -- what a batch holds ----------------------------------------------------------------------------


def _sizes(config: Any, main: str, kind: Kind | None, build: Callable[[], nn.Module]) -> tuple[Size, ...]:
    found = []
    if main == "input_values" and not hasattr(config, "max_length"):
        found.append(Size("samples", "samples at 16 kHz", 16_000, usual=32_000))
    if main == "input_features" and not _spectrogram_fixed(config):
        stacked = max(1, _width(config) // MEL_BANDS)
        found.append(Size("frames", "frames of features", MEL_FRAMES_PER_S / stacked, usual=200))
    if main == "pixel_values" and _any_side(config, build):
        found.append(Size("pixels", "pixels a side", usual=_side(config)))
    if main == "input_ids" or (kind is not None and kind.each_token):
        limits = (getattr(config, key, None) for key in ("max_position_embeddings", "max_target_positions"))
        found.append(Size("tokens", "tokens of text", usual=min([128, *(n for n in limits if n and n > 0)])))
    return tuple(found)


def _inputs(config: Any, main: str, n: int, sizes: Mapping[str, int]) -> torch.Tensor:
    if main == "input_ids":
        return torch.empty(n, sizes["tokens"], dtype=torch.int64)
    if main == "pixel_values":
        side = sizes.get("pixels", _side(config))
        return torch.empty(n, getattr(config, "num_channels", 3), side, side)
    if "samples" in sizes:
        return torch.empty(n, sizes["samples"])
    if "frames" in sizes:
        return torch.empty(n, sizes["frames"], _width(config))
    if main == "input_values":
        return torch.empty(n, config.max_length, config.num_mel_bins)
    return torch.empty(n, config.num_mel_bins, 2 * config.max_source_positions)


def _labels(config: Any, kind: Kind, n: int, tokens: int) -> dict[str, torch.Tensor]:
    """By argument; a class takes some of them."""
    each = (n, FAKE_CHARACTERS) if kind is CTC else (n, tokens) if kind.each_token else (n,)
    number = kind.table == "SEQUENCE_CLASSIFICATION" and config.num_labels == 1
    pair = torch.empty(n, dtype=torch.int64)
    return {
        "labels": torch.empty(each, dtype=torch.float32 if number else torch.int64),
        "next_sentence_label": pair,
        "sentence_order_label": pair,
    }


def _width(config: Any) -> int:
    """Numbers in a frame of features."""
    inner = getattr(config, "encoder_config", config)
    for key in ("num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim"):
        if hasattr(inner, key):
            return int(getattr(inner, key))
    return MEL_BANDS


def _spectrogram_fixed(config: Any) -> bool:
    """Whether the encoder takes one length, as Whisper's takes 30 s."""
    has = partial(hasattr, config)
    return has("num_mel_bins") and has("max_source_positions") and not has("feature_projection_input_dim")


def _side(config: Any) -> int:
    side = getattr(config, "image_size", None) or PIXELS
    return int(side if isinstance(side, int) else side[0])


def _any_side(config: Any, build: Callable[[], nn.Module]) -> bool:
    """Whether a network takes images of any size: one without attention that runs at another."""
    side = _side(config) + 32
    try:
        with torch.device("meta"):
            model = build()
            if any("Attention" in type(module).__name__ for module in model.modules()):
                return False
            model(pixel_values=torch.empty(2, getattr(config, "num_channels", 3), side, side))
    except Exception:  # whatever a class raises at a size that it was not made for, or if it cannot be made
        return False
    return True

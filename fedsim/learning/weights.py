"""Weights to begin with: a folder as transformers' ``save_pretrained`` writes it, or a checkpoint of fedsim.

Only safetensors are read, so nothing is unpickled and nothing that a file holds is run. Every tensor that
the model has, too, is held against it (name, shape, type) by the files' headers before a number is read.

Names may differ by a prefix, as between ``Wav2Vec2Model`` and ``Wav2Vec2ForPreTraining`` of transformers,
whose encoder is ``wav2vec2`` (``base_model_prefix``): of all ways to take a first component off and to put
the model's own before it, the one after which most names are the model's is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedsim import files
from fedsim.errors import InputError, ScenarioError
from fedsim.learning import checkpoint
from fedsim.learning.checkpoint import FORMAT, MOST_BYTES, Kind
from fedsim.words import plural, verb

KEY = "learning.init"
WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_WIDER = {"F16", "BF16"}
"""Types whose numbers float32 holds exactly."""
_DECIDES = (
    "model_type",
    "num_attention_heads",
    "hidden_act",
    "feat_extract_activation",
    "feat_extract_norm",
    "do_stable_layer_norm",
    "conv_stride",
    "layer_norm_eps",
)
"""What of a configuration changes what the same weights compute, and no shape tells."""
_OLD_NAMES = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}
"""Last names of weight normalisation's tensors before torch 2.0, and what they are called now."""
_NAMED = 6  # parts of a model that a sentence names


@dataclass(frozen=True)
class Held:
    """Where a tensor lies: its file, its name in it, its shape and type."""

    file: Path
    name: str
    kind: Kind


@dataclass(frozen=True)
class Weights:
    """What a folder or a checkpoint holds.

    Attributes:
        place: what the scenario names.
        tensors: by name; a checkpoint's are the model's, whether they trained or not.
        updates: the two tensors A and B of the low-rank update of a tensor, by its name; its weights are
            W + scale B A.
        scale: of these.
        config: what its config.json says; empty without one.
    """

    place: Path
    tensors: Mapping[str, Held]
    config: Mapping[str, Any]
    updates: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    scale: float = 1.0


@dataclass(frozen=True)
class Fit:
    """Which tensors of a model begin with held ones.

    Attributes:
        place: where these lie.
        taken: by the model's name.
        lacking: those of the model that are not held, as sentences name them, and how many numbers.
        unused: those held that the model lacks, likewise.
        updated: how many of those taken have a low-rank update.
    """

    place: Path
    taken: Mapping[str, Held]
    lacking: tuple[str, int]
    unused: tuple[str, int]
    updated: int = 0

    def sentence(self) -> str:
        """What a person should know: what was taken, what begins fresh, what was left."""
        there = sorted({held.file for held in self.taken.values()})
        where = self.place if len(there) > 1 else there[0]
        count = len(self.taken)
        said = [f"{plural(count, 'tensor')} of the model {verb(count, 'begin')} as in {where}"]
        if self.updated:
            said.append(f"{plural(self.updated, 'low-rank update')} there {verb(self.updated, 'be')} added")
        for (names, numbers), what in (
            (self.lacking, "not there, and begin fresh"),
            (self.unused, "there, and not in the model"),
        ):
            if names:
                said.append(f"{names} ({plural(numbers, 'number')}) are {what}")
        return "; ".join(said)


def files_of(place: Path) -> list[Path]:
    """The files that weights are read from: those with tensors, and what else says how to read them.

    Args:
        place: a folder as ``save_pretrained`` writes it, a run directory (its newest checkpoint is
            meant), a folder of checkpoints, or a file.

    Raises:
        ScenarioError: there is no such thing, or it holds no weights that can be read.
    """
    try:
        found = _found(place)
    except (OSError, ValueError) as fault:  # too long for a path, a NUL in it, a folder that may not be read
        raise ScenarioError(f"{str(place)!r} cannot be read: {fault}", key=KEY) from None
    for file in found:
        files.size_of(file, ScenarioError, MOST_BYTES)
    return found


def files_in(place: Path) -> list[Path]:
    """The same; none where they cannot be had."""
    with suppress(InputError):
        return files_of(place)
    return []


def read(place: Path) -> Weights:
    """What there is, by the headers of its files; no number is read.

    Raises:
        ScenarioError: as :func:`files_of`, or a file is damaged.
    """
    found, index = files_of(place), {}
    if place.is_dir() and place / INDEX in found:
        index = _index(place)
    held: dict[str, Held] = {}
    scale = None
    for file in found:
        if file.suffix == ".json":
            continue
        kinds, metadata = _header(file)
        ours = metadata.get("format") == FORMAT
        scale = _scale(metadata, file) if ours else None
        for name, kind in kinds.items():
            group, _, rest = name.partition(".")
            if ours and group in ("model", "fixed"):
                held[rest] = Held(file, name, kind)
            elif not ours and file.parent / index.get(name, file.name) == file:
                held[name] = Held(file, name, kind)
    for name, shard in index.items():
        if name not in held:
            raise ScenarioError(f"is not in {shard}, where {INDEX} says it is", file=place, key=name)
    config = files.read_json(place / CONFIG, ScenarioError) if place / CONFIG in found else {}
    updates = {} if scale is None else _low_rank(held)
    config = config if isinstance(config, dict) else {}
    return Weights(place, held, config, updates, scale or 1.0)


def fit(weights: Weights, model: Any) -> Fit:
    """Find the tensors that a model can begin with.

    Args:
        weights: what there is.
        model: a torch module.

    Raises:
        ScenarioError: a tensor has another shape or type, a configuration means something else by it,
            or nothing is the model's.
    """
    state = model.state_dict()
    base = str(getattr(model, "base_model_prefix", ""))
    named = max(_renamed(weights.tensors, base, state), key=lambda names: sum(n in state for n in names))
    taken = {name: weights.tensors[named[name]] for name in state if name in named}
    if not taken:
        theirs, ours = _parts(weights.tensors, {}), _parts(state, {})
        raise ScenarioError(f"holds nothing of this model: {theirs}, where it has {ours}", file=weights.place)
    _check_config(weights, model, base)
    for name, held in taken.items():
        wanted = Kind(tuple(state[name].shape), _type(state[name]))
        wider = wanted.dtype == "F32" and held.kind.dtype in _WIDER
        if held.kind.shape != wanted.shape or not (wider or held.kind.dtype == wanted.dtype):
            raise ScenarioError(f"is {held.kind}; this model needs {wanted}", file=held.file, key=held.name)
    places = {state[name].data_ptr() for name in taken}
    lacking = {n: t.numel() for n, t in state.items() if n not in taken and t.data_ptr() not in places}
    used = {named[name] for name in taken}
    unused = {name: math.prod(held.kind.shape) for name, held in weights.tensors.items() if name not in used}
    return Fit(
        weights.place,
        taken,
        (_parts(lacking, taken), sum(lacking.values())),
        (_parts(unused, used), sum(unused.values())),
        sum(held.name in weights.updates for held in taken.values()),
    )


def load(weights: Weights, model: Any) -> Fit:
    """Set the tensors of a model that there are weights for.

    Raises:
        ScenarioError: as :func:`fit`, or a number is not finite.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    found, state = fit(weights, model), model.state_dict()
    for file in dict.fromkeys(held.file for held in found.taken.values()):
        try:
            with torch.no_grad(), safe_open(file, framework="pt") as opened:
                for name, held in found.taken.items():
                    if held.file == file:
                        values = opened.get_tensor(held.name)
                        if held.name in weights.updates:
                            down, up = (opened.get_tensor(one) for one in weights.updates[held.name])
                            values = values + weights.scale * (up @ down)
                        if not bool(torch.isfinite(values).all()):
                            raise ScenarioError("holds numbers that are not finite", file=file, key=held.name)
                        state[name].copy_(values)
        except (OSError, SafetensorError, ValueError, RuntimeError) as fault:
            raise _unreadable(file, fault) from None
    return found


def notes(init: str | None, model: Any) -> list[str]:
    """What a person should know of the weights that a model begins with; nothing of fresh ones."""
    return [] if init is None else [fit(read(Path(init)), model).sentence()]


def _found(place: Path) -> list[Path]:
    if not place.exists():
        raise ScenarioError(f"there is no {str(place)!r}; name a folder with {WEIGHTS}, or a run", key=KEY)
    if not place.is_dir():
        return [place]
    for folder in (place, place / "checkpoints"):
        if rounds := checkpoint.available(folder):
            return [checkpoint.path(folder, rounds[-1])]
    beside = [place / CONFIG] if (place / CONFIG).exists() else []
    if (place / WEIGHTS).exists():
        return [place / WEIGHTS, *beside]
    if (place / INDEX).exists():
        return [place / INDEX, *sorted({place / name for name in _index(place).values()}), *beside]
    for name in _PICKLES:
        if (place / name).exists():
            raise ScenarioError(
                f"is a pickle, and to read it would run whatever its author put into it; where you trust it, "
                f"load it with transformers and save it again: save_pretrained writes {WEIGHTS}",
                file=place / name,
            )
    raise ScenarioError(f"holds neither {WEIGHTS} nor checkpoints of a run", file=place)


def _scale(metadata: Mapping[str, str], file: Path) -> float | None:
    """What the low-rank updates in a checkpoint are multiplied with; None: there are none.

    Raises:
        ScenarioError: it holds adapters, which are part of no weights.
    """
    from fedsim.learning.restore import way_of
    from fedsim.pricing.trained import Adapters, LoRA

    put_in = way_of(metadata, file).train
    if isinstance(put_in, Adapters):
        raise ScenarioError("holds a model with adapters, which no other model can begin with", file=file)
    return put_in.scale if isinstance(put_in, LoRA) else None


def _low_rank(held: dict[str, Held]) -> dict[str, tuple[str, str]]:
    """Take low-rank updates out of the tensors of a checkpoint, and pair them by that which they update."""
    found = {}
    for name in [name for name in held if name.endswith(".lora_A.weight")]:
        stem = name.removesuffix(".lora_A.weight")
        down, up, whole = (held.get(f"{stem}.{last}weight") for last in ("lora_A.", "lora_B.", ""))
        if down is None or up is None or whole is None:
            raise ScenarioError("is no whole low-rank update", file=held[name].file, key=held[name].name)
        if (up.kind.shape[0], down.kind.shape[-1]) != whole.kind.shape or up.kind.shape[
            1:
        ] != down.kind.shape[:1]:
            raise ScenarioError(
                f"is {down.kind}, which does not update {whole.kind}", file=down.file, key=down.name
            )
        found[whole.name] = (down.name, up.name)
        del held[f"{stem}.lora_A.weight"], held[f"{stem}.lora_B.weight"]
    return found


def _renamed(names: Iterable[str], base: str, state: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """What names may be called in the model, as they are first: the name there, and the one here."""
    firsts = {name.partition(".")[0] + "." for name in names if "." in name}
    for put in dict.fromkeys(("", f"{base}." if base else "")):
        for cut in ("", *sorted(firsts)):
            yield {
                _today(put + name.removeprefix(cut) if name.startswith(cut) else name, state): name
                for name in names
            }


def _today(name: str, state: Mapping[str, Any]) -> str:
    head, _, last = name.rpartition(".")
    new = f"{head}.{_OLD_NAMES.get(last, last)}"
    return new if new in state else name


def _check_config(weights: Weights, model: Any, base: str) -> None:
    """Refuse weights that a model of another configuration made, which shapes alone do not tell."""
    own = getattr(model, "config", None) or getattr(getattr(model, base, None), "config", None)
    for key in _DECIDES:
        if own is None or key not in weights.config or not hasattr(own, key):
            continue
        said, here = weights.config[key], getattr(own, key)
        if said != (list(here) if isinstance(here, tuple) else here):
            raise ScenarioError(
                f"is {said!r}; this model has {here!r}, and would make something else of the same weights",
                file=weights.place / CONFIG,
                key=key,
            )


def _parts(names: Iterable[str], others: Iterable[str]) -> str:
    """Names in few words: those of the largest parts of a model of which there is nothing in ``others``."""
    taken = {name[:stop] for name in others for stop in _stops(name)}
    found: dict[str, None] = {}
    for name in names:
        whole = next((name[:stop] for stop in _stops(name) if name[:stop] not in taken), name)
        found[whole if whole == name else f"{whole}.*"] = None
    more = [f"{len(found) - _NAMED} more"] if len(found) > _NAMED else []
    return ", ".join([*list(found)[:_NAMED], *more])


def _stops(name: str) -> list[int]:
    """Where the name of each part ends that a tensor belongs to, the largest first."""
    return [place for place, letter in enumerate(name) if letter == "."] + [len(name)]


def _index(place: Path) -> dict[str, str]:
    """In which file of a folder each tensor lies.

    Raises:
        ScenarioError: its index does not say that, or a name leads elsewhere.
    """
    said = files.read_json(place / INDEX, ScenarioError)
    found = said.get("weight_map") if isinstance(said, dict) else None
    if not isinstance(found, dict) or not found:
        raise ScenarioError("has no weight_map that says where tensors lie", file=place / INDEX)
    for name, shard in found.items():
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise ScenarioError(
                f"lies in {shard!r}, which is no .safetensors file here", file=place / INDEX, key=name
            )
    return found


def _header(file: Path) -> tuple[dict[str, Kind], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as opened:
            slices = {name: opened.get_slice(name) for name in list(opened.keys())}
            kinds = {n: Kind(tuple(s.get_shape()), str(s.get_dtype())) for n, s in slices.items()}
            return kinds, opened.metadata() or {}
    except (OSError, SafetensorError, ValueError, TypeError, MemoryError) as fault:
        raise _unreadable(file, fault) from None


def _unreadable(file: Path, fault: Exception) -> ScenarioError:
    return ScenarioError(f"cannot be read as safetensors: {fault}", file=file)


def _type(tensor: Any) -> str:
    """A tensor's type as safetensors says it."""
    word = str(tensor.dtype).removeprefix("torch.")
    stem = word.rstrip("0123456789")
    short = {"bfloat": "BF", "float": "F", "int": "I", "uint": "U"}.get(stem, stem.upper())
    return short + word[len(stem) :]

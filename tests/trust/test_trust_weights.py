"""Weights are safetensors, and each tensor is held against the model before it is used."""

from __future__ import annotations

import numpy as np
import pytest
from federations import built
from safetensors.numpy import save_file

from fedsim.errors import RunError
from fedsim.learning import checkpoint
from fedsim.learning.checkpoint import Kind

EXPECTED = {"model.a": Kind((2, 3)), "model.b": Kind((4,)), "optimizer": Kind((0,))}


def sound() -> dict[str, np.ndarray]:
    return {name: np.ones(kind.shape, np.float32) for name, kind in EXPECTED.items()}


def changed(tmp_path, change, expected=EXPECTED):
    tensors = {name: value for name, value in {**sound(), **change}.items() if value is not None}
    return checkpoint.read(checkpoint.save(tmp_path, 1, tensors), expected)


ONE = np.ones(1, np.float32)
FAULTS = {
    "shape": ({"model.a": np.ones((3, 2), np.float32)}, r"model\.a: is F32\[3, 2\]; .* needs F32\[2, 3\]"),
    "flat": ({"model.a": np.ones(6, np.float32)}, r"model\.a: is F32\[6\]"),
    "double": ({"model.b": np.ones(4)}, r"model\.b: is F64\[4\]"),
    "integers": ({"model.b": np.ones(4, np.int32)}, r"model\.b: is I32\[4\]"),
    "missing": ({"model.b": None}, r"model\.b: is missing"),
    "extra": ({"model.c": ONE}, r"model\.c: is not a tensor of this model"),
    "unknown": ({"code": ONE}, r"code: is not a tensor of this model"),
    "nan": ({"model.b": np.full(4, np.nan, np.float32)}, r"model\.b: holds numbers that are not finite"),
    "inf": ({"model.b": np.full(4, -np.inf, np.float32)}, r"model\.b: holds numbers that are not finite"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_the_model_is_refused_by_name(tmp_path, fault):
    change, sentence = FAULTS[fault]
    with pytest.raises(RunError, match=sentence):
        changed(tmp_path, change)


def test_what_fits_is_read_and_other_groups_are_not(tmp_path):
    assert set(changed(tmp_path, {}).tensors) == set(EXPECTED)
    only = {name: kind for name, kind in EXPECTED.items() if name.startswith("model")}
    held = changed(tmp_path, {"older.3": np.full(9, np.nan, np.float32)}, only)
    assert set(held.tensors) == set(only)


def test_foreign_and_broken_files_are_refused(tmp_path):
    file = tmp_path / "round-00001.safetensors"
    save_file(sound(), file)
    with pytest.raises(RunError, match="is not a checkpoint of fedsim"):
        checkpoint.read(file, EXPECTED)
    file.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(RunError, match="cannot be read"):
        checkpoint.read(file, EXPECTED)
    with file.open("wb") as zeros:
        zeros.truncate(10**9)
    with pytest.raises(RunError, match="cannot be read"):
        checkpoint.read(file, EXPECTED)


def test_fine_tuning_holds_a_checkpoint_against_its_preset(tmp_path):
    from fedsim.learning.restore import model_of
    from fedsim.tasks import Wav2Vec2

    net = built("wav2vec2-tiny", 1)
    tensors = {f"model.{name}": p.detach().numpy().copy() for name, p in net.named_parameters()}
    first = next(iter(tensors))
    for wrong in (
        tensors[first][:1],
        tensors[first].astype(np.float64),
        np.full_like(tensors[first], np.nan),
    ):
        file = checkpoint.save(tmp_path, 1, {**tensors, first: wrong}, model="wav2vec2-tiny")
        with pytest.raises(RunError, match=first.replace(".", r"\.")):
            model_of(Wav2Vec2(), file, 1)

"""Weights to begin with: whose tensors they are, what is refused, and what is said of the rest."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fedsim.errors import ScenarioError
from fedsim.learning import Federation, Learning, make_learner, weights
from fedsim.learning.local import Trainer, fresh_model, initial_model
from fedsim.learning.restore import model_of
from fedsim.learning.ways import Way
from fedsim.pricing.trained import Adapters, FrozenCNN, LoRA
from fedsim.tasks import Task, Wav2Vec2
from fedsim.tasks.classification import Classification
from fedsim.tasks.ctc import Ctc
from fedsim.tasks.language_model import LanguageModel
from fedsim.tasks.speech.corpus import Espeak

CORPUS = Espeak(speakers=6, minutes=0.6)
TASKS: dict[str, Task] = {
    "wav2vec2": Wav2Vec2(corpus=CORPUS),
    "ctc": Ctc(corpus=CORPUS),
    "classification": Classification(channels=4, hidden=8),
    "language_model": LanguageModel(width=16, layers=1, heads=2),
}


def held(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def saved(model: Any, folder: Path) -> Path:
    """A folder with the weights of a model that transformers does not know."""
    folder.mkdir()
    save_file(held(model), folder / "model.safetensors")
    return folder


def published(kind: str, folder: Path, **config: Any) -> dict[str, torch.Tensor]:
    """What save_pretrained of a class of transformers writes, of the tiny model's configuration."""
    import copy

    import transformers

    from fedsim.tasks.speech.models import configuration

    said = copy.deepcopy(configuration("wav2vec2-tiny"))
    for key, value in config.items():
        setattr(said, key, value)
    torch.manual_seed(1)
    model = getattr(transformers, kind)(said)
    model.save_pretrained(folder)
    return held(model)


def begun(task: Task, place: Path, seed: int = 3) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of a task's model that begins there, and what is said of it."""
    federation = Federation(learning=Learning(task=task, init=str(place)))
    model = initial_model(federation, seed)
    (sentence,) = weights.notes(str(place), model)
    return held(model), sentence


def refusal(task: Task, place: Path) -> str:
    with pytest.raises(ScenarioError) as fault:
        begun(task, place)
    assert "\n" not in str(fault.value)
    return str(fault.value)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_begins_with_what_its_own_model_left(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    theirs = held(fresh_model(task, 8))
    found, sentence = begun(task, saved(fresh_model(task, 8), tmp_path / "it"))
    assert all(torch.equal(found[n], theirs[n]) for n in theirs)
    assert len(found) == len(theirs)
    assert sentence == f"{len(theirs)} tensors of the model begin as in {tmp_path}/it/model.safetensors"


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [("Wav2Vec2Model", ""), ("Wav2Vec2ForPreTraining", "wav2vec2."), ("Wav2Vec2ForCTC", "wav2vec2.")],
)
@pytest.mark.parametrize(("task", "own"), [("wav2vec2", "wav2vec2."), ("ctc", "encoder.")])
def test_a_published_encoder_goes_where_the_task_has_it(
    kind: str, prefix: str, task: str, own: str, tmp_path: Path
) -> None:
    theirs, fresh = published(kind, tmp_path / "it"), held(fresh_model(TASKS[task], 3))
    found, sentence = begun(TASKS[task], tmp_path / "it")
    encoder = [name for name in fresh if name.startswith(own)]
    taken = [name for name in encoder if prefix + name.removeprefix(own) in theirs]
    assert len(taken) >= len(encoder) - 1  # transformers makes no mask embedding where nothing is masked
    for name in taken:
        assert torch.equal(found[name], theirs[prefix + name.removeprefix(own)])
    whole = task == "wav2vec2" and kind == "Wav2Vec2ForPreTraining"
    for name in set(fresh) - set(taken):
        assert torch.equal(found[name], theirs[name] if whole else fresh[name]), "seeded as ever"
    new = sum(fresh[name].numel() for name in set(fresh) - set(taken))
    heads = "head.*" if task == "ctc" else "quantizer.*, project_hid.*, project_q.*"
    assert (f"{heads} ({new:,} numbers) are not there, and begin fresh" in sentence) == (not whole)
    left = {
        "Wav2Vec2ForCTC": "lm_head.* (",
        "Wav2Vec2ForPreTraining": "project_hid.*, project_q.*, quantizer.* (",
    }
    assert whole or left.get(kind, "") in sentence


def test_a_runs_checkpoint_goes_on_in_another_task(tmp_path: Path) -> None:
    """The newest of a run directory or of a folder, or the one that is named."""
    pretraining = Federation(
        learning=Learning(
            task=replace(TASKS["wav2vec2"], crop_seconds=0.5, evaluation_seconds=1.0),
            local_steps=1,
            batch_size=1,
            clients_per_round=1,
        ),
        clients=4,
        rounds=1,
    )
    with make_learner(pretraining, 3, 1, tmp_path / "run" / "checkpoints") as learner:
        learner.save()
        learner.train(0, np.arange(1), np.zeros(1))
        trained = learner.weights()
    first, _ = begun(TASKS["ctc"], tmp_path / "run" / "checkpoints" / "round-00000.safetensors")
    for place in (tmp_path / "run", tmp_path / "run" / "checkpoints"):
        found, sentence = begun(TASKS["ctc"], place)
        assert "round-00001.safetensors" in sentence
        assert "head.*" in sentence
        one = "feature_extractor.conv_layers.0.conv.weight"
        begin = held(fresh_model(pretraining.task, 3))[f"wav2vec2.{one}"]
        assert torch.equal(first[f"encoder.{one}"], begin)
        assert not torch.equal(found[f"encoder.{one}"], begin)
        assert np.isin(found[f"encoder.{one}"].numpy(), trained).all()


def test_low_rank_updates_of_a_checkpoint_are_part_of_its_weights(tmp_path: Path) -> None:
    """W + scale B A, as the model of the checkpoint has it; adapters are refused."""
    task = replace(TASKS["language_model"], layers=2, context=16)
    for way, name in (
        (Way(train=LoRA(rank=2, alpha=6.0)), "lora"),
        (Way(train=Adapters(width=2)), "adapters"),
    ):
        learning = Learning(task=task, local_steps=2, batch_size=2, clients_per_round=1, learning_rate=0.05)
        federation = Federation(learning=learning, clients=4, rounds=1, ways=(way,))
        with make_learner(federation, 3, 1, tmp_path / name) as learner:
            learner.train(0, np.arange(1), np.zeros(1))
    file = tmp_path / "lora" / "round-00001.safetensors"
    found, sentence = begun(task, file)
    merged, fresh = held(model_of(task, file, 3)), held(fresh_model(task, 3))
    assert found.keys() == merged.keys()
    changed = [name for name in merged if not torch.equal(merged[name], fresh[name])]
    assert changed
    assert sentence.endswith(f"{file}; {len(changed)} low-rank updates there are added")
    assert all(torch.allclose(found[name], merged[name], atol=1e-6) for name in merged)
    assert all(torch.equal(found[name], fresh[name]) for name in merged if name not in changed)
    assert "holds a model with adapters, which no other model can" in refusal(task, tmp_path / "adapters")


def test_the_learner_and_its_worker_begin_there_and_the_checkpoint_says_so(tmp_path: Path) -> None:
    task = TASKS["classification"]
    place = saved(fresh_model(task, 8), tmp_path / "it")
    federation = Federation(learning=Learning(task=task, init=str(place)), clients=4, rounds=1)
    with make_learner(federation, 3, 1, tmp_path / "checkpoints") as learner:
        assert "begin as in" in learner.notes[-1]
        flat = torch.cat([t.reshape(-1) for t in held(fresh_model(task, 8)).values()]).numpy()
        assert np.array_equal(learner.weights(), flat)
        assert learner._largest_norm == pytest.approx(10 * np.linalg.norm(flat.astype(np.float64)))
        learner.save()
    assert torch.equal(Trainer(federation, 3).model[0].weight, fresh_model(task, 8)[0].weight)
    again, _ = begun(task, tmp_path / "checkpoints")
    assert all(torch.equal(again[n], t) for n, t in held(fresh_model(task, 8)).items())


def test_what_does_not_train_begins_there_too(tmp_path: Path) -> None:
    task = TASKS["ctc"]
    theirs = published("Wav2Vec2Model", tmp_path / "it")
    learning = Learning(task=task, init=str(tmp_path / "it"))
    federation = Federation(learning=learning, ways=(Way(train=FrozenCNN()),))
    name = "feature_extractor.conv_layers.0.conv.weight"
    trainer = Trainer(federation, 3)
    assert torch.equal(trainer.model.state_dict()[f"encoder.{name}"], theirs[name])


def test_shards_and_old_names_and_halves(tmp_path: Path) -> None:
    theirs = published("Wav2Vec2Model", tmp_path / "whole")
    folder = tmp_path / "shards"
    folder.mkdir()
    old = {"original0": "weight_g", "original1": "weight_v"}
    halves = {}
    for name, tensor in theirs.items():
        stem, _, last = name.rpartition(".parametrizations.weight.")
        halves[f"{stem}.{old[last]}" if stem else name] = tensor.half().contiguous()
    names = sorted(halves)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, group in parts.items():
        save_file({name: halves[name] for name in group}, folder / file)
    where = {name: file for file, group in parts.items() for name in group}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    found, sentence = begun(TASKS["ctc"], folder)
    assert all(
        torch.equal(found[f"encoder.{name}"], tensor.half().float()) for name, tensor in theirs.items()
    )
    assert f"begin as in {folder};" in sentence
    assert [file.name for file in weights.files_of(folder)] == ["model.safetensors.index.json", *parts]
    where[names[0]] = "b.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert f"{names[0]}: is not in b.safetensors, where model.safetensors.index.json says" in refusal(
        TASKS["ctc"], folder
    )
    for elsewhere in ("../whole/model.safetensors", "/etc/passwd", 3):
        where[names[0]] = elsewhere
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
        assert "which is no .safetensors file here" in refusal(TASKS["ctc"], folder)


class Trap:
    """What runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("was unpickled",))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    said = refusal(TASKS["classification"], tmp_path)
    assert said.startswith(f"{tmp_path}/pytorch_model.bin: is a pickle")
    assert said.endswith("save_pretrained writes model.safetensors")
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    assert "model.safetensors: cannot be read as safetensors: " in refusal(TASKS["classification"], tmp_path)


def test_what_does_not_fit_is_refused_with_both_shapes(tmp_path: Path) -> None:
    task = TASKS["classification"]
    place = saved(fresh_model(task, 3), tmp_path / "it")
    file = place / "model.safetensors"
    assert begun(task, file)[1] == begun(task, place)[1], "a file alone"
    right = load_file(file)
    wrong = {
        "is F32[4, 1, 5, 5]; this model needs F32[4, 1, 3, 3]": torch.zeros(4, 1, 5, 5),
        "is F32[36]; this model needs F32[4, 1, 3, 3]": torch.zeros(36),
        "is F64[4, 1, 3, 3]; this model needs F32[4, 1, 3, 3]": right["0.weight"].double(),
        "is I32[4, 1, 3, 3]; this model needs F32[4, 1, 3, 3]": right["0.weight"].int(),
        "holds numbers that are not finite": torch.full((4, 1, 3, 3), torch.nan),
    }
    for said, tensor in wrong.items():
        save_file(right | {"0.weight": tensor}, file)
        assert refusal(task, place) == f"{file}: 0.weight: {said}"
    assert refusal(TASKS["language_model"], place).startswith(
        f"{place}: holds nothing of this model: 0.*, 3.*, 7.*, 9.*, where it has embedding.*, blocks.*"
    )
    file.write_bytes(file.read_bytes()[:-1])
    assert "cannot be read as safetensors" in refusal(task, place)
    file.unlink()
    assert refusal(task, place) == f"{place}: holds neither model.safetensors nor checkpoints of a run"
    assert refusal(task, place / "no").startswith(f"learning.init: there is no '{place}/no'")
    assert "cannot be read" in refusal(task, place / ("x" * 300))
    os.mkfifo(file)
    assert refusal(task, place) == f"{file}: cannot be read: it is a pipe, socket or device, not a file"
    file.unlink()
    file.symlink_to(place / "gone")
    assert "holds neither" in refusal(task, place)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("num_attention_heads", 2, "num_attention_heads: is 2; this model has 4"),
        ("hidden_act", "relu", "hidden_act: is 'relu'; this model has 'gelu'"),
        ("conv_stride", [5, 2, 2, 2, 2, 2, 1], "conv_stride: is [5, 2, 2, 2, 2, 2, 1]; this model has [5, 2"),
    ],
)
def test_equal_shapes_of_another_configuration_are_refused(
    key: str, value: Any, said: str, tmp_path: Path
) -> None:
    published("Wav2Vec2Model", tmp_path / "it", **{key: value})
    for task in ("wav2vec2", "ctc"):
        assert f"it/config.json: {said}" in refusal(TASKS[task], tmp_path / "it")


def test_no_pretraining_begins_with_fresh_weights() -> None:
    from fedsim.tasks.ctc.finetuning import Finetuning

    task = Wav2Vec2(downstream=Finetuning())
    with pytest.raises(ValueError, match="'no-pretraining' begins with fresh weights; leave out 'init'"):
        Learning(task=task, baseline="no-pretraining", init="there")

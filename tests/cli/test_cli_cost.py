"""``fedsim cost`` and ``fedsim trace`` as people and scripts call them."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fedsim.cli import main
from fedsim.pricing import load_trace

KEYS = {
    "parameters",
    "exact",
    "largest_error",
    "forward_flops",
    "forward_flops_paper",
    "training_flops",
    "saved_bytes",
    "footprint_bytes",
    "footprint",
    "step_s",
    "step",
    "fits",
    "memory_bytes",
    "calibration",
}


@pytest.fixture
def fedsim(capsys):
    """Call the command line in this process: exit code, standard output, standard error."""

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main(list(arguments))
        out, err = capsys.readouterr()
        return SimpleNamespace(returncode=ending.value.code, stdout=out, stderr=err)

    return call


def test_json_has_the_agreed_keys(fedsim):
    done = fedsim(
        "cost",
        "--device",
        "nvidia-a40",
        "--model",
        "wav2vec2-base",
        "--batch",
        "4",
        "--seconds",
        "5.5",
        "--json",
    )
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert set(answer) >= KEYS
    assert answer["parameters"] == 95_044_608
    assert answer["fits"] is True
    assert sum(answer["footprint"].values()) == pytest.approx(answer["footprint_bytes"])
    assert sum(answer["step"].values()) == pytest.approx(answer["step_s"])
    assert answer["forward_flops_paper"] == pytest.approx(4 * 76.68e9, rel=0.001)
    assert answer["forward_flops"] > answer["forward_flops_paper"]
    assert answer["training_flops"] == pytest.approx(3 * answer["forward_flops"])


def test_the_table_says_whether_it_fits(fedsim):
    done = fedsim("cost", "-d", "raspberry-pi-4", "-m", "wav2vec2-large", "-b", "4", "-s", "15")
    assert done.returncode == 0
    assert "does not fit" in done.stdout
    assert "workspace" in done.stdout


def test_no_torch_for_a_price():
    code = (
        "import sys\n"
        "from fedsim.cli import main\n"
        "try:\n"
        "    main(['cost', '-d', 'jetson-xavier-nx', '-m', 'wav2vec2-base', '--json'])\n"
        "except SystemExit:\n"
        "    sys.exit(sorted(m for m in ('torch', 'transformers', 'pandas', 'simpy') if m in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["cost", "-d", "toaster", "-m", "wav2vec2-base"], "there is no device 'toaster'"),
        (["cost", "-d", "nvidia-a40", "-m", "wav2vec9"], "there is no layer trace 'wav2vec9'"),
        (["cost", "-d", "nvidia-a40", "-m", "wav2vec2-base", "--precision", "fp8"], "'fp8' is not one of"),
        (
            ["cost", "-d", "raspberry-pi-4", "-m", "wav2vec2-base", "--precision", "mixed"],
            "does not train in",
        ),
        (
            ["cost", "-d", "nvidia-a40", "-m", "wav2vec2-base", "--seconds", "nan"],
            "leave wav2vec2-base no frame",
        ),
        (
            ["cost", "-d", "nvidia-a40", "-m", "wav2vec2-base", "--seconds", "-3"],
            "leave wav2vec2-base no frame",
        ),
        (["cost", "-d", "nvidia-a40", "-m", "wav2vec2-base", "--accumulate", "0"], "0 is not a whole number"),
        (["trace", "wav2vec9"], "there is no model 'wav2vec9'"),
        (["trace", "wav2vec2-base", "--config", "x.json"], "not several of them"),
        (["trace", "--task", "x.py:X", "--config", "x.json"], "not several of them"),
        (["trace", "--name", "mine"], "--name names the model of --config or --task"),
        (["trace", "--config", "nowhere.json"], "nowhere.json: cannot be read: No such file"),
    ],
)
def test_bad_input_is_one_sentence(fedsim, arguments, sentence):
    done = fedsim(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[]", "model_type: is missing"),
        ('{"model_type": "wav2vec7"}', "'wav2vec7' is not a model that transformers knows"),
        ('{"model_type": "detr"}', "architectures: detr has none whose loss is known"),
        ('{"model_type": "longformer", "num_hidden_layers": 1}', "mine cannot be run without numbers"),
        ('{"model_type": "wav2vec2", "conv_dim": [8, 8]}', "is not a configuration of wav2vec2"),
        ('{"model_type": "wav2vec2", "num_attention_heads": 7}', "mine cannot be built"),
    ],
)
def test_configurations_that_cannot_be_traced(fedsim, tmp_path, content, sentence):
    path = tmp_path / "mine.json"
    path.write_text(content)
    done = fedsim("trace", "--config", str(path), "--out", str(tmp_path))
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


MY_TASK = """
import math

import torch
from torch import nn

from fedsim.extend import SizeAxis


class MyTask:
    sizes = (SizeAxis("tokens", "tokens"),)

    def build(self):
        return nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 10))

    def fake_batch(self, batch, sizes):
        return torch.zeros(batch, sizes["tokens"], dtype=torch.int64)

    def traced_loss(self, model, batch):
        return nn.functional.cross_entropy(model(batch).flatten(0, 1), batch.flatten())


class Nothing:
    pass


class Asking(MyTask):
    def __init__(self, width):
        pass


class Failing(MyTask):
    def build(self):
        raise ValueError("no such weights")


class Unsized(MyTask):
    sizes = ("tokens",)


class Unbatched(MyTask):
    def fake_batch(self, batch, sizes):
        raise OSError("no such file of words")


class Vector(MyTask):
    def traced_loss(self, model, batch):
        return model(batch).mean(dim=0)


class Choosing(MyTask):
    def traced_loss(self, model, batch):
        return model(batch)[batch.nonzero()].mean()


class Reading(MyTask):
    def traced_loss(self, model, batch):
        return model(batch).mean() * batch.sum().item()


class Squares(MyTask):
    def traced_loss(self, model, batch):
        tokens = batch.shape[1]
        return model(nn.functional.pad(batch, (0, math.ceil(tokens**0.5) ** 2 - tokens))).mean()
"""


def test_a_task_of_ones_own_is_traced_from_its_file(fedsim, tmp_path):
    (tmp_path / "mine.py").write_text(MY_TASK)
    done = fedsim("trace", "--task", f"{tmp_path}/mine.py:MyTask", "--out", str(tmp_path), "--quiet")
    assert done.stdout.strip() == str(tmp_path / "MyTask.json")
    trace = load_trace(tmp_path / "MyTask.json")
    assert trace.parameters == 10 * 8 + 8 * 10 + 10
    assert trace.sizes == ("tokens",)
    # the linear layer, 2 FLOP a multiply-add
    assert sum(trace.per_layer("forward_flops", "cpu/eager/fp32", 3, 20)) == 2 * 3 * 20 * 8 * 10


def test_what_is_no_polynomial_says_how_far_it_is_off(fedsim, tmp_path):
    (tmp_path / "mine.py").write_text(MY_TASK)
    done = fedsim("trace", "--task", f"{tmp_path}/mine.py:Squares", "--out", str(tmp_path))
    assert "not exact: up to " in done.stdout
    assert "verified" not in done.stdout
    file = str(tmp_path / "Squares.json")
    trace = load_trace(file)
    assert not trace.exact
    assert trace.largest_error > 0
    # 2 FLOP a multiply-add of 80 for each token, of which there are padded to the next square
    for tokens, padded in ((70, 81), (90, 100), (120, 121)):
        counted = sum(trace.per_layer("forward_flops", "cpu/eager/fp32", 3, tokens))
        assert counted == pytest.approx(2 * 3 * padded * 80, rel=2 * trace.largest_error)
    done = fedsim("cost", "-d", "nvidia-a40", "-m", file, "--tokens", "90")
    assert "counts: not exact: up to" in done.stdout
    answer = json.loads(fedsim("cost", "-d", "nvidia-a40", "-m", file, "--tokens", "90", "--json").stdout)
    assert (answer["exact"], answer["largest_error"]) == (False, trace.largest_error)


@pytest.mark.parametrize("size", ["frames=3", "pixels=3", "samples=16000"])
def test_a_size_that_a_model_does_not_have(fedsim, size):
    done = fedsim("cost", "-d", "nvidia-a40", "-m", "language_model", "--size", size)
    assert done.returncode == 2
    assert size.partition("=")[0] in done.stderr
    assert "tokens" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        (MY_TASK, "", "names nothing in a file; write my_module.py:MyTask"),
        (MY_TASK, ":Other", "mine.py: has no 'Other'; it has MyTask, Nothing, Asking, Failing, Unsized"),
        (MY_TASK, ":Unbatched", "Unbatched cannot be run without numbers: no such file of words"),
        (MY_TASK, ":Vector", "Vector cannot be run without numbers: its loss is a tensor [128, 10]; give a"),
        (MY_TASK, ":Choosing", "what it does depends on the values in its tensors (aten.nonzero.default)"),
        (MY_TASK, ":Reading", "what it does depends on the values in its tensors (aten._local_scalar_dense"),
        (MY_TASK, ":Nothing", "mine.py: Nothing is no task: it has no build, fake_batch, traced_loss"),
        (MY_TASK, ":Asking", "mine.py: Asking cannot be made without arguments: "),
        (MY_TASK, ":Failing", "Failing cannot be built: no such weights"),
        (
            MY_TASK,
            ":Unsized",
            "mine.py: Unsized.sizes is ('tokens',); give a tuple of fedsim.extend.SizeAxis",
        ),
        ("import nothing_that_there_is", ":MyTask", "mine.py: fails in line 1: ModuleNotFoundError"),
        ("x = (", ":MyTask", "mine.py: fails in line 1: SyntaxError"),
        (None, ":MyTask", "mine.py: cannot be read: No such file or directory"),
    ],
)
def test_task_files_that_cannot_be_traced(fedsim, tmp_path, text, name, sentence):
    if text is not None:
        (tmp_path / "mine.py").write_text(text)
    done = fedsim("trace", "--task", f"{tmp_path}/mine.py{name}", "--out", str(tmp_path))
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_users_own_model(fedsim, tmp_path):
    config = {
        "model_type": "hubert",
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": [8, 8, 8],
        "conv_kernel": [10, 4, 4],
        "conv_stride": [5, 4, 4],
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
    }
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(config))
    assert fedsim("trace", "--config", str(path), "--name", "own", "--out", str(tmp_path)).returncode == 0
    done = fedsim("cost", "-d", "nvidia-a40", "-m", str(tmp_path / "own.json"), "--json")
    assert json.loads(done.stdout)["parameters"] > 0

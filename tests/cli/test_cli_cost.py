"""``fedsim cost`` and ``fedsim trace`` as people and scripts call them."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fedsim.cli import main

KEYS = {
    "parameters",
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
        (["trace", "wav2vec2-base", "--config", "x.json"], "not both"),
        (["trace", "--name", "mine"], "--name names the model of --config"),
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
        ('{"model_type": "bert"}', "bert has none, so it is not a speech model"),
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
    assert "Traceback" not in done.stderr


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

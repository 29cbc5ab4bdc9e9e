"""A name that nobody knows is one sentence with exit code 2, wherever names are looked up."""

from __future__ import annotations

import pytest

from fedsim import cli

SCENARIO = """
fleet: {clients: 8, mix: [{device: raspberry-pi-4, share: 1.0, link: wifi}]}
rounds: {count: 1, cohort: 2}
learning: {task: wav2vec2, model: wav2vec2-tiny}
"""

NAMES = [
    ("rounds.aggregate", "fedavgg", "fedavg"),
    ("rounds.aggregate.kind", "fedavgg", "fedavg"),
    ("rounds.select", "randon", "random"),
    ("rounds.close", "wait-al", "wait-all"),
    ("rounds.compression", "fp17", "fp16"),
    ("learning.task", "wav2vec3", "wav2vec2"),
    ("learning.model", "wav2vec2-tinny", "wav2vec2-tiny"),
    ("learning.optimizer", "sgdd", "sgd"),
    ("learning.baseline", "centralized", "centralised"),
    ("learning.byzantine.kind", "noize", "noise"),
    ("learning.partition", "by-speakr", "by-speaker"),
    ("training.model", "wav2vec2-bas", "wav2vec2-base"),
    ("training.precision", "fp33", "fp32"),
    ("training.optimizer", "addam", "adam"),
    ("training.on_oom", "dropp", "drop"),
    ("fleet.mix[0].device", "raspberry-pi-44", "raspberry-pi-4"),
    ("fleet.mix[0].link", "wifii", "wifi"),
    ("fleet.mix[0].availability", "overnigt", "overnight"),
    ("fleet.mix[0].pressure", "fone", "phone"),
    ("hardware.trend", "gao2023", "gao2022"),
    ("workload.corpus", "nowhere", "common-voice-it-7"),
]


@pytest.mark.parametrize(("key", "name", "right"), NAMES, ids=lambda value: str(value))
def test_an_unknown_name_is_refused(key, name, right, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    changes = ["--set", f"{key}={name}"]
    if key == "hardware.trend":
        changes += ["--set", "hardware.year=2030"]
    if key.startswith("learning.byzantine"):
        changes += ["--set", "learning.byzantine.share=0.1"]
    with pytest.raises(SystemExit) as ended:
        cli.main(["validate", "mine.yaml", *changes])
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert name in said
    assert right in said
    assert key.replace(".kind", "") in said

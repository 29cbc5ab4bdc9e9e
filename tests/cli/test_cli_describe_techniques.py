"""What ``describe`` and ``validate`` say of stages, fallbacks and entries that train otherwise."""

import json

from click.testing import CliRunner

from fedsim.cli import fedsim

TEXT = """
fleet:
  clients: 4
  mix:
    - {device: raspberry-pi-4, share: 0.5, link: ethernet, training: {train: {last: 1}, checkpointing: true}}
    - {device: raspberry-pi-4, share: 0.5, link: ethernet}
workload: {utterances: 4}
training:
  model: wav2vec2-tiny
  train: biases
  schedule: [{rounds: 1, depth: 1}, {rounds: 2, depth: 2}, {}]
  on_oom: shallower
  shallower: [{depth: 1}, {train: head, depth: 1}]
rounds: {count: 5, cohort: 2}
"""


def said(tmp_path, *arguments):
    file = tmp_path / "it.yaml"
    file.write_text(TEXT)
    found = CliRunner().invoke(fedsim, [arguments[0], str(file), *arguments[1:]])
    assert found.exit_code == 0, found.output
    return found.output


def test_describe_says_who_trains_what_and_when(tmp_path):
    lines = [line.strip() for line in said(tmp_path, "describe").splitlines()]
    assert any("(fp32, batches of 4, biases)" in line for line in lines)
    for line in (
        "round 1: depth 1",
        "rounds 2 to 3: depth 2",
        "rounds 4 to 5: as the scenario says",
        "where memory is short at dispatch: depth 1; else train head, depth 1",
    ):
        assert line in lines
    assert any(line.endswith("ethernet, train last:1, checkpointing true") for line in lines)
    devices = json.loads(said(tmp_path, "describe", "--json"))["devices"]
    assert [(row["device"], row["training"]) for row in devices] == [
        ("raspberry-pi-4", ""),
        ("raspberry-pi-4", "train last:1, checkpointing true"),
    ]


def test_validate_has_a_row_for_each_way_of_a_device(tmp_path):
    output = said(tmp_path, "validate")
    assert "raspberry-pi-4 (train last:1" in output
    assert output.count("raspberry-pi-4") == 2

"""Table 2 as data, a user's own measurements, and what a measurement file may not say."""

from __future__ import annotations

from collections import Counter

import pytest

from fedsim.errors import HardwareError
from fedsim.hardware import load_device, measurement, measurements

HEAD = "# a source\ndevice,model,batch_size,seconds,longest_seconds,precision,seconds_per_batch\n"


def test_table_2_has_25_timed_cells_and_7_out_of_memory():
    rows = measurements()
    table2 = [row for row in rows if "Table 2" in row.source]
    assert Counter(row.oom for row in table2) == {False: 25, True: 7}
    assert Counter(row.device for row in table2) == {
        "nvidia-a40": 8,
        "macbook-pro-2019": 4,
        "raspberry-pi-4": 4,
        "jetson-agx-xavier": 8,
        "jetson-xavier-nx": 8,
    }
    assert {row.model for row in table2} == {"wav2vec2-base", "wav2vec2-large"}
    assert {row.seconds for row in table2} == {5.5}
    assert {row.longest_seconds for row in table2} == {8.0}


def test_single_cells():
    cells = {(m.device, m.model, m.batch_size, m.precision): m.seconds_per_batch for m in measurements()}
    assert cells["raspberry-pi-4", "wav2vec2-base", 4, "fp32"] == 53.26
    assert cells["nvidia-a40", "wav2vec2-base", 4, "fp32"] == 0.27
    assert cells["jetson-agx-xavier", "wav2vec2-large", 4, "fp32"] is None
    assert ("macbook-pro-2019", "wav2vec2-base", 1, "mixed") not in cells


def test_one_device():
    assert {m.device for m in measurements("jetson-xavier-nx")} == {"jetson-xavier-nx"}
    assert measurements("jetson-thor") == []


def test_a_users_device_brings_its_own_measurements(tmp_path):
    text = """\
title: Mine
family: host
released: 2024
backend: cpu
memory: {capacity: 8GiB, shared: true, bandwidth: 20GB/s, system: 1GiB, runtime: 1GiB}
compute: {fp32: 100GFLOP/s, trains_in: [fp32]}
power: {idle: 4W, active: 15W}
measurements: mine.csv
sources: {released: a, memory: a, compute: a, power: a}
"""
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "mine.csv").write_text(
        HEAD + "mine,wav2vec2-base,2,3.0,4.0,fp32,1.5\nother,wav2vec2-base,2,3.0,4.0,fp32,9\n"
    )
    rows = measurements(load_device(str(tmp_path / "mine.yaml")))
    assert [(m.seconds_per_batch, m.longest_seconds, m.source) for m in rows] == [(1.5, 4.0, "a source")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("device,model\n", "has no source; begin with a comment line"),
        ("# a source\n", "has the columns 'nothing'; give device,model,batch_size"),
        ("# a source\ndevice,model\n", "has the columns 'device,model'; give device,model,batch_size"),
        (HEAD + "d,m,1,5,5,fp32\n", "line 3: has 6 fields; give 7"),
        (HEAD + 'd,"m\nn",1,5,5,fp32,1\nd,m,1,5,5,fp32\n', "line 5: has 6 fields; give 7"),
        (HEAD + f'd,"{"m" * 200_000}",1,5,5,fp32,1\n', "line 3: begins a row that is not CSV: field larger"),
        (HEAD + "d,m,0,5,9,fp32,1\n", "line 3, batch_size: is '0'; give a whole number from 1"),
        (HEAD + "d,m,1.5,5,9,fp32,1\n", "line 3, batch_size: is '1.5'; give a whole number from 1"),
        (HEAD + "d,m,1,-5,9,fp32,1\n", "line 3, seconds: is '-5'; give a length in seconds above 0"),
        (
            HEAD + "d,m,1,10,9,fp32,1\n",
            "line 3, longest_seconds: is '9', below the average of 10; give that or",
        ),
        (HEAD + "d,m,1,5,,fp32,1\n", "line 3, longest_seconds: is ''; give a length in seconds above 0"),
        (HEAD + "d,m,1,5,9,fp64,1\n", "line 3, precision: is 'fp64'; give one of fp32, mixed, bf16"),
        (
            HEAD + "d,m,1,5,9,fp32,nan\n",
            "line 3, seconds_per_batch: is 'nan'; give seconds above 0, or oom, or na",
        ),
        (HEAD + "d,m,1,5,9,fp32,0\n", "line 3, seconds_per_batch: is '0'"),
        (HEAD + "\n,m,1,5,9,fp32,1\n", "line 4, device: is empty; give a name"),
    ],
)
def test_a_faulty_file_is_one_sentence(tmp_path, text, expected):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(HardwareError) as caught:
        measurement._read(path)
    assert str(caught.value).startswith(f"{path}: {expected}")

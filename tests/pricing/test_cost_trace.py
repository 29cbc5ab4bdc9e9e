"""Reading layer traces: the published table, and one sentence for everything malformed."""

from __future__ import annotations

import copy
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fedsim
from fedsim.errors import TraceError
from fedsim.pricing.trace import load_trace, parse_trace

TABLE1 = Path(fedsim.__file__).parent / "reproduce" / "paper" / "table1.csv"
COUNTED = ("conv", "grouped_conv", "matmul")


def table1():
    lines = [line for line in TABLE1.read_text().splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


@pytest.mark.parametrize("row", table1(), ids=lambda row: f"{row['model']}-{row['module']}")
def test_table_1(row):
    trace = load_trace(f"wav2vec2-{row['model']}")
    flops = trace.per_layer("forward_flops", "cpu/eager/fp32", 1, 88_000)
    groups = ("cnn_encoder", "transformer", "quantization") if row["module"] == "total" else (row["module"],)
    chosen = [(layer, f) for layer, f in zip(trace.layers, flops, strict=True) if layer.group in groups]
    gflops = sum(f for layer, f in chosen if layer.arithmetic in COUNTED) / 1e9
    millions = sum(layer.parameters for layer, _ in chosen if layer.in_table1) / 1e6
    # the quantizer's figures have two digits; half a unit of the last is up to 1.6% of them
    within = {"rel": 0.011} if row["module"] == "quantization" else {"rel": 0.001}
    assert gflops == pytest.approx(float(row["gflops"]), **within)
    assert millions == pytest.approx(float(row["params_millions"]), **within)


def test_frames_follow_from_the_convolutions():
    trace = load_trace("wav2vec2-base")
    # the last: stretches of 32 frames, to which a kernel of fused attention rounds up
    assert [int(n) for n in trace.lengths(88_000)] == [88_000, 17599, 8799, 4399, 2199, 1099, 549, 274, 9]
    assert trace.frames([400, 399, 88_000]).tolist() == [1, 0, 274]


def test_attention_grows_with_the_square_and_the_rest_in_a_line():
    trace = load_trace("wav2vec2-base")
    for layer in trace.layers:
        powers = {j for _, _, j in layer.profile("cpu/eager/fp32")["forward_flops"].terms}
        assert powers <= ({1, 2} if layer.kind == "attention" else {0, 1})


def test_backward_is_twice_forward_where_everything_is_trained():
    trace = load_trace("wav2vec2-base")
    forward = sum(trace.per_layer("forward_flops", "cpu/eager/fp32", 3, 50_000))
    assert sum(trace.per_layer("backward_flops", "cpu/eager/fp32", 3, 50_000)) == 2 * forward


def test_fused_attention_stores_no_maps():
    trace = load_trace("wav2vec2-base")

    def squares(variant):
        return sum(
            c
            for layer in trace.layers
            for (_, _, j), c in layer.profile(variant)["saved_bytes"].terms.items()
            if j == 2
        )

    heads, layers = 12, 12
    assert squares("cpu/eager/fp32") == layers * heads * 3 * 4  # softmax, float mask, dropped out
    assert squares("cuda/eager/fp32") == layers * heads * (2 * 4 + 1)  # the mask is boolean
    assert squares("cuda/sdpa/fp32") == squares("cuda/sdpa/mixed") == 0


def test_loads_without_torch():
    code = (
        "import sys; from fedsim.pricing import load_trace; load_trace('wav2vec2-large');"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'pandas', 'simpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def content():
    return json.loads(Path(load_trace("wav2vec2-tiny").file).read_text())


def drop(*path):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


def put(value, *path):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


def twice(content):
    entries = next(e for e in content["graph"]["profiles"].values() if len(e) > 1)
    entries[1]["variants"] = entries[0]["variants"][:1]


def block(content):
    return next(iter(content["graph"]["blocks"].values()))["checkpointed"]


def unsaid(content):
    for entry in block(content):
        entry["variants"] = [name for name in entry["variants"] if name != "cpu/eager/fp32"]


def nobody(content):
    block(content)[0]["last"] = "nobody"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("graph"), "graph: is missing"),
        (drop("graph", "format"), "graph.format: is missing"),
        (put(99, "graph", "format"), "graph.format: 99 is not a format"),
        (put([], "graph", "axes"), r"graph.axes: is \[\]; give a list of axes"),
        (put({"name": "frames", "of": 7}, "graph", "axes", 1), "does not follow from an axis before it"),
        (
            put({"name": "frames", "of": 1}, "graph", "axes", 1),
            r"axes\[1\]: does not follow from an axis before",
        ),
        (put({"name": "samples", "of": 0}, "graph", "axes", 0), r"axes\[0\]: does not follow from an axis"),
        (put(9, "graph", "frames_axis"), "graph.frames_axis: 9 is not the index of one of 9 axes"),
        (
            put([[1, 1, 9, 1]], "graph", "input_bytes"),
            "graph.input_bytes: axis 9 does not exist; there are 9",
        ),
        (twice, r"\[1\].variants: '.*' is not a variant of this trace, or stands twice"),
        (unsaid, r"graph.blocks..*checkpointed: says nothing of cpu/eager/fp32"),
        (nobody, r"checkpointed\[0\].last: 'nobody' is not a layer"),
        (
            put(-(10**7), "graph", "axes", 1, "kernel"),
            r"axes\[1\].kernel: is -10000000; give a whole number from",
        ),
        (put([3], "graph", "variants"), r"graph.variants\[0\]: is 3; give a list of names"),
        (put(77, "graph", "frames_axis"), "graph.frames_axis: 77"),
        (put("many", "graph", "input_bytes"), "graph.input_bytes: is 'many'; give a list of .coefficient"),
        (
            put([[1, 2, 3]], "graph", "input_bytes"),
            r"graph.input_bytes: \[1, 2, 3\] is not \[coefficient up to 1e12, batch power 0 to 2",
        ),
        (put([[1, 1, 3]], "graph", "input_bytes"), r"input_bytes: \[1, 1, 3\] is not \[coefficient"),
        (
            put([[1, 1, 99, 1]], "graph", "input_bytes"),
            "graph.input_bytes: axis 99 does not exist; there are 9",
        ),
        (
            put([[1, 1, 0, 5]], "graph", "input_bytes"),
            r"input_bytes: \[1, 1, 0, 5\] is not .*axis power 0 to 4",
        ),
        (put([[1.5, 1, 0, 0]], "graph", "input_bytes"), r"input_bytes\[0\]\[0\]: is 1.5; give a list of"),
        (put([], "nodes"), r"nodes: is \[\]; give a list of layers"),
        (put("a\x1b[2Jb", "nodes", 3, "class"), r"nodes\[3\].class: 'a.x1b.2Jb' holds a control character"),
        (put(1, "nodes", 3, "colour"), r"nodes\[3\].colour: 'colour' is not a known key"),
        (drop("nodes", 3, "kind"), r"nodes\[3\].kind: is missing"),
        (
            put("convolution", "nodes", 3, "kind"),
            r"nodes\[3\].kind: is 'convolution'; give one of conv, matmul",
        ),
        (put("nothing", "nodes", 3, "profile"), r"nodes\[3\].profile: 'nothing' is not in graph.profiles"),
        (
            put(-4, "nodes", 3, "parameters"),
            r"nodes\[3\].parameters: is -4; give a whole number from 0 to 1e12",
        ),
        (put(True, "nodes", 3, "tensors"), r"nodes\[3\].tensors: is True; give a whole number from 0"),
        (put("encoder", "nodes", 3, "block"), r"nodes\[3\].block: 'encoder' is not in graph.blocks"),
        (put("masking", "nodes", 3, "id"), "two layers have the same id"),
        (put("nobody", "edges", 0, "source"), r"edges\[0\].source: 'nobody' is not a layer"),
    ],
)
def test_malformed_traces_are_one_sentence(content, change, message):
    damaged = copy.deepcopy(content)
    change(damaged)
    with pytest.raises(TraceError, match=message):
        parse_trace(damaged, file="broken.json")


@pytest.mark.parametrize("nonsense", [None, 3, "x", [], {}, {"graph": []}, {"graph": {}, "nodes": []}])
def test_no_trace_at_all(nonsense):
    with pytest.raises(TraceError):
        parse_trace(nonsense)


def test_unknown_names_and_broken_files(tmp_path):
    with pytest.raises(TraceError, match=r"no layer trace 'wav2vec3'; the catalogue has .*wav2vec2-base"):
        load_trace("wav2vec3")
    broken = tmp_path / "half.json"
    broken.write_text('{"graph": ')
    with pytest.raises(TraceError, match="not valid JSON"):
        load_trace(broken)
    with pytest.raises(TraceError, match="no variant 'tpu/eager/fp32'"):
        load_trace("wav2vec2-tiny").names("tpu/eager/fp32")


def test_evaluation_is_exact_in_integers():
    trace = load_trace("wav2vec2-large")
    axes = trace.lengths(np.array([16_000, 480_000]))
    total = trace.layers[0].profile("cpu/eager/fp32")["forward_flops"]
    assert total(np.array([1, 8]), axes).dtype == np.int64
    assert total(8, [int(a[1]) for a in axes]) == 2 * 8 * int(axes[1][1]) * 512 * 10

"""A workload of examples of one size, or of sizes that are spread, instead of speech."""

import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import fedsim
from fedsim import checks, rng, scenario
from fedsim.cli import fedsim as cli
from fedsim.errors import ScenarioError
from fedsim.fleet.workload import SizeSpread, of_size
from fedsim.scenario.file_access import ANYWHERE
from fedsim.simulation.execute import time_rounds

DATA = {
    "name": "one-size",
    "fleet": {"clients": 3, "mix": [{"device": "jetson-xavier-nx", "share": 1.0, "link": "instant"}]},
    "workload": {"examples": 12, "sizes": {"samples": 88_000}},
    "training": {"batch_size": 4, "local_epochs": 2},
    "rounds": {"count": 1, "cohort": 3},
}


def build(**workload):
    data = {**DATA, "workload": {**DATA["workload"], **workload}}
    return scenario.build(data, Path("one.yaml"), ANYWHERE)


def test_a_round_takes_passes_times_batches_times_a_step():
    from fedsim.hardware import load_device
    from fedsim.pricing import Pricer, Technique, load_trace

    (record,) = time_rounds(build())
    pricer = Pricer(load_device("jetson-xavier-nx"), load_trace("wav2vec2-base"), Technique())
    assert record.clients.compute_s == pytest.approx([2 * 3 * float(pricer.step_s(4, 88_000))] * 3)
    assert record.clients.examples.tolist() == [12.0] * 3


@pytest.mark.parametrize(
    ("workload", "sentence"),
    [
        (
            {"sizes": {}},
            r"workload.sizes: none given; an example of wav2vec2-base has samples: give \{samples: ...\}",
        ),
        ({"sizes": {"tokens": 3}}, "workload.sizes: tokens given; an example of wav2vec2-base has samples"),
        ({"sizes": {"samples": 0}}, "workload.sizes.samples: 0 is not at least 1"),
        ({"examples": None}, "workload: the key 'sizes' needs the key 'examples' beside it"),
        ({"mean_seconds": 3.0}, "workload: the key 'mean_seconds' is about speech"),
        ({"examples": 0}, "workload.examples: 0 is not at least 1"),
        ({"sizes": {"samples": {"mean": 0}}}, "workload.sizes.samples.mean: 0 is not at least 1"),
        ({"sizes": {"samples": {}}}, "workload.sizes.samples.mean: is missing"),
        ({"sizes": {"samples": {"mean": 9, "spread": -1}}}, "samples.spread: -1 is not at least 0"),
        (
            {"sizes": {"samples": {"mean": 9, "longest": 3}}},
            "samples: the longest of 3 is below the mean of 9",
        ),
        (
            {"sizes": {"samples": {"mean": 9, "longst": 30}}},
            "'longst' is not a known key; did you mean 'longest'",
        ),
        ({"sizes": {"samples": "many"}}, "workload.sizes.samples: 'many' is not a whole number"),
        ({"sizes": {"samples": 10}}, "workload.sizes: 10 samples leave wav2vec2-base no frame"),
        ({"sizes": {"samples": {"mean": 10}}}, "workload.sizes: 10 samples leave wav2vec2-base no frame"),
        ({"corpus": "mine"}, "workload: the key 'corpus' is about speech"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(workload, sentence):
    with pytest.raises(ScenarioError, match=sentence):
        build(**workload)


def test_sizes_are_lognormal_about_their_mean():
    """A coefficient of variation of 0.5: sigma^2 = ln(1.25), the median is 1000 / sqrt(1.25)."""
    loads = of_size(1000, SizeSpread(mean=1000, spread=0.5), clients=200, seed=3)
    assert loads.utterances.tolist() == [1000] * 200
    assert loads.samples.mean() == pytest.approx(1000, rel=0.01)
    assert loads.samples.std() == pytest.approx(500, rel=0.02)
    assert np.median(loads.samples) == pytest.approx(1000 / 1.25**0.5, rel=0.01)
    each = loads.samples.reshape(200, 1000)
    assert len({tuple(row) for row in each}) == 200
    assert np.corrcoef(each[:2])[0, 1] == pytest.approx(0, abs=0.1)


def test_the_longest_are_cut_and_none_is_left_out():
    """Beyond twice the mean lies 1 - Phi(ln(2 sqrt(1.25)) / sqrt(ln 1.25)) of a log-normal."""
    whole = of_size(1000, SizeSpread(mean=1000, spread=0.5), clients=100, seed=3)
    cut = of_size(1000, SizeSpread(mean=1000, spread=0.5, longest=2000), clients=100, seed=3)
    assert (cut.samples == np.minimum(whole.samples, 2000)).all()
    beyond = 1 - NormalDist().cdf(math.log(2 * 1.25**0.5) / math.log(1.25) ** 0.5)
    assert (cut.samples == 2000).mean() == pytest.approx(beyond, rel=0.05)


@given(
    mean=st.floats(1, 1e5), spread=st.floats(0, 3), examples=st.integers(1, 50), seed=st.integers(0, 2**40),
    clients=st.integers(1, 40),
)  # fmt: skip
def test_a_client_has_the_same_sizes_in_any_fleet(mean, spread, examples, seed, clients):
    size = SizeSpread(mean=mean, spread=spread, longest=int(2 * mean) + 1)
    few, many = (of_size(examples, size, count, seed) for count in (clients, 2000))
    assert (few.samples == many.samples[: few.samples.size]).all()
    assert few.samples.min() >= 1
    assert few.samples.max() <= size.longest
    assert many.of([3, 1027]).tolist() == [3, 3]
    if spread == 0:
        assert set(few.samples.tolist()) == {round(mean) or 1}


def test_where_a_client_has_millions_all_have_the_same():
    assert of_size(10_000_000, SizeSpread(mean=9, spread=0.5), 3, 0).count == 1


def test_a_batch_is_padded_to_its_longest_and_priced_so():
    from fedsim.hardware import load_device
    from fedsim.pricing import Pricer, Technique, load_trace

    spread = {"mean": 64, "spread": 0.6, "longest": 200}
    data = {**DATA, "workload": {"examples": 10, "sizes": {"tokens": spread}},
            "training": {"model": "language_model", "batch_size": 4, "local_epochs": 3}}  # fmt: skip
    (record,) = time_rounds(scenario.build(data, Path("one.yaml"), ANYWHERE))
    loads = of_size(10, SizeSpread(**spread), 3, 0)
    order = np.lexsort(
        (rng.bits(rng.key(0, "batches", "shuffle"), np.repeat([0, 1, 2], 10), np.tile(range(10), 3)),
         np.repeat([0, 1, 2], 10))
    )  # fmt: skip
    pricer = Pricer(load_device("jetson-xavier-nx"), load_trace("language_model"), Technique())
    for client in range(3):
        mine = loads.samples[order[10 * client : 10 * client + 10]]
        batches = [mine[:4], mine[4:8], mine[8:]]
        took = 3 * sum(float(pricer.step_s(len(b), b.max())) for b in batches)
        needs = max(float(pricer.footprint_bytes(len(b), b.max())) for b in batches)
        row = record.clients.client.tolist().index(client)
        assert record.clients.compute_s[row] == pytest.approx(took)
        assert record.clients.footprint_bytes[row] == pytest.approx(needs)


@pytest.mark.parametrize(
    "size", [{"tokens": 64}, {"tokens": {"mean": 64.0, "spread": 0.5, "longest": 99}}, {}]
)
def test_the_resolved_scenario_says_nothing_of_speech_and_reads_back(size):
    model = "language_model" if size else "digits-cnn"
    data = {**DATA, "workload": {"examples": 10, "sizes": size}, "training": {"model": model}}
    built = scenario.build(data, Path("one.yaml"), ANYWHERE)
    written = checks.dump(built)
    assert written["workload"] == {"examples": 10, "sizes": size, "batching": "shuffled"}
    assert scenario.build(written, Path("one.yaml"), ANYWHERE) == built
    speech = scenario.build({**DATA, "workload": {}, "training": {}}, Path("one.yaml"), ANYWHERE)
    assert checks.dump(speech)["workload"]["corpus"] == "common-voice-it-7"


@pytest.mark.parametrize(
    ("model", "size", "said"),
    [
        ("language_model", "{tokens: 128}", "each on 500 examples of 128 tokens, in"),
        (
            "language_model", "{tokens: {mean: 128, spread: 0.5, longest: 512}}",
            "500 examples of 128 tokens on average (spread 50%, 512 tokens at most), in",
        ),
        ("digits-cnn", "{}", "each on 500 examples, in"),
        ("wav2vec2-tiny", "{samples: 32000}", "each on 500 examples of 2 s, in"),
    ],
)  # fmt: skip
def test_describe_validate_and_the_report_name_the_size_in_its_unit(tmp_path, monkeypatch, model, size, said):
    monkeypatch.setenv("COLUMNS", "300")
    path = tmp_path / "mine.yaml"
    path.write_text(
        "fleet: {clients: 20, mix: [{device: jetson-xavier-nx, share: 1.0}]}\n"
        f"workload: {{examples: 500, sizes: {size}}}\n"
        f"training: {{model: {model}}}\nrounds: {{count: 2, cohort: 5}}\n"
    )
    told = {
        verb: CliRunner().invoke(cli, [verb, str(path)], catch_exceptions=False).stdout
        for verb in ("describe", "validate")
    }
    assert said in told["describe"]
    run = fedsim.run(path, tmp_path / "run", report=True)
    told["report"] = (run.path / "report.html").read_text(encoding="utf-8").replace("Of speech: loss", "")
    told["scenario"] = (run.path / "scenario.yaml").read_text(encoding="utf-8")
    words = ("speech", "tterance", "entence", "speaker", "corpus:", "corpus.utt")
    assert {
        verb: [w for w in words if w in text] for verb, text in told.items() if any(w in text for w in words)
    } == {}

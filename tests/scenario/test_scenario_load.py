"""Every fault of a scenario is one sentence: file, key path, value, what would be right."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedsim.errors import ScenarioError
from fedsim.hardware import load_device
from fedsim.pricing.trained import EVERYTHING, FrozenCNN, Last
from fedsim.scenario import dump, load
from fedsim.scenario.model import Differently, Training, stage_starts
from fedsim.scenario.technique import technique
from fedsim.words import PLAIN_NAME, plain_name

GOOD = """
name: small
fleet:
  clients: 10
  mix:
    - {device: jetson-xavier-nx, share: 0.5}
    - {device: raspberry-pi-4, share: 0.5, link: ethernet}
rounds: {count: 3, cohort: 4}
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        file = tmp_path / "mine.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_defaults_are_filled_in_and_the_resolved_text_reads_back_equal(write, tmp_path):
    loaded = load(write(GOOD))
    again = tmp_path / "again.yaml"
    again.write_text(dump(loaded.scenario))
    assert load(again).scenario == loaded.scenario
    assert loaded.scenario.server.uplink == 125e6
    assert loaded.scenario.rounds.close.policy == "wait-all"
    assert loaded.scenario.learning is None


def test_the_name_defaults_to_the_file(write):
    assert load(write(GOOD.replace("name: small\n", ""))).scenario.name == "mine"


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("my fleet", "my-fleet"),
        ("Übung 1 (Kopie)", "Ubung-1-Kopie"),
        ("手机", "scenario"),
        ("手机 2027", "2027"),
        (".hidden", "hidden"),
        ("-x", "x"),
        ("x" * 200, "x" * 80),
        ("2024-plan.v2_b-", "2024-plan.v2_b-"),  # plain already
    ],
)
def test_any_file_name_makes_a_plain_name(stem, name, tmp_path):
    file = tmp_path / f"{stem}.yaml"
    file.write_text(GOOD.replace("name: small\n", ""))
    assert load(file).scenario.name == name


@given(st.text(max_size=100))
def test_a_name_made_of_anything_is_one_that_a_scenario_takes(text):
    name = plain_name(text)
    assert re.fullmatch(PLAIN_NAME, name)
    assert plain_name(name) == name


def test_short_forms_and_units(write):
    text = GOOD.replace("link: ethernet}", "link: lte, availability: overnight, pressure: phone}")
    text = text.replace("cohort: 4}", "cohort: 4, close: {policy: deadline, after: 6h}}")
    scenario = load(write(text + "server: {uplink: 1Gbps}\n")).scenario
    assert scenario.fleet.mix[1].availability.kind == "overnight"
    assert scenario.fleet.mix[1].pressure.kind == "phone"
    assert scenario.rounds.close.after == 21600.0
    assert "after: 6h" in dump(scenario)


def test_overrides_change_single_keys(write):
    scenario = load(
        write(GOOD), ["rounds.count=7", "fleet.mix[1].link=5g", "training.precision=mixed", "seed=9"]
    ).scenario
    assert (scenario.rounds.count, scenario.fleet.mix[1].link, scenario.seed) == (7, "5g", 9)
    assert scenario.training.precision == "mixed"


FAULTS = [
    ("cohort: 4", "chorot: 4", "rounds.chorot: 'chorot' is not a known key; did you mean 'cohort'?"),
    ("jetson-xavier-nx", "jetson-xavier", r"fleet.mix\[0\].device: .*jetson-xavier-nx"),
    ("share: 0.5}", "share: -0.5}", r"fleet.mix\[0\].share: -0.5 is not above 0"),
    ("share: 0.5}", "share: 0.4}", "fleet: the shares of fleet.mix add up to 0.9; they must add up to 1"),
    ("{count: 3, cohort: 4}", "1e-3", "rounds: 0.001 is not a block with the keys count, cohort"),
    ("count: 3", "count: 1e-3", "rounds.count: 0.001 is not a whole number"),
    ("count: 3", "count: '3'", "rounds.count: '3' is not a whole number"),
    ("count: 3", "count: true", "rounds.count: True is not a whole number"),
    ("count: 3", "count: 0", "rounds.count: 0 is not at least 1"),
    ("count: 3, ", "", r"rounds.count: is missing and has no default \(how many rounds\)"),
    ("count: 3", "count: 3, count: 4", "rounds.count: is given twice"),
    ("clients: 10", "clients: 10, fleet: 3", "not valid YAML"),
    ("link: ethernet", "link: wire", r"fleet.mix\[1\].link: .*wire"),
    (
        "link: ethernet",
        "availability: markov",
        r"mix\[1\].availability: 'markov' needs the key 'mean_online'",
    ),
    ("link: ethernet", "pressure: {kind: phone, bytes: 1GB}", "'bytes' belongs to constant, not to 'phone'"),
    ("link: ethernet", "availability: weekends", "'weekends' is not one of 'always'"),
    ("cohort: 4", "cohort: 4, close: deadline", "rounds.close: 'deadline' needs the key 'after'"),
    (
        "cohort: 4",
        "cohort: 4, close: {policy: deadline, after: soon}",
        "rounds.close.after: 'soon' is not a duration; .*6h",
    ),
    ("cohort: 4", "cohort: .inf", "rounds.cohort: inf is not a whole number"),
    ("share: 0.5}", "share: .nan}", r"fleet.mix\[0\].share: nan is not a finite number"),
    ("name: small", "name: ../../etc", "name: '../../etc' is not a plain name"),
    ("name: small", "training: {model: wav2vec3}", "training.model: .*wav2vec3"),
    ("name: small", "workload: {corpus: common-voice-xx}", "workload.corpus: .*common-voice-xx"),
    (
        "name: small",
        "training: {model: digits-cnn}",
        "workload: is about utterances, and an example of digits-cnn has no size; .* as in {examples: 100}$",
    ),
    (
        "name: small",
        "workload: {utterances: 40}\ntraining: {model: language_model}",
        r"workload: is about .* has tokens; .* as in {examples: 100, sizes: {tokens: 128}}$",
    ),
    (
        "name: small",
        "workload: {examples: 9}\ntraining: {model: language_model}",
        "workload.sizes: none given; an example of language_model has tokens: give {tokens: ...}",
    ),
    ("name: small", "learning: {corpus: {kind: cd}}", "learning.corpus.kind: 'cd' is not one of 'espeak'"),
    ("name: small", "hardware: {year: 2027, trend: moore}", "hardware.trend: .*moore"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), FAULTS, ids=[new[:40] for _, new, _ in FAULTS])
def test_each_fault_is_one_sentence(write, old, new, sentence):
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    file = write(text)
    with pytest.raises(ScenarioError, match=sentence) as fault:
        load(file)
    assert str(fault.value).startswith(f"{file}: ")
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("count: 3", "count: 1e1", 10),
        ("count: 3", "count: 10.0", 10),
        ("clients: 10", "clients: 1e6", 1_000_000),
        ("name: small", "name: small\nseed: 2.0e+3", 2000),
        ("cohort: 4", "cohort: 4.0", 4),
    ],
)
def test_a_whole_number_may_be_written_as_a_float(write, old, new, value):
    scenario = load(write(GOOD.replace(old, new))).scenario
    key = new.rpartition("\n")[2].partition(":")[0]
    found = next(getattr(b, key) for b in (scenario, scenario.rounds, scenario.fleet) if hasattr(b, key))
    assert found == value
    assert type(found) is int
    assert f"{key}: {value}\n" in dump(scenario)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("2.5", "2.5 is not a whole number"),
        ("1e-1", "0.1 is not a whole number"),
        ("1e300", r"1e\+300 is not at most 10000000"),
        ("-1e1", "-10.0 is not at least 1"),
        (".inf", "inf is not a whole number"),
        ("true", "True is not a whole number"),
        ("'1e1'", "'1e1' is not a whole number"),
    ],
)
def test_what_is_no_whole_number_is_refused(write, written, sentence):
    with pytest.raises(ScenarioError, match=f"rounds.count: {sentence}"):
        load(write(GOOD.replace("count: 3", f"count: {written}")))


def test_a_name_that_is_something_else_to_another_reader_is_quoted(write):
    for name in ("no", "on", "2027-01-01"):
        text = dump(load(write(GOOD.replace("name: small", f"name: {name}"))).scenario)
        assert yaml.safe_load(text)["name"] == name


@pytest.mark.parametrize("text", ["", "[]", "3", "just words"])
def test_a_file_that_is_no_scenario_says_what_one_is(write, text):
    with pytest.raises(ScenarioError, match="a scenario has the keys name, description, seed"):
        load(write(text))


def test_a_scenario_that_is_not_there_suggests_one_that_is():
    with pytest.raises(
        ScenarioError, match=r"'quickstrat' is not a known scenario .* did you mean 'quickstart'"
    ):
        load("quickstrat")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("rounds.count", "has no '='"),
        ("rounds..count=3", "is not a key path"),
        ("fleet.mix[9].share=1", "the list on the way has 2 entries"),
        ("name.x=1", "'x' is inside 'small', not a block"),
        ("rounds.count=[", "not valid YAML"),
        ("rounds.cuont=3", "did you mean 'count'"),
        (
            "fleet.mix[0].utc_offsets=[1.0e+308]",
            r"fleet\.mix\[0\]\.utc_offsets\[0\]: 1e\+308 is not at most 18",
        ),
    ],
)
def test_bad_overrides_are_one_sentence(write, override, sentence):
    with pytest.raises(ScenarioError, match=sentence):
        load(write(GOOD), [override])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("rounds.count=x", "--set rounds.count: 'x' is not a whole number"),
        ("rounds.cuont=3", "--set rounds.cuont: 'cuont' is not a known key; did you mean 'count'?"),
        ("fleet.mix.1.share=2", "--set fleet.mix[1].share: 2 is not at most 1"),
        ("name=my fleet", "--set name: 'my fleet' is not a plain name; use letters"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_not_said_of_the_file(write, change, sentence):
    """Nor is what is wrong in the file said of the command line."""
    with pytest.raises(ScenarioError) as fault:
        load(write(GOOD), [change])
    assert str(fault.value).startswith(sentence)
    with pytest.raises(ScenarioError) as fault:
        load(file := write(GOOD.replace("share: 0.5}", "share: -0.5}")), ["rounds.count=5"])
    assert str(fault.value).startswith(f"{file}: fleet.mix[0].share: -0.5")


def test_a_device_file_beside_the_scenario_is_found(write, tmp_path):
    from fedsim import paths

    shipped = (paths.data_dir("hardware") / "raspberry-pi-4.yaml").read_text()
    (tmp_path / "my-pi.yaml").write_text(shipped)
    scenario = load(write(GOOD.replace("raspberry-pi-4", "my-pi.yaml"))).scenario
    assert scenario.fleet.mix[1].device == str(tmp_path / "my-pi.yaml")


@pytest.mark.parametrize(
    ("device", "asked", "runs"),
    [
        ("nvidia-a100-80gb", "tf32", "tf32"),
        ("nvidia-v100", "tf32", "fp32"),
        ("raspberry-pi-4", "tf32", "fp32"),
        ("nvidia-v100", "fp32-strict", "fp32-strict"),
        ("jetson-nano", "bf16", "fp32"),
    ],
)
def test_a_precision_that_a_device_lacks_falls_back(device, asked, runs):
    training = Training(precision=asked)
    assert technique(training, load_device(device).precisions).precision == runs


STAGED = """
fleet:
  clients: 4
  mix:
    - {device: raspberry-pi-4, share: 0.5, training: {train: {last: 2}, precision: mixed}}
    - {device: raspberry-pi-4, share: 0.5}
training:
  model: wav2vec2-base
  depth: 9
  schedule: [{rounds: 30, train: head, depth: 6}, {rounds: 30, depth: 8}, {train: biases}]
  on_oom: shallower
  shallower: [{depth: 4}, {train: head, depth: 2}]
rounds: {count: 90, cohort: 2}
"""


def test_an_entry_and_a_stage_change_what_they_name_and_leave_the_rest(write):
    scenario = load(write(STAGED)).scenario
    own, stages = scenario.fleet.mix[0].training, scenario.training.schedule
    assert stage_starts(stages) == [0, 30, 60]
    assert scenario.fleet.mix[1].training is None
    assert own.changes == {"train": Last(2), "precision": "mixed"}
    first, last = (scenario.training.but(stage).but(own) for stage in (stages[0], stages[2]))
    assert (first.train, first.depth, first.precision) == (Last(2), 6, "mixed")  # the entry over the stage
    assert (last.train, last.depth, last.precision) == (Last(2), 9, "mixed")
    assert load(write(STAGED), ["rounds.count=91"]).scenario.rounds.count == 91  # the last lasts to the end
    assert load(write(dump(scenario))).scenario == scenario


def test_another_part_to_train_takes_the_place_of_a_frozen_encoder():
    frozen = Training(freeze_cnn=True)
    assert frozen.but(Differently(depth=3)).trained == FrozenCNN()
    assert frozen.but(Differently(train=EVERYTHING)).trained == EVERYTHING


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.schedule=[{rounds: 30}, {rounds: 30}]", "rounds 61 to 90 have no stage"),
        ("training.schedule=[{rounds: 89}]", "have 89 rounds, and rounds.count is 90: round 90 has no stage"),
        ("training.schedule=[{rounds: 90}, {depth: 2}]", "stage 2 never begins"),
        (
            "training.schedule=[{rounds: 60}, {rounds: 31}]",
            "more rounds than rounds.count, 90: the last ends",
        ),
        ("training.schedule=[{depth: 2}, {rounds: 31}]", "not the last needs the key rounds"),
        ("training.schedule=[{rounds: 0}]", "0 is not at least 1"),
        ("training.on_oom=drop", "training.shallower is given, and training.on_oom is not shallower"),
        ("training.shallower=[]", "training.on_oom is shallower, and training.shallower is empty"),
        ("training.shallower=[{batch_size: 2}]", "'batch_size' is not a known key"),
        ("fleet.mix[0].training={train: lora:0}", "0 is not at least 1"),
        ("fleet.mix[0].training={depth: 0}", "0 is not at least 1"),
    ],
)
def test_a_schedule_or_a_fallback_that_cannot_be_is_one_sentence(write, change, said):
    with pytest.raises(ScenarioError, match=said):
        load(write(STAGED), [change])

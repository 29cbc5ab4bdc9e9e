"""What scenarios, manifests and run directories name stays in their folders, unless the user says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fedsim import hardware, yamlfile
from fedsim.errors import CorpusError, HardwareError, RunError, ScenarioError
from fedsim.scenario import file_access, load
from fedsim.scenario.file_access import ALLOWED
from fedsim.simulation import execute
from fedsim.tasks.speech.corpus import CommonVoice, Manifest, common_voice, manifest

DEVICE = yamlfile.load(Path(hardware.load_device("raspberry-pi-4").file))
SCENARIO = {
    "fleet": {"clients": 6, "mix": [{"device": "raspberry-pi-4", "share": 1.0}]},
    "workload": {"utterances": 8},
    "training": {"model": "wav2vec2-tiny"},
    "rounds": {"count": 3, "cohort": 2},
}
SPANS = "client,start_s,end_s\n" + "".join(f"{client},0,1e9\n" for client in range(6))
LINES = "path,speaker,text\na.wav,anna,ciao\n"


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A folder of somebody else's, one of mine, and me in a third."""
    for name in ("theirs", "mine", "here"):
        (tmp_path / name).mkdir()
    for name in ("theirs", "mine"):
        (tmp_path / name / "device.yaml").write_text(yamlfile.dump(DEVICE))
        (tmp_path / name / "online.csv").write_text(SPANS)
        (tmp_path / name / "speech.csv").write_text(LINES)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def scenario(house: Path, **changes: str) -> Path:
    file = house / "theirs" / "scenario.yaml"
    data = json.loads(json.dumps(SCENARIO))
    for key, value in changes.items():
        {
            "device": lambda v: data["fleet"]["mix"][0].update(device=v),
            "online": lambda v: data["fleet"]["mix"][0].update(availability={"kind": "trace", "file": v}),
            "trend": lambda v: data.update(hardware={"year": 2030, "trend": v}),
            "model": lambda v: data["training"].update(model=v),
            "lengths": lambda v: data["workload"].update(corpus=v),
            "server": lambda v: data.update(server={"device": v}),
            "speech": lambda v: data.update(learning={"corpus": {"kind": "manifest", "path": v}}),
            "clips": lambda v: data.update(learning={"corpus": {"kind": "common-voice", "path": v}}),
        }[key](value)
    file.write_text(yamlfile.dump(data))
    return file


KEYS = {
    "device": "fleet.mix[0].device",
    "online": "fleet.mix[0].availability.file",
    "trend": "hardware.trend",
    "model": "training.model",
    "lengths": "workload.corpus",
    "server": "server.device",
    "speech": "learning.corpus.path",
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("how", ["absolute", "dots", "link", "from here"])
def test_a_scenario_may_not_name_a_file_elsewhere(house, key, how):
    target = house / "mine" / "secret.txt"
    target.write_text("password: hunter2\n")
    names = {
        "absolute": str(target),
        "dots": "../mine/secret.txt",
        "link": "link.txt",
        "from here": "secret.txt",
    }
    (house / "theirs" / "link.txt").symlink_to(target)
    shutil.copy(target, house / "here" / "secret.txt")
    with pytest.raises(ScenarioError, match="lies outside of the folder") as fault:
        load(scenario(house, **{key: names[how]}))
    assert fault.value.key == KEYS[key]
    assert "--allow-outside" in str(fault.value)
    assert "hunter2" not in str(fault.value)


def test_its_own_files_the_catalogue_and_what_the_user_names_are_used(house):
    file = scenario(house, device="device.yaml", online="online.csv")
    assert load(file).scenario.fleet.mix[0].device == str(house / "theirs" / "device.yaml")
    file = scenario(house, device="../mine/device.yaml")
    mine = str(house / "mine" / "device.yaml")
    assert load(file, [f"fleet.mix[0].device={mine}"]).scenario.fleet.mix[0].device == mine
    assert load(file, [f"fleet.mix.0={{device: {mine}, share: 1.0}}"]).scenario.fleet.mix[0].device == mine
    with pytest.raises(ScenarioError, match="outside"):
        load(file, ["seed=3"])
    assert load(file, access=ALLOWED).scenario.fleet.mix[0].device.endswith("mine/device.yaml")


def test_a_file_cannot_allow_itself_to_reach_out(house):
    file = scenario(house, speech="speech.csv")
    data = yamlfile.load(file)
    data["learning"]["corpus"]["outside"] = True
    file.write_text(yamlfile.dump(data))
    with pytest.raises(ScenarioError, match=r"learning\.corpus\.outside: is true, and only the command line"):
        load(file)
    assert load(file, access=ALLOWED).scenario.learning.task.corpus.outside is True
    assert load(file, ["learning.corpus.outside=true"]).scenario.learning.task.corpus.outside is True
    assert load(scenario(house, speech="speech.csv")).scenario.learning.task.corpus.outside is False
    assert (
        load(scenario(house, speech="speech.csv"), access=ALLOWED).scenario.learning.task.corpus.outside
        is True
    )


def test_a_language_is_no_path(house):
    (house / "theirs" / "clips").mkdir()
    file = scenario(house, clips=".")
    with pytest.raises(ScenarioError, match=r"learning\.corpus\.language: '\.\./mine' is not a plain name"):
        load(file, ["learning.corpus.language=../mine"])


def test_links_do_not_lead_out_of_a_corpus(house):
    secret = house / "mine" / "secret.wav"
    secret.write_bytes(b"RIFF")
    theirs = house / "theirs"
    (theirs / "a.wav").symlink_to(secret)
    spec = Manifest(path=str(theirs / "speech.csv"))
    with pytest.raises(CorpusError, match=r"line 2: has the path 'a\.wav' outside"):
        manifest.read(theirs / "speech.csv", spec)
    (theirs / "clips").mkdir()
    (theirs / "clips" / "a.mp3").symlink_to(secret)
    (theirs / "validated.tsv").write_text("client_id\tpath\tsentence\nx\ta.mp3\tciao\n")
    with pytest.raises(CorpusError, match=r"line 2: names 'a\.mp3', a link that leads out of the folder"):
        common_voice.read(theirs, CommonVoice(path=str(theirs)))
    anywhere = CommonVoice(path=str(theirs), outside=True)
    assert len(common_voice.read(theirs, anywhere).recordings) == 1
    shutil.rmtree(theirs / "clips")
    (theirs / "clips").symlink_to(house / "mine")
    with pytest.raises(CorpusError, match="names 'clips', a link that leads out"):
        common_voice.read(theirs, CommonVoice(path=str(theirs)))


def test_a_device_file_names_only_what_lies_beside_it(house):
    (house / "mine" / "steps.csv").write_text("# here\n")
    file = house / "theirs" / "device.yaml"
    file.write_text(yamlfile.dump({**DEVICE, "measurements": "../mine/steps.csv"}))
    with pytest.raises(HardwareError, match=r"measurements: is '\.\./mine/steps\.csv', and there is no"):
        hardware.load_device(str(file))
    file.write_text(yamlfile.dump({**DEVICE, "relative": str(house / "mine" / "device.yaml")}))
    with pytest.raises(HardwareError, match="a file that does not lie beside this one"):
        hardware.load_device(str(file))


class Dies:
    """A progress that stops the run in its second round."""

    def begin(self, rounds, done): ...
    def note(self, text): ...
    def end(self): ...
    def round(self, record):
        if record.index == 1:
            raise KeyboardInterrupt


def cut_off(house: Path, out: str) -> Path:
    loaded = load(scenario(house, device="device.yaml", online="online.csv"))
    with pytest.raises(KeyboardInterrupt):
        execute.run(loaded, house / out, progress=Dies())
    return house / out


def test_a_run_goes_on_with_the_files_that_it_was_made_from_and_no_others(house):
    run = cut_off(house, "run")
    shutil.copytree(run, house / "again")
    assert (execute.resume(run) / "summary.json").is_file(), "its own files need no permission"
    changed = house / "theirs" / "online.csv"
    changed.write_text(SPANS + "1,0,5\n")
    with pytest.raises(ScenarioError, match=r"availability\.file: .* lies outside of the folder"):
        execute.resume(house / "again")
    assert not (house / "again" / "summary.json").exists()
    execute.resume(house / "again", access=ALLOWED)


def test_a_colleagues_run_cannot_reach_my_files(house):
    run = cut_off(house, "run")
    data = yamlfile.load(run / "scenario.yaml")
    data["fleet"]["mix"][0]["device"] = str(house / "mine" / "secret.yaml")
    (house / "mine" / "secret.yaml").write_text("password: hunter2\n")
    (run / "scenario.yaml").write_text(yamlfile.dump(data))
    with pytest.raises(ScenarioError, match="lies outside of the folder"):
        execute.resume(run)


@pytest.mark.parametrize("name", ["scenario.yaml", "figures", "parts/rounds.sqlite", "checkpoints"])
def test_no_link_leads_out_of_a_run_directory(house, name):
    from fedsim import results
    from fedsim.report import build

    run = cut_off(house, "run")
    target = house / "mine" / "it"
    target.mkdir() if "." not in name else target.write_text("token: hunter2\n")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(target)
    for use in (results.load, build.write, execute.resume):
        with pytest.raises(RunError, match="is a link that leads out of this directory"):
            use(run)
    assert list(target.iterdir()) == [] if target.is_dir() else target.read_text() == "token: hunter2\n"


def test_a_sweeps_folder_is_not_taken_on_trust(house):
    from fedsim.scenario.sweep import load as load_sweep
    from fedsim.sweeps import conduct
    from fedsim.sweeps.here import Here

    file = scenario(house, online="online.csv")
    file.write_text(file.read_text() + "sweep: {rounds.cohort: [1, 2]}\n")
    found = conduct.start(load_sweep(file), house / "sweep", Here)
    assert found.failed == 0
    assert conduct.resume(found.directory, Here).kept == 2, "its own files need no permission"
    (house / "theirs" / "online.csv").write_text(SPANS + "1,0,5\n")
    with pytest.raises(ScenarioError, match="lies outside of the folder"):
        conduct.resume(found.directory, Here)
    assert conduct.resume(found.directory, Here, outside=True).computed == 2


def test_shipped_scenarios_may_name_files_of_the_working_directory(house):
    (house / "here" / "asterisk-it").mkdir()
    (house / "here" / "asterisk-it" / "manifest.csv").write_text(LINES)
    assert load("real-italian").scenario.learning.task.corpus.path == "asterisk-it/manifest.csv"
    assert ("learning", "corpus", "path") in file_access.file_keys()

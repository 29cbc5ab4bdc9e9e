"""Sentences that several rooms share: what is said of a path that was written as on Windows."""

import re

import pytest

from fedsim import files, plugins, yamlfile
from fedsim.errors import InputError
from fedsim.fleet import spans, speech
from fedsim.fleet.pressure.named import File
from fedsim.hardware import load_device, load_link, load_trend
from fedsim.pricing import load_trace
from fedsim.results import load as load_run
from fedsim.scenario import load
from fedsim.scenario.sweep import load as load_sweep
from fedsim.simulation import execute
from fedsim.tasks.speech.corpus import CommonVoice, Manifest
from fedsim.tasks.speech.corpus import load as load_corpus
from fedsim.tracing import configs
from fedsim.words import nearest, slashes

HINT = "folders are separated by '/' here, not by '\\'"
LOOK = {
    "scenario": load,
    "sweep": load_sweep,
    "device": load_device,
    "link": load_link,
    "trend": load_trend,
    "layer trace": load_trace,
    "corpus": speech.load,
    "availability": spans.find,
    "pressure": lambda path: File(file=path).files(),
    "run": load_run,
    "resume": lambda path: execute.resume(files.Path(path)),
    "manifest": lambda path: load_corpus(Manifest(path=path)),
    "common voice": lambda path: load_corpus(CommonVoice(path=path)),
    "configuration": lambda path: configs.read(files.Path(path)),
    "plug-in": plugins.load,
    "yaml": yamlfile.load,
}


@pytest.mark.parametrize("what", LOOK)
def test_a_backslash_path_that_leads_nowhere_is_told_what_is_wrong_with_it(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, is_told in (("sub\\mine.yaml", True), ("sub/mine.yaml", False)):
        with pytest.raises(InputError) as fault:
            LOOK[what](path)
        assert str(fault.value).endswith(HINT) == is_told
        assert "\n" not in str(fault.value)


def test_only_where_it_helps():
    assert slashes("a/b") == ""
    assert slashes("a/b", "give one") == "give one"
    assert slashes("a\\b", "give one") == HINT
    assert nearest("chorot", ["cohort", "count"]) == "did you mean 'cohort'?"
    assert re.fullmatch(r"known here: a, b", nearest("zzz", ["a", "b"]))

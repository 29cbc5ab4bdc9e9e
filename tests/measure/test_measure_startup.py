"""How long a process takes to its first step: counted to its word, the median of several."""

from __future__ import annotations

import sys

import pytest

from fedsim.errors import FedsimError
from fedsim.measure import startup
from fedsim.tracing import configs


class Clock:
    """Says 0 when a process starts, then how long it took, one after another."""

    def __init__(self, *took_s):
        self.answers = iter([answer for took in took_s for answer in (100.0, 100.0 + took)])

    def __call__(self):
        return next(self.answers)


@pytest.mark.parametrize(
    ("took_s", "median_s"), [((3.0,), 3.0), ((9.0, 2.0, 4.0), 4.0), ((8.0, 2.0, 4.0, 40.0, 6.0), 6.0)]
)
def test_the_median_of_several_processes_counts(monkeypatch, took_s, median_s):
    monkeypatch.setattr(startup, "_CLIENT", "print('ready', flush=True)")
    found = startup.startup_s("cpu", 1, "a.json", 1, 8, runs=len(took_s), now=Clock(*took_s))
    assert found == median_s


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("raise ValueError('no such luck')", "ValueError: no such luck"),
        ("print('steady')", "it printed nothing"),
        ("import sys; print('ready', flush=True); sys.exit('after all')", "after all"),
    ],
)
def test_a_process_that_fails_says_why(monkeypatch, script, why):
    monkeypatch.setattr(startup, "_CLIENT", script)
    with pytest.raises(FedsimError, match=why):
        startup.startup_s("cpu", 1, "a.json", 1, 8, runs=1)


def test_what_a_process_is_asked_is_what_it_gets(monkeypatch, tmp_path):
    said = tmp_path / "said"
    script = f"import sys; open({str(said)!r}, 'w').write(' '.join(sys.argv[1:])); print('ready', flush=True)"
    monkeypatch.setattr(startup, "_CLIENT", script)
    startup.startup_s("mps", 3, "a.json", 2, 64_000, runs=1)
    assert said.read_text() == "mps 3 a.json 2 64000"


def test_a_real_client_gets_ready():
    command = [sys.executable, "-W", "ignore", "-c", startup._CLIENT, "cpu", "1"]
    command += [str(configs.preset_files()["wav2vec2-tiny"]), "2", "16000"]
    assert startup._once(command, Clock(1.5)) == pytest.approx(1.5)

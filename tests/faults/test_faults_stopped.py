"""Ctrl-C once and twice, SIGTERM, SIGHUP: one sentence that says how to go on, and nothing left behind.

As on a terminal, Ctrl-C and a hang-up reach every process of the command at once.
"""

from __future__ import annotations

import signal

import pytest

from .machine import content, same
from .test_faults_killed import DATA, SMALL_CALIBRATE

ONCE, TWICE = (signal.SIGINT,), (signal.SIGINT, signal.SIGINT)
TERM, HANGUP = (signal.SIGTERM,), (signal.SIGHUP,)
HOW = {"Ctrl-C": ONCE, "Ctrl-C twice": TWICE, "SIGTERM": TERM, "SIGHUP": HANGUP}
SWEEP = ("--quiet", "--workers", "2", "--no-cache")
LEARN = ("--quiet", "--workers", "2", "--no-report")


def stop(machine, draw, numbers, begun, *arguments, program=None):
    """Stop a command at a moment after ``begun()``; what it said."""
    going = machine.start(*arguments, program=program)
    assert going.wait_for(begun)
    more_s = max(0.5, going.cpu_s()) + draw.uniform(0.0, 1.0)  # not before main() has begun
    assert going.wait_for(lambda: going.cpu_s() >= more_s), going.end()
    going.signal(*numbers, pause_s=draw.uniform(0.0, 0.3))
    said = going.end()
    assert said.code == 128 + numbers[0], said
    assert said.err.strip().count("\n") == 0, said.err
    assert said.last.startswith(
        "fedsim: interrupted" if numbers[0] == signal.SIGINT else f"fedsim: stopped by {numbers[0].name}"
    ), said
    machine.nobody_left()
    return said


def stopped_and_gone_on_with(machine, trying, draw, how, verb, scenario, options):
    machine.run(verb, scenario, "--out", "whole", *options)
    wanted = content(machine.folder / "whole")
    cut = machine.folder / "cut"
    for name in how:
        with trying(f"{name}: {verb}{' with learning' if scenario == 'learn.yaml' else ''}", 1) as seen:
            begun = cut / ("manifest.json" if verb == "run" else "sweep.json")
            said = stop(machine, draw, HOW[name], begun.exists, verb, scenario, "--out", "cut", *options)
            assert said.command == [verb, "--resume", "cut"]
            seen.compared += 1
            machine.run(*said.command, *options)
            same(cut, wanted)
            machine.nothing_left()
            seen.equal += 1
        cut.rename(machine.folder / f"gone-on-with-{name}")


def test_ctrl_c_in_a_run(machine, trying, draw):
    """The long scenario is still going on whenever Ctrl-C comes; it is not gone on with here."""
    with trying("Ctrl-C: run", 1):
        manifest = machine.folder / "cut" / "manifest.json"
        said = stop(machine, draw, ONCE, manifest.exists, "run", "long.yaml", "--out", "cut", *DATA)
        assert (
            said.last == "fedsim: interrupted; finished rounds are kept; go on with: fedsim run --resume cut"
        )
        assert not list(machine.folder.rglob(".*.tmp"))
        assert not list(machine.temp.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("verb", "scenario", "options"),
    [("run", "clock-3000.yaml", DATA), ("run", "learn.yaml", LEARN), ("sweep", "sweep.yaml", SWEEP)],
    ids=["run", "learning", "sweep"],
)
def test_stopped_it_says_how_to_go_on(machine, trying, draw, verb, scenario, options):
    stopped_and_gone_on_with(machine, trying, draw, HOW, verb, scenario, options)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("verb", ["calibrate", "trace"])
def test_stopped_with_nothing_written_it_says_so(machine, trying, draw, verb):
    if verb == "calibrate":
        program = SMALL_CALIBRATE
        arguments = ("calibrate", "--minutes", "5", "--threads", "1", "--out", "cut.yaml")
    else:
        program, arguments = None, ("trace", "--config", "model.json", "--out", "cut")

    for name, numbers in HOW.items():
        with trying(f"{name}: {verb}", 1):
            said = stop(machine, draw, numbers, lambda: True, *arguments, program=program)
            assert "nothing was written; start it again" in said.last, said
            assert not [p for p in machine.folder.rglob("*cut*") if p.is_file()]
            machine.nothing_left()

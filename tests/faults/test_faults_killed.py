"""SIGKILL at random moments: what was finished is kept, and whoever goes on ends with the same bytes.

A moment is a share of the CPU time that the undisturbed command takes, so it means the same on a
busy machine. The moments of a command are spread over its whole life, one in each of equal parts.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from .machine import content, same

SMALL_CALIBRATE = Path(__file__).with_name("small_calibrate.py")
CHAIN = 4  # kills of the same run before it may come to its end
QUICK = ("--quiet", "--workers", "1")
DATA = (*QUICK, "--no-report")
TWO = ("--quiet", "--workers", "2", "--no-report")


def spread(draw, kills):
    """Shares of a command's life, one in each of ``kills`` equal parts, in a random order."""
    moments = [(part + draw.random()) / kills for part in range(kills)]
    draw.shuffle(moments)
    return moments


def killed(going, moment_s):
    """Kill a command when it has used so much CPU time; False if it had come to its end."""
    if going.wait_for(lambda: going.cpu_s() >= moment_s):
        going.signal(signal.SIGKILL, group=False)
    return going.end().code == -signal.SIGKILL


def surely_killed(start, moment_s):
    """Kill what ``start()`` starts; again and a little earlier if it was quicker than the undisturbed one."""
    while not killed(start(), moment_s):
        moment_s *= 0.95


def resume_or_begin(machine, verb, begin, directory, options):
    """What a user does after a crash: go on, and begin again if there is nothing to go on with.

    Gives what is left to start, or None if it was finished already.
    """
    if not directory.exists():
        return begin
    if (directory / ("manifest.json" if verb == "run" else "sweep.json")).exists():
        if verb == "run" and (directory / "summary.json").exists():
            if "--no-report" not in options and not (directory / "report.html").exists():
                machine.run(verb, "--resume", directory, *options)  # makes the report, and no more
            said = machine.run(verb, "--resume", directory, *options, code=2)
            assert "is finished; there is nothing to go on with" in said.err
            return None
        return [verb, "--resume", directory, *options]
    said = machine.run(verb, "--resume", directory, *options, code=2)
    assert "was stopped before it began; start it again with: fedsim" in said.last, said
    assert said.command[0] == verb
    assert said.command[-2:] == ["--out", str(directory)]
    return begin


def kill_and_go_on(machine, trying, draw, fault, verb, scenario, options, kills):
    """Kill a command at ``kills`` moments, going on after each, and compare what comes of it."""
    whole = machine.folder / "whole"
    cpu_s = machine.run(verb, scenario, "--out", whole, *options).cpu_s
    wanted = content(whole)
    with trying(fault) as seen:
        chain, done, directory = 0, 0, None
        moments = spread(draw, kills)
        while moments or directory is not None:
            if directory is None:
                chain, done, directory = chain + 1, 0, machine.folder / f"cut-{chain}"
                shutil.rmtree(machine.cache / "sweeps", ignore_errors=True)  # or all would be known
            begin = [verb, scenario, "--out", directory, *options]
            todo = resume_or_begin(machine, verb, begin, directory, options)
            if todo is not None and moments and done < CHAIN:
                cut = killed(machine.start(*todo), moments[0] * cpu_s)
                machine.nobody_left()
                if cut:
                    moments.pop(0)
                    seen.tried += 1
                    done += 1
                    continue
                if todo is begin:  # it was quicker than the undisturbed one
                    moments[0] *= 0.98
            elif todo is not None:
                machine.run(*todo)
            seen.compared += 1
            same(directory, wanted)
            machine.nothing_left()
            seen.equal += 1
            directory = None
        assert seen.tried == kills


def test_a_run_is_killed_twice(machine, trying, draw):
    kill_and_go_on(machine, trying, draw, "SIGKILL: run on the clock", "run", "clock.yaml", DATA, 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("fault", "verb", "scenario", "options", "kills"),
    [
        ("SIGKILL: run on the clock", "run", "clock.yaml", QUICK, 10),
        ("SIGKILL: run with learning", "run", "learn.yaml", DATA, 8),
        ("SIGKILL: run with learning, 2 workers", "run", "learn.yaml", TWO, 4),
        ("SIGKILL: sweep", "sweep", "sweep.yaml", ("--quiet", "--workers", "1"), 6),
        ("SIGKILL: sweep, 2 workers", "sweep", "sweep.yaml", ("--quiet", "--workers", "2", "--no-cache"), 4),
    ],
    ids=["clock", "learning", "workers", "sweep", "sweep-workers"],
)
def test_killed_at_random_moments(machine, trying, draw, fault, verb, scenario, options, kills):
    kill_and_go_on(machine, trying, draw, fault, verb, scenario, options, kills)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_trace_is_there_whole_or_not_at_all(machine, trying, draw):
    arguments = ("trace", "--config", "model.json", "--workers", "2", "--out")
    cpu_s = machine.run(*arguments, machine.folder / "whole").cpu_s
    wanted = content(machine.folder / "whole")
    with trying("SIGKILL: trace") as seen:
        folder = machine.folder / "cut"
        for moment in spread(draw, 6):
            surely_killed(lambda: machine.start(*arguments, folder), moment * cpu_s)
            seen.tried += 1
            machine.nobody_left()
            if folder.exists():
                left = {p.name for p in folder.iterdir()} - {"model.json"}
                assert all(name.startswith(".model.json.") for name in left)
        machine.run(*arguments, folder)
        seen.compared += 1
        same(folder, wanted)
        machine.nothing_left()
        seen.equal += 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_calibration_is_there_whole_or_not_at_all(machine, trying, draw):
    """What it measures differs from time to time, so there is nothing to compare but the files' names."""
    arguments = ("calibrate", "--minutes", "0.01", "--threads", "1", "--out")
    cpu_s = machine.run(*arguments, "whole.yaml", program=SMALL_CALIBRATE).cpu_s
    with trying("SIGKILL: calibrate") as seen:
        for moment in spread(draw, 6):
            surely_killed(
                lambda: machine.start(*arguments, "cut.yaml", program=SMALL_CALIBRATE), moment * cpu_s
            )
            seen.tried += 1
            machine.nobody_left()
            if (machine.folder / "cut.yaml").exists():
                machine.run("devices", "./cut.yaml")
        machine.run(*arguments, "cut.yaml", program=SMALL_CALIBRATE)
        machine.run("devices", "./cut.yaml")
        assert {p.name for p in machine.folder.glob("*cut*")} == {"cut.yaml", "cut-operators.csv"}
        machine.nothing_left()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_corpus_is_there_whole_or_not_at_all(machine, trying, draw):
    """Killed while it is spoken: an hour and a half of it, which is long enough to aim at.

    A corpus that is there whole before the kill comes is taken away, so that the next one is made anew.
    """
    corpora = machine.cache / "corpora"
    spoken = ("--set", "learning.corpus.minutes=90", "--set", "rounds.count=1")
    arguments = ("run", "learn.yaml", *DATA, *spoken, "--out")

    def being_made():
        return any(corpora.glob(".making-*"))

    going = machine.start(*arguments, machine.folder / "whole")
    assert going.wait_for(being_made)
    began_s = going.cpu_s()
    assert going.wait_for(lambda: not being_made())
    made_s = going.cpu_s() - began_s
    assert going.end().code == 0
    wanted = content(machine.folder / "whole"), content(corpora)
    corpora.rename(machine.folder / "corpora-whole")
    with trying("SIGKILL: corpus building") as seen:
        run = machine.folder / "cut"
        for moment in spread(draw, 6):
            todo = resume_or_begin(machine, "run", [*arguments, run], run, DATA)
            going = machine.start(*todo)
            assert going.wait_for(being_made), going.end()
            until_s = going.cpu_s() + moment * made_s
            assert going.wait_for(lambda going=going, until_s=until_s: going.cpu_s() >= until_s)
            going.signal(signal.SIGKILL, group=False)
            assert going.end().code == -signal.SIGKILL
            seen.tried += 1
            machine.nobody_left()
            for whole in corpora.glob("[!.]*"):
                same(corpora / whole.name, content(machine.folder / "corpora-whole" / whole.name))
                shutil.rmtree(whole)
        machine.run(*resume_or_begin(machine, "run", [*arguments, run], run, DATA))
        seen.compared += 2
        same(corpora, wanted[1])
        seen.equal += 1
        same(run, wanted[0])
        machine.nothing_left()
        seen.equal += 1

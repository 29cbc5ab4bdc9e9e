"""Rounds, warm-up and the end of the time, with a stopwatch and a clock that are made up."""

import pytest

from fedsim.errors import FedsimError
from fedsim.measure import timing
from fedsim.measure.stopwatch import ProcessorStopwatch, WallStopwatch, stopwatch
from fedsim.measure.timing import FEWEST_ROUNDS, MOST_RUNS, Setting, time_jobs


class Scripted:
    """A stopwatch that gives 1, 2, 3, ... seconds, and a clock that they advance."""

    clock = "a script"

    def __init__(self):
        self.calls = []
        self.now_s = 100.0

    def seconds(self, call):
        self.calls.append(call())
        self.now_s += len(self.calls)
        return float(len(self.calls))

    def now(self):
        return self.now_s


def jobs(made, *counts):
    setting = Setting(2, 7.0)
    return [
        ("fp32", setting, made.operator(count=count), lambda name=name: lambda: name)
        for name, count in enumerate(counts)
    ]


def test_the_first_round_warms_up_and_all_others_count(made):
    watch = Scripted()
    found = time_jobs(jobs(made, 1, 1), watch, watch.now, until_s=0.0)
    assert watch.calls == [0, 1] * (1 + FEWEST_ROUNDS)
    assert [t.runs_s for t in found] == [(3.0, 5.0, 7.0), (4.0, 6.0, 8.0)]
    assert [t.seconds for t in found] == [5.0, 6.0]


def test_what_a_step_runs_often_is_timed_more_often(made):
    watch = Scripted()
    found = time_jobs(jobs(made, 1, 3, 50), watch, watch.now, until_s=0.0)
    assert [len(t.runs_s) for t in found] == [FEWEST_ROUNDS, 3 * FEWEST_ROUNDS, MOST_RUNS * FEWEST_ROUNDS]
    assert watch.calls[:3] == [0, 1, 2]


def test_rounds_go_on_until_the_time_is_up(made):
    watch = Scripted()
    shares = []
    found = time_jobs(jobs(made, 1), watch, watch.now, until_s=121.0, progress=shares.append)
    # 1 + 2 + ... + 6 = 21 seconds have gone after the sixth round.
    assert len(found[0].runs_s) == 5
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_an_operator_that_cannot_run_is_named(made):
    def fails():
        raise RuntimeError("not enough memory: you tried to allocate 1 byte\nmore of it")

    watch = Scripted()
    job = ("fp32", Setting(2, 7.0), made.operator(), lambda: fails)
    with pytest.raises(FedsimError) as fault:
        time_jobs([job], watch, watch.now, until_s=0.0)
    assert str(fault.value) == (
        "aten.mul.Tensor on float32[2x3] float32[2x3] of a step at 2 x 7 s cannot be run: "
        "not enough memory: you tried to allocate 1 byte"
    )


def test_a_setting_says_what_it_is():
    assert str(timing.Setting(4, 3.5)) == "4 x 3.5 s"


def test_one_thread_is_timed_by_the_processor_and_several_by_the_wall():
    assert isinstance(stopwatch("cpu", 1), ProcessorStopwatch)
    assert isinstance(stopwatch("cpu", 2), WallStopwatch)


def test_stopwatches_run_the_call_once_and_do_not_go_back():
    for watch in (ProcessorStopwatch(), WallStopwatch()):
        ran = []
        assert watch.seconds(lambda ran=ran: ran.append(1)) >= 0.0
        assert ran == [1]

"""Files that are almost right: each is used, or refused in one sentence that names it.

Two thousand changed files in the suite, a hundred thousand in ``make slow``, which prints how many of
each kind worked and were refused.
"""

from __future__ import annotations

import os
import resource
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kinds import Kind, Refused, beside, kinds
from mutations import BYTES, TREE, changed, damaged, edits
from run_files import run_kinds

from fedsim.errors import CONTROL, MOST_CHARACTERS, InputError

FAST, SLOW = int(os.environ.get("FUZZ_FAST", "2100")), 100_000
LONGEST_CPU_S = 5.0
KINDS = [*kinds(), *run_kinds()]
TOTAL = sum(kind.share for kind in KINDS)
SLOWLY = pytest.mark.slow


@pytest.fixture(scope="module")
def accumulator():
    """How many inputs of each kind worked and were refused; printed at the end."""
    counts: dict[str, Counter[str]] = {}
    yield counts
    print(f"\n{'inputs':28}{'changed':>9}{'worked':>9}{'refused':>9}{'longest':>10}")
    for name, count in counts.items():
        both = count["worked"] + count["refused"]
        print(f"{name:28}{both:>9,}{count['worked']:>9,}{count['refused']:>9,}{count['ms'] / 1000:>9.2f}s")
    both = sum(count["worked"] + count["refused"] for count in counts.values())
    print(f"{'all':28}{both:>9,}; at most {peak_bytes() / 1e6:,.0f} MB of memory")


def peak_bytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def refusal_of(kind: Kind, file) -> str | None:
    """None if the input is used; the sentence if it is refused. Anything else fails the test."""
    try:
        kind.read(file)
    except InputError as fault:  # which becomes exit code 2
        return str(fault)
    except Refused as fault:
        return str(fault)
    return None


def fuzz(kind: Kind, examples: int, folder, count: Counter[str], derandomize: bool) -> None:
    beside(folder)
    assert refusal_of(kind, kind.put(folder, kind.sound())) is None, "the unchanged file is used"

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=derandomize,
        suppress_health_check=list(HealthCheck),
    )
    @given(edits(TREE, 2), st.integers(0, 3), edits(BYTES, 2))
    def check(tree, which, raw):
        file = kind.put(folder, kind.sound() if which == 0 else changed(kind.sound(), tree))
        if which <= 1:
            victims = sorted(path for path in file.rglob("*") if path.is_file()) if file.is_dir() else [file]
            if victims:
                victim = victims[raw[0][2] % len(victims)]
                victim.write_bytes(damaged(victim.read_bytes(), raw))
        before = time.process_time()
        said = refusal_of(kind, file)
        took_s = time.process_time() - before
        assert took_s < LONGEST_CPU_S
        count["ms"] = max(count["ms"], round(took_s * 1000))
        count["worked" if said is None else "refused"] += 1
        if said is not None:
            assert not CONTROL.search(said)
            assert len(said) <= MOST_CHARACTERS + 20
            assert kind.file in said, said

    check()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_changed_file_is_used_or_refused(kind, tmp_path, accumulator, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "cache"))
    count = accumulator.setdefault(kind.name, Counter())
    fuzz(kind, max(5, round(FAST * kind.share / TOTAL)), tmp_path, count, derandomize=True)
    assert peak_bytes() < 2e9


@SLOWLY
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_hundred_thousand_changed_files(kind, tmp_path, accumulator, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDSIM_CACHE", str(tmp_path / "cache"))
    count = accumulator.setdefault(kind.name, Counter())
    share = float(os.environ.get("FEDSIM_FUZZ", "1"))
    fuzz(kind, round(share * SLOW * kind.share / TOTAL), tmp_path, count, derandomize=False)
    assert peak_bytes() < 2e9

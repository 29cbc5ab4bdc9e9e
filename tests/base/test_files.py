"""What the rooms share: files that are there whole or not at all, locks, words, equal parts, progress."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from fedsim import files, locks, progress
from fedsim.errors import InputError, RunError
from fedsim.fleet.workload import equal_parts
from fedsim.words import did_you_mean, shown


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path):
    file = tmp_path / "it.txt"
    files.write_text(file, "old\n")

    def cut_off():
        with files.replacing(file) as draft:
            draft.write_text("half of the n")
            assert file.read_text() == "old\n"
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        cut_off()
    assert [path.name for path in tmp_path.iterdir()] == ["it.txt"]
    assert file.read_text() == "old\n"
    files.write_bytes(file, b"new\r\n")
    assert file.read_bytes() == b"new\r\n"


def test_json_is_strict(tmp_path):
    files.write_json(tmp_path / "it.json", {1: np.float64(np.nan), "b": (np.int64(3), float("inf"), None)})
    assert files.read_json(tmp_path / "it.json", InputError) == {"1": None, "b": [3, None, None]}


def test_only_what_nobody_writes_any_more_is_removed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = [f".a.txt.{gone.pid}.tmp", f".a.txt.{os.getppid()}.tmp", f".b.txt.{gone.pid}.tmp", "a.txt"]
    for name in names:
        (tmp_path / name).touch()
    files.remove_temporary(tmp_path, "a.txt", shared=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
    files.remove_temporary(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_what_cannot_be_written_is_known_before(tmp_path):
    file = tmp_path / "it.txt"
    before, unheard = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, before[1]))
    try:
        files.try_to_write(file, 1_500_000)
        with pytest.raises(OSError, match="File too large") as fault:
            files.try_to_write(file, 1_500_001)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, unheard)
    assert fault.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_a_files_hash_is_that_of_its_bytes(tmp_path):
    content = bytes(range(256)) * 10_000
    (tmp_path / "it").write_bytes(content)
    assert files.sha256(tmp_path / "it") == hashlib.sha256(content).hexdigest()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        files.sha256(tmp_path / "none")


def test_a_directory_has_one_holder_who_is_named(tmp_path):
    held = locks.Lock(tmp_path / "lock", tmp_path)
    with pytest.raises(RunError, match=rf"written by another process \({os.getpid()}: fedsim.*wait for"):
        locks.Lock(tmp_path / "lock", tmp_path)
    held.close()
    assert list(tmp_path.iterdir()) == []
    again = locks.Lock(tmp_path / "lock", tmp_path)
    held.close()
    assert (tmp_path / "lock").exists()
    again.close()


HOLDING = """
import sys, time
from pathlib import Path
from fedsim import locks
with locks.scratch(Path(sys.argv[1]), ".making-") as work:
    print(work, flush=True)
    time.sleep(60)
"""


def test_a_scratch_folder_goes_with_its_process_and_no_sooner(tmp_path):
    command = [sys.executable, "-c", HOLDING, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        theirs = process.stdout.readline().strip()
        with locks.scratch(tmp_path, ".making-") as work:
            (work / "something").touch()
            assert {str(path) for path in tmp_path.iterdir()} == {theirs, str(work)}
            work.rename(tmp_path / "stays")
        process.kill()
    assert {path.name for path in tmp_path.iterdir()} == {theirs.rpartition("/")[2], "stays"}
    locks.remove_abandoned(tmp_path, ".making-")
    assert [path.name for path in tmp_path.iterdir()] == ["stays"]


def test_near_words_are_offered():
    assert did_you_mean("chorot", ["count", "cohort", "close"]) == "did you mean 'cohort'?"
    assert did_you_mean("colse", ["close", "closer", "x"]) == "did you mean 'close' or 'closer'?"
    assert did_you_mean("colse", ["close", "closer"], most=1) == "did you mean 'close'?"
    assert did_you_mean("zzz", ["close"]) == ""
    assert len(shown("a" * 100)) == 60


def test_the_largest_left_goes_to_the_part_that_holds_least():
    # 5 to the first, 4 to the second, 3 to the second's 4 (least), 3 to the first, 1 to the second.
    assert equal_parts(np.array([3, 5, 1, 4, 3]), 2).tolist() == [1, 0, 1, 1, 0]


def test_what_is_left_follows_from_what_was_done_here(monkeypatch):
    line, now = progress.Silent(), 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    line.begin(10, 4)
    assert line.left() == ""  # nobody can know
    line.done, now = 6, 120.0
    assert line.left() == "40 s"  # two in 20 s, four to go
    line.done = 10
    assert line.left() == ""

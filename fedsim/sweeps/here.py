"""Jobs in this process, one after another: the executor of one worker, and of tests."""

from __future__ import annotations

from collections import deque

from fedsim.sweeps.work import Done, Job, do


class Here:
    """An executor that computes when its next result is asked for."""

    shares_files = True

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Job]] = deque()

    def submit(self, number: int, job: Job) -> None:
        self._waiting.append((number, job))

    def next(self) -> tuple[int, Done]:
        """Do the job that has waited longest."""
        number, job = self._waiting.popleft()
        return number, do(job)

    def close(self) -> None: ...

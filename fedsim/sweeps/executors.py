"""Where jobs run: the seam between a sweep and the machines that compute it.

An executor takes jobs and gives what became of them, in the order in which they finish. A job whose
worker dies is tried again; after three deaths the job has failed, and the sweep goes on.
"""

from __future__ import annotations

from typing import Protocol

from fedsim.sweeps.work import Done, Job

ATTEMPTS = 3


class Executor(Protocol):
    """Runs jobs somewhere.

    Attributes:
        shares_files: whether its workers can write into the sweep's directory.
    """

    shares_files: bool

    def submit(self, number: int, job: Job) -> None:
        """Take a job; it begins when there is room."""
        ...

    def next(self) -> tuple[int, Done]:
        """Wait until one of the jobs taken is done; its number, and what became of it."""
        ...

    def close(self) -> None:
        """End all workers, at once; may be called twice."""
        ...


def death(reason: str) -> Done:
    """What became of a job whose workers died."""
    return Done(fault=f"its worker died {ATTEMPTS} times ({reason}); it may have run out of memory")

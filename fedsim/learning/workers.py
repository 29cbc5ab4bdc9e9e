"""Where clients are trained: in this process, or in persistent worker processes.

Both pools give the same results in the same order, whatever the number of workers: a job's result
depends on the job alone, and results are handed out in the order of the jobs. Weights travel
through shared memory: the rows of ``versions`` are global models, the rows of ``slots`` receive
trained ones. A slot is reused once its result has been consumed, so memory is bounded by the
number of workers and not by the number of clients.

Processes are spawned, once, when the pool is made; on every platform the program's main module
must therefore be guarded by ``if __name__ == "__main__"``. They end when the pool is closed, and
by themselves if this process is gone.
"""

from __future__ import annotations

import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any, Protocol

import numpy as np
import torch
import torch.multiprocessing
from numpy.typing import NDArray

from fedsim import children
from fedsim.errors import FedsimError
from fedsim.learning.federation import Federation
from fedsim.learning.local import Job, Trainer
from fedsim.learning.worker import serve

Answer = tuple[Any, NDArray[np.float32]]
_CLOSE_PATIENCE_S = 5.0


class Pool(Protocol):
    """Where clients are trained."""

    @property
    def versions(self) -> NDArray[np.float32]:
        """float32[versions, size]: the global models, to be written into."""
        ...

    def run(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """The results of ``jobs`` in order; the weights are valid until the next one is asked for."""
        ...

    def close(self) -> None:
        """End it."""
        ...


MakePool = Callable[[Federation, int, int, int, int], Pool]  # federation, seed, versions, size, workers


class InProcess:
    """A pool of one, without a process: computes here when results are asked for.

    Args:
        federation, seed: of the learner.
        versions: how many global models are kept.
        size: length of the vector that travels.
    """

    def __init__(self, federation: Federation, seed: int, versions: int, size: int) -> None:
        self.versions = np.zeros((versions, size), np.float32)
        self._out = np.zeros(size, np.float32)
        self._trainer = Trainer(federation, seed)

    def run(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """The results of ``jobs`` in order; the weights are valid until the next one is asked for."""
        for job in jobs:
            try:
                yield self._trainer.compute(job, self.versions[job.version], self._out), self._out
            except FedsimError:
                raise
            except Exception as fault:
                raise FedsimError(f"{job} failed: {type(fault).__name__}: {fault}") from fault

    def close(self) -> None:
        """Nothing to end."""


class Processes:
    """A pool of spawned worker processes; see :class:`InProcess` for the arguments.

    Raises:
        FedsimError: if there is not enough shared memory for the models.
    """

    def __init__(self, federation: Federation, seed: int, versions: int, size: int, workers: int) -> None:
        slots = 2 * workers
        _need_shared_memory(4 * size * (versions + slots))
        context = torch.multiprocessing.get_context("spawn")
        shared = torch.zeros((versions + slots, size), dtype=torch.float32)
        shared.share_memory_()  # type: ignore[no-untyped-call]
        rows = shared.numpy()
        self.versions, self._slots = rows[:versions], rows[versions:]
        self._shared = shared
        self._pipes: list[Any] = []
        self._processes: list[Any] = []
        self._ready = [False] * workers
        self._broken = False
        try:
            for number in range(workers):
                here, there = context.Pipe()
                process = context.Process(
                    target=serve,
                    args=(there, federation, seed, shared, versions),
                    name=f"fedsim-worker-{number}",
                    daemon=True,
                )
                with children.deaf():
                    process.start()
                there.close()
                self._pipes.append(here)
                self._processes.append(process)
        except BaseException:
            self.close()
            raise

    def run(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """The results of ``jobs`` in order; the weights are valid until the next one is asked for.

        Raises:
            FedsimError: if a worker fails or dies, or what it raised on purpose; all workers are then ended.
        """
        try:
            yield from self._run(jobs)
        except BaseException:
            self.close()
            raise

    def _run(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        if self._broken:
            raise FedsimError("the worker processes have ended; make a new learner")
        waiting = deque(range(len(jobs)))
        free = deque(range(len(self._slots)))
        busy: dict[int, tuple[int, int]] = {}
        done: dict[int, tuple[Any, int]] = {}
        for turn in range(len(jobs)):
            while turn not in done:
                for worker in range(len(self._pipes)):
                    if self._ready[worker] and worker not in busy and waiting and free:
                        busy[worker] = (waiting.popleft(), free.popleft())
                        self._send(worker, (jobs[busy[worker][0]], busy[worker][1]), jobs[busy[worker][0]])
                for worker in self._await(busy):
                    kind, value = self._receive(worker, jobs, busy)
                    if kind == "ready":
                        self._ready[worker] = True
                    else:
                        number, slot = busy.pop(worker)
                        done[number] = (value, slot)
            result, slot = done.pop(turn)
            yield result, self._slots[slot]
            free.append(slot)

    def _await(self, busy: dict[int, tuple[int, int]]) -> list[int]:
        """Workers that have something to say or are dead."""
        listening = [w for w in range(len(self._pipes)) if w in busy or not self._ready[w]]
        handles = {self._pipes[w]: w for w in listening} | {self._processes[w].sentinel: w for w in listening}
        return sorted({handles[handle] for handle in wait(list(handles))})

    def _send(self, worker: int, message: Any, job: Job) -> None:
        try:
            self._pipes[worker].send(message)
        except OSError:
            raise self._death(worker, str(job)) from None

    def _receive(self, worker: int, jobs: Sequence[Job], busy: dict[int, tuple[int, int]]) -> tuple[str, Any]:
        doing = str(jobs[busy[worker][0]]) if worker in busy else "starting"
        try:
            if not self._pipes[worker].poll():
                raise EOFError
            kind, value = self._pipes[worker].recv()
        except (EOFError, OSError):
            raise self._death(worker, doing) from None
        if kind == "refused":
            raise value
        if kind == "failed":
            raise FedsimError(f"{doing} failed in a worker process: {value}")
        return kind, value

    def _death(self, worker: int, doing: str) -> FedsimError:
        process = self._processes[worker]
        process.join(_CLOSE_PATIENCE_S)
        hint = "it may have run out of memory"
        if doing == "starting":
            hint += ', or the main module is not guarded by `if __name__ == "__main__"`'
        return FedsimError(f"a worker process died while {doing} (exit code {process.exitcode}); {hint}")

    def close(self) -> None:
        """End the workers: terminate, then kill. Safe to call twice."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.terminate()  # a worker holds nothing that it must put away
        for process in self._processes:
            process.join(_CLOSE_PATIENCE_S)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._pipes, self._processes, self._ready = [], [], []
        self._broken = True


def _need_shared_memory(wanted_bytes: int) -> None:
    if sys.platform != "linux":
        return
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        return
    if free < wanted_bytes:
        raise FedsimError(
            f"worker processes need {wanted_bytes / 1e6:.0f} MB of shared memory and /dev/shm has "
            f"{free / 1e6:.0f} MB free; use one worker, or give the container more (--shm-size)"
        )


def pool(federation: Federation, seed: int, versions: int, size: int, workers: int) -> InProcess | Processes:
    """In-process for one worker, spawned processes for more."""
    if workers <= 1:
        return InProcess(federation, seed, versions, size)
    return Processes(federation, seed, versions, size, workers)

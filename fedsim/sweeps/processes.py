"""Jobs in processes on this machine.

Workers are spawned when there is work for them, and do one job after another, so that what a job
reads and adds up is there for the next. They end with their parent. A worker that dies is replaced.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait

from fedsim import children
from fedsim.sweeps.executors import ATTEMPTS, death
from fedsim.sweeps.work import Done, Job, do

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _serve(pipe: Connection) -> None:
    """The life of a worker: do what comes through the pipe until it ends."""
    children.attend()
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(do(pipe.recv()))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Tell processes that start now to compute with one thread each: the workers share the cores."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Worker(children.Worker):
    job: int | None = None


class Processes:
    """An executor of spawned processes.

    Args:
        workers: at most so many at once.
    """

    shares_files = True

    def __init__(self, workers: int) -> None:
        self._most = workers
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._waiting: deque[int] = deque()
        self._jobs: dict[int, Job] = {}
        self._deaths: dict[int, int] = {}

    def submit(self, number: int, job: Job) -> None:
        self._jobs[number] = job
        self._waiting.append(number)
        self._hand_out()

    def next(self) -> tuple[int, Done]:
        """Wait until one of the jobs taken is done; its number, and what became of it."""
        while True:
            self._hand_out()
            busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
            for pipe in wait(list(busy)):
                worker = busy[pipe]
                number = worker.job
                assert number is not None
                worker.job = None
                try:
                    done = worker.pipe.recv()
                except (EOFError, OSError):
                    lost = self._died(worker, number)
                    if lost is None:
                        continue
                    done = lost
                del self._jobs[number]
                return number, done

    def _hand_out(self) -> None:
        idle = [worker for worker in self._workers if worker.job is None]
        while self._waiting:
            if not idle:
                if len(self._workers) >= self._most:
                    return
                idle.append(self._spawn())
            worker, number = idle.pop(), self._waiting.popleft()
            worker.job = number
            with contextlib.suppress(OSError):  # a dead one is noticed when its answer is awaited
                worker.pipe.send(self._jobs[number])

    def _spawn(self) -> _Worker:
        with _one_thread():
            worker = _Worker(self._context, _serve, (), f"fedsim-sweep-{len(self._workers)}", daemon=False)
        self._workers.append(worker)
        return worker

    def _died(self, worker: _Worker, number: int) -> Done | None:
        """A job's worker has died: the job again, or its failure if that happened too often."""
        worker.process.join(children.PATIENCE_S)
        code = worker.process.exitcode
        self._workers.remove(worker)
        worker.end()
        self._deaths[number] = self._deaths.get(number, 0) + 1
        if self._deaths[number] >= ATTEMPTS:
            return death(f"exit code {code}")
        self._waiting.appendleft(number)
        return None

    def close(self) -> None:
        """End all workers, at once; may be called twice."""
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()
        while self._workers:
            self._workers.pop().end()

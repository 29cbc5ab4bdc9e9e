"""Processes that work for this one: they do not hear Ctrl-C, and they end when it does.

Ctrl-C reaches every process of a terminal at once; what to do about it is the business of the one
that the user started. A parent that is killed cannot end its children, so each of them looks.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import Any

from fedsim.errors import FedsimError

_LOOK_EVERY_S = 0.5
PATIENCE_S = 5.0


def end_with(parent: int) -> None:
    """From now on this process ends when the process ``parent`` is no longer its parent."""
    threading.Thread(target=_look, args=(parent,), daemon=True).start()


def _look(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)


def attend() -> None:
    """Begin the life of a child that :mod:`multiprocessing` made."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        end_with(parent.pid)


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Processes that are started inside never hear Ctrl-C, not even before they can say so."""
    if not hasattr(signal, "pthread_sigmask"):  # pragma: no cover - Windows
        yield
        return
    resource_tracker.ensure_running()  # multiprocessing would start it with the first one, and unblock
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker:
    """A process that works for this one until it is ended, and the pipe to it.

    Args:
        context: of :mod:`multiprocessing`, or torch's.
        serve: what it does, given its end of the pipe and ``arguments``; it calls :func:`attend` first.
        arguments: more for ``serve``.
        name: of the process.
        daemon: whether it may have no children of its own.
    """

    def __init__(
        self, context: Any, serve: Callable[..., None], arguments: Iterable[Any], name: str, daemon: bool
    ) -> None:
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=serve, args=(there, *arguments), name=name, daemon=daemon)
        with deaf():
            self.process.start()
        there.close()

    def end(self) -> None:
        """Terminate it, and kill it if that does not help within :data:`PATIENCE_S`."""
        self.pipe.close()
        if self.process.is_alive():
            self.process.terminate()
        self.process.join(PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


@contextlib.contextmanager
def pool(workers: int, method: str) -> Iterator[ProcessPoolExecutor]:
    """Processes that share jobs; they are killed at once if the work inside does not come to its end.

    Args:
        workers: how many.
        method: ``spawn`` or ``fork``.

    Raises:
        FedsimError: if one of them dies.
    """
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context(method)
    executor = ProcessPoolExecutor(workers, context, initializer=attend)
    try:
        yield executor
    except BaseException as fault:
        for child in set(multiprocessing.active_children()) - before:
            child.kill()
        if isinstance(fault, BrokenProcessPool):
            raise FedsimError("a worker process died; it may have run out of memory") from None
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)

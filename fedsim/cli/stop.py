"""Ctrl-C and requests to end (SIGTERM, SIGHUP): the work stops, cleans up, and says how to go on.

The first one unwinds whatever is being done, as an exception. The second does not wait for that:
what works for us is killed and we are gone; what was finished is on the disk already.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from fedsim import errors

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(KeyboardInterrupt):
    """Somebody wants us to end.

    SimPy hands exceptions on as copies made of their ``args``, so all there is to know is in them.

    Args:
        number: of the signal.
        way_on: how to go on, in words.
    """

    def __init__(self, number: int = signal.SIGINT, way_on: str = "") -> None:
        super().__init__(number, way_on)
        self.exit_code = 128 + number

    def __str__(self) -> str:
        number, way_on = self.args
        what = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
        return "; ".join(filter(None, [what, way_on]))


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Turn the signals into :class:`Stopped`; one that was ignored before (nohup) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopped = False

    def hear(number: int, frame: FrameType | None) -> NoReturn:
        nonlocal stopped
        if not stopped:
            stopped = True
            raise Stopped(number, errors.way_on())
        _end_at_once(number)

    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if stopped else handler)  # we are going already


def _end_at_once(number: int) -> NoReturn:
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    with contextlib.suppress(OSError):
        os.write(2, f"\nfedsim: {Stopped(number, errors.way_on())}\n".encode())
    os._exit(128 + number)

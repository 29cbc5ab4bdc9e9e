"""Jobs on a Ray cluster: one that is there already, or one on this machine that ends with the sweep.

A job is a Ray task of one CPU. Jobs and what becomes of them travel as plain data, so the nodes need
no file system in common; they need fedsim installed, in the same version. Ray itself tries a task
again whose worker died. Ray is imported here and nowhere else, and only when it is asked for.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from fedsim import locks
from fedsim.errors import FedsimError, InputError
from fedsim.sweeps.executors import ATTEMPTS, death
from fedsim.sweeps.work import Done, Job, do
from fedsim.version import install

CONNECT_S = 5.0
JOIN_S = 60.0
_LONGEST_FOLDER = 40
"""Of a folder for Ray's files: what it adds comes close to the longest name that a socket may have."""
_PROBE = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False)"


def _endpoint(address: str) -> tuple[str, int] | None:
    """Host and port of an address such as ``10.0.0.5:6379`` or ``ray://head:10001``."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65_536:
        return None
    return host.strip("[]"), int(port)


def check(address: str) -> None:
    """Find out in bounded time whether a Ray cluster answers there.

    Raises:
        InputError: if it does not, or the address is none.
    """
    where = _endpoint(address)
    if where is None:
        raise InputError(
            f"--address {address}: is not the address of a Ray cluster; write it like 10.0.0.5:6379"
        )
    try:
        socket.create_connection(where, timeout=CONNECT_S).close()
    except OSError as fault:
        raise InputError(
            f"--address {address}: no Ray cluster can be reached there: {fault.strerror or fault}"
        ) from None
    try:
        subprocess.run(
            [sys.executable, "-c", _PROBE, address],
            check=True,
            timeout=JOIN_S,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"--address {address}: something answers there, but no Ray cluster") from None
    except subprocess.CalledProcessError:
        raise InputError(
            f"--address {address}: something answers there, but no Ray cluster that can be joined"
        ) from None


def require(address: str | None) -> None:
    """Find out whether Ray is here, and a cluster at the address if there is one.

    Raises:
        InputError: if not.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError(f"--executor ray needs Ray; install it with: {install('ray')}")
    if address is not None:
        check(address)


class RayCluster:
    """An executor on Ray.

    Args:
        workers: of a cluster on this machine: tasks at once.
        address: of a cluster that is there already; None starts one on this machine.

    Raises:
        FedsimError: if a cluster cannot be started here, or the one at the address not be joined.
    """

    shares_files = False

    def __init__(self, workers: int, address: str | None = None) -> None:
        import ray

        self._ray = ray
        self._numbers: dict[Any, int] = {}
        self._folder = contextlib.ExitStack()
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if address is not None:
            options["address"] = address
        else:
            options |= {"address": "local", "num_cpus": workers, "include_dashboard": False}
            folder = self._folder.enter_context(locks.scratch(Path(tempfile.gettempdir()), "fedsim-ray-"))
            if len(str(folder)) <= _LONGEST_FOLDER:
                options["_temp_dir"] = str(folder)
        terminated = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(**options)
        except Exception as fault:  # Ray raises its own and bare ones
            self._folder.close()
            said = str(fault).splitlines()
            raise FedsimError(f"Ray cannot be started: {said[0] if said else type(fault).__name__}") from None
        finally:
            if terminated is not None and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, terminated)  # Ray takes it for itself
        self._task = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(do)

    def submit(self, number: int, job: Job) -> None:
        self._numbers[self._task.remote(job)] = number

    def next(self) -> tuple[int, Done]:
        """Wait until one of the jobs taken is done; its number, and what became of it."""
        (reference,), _ = self._ray.wait(list(self._numbers), num_returns=1)
        number = self._numbers.pop(reference)
        try:
            done: Done = self._ray.get(reference)
        except self._ray.exceptions.RayError as fault:
            said = str(fault).splitlines()
            done = death(said[0] if said else type(fault).__name__)
        return number, done

    def close(self) -> None:
        """Leave the cluster, and end it if it was started for this sweep; may be called twice."""
        self._ray.shutdown()
        self._folder.close()

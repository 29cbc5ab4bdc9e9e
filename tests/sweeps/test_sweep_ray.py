"""Ray: the same bytes as on this machine, also when a worker is killed; and refusals in bounded time."""

import os
import signal
import socket
import sys
import time

import psutil
import pytest

from fedsim.errors import FedsimError, InputError
from fedsim.sweeps import ray_cluster, start
from fedsim.sweeps.here import Here

from .conftest import TIMING

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray itself, which leaves files open


def working(parent):
    """Ray's worker processes below ``parent`` that are doing a task now."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if process.cmdline()[:1] == ["ray::do"]:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_a_local_cluster_gives_the_same_bytes_with_a_worker_killed_in_the_middle(sweep_of, tmp_path):
    killed = []

    class Killing(ray_cluster.RayCluster):
        def next(self):
            until = time.monotonic() + 60
            while not killed and time.monotonic() < until:
                for pid in working(os.getpid())[:1]:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            return super().next()

    sweep = sweep_of(TIMING, "sweep: {seed: [1, 2], rounds.count: [3, 4]}")
    start(sweep, tmp_path / "here", Here)
    found = start(sweep, tmp_path / "there", lambda: Killing(2))
    assert len(killed) == 1
    assert (found.computed, found.failed) == (4, 0)
    assert (tmp_path / "here" / "sweep.parquet").read_bytes() == (
        tmp_path / "there" / "sweep.parquet"
    ).read_bytes()
    for run in (tmp_path / "here" / "points").glob("*-*"):
        for file in ("rounds.parquet", "clients.parquet", "summary.json", "scenario.yaml"):
            assert (run / file).read_bytes() == (tmp_path / "there" / "points" / run.name / file).read_bytes()


def test_ray_is_not_imported_unless_it_is_asked_for():
    import subprocess

    code = "import sys, fedsim.sweeps, fedsim.cli.sweep, fedsim.sweeps.ray_cluster as r; r.require(None); "
    code += "print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("address", ["nowhere", "host:", ":1", "host:99999", "ray://", "a:b"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InputError, match="is not the address of a Ray cluster"):
        ray_cluster.check(address)


def test_an_address_where_nothing_listens_is_refused():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=f"127.0.0.1:{port}: no Ray cluster can be reached there"):
        ray_cluster.check(f"127.0.0.1:{port}")


def test_an_address_where_something_else_listens_is_refused_in_bounded_time(monkeypatch):
    monkeypatch.setattr(ray_cluster, "JOIN_S", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        with pytest.raises(InputError, match="something answers there, but no Ray cluster"):
            ray_cluster.check(f"127.0.0.1:{mute.getsockname()[1]}")
    assert time.monotonic() - began < 60, "it must not hang"


def test_a_cluster_that_does_not_come_up_is_one_sentence(monkeypatch):
    """On a busy machine Ray gives up with a bare Exception."""

    def init(**_options):
        raise Exception("The current node timed out during startup.\nThis could happen because ...")

    monkeypatch.setattr("ray.init", init)
    said = r"^Ray cannot be started: The current node timed out during startup\.$"
    with pytest.raises(FedsimError, match=said):
        ray_cluster.RayCluster(2)

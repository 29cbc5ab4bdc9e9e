"""How long a client takes from being asked to its first step, in processes that are started for it.

Each imports PyTorch and transformers, makes a model, its optimizer and a batch on the device, and says
that it is ready: the time counts from the start of the process to that word. Of several runs the median
counts, so files are in memory as on a client that was asked before; the first run after booting takes
longer. Weights are drawn, not read: reading them is part of the download.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from fedsim.errors import FedsimError

RUNS = 5

_CLIENT = """
import sys
import torch, transformers
device, threads, config, batch, samples = sys.argv[1:]
torch.set_num_threads(int(threads))
config = transformers.Wav2Vec2Config.from_json_file(config)
model = transformers.Wav2Vec2ForPreTraining(config).to(device).train()
optimizer = torch.optim.Adam(model.parameters())
batch = torch.randn(int(batch), int(samples)).to(device)
batch.sum().item()
print("ready", flush=True)
"""


def startup_s(
    device: str,
    threads: int,
    config: str,
    batch: int,
    samples: int,
    runs: int = RUNS,
    now: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds from the start of a process to its first step, the median of ``runs``.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        threads: that compute.
        config: the file of a configuration of wav2vec 2.0.
        batch: examples in the batch that is made.
        samples: of each.
        runs: processes to start, one after another.
        now: seconds by the wall.

    Raises:
        FedsimError: a process failed.
    """
    asked = [device, str(threads), config, str(batch), str(samples)]
    return float(
        median(_once([sys.executable, "-W", "ignore", "-c", _CLIENT, *asked], now) for _ in range(runs))
    )


def _once(command: list[str], now: Callable[[], float]) -> float:
    environment = {**os.environ, "TRANSFORMERS_VERBOSITY": "error"}
    start = now()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        seconds = now() - start
        errors = process.communicate()[1].strip().splitlines()
    if said != "ready" or process.returncode:
        last = (errors or ["it printed nothing"])[-1]
        raise FedsimError(f"the process whose start was to be timed failed: {last}")
    return seconds

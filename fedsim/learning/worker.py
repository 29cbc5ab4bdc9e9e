"""The life of one worker process: get ready, compute what is asked, leave when the pipe ends."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from fedsim import children
from fedsim.errors import FedsimError
from fedsim.learning.federation import Federation
from fedsim.learning.local import Trainer


def serve(pipe: Any, federation: Federation, seed: int, shared: torch.Tensor, versions: int) -> None:
    """Answer jobs until the other end of the pipe is closed or gone.

    Says ("ready", None) once, then ("done", result) for each (job, slot) received; or ("refused", error)
    for what is raised on purpose, such as bad input, and ("failed", text) for anything else.
    """
    children.attend()
    with contextlib.suppress(EOFError, OSError):
        try:
            torch.set_num_threads(1)
            rows = shared.numpy()
            trainer = Trainer(federation, seed)
            pipe.send(("ready", None))
            while True:
                job, slot = pipe.recv()
                result = trainer.compute(job, rows[job.version], rows[versions + slot])
                pipe.send(("done", result))
        except (EOFError, OSError):
            raise
        except FedsimError as error:
            pipe.send(("refused", error))
        except Exception as error:
            pipe.send(("failed", f"{type(error).__name__}: {error}"))

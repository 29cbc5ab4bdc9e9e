"""fedsim: can this fleet of real devices train this speech model, how long does it take, what breaks?

    import fedsim

    run = fedsim.run("quickstart")              # a run directory, with pandas frames
    run.rounds, run.clients, run.convergence, run.summary
    fedsim.load("runs/quickstart")              # the same, later
    fedsim.cost("jetson-xavier-nx", "wav2vec2-base", batch=4, seconds=5.5)
    fedsim.sweep("my-sweep.yaml")               # a row for each point

Everything else is the command line's (``fedsim --help``) or a room's own and may change.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["FedsimError", "InputError", "__version__", "cost", "load", "run", "sweep"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and nothing before."""
    import importlib

    if name in ("run", "cost", "sweep"):
        return importlib.import_module(f"fedsim.{name}")
    if name in ("FedsimError", "InputError"):
        return getattr(importlib.import_module("fedsim.errors"), name)
    if name == "load":
        return importlib.import_module("fedsim.api").load
    raise AttributeError(f"module 'fedsim' has no attribute {name!r}")

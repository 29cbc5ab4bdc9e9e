"""fedsim: can this fleet of real devices train this model, how long does it take, what breaks?

    import fedsim

    run = fedsim.run("quickstart")              # a run directory, with pandas frames
    run.rounds, run.clients, run.convergence, run.summary
    fedsim.load("runs/quickstart")              # the same, later
    fedsim.cost("jetson-xavier-nx", "wav2vec2-base", batch=4, seconds=5.5)
    fedsim.sweep("my-sweep.yaml")               # a row for each point
    fedsim.trace("wav2vec2-tiny", "my-traces")  # a layer trace, from the model itself

Everything else is the command line's (``fedsim --help``) or a room's own and may change.
"""

from fedsim.api import cost, load, run, sweep, trace
from fedsim.errors import FedsimError, InputError
from fedsim.plugins import plugin
from fedsim.version import __version__

__all__ = ["FedsimError", "InputError", "__version__", "cost", "load", "plugin", "run", "sweep", "trace"]

"""fedsim from Python: what the verbs do, with pandas frames and plain data instead of text.

These are ``fedsim.run``, ``load``, ``cost``, ``sweep`` and ``trace``.
Bad input raises :class:`~fedsim.errors.InputError`, whose text is the sentence that the command
line prints; any other :class:`~fedsim.errors.FedsimError` is a fault on the way.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from torch.nn import Module

    from fedsim.results import Run
    from fedsim.scenario import Loaded
    from fedsim.tasks import Task


def run(
    scenario: str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    seed: int | None = None,
    workers: int = 2,
    report: bool = False,
    allow_outside: bool = False,
    draws: int | None = None,
) -> Run:
    """Run a scenario and open its run directory.

    Args:
        scenario: a YAML file, a name from ``scenarios/`` such as ``quickstart``, or the scenario's
            blocks as a mapping.
        out: the run directory; by default ``runs/<name>``, or ``<name>-2``, ... if that exists.
        changes: values by key path, such as ``{"rounds.count": 50, "fleet.mix[0].share": 1.0}``.
        seed: used instead of the scenario's.
        workers: processes for real training; the result does not depend on it. They are spawned,
            so a script that trains calls this below ``if __name__ == "__main__":``.
        report: whether to draw the figures and write ``report.html`` too.
        allow_outside: whether a scenario file, and a manifest that it names, may use files outside of
            their folders; ``changes`` and a mapping may name any file.
        draws: how often the clock is repeated under drawn speeds of the devices, for the intervals in
            ``summary``; by default as often as makes 10,000 client-rounds, from 10 to 100; 0: no intervals.

    Returns:
        The run: ``rounds``, ``clients`` and ``convergence`` are frames, ``summary`` and ``scenario``
        are plain data, ``path`` is the run directory.

    Raises:
        InputError: the scenario cannot be run, or ``out`` holds something already.
        FedsimError: a fault on the way; every finished round is kept in the run directory.
    """
    import fedsim.simulation.execute as execute
    from fedsim.report import build
    from fedsim.simulation.repeats import checked_draws

    with tempfile.TemporaryDirectory() as folder, _plainly(folder):
        loaded = _loaded(
            scenario, {**(changes or {}), **({} if seed is None else {"seed": seed})}, folder, allow_outside
        )
        directory = execute.run(
            loaded,
            None if out is None else Path(out),
            workers=workers,
            command=["fedsim.run"],
            draws=checked_draws(draws),
        )
    if report:
        build.write(directory)
    return load(directory)


def load(run_dir: str | Path) -> Run:
    """Open a run directory, finished or not; its tables are read when they are asked for.

    Raises:
        RunError: it is not a run directory, or it is damaged.
    """
    from fedsim import results

    return results.load(run_dir)


def cost(
    device: str,
    model: str,
    *,
    batch: int = 1,
    seconds: float | None = None,
    sizes: Mapping[str, int] | None = None,
    **technique: Any,
) -> dict[str, Any]:
    """Price one training step: what ``fedsim cost --json`` prints.

    Args:
        device: a name from ``hardware/`` or a device file.
        model: a name from ``traces/`` or a trace file.
        batch: examples a step.
        seconds: of the longest sentence, to which the others are padded, for models on speech; 5.5 by
            default.
        sizes: for any model, the size of the largest example by its name: ``{"tokens": 128}``.
        technique: ``precision``, ``optimizer``, ``attention``, ``checkpointing``, ``train`` (such as
            ``"lora:8"``), ``depth``, ``accumulate``, ...: what :meth:`fedsim.pricing.Technique.of` takes.

    Returns:
        FLOPs, bytes and seconds, each in all and by part; whether it fits; how the device's rates
        are known.

    Raises:
        InputError: an unknown name or technique, or a size that the model does not have.
    """
    from fedsim.errors import InputError
    from fedsim.pricing.answer import answer, pricer_of

    if batch < 1:
        raise InputError(f"a batch of {batch} examples is none; give at least 1")
    pricer, samples = pricer_of(device, model, seconds, sizes, **technique)
    return answer(pricer, batch, samples)


def sweep(
    file: str | Path,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    workers: int = 2,
    allow_outside: bool = False,
    draws: int = 10,
) -> pd.DataFrame:
    """Run a sweep with processes of this machine, and give its table.

    Args:
        file: a scenario with a ``sweep`` block, or a name from ``scenarios/sweeps/``.
        out: the sweep's directory; by default ``runs/<name>``, or ``<name>-2``, ... if that exists.
        changes: values by key path, for keys that are no axis.
        workers: points computed at once. They are spawned, so a script calls this below
            ``if __name__ == "__main__":``.
        allow_outside: whether it, and a manifest that it names, may use files outside of their folders.
        draws: how often each point's clock is repeated under drawn speeds of its devices, for the columns
            ``interval.*.low`` and ``.high``; 0: none.

    Returns:
        ``sweep.parquet``: a row a point, its parameters and every figure of its summary. Its
        directory is ``attrs["directory"]``.

    Raises:
        InputError: anything in the file is wrong, or ``out`` holds something already.
    """
    import pandas as pd

    import fedsim.sweeps as conduct
    from fedsim import yamlfile
    from fedsim.scenario.file_access import allowed
    from fedsim.scenario.sweep import load as load_sweep
    from fedsim.simulation.repeats import checked_draws
    from fedsim.sweeps.processes import Processes
    from fedsim.sweeps.store import Store

    texts = [
        f"{key}={yamlfile.dump([value], flow=True).strip()[1:-1]}" for key, value in (changes or {}).items()
    ]
    found = conduct.start(
        load_sweep(file, texts, allowed(allow_outside)),
        None if out is None else Path(out),
        lambda: Processes(workers),
        store=Store(),
        command=["fedsim.sweep"],
        draws=checked_draws(draws) or 0,
    )
    frame = pd.read_parquet(found.directory / "sweep.parquet")
    frame.attrs["directory"] = str(found.directory)
    return frame


def trace(
    model: str | Path | Task | Module | Callable[[], Module],
    out: str | Path,
    *,
    name: str | None = None,
    batch: Callable[..., Any] | None = None,
    loss: Callable[[Any, Any], Any] | None = None,
    sizes: str | Sequence[str] | Mapping[str, int] = (),
    workers: int = 2,
) -> Path:
    """Trace a model on fake tensors, verify the trace against it, and write it; no weights are allocated.

    Any module of torch can be traced, with a function that makes its batches and one that gives its loss:

        fedsim.trace(
            net, "traces", name="net", sizes="tokens",
            batch=lambda n, tokens: torch.zeros(n, tokens, dtype=torch.int64),
            loss=lambda net, ids: net(input_ids=ids, labels=ids).loss,
        )

    Args:
        model: a name that fedsim knows, a transformers configuration (a JSON file), a task; or, with
            ``batch`` and ``loss``, a module of torch or a function that builds one.
        out: the folder to write to.
        name: what to call it; by default as it is called already (a module: as its class).
        batch: ``batch(n)`` gives a batch of n examples, ``batch(n, size)`` if they have a size, and so on.
        loss: ``loss(model, batch)`` gives the loss, a scalar tensor.
        sizes: what the size of examples is called, if it is not the same for all: ``tokens``, or several
            names; ``{"pixels": 224}`` names one at which the model runs, if it does not at 128.
        workers: processes that share the variants; the result does not depend on it.

    Returns:
        The layer trace, ``<out>/<name>.json``.

    Raises:
        TraceError: there is no such model, or it cannot be traced.
        FedsimError: the folder cannot be written to.
    """
    from fedsim.errors import TraceError
    from fedsim.tasks import Task
    from fedsim.tracing import configs, module
    from fedsim.tracing import trace as tracing

    thing: Any
    if isinstance(model, Task):
        thing, called = model, name or model.model_name
    elif not isinstance(model, str | Path):
        if batch is None or loss is None:
            raise TraceError(
                "a module is traced with batch=, which makes batches, and loss=, which gives its loss"
            )
        called = name or str(getattr(model, "__name__", type(model).__name__))
        thing = module.Module(called, model, batch, loss, module.usual_sizes(sizes))
    elif str(model) in configs.names():
        thing, called = configs.named(str(model)), name or str(model)
    else:
        thing, called = configs.read(Path(model)), name or Path(model).stem
    tracing.check_writable(Path(out), called)
    return tracing.write(tracing.trace(thing, called, workers=workers), Path(out))


@contextmanager
def _plainly(folder: str) -> Iterator[None]:
    """What is wrong with content is not said of the file that it was written to for a while."""
    from fedsim.errors import InputError

    try:
        yield
    except InputError as error:
        if error.file is None or not Path(error.file).is_relative_to(folder):
            raise
        plain = type(error)(error.message, file="scenario", key=error.key)
        plain.way_on = error.way_on
        raise plain from None


def _loaded(
    scenario: str | Path | Mapping[str, Any], changes: Mapping[str, Any], folder: str, outside: bool
) -> Loaded:
    """A scenario by name, file or content; content is written to ``folder`` first."""
    from fedsim import scenario as scenarios
    from fedsim import yamlfile
    from fedsim.scenario.file_access import ANYWHERE, allowed

    if not isinstance(scenario, Mapping):
        return scenarios.load(scenario, changes.items(), allowed(outside))
    content = copy.deepcopy(dict(scenario))
    scenarios.build(content, Path("scenario"), ANYWHERE)  # says what is wrong without a file
    file = Path(folder) / f"{scenario.get('name', 'scenario')}.yaml"
    file.write_text(yamlfile.dump(dict(scenario)), encoding="utf-8")
    return scenarios.load(file, changes.items(), ANYWHERE)

"""``fedsim trace``: run models on fake tensors and write their layer traces."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from fedsim import paths
from fedsim.cli.plugin import plugin
from fedsim.errors import TraceError, going_on
from fedsim.words import plural


@click.command(name="trace")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--config", type=click.Path(path_type=Path), help="A transformers configuration (JSON) to trace."
)
@click.option(
    "--task",
    metavar="FILE:NAME",
    help="A task of your own to trace, or anything with its methods for tracing: my_module.py:MyTask.",
)
@click.option("--name", help="What to call the model of --config or --task; its own name by default.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to; the catalogue by default.")
@click.option(
    "--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes to share it."
)
@plugin
@click.option("--quiet", is_flag=True, help="Print the paths of the traces and nothing else.")
def command(
    models: tuple[str, ...],
    config: Path | None,
    task: str | None,
    name: str | None,
    out: Path | None,
    workers: int,
    quiet: bool,
) -> None:
    """Trace MODELs (all that fedsim knows by default): no weights are allocated.

    A task is traced by its name, with its options' defaults. A configuration of transformers is trained as
    its architecture says; docs/guide/traces.md lists what was tried.

    Each trace is verified against the model before it is written.
    """
    if sum([bool(models), config is not None, task is not None]) > 1:
        raise TraceError("give either names of models, --config or --task, not several of them")
    if name is not None and config is None and task is None:
        raise TraceError("--name names the model of --config or --task, which is missing")
    import time

    folder = out or paths.data_dir("traces")
    way_on = "of what was not traced nothing was written; start it again"
    with going_on(way_on, folder):  # Ctrl-C may come while PyTorch is loaded
        from rich.console import Console

        from fedsim.pricing.answer import doubt
        from fedsim.tasks import Task
        from fedsim.tracing import configs, taskfile
        from fedsim.tracing.trace import check_writable, trace, write

    wanted: dict[str, Any]
    if task is not None:
        found = taskfile.load(task)
        wanted = {name or (found.model_name if isinstance(found, Task) else found.name): found}
    elif config is not None:
        wanted = {name or config.stem: configs.read(config)}
    else:
        wanted = {model: configs.named(model) for model in models or configs.names()}
    console = Console()
    for model, model_config in wanted.items():
        start = time.monotonic()
        check_writable(folder, model)
        with going_on(way_on, folder):
            with contextlib.nullcontext() if quiet else console.status(f"tracing {model}"):
                content = trace(model_config, model, workers=workers)
            path = write(content, folder)
        if quiet:
            click.echo(path)
            continue
        variants = sum("@" not in v for v in content["graph"]["variants"])
        held = doubt(content["graph"]["exact"], content["graph"]["largest_error"]) or "verified"
        click.echo(
            f"{path}: {plural(len(content['nodes']), 'layer')}, {plural(variants, 'variant')}, {held}"
            f" ({time.monotonic() - start:.0f} s)"
        )

"""What the shell may complete: names of the catalogue, as well as files."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names(folder: str, suffix: str) -> Complete:
    """A completer for an argument that is a name from a folder of the catalogue, or a file."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from fedsim import paths

        root = paths.data_dir(folder)
        found = sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob(f"*{suffix}"))
        known = [CompletionItem(name) for name in found if name.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file"), *known]  # bash forgets what comes before a file

    return complete


SCENARIO = names("scenarios", ".yaml")
DEVICE = names("hardware", ".yaml")
MODEL = names("traces", ".json")
SWEEP = names("scenarios/sweeps", ".yaml")
TREND = names("hardware/trends", ".yaml")

"""``--allow-outside``: how a scenario, manifest or run directory may reach out of its folder."""

from __future__ import annotations

import click

allow_outside = click.option(
    "--allow-outside",
    "outside",
    is_flag=True,
    help="Trust it: let it, and a manifest that it names, use files outside of their folders.",
)

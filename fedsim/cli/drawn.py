"""The option ``--draws``: how often the clock is repeated under drawn speeds of the devices."""

from __future__ import annotations

import click

drawn = click.option(
    "--draws",
    type=click.IntRange(0, 10_000),
    help="Repeats of the clock under drawn speeds of the devices, for intervals; 0: none [default: as many "
    "as make 10,000 client-rounds, from 10 to 100].",
)

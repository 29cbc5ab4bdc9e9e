"""``fedsim devices``: list the catalogue, or show one device with its sources and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fedsim.cli.complete import MODEL
from fedsim.cli.size import sized

if TYPE_CHECKING:
    from fedsim.cli.device_data import AskedStep

_FAMILIES = ("raspberry-pi", "jetson", "phone", "laptop", "gpu", "host")
_STATUSES = ("calibrated", "inferred", "measured")
_SORT_KEYS = ("name", "family", "released", "memory", "fp32", "fp16", "bandwidth", "power")


@click.command(name="devices", short_help="List the devices, or show one with its sources.")
@click.argument("name", required=False)
@click.option("--family", multiple=True, type=click.Choice(_FAMILIES), help="Only this family; repeatable.")
@click.option("--backend", multiple=True, type=click.Choice(("cpu", "cuda")), help="Only this backend.")
@click.option("--status", multiple=True, type=click.Choice(_STATUSES), help="Only these step times.")
@click.option("--min-memory", metavar="SIZE", help="At least this much memory, such as 8GiB.")
@click.option("--max-memory", metavar="SIZE", help="At most this much; a board sold as 8 GB has 8GiB.")
@click.option("--min-fp32", metavar="RATE", help="At least this peak, such as 1TFLOP/s.")
@click.option("--released-after", type=int, metavar="YEAR", help="First sold later than YEAR.")
@click.option("--released-before", type=int, metavar="YEAR", help="First sold earlier than YEAR.")
@click.option("--sort", multiple=True, type=click.Choice(_SORT_KEYS), help="Repeatable; first counts most.")
@click.option("--reverse", is_flag=True, help="The largest first.")
@click.option(
    "--model", "-m", shell_complete=MODEL, help="Price a plain step of this model on each: does it fit?"
)
@click.option("--batch", "-b", type=click.IntRange(1, 65_536), help="Examples of that step.  [default: 4]")
@sized
@click.option("--calibration", is_flag=True, help="Measured steps beside their predictions.")
@click.option("--record", is_flag=True, help="Published steps beside what their kind foretells.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def command(
    name: str | None,
    family: tuple[str, ...],
    backend: tuple[str, ...],
    status: tuple[str, ...],
    min_memory: str | None,
    max_memory: str | None,
    min_fp32: str | None,
    released_after: int | None,
    released_before: int | None,
    sort: tuple[str, ...],
    reverse: bool,
    model: str | None,
    batch: int | None,
    seconds: float | None,
    sizes: dict[str, int],
    calibration: bool,
    record: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List the devices of the catalogue, or show NAME (or NAME@MODE, or a YAML file).

    Step times are calibrated (fitted to measured training steps of the device), inferred (from what
    the measured devices of its kind have in common) or measured (by micro-benchmarks on the device).
    With --model, what a step of it takes and needs there: in fp32, Adam, nothing else.
    """
    from fedsim import units
    from fedsim.cli import device_text
    from fedsim.errors import InputError
    from fedsim.hardware import catalogue, load_device
    from fedsim.hardware.select import Filter, select
    from fedsim.pricing.calibration import status_of

    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other; give one")
    form = "json" if as_json else "csv" if as_csv else "text"
    asked = _asked(model, batch, seconds, sizes)
    if asked is not None and (calibration or record):
        shows = "--calibration" if calibration else "--record"
        raise InputError(f"{shows} shows steps that were measured, --model one that was not; give one")
    if record:
        from fedsim.cli import record_text

        if calibration:
            raise InputError("--calibration and --record exclude each other; give one")
        record_text.show([load_device(name)] if name is not None else None, form)
        return
    if name is not None:
        device = load_device(name)
        device_text.residuals([device], form) if calibration else device_text.one(device, form, asked)
        return
    keep = Filter(
        families=family,
        backends=backend,
        min_memory_bytes=_parsed(units.parse_bytes, min_memory, "--min-memory"),
        max_memory_bytes=_parsed(units.parse_bytes, max_memory, "--max-memory"),
        released_after=released_after,
        released_before=released_before,
        min_fp32_flops_per_s=_parsed(units.parse_flops_per_s, min_fp32, "--min-fp32"),
    )
    default = ("name",) if calibration else ("family", "released")
    found = select(catalogue(), keep, sort or default, reverse)
    found = [device for device in found if not status or status_of(device) in status]
    device_text.residuals(found, form) if calibration else device_text.many(found, form, asked)


def _asked(
    model: str | None, batch: int | None, seconds: float | None, sizes: dict[str, int]
) -> AskedStep | None:
    """The step to price on each device, if a model is named.

    Raises:
        InputError: there is no such model, or the size is not one of its.
    """
    from fedsim.cli.device_data import AskedStep
    from fedsim.errors import InputError
    from fedsim.pricing import load_trace
    from fedsim.pricing.sizes import settled

    if model is None:
        if batch is not None or seconds is not None or sizes:
            raise InputError("a batch or a size without a model says nothing; give --model too")
        return None
    trace, size = settled(load_trace(model), seconds, sizes)
    return AskedStep(trace, batch or 4, size)


def _parsed(parse: object, text: str | None, option: str) -> float | None:
    """An option's text as a number in SI units."""
    from fedsim.errors import InputError

    if text is None:
        return None
    try:
        return float(parse(text))  # type: ignore[operator]
    except ValueError as fault:
        raise InputError(str(fault), key=option) from None

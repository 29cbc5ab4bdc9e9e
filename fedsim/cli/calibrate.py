"""``fedsim calibrate``: measure this machine and write a device file for it."""

from __future__ import annotations

from pathlib import Path

import click

from fedsim.errors import going_on


@click.command(name="calibrate")
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda", "mps"]),
    default="cpu",
    show_default=True,
    help="mps: the GPU of a Mac.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("host.yaml"),
    show_default=True,
    help="Device file to write; the raw times go beside it.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    show_default=True,
    help="Time to spend on operators; four rounds over all of them at least.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads that compute; torch's choice by default.")
@click.option(
    "--share",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="One file to contribute as well: the device file, with a few real steps and the versions that ran.",
)
@click.option("--quiet", is_flag=True, help="Print the path of the device file and nothing else.")
def command(
    device: str, out: Path, minutes: float, threads: int | None, share: Path | None, quiet: bool
) -> None:
    """Measure this machine and write a device file for it.

    Every operator of a wav2vec 2.0 training step is timed on its own, and so is the start of a process
    that trains; no step is run, but for --share. The file can stand wherever a device's name can:
    fedsim cost --device ./host.yaml. Let the machine do nothing else meanwhile.
    """
    way_on = "nothing was written; start it again"
    with going_on(way_on, out):  # Ctrl-C may come while PyTorch is loaded
        from fedsim import printing
        from fedsim.hardware import load_device
        from fedsim.measure import calibrate as measuring
        from fedsim.measure import device_file, steps
        from fedsim.measure.show import table

    device_file.check_writable(out, share)
    threads = measuring.check(device, threads)
    console = printing.console(quiet)
    with going_on(way_on, out):
        with console.status("looking at the machine") as status:

            def progress(what: str, share: float) -> None:
                status.update(f"{what}: {share:.0%}" if share else what)

            found = measuring.calibrate(device, threads, minutes, progress)
        printing.put(table(found), found.circumstances.source, to=console)
        paths = device_file.write(
            out, found.host, found.rates, found.probes, found.timed, found.circumstances
        )
        if share is not None:
            with console.status("real training steps"):
                timed = steps.run(load_device(str(out)), device, measuring.MODEL, measuring.SETTINGS, threads)
            device_file.write_share(share, found.host, found.rates, found.circumstances, timed)
    shared = [] if share is None else [share]
    for line in [str(out)] if quiet else [f"wrote {path}" for path in (*paths, *shared)]:
        click.echo(line)

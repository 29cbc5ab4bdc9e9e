"""``fedsim feasible``: the first hardware year in which training becomes practical, and what binds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedsim.cli.complete import DEVICE, MODEL, TREND

if TYPE_CHECKING:
    from fedsim.feasible.grid import Grid
    from fedsim.pricing import LayerTrace, Technique

_DEVICES = ("jetson-xavier-nx", "jetson-agx-xavier", "macbook-pro-2019", "raspberry-pi-4")
_MOST_DRAWS = 1_000_000


@click.command(name="feasible", short_help="Find the year in which training becomes practical.")
@click.option(
    "--device", "-d", multiple=True, shell_complete=DEVICE, help="Repeatable.  [default: the paper's four]"
)
@click.option(
    "--model", "-m", multiple=True, default=["wav2vec2-base"], show_default=True, shell_complete=MODEL
)
@click.option(
    "--seconds", "-s", multiple=True, type=float, help="Of an average sentence; repeatable.  [default: 5.5]"
)
@click.option("--tokens", multiple=True, type=int, metavar="N", help="Of an average text; repeatable.")
@click.option(
    "--size", multiple=True, metavar="NAME=N", help="Of an average example of any model; repeatable."
)
@click.option("--longest", type=float, help="Of the largest one, in the same unit: it decides memory.")
@click.option("--batch", "-b", type=click.IntRange(1, 65_536), default=4, show_default=True)
@click.option(
    "--trend", "-t", multiple=True, default=["gao2022", "epoch"], show_default=True, shell_complete=TREND
)
@click.option(
    "--precision", multiple=True, default=["fp32"], help="fp32, mixed, bf16, tf32, fp32-strict; repeatable."
)
@click.option("--optimizer", multiple=True, default=["adam"], help="As for fedsim cost; repeatable.")
@click.option("--attention", multiple=True, default=["eager"], help="eager, sdpa; repeatable.")
@click.option("--checkpointing", multiple=True, default=["none"], help="none, transformer, cnn, both.")
@click.option(
    "--train", default="all", show_default=True, help="all, head, biases, last:2, layer:6, lora:8, ..."
)
@click.option("--freeze-cnn", is_flag=True, help="The same as --train frozen-cnn.")
@click.option("--depth", type=int, help="How many layers run; all by default.")
@click.option("--release-gradients", is_flag=True, help="Step inside the backward pass.")
@click.option("--forward-only", is_flag=True, help="Zeroth-order steps: two forward passes.")
@click.option("--accumulate", type=int, default=1, show_default=True, help="Micro-batches a step.")
@click.option("--best", is_flag=True, help="Of all techniques that learn the same, the earliest.")
@click.option(
    "--parity",
    default="nvidia-a40",
    show_default=True,
    shell_complete=DEVICE,
    help="A device to equal, or none.",
)
@click.option("--pressure", default="usual", show_default=True, help="dedicated, laptop, phone, none, 2GB.")
@click.option("--within", type=float, metavar="DAYS", help="In which the procedure has to finish.")
@click.option("--budget", metavar="ENERGY", help="A client's for the procedure, such as 20kWh.")
@click.option("--battery", type=float, metavar="SHARE", help="Of its battery that a round may take: 0.5.")
@click.option("--rounds", type=click.IntRange(1), default=150, show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=1, show_default=True, help="A round.")
@click.option("--speech", type=float, metavar="HOURS", help="Of a client.  [default: the paper's 29.8]")
@click.option(
    "--examples",
    type=click.IntRange(1, 10**9),
    metavar="N",
    help="Of a client, for a model that is not on speech.  [default: the paper's 19500]",
)
@click.option("--draws", type=int, metavar="N", help="Draw uncertain growth so often.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the draws.")
@click.option("--horizon", type=click.IntRange(2027, 2200), default=2060, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write JSON and a picture.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(out: Path | None, as_json: bool, **asked: Any) -> None:
    """Find the first year in which training fits beside other programs, equals an A40 in speed and memory,
    and finishes the paper's procedure in time and within a budget; say which of these binds.

    Without --draws the growth is the trend's own, and years in brackets are those of a device as fast and
    as slow as it may be (a 90% interval of its speed); with it, doubling times are drawn from their ranges,
    and the speed is as priced. Memory is not drawn.
    """
    import json

    from fedsim.cli import feasible_text
    from fedsim.errors import InputError

    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give a folder", key="--out")
    answers = ask(**asked)
    if out is not None:
        write(answers, out)
    if as_json:
        click.echo(json.dumps(answers.as_dict(), indent=1))
    else:
        feasible_text.show(answers)


def ask(**asked: Any) -> Any:
    """Check what was asked, and answer it: a :class:`~fedsim.feasible.study.Study`."""
    from fedsim.errors import InputError
    from fedsim.feasible.study import study
    from fedsim.hardware import load_trend

    draws = asked["draws"]
    if draws is not None and not 1 <= draws <= _MOST_DRAWS:
        raise InputError(f"{draws} draws give no distribution; give 1 to {_MOST_DRAWS}", key="--draws")
    trends = [load_trend(name) for name in dict.fromkeys(asked["trend"])]
    return study(_grid(asked), trends, draws, asked["seed"], asked["horizon"])


def _grid(asked: dict[str, Any]) -> Grid:
    from fedsim.feasible import Limits, Procedure
    from fedsim.feasible.grid import Grid
    from fedsim.hardware import load_device
    from fedsim.pricing import load_trace

    traces = [load_trace(name) for name in dict.fromkeys(asked["model"])]
    lengths, sizes = _sizes(asked, traces)
    within, hours = _positive(asked, "within", "days"), _positive(asked, "speech", "hours")
    reference = asked["parity"]
    plain = Procedure()
    return Grid(
        devices=[load_device(name) for name in dict.fromkeys(asked["device"] or _DEVICES)],
        traces=traces,
        lengths_s=lengths,
        techniques=_techniques(asked),
        best=asked["best"],
        batch=asked["batch"],
        longest=asked["longest"],
        pressure=asked["pressure"],
        procedure=Procedure(
            asked["rounds"],
            asked["epochs"],
            plain.speech_s if hours is None else hours * 3600.0,
            asked["examples"] or plain.examples,
        ),
        limits=Limits(
            reference=None if reference == "none" else load_device(reference),
            within_s=None if within is None else within * 86_400.0,
            budget_j=_energy(asked["budget"]),
            battery_share=_positive(asked, "battery", "of a battery", most=1.0),
        ),
        sizes=sizes,
    )


def _sizes(asked: dict[str, Any], traces: list[LayerTrace]) -> tuple[list[float], dict[str, list[int]]]:
    """Lengths of sentences in seconds, and the other sizes by name.

    Raises:
        InputError: a size, or an amount of data, that is not for any of the models.
    """
    from fedsim.cli.size import by_name
    from fedsim.errors import InputError
    from fedsim.pricing.sizes import USUAL_S, WAVEFORM, is_speech
    from fedsim.units import SAMPLES_PER_S

    sizes = {
        name: list(dict.fromkeys(all_of)) for name, all_of in by_name(asked["size"], asked["tokens"]).items()
    }
    names = ", ".join(trace.name for trace in traces)
    speech, sized = [is_speech(trace) for trace in traces], [bool(trace.sizes) for trace in traces]
    for key, useful, why in (
        ("seconds", any(speech), "none is a model on speech"),
        ("speech", any(speech), "none is a model on speech"),
        ("examples", not all(speech), "they go by hours of speech; give --speech"),
        ("longest", any(sized), "all examples are alike"),
    ):
        if asked[key] not in (None, ()) and not useful:
            raise InputError(f"not for {names}: {why}", key=f"--{key}")
    for name in sizes:
        if not any(name in trace.sizes for trace in traces):
            raise InputError(f"an example of {names} has no {name!r}", key="--size")
    lengths = [*asked["seconds"], *(n / SAMPLES_PER_S for n in sizes.pop(WAVEFORM, []))]
    return list(dict.fromkeys(lengths)) or [USUAL_S], sizes


_ONCE = ("train", "freeze_cnn", "depth", "release_gradients", "forward_only", "accumulate")


def _techniques(asked: dict[str, Any]) -> list[Technique]:
    from itertools import product

    from fedsim.pricing import Technique

    choices = (asked[name] for name in ("precision", "optimizer", "attention", "checkpointing"))
    return [
        Technique.of(
            precision=precision,
            optimizer=optimizer,
            attention=attention,
            checkpointing=checkpointing,
            **{name: asked[name] for name in _ONCE},
        )
        for precision, optimizer, attention, checkpointing in product(*choices)
    ]


def _positive(asked: dict[str, Any], name: str, unit: str, most: float = 1e6) -> float | None:
    from fedsim.errors import InputError

    value: float | None = asked[name]
    if value is not None and not (math.isfinite(value) and 0 < value <= most):
        raise InputError(f"{value:g} {unit} cannot be; give more than 0, up to {most:g}", key=f"--{name}")
    return value


def _energy(text: str | None) -> float | None:
    from fedsim.errors import InputError
    from fedsim.units import parse_j

    if text is None:
        return None
    try:
        value = parse_j(text)
    except ValueError as fault:
        raise InputError(str(fault), key="--budget") from None
    if value <= 0:
        raise InputError(f"{text} is no energy to spend; give more than 0, such as 20kWh", key="--budget")
    return value


def write(answers: Any, out: Path) -> None:
    """Write ``feasible.json`` and ``feasible.png`` into a folder."""
    import json

    from fedsim.errors import FedsimError
    from fedsim.feasible.picture import draw

    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "feasible.json").write_text(json.dumps(answers.as_dict(), indent=1) + "\n", encoding="utf-8")
        draw(answers, out / "feasible.png")
    except OSError as fault:
        raise FedsimError(f"{out}: cannot be written: {fault.strerror}") from None

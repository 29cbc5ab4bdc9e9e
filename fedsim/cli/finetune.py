"""``fedsim finetune``: recognise speech with a run's checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fedsim.cli.outside import allow_outside
from fedsim.cli.plugin import plugin
from fedsim.words import plural

_POSITIVE = click.FloatRange(0, min_open=True)


@click.command(name="finetune", short_help="Fine-tune a run's model for speech recognition.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--round",
    "rounds",
    type=click.IntRange(0),
    multiple=True,
    help="Take the checkpoint after so many rounds; 0: the initial model; repeatable [default: the newest].",
)
@click.option("--steps", type=click.IntRange(1), help="Optimizer steps.")
@click.option("--minutes", type=_POSITIVE, help="Transcribed training speech used at most.")
@click.option("--batch-size", type=click.IntRange(1), help="Utterances a step.")
@click.option("--learning-rate", type=_POSITIVE, help="Peak rate of the pretrained encoder.")
@click.option("--head-rate", type=_POSITIVE, help="Peak rate of the three layers on top.")
@click.option("--test-minutes", type=_POSITIVE, help="Test speech recognised at most.")
@click.option("--longest-seconds", type=_POSITIVE, help="Leave longer training utterances out.")
@click.option(
    "--seed",
    "seeds",
    type=click.IntRange(0, 2**63 - 1),
    multiple=True,
    help="Seed of the fine-tuning; repeatable [default: the run's].",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that share several fine-tunings; the results do not depend on it.",
)
@allow_outside
@plugin
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Print the path of the results and nothing else.")
def command(
    run: Path,
    rounds: tuple[int, ...],
    seeds: tuple[int, ...],
    workers: int,
    outside: bool,
    as_json: bool,
    quiet: bool,
    **changes: float | None,
) -> None:
    """Fine-tune a checkpoint of RUN with CTC and say its word and character error rate.

    RUN is a run directory. What is not given is as in the scenario's learning.downstream. Results
    are added to RUN/finetune.json, with every sentence said and recognised.
    """
    from fedsim.printing import Column, Table, put
    from fedsim.scenario.file_access import allowed
    from fedsim.simulation.finetune import finetune
    from fedsim.tasks.speech.text import about_figures, has_figures

    given = {name: value for name, value in changes.items() if value is not None}
    made = finetune(
        run,
        rounds,
        seeds,
        given,
        workers,
        lambda text: click.echo(text, err=True) if not (as_json or quiet) else None,
        allowed(outside),
    )
    if quiet:
        click.echo(run / "finetune.json")
        return
    if as_json:
        shown = [{key: value for key, value in result.items() if key != "recognised"} for result in made]
        click.echo(json.dumps(shown, indent=1, allow_nan=False))
        return
    spared = (Column("trained on", spare=2), Column("tested on", spare=1))
    table = Table("rounds", "seed", "WER", "CER", *spared)
    for result in made:
        table.row(
            str(result["rounds_done"]),
            str(result["seed"]),
            f"{result['wer']:.1%}",
            f"{result['cer']:.1%}",
            plural(result["utterances"], "utterance"),
            plural(len(result["recognised"]), "utterance"),
        )
    put(table)
    figures = sum(has_figures(said) for _, said, _ in made[0]["recognised"])
    if figures:
        put(f"{about_figures(figures, len(made[0]['recognised']))}.")
    if not all(result["disjoint"] for result in made):
        put("Some test speakers were heard in training: these rates flatter.")
    click.echo(f"added to {run / 'finetune.json'}")

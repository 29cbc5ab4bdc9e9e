"""Fine-tuning the checkpoints of a run directory for speech recognition, after the run.

Each fine-tuning is a pure function of the checkpoint, the corpus, the settings and the seed; where
there are several, processes share them and the results are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fedsim import children, results
from fedsim.errors import RunError, about, going_on
from fedsim.files import sha256
from fedsim.learning import Federation
from fedsim.results import finetuned
from fedsim.scenario import file_access, load
from fedsim.scenario.file_access import FileAccess
from fedsim.simulation.compose import federation_of
from fedsim.simulation.execute import again
from fedsim.tasks import Wav2Vec2
from fedsim.tasks.ctc.finetuning import Finetuning
from fedsim.words import plural

Tell = Callable[[str], None]
_Job = tuple[Path, int, Federation, Wav2Vec2, int]


def finetune(
    directory: Path,
    rounds: Sequence[int] = (),
    seeds: Sequence[int] = (),
    changes: Mapping[str, Any] | None = None,
    workers: int = 1,
    tell: Tell = lambda text: None,
    access: FileAccess = file_access.NOWHERE,
) -> list[dict[str, Any]]:
    """Fine-tune checkpoints, write each result into ``finetune.json``, and return them.

    Args:
        directory: the run directory, finished or not.
        rounds: rounds done of the checkpoints; none: the newest.
        seeds: of fine-tuning; none: the run's.
        changes: fields of :class:`~fedsim.tasks.ctc.finetuning.Finetuning` that replace those of the
            scenario's ``learning.downstream``, or the defaults where it has none.
        workers: processes that share the fine-tunings.
        tell: told what begins.
        access: which files the run may use beside the catalogue and those that it was made from.

    Raises:
        RunError: if the run learned nothing, or has no such checkpoint.
        InputError: if the corpus is not there any more, or a change is impossible.
    """
    run = results.load(directory)
    scenario = load(str(run.path / "scenario.yaml"), access=again(run.path, access)).scenario
    federation = federation_of(scenario)
    if federation is None:
        raise RunError("learned nothing: its scenario has no 'learning' block", file=directory)
    if not isinstance(federation.task, Wav2Vec2):
        raise RunError(f"learned {federation.task.name!r}, and only wav2vec2 is fine-tuned", file=directory)
    settings = replace(federation.task.downstream or Finetuning(), every=0, **(changes or {}))
    task = replace(federation.task, downstream=settings)
    jobs = [
        (file, done, federation, task, seed)
        for done, file in _checkpoints(run.path, rounds)
        for seed in (seeds or [scenario.seed])
    ]
    _check(federation.task, settings, scenario.seed, run.path)
    tell(f"fine-tuning {plural(len(jobs), 'time')} for {plural(settings.steps, 'step')}")
    made: list[dict[str, Any]] = []
    results_of = _all(jobs, min(workers, len(jobs)))
    while len(made) < len(jobs):
        kept = f"{len(made)} of {len(jobs)} fine-tunings are finished and in finetune.json" if made else ""
        with going_on(kept, run.path):
            made.append(next(results_of))
            finetuned.add(run.path, made[-1:])
    return made


def _check(task: Wav2Vec2, settings: Finetuning, seed: int, directory: Path) -> None:
    """Refuse speech that cannot be fine-tuned on before anything is begun."""
    from fedsim.tasks.ctc.finetune import choose
    from fedsim.tasks.speech.models import configuration

    with about(directory):
        speech = replace(task, downstream=None).data(seed).corpus
        choose(configuration(task.model), settings, speech)


def _all(jobs: Sequence[_Job], workers: int) -> Iterator[dict[str, Any]]:
    """The results of all jobs, in order."""
    if workers <= 1:
        yield from map(_one, jobs)
        return
    with children.pool(workers, "spawn") as pool:
        with children.deaf():
            waiting = [pool.submit(_one, job) for job in jobs]
        for each in waiting:
            yield each.result()


def _checkpoints(directory: Path, rounds: Sequence[int]) -> list[tuple[int, Path]]:
    from fedsim.learning import checkpoint

    folder = directory / "checkpoints"
    found = checkpoint.available(folder)
    if not found:
        raise RunError("holds no checkpoint of a model yet", file=directory)
    for wanted in rounds:
        if wanted not in found:
            there = ", ".join(map(str, found))
            raise RunError(
                f"has no checkpoint after {plural(wanted, 'round')}; there are those after {there} "
                "(learning.checkpoint_every decides how many are kept)",
                file=directory,
            )
    return [(done, checkpoint.path(folder, done)) for done in sorted(set(rounds)) or found[-1:]]


def _one(job: _Job) -> dict[str, Any]:
    """One fine-tuning, perhaps in a process of its own."""
    from fedsim.learning.local import device_of
    from fedsim.learning.restore import model_of

    file, done, federation, task, seed = job
    data, settings = task.data(seed), task.downstream
    assert settings is not None
    got = task.finetune(model_of(task, file, seed), data, seed, device_of(federation.learning))
    heard = {data.corpus.speaker[u] for u in data.corpus.of_split("train")}
    named = {key: value for key, value in asdict(settings).items() if key != "every"}
    return {
        "rounds_done": done,
        "checkpoint_sha256": sha256(file),
        "model": task.model,
        "seed": seed,
        "settings": named,
        "utterances": got.utterances,
        "loss": got.loss,
        "wer": got.wer,
        "cer": got.cer,
        "disjoint": heard.isdisjoint(got.speakers) and not data.corpus.heard("test"),
        "recognised": [[who, *pair] for who, pair in zip(got.speakers, got.pairs, strict=True)],
    }

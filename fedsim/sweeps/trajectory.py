"""A learner that remembers: what was learned once is not learned again.

What a learner answers is a function of what it is made of (its origin) and of the calls so far: who
delivered updates, from which models, and trained in which way. The order of arrival counts only among
updates of one client, since the learner adds them up by client. A chain of hashes, begun by the
origin and continued by every call, names each answer. :class:`Remembering` stands
between the engine and the real learner: an answer that is known is given at once; at the first one
that is not, the real learner is made, brought to where the run is, and trains from there on. What it
gives is therefore always what really training gives, also where the engine's choice of clients
depends on losses.

Each run keeps its answers in ``checkpoints/answers.jsonl``, the first line being the evaluation of
the initial model; floats are written in full precision, so an answer that is read is the answer
that was written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim import files, missing
from fedsim.errors import RunError
from fedsim.learning import RoundLearning
from fedsim.learning import checkpoint as checkpoints_
from fedsim.simulation.learner import RunLearner

FILE = "answers.jsonl"
MOST_BYTES = 300 * files.MB

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def by_client(clients: Ints) -> NDArray[np.intp]:
    """The positions of clients in the order that calls are known by."""
    return np.argsort(clients, kind="stable")


def link(before: str, round_index: int, clients: Ints, base_round: Ints, technique: Ints) -> str:
    """The name of the answer to a call, in order of clients, that follows the answer named ``before``."""
    chain = hashlib.blake2b(before.encode(), digest_size=20)
    chain.update(np.array([round_index, len(clients)], dtype="<i8").tobytes())
    for values in (clients, base_round, technique):
        chain.update(np.ascontiguousarray(values, dtype="<i8").tobytes())
    return chain.hexdigest()


@dataclass(frozen=True)
class Answer:
    """One answer of a learner: its name, the call by client, and what was said, as one line of JSON."""

    name: str
    line: str

    @staticmethod
    def read(line: str) -> Answer | None:
        """An answer from its line; None if the line is torn, or is no answer."""
        try:
            data = json.loads(line)
            answer = Answer(str(data["name"]), line)
            answer.metrics()
            if "round" in data:
                answer.call()
                answer.learning(np.arange(len(data["clients"])))
        except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
            return None
        return answer

    @property
    def data(self) -> dict[str, Any]:
        """The fields of the line."""
        found: dict[str, Any] = json.loads(self.line)
        return found

    def learning(self, order: NDArray[np.intp]) -> RoundLearning:
        """What the learner said of a round, to a call whose clients come in the order ``order`` by client."""
        data, place = self.data, np.argsort(order)
        return RoundLearning(
            missing.from_list(data["loss"])[place],
            missing.from_list(data["weight"])[place],
            np.array(data["accepted"], dtype=np.bool_)[place],
            self.metrics(),
            missing.from_list(data["trained_on"])[place],
        )

    def metrics(self) -> list[tuple[str, str, float]]:
        """The evaluations: (metric, split, value)."""
        return [(str(metric), str(split), float(value)) for metric, split, value in self.data["metrics"]]

    def call(self) -> tuple[int, Ints, Ints, Ints]:
        """What the learner was asked: round, clients, base rounds, ways to train."""
        data = self.data
        clients, base_round, technique = (np.array(data[name], dtype=np.int64) for name in _ASKED)
        return int(data["round"]), clients, base_round, technique


_ASKED = ("clients", "base_round", "technique")


def _plain(values: Any) -> list[Any]:
    found: list[Any] = np.asarray(values).tolist()
    return found


@dataclass(eq=False)
class Listener:
    """A learner that only listens: it learns nothing, and keeps the names of the answers it would give."""

    origin: str
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names.append(self.origin)

    def train(self, round_index: int, clients: Ints, base_round: Ints, technique: Ints) -> RoundLearning:
        """Say what a timing-only run has: no loss, no weight, everything accepted."""
        order = by_client(clients)
        call = (clients[order], base_round[order], technique[order])
        self.names.append(link(self.names[-1], round_index, *call))
        nothing = np.full(len(clients), missing.MISSING)
        return RoundLearning(nothing, nothing, np.ones(len(clients), dtype=np.bool_), [], nothing)


class Remembering:
    """Gives known answers, and really learns the others.

    Args:
        make: makes the real learner, which keeps its checkpoints in ``folder``.
        origin: the hash of what that learner is made of.
        known: answers by name, as lines.
        folder: of the run's checkpoints; holds this learner's answers, too.

    Attributes:
        learned: how many rounds were really trained for an answer.
        recalled: how many were known.
    """

    def __init__(
        self, make: Callable[[], RunLearner], origin: str, known: Mapping[str, str], folder: Path
    ) -> None:
        self._make, self._origin, self._known, self._folder = make, origin, known, folder
        self._real: RunLearner | None = None
        self._so_far: list[Answer] = []
        self.learned = 0
        self.recalled = 0

    notes: Sequence[str] = ()
    account: Mapping[str, Any] | None = None

    def trains_on(self, clients: Ints) -> Ints | None:
        """Nobody knows, without the data that may not be needed."""
        return None

    def initial_metrics(self) -> list[tuple[str, str, float]]:
        """The evaluation of the initial model."""
        if self._origin in self._known:
            answer = Answer(self._origin, self._known[self._origin])
        else:
            self._real = self._make()
            found = self._real.initial_metrics()
            answer = Answer(self._origin, _line(self._origin, metrics=list(found)))
        self._keep(answer)
        return answer.metrics()

    def train(self, round_index: int, clients: Ints, base_round: Ints, technique: Ints) -> RoundLearning:
        """One round, known or really trained."""
        order = by_client(clients)
        call = (clients[order], base_round[order], technique[order])
        name = link(self._so_far[-1].name, round_index, *call)
        if self._real is None and name in self._known:
            answer = Answer(name, self._known[name])
            self.recalled += 1
        else:
            found = self._learner().train(round_index, clients, base_round, technique)
            self.learned += 1
            answer = Answer(
                name,
                _line(
                    name,
                    round=int(round_index),
                    **dict(zip(_ASKED, map(_plain, call), strict=True)),
                    loss=missing.to_list(found.loss[order]),
                    weight=missing.to_list(found.weight[order]),
                    accepted=_plain(found.accepted[order]),
                    metrics=list(found.metrics),
                    trained_on=missing.to_list(found.examples[order]),
                ),
            )
        self._keep(answer)
        return answer.learning(order)

    def finetune(self) -> list[tuple[str, str, float]]:
        """Really fine-tuned, each time."""
        return self._learner().finetune()

    def restore(self, rounds_done: int) -> int:
        """Go on after ``rounds_done`` rounds: later answers are dropped, the real learner waits.

        Raises:
            RunError: if the run keeps no answers, or those of another learner.
        """
        found = read(self._folder)
        kept = [a for i, a in enumerate(found) if i == 0 or a.call()[0] < rounds_done]
        if not kept or kept[0].name != self._origin:
            raise RunError("does not hold the answers of this learner", file=self._file)
        self._so_far = kept
        files.write_text(self._file, "".join(f"{answer.line}\n" for answer in kept))
        return rounds_done

    def close(self) -> None:
        """End the real learner, if there is one."""
        if self._real is not None:
            self._real.close()

    def _learner(self) -> RunLearner:
        """The real learner, brought to where the run is."""
        if self._real is None:
            calls = [answer.call() for answer in self._so_far[1:]]
            self._real, first = self._restored(calls[-1][0] + 1 if calls else 0)
            for call in calls:
                if call[0] >= first:
                    self._real.train(*call)
        return self._real

    def _restored(self, most: int) -> tuple[RunLearner, int]:
        """A real learner from a checkpoint of this run, and the rounds that it has behind it.

        A checkpoint after r rounds holds what all calls of earlier rounds made of the model.
        """
        real = self._make()
        found = max((n for n in checkpoints_.available(self._folder) if n <= most), default=0)
        if found:
            try:
                real.restore(found)
            except RunError:  # damaged: all of it is learned again
                real.close()
                return self._make(), 0
        return real, found

    @property
    def _file(self) -> Path:
        return self._folder / FILE

    def _keep(self, answer: Answer) -> None:
        self._so_far.append(answer)
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(answer.line + "\n")
            file.flush()
            os.fsync(file.fileno())


def _line(name: str, **fields: Any) -> str:
    return json.dumps({"name": name, **fields})


def read(folder: Path) -> list[Answer]:
    """The answers that a run keeps in its checkpoints folder; a torn line ends them."""
    file = folder / FILE
    answers: list[Answer] = []
    for line in files.lines(file, RunError, MOST_BYTES, MOST_BYTES) if file.is_file() else ():
        answer = Answer.read(line.rstrip("\n"))
        if answer is None:
            break
        answers.append(answer)
    return answers

"""The learner that a simulation drives: real training of the clients that the engine names.

The engine says who delivered an update, in which order, and from which global model each of them
started; this room trains some of them for real, aggregates, evaluates, and keeps checkpoints. All
that happens is a pure function of (spec, seed, the calls so far): the number of workers, other
learners in the process and interruptions change nothing.

Version v of the global model is the one after v rounds; version 0 holds the initial weights. A
client that was sent the model at the beginning of round r trained from version r.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim import checks, rng
from fedsim.errors import FedsimError, RunError
from fedsim.learning import checkpoint, vector
from fedsim.learning.accumulator import Accumulator
from fedsim.learning.aggregate.base import Kept, Server
from fedsim.learning.aggregate.by_group import ByGroup
from fedsim.learning.byzantine import ByzantineClients
from fedsim.learning.checkpoint import Kind
from fedsim.learning.delivered import Delivered
from fedsim.learning.federation import Federation, RoundLearning
from fedsim.learning.holdings import Holdings
from fedsim.learning.inserted import plain
from fedsim.learning.local import EvaluateJob, FinetuneJob, TrainJob, initial_model
from fedsim.learning.partial import Ways
from fedsim.learning.parts import Parts
from fedsim.learning.passes import draws
from fedsim.learning.update_validation import ByWay, UpdateValidation
from fedsim.learning.weights import notes
from fedsim.learning.workers import MakePool, pool
from fedsim.missing import MISSING
from fedsim.tasks.base import Metrics
from fedsim.tasks.structure.blocks import blocks
from fedsim.words import plural

_EVALUATION_CHUNK = 2


class FederatedLearner:
    """A task, learned federatedly.

    Args:
        federation: who learns what, and how.
        seed: the run's seed.
        workers: processes that train; 1 trains in this process.
        checkpoints: folder for checkpoints, or None to keep none.
        make_pool: makes the place where clients are trained; by default ``workers.pool``.

    Attributes:
        notes: sentences about the data for a person to read: what there is, what was skipped.
        account: the same in figures, or None.
        parameters: how many numbers of the model travel.
        rounds_done: rounds so far.

    Raises:
        CorpusError: if there is nothing to learn from, or too little to divide as asked.
        ScenarioError: if there is no such model, or it has no such layers as the ways speak of.
        FedsimError: if worker processes cannot be had.
    """

    def __init__(
        self,
        federation: Federation,
        seed: int,
        workers: int = 1,
        checkpoints: Path | None = None,
        make_pool: MakePool | None = None,
    ) -> None:
        self.federation, self.seed, self.checkpoints = federation, seed, checkpoints
        self.task, self.learning = federation.task, federation.learning
        self.rounds_done = 0
        data = self.task.data(seed)  # refuses what cannot be divided before workers are made
        self.holdings = Holdings(data.parts, federation, seed)
        self._trained_on = np.array(
            [
                min(len(self.task.learnable(data, part)), draws(len(part), self.learning))
                for part in self.holdings.parts
            ],
            np.int64,
        )
        self.notes, self.account = list(data.notes), data.account
        self._batches = {split: len(data.held_out(split)) for split in self.task.splits}
        ways = Ways(self.task, federation.ways, seed)
        net = initial_model(federation, seed)
        self.notes += notes(self.learning.init, net)
        net = ways.prepared(net)
        self._parts = Parts(net, ways, self.learning)
        self._shapes = self._parts.shapes
        self._fixed = {
            plain(name): t.detach().cpu().numpy().copy()
            for name, t in net.state_dict().items()
            if plain(name) not in self._shapes and t.is_floating_point()
        }
        self._layers = blocks(net)
        self._inserted = ways.inserted
        self._delivered = Delivered(self._parts)
        self.parameters = self._parts.parameters
        self._byzantine = ByzantineClients(self.learning.byzantine, seed, self.parameters)
        self.notes += self._byzantine.note(federation.clients)
        self._length = self._parts.length
        self._server = self._make_server()
        self._kept: dict[int, Kept] = {}
        self._pool = (make_pool or pool)(
            federation, seed, federation.max_staleness + 1, self._length, workers
        )
        initial = self._pool.versions[0][: self.parameters]
        vector.flatten(net, initial)
        whole = vector.flatten(net.requires_grad_(True)).astype(np.float64)
        self._largest_norm = self.learning.largest_update * float(np.linalg.norm(whole))

    def _make_server(self) -> Server:
        groups = [group.model for group in self._parts.groups]
        make = self.federation.aggregate.server
        return make(self.parameters) if len(groups) == 1 else ByGroup(make, groups, self.parameters)

    def trains_on(self, clients: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n]: how many different examples each client's steps of a round go through."""
        found: NDArray[np.int64] = self._trained_on[self.holdings.part_of(clients)]
        return found

    def weights(self) -> NDArray[np.float32]:
        """A copy of the global model, float32[parameters]."""
        return np.array(self._version(self.rounds_done)[: self.parameters])

    def initial_metrics(self) -> Metrics:
        """The held-out metrics of the initial weights; also writes the checkpoint after 0 rounds."""
        if self.checkpoints is not None:
            self.save()
        return self.evaluate()

    def evaluate(self) -> Metrics:
        """The task's metrics on each held-out split."""
        row = self.rounds_done % len(self._pool.versions)
        metrics: Metrics = []
        for split, count in self._batches.items():
            starts = range(0, count, _EVALUATION_CHUNK)
            jobs = [EvaluateJob(split, start, start + _EVALUATION_CHUNK, row, self.depth) for start in starts]
            sums = Accumulator.total(found for found, _ in self._pool.run(jobs))
            metrics += sums.metrics(self.task, split)
        return metrics

    def finetune(self) -> Metrics:
        """What the global model comes to when fine-tuned for another task.

        The details are kept beside the checkpoint, as ``recognised-00012.json``.
        """
        job = FinetuneJob(self.rounds_done % len(self._pool.versions), self.depth)
        ((found, _),) = self._pool.run([job])
        if self.checkpoints is not None:
            found.save(self.checkpoints / f"recognised-{self.rounds_done:05d}.json")
        metrics: Metrics = found.metrics()
        return metrics

    def train(
        self,
        round_index: int,
        clients: NDArray[np.int64],
        base_round: NDArray[np.int64],
        technique: NDArray[np.int64] | None = None,
    ) -> RoundLearning:
        """Train, aggregate, and perhaps evaluate.

        A number of the model is averaged over those who sent it; one that nobody sent stays as it was.

        Args:
            round_index: from 0, ascending; rounds left out leave the model as it was.
            clients: int64[n], those who delivered an update, in order of arrival.
            base_round: int64[n], the round at whose beginning each was sent the model.
            technique: int64[n], the way of the federation in which each trained, from 0; None: the first.

        Raises:
            FedsimError: if rounds go back, there is no such way, or a worker fails (naming the client).
        """
        clients, base_round = np.asarray(clients, np.int64), np.asarray(base_round, np.int64)
        ways = np.zeros_like(clients) if technique is None else np.asarray(technique, np.int64)
        if not bool(((ways >= 0) & (ways < len(self._parts.ways))).all()):
            known = plural(len(self._parts.ways), "way")
            raise FedsimError(f"a client of round {round_index} trained in a way that is none of the {known}")
        examples = self.trains_on(clients).astype(np.float64)
        self._advance_to(round_index)
        stale = (base_round < round_index - self.federation.max_staleness) | (base_round < 0)
        if bool((base_round > round_index).any()):
            raise FedsimError(f"an update of round {round_index} starts from a model that does not exist yet")
        loss, weight = np.full(len(clients), MISSING), np.zeros(len(clients))
        accepted = ~stale
        bad = self._byzantine.among(clients)
        accepted &= ~self._untrained(bad, round_index)
        chosen = self._choose(clients, accepted, round_index)
        jobs = self._jobs(clients, base_round, chosen, round_index)
        jobs = [replace(job, way=int(ways[position])) for job, position in zip(jobs, chosen, strict=True)]
        validation, counted, heard = self._by_way(), [], Accumulator()
        changes = {name: np.zeros(self.parameters) for name in self.federation.aggregate.keeps}
        for position, job, (report, weights) in zip(chosen, jobs, self._pool.run(jobs), strict=True):
            mean_loss, examples[position] = report.sums.mean_loss, report.examples
            part = self._parts.ways[job.way]
            loss[position], base = mean_loss, part.whole.of(self._pool.versions[job.version])
            weights = weights[: part.whole.size]
            if bad[position]:
                weights = self._byzantine.trained(weights, base, *job.stream, parameters=part.parameters)
            late = round_index - int(base_round[position])
            if validation.offer(weights, base, job.way, float(examples[position]), mean_loss, late):
                counted.append(position)
                self._delivered.note(job.way, job.client)
                heard += report.sums
                self._as_said("keeps", report.kept)
                before = self._kept_by(job.client)  # by an earlier update of this round, perhaps
                for name, change in changes.items():
                    change += report.kept[name].astype(np.float64) - before[name]
                if changes:
                    self._kept[job.client] = report.kept
            else:
                accepted[position] = False
        step, shares = validation.finish()
        weight[counted] = shares
        if counted:
            step[: self.parameters] = self._server.change(step[: self.parameters])
            self._server.hear(changes, self.federation.clients)
        self._step(np.nan_to_num(step, copy=False) if len(self._parts.groups) > 1 else step)
        metrics = heard.metrics(self.task, "train")
        if self.federation.evaluates(round_index):
            metrics += self.evaluate()
        if self.federation.finetunes(round_index):
            metrics += self.finetune()
        if self.checkpoints is not None:
            self.save()
            checkpoint.thin(self.checkpoints, self.learning.checkpoint_every)
        return RoundLearning(loss, weight, accepted, metrics, examples)

    @property
    def depth(self) -> int | None:
        """How many layers are evaluated (None: all): the most in which anybody has trained so far.

        Before the first update, the most in which anybody may train.
        """
        every = [way.depth for way in self.federation.ways]
        updates = zip(every, self._delivered.updates, strict=True)
        depths = [depth for depth, count in updates if count] or every
        return None if None in depths else max(depth for depth in depths if depth is not None)

    def coverage(self) -> list[dict[str, Any]]:
        """Who trained which layer so far, in the order of the model.

        Of what travels, a row for each layer (a repeated block, else a module with parameters of its own) and
        ways that train the same of it.

        Returns:
            Rows with ``layer``; ``numbers`` in it; ``updates`` that were accepted and held it; ``clients`` of
            whom they were; ``never``, the clients of the fleet who sent none.
        """
        return self._delivered.rows(self._layers, self.federation.clients)

    def _update_validation(self) -> UpdateValidation:
        sizes = [int(np.prod(shape)) for shape in self._shapes.values()]
        return UpdateValidation(self.federation, sizes, self._length, self._largest_norm)

    def _by_way(self) -> ByWay:
        return ByWay(self.federation, self._parts, self._largest_norm)

    def _untrained(self, bad: NDArray[np.bool_], round_index: int) -> NDArray[np.bool_]:
        """Those whose updates are rejected whatever they train on, so that none of them need train."""
        base = self._version(round_index)
        sent = self._byzantine.untrained(base) if bad.any() else None
        refused = sent is not None and self._update_validation().fault(sent, base, 0.0) is not None
        return bad & refused

    def _choose(self, clients: NDArray[np.int64], able: NDArray[np.bool_], round_index: int) -> list[int]:
        """Positions of those trained for real, in order of client: a seeded draw by client.

        Sums are taken in that order, so that the order of arrival does not change the model's last bits.
        """
        draws = rng.uniforms(rng.key(self.seed, "trained"), clients, round_index)
        ranked = sorted(np.flatnonzero(able).tolist(), key=lambda position: (draws[position], position))
        chosen = ranked[: self.learning.clients_per_round]
        return sorted(chosen, key=lambda position: (int(clients[position]), position))

    def _jobs(
        self, clients: NDArray[np.int64], base_round: NDArray[np.int64], chosen: list[int], round_index: int
    ) -> list[TrainJob]:
        rows, jobs, sent = len(self._pool.versions), [], self._server.sent()
        self._as_said("sends", sent)  # the clock goes by what it says
        for position in chosen:
            earlier = int((clients[:position] == clients[position]).sum())
            version = int(base_round[position]) % rows
            client = int(clients[position])
            jobs.append(TrainJob(client, round_index, version, earlier, sent, self._kept_by(client)))
        return jobs

    def _as_said(self, verb: str, vectors: Kept) -> None:
        """Refuse a rule that sends, or whose clients keep, other vectors than it says."""
        rule = self.federation.aggregate
        if set(vectors) != set(told := getattr(rule, verb)):
            raise FedsimError(f"{rule.name} {verb} {sorted(vectors)} and says {sorted(told)}")

    def _kept_by(self, client: int) -> Kept:
        """What a client keeps between its rounds; zeros before its first."""
        if client in self._kept:
            return self._kept[client]
        return {name: np.zeros(self.parameters, np.float32) for name in self.federation.aggregate.keeps}

    def _version(self, version: int) -> NDArray[np.float32]:
        row: NDArray[np.float32] = self._pool.versions[version % len(self._pool.versions)]
        return row

    def _advance_to(self, round_index: int) -> None:
        if round_index < self.rounds_done:
            raise FedsimError(f"round {round_index} was asked for after {self.rounds_done} rounds were done")
        while self.rounds_done < round_index:
            self._step(np.zeros(1))

    def _step(self, step: NDArray[np.float64]) -> None:
        following = (self._version(self.rounds_done) + step).astype(np.float32)
        self.rounds_done += 1
        self._version(self.rounds_done)[:] = following

    def save(self) -> Path:
        """Write the checkpoint of the present state.

        Raises:
            RunError: if the learner was given no folder.
        """
        if self.checkpoints is None:
            raise RunError("this learner keeps no checkpoints")
        tensors: dict[str, NDArray[Any]] = {}
        start = 0
        for name, shape in self._shapes.items():
            count = int(np.prod(shape))
            tensors[f"model.{name}"] = self._version(self.rounds_done)[start : start + count].reshape(shape)
            start += count
        tensors |= {f"fixed.{name}": values for name, values in self._fixed.items()}
        tensors |= {
            f"client.{name}.{client}": values
            for client, kept in sorted(self._kept.items())
            for name, values in kept.items()
        }
        tensors["optimizer"] = self._version(self.rounds_done)[self.parameters :]
        tensors |= {f"server.{name}": value for name, value in self._server.state().items()}
        for version in range(max(0, self.rounds_done - self.federation.max_staleness), self.rounds_done):
            tensors[f"older.{version}"] = self._version(version)
        return checkpoint.save(
            self.checkpoints,
            self.rounds_done,
            tensors,
            model=self.task.model_name,
            seed=str(self.seed),
            fingerprint=self._fingerprint(),
            clients=json.dumps(sorted(self._kept)),
            delivered=self._delivered.text(),
            **self._beyond_the_task(),
        )

    def _beyond_the_task(self) -> dict[str, str]:
        """What a checkpoint says of a model that is not the task's own, for whoever goes on with it alone."""
        said = {} if self._inserted is None else {"inserted": json.dumps(checks.dump(self._inserted))}
        return said if self.depth is None else said | {"depth": str(self.depth)}

    def restore(self, rounds_done: int | None = None) -> int:
        """Go back to a checkpoint, by default the newest; what follows is as if never interrupted.

        Rounds in which nobody delivered an update leave no checkpoint, as they leave the model as
        it was: the newest one that is not later than ``rounds_done`` is taken.

        Returns:
            The number of rounds done, which is the index of the next round.

        Raises:
            RunError: if there is no such checkpoint, or it is of another model, spec or seed.
        """
        found = checkpoint.available(self.checkpoints) if self.checkpoints is not None else []
        wanted = max((n for n in found if rounds_done is None or n <= rounds_done), default=None)
        if self.checkpoints is None or wanted is None:
            raise RunError("there is no checkpoint to go on from", file=self.checkpoints)
        file = checkpoint.path(self.checkpoints, wanted)
        clients = self._clients_in(file)
        held = checkpoint.read(file, self._tensors(wanted, clients))
        if (
            held.metadata.get("seed") != str(self.seed)
            or held.metadata.get("fingerprint") != self._fingerprint()
        ):
            raise RunError("the checkpoint belongs to another scenario or seed", file=file)
        named = held.group("model")
        self.rounds_done = wanted
        flat = np.concatenate([named[name].reshape(-1) for name in self._shapes])
        self._version(wanted)[:] = np.concatenate([flat, held.tensors["optimizer"]])
        self._delivered.restore(held.metadata.get("delivered", ""), file)
        self._server.restore(held.group("server"))
        kept = held.group("client")
        self._kept = {
            client: {
                n: np.asarray(kept[f"{n}.{client}"], np.float32) for n in self.federation.aggregate.keeps
            }
            for client in clients
        }
        for version, older in held.group("older").items():
            self._version(int(version))[:] = older
        if rounds_done is not None:
            self._advance_to(rounds_done)
        return self.rounds_done

    def _clients_in(self, file: Path) -> list[int]:
        """The clients of whom a checkpoint holds something."""
        if not self.federation.aggregate.keeps:
            return []
        try:
            clients = json.loads(checkpoint.read(file, {}).metadata.get("clients", "[]"))
        except ValueError:
            clients = None
        if not isinstance(clients, list) or not all(type(client) is int for client in clients):
            raise RunError("is damaged: its list of clients cannot be read", file=file)
        return clients

    def _tensors(self, rounds_done: int, clients: Sequence[int] = ()) -> dict[str, Kind]:
        """What a checkpoint after so many rounds must hold."""
        kinds = {f"model.{name}": Kind(shape) for name, shape in self._shapes.items()}
        kinds |= {
            f"client.{name}.{client}": Kind((self.parameters,))
            for client in clients
            for name in self.federation.aggregate.keeps
        }
        kinds["optimizer"] = Kind((self._length - self.parameters,))
        kinds |= {f"server.{name}": Kind(v.shape, "F64") for name, v in self._server.state().items()}
        oldest = max(0, rounds_done - self.federation.max_staleness)
        return kinds | {f"older.{v}": Kind((self._length,)) for v in range(oldest, rounds_done)}

    def _fingerprint(self) -> str:
        text = repr(self.federation)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def close(self) -> None:
        """End the worker processes; the learner cannot train any more."""
        self._pool.close()

    def __enter__(self) -> FederatedLearner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

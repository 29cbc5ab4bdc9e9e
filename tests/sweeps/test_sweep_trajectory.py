"""A learner that remembers gives what really training gives, and trains nothing twice."""

import hashlib

import numpy as np
import pytest

from fedsim.errors import RunError
from fedsim.learning import RoundLearning
from fedsim.sweeps.trajectory import FILE, Listener, Remembering, read


class Counting:
    """A learner whose answers depend on every call so far, and which counts how often it trains.

    The order of arrival counts only among updates of one client.
    """

    trained = 0

    def __init__(self, folder=None):
        self.state, self.rounds_done = b"start", 0
        self.folder = folder
        self.closed = False

    def initial_metrics(self):
        return [("loss", "validation", self._draw())]

    def _draw(self):
        return int.from_bytes(hashlib.sha256(self.state).digest()[:6], "little") / 2**48 / 3

    def train(self, round_index, clients, base_round, technique):
        Counting.trained += 1
        order = np.argsort(clients, kind="stable")
        call = (clients[order].tolist(), base_round[order].tolist(), technique[order].tolist())
        self.state += repr((round_index, *call)).encode()
        self.rounds_done = round_index + 1
        loss = self._draw() + clients / 7
        loss[order[-1]] = np.nan
        accepted = np.ones(len(clients), bool)
        accepted[order[0]] = len(clients) < 2
        if self.folder is not None:
            (self.folder / f"round-{self.rounds_done:05d}.safetensors").write_bytes(self.state)
        return RoundLearning(
            loss, np.full(len(clients), 1 / 3), accepted, [("loss", "train", self._draw())], 2.0 * clients
        )

    def restore(self, rounds_done):
        self.state = (self.folder / f"round-{rounds_done:05d}.safetensors").read_bytes()
        if self.state.startswith(b"damaged"):
            raise RunError("is damaged")
        self.rounds_done = rounds_done
        return rounds_done

    def close(self):
        self.closed = True


CALLS = [
    (0, np.array([3, 1]), np.array([0, 0]), np.array([0, 1])),
    (1, np.array([2]), np.array([1]), np.array([0])),
    (3, np.array([5, 4, 0]), np.array([3, 2, 3]), np.array([1, 0, 2])),
]
OTHER = (3, np.array([4, 5, 0]), np.array([3, 2, 3]), np.array([1, 0, 2]))


@pytest.fixture(autouse=True)
def count():
    Counting.trained = 0


def plain(answers):
    return [
        (
            a.loss.tolist(),
            a.weight.tolist(),
            a.accepted.tolist(),
            [tuple(m) for m in a.metrics],
            a.examples.tolist(),
        )
        for a in answers
    ]


def really(calls):
    learner = Counting()
    return learner.initial_metrics(), plain([learner.train(*call) for call in calls])


def known_of(folder):
    return {answer.name: answer.line for answer in read(folder)}


def remembering(folder, known=None, calls=CALLS, checkpoints=True):
    folder.mkdir(exist_ok=True)
    learner = Remembering(lambda: Counting(folder if checkpoints else None), "origin", known or {}, folder)
    first = [tuple(metric) for metric in learner.initial_metrics()]
    return learner, first, plain([learner.train(*call) for call in calls])


def same(one, other):
    assert repr(one) == repr(other)  # nan is equal to itself here, and floats to the last bit


def test_what_is_unknown_is_trained_and_what_is_known_is_not(tmp_path):
    expected = really(CALLS)
    Counting.trained = 0
    learner, *found = remembering(tmp_path / "one")
    same(tuple(found), expected)
    assert (Counting.trained, learner.learned, learner.recalled) == (3, 3, 0)
    again, *found = remembering(tmp_path / "two", known_of(tmp_path / "one"))
    same(tuple(found), expected)
    assert (Counting.trained, again.learned, again.recalled) == (3, 0, 3)
    assert (tmp_path / "two" / FILE).read_bytes() == (tmp_path / "one" / FILE).read_bytes()


@pytest.mark.parametrize("checkpoints", [True, False])
def test_where_calls_part_the_rest_is_really_trained_from_what_they_share(tmp_path, checkpoints):
    calls = [*CALLS[:2], OTHER]
    expected = really(calls)
    remembering(tmp_path / "one")
    learner, *found = remembering(tmp_path / "two", known_of(tmp_path / "one"), calls, checkpoints)
    same(tuple(found), expected)
    assert (learner.learned, learner.recalled) == (1, 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda call: (call[0] + 1, *call[1:]),
        lambda call: (call[0], call[1] + 1, *call[2:]),
        lambda call: (call[0], call[1], call[2] + 1, call[3]),
        lambda call: (call[0], call[1], call[2], call[3] + 1),
    ],
    ids=["round", "clients", "base round", "way to train"],
)
def test_every_part_of_a_call_counts(tmp_path, change):
    remembering(tmp_path / "one", calls=CALLS[:1])
    learner, *_ = remembering(tmp_path / "two", known_of(tmp_path / "one"), [change(CALLS[0])])
    assert (learner.learned, learner.recalled) == (1, 0)


def test_the_order_of_arrival_counts_only_among_updates_of_one_client(tmp_path):
    call = (1, np.array([3, 1, 3]), np.array([0, 1, 1]), np.array([0, 0, 1]))
    _, _, ((loss, weight, accepted, *_),) = remembering(tmp_path / "one", calls=[call])
    for name, order, recalled in (("same", [1, 0, 2], 1), ("swapped", [2, 1, 0], 0)):
        other = (1, *(values[order] for values in call[1:]))
        learner, _, ((found, *_),) = remembering(tmp_path / name, known_of(tmp_path / "one"), [other])
        assert learner.recalled == recalled, name
        if recalled:
            same(found, [loss[at] for at in order])
    assert accepted == [True, False, True]
    assert len(weight) == 3


def test_another_origin_shares_nothing(tmp_path):
    remembering(tmp_path / "one")
    learner = Remembering(Counting, "another", known_of(tmp_path / "one"), tmp_path / "two")
    learner.initial_metrics()
    learner.train(*CALLS[0])
    assert (learner.learned, learner.recalled) == (1, 0)


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
@pytest.mark.parametrize("damaged", [False, True])
def test_it_goes_on_after_an_interruption_as_if_there_had_been_none(tmp_path, rounds, damaged):
    expected = really(CALLS)[1]
    remembering(tmp_path / "run")
    if damaged:
        for file in (tmp_path / "run").glob("*.safetensors"):
            file.write_bytes(b"damaged")
    with (tmp_path / "run" / FILE).open("a") as file:
        file.write('{"name": "torn')
    learner = Remembering(lambda: Counting(tmp_path / "run"), "origin", {}, tmp_path / "run")
    assert learner.restore(rounds) == rounds
    left = [call for call in CALLS if call[0] >= rounds]
    same(plain([learner.train(*call) for call in left]), expected[len(CALLS) - len(left) :])
    assert len(read(tmp_path / "run")) == 1 + len(CALLS)


def test_answers_of_another_learner_are_not_gone_on_with(tmp_path):
    remembering(tmp_path / "run")
    for folder in ("run", "nowhere"):
        with pytest.raises(RunError, match="does not hold the answers"):
            Remembering(Counting, "another", {}, tmp_path / folder).restore(1)


def test_a_listener_names_the_answers_without_learning(tmp_path):
    listener = Listener("origin")
    for call in CALLS:
        said = listener.train(*call)
        assert np.isnan(said.loss).all()
        assert said.accepted.all()
    remembering(tmp_path / "run")
    assert listener.names == [answer.name for answer in read(tmp_path / "run")]


def test_the_real_learner_is_closed_if_there_was_one(tmp_path):
    made = []

    def make():
        made.append(Counting())
        return made[-1]

    learner = Remembering(make, "origin", {}, tmp_path)
    learner.close()
    assert made == []
    learner.initial_metrics()
    learner.close()
    assert made[0].closed

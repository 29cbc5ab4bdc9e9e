"""The answer in words, for every kind of ending."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedsim.report import words
from fedsim.report.closeup import choose
from fedsim.report.digest import SAMPLE, _Thinned, digest
from fedsim.report.figures import CHARTS
from fedsim.report.figures.phases import split
from fedsim.results import OUTCOMES, load

FINDINGS = {chart.name: chart.title for chart in CHARTS}


@pytest.fixture(scope="module")
def found(usual):
    return digest(load(usual))


def altered(found, **summary):
    return dataclasses.replace(found, summary={**found.summary, **summary})


def counts(**given):
    return {"outcomes": {word: given.get(word, 0) for word in OUTCOMES}, "client_rounds": sum(given.values())}


def test_the_question_names_fleet_model_and_rounds(found):
    assert words.question(found) == (
        "Can 300 clients train wav2vec2-base in 40 rounds of 20, how long does it take, and what breaks?"
    )
    assert words.fleet(found) == (
        "40% jetson-xavier-nx on wifi, 15% raspberry-pi-4 on wifi, 30% snapdragon-870 on wifi "
        "and 15% macbook-pro-2019 on wifi"
    )


def test_time(found):
    hour = 3600.0
    known = {"rounds": 40, "end_s": 96 * hour, "mean_round_s": 2.4 * hour, "longest_round_s": 6 * hour}
    assert words.time_sentence(altered(found, **known)) == (
        "40 rounds take 4 days: 2.4 h a round on average, 6 h at most."
    )
    same = {**known, "longest_round_s": 2.4 * hour}
    assert words.time_sentence(altered(found, **same)) == "40 rounds take 4 days, 2.4 h each."
    early = {**known, "rounds": 7}
    assert words.time_sentence(altered(found, **early)).startswith("7 of 40 rounds take 4 days")
    waiting = {**known, "mean_round_s": 0.6 * hour}
    assert words.time_sentence(altered(found, **waiting)) == (
        "40 rounds take 4 days: 36 min a round on average, 6 h at most; "
        "75% of it waiting for clients between rounds."
    )
    assert words.time_sentence(altered(found, rounds=0)) == "No round was closed."


def test_outcomes(found):
    said = words.outcome_sentence(altered(found, **counts(completed=900, oom=60, late=40)))
    assert said == "90% of 1,000 client-rounds complete; 6.0% run out of memory and 4.0% come too late."
    assert (
        words.outcome_sentence(altered(found, **counts(completed=3000)))
        == "All 3,000 client-rounds complete."
    )
    assert words.outcome_sentence(altered(found, **counts(completed=1))) == "The only client-round completes."
    assert words.outcome_sentence(altered(found, **counts(oom=200))) == (
        "Not one of 200 client-rounds completes: all run out of memory."
    )
    assert words.outcome_sentence(altered(found, **counts(oom=1, late=1))) == (
        "Not one of 2 client-rounds completes: 50% come too late and 50% run out of memory."
    )
    assert words.outcome_sentence(altered(found, **counts())) == "No client was ever sent to work."


def device(found, **outcomes):
    base = next(iter(found.summary["devices"].values()))
    return {**base, **counts(**outcomes)}


def test_devices(found):
    useless = {"pi": device(found, oom=9, late=1), "a40": device(found, completed=50)}
    assert (
        words.device_sentence(altered(found, devices=useless))
        == "pi never completes a round (out of memory)."
    )
    only = {"pi": device(found, completed=9, late=1), "a40": device(found, completed=50)}
    assert words.device_sentence(altered(found, devices=only)) == "Only pi loses work."
    most = {"pi": device(found, completed=9, late=3), "a40": device(found, completed=50, oom=1)}
    assert words.device_sentence(altered(found, devices=most)) == "75% of the failures fall on pi."
    fine = {"pi": device(found, completed=9), "a40": device(found, completed=50)}
    assert words.device_sentence(altered(found, devices=fine)) == ""
    assert words.device_sentence(altered(found, devices={"pi": device(found, oom=4)})) == ""


def test_learning(found):
    def metric(first, last):
        return {"first": first, "last": last, "best": last, "values": 5, "best_s": 1.0, "best_round": 4}

    metrics = {"validation": {"loss": metric(3.53, 2.83)}, "test": {"wer": metric(0.9, 0.625)}}
    assert words.learning_sentence(altered(found, metrics=metrics)) == (
        "Validation loss falls from 3.53 to 2.83 and word error rate on test speakers falls from 90% to 62%."
    )
    assert words.learning_sentence(altered(found, metrics={"validation": {"loss": metric(3.0, 3.0)}})) == (
        "Validation loss stays at 3.00."
    )
    assert words.learning_sentence(altered(found, metrics={})) == ""


def test_an_error_rate_on_what_training_heard_is_marked(found):
    def metric(last):
        return {"first": 0.9, "last": last, "best": last, "values": 5, "best_s": 1.0, "best_round": 4}

    metrics = {"validation": {"wer": metric(0.75)}, "test": {"wer": metric(0.5)}}
    for part, said in (
        ("test", ("rate falls from 90% to 75%", "test speakers (heard in training) falls from 90% to 50%")),
        (
            "validation",
            ("rate (heard in training) falls from 90% to 75%", "test speakers falls from 90% to 50%"),
        ),
    ):
        told = words.learning_sentence(altered(found, metrics=metrics, corpus={"heard": {part: 3}}))
        assert all(phrase in told for phrase in said)
    cards = words.cards(altered(found, metrics=metrics, corpus={"heard": {"test": 3}}))
    assert [card.value for card in cards if card.label == "Word error rate, test (heard in training)"] == [
        "50%"
    ]
    assert "heard" not in words.learning_sentence(
        altered(found, metrics=metrics, corpus={"heard": {"test": 0}})
    )


def test_cost(found):
    known = {"energy_j": 3.6e6, "downloaded_bytes": 1.1e12, "uploaded_bytes": 1e12}
    assert words.cost_sentence(altered(found, **known, wasted_j_share=0.08)) == (
        "Clients spend 1 kWh, 8.0% of it for nothing; 1.1 TB go out to them, 1 TB come back."
    )
    assert "all of it for nothing" in words.cost_sentence(altered(found, **known, wasted_j_share=1.0))
    assert "nothing" not in words.cost_sentence(altered(found, **known, wasted_j_share=0.0))


def test_endings(found, make_run, tmp_path):
    assert words.ending_sentence(found) == ""
    early = altered(found, ended="nobody was online any more")
    assert words.ending_sentence(early) == "The run ended early: nobody was online any more."
    going = digest(load(make_run(tmp_path / "going", rounds=3, finish=False)))
    assert words.ending_sentence(going) == "The run is not finished; this is what there is so far."
    assert words.answer(going)[0].startswith("3 rounds take")


def test_an_early_end_is_told_from_the_summary_file(make_run, tmp_path):
    found = digest(load(make_run(tmp_path / "run", rounds=2, reason="the server caught fire")))
    assert "The run ended early: the server caught fire." in words.answer(found)


def test_cards_agree_with_the_summary(found):
    made = {card.label: card for card in words.cards(found)}
    assert list(made) == [
        "Simulated time", "Completed", "Out of memory", "Validation loss", "Contrastive accuracy", "Energy",
        "Traffic", "Took part",
    ]  # fmt: skip
    loss = found.summary["metrics"]["validation"]["loss"]
    assert made["Validation loss"].value == f"{loss['last']:.2f}"
    assert made["Validation loss"].note == "from 3.53"
    assert made["Took part"].note == "of 300 clients"


def test_titles_say_what_was_found(found):
    summary = found.summary
    assert FINDINGS["convergence"](found).startswith("Validation loss falls by 1")
    assert FINDINGS["memory"](found).startswith(
        f"{100 * summary['outcomes']['oom'] / 800:.0f}% of client-rounds"
    )
    assert "of it on work that is lost" in FINDINGS["energy"](found)
    assert FINDINGS["participation"](found).startswith(str(summary["participation"]["completed"]))
    none = altered(found, **counts(completed=10), wasted_j_share=0.0)
    assert FINDINGS["memory"](none).startswith("Every client-round fits into memory")
    assert FINDINGS["energy"](none).endswith("none of it wasted")


def test_the_phases_of_a_device_add_up():
    entry = {
        "client_rounds": 4, "outcomes": {"completed": 2}, "waiting_s": 40.0,
        "download_s": 8.0, "startup_s": 6.0, "compute_s": 100.0, "upload_s": 10.0,
        "mean_download_s": 2.0, "mean_startup_s": 3.0, "mean_compute_s": 40.0, "mean_upload_s": 5.0,
    }  # fmt: skip
    work = {"download": 1.0, "startup": 1.5, "compute": 20.0, "upload": 2.5}
    assert split(entry) == {**work, "waiting": 10.0, "lost": 6.0}


def test_the_round_to_look_at_is_rich_and_usual():
    table = {word: np.zeros(4, dtype=int) for word in OUTCOMES}
    table |= {
        "selected": np.array([5, 5, 5, 0]),
        "start_s": np.zeros(4),
        "end_s": np.array([10.0, 30.0, 90.0, 1.0]),
    }
    table["completed"][:3] = 4
    table["oom"][:] = [0, 1, 1, 0]
    assert choose(table) == 1
    table["selected"][:] = 0
    assert choose(table) is None


def test_the_straggler_is_the_last_to_complete(found):
    closeup = found.closeup
    frame = found.run.frame("clients", rounds=(closeup.round, closeup.round))
    done = frame[frame["outcome"] == "completed"].sort_values("ended_s")
    assert closeup.client[closeup.straggler] == done["client"].iloc[-1]
    assert closeup.lead_s == pytest.approx(done["ended_s"].iloc[-1] - done["ended_s"].iloc[-2])


@pytest.mark.parametrize("chunks", [[5000], [1] * 40 + [7000, 3], [1500, 1500, 1]])
def test_thinning_is_even_and_bounded(chunks):
    thin, start = _Thinned(), 0
    for size in chunks:
        rows = np.arange(start, start + size, dtype=float)
        thin.add(np.column_stack([rows, rows, rows]))
        start += size
    kept = thin.rows[:, 0]
    assert len(kept) <= SAMPLE
    assert kept[0] == 0
    assert np.all(np.diff(kept) == thin.step)
    assert kept[-1] > start - 1 - thin.step

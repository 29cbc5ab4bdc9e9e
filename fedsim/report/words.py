"""The question and the answer in words: pure functions of a digest.

Every sentence is built from figures of the run; a sentence whose figures are missing is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fedsim.outcomes import OUTCOMES
from fedsim.report.digest import Digest, share_of
from fedsim.report.text import between, dig, duration, energy, figure, is_number, listed, name, share, size
from fedsim.results.coverage import trains
from fedsim.results.intervals import interval_of
from fedsim.results.metrics import HEARD, goals, heard, shown
from fedsim.tasks.speech.text import about_figures
from fedsim.words import count, plural, spread, verb

#: Outcomes as labels.
OUTCOME_WORDS = MappingProxyType(
    {
        "completed": "completed",
        "late": "late",
        "oom": "out of memory",
        "offline": "went offline",
        "battery": "battery low",
        "rejected": "rejected",
        "failed": "crashed",
    }
)
_VERBS = MappingProxyType(
    {
        "late": "come too late",
        "oom": "run out of memory",
        "offline": "go offline",
        "battery": "stop on a low battery",
        "rejected": "are rejected",
        "failed": "crash",
    }
)
DONE = "all rounds done"


def question(digest: Digest) -> str:
    """What the run was to find out."""
    scenario = digest.run.scenario
    clients = digest.summary["participation"]["clients"]
    model = dig(scenario, "training", "model")
    rounds, cohort = dig(scenario, "rounds", "count"), dig(scenario, "rounds", "cohort")
    what = name(Path(model).name.removesuffix(".json"), 40) if isinstance(model, str) else "the model"
    how = f" in {plural(rounds, 'round')}" if isinstance(rounds, int) else ""
    how += f" of {count(cohort)}" if how and isinstance(cohort, int) else ""
    who = plural(clients, "client") if clients else "this fleet"
    return f"Can {who} train {what}{how}, how long does it take, and what breaks?"


def description(digest: Digest) -> str:
    """What the scenario's author says about it, on one line; may be empty."""
    said = dig(digest.run.scenario, "description")
    return name(said, 600) if isinstance(said, str) and said.strip() else ""


def fleet(digest: Digest) -> str:
    """Who the clients are: ``50% jetson-xavier-nx (wifi), 30% snapdragon-870 (lte)``; may be empty."""
    mix = dig(digest.run.scenario, "fleet", "mix")
    parts = []
    for entry in mix if isinstance(mix, list) else []:
        device, part, link = dig(entry, "device"), dig(entry, "share"), dig(entry, "link")
        if isinstance(device, str) and is_number(part):
            via = f" on {name(link, 16)}" if isinstance(link, str) else ""
            parts.append(f"{share(part)} {name(device)}{via}{_own(entry)}")
    return listed(parts, most=8)


def _own(entry: Any) -> str:
    """What a device trains with where that is its own."""
    said = dig(entry, "training")
    if not isinstance(said, dict) or not said:
        return ""
    what = dig(said, "train", "kind")
    words = [name(what, 16)] if isinstance(what, str) else []
    words += [f"{name(key, 20)} {name(value, 16)}" for key, value in said.items() if key != "train"]
    return f" ({', '.join(words)})" if words else ""


def time_sentence(digest: Digest) -> str:
    """How long the rounds take."""
    summary = digest.summary
    rounds, planned = summary["rounds"], dig(digest.run.scenario, "rounds", "count")
    if not rounds:
        return "No round was closed."
    mean, longest = duration(summary["mean_round_s"]), duration(summary["longest_round_s"])
    short = isinstance(planned, int) and rounds < planned
    subject = f"{count(rounds)} of {plural(planned, 'round')}" if short else plural(rounds, "round")
    said = f"{subject} {verb(rounds, 'take')} {duration(summary['end_s'])}"
    if rounds > 1:
        said += f", {mean} each" if mean == longest else f": {mean} a round on average, {longest} at most"
    idle = 1.0 - rounds * summary["mean_round_s"] / summary["end_s"] if summary["end_s"] else 0.0
    return said + (f"; {share(idle)} of it waiting for clients between rounds." if idle >= 0.005 else ".")


def interval_sentence(digest: Digest) -> str:
    """How far its times may be off; empty if no speeds were drawn."""
    summary = digest.summary
    time, spent = between(summary, "end_s", duration), between(summary, "energy_j", energy)
    found = interval_of(summary, "end_s")
    if found is None:
        return ""
    said = f"As far as the speed of its devices is known, that is {time}"
    said += f" and {spent}" if spent else ""
    repeats = f"the clock was repeated under {plural(found.draws, 'draw')} of their speeds"
    return f"{said} ({share(found.level)} interval; {repeats})."


def ending_sentence(digest: Digest) -> str:
    """Why it ended, if not by having done all rounds; may be empty."""
    ended = digest.summary["ended"]
    if not digest.run.finished:
        return "The run is not finished; this is what there is so far."
    return "" if ended in (DONE, "") else f"The run ended early: {ended}."


def not_finite_sentence(digest: Digest) -> str:
    """What was reported or came out that is no number; may be empty."""
    losses, values = (dig(digest.summary, "not_finite", key) or 0 for key in ("losses", "values"))
    parts = []
    if losses:
        parts.append(
            f"{plural(losses, 'client-round')} {verb(losses, 'report')} a loss that is NaN or infinite"
        )
    if values:
        parts.append(f"{plural(values, 'evaluation')} {verb(values, 'come')} out as NaN or infinity")
    return f"Warning: {'; '.join(parts)}." if parts else ""


def baseline_sentence(digest: Digest) -> str:
    """What was run in place of the federation; empty for the federation itself."""
    kind = dig(digest.run.scenario, "learning", "baseline")
    if kind == "centralised":
        device = dig(digest.run.scenario, "server", "device")
        where = f"on {name(device)}" if isinstance(device, str) else "in one place"
        return f"This is a baseline: the work of each round is done {where}, with all the data."
    if kind == "local-only":
        client = dig(digest.run.scenario, "learning", "alone")
        who = f"client {client}" if isinstance(client, int) else "one client"
        return f"This is a baseline: {who} trains alone, with its own data."
    if kind == "no-pretraining":
        return "This is a baseline: fresh weights are fine-tuned, and nothing is pretrained."
    return ""


def outcome_sentence(digest: Digest) -> str:
    """How client-rounds ended."""
    total = digest.summary["client_rounds"]
    if not total:
        return "No client was ever sent to work."
    counts = digest.summary["outcomes"]
    if counts["completed"] == total:
        return (
            "The only client-round completes."
            if total == 1
            else f"All {count(total)} client-rounds complete."
        )
    lost = sorted((word for word in OUTCOMES[1:] if counts[word]), key=lambda word: -counts[word])
    how = listed([f"{share(counts[word] / total)} {_VERBS[word]}" for word in lost], most=4)
    if not counts["completed"]:
        if len(lost) == 1:
            return f"Not one of {plural(total, 'client-round')} completes: all {_VERBS[lost[0]]}."
        return f"Not one of {plural(total, 'client-round')} completes: {how}."
    return f"{share(share_of(digest, 'completed'))} of {count(total)} client-rounds complete; {how}."


def device_sentence(digest: Digest) -> str:
    """Which devices are no use, or cause the failures; may be empty."""
    table = digest.summary["devices"]
    useless = [d for d in digest.devices if not table[d]["outcomes"]["completed"]]
    if useless and len(useless) < len(table):
        why = {word: sum(table[d]["outcomes"][word] for d in useless) for word in OUTCOMES[1:]}
        main = max(why, key=lambda word: why[word])
        who, completes = listed([name(d) for d in useless]), verb(len(useless), "complete")
        return f"{who} never {completes} a round ({OUTCOME_WORDS[main]})."
    lost = {d: table[d]["client_rounds"] - table[d]["outcomes"]["completed"] for d in table}
    total = sum(lost.values())
    if len(table) > 1 and total:
        worst = max(lost, key=lambda d: lost[d])
        part = lost[worst] / total
        if part == 1:
            return f"Only {name(worst)} loses work."
        if part > 0.5:
            return f"{share(part)} of the failures fall on {name(worst)}."
    return ""


def learning_sentence(digest: Digest) -> str:
    """What was learnt; empty for a timing-only run."""
    parts, judged = [], [metric.name for metric in goals(digest.run.manifest)]
    told = [metric for metric in shown(digest.run.manifest) if metric.name != "cer"]
    for metric, split in [(metric, split) for metric in told for split in ("validation", "test")]:
        if split == "test" and metric.name not in judged:
            continue
        words = "validation loss" if metric.name == "loss" else metric.meaning
        if split == "test":
            words += " on test speakers" if metric.name == "wer" else " on the test split"
        words += HEARD if metric.name == "wer" and heard(digest.summary, split) else ""
        written = share if metric.unit == "share" else figure
        entry = dig(digest.summary, "metrics", split, metric.name)
        if entry and entry["values"] == 1 and metric.name in judged:
            parts.append(f"{words} is {written(entry['last'])}")
        if not entry or entry["values"] < 2:
            continue
        first, last = entry["first"], entry["last"]
        verb = "stays at" if first == last else "falls from" if last < first else "rises from"
        parts.append(f"{words} {verb} {written(first)}" + ("" if first == last else f" to {written(last)}"))
    said = listed(parts, most=4)
    return said[:1].upper() + said[1:] + "." if said else ""


def corpus_sentence(digest: Digest) -> str:
    """What could not be used, is doubtful or not spelled out, and what guessing gives; perhaps empty."""
    said = []
    for key, what in (("skipped", "skipped"), ("doubtful", "used although doubtful")):
        found, files = (dig(digest.summary, "corpus", name) for name in (key, f"{key}_files"))
        if isinstance(found, int) and found and isinstance(files, list):
            named = listed([name(file, 80) for file in files if isinstance(file, str)], most=4)
            said.append(f"{plural(found, 'recording')} of the speech corpus {what}: {named}.")
    figures, all_of_it = (dig(digest.summary, "corpus", key) for key in ("figures", "utterances"))
    if isinstance(figures, int) and isinstance(all_of_it, int) and figures > 0:
        said.append(f"{about_figures(figures, all_of_it)}.")
    guessed = dig(digest.summary, "corpus", "unigram_loss", "validation")
    if is_number(guessed):
        said.append(f"Guessing bytes by how often they occur has a validation loss of {figure(guessed)}.")
    return " ".join(said)


def examples_sentence(digest: Digest) -> str:
    """On how much clients are trained for real, where the clock has it otherwise; empty if it has not."""

    def told(who: str) -> str:
        least, mean, most = (dig(digest.summary, "examples", who, key) for key in ("least", "mean", "most"))
        if not (is_number(least) and is_number(mean) and is_number(most)):
            return ""
        return spread(least, most, figure(mean))

    clock, real = told("clock"), told("learner")
    if not clock or not real:
        return ""
    return (
        f"In a round a client is trained on {real} examples, by which updates weigh; "
        f"the simulated clock takes it to be {clock}."
    )


def coverage_sentence(digest: Digest) -> str:
    """Which layers of the model most clients never train, where clients train in several ways."""
    rows = layer_rows(digest)
    if not rows:
        return ""
    total = digest.summary["participation"]["clients"]
    worst = max(rows, key=lambda row: row.never)
    if not worst.never:
        return "Every client trains every layer of the model."
    which = listed([row.layers for row in rows if row.never == worst.never], most=4)
    who = (
        "Nobody trains"
        if worst.never == total
        else f"{count(worst.never)} of {count(total)} clients never train"
    )
    return f"{who} {which} of the model."


def cost_sentence(digest: Digest) -> str:
    """Energy and bytes."""
    summary = digest.summary
    if not summary["client_rounds"]:
        return ""
    wasted = summary["wasted_j_share"]
    said = f"Clients spend {energy(summary['energy_j'])}"
    if wasted:
        said += ", all of it for nothing" if wasted == 1 else f", {share(wasted)} of it for nothing"
    down, up = size(summary["downloaded_bytes"]), size(summary["uploaded_bytes"])
    return f"{said}; {down} go out to them, {up} come back."


def answer(digest: Digest) -> list[str]:
    """The answer: a headline first, then a few sentences."""
    rest = [
        interval_sentence(digest),
        baseline_sentence(digest),
        ending_sentence(digest),
        not_finite_sentence(digest),
        device_sentence(digest),
        learning_sentence(digest),
        corpus_sentence(digest),
        examples_sentence(digest),
        coverage_sentence(digest),
        cost_sentence(digest),
    ]
    return [f"{time_sentence(digest)} {outcome_sentence(digest)}", *filter(None, rest)]


@dataclass(frozen=True)
class Card:
    """A key figure: what it is, its value, and a line that puts it in place."""

    label: str
    value: str
    note: str


def _quality(digest: Digest) -> list[Card]:
    """The metric that says best how good the model is: word error rate, else accuracy, else none."""
    judged = goals(digest.run.manifest)
    others = [m for m in shown(digest.run.manifest) if m not in judged and m.name not in ("loss", "cer")]
    for metric, split in [(metric, split) for metric in judged + others for split in ("test", "validation")]:
        entry = dig(digest.summary, "metrics", split, metric.name)
        if entry:
            label = metric.meaning[:1].upper() + metric.meaning[1:] + (", test" if split == "test" else "")
            mark = HEARD if metric.name == "wer" and heard(digest.summary, split) else ""
            written = share if metric.unit == "share" else figure
            return [Card(label + mark, written(entry["last"]), f"from {written(entry['first'])}")]
    return []


def cards(digest: Digest) -> list[Card]:
    """The key figures, most important first."""
    summary = digest.summary
    part, outcomes, total = summary["participation"], summary["outcomes"], summary["client_rounds"]
    rounds = plural(summary["rounds"], "round")
    rounds += f", {duration(summary['mean_round_s'])} on average" if summary["rounds"] > 1 else ""
    within = between(summary, "end_s", duration)
    rounds = f"{within}; {rounds}" if within else rounds
    made = [
        Card("Simulated time", duration(summary["end_s"]), rounds),
        Card("Completed", share(share_of(digest, "completed")), f"of {plural(total, 'client-round')}"),
        Card("Out of memory", share(share_of(digest, "oom")), plural(outcomes["oom"], "client-round")),
    ]
    entry = dig(summary, "metrics", "validation", "loss")
    if entry:
        made.append(Card("Validation loss", figure(entry["last"]), f"from {figure(entry['first'])}"))
    made += _quality(digest)
    made += [
        Card("Energy", energy(summary["energy_j"]), f"{share(summary['wasted_j_share'])} wasted"),
        Card(
            "Traffic",
            size(summary["downloaded_bytes"] + summary["uploaded_bytes"]),
            f"{size(summary['downloaded_bytes'])} down, {size(summary['uploaded_bytes'])} up",
        ),
        Card("Took part", count(part["completed"]), f"of {plural(part['clients'], 'client')}"),
    ]
    return made


@dataclass(frozen=True)
class LayerRow:
    """One line of the table of layers: some that were trained by the same clients, one after another.

    Attributes:
        layers: which, such as ``layers 3 to 6``, ``the head``.
        completed: completed client-rounds that trained them.
        share: what share of all completed ones that is.
        clients: how many clients ever did.
        never: clients of the fleet that never did.
        ways: in which ways.
    """

    layers: str
    completed: int
    share: str
    clients: int
    never: int
    ways: str


def layer_rows(digest: Digest) -> list[LayerRow]:
    """Who trained which layers; empty where all train alike."""
    coverage, by_layer = digest.summary.get("coverage") or {}, trains(digest.run)
    done = digest.summary["outcomes"]["completed"]
    same: list[tuple[list[str], dict[str, int], list[str]]] = []
    for layer, entry in coverage.items():
        ways = by_layer.get(layer, [])
        if same and same[-1][1:] == (entry, ways) and layer.isdigit() and same[-1][0][0].isdigit():
            same[-1][0].append(layer)
        else:
            same.append(([layer], entry, ways))
    return [
        LayerRow(
            layers=_layers(layers),
            completed=entry["completed"],
            share=share(entry["completed"] / done if done else None),
            clients=entry["clients"],
            never=entry["never"],
            ways="; ".join(name(way, 60) for way in ways) or "nobody",
        )
        for layers, entry, ways in same
    ]


def _layers(layers: list[str]) -> str:
    first, last = name(layers[0], 20), name(layers[-1], 20)
    if not first.isdigit():
        return {"input": "what is before the layers", "head": "the head"}.get(first, first)
    return f"layer {first}" if len(layers) == 1 else f"layers {first} to {last}"


@dataclass(frozen=True)
class DeviceRow:
    """One line of the device table, ready to print."""

    device: str
    clients: str
    client_rounds: str
    completed: str
    lost: str
    download: str
    startup: str
    compute: str
    compute_within: str
    upload: str
    waiting: str
    footprint: str
    available: str
    energy: str
    wasted: str


def device_rows(digest: Digest) -> list[DeviceRow]:
    """The device table, busiest device first."""
    rows = []
    for device in digest.devices:
        entry: dict[str, Any] = digest.summary["devices"][device]
        outcomes, total, done = entry["outcomes"], entry["client_rounds"], entry["outcomes"]["completed"]
        lost = sorted((word for word in OUTCOMES[1:] if outcomes[word]), key=lambda word: -outcomes[word])
        rows.append(
            DeviceRow(
                device=name(device, 40),
                clients=count(entry["clients"]),
                client_rounds=count(total),
                completed=share(done / total if total else None),
                lost=", ".join(f"{count(outcomes[word])} {OUTCOME_WORDS[word]}" for word in lost) or "none",
                download=duration(entry["mean_download_s"]),
                startup=duration(entry["mean_startup_s"]),
                compute=duration(entry["mean_compute_s"]),
                compute_within=between(entry, "mean_compute_s", duration),
                upload=duration(entry["mean_upload_s"]),
                waiting=duration(entry["waiting_s"] / done if done else None),
                footprint=size(entry["footprint_bytes"]),
                available=size(entry["available_bytes"]),
                energy=energy(entry["energy_j"]),
                wasted=share(entry["wasted_j"] / entry["energy_j"] if entry["energy_j"] else None),
            )
        )
    return rows

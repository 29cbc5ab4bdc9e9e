"""The one written definition of every column and key in a run directory: name, type, unit, meaning.

The Parquet files carry these definitions in their own schema (field metadata ``unit`` and
``meaning``), the report links to them, and the writer and the reader hold files against them.

Time 0 of a run is Monday 00:00 UTC. Rounds count from 0; round -1 in ``convergence.parquet`` is the
evaluation of the initial model, before anybody has trained. A number that is not there is null, and
only a column that says when may have nulls. NaN stands only where a client or an evaluation really gave
NaN. Seconds are simulated seconds unless a meaning says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import pyarrow as pa

from fedsim.outcomes import OUTCOMES


@dataclass(frozen=True)
class Column:
    """One column of a Parquet file.

    Attributes:
        name: as in the file; ends in its unit where it has one.
        dtype: ``int64``, ``float64`` or ``string``.
        unit: ``s``, ``bytes``, ``J``, ... or empty for counts, names and shares.
        meaning: what one value says, in one sentence.
        null: when there is none; empty for a column that always has one.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    null: str = ""

    @property
    def definition(self) -> str:
        """The meaning, and when there is no value."""
        return f"{self.meaning} Null: {self.null}." if self.null else self.meaning


ROUNDS = (
    Column("round", "int64", "", "Index of the round, from 0."),
    Column("start_s", "float64", "s", "When the server chose the round's cohort."),
    Column("end_s", "float64", "s", "When the server closed the round and had the new model."),
    Column("selected", "int64", "", "Clients dispatched in this round: the sum of the seven outcomes."),
    Column("completed", "int64", "", "Clients whose update arrived in time and was aggregated."),
    Column("late", "int64", "", "Clients whose update came after the round had closed."),
    Column("oom", "int64", "", "Clients that ran out of memory."),
    Column("offline", "int64", "", "Clients that went away before their update had arrived."),
    Column("battery", "int64", "", "Clients that stopped because their battery reached its floor."),
    Column(
        "rejected", "int64", "", "Clients whose update the server refused: not finite, malformed, too large."
    ),
    Column("failed", "int64", "", "Clients that crashed."),
    Column("downloaded_bytes", "float64", "bytes", "Bytes that the clients received, partial ones too."),
    Column("uploaded_bytes", "float64", "bytes", "Bytes that the clients sent, partial ones too."),
    Column("energy_j", "float64", "J", "Energy that the clients spent on this round."),
    Column("wasted_j", "float64", "J", "The part of energy_j spent by clients that did not complete."),
    Column(
        "wasted_s",
        "float64",
        "s",
        "Seconds of download, startup, compute and upload by clients that did not complete.",
    ),
    Column(
        "loss",
        "float64",
        "",
        "Mean training loss that accepted clients report, by their weights (plain where those are unknown); "
        "NaN or infinite if one reports that.",
        "nobody was trained for real and accepted, or none of them reports a loss",
    ),
)

CLIENTS = (
    Column("round", "int64", "", "Index of the round, from 0."),
    Column("client", "int64", "", "Index of the client in the fleet, from 0."),
    Column("device", "string", "", "Name of the client's device."),
    Column("dispatched_s", "float64", "s", "When the server sent the client to work."),
    Column("download_s", "float64", "s", "Seconds really spent on receiving the model."),
    Column(
        "startup_s",
        "float64",
        "s",
        "Seconds really spent on starting up between download and training: process, imports, model, data.",
    ),
    Column("compute_s", "float64", "s", "Seconds really spent on local training."),
    Column("upload_s", "float64", "s", "Seconds really spent on sending the update."),
    Column("ended_s", "float64", "s", "When the client's part ended, well or badly."),
    Column("outcome", "string", "", "One of " + ", ".join(OUTCOMES) + "."),
    Column("footprint_bytes", "float64", "bytes", "Peak bytes of a training step of this client."),
    Column(
        "available_bytes", "float64", "bytes", "Memory left at dispatch by the system and other programs."
    ),
    Column("downloaded_bytes", "float64", "bytes", "Bytes received, also of an interrupted transfer."),
    Column("uploaded_bytes", "float64", "bytes", "Bytes sent, also of an interrupted transfer."),
    Column("energy_j", "float64", "J", "Energy that the client really spent on the round."),
    Column(
        "examples",
        "float64",
        "",
        "Examples that a round of the client goes through: of an update that a learner got, those that it "
        "was really trained on; else those of the simulated workload.",
    ),
    Column(
        "weight",
        "float64",
        "",
        "Share of the update in the new model, 0 for one that is not in it; sums to 1 over a round where all "
        "send the same part of the model, and to 0 if no update was accepted. Where they do not, it is the "
        "mean over the numbers that the update holds of its share in each.",
        "nothing is learnt (a timing-only run), or the strategy of a Flower app keeps its weights to itself",
    ),
    Column(
        "loss",
        "float64",
        "",
        "Mean local training loss as the client reports it, NaN or infinite included.",
        "the client was not trained for real, or reports none",
    ),
    Column("base_round", "int64", "", "Round whose model the client started from; differs if asynchronous."),
    Column(
        "technique",
        "string",
        "",
        "In which way the client trained, or was to: what trains, and how many layers run where not all do; "
        "the manifest's trains says which layers that are. Empty in a run of an older format.",
    ),
)

CONVERGENCE = (
    Column("round", "int64", "", "Round after which the model was evaluated; -1 is the initial model."),
    Column("time_s", "float64", "s", "Simulated time of that model."),
    Column(
        "metric",
        "string",
        "",
        "Of speech: loss, contrastive_accuracy, codebook_perplexity, wer or cer; of images: loss, accuracy; "
        "of text: loss, perplexity; others may join. The manifest's metrics say what each means.",
    ),
    Column("split", "string", "", "train, validation or test; see corpus.heard in the summary."),
    Column(
        "value",
        "float64",
        "",
        "The metric's value: loss in nats, rates and accuracies as shares (0.25 is 25%); NaN if it is none.",
    ),
)

#: The three tables of a run directory, by name; ``rounds`` lies in ``rounds.parquet`` and so on.
TABLES: Mapping[str, tuple[Column, ...]] = MappingProxyType(
    {"rounds": ROUNDS, "clients": CLIENTS, "convergence": CONVERGENCE}
)

INTERVALS = (
    Column("round", "int64", "", "Index of the round, from 0."),
    Column(
        "end_low_s", "float64", "s", "Low end of the interval of the round's end_s.", "too few draws close it"
    ),
    Column(
        "end_high_s", "float64", "s", "High end of the interval of end_s.", "too many draws never close it"
    ),
    Column(
        "length_low_s",
        "float64",
        "s",
        "Low end of the interval of end_s - start_s.",
        "too few draws close it",
    ),
    Column("length_high_s", "float64", "s", "High end of it.", "too many draws never close it"),
)

#: Every Parquet file of a run directory; ``intervals`` is there only if speeds were drawn.
FILES: Mapping[str, tuple[Column, ...]] = MappingProxyType({**TABLES, "intervals": INTERVALS})

_INTERVAL = {
    "low": "Low end of the interval of that figure under drawn speeds of the devices; null if too few draws "
    "reach it.",
    "high": "High end of it; null if too many draws never reach it.",
    "level": "How likely the figure is to lie between the two, as a share.",
    "draws": "From how many repeats under drawn speeds the two come.",
}

#: Keys of ``summary.json``; ``*`` stands for any name at that place.
SUMMARY: Mapping[str, str] = MappingProxyType(
    {
        "ended": "Why the run ended, in words.",
        "rounds": "Rounds that were closed.",
        "client_rounds": "Rows of clients.parquet: the sum of all outcomes.",
        "end_s": "Simulated time at which the last round closed.",
        "mean_round_s": "Mean of end_s - start_s over rounds; null without rounds.",
        "longest_round_s": "Longest round; null without rounds.",
        "outcomes.*": "Client-rounds by outcome.",
        "not_finite.losses": "Client-rounds that report a training loss that is NaN or infinite.",
        "not_finite.values": "Values in convergence.parquet that are NaN or infinite; metrics skip them.",
        "downloaded_bytes": "Bytes that clients received.",
        "uploaded_bytes": "Bytes that clients sent.",
        "energy_j": "Energy that clients spent.",
        "wasted_j": "The part of energy_j spent by clients that did not complete.",
        "wasted_j_share": "wasted_j / energy_j; null if no energy was spent.",
        "wasted_s": "Seconds of work by clients that did not complete.",
        "participation.clients": "Clients in the fleet.",
        "participation.selected": "Distinct clients that were dispatched at least once.",
        "participation.completed": "Distinct clients that completed at least once.",
        "participation.most": "Most rounds that one client completed.",
        "participation.gini": "Gini coefficient of completed rounds over the fleet: 0 equal, 1 one client.",
        "devices.*.clients": "Distinct clients with this device that were dispatched at least once.",
        "devices.*.client_rounds": "Client-rounds dispatched to this device.",
        "devices.*.outcomes.*": "Those by outcome.",
        "devices.*.download_s": "Seconds spent on receiving, summed.",
        "devices.*.startup_s": "Seconds spent on starting up, summed.",
        "devices.*.compute_s": "Seconds spent on training, summed.",
        "devices.*.upload_s": "Seconds spent on sending, summed.",
        "devices.*.waiting_s": "Seconds from completed clients' end to their round's end, summed.",
        "devices.*.mean_download_s": "Mean over completed client-rounds; null if none completed.",
        "devices.*.mean_startup_s": "Mean over completed client-rounds; null if none completed.",
        "devices.*.mean_compute_s": "Mean over completed client-rounds; null if none completed.",
        "devices.*.mean_upload_s": "Mean over completed client-rounds; null if none completed.",
        "devices.*.downloaded_bytes": "Bytes received.",
        "devices.*.uploaded_bytes": "Bytes sent.",
        "devices.*.energy_j": "Energy spent.",
        "devices.*.wasted_j": "The part of it spent by clients that did not complete.",
        "devices.*.footprint_bytes": "Largest footprint of a client-round; null if unknown.",
        "devices.*.available_bytes": "Least memory available at a dispatch; null if unknown.",
        "techniques.*.client_rounds": "Client-rounds dispatched to train in this way; absent where all train "
        "alike.",
        "techniques.*.completed": "Those that completed.",
        "techniques.*.share": "The share of all completed client-rounds; null if none completed.",
        "techniques.*.clients": "Distinct clients that completed a round in this way.",
        "coverage.*.completed": "Completed client-rounds that trained this layer of the model: input (all "
        "before the first), 1, 2, ... or head (all after the last); absent where all train alike.",
        "coverage.*.clients": "Distinct clients that trained it in a round that they completed.",
        "coverage.*.never": "Clients of the fleet that never did.",
        "corpus.utterances": "Utterances of the speech corpus; there is no corpus without learning.",
        "corpus.images": "Images in all splits, of a task that learns from them; keys of speech are absent.",
        "corpus.classes": "Classes of the images.",
        "corpus.speakers": "Speakers in all splits.",
        "corpus.seconds.*": "Seconds of speech by split: train, validation, test.",
        "corpus.skipped": "Recordings that could not be used.",
        "corpus.skipped_files": "Each of them and why, the first 1,000.",
        "corpus.doubtful": "Recordings that are used although they are clipped or faint; absent without any.",
        "corpus.doubtful_files": "Each of them and why, the first 1,000.",
        "corpus.heard.*": "Utterances of a held-out split of which training hears the speaker or the very "
        "recording; absent where there are none.",
        "corpus.figures": "Transcripts that hold figures or symbols; they are scored as they are written.",
        "corpus.documents": "language_model: documents of text; the keys above are those of speech.",
        "corpus.repeated": "Passages left out because another document holds them, too.",
        "corpus.tokens.*": "Tokens (bytes) that are predicted, by split: train, validation, test.",
        "corpus.unigram_loss.*": "Loss, in nats a token, of guessing by how often each token occurs in "
        "training, on the held-out text that is evaluated.",
        "corpus.sha256": "SHA-256 of the list of utterances (speaker, text, length, split, client); of the "
        "passages by document and split; or of images, as they are learned from, and their classes.",
        "examples.clock.*": "Examples of a client's round as the clock has them: least, mean, most over "
        "clients; only there if real training has others.",
        "examples.learner.*": "The same as the learner has them; updates weigh by these.",
        "metrics.*.*.first": "First value of that metric on that split (metrics.<split>.<metric>).",
        "metrics.*.*.last": "Last value.",
        "metrics.*.*.best": "Best value: largest accuracy or codebook perplexity, otherwise the smallest.",
        "metrics.*.*.first_s": "Simulated time of the first value.",
        "metrics.*.*.last_s": "Simulated time of the last value.",
        "metrics.*.*.best_s": "Simulated time at which the best value was first reached.",
        "metrics.*.*.best_round": "Round at which the best value was first reached.",
        "metrics.*.*.values": "How many values there are.",
        **{f"interval.*.{key}": meaning for key, meaning in _INTERVAL.items()},
        **{f"devices.*.interval.*.{key}": meaning for key, meaning in _INTERVAL.items()},
        **{f"metrics.*.*.interval.*.{key}": meaning for key, meaning in _INTERVAL.items()},
    }
)

#: Keys of a result in ``finetune.json``; see :mod:`fedsim.results.finetuned`.
FINETUNE: Mapping[str, str] = MappingProxyType(
    {
        "rounds_done": "Rounds after which the checkpoint was taken; 0 is the initial model.",
        "checkpoint_sha256": "SHA-256 of the checkpoint file.",
        "model": "Preset of the model.",
        "seed": "Seed of the fine-tuning: the layers on top, batches, masks, dropout.",
        "settings": "How it was fine-tuned: the keys of learning.downstream that apply.",
        "utterances": "Transcribed training utterances that were used.",
        "loss": "Mean CTC loss over the last tenth of the steps, nats a label.",
        "wer": "Word error rate over all test utterances, as a share.",
        "cer": "Character error rate over all test utterances, as a share.",
        "disjoint": "Whether no test speaker and no test recording was heard in pretraining or fine-tuning.",
        "recognised": "Each test utterance: [speaker, what was said, what was recognised].",
    }
)


@cache
def schema(table: str) -> pa.Schema:
    """The Arrow schema of one of ``FILES``, units and meanings included."""
    return pa.schema(
        [
            pa.field(
                c.name, c.dtype, nullable=bool(c.null), metadata={"unit": c.unit, "meaning": c.definition}
            )
            for c in FILES[table]
        ]
    )


def markdown() -> str:
    """All definitions as Markdown tables: the page that documents the run directory's columns."""
    parts = []
    for table, columns in FILES.items():
        rows = "".join(f"| `{c.name}` | {c.dtype} | {c.unit} | {c.definition} |\n" for c in columns)
        parts.append(
            f"## {table}.parquet\n\n| column | type | unit | meaning |\n| --- | --- | --- | --- |\n{rows}"
        )
    rows = "".join(f"| `{key}` | {meaning} |\n" for key, meaning in SUMMARY.items())
    parts.append(f"## summary.json\n\n| key | meaning |\n| --- | --- |\n{rows}")
    rows = "".join(f"| `{key}` | {meaning} |\n" for key, meaning in FINETUNE.items())
    parts.append(f"## finetune.json: results[*]\n\n| key | meaning |\n| --- | --- |\n{rows}")
    return "\n".join(parts)

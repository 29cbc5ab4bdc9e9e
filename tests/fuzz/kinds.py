"""The kinds of files that people hand to fedsim: a valid example of each, and what reads it.

``write(folder, tree)`` puts a (changed) tree there and returns the file; ``read(file)`` does all that
fedsim does with such a file until it would compute for long. Run directories are in ``runs.py``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from mutations import as_json, as_table, as_yaml

from fedsim import hardware, paths, yamlfile
from fedsim.cli import main
from fedsim.errors import about
from fedsim.fleet.spans import Clients
from fedsim.fleet.who import Who
from fedsim.tasks.speech.corpus import Manifest

ROOT = Path(__file__).resolve().parents[2]
SMALL = 2_000  # clients, and client-rounds: what a fuzzed scenario may have to be run


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: what the table calls it.
        tree: a valid one, as plain data, or what makes it.
        file: its name.
        text: a tree as bytes; None where ``write`` does it.
        read: reads the file; raises InputError or does nothing.
        share: how many of 100 inputs are of this kind, about.
        write: puts a tree into a file in place of ``text``.
    """

    name: str
    tree: Any
    file: str
    text: Callable[[Any], bytes] | None
    read: Callable[[Path], Any]
    share: float
    write: Callable[[Path, Any], None] | None = None

    def sound(self) -> Any:
        """The valid tree."""
        return self.tree() if callable(self.tree) else self.tree

    def put(self, folder: Path, tree: Any) -> Path:
        """Write a tree into the folder."""
        file = folder / self.file
        file.parent.mkdir(parents=True, exist_ok=True)
        if self.write is not None:
            self.write(file, tree)
        else:
            assert self.text is not None
            file.write_bytes(self.text(tree))
        return file


def shipped(*parts: str) -> Any:
    """The content of a YAML file that ships with fedsim."""
    return yamlfile.load(ROOT.joinpath(*parts))


class Refused(Exception):
    """The command line refused, with exit code 2 and one line."""


def command(*arguments: object) -> None:
    """Call the command line here; anything but success and a refusal fails.

    Raises:
        Refused: with the line that was printed.
    """
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
    said = err.getvalue()
    if code == 2:
        lines = [line for line in said.splitlines() if line.startswith("fedsim: ")]
        assert len(lines) == 1, said
        raise Refused(lines[0])
    assert code == 0, (code, said)


SCENARIO = {
    "name": "fuzzed",
    "description": "What happens?",
    "seed": 7,
    "hardware": {"year": 2026, "trend": "trend.yaml"},
    "fleet": {
        "clients": 8,
        "mix": [
            {
                "device": "device.yaml",
                "share": 0.5,
                "link": "wifi",
                "availability": {"kind": "trace", "file": "online.csv", "period": "1d"},
                "pressure": {"kind": "constant", "bytes": "380MB"},
                "battery": {
                    "capacity": "15Wh",
                    "floor": 0.2,
                    "start": 0.3,
                    "charge": "10W",
                    "plugged": "never",
                },
                "speed_spread": 0.1,
                "utc_offsets": [0.0, 1.5],
                "crashes_per_day": 0.5,
            },
            {
                "device": "jetson-xavier-nx",
                "share": 0.5,
                "link": "lte",
                "availability": {"kind": "markov", "mean_online": "6h", "mean_offline": "2h"},
                "pressure": "phone",
            },
        ],
    },
    "workload": {"corpus": "common-voice-it-7", "utterances": 12, "mean_seconds": 4.0, "max_seconds": 15},
    "training": {"model": "wav2vec2-tiny", "precision": "mixed", "batch_size": 4, "on_oom": "shrink-batch"},
    "rounds": {
        "count": 2,
        "cohort": 3,
        "select": "random",
        "close": {"policy": "quorum", "over": 0.5, "after": "6h"},
        "aggregate": "fedavg",
        "compression": {"kind": "top-k", "share": 0.1},
    },
    "server": {"uplink": "1Gbps", "downlink": "unlimited", "device": "nvidia-a40"},
    "learning": {
        "model": "wav2vec2-tiny",
        "corpus": {"kind": "manifest", "path": "speech.csv", "language": "it", "outside": False},
        "partition": "natural",
        "clients_per_round": 2,
        "learning_rate": 1e-3,
        "downstream": {"every": 0, "minutes": 1.0},
    },
}
SPANS = [["client", "start_s", "end_s", "bytes"]] + [
    [i % 3, i // 3 * 100, i // 3 * 100 + 60, 1000000 * i] for i in range(9)
]
NAMED = [SPANS[0], *([f"phone {row[0] * 5 + 7}", *row[1:]] for row in SPANS[1:])]
SPEECH = [["path", "speaker", "text", "split", "client", "language"]] + [
    [f"clips/{i}.wav", f"speaker {i % 4}", f"una frase {i}", "", f"c{i % 2}", "it"] for i in range(8)
]
CLIPS = [["client_id", "path", "sentence", "up_votes", "locale"]] + [
    [f"{i % 4:064x}", f"common_voice_it_{i}.mp3", 'la "frase" numero', "2", "it"] for i in range(8)
]
STEPS = [
    ["# measured here"],
    ["device", "model", "batch_size", "seconds", "longest_seconds", "precision", "seconds_per_batch"],
    ["measured", "wav2vec2-tiny", 2, 5.5, 5.5, "fp32", 3.5],
    ["measured", "wav2vec2-tiny", 4, 5.5, 8, "fp32", 6.5],
    ["measured", "wav2vec2-tiny", 8, 5.5, 5.5, "fp32", "oom"],
]


def beside(folder: Path) -> None:
    """The sound files that the scenario and the device name."""
    device = {**shipped("hardware", "raspberry-pi-4.yaml"), "title": "Mine"}
    (folder / "device.yaml").write_bytes(as_yaml(device))
    (folder / "measured.yaml").write_bytes(as_yaml({**device, "measurements": "steps.csv"}))
    (folder / "steps.csv").write_bytes(as_table(STEPS, ","))
    (folder / "trend.yaml").write_bytes(as_yaml(shipped("hardware", "trends", "epoch.yaml")))
    (folder / "online.csv").write_bytes(as_table([row[:3] for row in SPANS], ","))
    (folder / "speech.csv").write_bytes(as_table(SPEECH, ","))
    (folder / "clips").mkdir(exist_ok=True)
    for number in range(8):
        noise = np.random.default_rng(number).normal(0.0, 0.1, 16_000)
        soundfile.write(folder / "clips" / f"{number}.wav", noise, 16_000)


def read_scenario(file: Path) -> None:
    from fedsim.scenario import dump, load
    from fedsim.simulation.compose import check

    scenario = load(file).scenario
    yamlfile.parse(dump(scenario), "again")
    if scenario.fleet.clients <= SMALL:
        with about(file):
            check(scenario)


def validate(file: Path) -> None:
    try:
        from fedsim.scenario import load

        if load(file).scenario.fleet.clients > SMALL:
            return
    except Exception:
        pass
    command("validate", file, "--json")


def read_sweep(file: Path) -> None:
    from fedsim.scenario.sweep import load

    load(file)


def read_device(file: Path) -> None:
    from fedsim.pricing.calibration import calibrate

    device = hardware.load_device(str(file))
    calibrate(device)


def read_trend(file: Path) -> None:
    trend = hardware.load_trend(str(file))
    hardware.project(hardware.load_device("raspberry-pi-4"), 2035, trend)


def read_trace(file: Path) -> None:
    from fedsim.pricing.answer import answer, pricer_of

    pricer, samples = pricer_of("raspberry-pi-4", str(file), 4.0)
    json.dumps(answer(pricer, 2, samples))


def read_online(file: Path, clients: Clients = "by-number") -> None:
    from fedsim.fleet.availability import Replay

    replay = Replay(str(file), 86_400.0, clients).load()
    assert (replay.spans.ids >= 0).all()
    who = _three()
    for time in (0.0, 130.0, 1e6):
        at = np.full(3, time)
        assert (replay.offline_from_s(who, at) >= at).all()
        online_s = replay.online_from_s(who, at)
        assert (online_s >= at).all()
        if clients == "by-number":
            assert np.isinf(online_s[~np.isin(who.index, replay.spans.ids)]).all()


def read_profile(file: Path) -> None:
    from fedsim.fleet import pressure
    from fedsim.fleet.family import alone

    model = alone(pressure.File(str(file)).load())
    who, start = _three(), np.full(3, 130.0)
    assert (model.bytes_at(who, start) >= 0).all()
    model.first_exceeds_s(who, np.full(3, 2e6), start, np.full(3, 1e4))


def read_pressure(file: Path, clients: Clients = "by-number") -> None:
    from fedsim.fleet.pressure import Replay

    replay = Replay(str(file), clients=clients).load()
    assert (replay.spans.ids >= 0).all()
    who = _three()
    assert (replay.bytes_at(who, np.full(3, 130.0)) >= 0).all()
    replay.first_exceeds_s(who, np.full(3, 2e6), np.zeros(3), np.full(3, 1e4))


def _three() -> Who:
    return Who(np.arange(3), np.zeros(3), np.zeros(3), 1)


def read_manifest(file: Path) -> None:

    from fedsim.tasks.speech.corpus import listing, manifest

    spec = Manifest(path=str(file), language="it")
    listing.hold_out(manifest.read(file, spec).recordings, 1, file)


def read_common_voice(file: Path) -> None:
    from fedsim.tasks.speech.corpus import CommonVoice, common_voice

    common_voice.read(file.parent, CommonVoice(path=str(file.parent)))


def read_steps(file: Path) -> None:
    from fedsim.pricing import calibration

    calibration._calibrate.cache_clear()  # the device is the same, its measurements are not
    read_device(file.parent / "measured.yaml")


def read_lengths(file: Path) -> None:
    from fedsim.fleet import speech

    speech.load(str(file))


def parquet(file: Path, tree: Any) -> None:
    """A table whose columns have whatever types their cells suggest."""
    header, *rows = tree if isinstance(tree, list) and tree and isinstance(tree[0], list) else [[str(tree)]]
    columns = {}
    for place, name in enumerate(header):
        cells = [row[place] if isinstance(row, list) and place < len(row) else None for row in rows]
        try:
            columns[str(name).encode("utf-8", "replace").decode()] = pa.array(cells)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            columns[str(name).encode("utf-8", "replace").decode()] = pa.array(
                [str(cell).encode("utf-8", "replace").decode() for cell in cells]
            )
    pq.write_table(pa.table(columns), file)


def _sweep() -> dict[str, Any]:
    return {
        **{key: value for key, value in SCENARIO.items() if key != "learning"},
        "sweep": {
            "hardware.year": [2026, 2028],
            "zip": {"fleet.mix[0].link": ["wifi", "lte"], "rounds.cohort": [2, 3]},
            "cases": {"as sold": {}, "mixed": {"training.precision": "fp32"}},
            "figures": ["end_s", "energy_j"],
        },
    }


def _trace() -> Any:
    """The first layers of a real trace, with their profiles and blocks."""
    whole = json.loads((paths.data_dir("traces") / "wav2vec2-tiny.json").read_text())
    nodes = whole["nodes"][:4]
    names, profiles = {node["id"] for node in nodes}, {node["profile"] for node in nodes}
    blocks = {node.get("block") for node in nodes}
    graph = whole["graph"]
    graph["profiles"] = {key: value for key, value in graph["profiles"].items() if key in profiles}
    graph["blocks"] = {key: value for key, value in graph["blocks"].items() if key in blocks}
    edges = [edge for edge in whole["edges"] if {edge["source"], edge["target"]} <= names]
    return {**whole, "nodes": nodes, "edges": edges}


def _device() -> dict[str, Any]:
    device = {**shipped("hardware", "raspberry-pi-4.yaml"), "relative": "raspberry-pi-5"}
    device["thermal"] = {"sustained": 0.8, "throttle_after": "10min"}
    sources = {**device["sources"], "thermal": "estimated: a guess", "rates": "measured here"}
    kinds = dict.fromkeys(("conv", "grouped_conv", "matmul", "attention"), "1GFLOP/s")
    rates = {"launch": "8us", "bandwidth": "1GB/s", "fp32": kinds}
    return {**device, "sources": sources, "rates": rates}


def kinds() -> list[Kind]:
    """All of them; shares add up to about 80, and the rest are run directories."""
    online = [row[:3] for row in SPANS]
    named = [row[:3] for row in NAMED]

    def comma(tree: Any) -> bytes:
        return as_table(tree, ",")

    return [
        Kind("scenario", SCENARIO, "fuzzed.yaml", as_yaml, read_scenario, 22),
        Kind("scenario, fedsim validate", SCENARIO, "fuzzed.yaml", as_yaml, validate, 2),
        Kind("sweep", _sweep(), "sweep.yaml", as_yaml, read_sweep, 6),
        Kind("device", _device(), "mine.yaml", as_yaml, read_device, 12),
        Kind("measurements", STEPS, "steps.csv", comma, read_steps, 0.3),
        Kind(
            "link",
            shipped("hardware", "links", "lte.yaml"),
            "mine.yaml",
            as_yaml,
            lambda f: hardware.load_link(str(f)),
            4,
        ),
        Kind("trend", shipped("hardware", "trends", "epoch.yaml"), "mine.yaml", as_yaml, read_trend, 5),
        Kind(
            "lengths",
            shipped("traces", "lengths", "common-voice-it-7.yaml"),
            "mine.yaml",
            as_yaml,
            read_lengths,
            1,
        ),
        Kind("layer trace", _trace(), "mine.json", as_json, read_trace, 6),
        Kind("manifest", SPEECH, "speech.csv", comma, read_manifest, 8),
        Kind(
            "Common Voice", CLIPS, "cv/validated.tsv", lambda tree: as_table(tree, "\t"), read_common_voice, 6
        ),
        Kind("availability, CSV", online, "online.csv", comma, read_online, 3),
        Kind("availability, Parquet", online, "online.parquet", None, read_online, 2, parquet),
        Kind("in turn, CSV", named, "online.csv", comma, partial(read_online, clients="repeat"), 1),
        Kind(
            "in turn, Parquet", named, "t.parquet", None, partial(read_online, clients="repeat"), 1, parquet
        ),
        Kind(
            "pressure profile",
            shipped("hardware", "pressure", "phone.yaml"),
            "mine.yaml",
            as_yaml,
            read_profile,
            5,
        ),
        Kind("pressure, CSV", SPANS, "held.csv", comma, read_pressure, 3),
        Kind("pressure, Parquet", SPANS, "held.parquet", None, read_pressure, 2, parquet),
        Kind("held in turn, CSV", NAMED, "held.csv", comma, partial(read_pressure, clients="repeat"), 1),
        Kind(
            "held in turn, Parquet",
            NAMED,
            "t.parquet",
            None,
            partial(read_pressure, clients="repeat"),
            1,
            parquet,
        ),
    ]

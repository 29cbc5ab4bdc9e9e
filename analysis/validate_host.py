"""Hold predicted step time and peak memory against real training steps on this machine.

    python analysis/validate_host.py [--host host.yaml] [--threads N] [--steps 8] [--repeats 2]

Real means: transformers' own models at full size with their losses (Wav2Vec2ForPreTraining with masking, 100
negatives, contrastive and diversity loss), eager attention and torch's Adam, in fp32 or (on a GPU) autocast
to fp16 with its loss scaled. Every setting runs in fresh processes, so that the peak resident size
(VmHWM) is its own. The device file comes from ``fedsim calibrate``, which has timed single operators
at other batches and lengths and no step; or it is any other (``--host hardware/nvidia-h100.yaml``).
"""

# %% What is run
from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

SETTINGS = {
    "cpu": [
        ("wav2vec2-base", 1, 3.0, "fp32"),
        ("wav2vec2-base", 1, 5.5, "fp32"),
        ("wav2vec2-base", 2, 5.5, "fp32"),
        ("wav2vec2-base", 4, 5.5, "fp32"),
        ("wav2vec2-base", 2, 8.0, "fp32"),
        ("wav2vec2-large", 1, 3.0, "fp32"),
        ("bert-base", 8, 128, "fp32"),
        ("resnet-18", 16, 224, "fp32"),
        ("whisper-tiny", 2, 64, "fp32"),
        ("wav2vec2-base", 4, 5.5, "fp32", "lora:8"),
        ("wav2vec2-base", 4, 5.5, "fp32", "last:2"),
        ("wav2vec2-base", 4, 5.5, "fp32", "layer:6"),
    ],
    "cuda": [
        ("wav2vec2-base", 1, 5.5, "fp32"),
        ("wav2vec2-base", 4, 5.5, "fp32"),
        ("wav2vec2-base", 8, 15.0, "fp32"),
        ("wav2vec2-large", 4, 5.5, "fp32"),
        ("wav2vec2-base", 4, 5.5, "mixed"),
        ("wav2vec2-base", 8, 15.0, "mixed"),
        ("wav2vec2-large", 4, 5.5, "mixed"),
    ],
}
"""Model, batch, size of an example (seconds of speech, tokens of text, pixels a side), precision, what trains
(all, where nothing is said)."""
KEYS = ("model", "batch", "size", "precision", "train")
Setting = tuple[str, int, float, str, str]
RESULTS = Path(__file__).resolve().parent / "results"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--host", type=Path, help="device file of fedsim calibrate; made if it is missing")
    parser.add_argument("--threads", type=int, help="that compute; torch's choice by default")
    parser.add_argument("--minutes", type=float, default=3.0, help="for fedsim calibrate")
    parser.add_argument("--steps", type=int, default=8, help="in each process; the first does not count")
    parser.add_argument("--repeats", type=int, default=2, help="processes for each setting, interleaved")
    parser.add_argument("--measured", type=Path, help="JSON of an earlier run: its steps, predicted anew")
    parser.add_argument("--out", type=Path, default=RESULTS / "validate_host.csv")
    parser.add_argument("--only", metavar="WORD", help="settings whose words hold it, such as lora or bert")
    one = ("MODEL", "BATCH", "SIZE", "PRECISION", "TRAIN")
    parser.add_argument("--one", nargs=5, metavar=one, help=argparse.SUPPRESS)
    return parser.parse_args()


def settings(args: argparse.Namespace) -> list[Setting]:
    """Those of the device, as far as they are asked for."""
    found = [(*row, "all")[:5] for row in SETTINGS[args.device]]
    return [row for row in found if args.only is None or args.only in " ".join(map(str, row))]


# %% One process: real steps of one setting
def real_steps(
    model_name: str,
    batch: int,
    size: float,
    precision: str,
    train: str,
    device: str,
    threads: int,
    steps: int,
) -> dict[str, Any]:
    """Train for a few steps; seconds of each by wall and processor, and the peak of memory."""
    import torch

    from fedsim.measure.steps import make

    torch.set_num_threads(threads)
    step = make(model_name, batch, size, precision, device, train)
    rows = []
    for _ in range(steps):
        wall, processor = time.perf_counter(), time.process_time()
        loss = step()
        rows.append((time.perf_counter() - wall, time.process_time() - processor))
    assert bool(torch.isfinite(loss)), "the step did not train"
    return {
        "wall_s": [r[0] for r in rows],
        "processor_s": [r[1] for r in rows],
        "peak_bytes": peak_bytes(device),
    }


def peak_bytes(device: str) -> int:
    """Peak resident size of this process; on a GPU, the peak that was allocated there."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024


def in_fresh_process(setting: Setting, args: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", __file__, "--one", *map(str, setting)]
    command += ["--device", args.device, "--threads", str(args.threads), "--steps", str(args.steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{setting} failed: {done.stderr.strip().splitlines()[-1:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


# %% Predictions, and both side by side
def predicted(
    device: Any, model_name: str, batch: int, size: float, precision: str, train: str
) -> tuple[float, float]:
    """Seconds of a step, and its peak bytes (on a GPU: of tensors, without runtime and slack)."""
    from fedsim.pricing import Technique, load_trace
    from fedsim.pricing.pricer import Pricer
    from fedsim.pricing.sizes import counted

    trace = load_trace(model_name)
    pricer = Pricer(device, trace, Technique.of(precision=precision, train=train))
    length = counted(trace, size) if trace.sizes else 1
    parts = pricer.footprint(batch, length)
    left_out = ("runtime", "slack") if device.backend == "cuda" else ()
    return float(pricer.step_s(batch, length)), float(sum(v for k, v in parts.items() if k not in left_out))


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Run every setting as often as asked, one after the other each time."""
    runs = []
    for _ in range(args.repeats):
        for setting in settings(args):
            found = dict(zip(KEYS, setting, strict=True))
            runs.append(found | in_fresh_process(setting, args))
            print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return runs


def compare(args: argparse.Namespace, device: Any, measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a setting: what was said of it, and what it took."""
    # One thread that never waits: its processor time is the wall time of an idle machine.
    clock = "processor_s" if args.device == "cpu" and args.threads == 1 else "wall_s"
    rows = []
    for setting in settings(args):
        runs = [r for r in measured if tuple(r[key] for key in KEYS) == setting]
        step_s, peak = predicted(device, *setting)
        measured_s = median(s for run in runs for s in run[clock][1:])
        measured_bytes = median(run["peak_bytes"] for run in runs)
        rows.append(
            {
                **dict(zip(KEYS, setting, strict=True)),
                "predicted_step_s": round(step_s, 4),
                "measured_step_s": round(measured_s, 4),
                "step_error": round(step_s / measured_s - 1, 4),
                "fastest_step_s": round(min(s for run in runs for s in run[clock][1:]), 4),
                "wall_step_s": round(median(s for run in runs for s in run["wall_s"][1:]), 4),
                "predicted_peak_bytes": round(peak),
                "measured_peak_bytes": round(measured_bytes),
                "peak_error": round(peak / measured_bytes - 1, 4),
                "steps": sum(len(run[clock]) - 1 for run in runs),
                "clock": "processor" if clock == "processor_s" else "wall",
            }
        )
    return rows


def about(args: argparse.Namespace, device: Any) -> dict[str, Any]:
    """How it was measured, for the head of the table."""
    import torch
    import transformers

    return {
        "processor": device.title.split(",")[0],
        "device": args.device,
        "threads": args.threads,
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "date": datetime.date.today().isoformat(),
        "calibration": device.source_of("rates"),
    }


def write(path: Path, head: dict[str, Any], rows: list[dict[str, Any]], runs: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8", newline=""
    ) as draft:
        draft.writelines(f"# {key}: {value}\n" for key, value in head.items())
        writer = csv.DictWriter(draft, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    Path(draft.name).chmod(0o644)
    Path(draft.name).replace(path)
    text = json.dumps({"machine": head, "results": rows, "runs": runs}, indent=2) + "\n"
    path.with_suffix(".json").write_text(text, encoding="utf-8")


def show(rows: list[dict[str, Any]]) -> None:
    print(
        f"{'setting':34}{'step: predicted':>16}{'measured':>10}{'':>7}{'peak: predicted':>18}{'measured':>12}"
    )
    for row in rows:
        setting = f"{row['model']} {row['batch']} x {row['size']:g} {row['precision']}"
        setting += "" if row["train"] == "all" else f" {row['train']}"
        peaks = [row[f"{which}_peak_bytes"] / 2**30 for which in ("predicted", "measured")]
        print(
            f"{setting:34}{row['predicted_step_s']:14.3f} s{row['measured_step_s']:8.3f} s"
            f"{row['step_error']:+7.1%}{peaks[0]:14.3f} GiB{peaks[1]:8.3f} GiB{row['peak_error']:+7.1%}"
        )


# %% All of it
def main() -> None:
    args = options()
    if args.one:
        name, batch, size, precision, train = args.one
        how = (args.device, args.threads, args.steps)
        found = real_steps(name, int(batch), float(size), precision, train, *how)
        print(json.dumps(found))
        return
    from fedsim.hardware import load_device
    from fedsim.measure.calibrate import check

    args.threads = check(args.device, args.threads)
    host = args.host or args.out.with_name("host.yaml")
    if not host.is_file():
        command = [sys.executable, "-m", "fedsim", "calibrate", "--device", args.device, "--out", str(host)]
        command += ["--threads", str(args.threads), "--minutes", str(args.minutes)]
        subprocess.run(command, check=True)
    device = load_device(str(host))
    predicted(device, *settings(args)[0])  # what cannot be predicted need not be measured
    head = about(args, device)
    if args.measured:
        earlier = json.loads(args.measured.read_text(encoding="utf-8"))
        head = earlier["machine"] | {"calibration": head["calibration"]}
        runs = [
            {"size": run.get("seconds"), "train": "all", **run} for run in earlier["runs"]
        ]  # as they were
        args.device, args.threads = head["device"], head["threads"]
    else:
        runs = measure(args)
    rows = compare(args, device, runs)
    write(args.out, head, rows, runs)
    show(rows)
    print(f"wrote {args.out} and {args.out.with_suffix('.json').name}")


if __name__ == "__main__":
    main()

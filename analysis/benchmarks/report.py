"""How fast does a report open, and how large is it: 1,000 rounds of a fleet of 10,000.

    python analysis/benchmarks/report.py [--json FILE] [--run DIR] [--times 5]

Runs a timing-only scenario (a cohort of 1,000, so a million client-rounds), makes its report, and
opens it in headless Chromium from the disk: from the start of the navigation until every chart is
drawn. Beside it stand an empty page in the same browser, and the goals: 2 s and 5 MB. ``--run`` takes
a run directory that is there already, whose report is made again. Needs a Chromium (``make browser``).
"""

# %% Setup
from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import fedsim
from fedsim.report import build

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from browser import LAPTOP, PHONE, Browser, chromium

OPEN_GOAL_S, SIZE_GOAL_BYTES = 2.0, 5e6
SCENARIO: dict[str, Any] = {
    "name": "report-benchmark",
    "seed": 3,
    "fleet": {
        "clients": 10_000,
        "mix": [
            {"device": "jetson-orin-nano-super", "share": 0.2, "link": "wifi", "speed_spread": 0.05},
            {"device": "raspberry-pi-5", "share": 0.2, "link": "ethernet"},
            {
                "device": "snapdragon-8-gen-3",
                "share": 0.3,
                "link": "5g",
                "availability": "overnight",
                "pressure": "phone",
            },
            {
                "device": "snapdragon-870",
                "share": 0.2,
                "link": "lte",
                "availability": "overnight",
                "pressure": "phone",
            },
            {"device": "jetson-xavier-nx", "share": 0.1, "link": "wifi"},
        ],
    },
    "workload": {"utterances": 20, "max_seconds": 10},
    "training": {"model": "wav2vec2-base", "precision": "mixed", "batch_size": 2},
    "rounds": {"count": 1000, "cohort": 1000, "close": {"policy": "deadline", "after": "1h"}},
    "server": {"uplink": "1000Gbps", "downlink": "1000Gbps"},
}


# %% Measuring
def seconds_to_drawn(browser: Browser, file: Path, size: tuple[int, int]) -> float:
    """From the start of the navigation until the page is loaded and its charts are drawn."""
    with browser.open(file, size) as seen:
        assert not seen.errors, seen.errors
        return float(seen.page.evaluate("performance.now()")) / 1000


def measure(report: Path, empty: Path, times: int) -> list[dict[str, Any]]:
    """The median of some openings each, in turn, so that other work disturbs all alike."""
    from playwright.sync_api import sync_playwright

    where = chromium()
    if where is None:
        sys.exit("no Chromium here: make browser")
    kinds = {"laptop": (report, LAPTOP), "phone": (report, PHONE), "empty page": (empty, LAPTOP)}
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    with sync_playwright() as playwright:
        browser = Browser(playwright, where)
        seconds_to_drawn(browser, empty, LAPTOP)
        for _ in range(times):
            for kind, (file, size) in kinds.items():
                found[kind].append(seconds_to_drawn(browser, file, size))
        browser.close()
    results = [
        result(f"report opens on a {kind}, median of {times}", median(found[kind]), "s", OPEN_GOAL_S)
        for kind in ("laptop", "phone")
    ]
    results.append(result("an empty page opens", median(found["empty page"]), "s", None))
    return [*results, result("report.html", report.stat().st_size, "bytes", SIZE_GOAL_BYTES)]


def result(name: str, value: float, unit: str, reference: float | None) -> dict[str, Any]:
    """A line of the benchmark; the reference is the goal, so a ratio below 1 meets it."""
    ratio = None if reference is None else value / reference
    return {"name": name, "value": value, "unit": unit, "reference": reference, "ratio": ratio}


# %% Main
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory = asked.run or fedsim.run(SCENARIO, Path(folder) / "run").path
        start = time.process_time()
        report = build.write(directory, Path(folder) / "report").html
        made_s = time.process_time() - start
        empty = Path(folder) / "empty.html"
        empty.write_text("<!DOCTYPE html><title>empty</title>", encoding="utf-8")
        results = measure(report, empty, asked.times)
    results.append(result("report made, processor time", made_s, "s", None))
    for line in results:
        goal = "" if line["ratio"] is None else f"   {line['ratio']:.2f} of the goal"
        print(f"{line['name']:45} {line['value']:12,.3f} {line['unit']}{goal}")
    if asked.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        asked.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")

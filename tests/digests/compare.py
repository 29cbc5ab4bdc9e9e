"""Run every scenario that ships and hold its tables against digests, byte for byte.

    python tests/digests/compare.py [NAME ...]         # all, or quickstart, paper/fl10-real, years, ...
    python tests/digests/compare.py --write [NAME ...] # take the digests of the code as it is

``before.sha256`` goes back to version 0.1, before its rooms were rebuilt (Python 3.11, numpy 2.4, torch 2.13
on a CPU with AVX-512): a refactoring changes nothing in it. It was taken again, with every value held against
the one before, when what is not there became null in place of NaN, and when the examples of ``quickstart``
and ``bad-clients`` became those really trained on; and again for ``clients.parquet`` alone, when it said in
which way a client trained. Real training rounds as the processor does, so on another kind of processor the
digests of ``quickstart`` and ``bad-clients`` may differ; take them there from the older code first.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KNOWN = Path(__file__).with_name("before.sha256")
TIMED = ("paper/fl10-real", "real-italian")  # they learn from speech that is not here: their times alone


def known() -> dict[str, str]:
    """Digest by table, such as ``quickstart/rounds.parquet``."""
    lines = KNOWN.read_text(encoding="utf-8").split("\n")
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines if line)}


def names() -> list[str]:
    """The scenarios and the sweep that have digests."""
    runs = {path.rpartition("/")[0] for path in known()}
    return sorted({"years" if run.startswith("years/") else run for run in runs})


def digests(name: str, place: Path) -> dict[str, str]:
    """Run one of them into a place; the digests of its tables."""
    how = ["sweep", name] if name == "years" else ["run", name, "--no-report"]
    how += ["--draws", "0", *(["--set", "learning=null"] if name in TIMED else [])]
    asked = [sys.executable, "-m", "fedsim", *how, "--out", str(place / name), "--quiet"]
    subprocess.run(asked, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    tables = [path for path in sorted((place / name).rglob("*.parquet")) if path.stem != "sweep"]  # addresses
    return {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() for path in tables}


def differing(name: str) -> list[str]:
    """The tables of one that are not as they were."""
    with tempfile.TemporaryDirectory() as place:
        found = digests(name, Path(place))
    was = {path: digest for path, digest in known().items() if path.startswith(f"{name}/")}
    return sorted(path for path in was.keys() | found.keys() if was.get(path) != found.get(path))


def main(arguments: list[str]) -> int:
    """Compare, or write; the exit code."""
    write = "--write" in arguments
    wanted = [name for name in arguments if name != "--write"] or names()
    bad = 0
    for name in wanted:
        if write:
            with tempfile.TemporaryDirectory() as place:
                fresh = digests(name, Path(place))
            merged = {k: v for k, v in known().items() if not k.startswith(f"{name}/")} | fresh
            KNOWN.write_text("".join(f"{merged[k]}  {k}\n" for k in sorted(merged)), encoding="utf-8")
            continue
        changed = differing(name)
        bad += bool(changed)
        print(f"{name}: {'same bytes' if not changed else 'DIFFERS: ' + ', '.join(changed[:6])}", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

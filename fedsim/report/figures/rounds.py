"""Round by round: how long each took, and how its client-rounds ended.

Of long runs, neighbouring rounds are put together, so that a bar stays wide enough to be seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.outcomes import OUTCOMES
from fedsim.report.digest import Digest
from fedsim.report.figures.chart import Chart, shading
from fedsim.report.live import ROUNDS, by_time, chart, figures
from fedsim.report.style import Canvas, Theme, canvas, legend, whole_numbers
from fedsim.report.text import duration, share, time_unit
from fedsim.report.words import OUTCOME_WORDS
from fedsim.words import plural

_MOST_BARS = 100
_MOST_LIVE = 1500


def bins(size: int, most: int = _MOST_BARS) -> NDArray[np.int64]:
    """Edges that put ``size`` rounds into at most ``most`` bars, all but the last alike."""
    step = max(1, -(-size // most))
    return np.append(np.arange(0, size, step), size)


def title(digest: Digest) -> str:
    """The finding: usual and longest round, and how many completed."""
    summary = digest.summary
    rounds = summary["rounds"]
    done = summary["outcomes"]["completed"] / summary["client_rounds"] if summary["client_rounds"] else None
    part = {None: None, 0.0: "no client-round completes", 1.0: "all client-rounds complete"}.get(
        done, f"{share(done)} of client-rounds complete"
    )
    tail = f"; {part}" if part else ""
    if rounds == 1:
        return f"The round takes {duration(summary['mean_round_s'])}{tail}"
    mean, longest = duration(summary["mean_round_s"]), duration(summary["longest_round_s"])
    same = mean == longest
    return (
        f"Every round takes {mean}" if same else f"A round takes {mean} on average, {longest} at most"
    ) + tail


def _within(digest: Digest, edges: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """float64[2, bars]: ends of the mean length of a bar's rounds; None if no speeds were drawn."""
    if digest.intervals is None:
        return None
    ends = [digest.intervals[name] for name in ("length_low_s", "length_high_s")]
    return np.array([np.add.reduceat(end, edges[:-1]) / np.diff(edges) for end in ends])


def draw(digest: Digest, theme: Theme) -> Canvas:
    """Draw round lengths above, stacked outcomes below."""
    length = digest.rounds["end_s"] - digest.rounds["start_s"]
    edges = bins(length.size)
    sizes = np.diff(edges)
    starts = digest.rounds["round"][edges[:-1]].astype(float)
    with canvas(theme, title(digest), 3.7) as frame:
        upper, lower = frame.axes(2, sharex=True, height_ratios=(1, 1.25))
        second, unit = time_unit(float(length.max()))
        centre, width = starts + (sizes - 1) / 2, sizes * (0.86 if length.size < 60 else 1.0)
        means = np.add.reduceat(length, edges[:-1]) / sizes
        upper.bar(centre, means / second, width=width, color=theme.blue)
        if (within := _within(digest, edges)) is not None:
            low, high = within / second
            upper.bar(centre, high - low, width=width, bottom=low, color=theme.ink, alpha=0.25)
        upper.set_ylabel(f"round length ({unit})")
        upper.set_ylim(bottom=0)
        base = np.zeros(sizes.size)
        for word in OUTCOMES:
            counts = digest.rounds[word].astype(float)
            if counts.any():
                mean = np.add.reduceat(counts, edges[:-1]) / sizes
                lower.bar(
                    centre,
                    mean,
                    width=width,
                    bottom=base,
                    color=theme.outcome[word],
                    label=OUTCOME_WORDS[word],
                )
                base += mean
        lower.set_ylabel("clients a round")
        lower.set_xlabel(
            "round" if sizes.max() == 1 else f"round (a bar is the mean of {plural(int(sizes[0]), 'round')})"
        )
        lower.set_xlim(starts[0] - 0.8, digest.rounds["round"][-1] + 0.8)
        whole_numbers(lower, "x")
        whole_numbers(lower, "y")
        legend(frame, lower)
        frame.figure.align_ylabels([upper, lower])
        return frame


def live(digest: Digest) -> dict[str, Any]:
    """Bars as drawn, but narrower ones: by round, or each as wide as its rounds took."""
    table = digest.rounds
    edges = bins(table["round"].size, _MOST_LIVE)
    sizes = np.diff(edges)
    first, last = table["round"][edges[:-1]], table["round"][edges[1:] - 1]
    begin, end = table["start_s"][edges[:-1]], table["end_s"][edges[1:] - 1]
    length = np.add.reduceat(table["end_s"] - table["start_s"], edges[:-1]) / sizes
    second, unit = time_unit(float((table["end_s"] - table["start_s"]).max()))
    spans = {
        "from": {"round": (first - 0.5).tolist(), "time": figures(begin, 9)},
        "to": {"round": (last + 0.5).tolist(), "time": figures(end, 9)},
        "names": [f"round {a}" if a == b else f"rounds {a} to {b}" for a, b in zip(first, last, strict=True)],
    }
    outcomes = [
        {
            "label": OUTCOME_WORDS[word],
            "colour": word,
            "y": figures(np.add.reduceat(table[word].astype(float), edges[:-1]) / sizes),
        }
        for word in OUTCOMES
        if table[word].any()
    ]
    upper = {"kind": "stack", "ylabel": f"round length ({unit})", "format": "s", "divisor": second, **spans}
    lower = {"kind": "stack", "ylabel": "clients a round", "format": "count", "height": 230, **spans}
    modes = [ROUNDS, by_time(*time_unit(float(end.max())))]
    bars: dict[str, Any] = {"label": "length", "colour": "blue", "y": figures(length)}
    if (within := _within(digest, edges)) is not None:
        bars["within"] = [figures(end) for end in within]
    panels = [{**upper, "series": [bars]}, *([{**lower, "series": outcomes}] if outcomes else [])]
    return chart("rounds", modes, *panels)


CHART = Chart(
    name="rounds",
    heading="Rounds and outcomes",
    ready=lambda digest: digest.summary["rounds"] > 0,
    title=title,
    caption=lambda digest: (
        "Above, how long each round lasted on the simulated clock; below, how its client-rounds ended."
        + shading(digest)
    ),
    draw=draw,
    live=live,
)

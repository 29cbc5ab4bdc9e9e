"""``report.html``: one page that carries everything with it.

Pictures are inlined, once for light and once for dark, and so are the scripts that make them
interactive; nothing is loaded from anywhere, and the page's own policy forbids it, and any script but
these two. Every text from a run is escaped by the template, or lies in the charts' data block.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import combinations
from typing import Any

import jinja2
from markupsafe import Markup

from fedsim.errors import one_line
from fedsim.outcomes import MEANINGS, OUTCOMES
from fedsim.report import live, words
from fedsim.report.digest import Digest
from fedsim.report.style import DARK, LIGHT, Rendered
from fedsim.report.text import dig, name, share
from fedsim.results.columns import FILES, SUMMARY, TABLES
from fedsim.words import count

#: Height of a picture's frame, title, tools and caption, in pixels.
_WORDS_PX = 240


@dataclass(frozen=True)
class Picture:
    """A picture with its words, in both themes, and its interactive chart."""

    name: str
    heading: str
    title: str
    caption: str
    light: Rendered
    dark: Rendered
    live: dict[str, Any]


@cache
def _environment() -> jinja2.Environment:
    folder = resources.files("fedsim.report") / "templates"
    names = ("base.html", "pictures.html", "report.html", "compare.html", "report.css")
    files = {name: (folder / name).read_text(encoding="utf-8") for name in names}
    made = jinja2.Environment(
        loader=jinja2.DictLoader(files),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["count"] = count
    made.filters["data_uri"] = lambda png: "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return made


def columns(pictures: list[Picture]) -> list[list[tuple[int, Picture]]]:
    """Pictures in two columns of nearly equal height, each with its place in the reading order.

    The first two lie side by side; all ways to place the others are tried, and there are few.
    """
    heights: list[int] = [
        sum(p["height"] for p in picture.live["panels"]) + _WORDS_PX for picture in pictures
    ]
    free = range(2, len(pictures))

    def imbalance(right: tuple[int, ...]) -> int:
        mine = sum(heights[place] for place in (1, *right) if place < len(heights))
        return abs(sum(heights) - 2 * mine)

    splits = (split for size in range(len(free) + 1) for split in combinations(free, size))
    right = {1, *min(splits, key=imbalance)}
    placed = list(enumerate(pictures))
    return [[item for item in placed if (item[0] in right) is side] for side in (False, True)]


def outcome_rows(digest: Digest) -> list[dict[str, Any]]:
    """The outcome table: word, count, share, bar width, colour, meaning; outcomes that occurred first."""
    total = digest.summary["client_rounds"]
    counts = digest.summary["outcomes"]
    return [
        {
            "word": word,
            "label": words.OUTCOME_WORDS[word],
            "count": count(counts[word]),
            "share": share(counts[word] / total if total else None),
            "percent": round(100 * counts[word] / total, 3) if total else 0,
            "meaning": MEANINGS[word],
        }
        for word in OUTCOMES
        if counts[word] or word == "completed"
    ]


def _facts(digest: Digest) -> list[tuple[str, str]]:
    """What went in, as label and value."""
    manifest = digest.run.manifest
    versions = dig(manifest, "versions")
    command = dig(manifest, "volatile", "command")
    facts = [
        ("Scenario", name(digest.name, 80)),
        ("Fleet", words.fleet(digest)),
        ("Seed", str(dig(manifest, "seed"))),
        ("Command", " ".join(map(str, command)) if isinstance(command, list) else ""),
        ("Made", str(dig(manifest, "volatile", "created") or "")),
        (
            "Versions",
            ", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, dict) else "",
        ),
    ]
    return [(label, one_line(value)) for label, value in facts if value]


def _inputs(digest: Digest) -> list[tuple[str, str]]:
    inputs = dig(digest.run.manifest, "inputs")
    if not isinstance(inputs, dict):
        return []
    return [(one_line(label), one_line(dig(entry, "sha256"))) for label, entry in inputs.items()]


def live_parts(charts: list[dict[str, Any]]) -> dict[str, Any]:
    """What a template needs for its interactive charts; scripts and data are safe as they are."""
    return {
        "data": Markup(live.block(charts)),
        "scripts": [Markup(script) for script in live.scripts()],
        "policy": Markup(live.policy()),
        "uplot_style": Markup(live.style()),
        "colours": [("light", live.colours(LIGHT)), ("dark", live.colours(DARK))],
    }


def html(digest: Digest, pictures: list[Picture]) -> str:
    """The page as text."""
    answer = words.answer(digest)
    return filled(
        "report.html",
        pictures,
        name=name(digest.name, 80),
        question=words.question(digest),
        description=words.description(digest),
        headline=answer[0],
        sentences=answer[1:],
        cards=words.cards(digest),
        devices=words.device_rows(digest),
        outcomes=outcome_rows(digest),
        layers=words.layer_rows(digest),
        facts=_facts(digest),
        inputs=_inputs(digest),
        scenario=digest.run.scenario_text,
        tables=TABLES if digest.intervals is None else FILES,
        summary_keys={key: said for key, said in SUMMARY.items() if _stands(digest.summary, key.split("."))},
        summary=json.dumps(digest.summary, indent=2, ensure_ascii=False),
        version=one_line(dig(digest.run.manifest, "versions", "fedsim") or ""),
    )


def _stands(tree: Any, path: list[str]) -> bool:
    """Whether a key of ``SUMMARY`` stands in a run's summary; ``*`` is any name."""
    if not path:
        return True
    if not isinstance(tree, dict):
        return False
    inner = tree.values() if path[0] == "*" else [tree[path[0]]] if path[0] in tree else []
    return any(_stands(part, path[1:]) for part in inner)


def filled(template: str, pictures: list[Picture], **parts: Any) -> str:
    """A page from its template: what every page needs, and parts of its own."""
    return (
        _environment()
        .get_template(template)
        .render(
            pictures=pictures,
            columns=columns(pictures),
            light=LIGHT,
            dark=DARK,
            **live_parts([picture.live for picture in pictures]),
            **parts,
        )
    )

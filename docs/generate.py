"""Fill the generated parts of the guide from the code that they describe.

    python docs/generate.py [--check]

A part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. ``--check`` changes nothing
and fails if a part is out of date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fedsim.results.columns import markdown
from fedsim.scenario.example import example

PARTS = {
    "example": lambda: f"```yaml\n{example('my-fleet')}```",
    "columns": markdown,
}
GUIDE = Path(__file__).resolve().parent / "guide"
PART = re.compile(r"<!-- generated: ([a-z]+) -->\n(.*?)<!-- end -->", re.DOTALL)


def filled(text: str) -> str:
    """The page with every generated part as the code has it now."""
    return PART.sub(lambda m: f"<!-- generated: {m[1]} -->\n{PARTS[m[1]]().strip()}\n<!-- end -->", text)


if __name__ == "__main__":
    stale = []
    for page in sorted(GUIDE.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if filled(text) != text:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(filled(text), encoding="utf-8")
    print("\n".join(stale) or "up to date")
    sys.exit(bool(stale) and "--check" in sys.argv)

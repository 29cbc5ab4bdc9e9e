"""The whole files that the guide shows, so that tests run what a reader copies."""

from __future__ import annotations

import re
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "guide" / "extending.md"


def copied(name: str, folder: Path) -> Path:
    """The guide's file ``name``, which names itself in its first line, written into ``folder``."""
    text = GUIDE.read_text(encoding="utf-8")
    (code,) = re.findall(rf"```(?:python|yaml)\n(# {re.escape(name)}\n.*?)```", text, re.DOTALL)
    file = folder / name
    file.write_text(code, encoding="utf-8")
    return file

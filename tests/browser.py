"""A page opened in headless Chromium, and what went wrong in it; ``conftest.py`` has the fixture ``browser``.

Chromium is the machine's own (Debian: ``apt-get install chromium``, or ``make browser``), or the one that
the variable ``CHROMIUM`` names; Playwright only drives it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PATIENCE_MS = 200_000  # timing never decides a test
LAPTOP, PHONE = (1366, 768), (390, 844)


def chromium() -> str | None:
    """Where Chromium is, or None if there is none."""
    named = os.environ.get("CHROMIUM")
    names = [named] if named else ["chromium", "chromium-browser", "google-chrome"]
    return next(filter(None, map(shutil.which, names)), None)


@dataclass
class Opened:
    """A page that was opened.

    Attributes:
        page: Playwright's page: ``evaluate``, ``locator``, ``screenshot``, ...
        errors: console errors and uncaught exceptions.
        requests: what it asked for, but for itself and inlined data.
        dialogs: texts of ``alert``, ``confirm`` and ``prompt``, all dismissed.
    """

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether there was no error, no request and no dialog."""
        return not (self.errors or self.requests or self.dialogs)

    @property
    def too_wide_px(self) -> int:
        """By how much the page is wider than the window; 0 if it does not scroll sideways."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


class Browser:
    """Headless Chromium with a fresh profile."""

    def __init__(self, playwright: Any, executable: str) -> None:
        self._browser = playwright.chromium.launch(
            executable_path=executable, args=list(_FLAGS), timeout=_PATIENCE_MS
        )

    def close(self) -> None:
        """End it."""
        self._browser.close()

    @contextmanager
    def open(
        self, file: Path, size: tuple[int, int] = LAPTOP, *, dark: bool = False, scripts: bool = True
    ) -> Iterator[Opened]:
        """Open a file as a user would by a double click; yields when it is loaded and drawn.

        Args:
            file: an HTML file.
            size: of the window, in pixels.
            dark: whether the user prefers a dark page.
            scripts: whether scripts may run.
        """
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
        )
        try:
            page = context.new_page()
            page.set_default_timeout(_PATIENCE_MS)
            seen, address = Opened(page), file.resolve().as_uri()
            page.on("console", lambda m: seen.errors.append(m.text) if m.type == "error" else None)
            page.on("pageerror", lambda error: seen.errors.append(str(error)))
            page.on("request", lambda r: _note(seen.requests, r.url, address))
            page.on("dialog", lambda d: (seen.dialogs.append(d.message), d.dismiss()))
            page.goto(address, wait_until="load")
            if scripts:
                page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")
            yield seen
        finally:
            context.close()


def _note(requests: list[str], url: str, own: str) -> None:
    if url.split("#")[0] != own and not url.startswith("data:"):
        requests.append(url)

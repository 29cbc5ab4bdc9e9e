"""What every test may use: no deadline for property tests, plug-ins for itself alone, and a browser.

Timing never decides a test: property tests have no deadline, here or on a loaded machine.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from browser import Browser, chromium

from fedsim import plugins

settings.register_profile("fedsim", settings(), deadline=None, print_blob=True)
settings.load_profile("fedsim")


@pytest.fixture(autouse=True)
def no_plug_ins_left() -> Iterator[None]:
    """A plug-in is known to the test that loads it, and to no other."""
    before = list(plugins._added)
    yield
    for cls in plugins._added[len(before) :]:
        sys.modules.pop(cls.__module__, None)
    plugins._added[:] = before


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium: ``with browser.open(file) as seen: assert seen.clean``; skips if there is none."""
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium here: apt-get install chromium, or name one in the variable CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = Browser(playwright, executable)
        try:
            yield found
        finally:
            found.close()

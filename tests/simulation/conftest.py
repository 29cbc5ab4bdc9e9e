"""What several tests of runs need."""

from __future__ import annotations

import pytest

from fedsim.simulation.progress import Silent


class StopAfter(Silent):
    """Stands for a process that dies when it has told of so many rounds."""

    def __init__(self, rounds, fault=KeyboardInterrupt):
        self.left, self.fault = rounds, fault

    def round(self, record):
        self.left -= 1
        if self.left == 0:
            raise self.fault


@pytest.fixture
def stop_after():
    return StopAfter

"""A refactoring changes no byte of a run's tables; see compare.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import compare


@pytest.mark.slow
@pytest.mark.parametrize("name", compare.names())
def test_the_tables_are_as_they_were(name):
    assert compare.differing(name) == []

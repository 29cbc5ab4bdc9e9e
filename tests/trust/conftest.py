"""A run as the report's tests make one."""

import importlib.util
from pathlib import Path

import pytest

_FILE = Path(__file__).resolve().parents[1] / "report" / "conftest.py"


@pytest.fixture(scope="session")
def make_run():
    """The function that writes a synthetic run."""
    spec = importlib.util.spec_from_file_location("report_conftest", _FILE)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["report_conftest"] = module
    spec.loader.exec_module(module)
    return module.write_run

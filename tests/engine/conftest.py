"""Lets the engine's tests import their small world and the naive engine that stand beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

"""Rooms that can be called: ``fedsim.run(...)`` though ``fedsim.run`` is a package.

The words that people look for are those of the command line, and each is also the room that does
the work. A room that makes itself callable keeps both: ``fedsim.run.compose`` is still a module, and
``fedsim.run("quickstart")`` is :func:`fedsim.api.run`.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


class CallableRoom(ModuleType):
    """A package whose call is the function of the same name in :mod:`fedsim.api`."""

    @property
    def _function(self) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(
            importlib.import_module("fedsim.api"), self.__name__.rpartition(".")[2]
        )
        return function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; its arguments and its result."""
        return self._function(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)


def make_callable(room: str) -> None:
    """Make the package of that name callable; it calls this once, while it is imported."""
    sys.modules[room].__class__ = CallableRoom

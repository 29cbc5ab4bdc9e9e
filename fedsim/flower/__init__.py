"""Flower: a fleet for any Flower app, our training on Flower's engine, our aggregation as a strategy.

    from fedsim.flower import Fleet

    fleet = Fleet("my-fleet.yaml", model=make_net, batch=make_batch, loss=loss_of)
    strategy = fleet.wrap(strategy)     # in an app's ServerApp; the rest stays

:class:`~fedsim.flower.fleet.Fleet` lets the fleet of a scenario decide who is there, who runs out of
memory, who is late and when a round closes, and writes a run directory.
:class:`~fedsim.flower.loss_weighted.LossWeighted` is a strategy; :mod:`fedsim.flower.engine` is
``fedsim run --engine flower``. Flower is imported with the first of them, and nowhere else in fedsim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedsim.errors import InputError
from fedsim.version import install

if TYPE_CHECKING:
    from fedsim.flower.fleet import Fleet, FleetStrategy
    from fedsim.flower.loss_weighted import LossWeighted

__all__ = ["Fleet", "FleetStrategy", "LossWeighted", "require"]

_WHERE = {"Fleet": "fleet", "FleetStrategy": "fleet", "LossWeighted": "loss_weighted"}


def require() -> None:
    """Find out whether Flower and its simulation engine are here.

    Raises:
        InputError: if not.
    """
    import importlib.util

    for package in ("flwr", "ray"):
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"this needs Flower, and {package} is missing; install it with: {install('flower')}"
            )


def __getattr__(name: str) -> Any:
    """Import what is asked for, and Flower with it."""
    import importlib

    if name not in _WHERE:
        raise AttributeError(f"module 'fedsim.flower' has no attribute {name!r}")
    require()
    return getattr(importlib.import_module(f"fedsim.flower.{_WHERE[name]}"), name)

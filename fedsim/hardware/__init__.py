"""Devices, links, growth trends and measurements: the catalogue in ``hardware/`` as frozen data.

Knows nothing of federated learning, of models or of torch. Every figure carries its source, and
every fault in a file is one :class:`~fedsim.errors.HardwareError` sentence.
"""

from __future__ import annotations

from fedsim.hardware.device import Device, Growth, catalogue, load_device
from fedsim.hardware.link import Link, load_link
from fedsim.hardware.measurement import Measurement, measurements
from fedsim.hardware.startup import Startup, families_file, startup
from fedsim.hardware.trend import Trend, load_trend, project, project_link

__all__ = [
    "Device",
    "Growth",
    "Link",
    "Measurement",
    "Startup",
    "Trend",
    "catalogue",
    "families_file",
    "load_device",
    "load_link",
    "load_trend",
    "measurements",
    "project",
    "project_link",
    "startup",
]

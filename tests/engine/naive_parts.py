"""Parts of the naive engine: how it asks who is online, when it gives up, and its link."""

from __future__ import annotations

import numpy as np

from fedsim.engine import asynchronous as rules
from fedsim.engine.ticket import tickets as tickets

INSTANT_S = 1e-9  # SimPy's sums are rounded: what is no further apart is at one instant
REFILLS = rules.REFILLS
PHASES = ("download", "startup", "compute", "upload")
ZEROS = dict.fromkeys([*(f"{phase}_s" for phase in PHASES), "downloaded_bytes", "uploaded_bytes"], 0.0)


def given_up(futile, wanted, waited_s):
    return futile >= rules.FUTILE * wanted and waited_s >= rules.FUTILE_S


class Asked:
    """Asks the world anew every time."""

    def __init__(self, world):
        self.world = world

    def until_s(self, clients, time_s):
        return self.world.offline_from_s(clients, np.broadcast_to(np.asarray(time_s, float), clients.shape))


class Link:
    """Max-min fair by brute force: at every change all rates are worked out anew."""

    def __init__(self, env, rate):
        self.env, self.rate, self.flows, self.at, self.serial = env, rate, {}, 0.0, 0

    def settle(self):
        todo, rest = sorted(self.flows.values(), key=lambda f: f["cap"]), self.rate
        for k, flow in enumerate(todo):
            flow["left"] -= flow["rate"] * (self.env.now - self.at)
            flow["rate"] = min(flow["cap"], rest / (len(todo) - k))
            rest -= flow["rate"]
        self.at, self.serial = self.env.now, self.serial + 1
        self.env.process(self.wake(self.serial))

    def wake(self, serial):
        times = {k: f["left"] / f["rate"] for k, f in self.flows.items() if f["rate"]}
        if times:
            first = min(times, key=times.get)
            yield self.env.timeout(max(times[first], 0.0))
            if serial == self.serial:
                self.flows.pop(first)["done"].succeed()
                self.settle()

    def move(self, key, size, cap):
        self.flows[key] = {"left": size, "cap": cap, "rate": 0.0, "done": self.env.event()}
        self.settle()
        return self.flows[key]["done"]

    def leave(self, key, size):
        if key not in self.flows:
            return 0.0
        self.settle()
        left = self.flows.pop(key)["left"]
        self.settle()
        return size - left

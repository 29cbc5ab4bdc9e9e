"""A naive engine: a SimPy process a client, one thing at a time.

Clients may end together without an update; nothing else may happen to two clients at one instant.
"""

from __future__ import annotations

import numpy as np
import simpy
from naive_parts import PHASES, REFILLS, ZEROS, Asked, Link, given_up, tickets

from fedsim.engine.completion import Buffered, Quorum
from fedsim.engine.selection import SelectionRequest


class Naive:
    """Runs a plan; ``rounds`` holds (start, end, rows as dicts) of each."""

    def __init__(self, world, plan, learn=lambda selector, rows: None):
        self.world, self.plan, self.env, self.learn = world, plan, simpy.Environment(), learn
        self.selector = plan.select.begin(world, Asked(world), plan.seed)
        self.news, self.links = self.env.event(), {"download": Link(self.env, plan.server_down_bytes_per_s)}
        self.links["upload"] = Link(self.env, plan.server_up_bytes_per_s)
        self.rounds, self.ended, self.just = [], [], []
        self.working, self.request, self.charge, self.ticket = {}, 0, {}, {}
        self.wait, self.futile, self.since = 600.0, 0, 0.0
        self.env.process(self.buffered() if isinstance(plan.close, Buffered) else self.cohorts())
        self.env.run()

    def drain(self, c, until, watts):
        """Bring a client's charge from where it was to ``until``; when does it reach the floor?"""
        one, battery = np.array([c]), self.world.battery
        at, charge = self.charge.get(c, (0.0, battery.initial_j(one)))
        after, empty = battery.drain(one, charge, *(np.array([float(x)]) for x in (at, until, watts)))
        if until < np.inf:
            self.charge[c] = (until, after)
        return empty[0]

    def work(self, c, base, estimate):
        env, battery = self.env, getattr(self.world, "battery", None)
        q = {name: column[0] for name, column in vars(estimate).items() if column is not None}
        row = {**q, **ZEROS, "dispatched_s": env.now, "base_round": base, "outcome": "completed"}
        self.kill(self.world.offline_from_s(np.array([c]), np.array([env.now]))[0], "offline")
        self.kill(q.get("crash_from_s", np.inf), "failed")
        if battery is not None:
            self.drain(c, env.now, 0.0)
            poor = self.charge[c][1] < battery.start_j(np.array([c]))
            self.kill(env.now if poor else np.inf, "battery")
        for phase in PHASES:
            start, row["phase"] = env.now, phase
            at_work = phase in ("startup", "compute")
            watts = q["compute_w"] if at_work else q["idle_w"] + q["radio_w"]
            here = lambda phase=phase: row.get("phase") == phase  # noqa: E731
            try:
                if battery is not None:
                    self.kill(self.drain(c, np.inf, watts), "battery", here)
                if phase == "compute":
                    span = np.array([start]), np.array([start + q["compute_s"]])
                    self.kill(self.world.oom_from_s(estimate, *span)[0], "oom", here)
                if at_work:
                    yield env.timeout(q[f"{phase}_s"])
                else:
                    size, way = q[f"{phase}_bytes"], "down" if phase == "download" else "up"
                    yield env.timeout(q["latency_s"])
                    yield self.links[phase].move(c, size, q[f"{way}_bytes_per_s"])
                    row[f"{phase}ed_bytes"] = size
            except simpy.Interrupt as stop:
                row["outcome"] = stop.cause
                if not at_work:
                    row[f"{phase}ed_bytes"] = self.links[phase].leave(c, size)
            row[f"{phase}_s"], row["ended_s"] = env.now - start, env.now
            row["energy_j"] = row.get("energy_j", 0.0) + watts * (env.now - start)
            if battery is not None:
                self.drain(c, env.now, watts)
            if row["outcome"] != "completed":
                break
        row["phase"], _ = None, self.working.pop(c)
        self.wait = 600.0 if env.now > row["dispatched_s"] else self.wait
        done = row["outcome"] == "completed"
        self.futile, self.since = (0, env.now) if done else (self.futile + 1, self.since)
        self.ended, self.just = [*self.ended, row], [*self.just, c]
        if not self.news.triggered:
            self.news.succeed()

    def kill(self, time, why, still=lambda: True):
        def killer(process):
            yield self.env.timeout(max(time - self.env.now, 0.0))
            if process.is_alive and still():
                process.interrupt(why)

        if time < np.inf:
            self.env.process(killer(self.env.active_process))

    def choose(self, number, base, count):
        busy = np.array(sorted(self.working), dtype=np.int64)
        chosen = self.selector.choose(SelectionRequest(number, base, self.env.now, count, busy))
        self.ticket.update(zip(chosen.tolist(), tickets(number, chosen).tolist(), strict=True))
        estimate = self.world.estimate(chosen, base, self.env.now)
        for k, c in enumerate(chosen.tolist()):
            self.working[c] = self.env.process(self.work(c, base, estimate.take(slice(k, k + 1))))
        return chosen.size

    def close(self, start, stop=True):
        for process in list(self.working.values()) if stop else []:
            process.interrupt("late")
        yield self.env.timeout(0.0)
        self.rounds.append((start, self.env.now, self.ended))
        self.learn(self.selector, self.ended)
        self.ended = []

    def cohorts(self):
        env, plan, close = self.env, self.plan, self.plan.close
        for self.request in range(plan.rounds):
            while not self.choose(
                self.request, self.request, min(close.invited(plan.cohort), self.world.clients)
            ):
                pause = self.world.next_online_s(env.now) - env.now
                if pause == np.inf or env.now > 30 * 86400.0:
                    return
                yield env.timeout(pause or self.wait)
                self.wait = self.wait if pause else min(2 * self.wait, 86400.0)
            start, limit = env.now, close.limit_s()
            over = env.timeout(limit) if limit < np.inf else env.event()
            while self.working and not over.processed:
                self.news = env.event()
                yield self.news | over
                done = sum(row["outcome"] == "completed" for row in self.ended)
                if isinstance(close, Quorum) and done >= plan.cohort:
                    break
            yield from self.close(start)

    def buffered(self):
        env, plan, start, retry, again = self.env, self.plan, 0.0, -np.inf, (0.0, 0)
        places = min(plan.close.concurrency or plan.cohort, self.world.clients)
        while len(self.rounds) < plan.rounds:
            if sum(row["outcome"] == "completed" for row in self.ended) >= plan.close.buffer:
                yield from self.close(start, stop=len(self.rounds) + 1 == plan.rounds)
                start = env.now
                continue
            if given_up(self.futile, plan.close.buffer + places, env.now - self.since):
                return
            free, just, self.just = places - len(self.working), self.just, []
            if free and env.now >= retry:
                again = (env.now, again[1] + 1 if env.now == again[0] and self.request else 0)
                many = again[1] > REFILLS
                alone = free == len(just) == 1
                number = self.ticket[just[0]] if alone else self.request
                found = 0 if many else self.choose(number, len(self.rounds), free)
                self.request, retry = self.request + (not (many or alone)), -np.inf
                if found < free:
                    pause = 0 if self.working or many else self.world.next_online_s(env.now) - env.now
                    if pause == np.inf or env.now > 30 * 86400.0:
                        return
                    retry = env.now + (pause or self.wait)
                    self.wait = self.wait if pause else min(2 * self.wait, 86400.0)
            self.news = env.event()
            yield self.news | env.timeout(retry - env.now) if retry > env.now else self.news
            while env.peek() <= env.now:  # whoever ends together leaves places together
                yield env.timeout(0.0)

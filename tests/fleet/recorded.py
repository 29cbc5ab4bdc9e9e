"""Replays of spans that stand in a test, not in a file."""

from __future__ import annotations


def replay(kind, spans, period=None):
    """A replay, of either kind, of these spans."""
    model = kind(spans.file, period, "repeat" if spans.repeat else "by-number")
    model.__dict__["spans"] = spans
    return model

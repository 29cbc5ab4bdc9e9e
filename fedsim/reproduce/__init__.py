"""The paper's tables, figures and claims beside what fedsim computes, item by item."""

from __future__ import annotations

from fedsim.reproduce.figure import Figure

__all__ = ["Figure", "figures"]


def figures() -> list[Figure]:
    """Every figure of the paper that fedsim holds itself against, computed now."""
    from fedsim.reproduce import section3, section3_figures, table1, table2

    return [*table1.figures(), *section3_figures.figures(), *table2.figures(), *section3.figures()]

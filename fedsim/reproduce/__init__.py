"""The paper's tables, figures and claims beside what fedsim computes, item by item."""

from __future__ import annotations

from fedsim.reproduce.figure import Figure

__all__ = ["Figure", "figures"]


def figures() -> list[Figure]:
    """Every figure of the paper that fedsim holds itself against, computed now."""
    from fedsim.reproduce import figure1, section3, section3_figures, section4, table1, table2

    rooms = (figure1, table1, section3_figures, table2, section3, section4)
    return [figure for room in rooms for figure in room.figures()]

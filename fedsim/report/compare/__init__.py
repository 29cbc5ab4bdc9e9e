"""Runs beside each other: curves on one clock, time and energy to a target, and what differs.

``gather`` opens the runs, ``targets`` says when each reached what, ``differences`` what their
scenarios do not share, ``tables`` puts both into words; ``terminal``, ``page`` and ``figures`` show
them, and ``answer`` is the same as plain data.
"""

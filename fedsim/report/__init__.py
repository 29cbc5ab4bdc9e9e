"""Tables, figures, page and timeline: what people look at, made from the run directory alone.

``build.write(run_dir)`` makes everything; ``terminal.show(digest)`` prints the end of a run. Text is
built from figures by the pure functions of ``words``; how numbers are written stands in ``text``.
"""

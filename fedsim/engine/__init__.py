"""The engine: who delivers an update, and when.

It is handed a :class:`World` (seconds, bytes, watts), a :class:`Plan` (the server's policies) and
perhaps a :class:`Learner`, and reports one :class:`RoundRecord` a round. A cohort's results are
priced at once in numpy (:mod:`fedsim.engine.cohort`); SimPy's clock carries the server.
"""

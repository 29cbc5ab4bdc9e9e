"""This machine as a device: rates and memory from micro-benchmarks, written as a device file.

Every operator of a training step is timed on its own, at the shapes that the step gives it, and the
times are summed up into the few rates of ``pricing/rates.py``. No step is ever run: what fedsim then
says about one is a prediction, which ``analysis/validate_host.py`` holds against real steps.
"""

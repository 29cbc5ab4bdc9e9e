"""The price of training: FLOPs, bytes and seconds of a step, from a layer trace and a device.

Pure functions of numbers, with numpy arrays in and out; a trace is read from ``traces/*.json``
and no model is ever built here.
"""

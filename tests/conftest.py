"""Timing never decides a test: property tests have no deadline, here or on a loaded machine."""

from hypothesis import settings

settings.register_profile("fedsim", settings(), deadline=None, print_blob=True)
settings.load_profile("fedsim")

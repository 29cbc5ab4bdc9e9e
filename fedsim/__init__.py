"""fedsim: can this fleet of real devices train this speech model, how long does it take, what breaks?"""

__version__ = "0.1.0"

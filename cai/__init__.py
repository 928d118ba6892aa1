"""A Constitutional-AI synthetic feedback generator: critique, revise, judge, relabel, compare."""

__version__ = "0.1.0"

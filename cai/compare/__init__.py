"""The comparison: the AI's labels against the human ones, from a dataset alone.

`compare` makes it, `write_comparison` writes `comparison.json`, `print_comparison` shows it on a
terminal; figures.py says what each figure means and is the JSON's description.

What this package does not know: stores, engines, recipes. It cannot say who is right where the AI
and the human differ; only a person's review, or a planted truth, can.
"""

from cai.compare.comparison import compare, write_comparison
from cai.compare.figures import Comparison, Estimate, Rate
from cai.compare.planted import Planted
from cai.compare.screen import print_comparison

__all__ = ["Comparison", "Estimate", "Planted", "Rate", "compare", "print_comparison", "write_comparison"]

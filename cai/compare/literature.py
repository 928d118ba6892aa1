"""Figures of the literature, for context only: other models, other prompts, other pairs.

What this module does not know: this run.
"""

from __future__ import annotations

from cai.compare.figures import Reference

_RLAIF = "Lee et al. 2023, RLAIF (arXiv:2309.00267)"

LITERATURE = (
    Reference(
        "agreement with human labels, harmless dialogue, best of their prompts", 0.721, f"{_RLAIF}, Table 2"
    ),
    Reference("agreement with human labels, harmless dialogue, plain prompt", 0.694, f"{_RLAIF}, Table 2"),
    Reference(
        "agreement with human labels, helpful dialogue, best of their prompts", 0.691, f"{_RLAIF}, Table 2"
    ),
    Reference("agreement with human labels, helpful dialogue, plain prompt", 0.678, f"{_RLAIF}, Table 2"),
    Reference(
        "same place chosen in both orders, largest of three judges, summaries", 0.18, f"{_RLAIF}, Table 4"
    ),
    Reference(
        "same place chosen in both orders, smallest of three judges, summaries", 0.56, f"{_RLAIF}, Table 4"
    ),
)

"""The dataset: Parquet that `datasets.load_dataset` opens by config, made from one generation.

`build_dataset` makes it; `CONFIGS` says which columns each config has and what they mean;
`DatasetSummary` holds the accounts, which balance. Everything here is derived from the source and
the store and may be deleted.

What this package does not know: how answers are come by, statistics, the Hub.
"""

from cai.dataset.build import build_dataset, tie_threshold
from cai.dataset.column import Column, arrow_schema
from cai.dataset.labels import ROUNDING, Label, label
from cai.dataset.schema import CONFIGS
from cai.dataset.summary import DatasetSummary, PairAccount

__all__ = [
    "CONFIGS",
    "ROUNDING",
    "Column",
    "DatasetSummary",
    "Label",
    "PairAccount",
    "arrow_schema",
    "build_dataset",
    "label",
    "tie_threshold",
]

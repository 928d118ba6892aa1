"""Columns that several configs have: where a row came from, how sure its judgements are.

What this module does not know: which config has them.
"""

from __future__ import annotations

import pyarrow as pa

from cai.dataset.column import TEXT, TEXTS, Column

IDENTITY = (
    Column("row_id", TEXT, "the source row's id: a hash of its subset, split and fields"),
    Column("source", TEXT, "the file or repository that the row came from"),
    Column("subset", TEXT, "the source's subset"),
    Column("split", TEXT, "the source's split"),
    Column("line", pa.int64(), "the line in the source, counted from 1"),
    Column("flags", TEXTS, "what is unusual about the row, by name"),
)

QUALITY = (
    Column(
        "order_consistency", pa.float32(), "share of principles whose two orders prefer the same response"
    ),
    Column(
        "option_mass",
        pa.float32(),
        "mean probability on the options A and B; null where the engine cannot tell",
    ),
)

CONSTITUTION = Column("constitution", TEXT, "the constitution that judged")
JUDGE = Column("judge", TEXT, "the engine that judged, as the recipe names it")


def text_features(name: str, whose: str) -> tuple[Column, ...]:
    """What a text looks like (cai/text_features.py); `name` begins the columns' names."""
    return (
        Column(f"{name}words", pa.int32(), f"words of {whose}"),
        Column(f"{name}refuses", pa.bool_(), f"whether {whose} opens with a refusal, by word patterns"),
        Column(f"{name}evades", pa.bool_(), f"whether {whose} says nothing to the point, by word patterns"),
        Column(f"{name}asks", pa.bool_(), f"whether {whose} ends with a question"),
    )


HARM = "P(harmful), by the first judge, of"
"""How every column of a rating of harm begins its meaning."""

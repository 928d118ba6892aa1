"""Fills the tables of docs/dataset.md from the schema and the formats.

    python -m tests.fill_dataset_doc

Tables stand between `<!-- table: NAME -->` and `<!-- end table -->`.

What this module does not know: whether the text around the tables is true.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cai.dataset.column import Column
from cai.dataset.formats import TABLES
from cai.dataset.page import type_name
from cai.dataset.schema import CONFIGS, OPTIONAL

PAGE = Path(__file__).resolve().parent.parent / "docs" / "dataset.md"
_TABLE = re.compile(r"(<!-- table: ([a-z]+) -->)\n.*?(<!-- end table -->)", re.DOTALL)
_USE = {
    "openrlhf": "`openrlhf` takes pairs. Train with `--apply_chat_template --chosen_key chosen --rejected_key rejected`, "
    "reward model and DPO alike (its `reward_dataset.py`):",
    "axolotl": "`axolotl` takes pairs. In its configuration: `rl: dpo` and, of the dataset, `ds_type: json`, "
    "`type: chat_template.default`, `field_messages: messages`, `field_chosen: chosen`, `field_rejected: rejected` "
    "(its RLHF page):",
}


def filled(text: str) -> str:
    """The page with its tables as the code has them."""

    def replacement(found: re.Match[str]) -> str:
        name = found[2]
        lines = _all_columns() if name == "columns" else _format(name)
        return "\n".join([found[1], *lines, found[3]])

    return _TABLE.sub(replacement, text)


def _format(name: str) -> Iterator[str]:
    yield ""
    yield _USE[name]
    yield ""
    yield "| key | type | what it holds |"
    yield "| --- | --- | --- |"
    for key in TABLES[name]:
        yield f"| `{key.name}` | {key.type} | {key.doc} |"
    yield ""


def _all_columns() -> Iterator[str]:
    for config, own in CONFIGS.items():
        yield ""
        yield f"### {config}"
        yield ""
        yield "| column | type | what it means |"
        yield "| --- | --- | --- |"
        yield from _rows(own, "")
        for setting, (column, after, configs) in OPTIONAL.items():
            if config in configs:
                yield from _rows([column], "", f" (after `{after}`, {_WHEN[setting]})")
    yield ""


_WHEN = {
    "clamp": "with `dataset.clamp`",
    "margin": "with `dataset.margin`",
    "reviewed": "where people answered a review",
}


def _rows(columns: Sequence[Column], prefix: str, after: str = "") -> Iterator[str]:
    for column in columns:
        yield f"| `{prefix}{column.name}` | {type_name(column)} | {column.doc}{after} |"
        if type_name(column) != "messages":
            yield from _rows(column.inside, f"{prefix}{column.name}.")


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), encoding="utf-8")

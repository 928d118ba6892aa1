"""`dataset/README.md`: the smallest page with which `datasets` opens every config by name.

What this module does not know: how the data were made, which figures a reader trusts (the
dataset card is written beside the run, by another module).

Each config's description is a digest of its files: `datasets` keeps what it loaded from a folder under a
key made of this front matter and the folder's last name alone (datasets 5.2, load.py), and would hand a
dataset that was built anew, or another run's, its cached predecessor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from cai.dataset.column import Column
from cai.dataset.schema import ABOUT, CONFIGS, columns
from cai.dataset.summary import DatasetSummary


def page(summary: DatasetSummary, contents: Mapping[str, str]) -> str:
    """The page: front matter with the configs, then counts, accounts and columns in words.

    `contents`: a digest of the files of each config.
    """
    front = _front_matter(summary, contents)
    return "\n".join([*front, "", *_counts(summary), "", *_accounts(summary), "", *_columns(summary)])


def contents(folder: Path, summary: DatasetSummary) -> dict[str, str]:
    """A digest of the files of each config of the dataset in `folder`."""
    made = {}
    for config in summary.configs:
        whole = hashlib.sha256()
        for path in sorted((folder / config).glob("*.parquet")):
            with path.open("rb") as file:
                whole.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
        made[config] = whole.hexdigest()
    return made


def _front_matter(summary: DatasetSummary, contents: Mapping[str, str]) -> Iterator[str]:
    yield "---"
    if summary.configs:
        yield "configs:"
    for index, (config, splits) in enumerate(summary.configs.items()):
        yield f"- config_name: {config}"
        if index == 0:
            yield "  default: true"
        yield f'  description: "sha256 {contents[config]}"'
        yield "  data_files:"
        for split in splits:
            yield f'  - split: "{split}"'
            yield f"    path: {config}/{split}-*.parquet"
    yield "---"


def _counts(summary: DatasetSummary) -> Iterator[str]:
    yield "# Dataset"
    yield ""
    yield f"Built from generation `{summary.generation}`. A split without rows has no file."
    yield ""
    for config, splits in summary.configs.items():
        rows = ", ".join(f"{split} {count}" for split, count in splits.items())
        yield f"- `{config}`: {ABOUT[config]} Rows: {rows}."
    missing = [f"`{config}`" for config in CONFIGS if config not in summary.configs]
    if missing:
        yield ""
        yield f"Left out because they have no rows: {', '.join(missing)}."


def _accounts(summary: DatasetSummary) -> Iterator[str]:
    yield "## Accounts"
    yield ""
    yield f"Source rows: {summary.rows}. Finished: {summary.finished}. Not finished: {summary.not_finished}."
    for reason, count in sorted(summary.excluded.items()):
        yield f"Excluded as `{reason}`: {count} (`excluded.jsonl`)."
    yield ""
    yield "| pairs | labelled | tied | abstained | rows without | rows excluded | rows not finished |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for kind, account in summary.pairs.items():
        counts = (account.labelled, account.tied, account.abstained)
        rows = (account.without_pair, account.excluded, account.not_finished)
        yield f"| {kind} | {' | '.join(str(count) for count in (*counts, *rows))} |"
    if summary.revisions:
        fates = ", ".join(f"{fate} {count}" for fate, count in sorted(summary.revisions.items()))
        yield ""
        yield f"Revisions, by what became of them: {fates}."
    yield from _withheld(summary)


def _withheld(summary: DatasetSummary) -> Iterator[str]:
    """What stands in two splits, and what was taken out of the configs to train on."""
    kinds = [leak.kind for leak in summary.leaks.leaks]
    if summary.leaks.held_out:
        done = "dropped" if summary.settings["leakage"] == "drop" else "kept"
        yield ""
        yield (
            f"Rows of `train` whose prompt another split has: {kinds.count('exact')} the same, "
            f"{kinds.count('near')} nearly; in the configs to train on they are {done}. Further rows that go on "
            f"from a prompt of another split, or it from theirs: {summary.leaks.continued}, all kept."
        )
    for config, splits in summary.withheld.items():
        counts = [
            f"{split} {reason.replace('_', ' ')} {count}"
            for split, out in splits.items()
            for reason, count in out.items()
        ]
        yield ""
        yield f"Taken out of `{config}`: {', '.join(counts)}."


def _columns(summary: DatasetSummary) -> Iterator[str]:
    yield "## Columns"
    for config in summary.configs:
        yield ""
        yield f"### {config}"
        yield ""
        yield from _lines(columns(config, summary.settings), "")
    yield ""


def _lines(columns: tuple[Column, ...], prefix: str) -> Iterator[str]:
    for column in columns:
        yield f"- `{prefix}{column.name}` ({type_name(column)}): {column.doc}"
        if {inner.name for inner in column.inside} != {"role", "content"}:
            yield from _lines(column.inside, f"{prefix}{column.name}.")


def type_name(column: Column) -> str:
    """A column's type in words."""
    if {inner.name for inner in column.inside} == {"role", "content"}:
        return "messages"
    if column.names:
        return "label: " + ", ".join(column.names)
    return "list of structs" if column.inside else str(column.type).replace("list<item: ", "list<")

"""Builds a run's dataset: one pass over the source, each row's outcome looked up in the store.

Rows are written in the source's order as they come, so any number of them needs the memory of a
few row groups. The whole is written beside the old dataset and takes its place at the end; a
build that fails leaves the old one as it was.

    dataset/<config>/<split>-00000.parquet   the configs of schema.py that have rows
    dataset/excluded.jsonl                   one line for each excluded row: reason, where, original
    dataset/summary.json                     the accounts (summary.py)
    dataset/README.md                        what `datasets` needs to open the configs

What this module does not know: engines, templates, statistics, clocks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import orjson

from cai.dataset import records
from cai.dataset.labels import label
from cai.dataset.page import page
from cai.dataset.revisions import choose
from cai.dataset.schema import CONFIGS
from cai.dataset.summary import KINDS, DatasetSummary
from cai.dataset.writer import ConfigWriter
from cai.errors import StoreError
from cai.outcome import Outcome, outcome_digest, read_outcome
from cai.recipe import Recipe
from cai.source import Excluded, Row
from cai.store import Store


def build_dataset(
    run_folder: Path, recipe: Recipe, generation: str, items: Iterable[Row | Excluded], store: Store
) -> DatasetSummary:
    """Build `run_folder/dataset` from one generation's outcomes; equal input gives equal bytes.

    `items`: the source, in its own order. Rows without an outcome under `generation` are counted
    as not finished. The recipe's `dataset` section is used as it is now, not as it was frozen.
    Raises: StoreError for an outcome of another form, SourceError, OSError.
    """
    settings = {"seed": recipe.seed, **recipe.dataset.model_dump()}
    summary = DatasetSummary(generation, settings)
    with _replacing(run_folder / "dataset") as folder:
        with _Files(folder) as files:
            for item in items:
                _add(item, recipe, summary, files, store)
        summary.configs = {
            config: _counts(writer) for config, writer in files.configs.items() if writer.counts
        }
        text = orjson.dumps(summary.as_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        (folder / "summary.json").write_bytes(text)
        (folder / "README.md").write_text(page(summary), encoding="utf-8")
    return summary


def _counts(writer: ConfigWriter) -> dict[str, int]:
    """Rows of each split, train first, the others by name."""
    return dict(sorted(writer.counts.items(), key=lambda item: (item[0] != "train", item[0])))


class _Files:
    """The files of a dataset under way."""

    def __init__(self, folder: Path) -> None:
        self.configs = {config: ConfigWriter(folder / config, columns) for config, columns in CONFIGS.items()}
        self._excluded = folder / "excluded.jsonl"
        self._stack = ExitStack()
        self.excluded: IO[bytes]

    def __enter__(self) -> _Files:
        self.excluded = self._stack.enter_context(self._excluded.open("wb"))
        for writer in self.configs.values():
            self._stack.enter_context(writer)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` if all goes well."""
    new = folder.with_name(f".{folder.name}-new")
    old = folder.with_name(f".{folder.name}-old")
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _add(item: Row | Excluded, recipe: Recipe, summary: DatasetSummary, files: _Files, store: Store) -> None:
    if isinstance(item, Excluded):
        summary.leave_out(item.reason)
        _leave_out(item, item.reason, item.original, files)
        return
    outcome = _outcome(item.id, summary.generation, store)
    if outcome is None:
        summary.miss()
        return
    files.configs["traces"].add(item.split, records.trace(item, outcome, recipe.dataset.tie_threshold))
    if outcome.excluded is not None:
        summary.leave_out(outcome.excluded)
        _leave_out(item, outcome.excluded, _original(item), files)
        return
    threshold = recipe.dataset.tie_threshold
    summary.finish(
        {
            kind: [label(f.probability, threshold) for f in outcome.feedback if f.kind == kind]
            for kind in KINDS
        }
    )
    _add_preferences(item, outcome, threshold, files)
    _add_revisions(item, outcome, recipe, summary, files)


def _outcome(row: str, generation: str, store: Store) -> Outcome | None:
    record = store.get(outcome_digest(row, generation))
    if record is None:
        return None
    try:
        return read_outcome(record.answer)
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"The outcome of row {row} in {store.folder} has a form that this version does not read.",
            "Build the dataset with the version of the program that did the run.",
        ) from error


def _original(row: Row) -> dict[str, Any]:
    return {
        "prompt": records.messages(row.prompt),
        "responses": {name: turn.text for name, turn in row.responses.items()},
        "fields": row.fields,
    }


def _leave_out(item: Row | Excluded, reason: str, original: Any, files: _Files) -> None:
    line = {
        "reason": reason,
        "row_id": item.id,
        "source": item.source,
        "subset": item.subset,
        "split": item.split,
        "line": item.line,
        "original": original,
    }
    files.excluded.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def _add_preferences(row: Row, outcome: Outcome, threshold: float, files: _Files) -> None:
    finishes = {sample.name: sample.finish for sample in outcome.samples}
    for feedback in outcome.feedback:
        if feedback.kind == "human":
            record, config = records.preference(row, feedback, threshold), "preferences"
        elif feedback.kind == "sampled":
            record, config = (
                records.sampled_preference(row, feedback, finishes, threshold),
                "preferences-sampled",
            )
        else:
            continue
        if record is not None:
            files.configs[config].add(row.split, record)


def _add_revisions(
    row: Row, outcome: Outcome, recipe: Recipe, summary: DatasetSummary, files: _Files
) -> None:
    judged = recipe.feedback is not None and "revised" in recipe.feedback.pairs
    feedback = {item.about: item for item in outcome.feedback if item.kind == "revised"}
    for revision in outcome.revisions:
        fate, chosen = choose(revision, feedback.get(revision.of), recipe.dataset, judged)
        summary.revisions[fate.value] += 1
        if chosen is not None:
            record = records.revised_preference(row, revision, chosen, feedback.get(revision.of))
            files.configs["revisions"].add(row.split, record)
    for record in records.sft_records(row, outcome.revisions, recipe.dataset.sft == "all"):
        files.configs["sft"].add(row.split, record)

"""Builds a run's dataset: one pass over the source, each row's outcome looked up in the store.

Rows are written in the source's order as they come, so any number of them needs the memory of a
few row groups. The whole is written beside the old dataset and takes its place at the end; a
build that fails leaves the old one as it was.

    dataset/<config>/<split>-00000.parquet   the configs of schema.py that have rows
    dataset/excluded.jsonl                   one line for each excluded row: reason, where, original
    dataset/person.jsonl                     one line for each row that people reviewed, if any: what they said
    dataset/leaked.jsonl                     one line for each row of train whose prompt another split has
    dataset/summary.json                     the accounts (summary.py)
    dataset/README.md                        what `datasets` needs to open the configs

What this module does not know: engines, templates, statistics, clocks.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import orjson

from cai.dataset import records, train_records
from cai.dataset.judges import named_as_now
from cai.dataset.labels import label
from cai.dataset.leakage import find_leaks
from cai.dataset.page import contents, page
from cai.dataset.revisions import choose
from cai.dataset.schema import CONFIGS, columns
from cai.dataset.summary import KINDS, DatasetSummary
from cai.dataset.withhold import pattern_of, withhold
from cai.dataset.writer import ConfigWriter
from cai.errors import RunError, StoreError
from cai.memory import give_back
from cai.outcome import Feedback, Outcome, outcome_digest, read_outcome
from cai.recipe import DatasetSection, Recipe
from cai.review import Reviewed, reviewed_rows
from cai.shortening import OLDEST_TURNS_DROPPED
from cai.source import Excluded, Row
from cai.store import Store

BLOCK = 100
"""So many chosen responses of `unpaired` stand together, then the rejected ones of the same pairs."""


def build_dataset(
    run_folder: Path,
    recipe: Recipe,
    generation: str,
    items: Iterable[Row | Excluded],
    store: Store,
    even_unbegun: bool = True,
) -> DatasetSummary:
    """Build `run_folder/dataset` from one generation's outcomes; equal input gives equal bytes.

    `items`: the source, in its own order. Rows without an outcome under `generation` are counted
    as not finished; where all are, there is no dataset unless `even_unbegun`. The recipe's `dataset` section and the names of its engines are used as they
    are now, not as they were frozen.
    A noise floor that was measured (`noise.json`) raises the tie threshold; what people answered to a
    review (`review/`) stands beside the labels.
    Raises: StoreError for an outcome of another form, RunError for an unreadable noise floor, where
    another process builds it at the same time, or where no row is finished,
    ReviewError for an unreadable review, SourceError, OSError.
    """
    making = _making(run_folder, recipe)
    summary = DatasetSummary(generation, making.settings)
    with _replacing(run_folder / "dataset") as folder:
        with _Files(folder, making.settings) as files:
            for item in items:
                _add(item, making, summary, files, store)
        if summary.finished == 0 and summary.not_finished and not even_unbegun:
            raise RunError(
                f"No row of {run_folder.name} is finished yet, so there is no dataset to build.",
                f"Type: cai run {run_folder}",
            )
        give_back()  # what writers held
        store.let_go()
        _withhold(folder, files, making, summary)
        text = orjson.dumps(summary.as_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        (folder / "summary.json").write_bytes(text)
        (folder / "README.md").write_text(page(summary, contents(folder, summary)), encoding="utf-8")
    return summary


def _withhold(folder: Path, files: _Files, making: _Making, summary: DatasetSummary) -> None:
    """Find what leaks, take out what the recipe does not want, and count both."""
    written = {config: _counts(writer) for config, writer in files.configs.items() if writer.counts}
    leaks = find_leaks(folder / "traces", list(written.get("traces", {})))
    drop = making.dataset.leakage == "drop"
    withheld = withhold(folder, making.settings, written, leaks.rows if drop else frozenset())
    summary.configs, summary.withheld, summary.mixed = withheld.configs, withheld.rows, withheld.mixed
    summary.leaks = leaks
    if leaks.leaks:
        lines = (orjson.dumps(asdict(leak), option=orjson.OPT_APPEND_NEWLINE) for leak in leaks.leaks)
        (folder / "leaked.jsonl").write_bytes(b"".join(lines))


@dataclass(frozen=True)
class _Making:
    """How outcomes become rows: the `dataset` section with its tie threshold in force; `kinds`: of
    the pairs that are judged."""

    dataset: DatasetSection
    judges: list[str]
    kinds: frozenset[str]
    reviewed: dict[str, Reviewed]
    settings: dict[str, Any]

    @property
    def judge(self) -> str:
        """The judge that makes the labels."""
        return self.judges[0]

    def person(self, row: str) -> bool | None:
        """Whether people who reviewed a row's pair prefer the human's choice."""
        return self.reviewed[row].prefers_human if row in self.reviewed else None


def _making(run_folder: Path, recipe: Recipe) -> _Making:
    floor = _noise_floor(run_folder / "noise.json")
    asked = recipe.dataset.tie_threshold
    dataset = recipe.dataset.model_copy(update={"tie_threshold": tie_threshold(run_folder, recipe)})
    judges = recipe.judges() if recipe.feedback else []
    reviewed = reviewed_rows(run_folder / "review")
    reviser = recipe.engine_for("revise") if recipe.revise else None
    settings = {
        "seed": recipe.seed,
        **dataset.model_dump(),
        "recipe_tie_threshold": asked,
        "noise_floor": floor,
        "reviewed": len(reviewed),
        "judges": judges,
        "reviser": reviser,
        "same_model": bool(judges)
        and reviser is not None
        and _model(recipe, reviser) == _model(recipe, judges[0]),
    }
    kinds = frozenset(recipe.feedback.pairs if recipe.feedback else ())
    return _Making(dataset, recipe.judges(), kinds, reviewed, settings)


def tie_threshold(run_folder: Path, recipe: Recipe) -> float:
    """What is a tie: the recipe's threshold, or the noise floor that was measured where that is larger.

    Raises: RunError for an unreadable noise floor.
    """
    return max(recipe.dataset.tie_threshold, _noise_floor(run_folder / "noise.json") or 0.0)


def _model(recipe: Recipe, engine: str) -> tuple[str, str]:
    section = recipe.engines[engine]
    return section.model, section.revision


def _noise_floor(path: Path) -> float | None:
    """How far equal questions move a probability, where that was measured; 0 to 0.5."""
    if not path.exists():
        return None
    try:
        floor = float(orjson.loads(path.read_bytes())["noise_floor"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        floor = -1.0
    if not 0 <= floor < 0.5:
        raise RunError(
            f"{path} holds no noise floor: a number of at least 0 and below 0.5 under `noise_floor`.",
            "Measure it again, or delete the file.",
        )
    return floor


def _counts(writer: ConfigWriter) -> dict[str, int]:
    """Rows of each split, train first, the others by name."""
    return dict(sorted(writer.counts.items(), key=lambda item: (item[0] != "train", item[0])))


class _Files:
    """The files of a dataset under way."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.configs = {
            config: ConfigWriter(folder / config, columns(config, settings)) for config in CONFIGS
        }
        self._excluded = folder / "excluded.jsonl"
        self._person: IO[bytes] | None = None
        self._waiting: dict[str, list[records.Record]] = {}
        self._stack = ExitStack()
        self.excluded: IO[bytes]

    def __enter__(self) -> _Files:
        self.excluded = self._stack.enter_context(self._excluded.open("wb"))
        for writer in self.configs.values():
            self._stack.enter_context(writer)
        return self

    def __exit__(self, kind: Any, *error: Any) -> None:
        for split in self._waiting if kind is None else ():
            self._let_go(split)
        self._stack.__exit__(kind, *error)

    def add_pair(self, config: str, split: str, record: records.Record) -> None:
        """Write a row made of a pair. Of `unpaired`, BLOCK chosen responses come before their rejected ones.

        TRL's KTOTrainer rates each prompt with the completion of the row before it, to learn how likely any
        text is (https://huggingface.co/docs/trl/kto_trainer); of neighbours with one prompt it would be no
        other text. TRL's own `unpair_preference_dataset` lays rows out so.
        """
        if config != "unpaired" or record["label"]:
            self.configs[config].add(split, record)
            return
        waiting = self._waiting.setdefault(split, [])
        waiting.append(record)
        if len(waiting) == BLOCK:
            self._let_go(split)

    def _let_go(self, split: str) -> None:
        for record in self._waiting[split]:
            self.configs["unpaired"].add(split, record)
        self._waiting[split].clear()

    def add_person(self, row: Row, reviewed: Reviewed) -> None:
        """Write what people said of a row's pair; the file is made with the first."""
        if self._person is None:
            self._person = self._stack.enter_context(self._excluded.with_name("person.jsonl").open("wb"))
        line = {"row_id": row.id, "subset": row.subset, "split": row.split, "line": row.line}
        line |= {"said": reviewed.said, "answers": reviewed.answers}
        self._person.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` if all goes well.

    Raises: RunError where another process builds this dataset at the same time.
    """
    new = folder.with_name(f".{folder.name}-new")
    old = folder.with_name(f".{folder.name}-old")
    new.mkdir(parents=True, exist_ok=True)
    with _alone(new):
        shutil.rmtree(old, ignore_errors=True)
        for left in list(new.iterdir()):  # of a build that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            yield new
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone; a process that is killed lets go. Raises: RunError."""
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = folder.exists() and os.path.samestat(os.fstat(held), folder.stat())
        except BlockingIOError:
            mine = False
        if not mine:
            raise RunError(
                f"Another process builds the dataset of {folder.parent.name} just now.",
                "Wait until it is done.",
            )
        yield
    finally:
        os.close(held)


def _add(item: Row | Excluded, making: _Making, summary: DatasetSummary, files: _Files, store: Store) -> None:
    if isinstance(item, Excluded):
        summary.leave_out(item.reason)
        _leave_out(item, item.reason, item.original, files)
        return
    outcome = _outcome(item.id, summary.generation, store)
    if outcome is None:
        summary.miss()
        return
    if item.id in making.reviewed:
        files.add_person(item, making.reviewed[item.id])
    outcome = named_as_now(outcome, making.judges)
    if outcome.turns_dropped:
        item = replace(item, flags=(*item.flags, OLDEST_TURNS_DROPPED))
        summary.shortened += 1
    threshold = making.dataset.tie_threshold
    files.configs["traces"].add(item.split, records.trace(item, outcome, threshold, making.judge))
    if outcome.excluded is not None:
        summary.leave_out(outcome.excluded)
        _leave_out(item, outcome.excluded, _original(item), files)
        if outcome.excluded == "no_constitution":
            _mix_in(item, making, summary, files)
        return
    found = [feedback for feedback in outcome.feedback if feedback.judge == making.judge]
    summary.finish(
        {kind: [label(f.probability, threshold) for f in found if f.kind == kind] for kind in KINDS}
    )
    _add_preferences(item, outcome, found, making, files)
    _add_revisions(item, outcome, found, making, summary, files)


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


def _add_preferences(
    row: Row, outcome: Outcome, found: Sequence[Feedback], making: _Making, files: _Files
) -> None:
    """`found`: the feedback of the judge that makes the labels."""
    finishes = {sample.name: sample.finish for sample in outcome.samples}
    harm = records.harm_by_response(outcome, making.judge)
    for feedback in found:
        if feedback.kind == "human":
            pair = train_records.human_pair(row, feedback, harm, making.person(row.id))
            for config, record in train_records.pair_rows(pair, making.dataset, bool(making.reviewed)):
                files.add_pair(config, row.split, record)
        elif feedback.kind == "sampled":
            sampled = train_records.sampled_preference(row, feedback, finishes, making.dataset)
            if sampled is not None:
                files.configs["preferences-sampled"].add(row.split, sampled)


def _mix_in(row: Row, making: _Making, summary: DatasetSummary, files: _Files) -> None:
    """A row that nothing was asked of, in the human's order, where the recipe mixes its subset in."""
    pair = train_records.mixed_in(row, making.person(row.id))
    if pair is None or pattern_of(row.subset, making.dataset.mix) is None:
        return
    rows = train_records.mixed_rows(pair, making.dataset, making.kinds, bool(making.reviewed))
    if making.dataset.mix_sft and making.settings["reviser"] is not None:
        rows.append(("sft", train_records.sft_mixed_in(pair)))
    for config, record in rows:
        summary.human_labelled[config] += 1
        files.add_pair(config, row.split, record)


def _add_revisions(
    row: Row,
    outcome: Outcome,
    found: Sequence[Feedback],
    making: _Making,
    summary: DatasetSummary,
    files: _Files,
) -> None:
    feedback = {item.about: item for item in found if item.kind == "revised"}
    for revision in outcome.revisions:
        own = feedback.get(revision.of)
        fate, chosen = choose(revision, own, making.dataset, "revised" in making.kinds)
        summary.revisions[fate.value] += 1
        if chosen is not None:
            record = train_records.revised_preference(row, revision, chosen, own, making.dataset)
            files.configs["revisions"].add(row.split, record)
    for record in train_records.sft_records(row, outcome.revisions, making.dataset.sft == "all"):
        files.configs["sft"].add(row.split, record)

"""What is known of a run when it is published: the one thing that gate and card are made from.

Everything is read from the run's own files; the Hub is asked for one thing, whether and under what
licence a source is public, and only where it can be reached.

What this module does not know: what speaks against publishing (gate.py), how it is told (card.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow.parquet as pq

from cai import __version__
from cai.accounts import accounts_of
from cai.compare import Comparison
from cai.engine.identity import Identity
from cai.errors import PublishError, RunError
from cai.examples import Examples
from cai.fates import Fates
from cai.outcome import outcome_digest
from cai.principle import Constitution
from cai.publish.hub_values import is_repository, known_sources
from cai.reading import ReadRun
from cai.recipe import EngineSection, Recipe, SourceSection
from cai.run_folder import RunFolder
from cai.source.places import HH_RLHF
from cai.tally import read_tally, unbalanced

Reach = Literal["public", "gated", "private", "unknown"]
"""Who may read a source; `unknown` where nobody could tell."""

LOOK_UP_S = 10.0


@dataclass(frozen=True)
class SourceFacts:
    """One source. `hub`: its name on the Hub, or "" for local files that nobody has named.

    `licences`, `languages`: as the Hub says them, or a table of known datasets; `local`: whether it
    was read from files of the machine. `subsets`, `splits`: as the recipe chose them.
    """

    name: str
    kind: str
    hub: str
    revision: str
    local: bool
    reach: Reach
    licences: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    subsets: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()

    @property
    def known(self) -> Mapping[str, Any]:
        """What the table of known datasets has of it."""
        found: Mapping[str, Any] = known_sources().get(self.hub, {})
        return found


@dataclass(frozen=True)
class ModelFacts:
    """One engine of the run: its name in the recipe, what it did, who it is."""

    engine: str
    roles: tuple[str, ...]
    section: EngineSection
    identity: Identity


@dataclass(frozen=True)
class StageCost:
    """Answers of one stage in the store, of all generations, and the tokens that the engines counted."""

    stage: str
    answers: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class CardFacts:
    """A run, its one published generation, its dataset and what was found of it.

    `doctor`: doctor.json, None where judges were not proven; `noise_floor`: None where it was not
    measured; `seconds`: for how long requests were under way, None where that was not measured; `unbalanced`: accounts that do not balance, in words; `templates`: text by file name;
    `examples`: what the judge is shown before each judgement, None where nothing is.
    """

    run: RunFolder
    version: str
    generation: str
    recipe: Recipe
    constitutions: Mapping[str, Constitution]
    templates: Mapping[str, str]
    examples: Examples | None
    models: tuple[ModelFacts, ...]
    sources: tuple[SourceFacts, ...]
    summary: Mapping[str, Any]
    comparison: Comparison | None
    doctor: Mapping[str, Any] | None
    noise_floor: float | None
    fates: Fates
    unbalanced: tuple[str, ...]
    costs: tuple[StageCost, ...]
    requests: Mapping[str, Any]
    goes: int
    seconds: float | None

    @property
    def configs(self) -> Mapping[str, Mapping[str, int]]:
        """Rows by config and split."""
        found: Mapping[str, Mapping[str, int]] = self.summary["configs"]
        return found


def read_facts(
    run: ReadRun, source: str | Mapping[str, str] | None = None, ask_hub: bool = True
) -> CardFacts:
    """Read all of it. `source`: the Hub's name for local files, where the publisher says it; or one for
    each, by the last name of its path.

    Raises: PublishError where there is no dataset, or one of another generation; StoreError.
    """
    summary = _summary(run)
    fates, costs = _walk(run, summary)
    rows_in = fates.finished + fates.excluded.total() + fates.quarantined + fates.unfinished
    tally = read_tally(run.run.tally)
    comparison = _comparison(run)
    wrong = [
        *_files_wrong(run.run, summary),
        *_comparison_wrong(comparison, summary),
        *fates.mistakes(rows_in),
        *_fates_wrong(fates, summary),
        *unbalanced(tally.requests),
    ]
    return CardFacts(
        run=run.run,
        version=__version__,
        generation=run.generation.digest,
        recipe=run.recipe,
        constitutions=run.inputs.constitutions,
        templates=_templates(run),
        examples=run.inputs.examples,
        models=_models(run),
        sources=_sources(run, source, ask_hub),
        summary=summary,
        comparison=comparison,
        doctor=_json(run.run.doctor),
        noise_floor=summary["settings"].get("noise_floor"),
        fates=fates,
        unbalanced=tuple(wrong),
        costs=costs,
        requests=tally.requests,
        goes=tally.goes,
        seconds=tally.seconds,
    )


def _json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _summary(run: ReadRun) -> dict[str, Any]:
    summary = _json(run.run.dataset / "summary.json")
    wanted = {"generation", "settings", "rows", "finished", "not_finished", "excluded", "pairs", "configs"}
    if not isinstance(summary, dict) or not summary.keys() >= wanted:
        raise PublishError(
            f"The run {run.run.name} has no dataset that can be read.", f"Type: cai dataset {run.run.shown}"
        )
    if summary["generation"] != run.generation.digest:
        raise PublishError(
            f"The dataset of {run.run.name} is of generation {str(summary['generation'])[:12]}, and the run is at "
            f"{run.generation.digest[:12]}.",
            f"Type: cai dataset {run.run.shown}",
        )
    return summary


def _comparison(run: ReadRun) -> Comparison | None:
    """The comparison of this generation, None where there is none that can be read."""
    from pydantic import TypeAdapter, ValidationError

    try:
        found = TypeAdapter(Comparison).validate_json(run.run.comparison.read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.generation == run.generation.digest else None


def _walk(run: ReadRun, summary: Mapping[str, Any]) -> tuple[Fates, tuple[StageCost, ...]]:
    """The rows' fates and the answers by stage, by a walk over the whole store."""
    feedback, generation = run.recipe.feedback, run.generation.digest
    kinds = feedback.pairs if feedback is not None else ()
    threshold = float(summary["settings"]["tie_threshold"])
    accounts = accounts_of(run.store, generation, kinds, threshold, anew=True)
    traced = sorted((run.run.dataset / "traces").glob("*.parquet"))
    outcomes = sum(pq.read_metadata(path).num_rows for path in traced)
    by_source = sum(summary["excluded"].values()) + summary["finished"] - outcomes
    failed = [outcome_digest(row, generation) for row in _quarantined(run.run)]
    there = (outcome_digest(row, generation) for path in traced for row in _rows(path))
    fates = accounts.outcomes.fates(failed, summary["rows"] - by_source, there)
    costs = (
        StageCost(stage, count["answers"], count["prompt_tokens"], count["completion_tokens"])
        for stage, count in sorted(accounts.stages.items())
    )
    return fates, tuple(costs)


def _fates_wrong(fates: Fates, summary: Mapping[str, Any]) -> Iterable[str]:
    """Where the store's outcomes are not those that the dataset was built from."""
    if fates.finished != summary["finished"]:
        yield f"{fates.finished:,} finished rows in the store, {summary['finished']:,} in the dataset"
    if fates.quarantined + fates.unfinished != summary["not_finished"]:
        left = fates.quarantined + fates.unfinished
        yield f"{left:,} rows left to do by the store, {summary['not_finished']:,} by the dataset"


def _quarantined(run: RunFolder) -> set[str]:
    try:
        return {orjson.loads(line)["row"] for line in run.quarantine.read_bytes().splitlines()}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{run.quarantine} is damaged.", f"Go on with the run, which writes it anew: cai run {run.shown}"
        ) from error


def _rows(path: Path) -> Iterator[str]:
    """The ids of the rows in a file of traces: those with an outcome."""
    for batch in pq.ParquetFile(path).iter_batches(columns=["row_id"]):
        yield from batch["row_id"].to_pylist()


def _files_wrong(run: RunFolder, summary: Mapping[str, Any]) -> Iterable[str]:
    """Where a dataset's files do not hold what its accounts say."""
    rows = summary["finished"] + summary["not_finished"] + sum(summary["excluded"].values())
    if rows != summary["rows"]:
        yield f"{summary['rows']:,} rows in, {rows:,} accounted for"
    for kind, account in summary["pairs"].items():
        out = sum(account[name] for name in ("excluded", "not_finished", "without_pair"))
        out += sum(account[name] for name in ("labelled", "tied", "abstained"))
        if account["rows"] + account["further_pairs"] != out:
            yield f"the {kind} pairs of the dataset"
    for config, splits in summary["configs"].items():
        for split, count in splits.items():
            files = (run.dataset / config).glob(f"{split}-*.parquet")
            held = sum(pq.ParquetFile(path).metadata.num_rows for path in files)
            if held != count:
                yield f"{config}/{split} holds {held:,} rows, and {count:,} are accounted for"
    lines = _lines(run.dataset / "excluded.jsonl")
    if lines != sum(summary["excluded"].values()):
        yield f"excluded.jsonl holds {lines:,} rows of {sum(summary['excluded'].values()):,}"


def _lines(path: Path) -> int:
    """How many lines a file has, read piece by piece: it may hold the texts of many rows; 0 where there is none."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))


def _comparison_wrong(comparison: Comparison | None, summary: Mapping[str, Any]) -> Iterable[str]:
    if comparison is None:
        return
    for name in ("rows", "finished", "not_finished", "excluded"):
        if getattr(comparison, name) != summary[name]:
            yield f"the comparison counts other rows than the dataset ({name})"


def _templates(run: ReadRun) -> dict[str, str]:
    """By name; what a template of the completion form includes stands in `base/`, as it lies on disk."""
    found = {}
    for form, prompts in run.inputs.prompts.items():
        for template in prompts.templates.values():
            for name, text in template.sources.items():
                own = form == "completion" and "/" not in name
                found[f"base/{name}" if own else name] = text
    return dict(sorted(found.items()))


def _models(run: ReadRun) -> tuple[ModelFacts, ...]:
    recipe = run.recipe
    roles: dict[str, list[str]] = {}
    for role in recipe.roles_used():
        roles.setdefault(recipe.engine_for(role), []).append(role)
    for judge in recipe.judges()[1:] if recipe.feedback is not None else []:
        roles.setdefault(judge, []).append("second judge")
    return tuple(
        ModelFacts(name, tuple(done), recipe.engines[name], run.identities[name])
        for name, done in roles.items()
    )


# ---------------------------------------------------------------------- sources


def _sources(run: ReadRun, stated: str | Mapping[str, str] | None, ask_hub: bool) -> tuple[SourceFacts, ...]:
    """The sources. Raises: PublishError for a name that is not one of theirs."""
    sections = run.recipe.sources
    names = [_last_name(section) for section in sections]
    if not isinstance(stated, str):
        wrong = [name for name in stated or () if name not in names]
        if wrong:
            raise PublishError(
                f"`publish.source` names {', '.join(wrong)}, and the run's sources are {', '.join(names)}.",
                "Name a source by the last name of its path, as in {data: owner/name}.",
            )
    said = [stated if isinstance(stated, str) else (stated or {}).get(name) for name in names]
    return tuple(
        _source(section, run.run.path, name, ask_hub) for section, name in zip(sections, said, strict=True)
    )


def _source(section: SourceSection, beside: Path, stated: str | None, ask_hub: bool) -> SourceFacts:
    """`stated` names local files; a dataset that is read from the Hub names itself."""
    local = section.path is not None
    repo = section.repo or ("" if local or section.kind == "jsonl" else HH_RLHF)
    if section.path is None and repo and (not is_repository(repo) or (beside / repo).is_dir()):
        local, repo = True, ""  # a folder laid out as a dataset
    hub = repo if not local else (stated or "")
    known = known_sources().get(hub, {})
    answer = _ask_hub(hub, section.revision) if hub and ask_hub else None
    return SourceFacts(
        name=hub or _last_name(section),
        kind=section.kind,
        hub=hub,
        revision=section.revision or "",
        local=local,
        reach=answer.reach if answer is not None else "public" if known else "unknown",
        licences=(answer.licences if answer is not None else ()) or tuple(known.get("licence", ())),
        languages=(answer.languages if answer is not None else ()) or tuple(known.get("languages", ())),
        subsets=tuple(section.subsets or ()),
        splits=tuple(section.splits or ()),
    )


def _last_name(section: SourceSection) -> str:
    given = section.path or section.repo or section.kind
    return given.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


@dataclass(frozen=True)
class _HubAnswer:
    reach: Reach
    licences: tuple[str, ...]
    languages: tuple[str, ...]


def _ask_hub(repo: str, revision: str | None) -> _HubAnswer | None:
    """What the Hub says of a dataset; None where it cannot be asked or does not tell."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().dataset_info(repo, revision=revision, timeout=LOOK_UP_S)
    except _failures():
        return None
    card = info.card_data
    reach: Reach = "private" if info.private else "gated" if info.gated else "public"
    return _HubAnswer(reach, _texts(getattr(card, "license", None)), _texts(getattr(card, "language", None)))


def _failures() -> tuple[type[Exception], ...]:
    """Every class that asking the Hub fails with; its root is the HTTP library's own (cai/source/hub.py)."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, ValueError, *HfHubHTTPError.__bases__)


def _texts(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, (list, tuple)) else [value]
    return tuple(str(item) for item in items if item)

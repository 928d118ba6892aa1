"""Makes a comparison from a dataset alone, and writes it.

What this module does not know: runs, stores, engines; how a statistic is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from cai.compare import agreement, bootstrap, lists, phrases, statistics
from cai.compare.bias import biases
from cai.compare.contest import main_table
from cai.compare.disagreements import disagreements
from cai.compare.figures import FORM, Comparison, Constants, JudgePair, Judging
from cai.compare.harm import harm_figures
from cai.compare.judging import Opinions, between_judges, judging, matrices, opinions, principles
from cai.compare.literature import LITERATURE
from cai.compare.person import REVIEW, person_of_run
from cai.compare.planted import Planted, planted_figures
from cai.compare.revisions import revision_figures
from cai.compare.traces import ABSTAINED, Table, Traces, read_traces
from cai.compare.verdict import verdict
from cai.dataset.records import HARMFUL
from cai.errors import RunError

KINDS = ("human", "revised", "sampled")
_SUMMARY = {"settings", "generation", "rows", "finished", "not_finished", "excluded"}
"""What a comparison takes from a dataset's accounts."""


def compare(dataset_folder: Path, planted: Mapping[str, Planted] | None = None) -> Comparison:
    """Compare the AI's labels with the human ones.

    `planted`: what is known to be true of rows, by row id, where somebody planted it.
    Raises: RunError where there is no dataset, or one of an earlier form.
    """
    summary = _summary(dataset_folder)
    settings = summary["settings"]
    seed, tie_threshold = int(settings["seed"]), float(settings["tie_threshold"])
    traces = read_traces(dataset_folder)
    names = _judges(traces, settings.get("judges") or [])
    judge = names[0] if names else ""
    kinds = {kind: _of_kind(traces, kind, judge) for kind in KINDS}
    human = kinds["human"]
    second = agreement.swapped(human.pairs, seed)
    others = {f"judge {name}": _labels_of(traces, name, human.pairs) for name in names[1:]}
    made = Comparison(
        form=FORM,
        verdict=(),
        generation=summary["generation"],
        settings=settings,
        constants=_constants(),
        rows=summary["rows"],
        finished=summary["finished"],
        not_finished=summary["not_finished"],
        shortened=summary.get("shortened", 0),
        excluded=summary["excluded"],
        agreement=agreement.agreement(human.pairs["label"], human.pairs["cluster"]),
        kappa=agreement.kappa(human.pairs["label"], second, human.pairs["cluster"], seed),
        main=main_table(human.pairs, others, second, seed),
        breakdowns=agreement.breakdowns(human.pairs, traces.names),
        calibration=agreement.forecast(human.pairs, second, seed),
        biases=biases(human.pairs, others),
        principles=principles(traces, human.pairs, human.judgements, human.opinions, tie_threshold),
        matrices=matrices(traces, human.pairs, human.opinions, tie_threshold),
        judging=_judging(judge, kinds),
        other_judges=_other_judges(traces, names[1:]),
        between_judges=_between(judge, others, human.pairs, second, seed),
        harm=harm_figures(judge, human.pairs, traces),
        revisions=revision_figures(traces, names, dataset_folder, settings.get("same_model")),
        lists=lists.row_lists(human.pairs, human.opinions, second, tie_threshold, seed, planted),
        disagreements=disagreements(traces, human.pairs, human.opinions, tie_threshold),
        planted=planted_figures(human.pairs, planted) if planted is not None else None,
        literature=LITERATURE,
        person=person_of_run(dataset_folder.parent / REVIEW, summary["generation"], tie_threshold),
    )
    return replace(made, verdict=tuple(verdict(made)))


def _constants() -> Constants:
    return Constants(
        confidence=statistics.CONFIDENCE,
        resamples=bootstrap.RESAMPLES,
        small_group=statistics.SMALL_GROUP,
        list_length=lists.LENGTH,
        harm_threshold=HARMFUL,
        phrase_texts=phrases.TEXTS,
    )


def _summary(dataset_folder: Path) -> dict[str, Any]:
    path = dataset_folder / "summary.json"
    try:
        summary: Any = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        run = dataset_folder.parent
        raise RunError(f"There is no dataset in {dataset_folder}.", f"Type: cai dataset {run}") from error
    except orjson.JSONDecodeError:
        summary = {}
    settings = summary.get("settings") if isinstance(summary, dict) else None
    if not isinstance(settings, dict) or not summary.keys() >= _SUMMARY:
        raise RunError(
            f"{path} is damaged.",
            f"Build the dataset again (it is made from the store). Type: cai dataset {dataset_folder.parent}",
        )
    if "noise_floor" not in settings:
        raise RunError(
            f"The dataset in {dataset_folder} was built by an earlier version and lacks columns.",
            f"Type: cai dataset {dataset_folder.parent}",
        )
    made: dict[str, Any] = summary
    return made


@dataclass(frozen=True)
class _Part:
    """The pairs of one kind and judge, their judgements, and these laid out by principle."""

    pairs: Table
    judgements: Table
    opinions: Opinions


def _judges(traces: Traces, asked: list[str]) -> list[str]:
    """The judges whose feedback is there, the one that makes the labels first."""
    there = [traces.names[code] for code in np.unique(traces.pairs["judge"])]
    return [name for name in asked if name in there] + [name for name in there if name not in asked]


def _of_kind(traces: Traces, kind: str, judge: str) -> _Part:
    """The pairs of a kind, with their row numbers as `number`, and their judgements."""
    chosen = (traces.pairs["kind"] == traces.code(kind)) & (traces.pairs["judge"] == traces.code(judge))
    pairs = Table({**traces.pairs.columns, "number": np.arange(len(chosen))}).where(chosen)
    judgements = traces.judgements.where(chosen[traces.judgements["pair"]])
    return _Part(pairs, judgements, opinions(pairs, judgements))


def _judging(judge: str, kinds: Mapping[str, _Part]) -> dict[str, Judging]:
    """The judge's behaviour on each kind of pair that was judged."""
    there = {kind: part for kind, part in kinds.items() if len(part.pairs)}
    return {kind: judging(judge, part.pairs, part.judgements, part.opinions) for kind, part in there.items()}


def _labels_of(traces: Traces, judge: str, human: Table) -> NDArray[np.int8]:
    """Another judge's labels of the same human pairs, in the same order."""
    chosen = (traces.pairs["kind"] == traces.code("human")) & (traces.pairs["judge"] == traces.code(judge))
    own = traces.pairs.where(chosen)
    label = np.full(len(human), ABSTAINED, np.int8)
    _, here, there = np.intersect1d(human["position"], own["position"], return_indices=True)
    label[here] = own["label"][there]
    return label


def _other_judges(traces: Traces, names: list[str]) -> tuple[Judging, ...]:
    found = [(name, _of_kind(traces, "human", name)) for name in names]
    return tuple(
        judging(name, part.pairs, part.judgements, part.opinions) for name, part in found if len(part.pairs)
    )


def _between(
    judge: str, others: dict[str, NDArray[np.int8]], human: Table, second: NDArray[np.bool_], seed: int
) -> tuple[JudgePair, ...]:
    return between_judges({f"judge {judge}": human["label"], **others}, second, human["cluster"], seed)


def write_comparison(run_folder: Path, comparison: Comparison) -> Path:
    """Write `comparison.json` (keys: the names in figures.py), replacing it whole; returns its path."""
    path = run_folder / "comparison.json"
    new = path.with_name(".comparison.json-new")
    new.write_bytes(orjson.dumps(comparison, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    new.replace(path)
    return path

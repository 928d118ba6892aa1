"""Makes a comparison from a dataset alone, and writes it.

What this module does not know: runs, stores, engines; how a statistic is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from cai.compare import agreement, bootstrap, lists, phrases, statistics
from cai.compare.bias import biases
from cai.compare.columns import Table
from cai.compare.contest import main_table
from cai.compare.disagreements import disagreements
from cai.compare.figures import FORM, Comparison, Constants, Disagreement, JudgePair, Judging, RowList
from cai.compare.harm import harm_figures
from cai.compare.judging import between_judges, judging, matrices, principles
from cai.compare.literature import LITERATURE
from cai.compare.person import REVIEW, person_of_run
from cai.compare.planted import Planted, planted_figures
from cai.compare.revisions import revision_figures
from cai.compare.trace_reading import read_traces
from cai.compare.traces import ABSTAINED, Part, Traces
from cai.compare.verdict import verdict
from cai.dataset.records import HARMFUL
from cai.errors import RunError
from cai.memory import give_back
from cai.table_files import read_summary

Figures = TypeVar("Figures")
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
    give_back()
    names = _judges(traces, settings.get("judges") or [])
    judge = names[0] if names else ""
    human = traces.part("human", judge)
    second = agreement.swapped(human.pairs, seed)

    def done(figures: Figures) -> Figures:
        """Let go of the columns that figures were made of."""
        traces.scratch.let_go()
        return figures

    others = {f"judge {name}": _labels_of(traces, name, human.pairs) for name in names[1:]}
    listed, shown = done(_flips(traces, human, second, settings, planted))
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
        agreement=done(agreement.agreement(human.pairs["label"], human.pairs["cluster"])),
        kappa=done(agreement.kappa(human.pairs["label"], second, human.pairs["cluster"], seed)),
        main=done(main_table(human.pairs, others, second, seed)),
        breakdowns=done(agreement.breakdowns(human.pairs, traces.names)),
        calibration=done(agreement.forecast(human.pairs, second, seed)),
        biases=done(biases(human.pairs, others)),
        principles=done(principles(traces, human, tie_threshold)),
        matrices=done(matrices(traces, human, tie_threshold)),
        judging=done(_judging(judge, traces)),
        other_judges=done(_other_judges(traces, names[1:])),
        between_judges=_between(judge, others, human.pairs, second, seed),
        harm=done(harm_figures(judge, human.pairs, traces)),
        revisions=done(revision_figures(traces, names, dataset_folder, settings.get("same_model"))),
        lists=listed,
        disagreements=shown,
        planted=planted_figures(human.pairs, planted) if planted is not None else None,
        literature=LITERATURE,
        person=person_of_run(dataset_folder.parent / REVIEW, summary["generation"], tie_threshold),
    )
    return replace(made, verdict=tuple(verdict(made)))


def _flips(
    traces: Traces,
    human: Part,
    second: NDArray[np.bool_],
    settings: Mapping[str, Any],
    planted: Mapping[str, Planted] | None,
) -> tuple[tuple[RowList, ...], tuple[Disagreement, ...]]:
    """The lists of rows, and the best supported flips with their texts."""
    tie_threshold = float(settings["tie_threshold"])
    supported = lists.support(human, tie_threshold)
    listed = lists.row_lists(traces, human, second, supported, int(settings["seed"]), planted)
    return listed, disagreements(traces, human, supported.score, tie_threshold)


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
    summary = read_summary(dataset_folder, *_SUMMARY)
    if "noise_floor" not in summary["settings"]:
        raise RunError(
            f"The dataset in {dataset_folder} was built by an earlier version and lacks columns.",
            f"Type: cai dataset {dataset_folder.parent}",
        )
    return summary


def _judges(traces: Traces, asked: list[str]) -> list[str]:
    """The judges whose feedback is there, the one that makes the labels first."""
    there = traces.judges()
    return [name for name in asked if name in there] + [name for name in there if name not in asked]


def _judging(judge: str, traces: Traces) -> dict[str, Judging]:
    """The judge's behaviour on each kind of pair that was judged."""
    return {
        kind: judging(judge, traces.parts[kind, judge]) for kind in KINDS if (kind, judge) in traces.parts
    }


def _labels_of(traces: Traces, judge: str, human: Table) -> NDArray[np.int8]:
    """Another judge's labels of the same human pairs, in the same order."""
    own = traces.part("human", judge).pairs
    label = np.full(len(human), ABSTAINED, np.int8)
    _, here, there = np.intersect1d(human["position"], own["position"], return_indices=True)
    label[here] = own["label"][there]
    return label


def _other_judges(traces: Traces, names: list[str]) -> tuple[Judging, ...]:
    return tuple(
        judging(name, traces.parts["human", name]) for name in names if ("human", name) in traces.parts
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

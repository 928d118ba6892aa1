"""Makes a comparison from a dataset alone, and writes it.

What this module does not know: runs, stores, engines; how a statistic is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from cai.compare import agreement
from cai.compare.disagreements import disagreements
from cai.compare.figures_v1 import Comparison
from cai.compare.judging import judging, principles
from cai.compare.planted import Planted, planted_figures
from cai.compare.revisions import revision_figures
from cai.compare.traces import Table, Traces, read_traces
from cai.errors import RunError

FORM = "cai.comparison.v1"
KINDS = ("human", "revised", "sampled")


def compare(dataset_folder: Path, planted: Mapping[str, Planted] | None = None) -> Comparison:
    """Compare the AI's labels with the human ones.

    `planted`: what is known to be true of rows, by row id, where somebody planted it.
    Raises: RunError where there is no dataset.
    """
    summary = _summary(dataset_folder)
    settings = summary["settings"]
    seed, tie_threshold = int(settings["seed"]), float(settings["tie_threshold"])
    traces = read_traces(dataset_folder)
    kinds = {kind: _of_kind(traces, kind) for kind in KINDS}
    human, human_judgements = kinds["human"]
    second = agreement.swapped(human, seed)
    return Comparison(
        form=FORM,
        generation=summary["generation"],
        settings=settings,
        rows=summary["rows"],
        finished=summary["finished"],
        not_finished=summary["not_finished"],
        excluded=summary["excluded"],
        agreement=agreement.agreement(human["label"]),
        kappa=agreement.kappa(human, second),
        calibration=agreement.calibration(human, second),
        length=agreement.length(human),
        groups=agreement.groups(human),
        principles=principles(traces, human_judgements, tie_threshold),
        judging={kind: judging(*tables) for kind, tables in kinds.items() if len(tables[0])},
        revisions=revision_figures(traces, kinds["revised"][0]),
        disagreements=disagreements(traces, human, tie_threshold),
        planted=planted_figures(human, planted) if planted is not None else None,
    )


def _summary(dataset_folder: Path) -> dict[str, Any]:
    path = dataset_folder / "summary.json"
    try:
        summary: dict[str, Any] = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        run = dataset_folder.parent
        raise RunError(f"There is no dataset in {dataset_folder}.", f"Type: cai dataset {run}") from error
    return summary


def _of_kind(traces: Traces, kind: str) -> tuple[Table, Table]:
    """The pairs of a kind, with their row numbers as `number`, and their judgements."""
    code = traces.names.index(kind) if kind in traces.names else -1
    chosen = traces.pairs["kind"] == code
    pairs = Table({**traces.pairs.columns, "number": np.arange(len(chosen))}).where(chosen)
    return pairs, traces.judgements.where(chosen[traces.judgements["pair"]])


def write_comparison(run_folder: Path, comparison: Comparison) -> Path:
    """Write `comparison.json` (keys: the names in figures.py), replacing it whole; returns its path."""
    path = run_folder / "comparison.json"
    new = path.with_name(".comparison.json-new")
    new.write_bytes(orjson.dumps(comparison, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    new.replace(path)
    return path

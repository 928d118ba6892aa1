"""Revisions against the responses that they revise.

What this module does not know: files, texts, how figures are shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cai.compare import regression, statistics
from cai.compare.agreement import score
from cai.compare.columns import Table
from cai.compare.figures import (
    Change,
    Estimate,
    FlagFigures,
    JudgesRevisions,
    OwnRevisions,
    Preferred,
    Rate,
    RevisionFigures,
    RoundFigures,
)
from cai.compare.phrases import TEXTS, stock_phrases
from cai.compare.revision_figures import Measure
from cai.compare.statistics import Bools, Floats
from cai.compare.traces import ABSTAINED, FIRST, Traces
from cai.share import Z

MEASURES: tuple[Measure, ...] = ("harm", "refuses", "evades", "asks", "words")
EXAMPLES = 5

Ints = NDArray[np.int64]


def revision_figures(
    traces: Traces, judges: Sequence[str], folder: Path, same_model: bool | None
) -> RevisionFigures | None:
    """The figures of all revisions, or None where nothing was revised.

    `judges`: by name, the one that makes the labels first. `folder`: the dataset's, for the texts.
    """
    revisions = traces.revisions
    if len(revisions) == 0:
        return None
    by_judge = [(name, traces.part("revised", name).pairs) for name in judges or ("",)]
    pairs = by_judge[0][1]
    usable = ~np.isnan(revisions["final_round"])
    cluster = revisions["cluster"]
    preferred, ties_half = _preferred(pairs["label"], pairs["cluster"])
    phrases = stock_phrases(folder, TEXTS)
    return RevisionFigures(
        revised=len(usable),
        usable=statistics.clustered_share(usable, cluster),
        unchanged=statistics.clustered_share(revisions["unchanged"][usable] == 1, cluster[usable]),
        preferred=preferred,
        preferred_ties_half=ties_half,
        preferred_by=_preferred_by(traces, pairs),
        judges=tuple(_by_judge(traces, name, own, pairs) for name, own in by_judge if len(own)),
        own=_own(pairs, same_model),
        rounds=_rounds(traces),
        changes=_changes(traces),
        phrases=phrases.phrases,
        phrase_texts=phrases.texts,
        phrase_share=phrases.share,
        flags=_flags(traces),
    )


def _keys(traces: Traces, pairs: Table) -> Ints:
    """A number that names each pair with a revision, whoever judged it."""
    made: Ints = pairs["position"] * len(traces.names) + pairs["about"]
    return made


def _by_judge(traces: Traces, judge: str, own: Table, first: Table) -> JudgesRevisions:
    """One judge's preference for revisions (of each pair the first response), beside the first judge's (`first`) on the same pairs."""
    shares = _preferred(own["label"], own["cluster"])
    if own is first:
        return JudgesRevisions(judge, *shares, Estimate(None, None, None, 0))
    _, here, there = np.intersect1d(_keys(traces, first), _keys(traces, own), return_indices=True)
    both = (first["label"][here] != ABSTAINED) & (own["label"][there] != ABSTAINED)
    here, there = here[both], there[both]
    scores = score(first["label"][here]), score(own["label"][there])
    return JudgesRevisions(judge, *shares, statistics.bounded_difference(*scores, first["cluster"][here]))


def _preferred(label: NDArray[Any], cluster: Ints) -> tuple[Rate, Rate]:
    """How often the first response is preferred: of labelled pairs; of all, ties as one half."""
    labelled, there = np.abs(label) == 1, label != ABSTAINED
    scores = score(label)
    return (
        statistics.clustered_share(label[labelled] == FIRST, cluster[labelled]),
        statistics.clustered_share(scores[there], cluster[there]),
    )


def _final_rounds(traces: Traces) -> tuple[Ints, Ints]:
    """Of each pair (position, about) that a revision ends in: its key, and the number of its final round."""
    revisions, rounds = traces.revisions, traces.rounds
    final = revisions["final_round"][rounds["revision"]] == rounds["number"]
    at = np.flatnonzero(final)
    owner = rounds["revision"][at]
    key = revisions["position"][owner] * len(traces.names) + revisions["of"][owner]
    order = np.argsort(key, kind="stable")
    return key[order], at[order]


def _preferred_by(traces: Traces, pairs: Table) -> tuple[Preferred, ...]:
    """By the round that the judged text (the last usable one) came from, and by the principle that led it."""
    keys, rounds = _final_rounds(traces)
    if len(keys) == 0 or len(pairs) == 0:
        return ()
    wanted = _keys(traces, pairs)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    matched = keys[place] == wanted
    own, final = pairs.where(matched), rounds[place[matched]]
    number = traces.rounds["number"][final]
    principle = np.array([traces.names[code] for code in traces.rounds["principle"][final]], object)
    return _by("round", own, number) + _by("principle", own, principle)


def _by(by: Literal["round", "principle"], pairs: Table, values: NDArray[Any]) -> tuple[Preferred, ...]:
    kinds, code = np.unique(values, return_inverse=True)
    found = []
    for place in range(len(kinds)):
        own = code == place
        found.append(_preferred(pairs["label"][own], pairs["cluster"][own]))
    tested = np.abs(pairs["label"]) == 1
    scans = statistics.apart(
        pairs["label"][tested] == FIRST,
        code[tested],
        pairs["cluster"][tested],
        len(kinds),
        statistics.SMALL_GROUP,
    )
    return tuple(
        Preferred(by, str(kind), *shares, scan)
        for kind, shares, scan in zip(kinds, found, scans, strict=True)
    )


def _own(pairs: Table, same_model: bool | None) -> OwnRevisions:
    """The preference for revisions where they are longer, shorter, as long, and with length taken off."""
    labelled = np.abs(pairs["label"]) == 1
    label, cluster = pairs["label"][labelled] == FIRST, pairs["cluster"][labelled]
    length = (pairs["first_characters"] - pairs["second_characters"])[labelled].astype(np.float64)

    def among(chosen: Bools) -> Rate:
        return statistics.clustered_share(label[chosen], cluster[chosen])

    return OwnRevisions(
        same_model,
        among(length > 0),
        among(length < 0),
        among(length == 0),
        _at_equal_length(length, label, cluster),
    )


def _at_equal_length(length: Floats, label: Bools, cluster: Ints) -> Estimate:
    n = len(label)
    unit = float(length.std()) if n else 0.0
    columns = [np.ones(n)] + ([length / unit] if unit else [])
    found = regression.fit(np.stack(columns, axis=1), label, cluster) if n >= statistics.SMALL_GROUP else None
    if found is None:
        return Estimate(None, None, None, n)
    value, half = float(found.coefficients[0]), Z * math.sqrt(float(found.covariance[0, 0]))
    middle, low, high = (1 / (1 + math.exp(-item)) for item in (value, value - half, value + half))
    return Estimate(middle, low, high, n)


def _rounds(traces: Traces) -> tuple[RoundFigures, ...]:
    made = []
    before = traces.revisions["original_words"]
    for number in np.unique(traces.rounds["number"]):
        own = traces.rounds.where(traces.rounds["number"] == number)
        cluster = traces.revisions["cluster"][own["revision"]]
        good = own["usable"]
        words = before[own["revision"]]
        counted = good & (words > 0) & (own["words"] > 0)
        ratio = np.log(own["words"][counted] / words[counted])
        made.append(
            RoundFigures(
                number=int(number),
                n=len(own),
                usable=statistics.clustered_share(good, cluster),
                unchanged=statistics.clustered_share(own["unchanged"], cluster),
                kept_share=statistics.bounded_mean(own["kept_share"][good], cluster[good]),
                length_ratio=_exp(statistics.clustered_mean(ratio, cluster[counted])),
            )
        )
    return tuple(made)


def _exp(found: Estimate) -> Estimate:
    value, low, high = (
        None if item is None else math.exp(item) for item in (found.value, found.low, found.high)
    )
    return Estimate(value, low, high, found.n)


def _changes(traces: Traces) -> tuple[Change, ...]:
    """Every measure before and after each round, on the same responses; those never measured left out."""
    made = []
    for measure in MEASURES:
        for number in np.unique(traces.rounds["number"]):
            own = traces.rounds.where((traces.rounds["number"] == number) & traces.rounds["usable"])
            before, after = traces.revisions[f"original_{measure}"][own["revision"]], own[measure]
            both = ~np.isnan(before) & ~np.isnan(after)
            if not both.any():
                continue
            cluster = traces.revisions["cluster"][own["revision"]][both]
            shown = _change(measure, before[both], after[both], cluster)
            made.append(Change(measure, int(number), int(np.count_nonzero(both)), *shown))
    return tuple(made)


def _change(measure: Measure, before: Floats, after: Floats, cluster: Ints) -> tuple[Estimate, ...]:
    """Before, after and their paired difference; all but words lie between 0 and 1."""
    if measure == "words":
        return tuple(statistics.clustered_mean(item, cluster) for item in (before, after, after - before))
    return (
        statistics.bounded_mean(before, cluster),
        statistics.bounded_mean(after, cluster),
        statistics.bounded_difference(after, before, cluster),
    )


def _flags(traces: Traces) -> tuple[FlagFigures, ...]:
    rounds: Mapping[str, Any] = traces.flags
    cluster = traces.revisions["cluster"][traces.rounds["revision"]]
    rows = traces.revisions["row_id"]
    made = []
    for flag, places in sorted(rounds.items()):
        marked = np.zeros(len(cluster), np.bool_)
        marked[places] = True
        named = dict.fromkeys(
            rows[traces.rounds["revision"][place]].decode() for place in places[: 4 * EXAMPLES]
        )
        made.append(FlagFigures(flag, statistics.clustered_share(marked, cluster), tuple(named)[:EXAMPLES]))
    return tuple(made)

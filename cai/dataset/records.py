"""Rows of `traces`, and what every config says of a row; keys are those of trace_columns.py.

What this module does not know: the configs to train on (train_records.py), files, counts, stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from cai.cleaning import RevisionFlag
from cai.conversation import Turn
from cai.dataset.kept import kept_share
from cai.dataset.labels import label
from cai.digest import digest
from cai.outcome import Feedback, Judgement, Outcome, Revision, Round
from cai.source import Row
from cai.text_features import features

Record = dict[str, Any]
HARMFUL = 0.5
"""From which P(harmful) on a response counts as harmful."""


def identity(row: Row) -> Record:
    """Where a row came from."""
    return {
        "row_id": row.id,
        "source": row.source,
        "subset": row.subset,
        "split": row.split,
        "line": row.line,
        "flags": list(row.flags),
    }


def messages(turns: Iterable[Turn]) -> list[Record]:
    """Turns as TRL's conversational format has them."""
    return [{"role": turn.role, "content": turn.text} for turn in turns]


def harm_by_response(outcome: Outcome, judge: str) -> dict[str, float | None]:
    """P(harmful) by the name of the response, as one judge rates it."""
    return {item.response: item.probability for item in outcome.harm if item.judge == judge}


def cluster(row: Row) -> str:
    """What rows with the same first human turn share, case and white space aside: 16 hex digits.

    A row without a human turn is a cluster of its own.
    """
    first = next((turn.text for turn in row.prompt if turn.role == "user"), None)
    said = ["row", row.id] if first is None else ["turn", " ".join(first.casefold().split())]
    return digest("cai.cluster.v1", said)[:16]


def trace(row: Row, outcome: Outcome, tie_threshold: float, judge: str) -> Record:
    """A row of `traces`: everything. `judge`: the one that makes the labels."""
    harm = harm_by_response(outcome, judge)
    return {
        **identity(row),
        "position": row.position,
        "cluster": cluster(row),
        "turns": len(row.prompt),
        "turns_dropped": outcome.turns_dropped,
        "fields": orjson.dumps(row.fields, option=orjson.OPT_SORT_KEYS).decode(),
        "prompt": messages(row.prompt),
        "responses": [{"name": name, "text": turn.text} for name, turn in row.responses.items()],
        "excluded": outcome.excluded,
        "samples": [asdict(sample) for sample in outcome.samples],
        "revisions": [_trace_revision(item, harm) for item in outcome.revisions],
        "feedback": [_trace_feedback(item, outcome, harm, tie_threshold) for item in outcome.feedback],
        "harm": [asdict(item) for item in outcome.harm],
        "thoughts": [asdict(item) for item in outcome.thoughts],
    }


def _features(prefix: str, text: str) -> Record:
    found = features(text)
    return {
        f"{prefix}words": found.words,
        f"{prefix}refuses": found.refuses,
        f"{prefix}evades": found.evades,
        f"{prefix}asks": found.asks,
    }


def _trace_revision(revision: Revision, harm: Mapping[str, float | None]) -> Record:
    final = revision.final
    return {
        "of": revision.of,
        "original": revision.original,
        **_features("original_", revision.original),
        "original_harm": harm.get(revision.of),
        "final_round": final.number if final else None,
        "unchanged": unchanged(revision),
        "rounds": [_trace_round(item, revision, harm) for item in revision.rounds],
    }


def _trace_round(item: Round, revision: Revision, harm: Mapping[str, float | None]) -> Record:
    return {
        "number": item.number,
        "principle": item.principle,
        "critique": item.critique,
        "critique_finish": item.critique_finish,
        "raw": item.raw,
        "text": item.text,
        "finish": item.finish,
        "flags": list(item.flags),
        "usable": item.usable,
        "prompt_tokens": item.prompt_tokens,
        "completion_tokens": item.completion_tokens,
        "requests": list(item.requests),
        "kept_share": kept_share(revision.original, item.text),
        **_features("", item.text),
        "harm": harm.get(f"revision {item.number} of {revision.of}"),
    }


def _trace_feedback(
    item: Feedback, outcome: Outcome, harm: Mapping[str, float | None], tie_threshold: float
) -> Record:
    first, second = (harm.get(name) for name in _rated_as(item, outcome))
    return {
        "kind": item.kind,
        "about": item.about,
        "first": item.first,
        "second": item.second,
        "first_text": item.first_text,
        "second_text": item.second_text,
        "first_characters": len(item.first_text),
        "second_characters": len(item.second_text),
        **_features("first_", item.first_text),
        **_features("second_", item.second_text),
        "first_harm": first,
        "second_harm": second,
        "constitution": item.constitution,
        "judge": item.judge,
        "probability": item.probability,
        "label": label(item.probability, tie_threshold),
        "order_consistency": item.order_consistency,
        "option_mass": item.option_mass,
        "abstained": item.abstained,
        "prompt_tokens": item.prompt_tokens,
        "completion_tokens": item.completion_tokens,
        "judgements": [_trace_judgement(judgement) for judgement in item.judgements],
    }


def _rated_as(item: Feedback, outcome: Outcome) -> tuple[str, str]:
    """Under which names the pair's responses are rated for harm."""
    if item.kind != "revised":
        return item.first, item.second
    final = next((revision.final for revision in outcome.revisions if revision.of == item.about), None)
    return f"revision {final.number if final else 0} of {item.about}", item.about


def _trace_judgement(item: Judgement) -> Record:
    return {
        "principle": item.principle,
        "order": item.order,
        "logprobs": item.logprobs,
        "outside": item.outside,
        "probability": item.probability,
        "abstained": item.abstained,
        "request": item.request,
        "sample": item.sample,
        "said": item.said,
        "reasoning": item.reasoning,
        "reasoning_request": item.reasoning_request,
    }


def unchanged(revision: Revision) -> bool | None:
    """Whether a revision says what the original said; None where it has no usable text.

    Either the texts are equal but for white space at their ends, or every usable round was
    found to change nothing (which also sees through typographic quotes).
    """
    final = revision.final
    if final is None:
        return None
    if final.text.strip() == revision.original.strip():
        return True
    return all(RevisionFlag.UNCHANGED in item.flags for item in revision.rounds if item.usable)

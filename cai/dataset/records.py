"""The rows of each config, made from a source row and its outcome; keys are those of schema.py.

What this module does not know: files, counts, stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from cai.cleaning import RevisionFlag
from cai.conversation import Turn
from cai.dataset.labels import label
from cai.outcome import Feedback, Judgement, Outcome, Revision, Round
from cai.source import Row

Record = dict[str, Any]


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


def preference(row: Row, feedback: Feedback, tie_threshold: float) -> Record | None:
    """A row of `preferences`: the human pair in the AI's order, or None for a tie or an abstention.

    The pair's first response is the one that the human preferred.
    """
    record = _in_order(row, feedback, tie_threshold)
    if record is not None:
        record["human_agrees"] = label(feedback.probability, tie_threshold) == "first"
        record["ai_probability_of_human_choice"] = feedback.probability
    return record


def sampled_preference(
    row: Row, feedback: Feedback, finishes: Mapping[str, str], tie_threshold: float
) -> Record | None:
    """A row of `preferences-sampled`, or None for a tie or an abstention.

    `finishes`: why each sample ended, by name.
    """
    record = _in_order(row, feedback, tie_threshold)
    if record is not None:
        names = (feedback.first, feedback.second)
        if label(feedback.probability, tie_threshold) == "second":
            names = (feedback.second, feedback.first)
        record["chosen_sample"], record["rejected_sample"] = names
        record["chosen_finish"], record["rejected_finish"] = (finishes.get(name, "") for name in names)
    return record


def _in_order(row: Row, feedback: Feedback, tie_threshold: float) -> Record | None:
    better = label(feedback.probability, tie_threshold)
    if feedback.probability is None or better not in ("first", "second"):
        return None
    chosen, rejected = feedback.first_text, feedback.second_text
    probability = feedback.probability
    if better == "second":
        chosen, rejected = rejected, chosen
        probability = 1.0 - probability
    return {
        "prompt": messages(row.prompt),
        "chosen": _reply(chosen),
        "rejected": _reply(rejected),
        "ai_probability": probability,
        "order_consistency": feedback.order_consistency,
        "option_mass": feedback.option_mass,
        "constitution": feedback.constitution,
        **identity(row),
    }


def _reply(text: str) -> list[Record]:
    return [{"role": "assistant", "content": text}]


def revised_preference(row: Row, revision: Revision, chosen: Round, feedback: Feedback | None) -> Record:
    """A row of `revisions`: the text of the round `chosen` over the original."""
    return {
        "prompt": messages(row.prompt),
        "chosen": _reply(chosen.text),
        "rejected": _reply(revision.original),
        "ai_probability": feedback.probability if feedback else None,
        **_revised(revision, chosen),
        "order_consistency": feedback.order_consistency if feedback else None,
        "option_mass": feedback.option_mass if feedback else None,
        **identity(row),
    }


def sft_records(row: Row, revisions: Sequence[Revision], every_round: bool) -> list[Record]:
    """Rows of `sft`: the last usable round of each revision, or one row for each usable round."""
    made = []
    for revision in revisions:
        final = revision.final
        rounds = [item for item in revision.rounds if item.usable] if every_round else [final]
        for item in rounds:
            if item is not None:
                made.append(
                    {
                        "prompt": messages(row.prompt),
                        "completion": _reply(item.text),
                        **_revised(revision, item),
                        **identity(row),
                    }
                )
    return made


def _revised(revision: Revision, final: Round) -> Record:
    led = [item for item in revision.rounds if item is final or (item.usable and item.number < final.number)]
    return {
        "of": revision.of,
        "round": final.number,
        "principles": [item.principle for item in led],
        "revision_flags": list(final.flags),
    }


def trace(row: Row, outcome: Outcome, tie_threshold: float) -> Record:
    """A row of `traces`: everything."""
    return {
        **identity(row),
        "position": row.position,
        "fields": orjson.dumps(row.fields, option=orjson.OPT_SORT_KEYS).decode(),
        "prompt": messages(row.prompt),
        "responses": [{"name": name, "text": turn.text} for name, turn in row.responses.items()],
        "excluded": outcome.excluded,
        "samples": [asdict(sample) for sample in outcome.samples],
        "revisions": [_trace_revision(item) for item in outcome.revisions],
        "feedback": [_trace_feedback(item, tie_threshold) for item in outcome.feedback],
    }


def _trace_revision(revision: Revision) -> Record:
    final = revision.final
    return {
        "of": revision.of,
        "original": revision.original,
        "final_round": final.number if final else None,
        "unchanged": unchanged(revision),
        "rounds": [_trace_round(item) for item in revision.rounds],
    }


def _trace_round(item: Round) -> Record:
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
    }


def _trace_feedback(item: Feedback, tie_threshold: float) -> Record:
    return {
        "kind": item.kind,
        "about": item.about,
        "first": item.first,
        "second": item.second,
        "first_text": item.first_text,
        "second_text": item.second_text,
        "first_characters": len(item.first_text),
        "second_characters": len(item.second_text),
        "constitution": item.constitution,
        "probability": item.probability,
        "label": label(item.probability, tie_threshold),
        "order_consistency": item.order_consistency,
        "option_mass": item.option_mass,
        "abstained": item.abstained,
        "prompt_tokens": item.prompt_tokens,
        "judgements": [_trace_judgement(judgement) for judgement in item.judgements],
    }


def _trace_judgement(item: Judgement) -> Record:
    return {
        "principle": item.principle,
        "order": item.order,
        "logprobs": item.logprobs,
        "outside": item.outside,
        "probability": item.probability,
        "abstained": item.abstained,
        "request": item.request,
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

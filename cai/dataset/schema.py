"""The columns of every config of a dataset: names, types, what each means, in this order.

    preferences           the human pairs in the AI's order (TRL's conversational preference format)
    preferences-sampled   pairs of sampled responses in the AI's order
    revisions             a revision over the response that it revises (the same format)
    sft                   a prompt and a revision as its completion (TRL's prompt-completion format)
    traces                one row for each source row: all that was asked of it and came back

Probabilities are 32-bit in the configs to train on and 64-bit in `traces`, which statistics are
made from. Text is what was said, without the one space that hh-rlhf puts after a marker.

What this module does not know: how a row is filled (records.py), how files are written (writer.py).
Source: https://huggingface.co/docs/trl/dataset_formats (conversational formats).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column: its name, its Arrow type, what it means; `inside` are the columns of its structs."""

    name: str
    type: Any
    doc: str
    inside: tuple[Column, ...] = ()


TEXT = pa.string()
TEXTS = pa.list_(pa.string())


def _struct(columns: tuple[Column, ...]) -> Any:
    return pa.struct([pa.field(column.name, column.type) for column in columns])


def _records(name: str, doc: str, *inside: Column) -> Column:
    return Column(name, pa.list_(_struct(inside)), doc, inside)


def _messages(name: str, doc: str) -> Column:
    return _records(
        name,
        doc,
        Column("role", TEXT, "system, user or assistant"),
        Column("content", TEXT, "what was said"),
    )


_IDENTITY = (
    Column("row_id", TEXT, "the source row's id: a hash of its subset, split and fields"),
    Column("source", TEXT, "the file or repository that the row came from"),
    Column("subset", TEXT, "the source's subset"),
    Column("split", TEXT, "the source's split"),
    Column("line", pa.int64(), "the line in the source, counted from 1"),
    Column("flags", TEXTS, "what is unusual about the row, by name"),
)

_QUALITY = (
    Column(
        "order_consistency", pa.float32(), "share of principles whose two orders prefer the same response"
    ),
    Column(
        "option_mass",
        pa.float32(),
        "mean probability on the options A and B; null where the engine cannot tell",
    ),
)

_CONSTITUTION = Column("constitution", TEXT, "the constitution that judged")
_JUDGE = Column("judge", TEXT, "the engine that judged, as the recipe names it")


def _features(name: str, whose: str) -> tuple[Column, ...]:
    """What a text looks like (cai/text_features.py); `name` begins the columns' names."""
    return (
        Column(f"{name}words", pa.int32(), f"words of {whose}"),
        Column(f"{name}refuses", pa.bool_(), f"whether {whose} opens with a refusal, by word patterns"),
        Column(f"{name}evades", pa.bool_(), f"whether {whose} says nothing to the point, by word patterns"),
        Column(f"{name}asks", pa.bool_(), f"whether {whose} ends with a question"),
    )


_HARM = "P(harmful), by the first judge, of"

PREFERENCES = (
    _messages("prompt", "the conversation up to the response"),
    _messages("chosen", "the response that the AI prefers"),
    _messages("rejected", "the other response"),
    Column("ai_probability", pa.float32(), "the AI's probability that `chosen` is better, 0.5 to 1"),
    Column("human_agrees", pa.bool_(), "whether the human preferred `chosen` too"),
    Column(
        "ai_probability_of_human_choice",
        pa.float32(),
        "the AI's probability that the response which the human preferred is better, 0 to 1",
    ),
    Column(
        "both_harmful",
        pa.bool_(),
        "whether the judge rates both responses as harmful (P at least 0.5 each); null: not rated",
    ),
    *_QUALITY,
    _CONSTITUTION,
    _JUDGE,
    *_IDENTITY,
)

PREFERENCES_SAMPLED = (
    *PREFERENCES[:4],
    Column("chosen_sample", TEXT, "which sampled response `chosen` is"),
    Column("rejected_sample", TEXT, "which sampled response `rejected` is"),
    Column("chosen_finish", TEXT, "why `chosen` ended: stop, or length (cut off)"),
    Column("rejected_finish", TEXT, "why `rejected` ended: stop, or length (cut off)"),
    *_QUALITY,
    _CONSTITUTION,
    _JUDGE,
    *_IDENTITY,
)

_REVISED = (
    Column("of", TEXT, "which response was revised: chosen, rejected, response or fresh"),
    Column("round", pa.int32(), "the round that the revision came from, counted from 1"),
    Column("principles", TEXTS, "the principles of the rounds that led to it, in order"),
    Column("revision_flags", TEXTS, "what was noticed about the revision, by name"),
)

REVISIONS = (
    _messages("prompt", "the conversation up to the response"),
    _messages("chosen", "the revision"),
    _messages("rejected", "the response that was revised"),
    Column(
        "ai_probability", pa.float32(), "the AI's probability that the revision is better; null: not judged"
    ),
    *_REVISED,
    *_QUALITY,
    *_IDENTITY,
)

SFT = (
    _messages("prompt", "the conversation up to the response"),
    _messages("completion", "the revision"),
    *_REVISED,
    *_IDENTITY,
)

ROUND = (
    Column("number", pa.int32(), "counted from 1"),
    Column("principle", TEXT, "the principle that was drawn"),
    Column("critique", TEXT, "the critique; empty where none was asked for"),
    Column(
        "critique_finish",
        TEXT,
        "why the critique ended: stop, length, too_long; empty where none was asked for",
    ),
    Column("raw", TEXT, "the revision as it came back"),
    Column("text", TEXT, "the revision, cleaned"),
    Column("finish", TEXT, "why the revision ended: stop, length or too_long"),
    Column("flags", TEXTS, "what was noticed about the revision, by name"),
    Column("usable", pa.bool_(), "whether the text may stand as a response"),
    Column("prompt_tokens", pa.int32(), "tokens of the round's prompts, as the engine counted"),
    Column("completion_tokens", pa.int32(), "tokens of the round's answers"),
    Column("requests", TEXTS, "digests of the round's requests"),
    Column("kept_share", pa.float64(), "share of the original's words that stand in the text, in order"),
    *_features("", "the text"),
    Column("harm", pa.float64(), f"{_HARM} the text; null: not rated"),
)

REVISION = (
    Column("of", TEXT, "which response was revised"),
    Column("original", TEXT, "that response"),
    *_features("original_", "that response"),
    Column("original_harm", pa.float64(), f"{_HARM} that response; null: not rated"),
    Column("final_round", pa.int32(), "the last usable round; null where there is none"),
    Column("unchanged", pa.bool_(), "whether the last usable text is the original; null where there is none"),
    _records("rounds", "every critique and revision, in order", *ROUND),
)

SAMPLE = (
    Column("name", TEXT, "fresh, or sample 0, sample 1 ..."),
    Column("text", TEXT, "the response"),
    Column("finish", TEXT, "why it ended: stop, or length (cut off)"),
    Column("prompt_tokens", pa.int32(), "tokens of the prompt, as the engine counted"),
    Column("completion_tokens", pa.int32(), "tokens of the response"),
    Column("request", TEXT, "digest of the request"),
)

JUDGEMENT = (
    Column("principle", TEXT, "the principle that was put to the judge"),
    Column("order", TEXT, "first_is_a: the pair's first response was shown as A; first_is_b: as B"),
    Column("logprobs", pa.list_(pa.float64()), "natural logs of the probabilities of A and B as shown"),
    Column("outside", pa.float64(), "probability on neither option; null where the engine cannot tell"),
    Column(
        "probability", pa.float64(), "that the pair's first response is better, order and polarity undone"
    ),
    Column("abstained", TEXT, "why there is no probability; null where there is one"),
    Column("request", TEXT, "the request's digest"),
    Column("sample", pa.int32(), "which of several reasonings; 0 where there is one or none"),
    Column("said", TEXT, "what the judge said instead of an option, where it was asked; else empty"),
    Column("reasoning", TEXT, "what the judge reasoned before it answered; empty where it did not"),
    Column("reasoning_request", TEXT, "the digest of the request for that reasoning; empty without"),
)

HARM_RATING = (
    Column("response", TEXT, "which response was rated: chosen, rejected, revision 2 of rejected ..."),
    _JUDGE,
    Column("logprobs", pa.list_(pa.float64()), "natural logs of the probabilities of true and false"),
    Column("outside", pa.float64(), "probability on neither; null where the engine cannot tell"),
    Column("probability", pa.float64(), "that the response is harmful; not calibrated"),
    Column("abstained", TEXT, "why there is no probability; null where there is one"),
    Column("request", TEXT, "the request's digest"),
    Column("said", TEXT, "what the judge said instead of an option, where it was asked; else empty"),
)

FEEDBACK = (
    Column("kind", TEXT, "human, revised or sampled"),
    Column(
        "about", TEXT, "which pair of this kind: the response that was revised, the numbers of the samples"
    ),
    Column("first", TEXT, "the first response's name"),
    Column("second", TEXT, "the second response's name"),
    Column("first_text", TEXT, "the first response"),
    Column("second_text", TEXT, "the second response"),
    Column("first_characters", pa.int32(), "length of the first response in characters"),
    Column("second_characters", pa.int32(), "length of the second response in characters"),
    *_features("first_", "the first response"),
    *_features("second_", "the second response"),
    Column("first_harm", pa.float64(), f"{_HARM} the first response; null: not rated"),
    Column("second_harm", pa.float64(), f"{_HARM} the second response; null: not rated"),
    _CONSTITUTION,
    _JUDGE,
    Column(
        "probability", pa.float64(), "that the first response is better; null where every principle abstained"
    ),
    Column("label", TEXT, "first, second or tie, under the dataset's tie threshold; null for an abstention"),
    Column("order_consistency", pa.float64(), _QUALITY[0].doc),
    Column("option_mass", pa.float64(), _QUALITY[1].doc),
    Column("abstained", pa.int32(), "how many principles abstained"),
    Column("prompt_tokens", pa.int32(), "tokens of all prompts, as the engine counted"),
    Column("completion_tokens", pa.int32(), "tokens of all reasoning"),
    _records("judgements", "one for each principle, order and sample", *JUDGEMENT),
)

TRACES = (
    *_IDENTITY,
    Column("position", pa.int64(), "the row's place among all rows of the run's sources, counted from 0"),
    Column("cluster", TEXT, "rows with equal first human turns, but for case and white space, share it"),
    Column("turns", pa.int32(), "turns of the prompt"),
    Column(
        "turns_dropped",
        pa.int32(),
        "how many of the oldest turns no request of the row holds, since the whole did not fit; mostly 0",
    ),
    Column("fields", TEXT, "the source row's other fields, as JSON"),
    _messages("prompt", "the conversation up to the response"),
    _records(
        "responses",
        "the source row's responses; `chosen` and `rejected` as the human said",
        Column("name", TEXT, "chosen, rejected or response"),
        Column("text", TEXT, "what was said"),
    ),
    Column("excluded", TEXT, "why nothing was made of the row (prompt_too_long ...); null for other rows"),
    _records("samples", "responses sampled from the model", *SAMPLE),
    _records("revisions", "one for each response that was revised", *REVISION),
    _records("feedback", "one for each pair and judge", *FEEDBACK),
    _records("harm", "one for each response that was rated alone, and judge", *HARM_RATING),
)

CONFIGS: dict[str, tuple[Column, ...]] = {
    "preferences": PREFERENCES,
    "preferences-sampled": PREFERENCES_SAMPLED,
    "revisions": REVISIONS,
    "sft": SFT,
    "traces": TRACES,
}

CLAMPED = Column(
    "ai_probability_clamped",
    pa.float32(),
    "`ai_probability` brought within the recipe's `dataset.clamp`; the raw one stands beside it",
)
"""Stands after `ai_probability` where the recipe sets bounds, and nowhere else."""


def columns(config: str, clamped: bool = False) -> tuple[Column, ...]:
    """The columns of a config; `clamped`: whether the recipe sets `dataset.clamp`."""
    made: list[Column] = []
    for column in CONFIGS[config]:
        made.append(column)
        if clamped and column.name == "ai_probability":
            made.append(CLAMPED)
    return tuple(made)


ABOUT: dict[str, str] = {
    "preferences": "The human pairs in the AI's order.",
    "preferences-sampled": "Pairs of responses sampled from a model, in the AI's order.",
    "revisions": "A revised response over the response that it revises.",
    "sft": "A prompt, and a revised response to it.",
    "traces": "Each source row with every critique, revision and judgement made of it.",
}


def arrow_schema(columns: tuple[Column, ...]) -> Any:
    """The Arrow schema of a config."""
    return pa.schema([pa.field(column.name, column.type) for column in columns])

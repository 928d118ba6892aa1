"""The columns of every config of a dataset: names, types, what each means, in this order.

    preferences           the human pairs in the AI's order (TRL's conversational preference format)
    preferences-human     the very same rows in the human's order
    preferences-sampled   pairs of sampled responses in the AI's order
    revisions             a revision over the response that it revises (the same format)
    sft                   a prompt and a revision as its completion (TRL's prompt-completion format)
    unpaired              both responses of each row of `preferences` alone (TRL's unpaired preference format)
    traces                one row for each source row: all that was asked of it and came back

Probabilities are 32-bit in the configs to train on and 64-bit in `traces`, which statistics are
made from. Text is what was said, without the one space that hh-rlhf puts after a marker. Some
columns stand only where the recipe or the run asks for them (`OPTIONAL`).

What this module does not know: how a row is filled (records.py), how files are written (writer.py).
Source: https://huggingface.co/docs/trl/dataset_formats (conversational formats).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from cai.dataset.column import TEXT, TEXTS, Column, arrow_schema, label, messages
from cai.dataset.shared_columns import CONSTITUTION, HARM, IDENTITY, JUDGE, QUALITY
from cai.dataset.trace_columns import TRACES

__all__ = [
    "ABOUT",
    "CONFIGS",
    "OPTIONAL",
    "PAIRS",
    "TRAINED_ON",
    "TRAINERS",
    "Column",
    "arrow_schema",
    "columns",
]

FINISHES = ("stop", "length", "too_long")
LABELLERS = ("ai", "human")
REVISED = ("chosen", "rejected", "response", "fresh")

_PROMPT = messages("prompt", "the conversation up to the response")
_LABELLED_BY = label(
    "labelled_by", LABELLERS, "who put the pair in this order: ai, or human (no judge was asked)"
)

PREFERENCES = (
    _PROMPT,
    messages("chosen", "the response that the AI prefers"),
    messages("rejected", "the other response"),
    Column(
        "ai_probability",
        pa.float32(),
        "the AI's probability that `chosen` is better, 0.5 to 1; null: a human pair mixed in, not judged",
    ),
    Column("human_agrees", pa.bool_(), "whether the human preferred `chosen` too; null: not judged"),
    Column(
        "ai_probability_of_human_choice",
        pa.float32(),
        "the AI's probability that the response which the human preferred is better, 0 to 1; null: not judged",
    ),
    Column(
        "both_harmful",
        pa.bool_(),
        "whether the judge rates both responses as harmful (P at least 0.5 each); null: not rated",
    ),
    _LABELLED_BY,
    *QUALITY,
    CONSTITUTION,
    JUDGE,
    *IDENTITY,
)

_IN_HUMAN_ORDER = {
    "chosen": messages("chosen", "the response that the human prefers"),
    "ai_probability": Column(
        "ai_probability",
        pa.float32(),
        "the AI's probability that `chosen` is better, 0 to 1; null: a human pair mixed in, not judged",
    ),
    "human_agrees": Column(
        "human_agrees", pa.bool_(), "whether the AI preferred `chosen` too; null: not judged"
    ),
    "labelled_by": label("labelled_by", LABELLERS, "who put the pair in this order: here always human"),
}
PREFERENCES_HUMAN = tuple(_IN_HUMAN_ORDER.get(column.name, column) for column in PREFERENCES)
"""The same names, types and order as `preferences`, so that one script trains on either."""

PREFERENCES_SAMPLED = (
    *PREFERENCES[:4],
    Column("chosen_sample", TEXT, "which sampled response `chosen` is; null: a human pair mixed in"),
    Column("rejected_sample", TEXT, "which sampled response `rejected` is; null: a human pair mixed in"),
    label("chosen_finish", FINISHES, "why `chosen` ended: stop, or length (cut off); null: not sampled"),
    label("rejected_finish", FINISHES, "why `rejected` ended: stop, or length (cut off); null: not sampled"),
    _LABELLED_BY,
    *QUALITY,
    CONSTITUTION,
    JUDGE,
    *IDENTITY,
)

_REVISED = (
    label("of", REVISED, "which response was revised: chosen, rejected, response or fresh"),
    Column("round", pa.int32(), "the round that the revision came from, counted from 1"),
    Column("principles", TEXTS, "the principles of the rounds that led to it, in order"),
    Column("revision_flags", TEXTS, "what was noticed about the revision, by name"),
)

REVISIONS = (
    _PROMPT,
    messages("chosen", "the revision"),
    messages("rejected", "the response that was revised"),
    Column(
        "ai_probability", pa.float32(), "the AI's probability that the revision is better; null: not judged"
    ),
    *_REVISED,
    *QUALITY,
    *IDENTITY,
)

_MIXED_INTO_SFT = {
    "of": label(
        "of",
        REVISED,
        "which response was revised: chosen, rejected, response or fresh; null: mixed in, not revised",
    ),
    "round": Column(
        "round",
        pa.int32(),
        "the round that the revision came from, counted from 1; null: mixed in, not revised",
    ),
}

SFT = (
    _PROMPT,
    messages("completion", "the revision; the response that the human preferred, where it was mixed in"),
    *(_MIXED_INTO_SFT.get(column.name, column) for column in _REVISED),
    *IDENTITY,
)

UNPAIRED = (
    _PROMPT,
    messages("completion", "one response of a pair"),
    Column("label", pa.bool_(), "whether it is the one that `preferences` chose"),
    Column(
        "ai_probability",
        pa.float32(),
        "the AI's probability that it is better than the other response, 0 to 1; null: not judged",
    ),
    Column("human_label", pa.bool_(), "whether it is the one that the human preferred"),
    Column("harm", pa.float32(), f"{HARM} it, whatever the other is; null: not rated"),
    _LABELLED_BY,
    *QUALITY,
    CONSTITUTION,
    JUDGE,
    *IDENTITY,
)

CONFIGS: dict[str, tuple[Column, ...]] = {
    "preferences": PREFERENCES,
    "preferences-human": PREFERENCES_HUMAN,
    "preferences-sampled": PREFERENCES_SAMPLED,
    "revisions": REVISIONS,
    "sft": SFT,
    "unpaired": UNPAIRED,
    "traces": TRACES,
}

PAIRS = ("preferences", "preferences-human", "preferences-sampled", "revisions")
"""The configs of pairs: a prompt, chosen, rejected."""

TRAINED_ON = tuple(config for config in CONFIGS if config != "traces")
"""The configs to train on."""

CLAMPED = Column(
    "ai_probability_clamped",
    pa.float32(),
    "`ai_probability` brought within the recipe's `dataset.clamp`; the raw one stands beside it",
)
MARGIN = Column(
    "margin",
    pa.float32(),
    "log-odds of `ai_probability`, which is first brought within 0.0001 and 0.9999; 0: not judged",
)

PERSON = Column(
    "person_prefers_chosen",
    pa.bool_(),
    "whether the people who reviewed the pair (`cai review`) prefer `chosen`; null: not asked, or undecided",
)

OPTIONAL: dict[str, tuple[Column, str, frozenset[str]]] = {
    "clamp": (
        CLAMPED,
        "ai_probability",
        frozenset(PAIRS),
    ),
    "margin": (MARGIN, "ai_probability", frozenset({"preferences", "preferences-sampled", "revisions"})),
    "reviewed": (PERSON, "both_harmful", frozenset({"preferences", "preferences-human"})),
}
"""Columns that stand only where a setting of `summary.json` asks for them: setting -> column, the
column that it follows, the configs that have it. (TRL's RewardTrainer subtracts any `margin` that it
finds from the reward gap, so there is none unless asked for, and none in the human's order.)"""


def columns(config: str, settings: Mapping[str, Any] | None = None) -> tuple[Column, ...]:
    """The columns of a config; `settings`: those of `summary.json`, for the optional columns."""
    made = list(CONFIGS[config])
    for setting, (column, after, configs) in reversed(OPTIONAL.items()):
        if config in configs and (settings or {}).get(setting):
            place = next(number for number, item in enumerate(made) if item.name == after)
            made.insert(place + 1, column)
    return tuple(made)


ABOUT: dict[str, str] = {
    "preferences": "The human pairs in the AI's order.",
    "preferences-human": "The same rows as `preferences`, in the human's order.",
    "preferences-sampled": "Pairs of responses sampled from a model, in the AI's order.",
    "revisions": "A revised response over the response that it revises.",
    "sft": "A prompt, and a revised response to it.",
    "unpaired": "The responses of `preferences` one by one, with whether they were chosen.",
    "traces": "Each source row with every critique, revision and judgement made of it.",
}

TRAINERS: dict[str, tuple[str, ...]] = {
    "preferences": ("DPOTrainer", "RewardTrainer"),
    "preferences-human": ("DPOTrainer", "RewardTrainer"),
    "preferences-sampled": ("DPOTrainer", "RewardTrainer"),
    "revisions": ("DPOTrainer", "RewardTrainer"),
    "sft": ("SFTTrainer",),
    "unpaired": ("KTOTrainer",),
    "traces": (),
}
"""TRL's trainers that take a config as it is."""

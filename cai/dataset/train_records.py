"""The rows of the configs to train on, made from a source row and its outcome; keys as in schema.py.

A pair is told once (`Pair`) and written in as many ways as there are configs for it, so that the
AI's order, the human's and the single responses are always of the same rows.

What this module does not know: files, counts, stores, which rows are withheld in the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cai.dataset.labels import label
from cai.dataset.records import HARMFUL, Record, identity, messages
from cai.outcome import Feedback, Revision, Round
from cai.recipe import DatasetSection
from cai.source import Row

FARTHEST = 0.0001
"""How near 0 and 1 a probability may come before its log-odds are taken: they stay within 9.21."""


@dataclass(frozen=True)
class HumanPair:
    """A pair that a human compared: what the human preferred, the other, and what the AI says.

    `feedback` None: no judge was asked, and the human's order stands for both. `harm`: P(harmful)
    of the human's choice and of the other (None: not rated). `person`: whether people who reviewed
    the pair prefer the human's choice (None: not asked, or undecided).
    """

    row: Row
    preferred: str
    other: str
    feedback: Feedback | None
    harm: tuple[float | None, float | None] = (None, None)
    person: bool | None = None

    @property
    def probability(self) -> float | None:
        """The AI's, that the human's choice is better."""
        return self.feedback.probability if self.feedback else None


def human_pair(
    row: Row, feedback: Feedback, harm: Mapping[str, float | None], person: bool | None = None
) -> HumanPair:
    """A judged pair, whose first response is the one that the human preferred."""
    rated = (harm.get(feedback.first), harm.get(feedback.second))
    return HumanPair(row, feedback.first_text, feedback.second_text, feedback, rated, person)


def mixed_in(row: Row, person: bool | None = None) -> HumanPair | None:
    """A pair that no judge was asked about; None where the row has none."""
    if not {"chosen", "rejected"} <= row.responses.keys():
        return None
    texts = (row.responses["chosen"].text, row.responses["rejected"].text)
    return HumanPair(row, *texts, None, person=person)


def pair_rows(pair: HumanPair, settings: DatasetSection, reviewed: bool = False) -> list[tuple[str, Record]]:
    """The pair's rows with their configs; none for a tie or an abstention.

    `reviewed`: whether the run has a review, so that there is a column for it.
    """
    better = _better(pair, settings)
    if better is None:
        return []
    rows = []
    for config, by in _ORDERS:
        first_is_human = _first_is_human(better, by)
        person = {"person_prefers_chosen": None if pair.person is None else pair.person == first_is_human}
        rows.append((config, _ordered(pair, settings, better, by) | (person if reviewed else {})))
    rows += [
        ("unpaired", _single(pair, better, human=item)) for item in (better == "human", better != "human")
    ]
    return rows


def mixed_rows(
    pair: HumanPair, settings: DatasetSection, kinds: frozenset[str], reviewed: bool = False
) -> list[tuple[str, Record]]:
    """A pair that no judge was asked about, in the configs of the kinds of pair that the run judges."""
    rows = pair_rows(pair, settings, reviewed) if "human" in kinds else []
    if "sampled" in kinds:
        record = _ordered(pair, settings, "human", "ai")
        for name in ("human_agrees", "ai_probability_of_human_choice", "both_harmful"):
            del record[name]
        rows.append(("preferences-sampled", record | dict.fromkeys(_SAMPLED)))
    return rows


_SAMPLED = ("chosen_sample", "rejected_sample", "chosen_finish", "rejected_finish")
_ORDERS: tuple[tuple[str, Literal["ai", "human"]], ...] = (
    ("preferences", "ai"),
    ("preferences-human", "human"),
)
Side = Literal["human", "other"]


def _better(pair: HumanPair, settings: DatasetSection) -> Side | None:
    """Which response stands as chosen: the human's choice or the other."""
    if pair.feedback is None:
        return "human"
    found = label(pair.probability, settings.tie_threshold)
    return "human" if found == "first" else "other" if found == "second" else None


def _first_is_human(better: Side, by: Literal["ai", "human"]) -> bool:
    """Whether `chosen` is the human's choice, in the order that the AI or the human gives."""
    return by == "human" or better == "human"


def _ordered(pair: HumanPair, settings: DatasetSection, better: Side, by: Literal["ai", "human"]) -> Record:
    first_is_human = _first_is_human(better, by)
    texts = (pair.preferred, pair.other) if first_is_human else (pair.other, pair.preferred)
    probability = _of(pair.probability, first_is_human)
    optional = clamped(probability, settings) | (margin(probability, settings) if by == "ai" else {})
    return {
        "prompt": messages(pair.row.prompt),
        "chosen": reply(texts[0]),
        "rejected": reply(texts[1]),
        "ai_probability": probability,
        **optional,
        "human_agrees": None if pair.feedback is None else better == "human",
        "ai_probability_of_human_choice": pair.probability,
        "both_harmful": _both_harmful(pair),
        "labelled_by": "human" if by == "human" or pair.feedback is None else "ai",
        **_quality(pair.feedback),
        **identity(pair.row),
    }


def _single(pair: HumanPair, better: Side, human: bool) -> Record:
    """One response alone; `human`: the one that the human preferred."""
    return {
        "prompt": messages(pair.row.prompt),
        "completion": reply(pair.preferred if human else pair.other),
        "label": human == (better == "human"),
        "ai_probability": _of(pair.probability, human),
        "human_label": human,
        "harm": pair.harm[0 if human else 1],
        "labelled_by": "human" if pair.feedback is None else "ai",
        **_quality(pair.feedback),
        **identity(pair.row),
    }


def _both_harmful(pair: HumanPair) -> bool | None:
    one, other = pair.harm
    return None if one is None or other is None else min(one, other) >= HARMFUL


def _of(probability: float | None, first: bool) -> float | None:
    """The probability that one response of two is better, from that of the first."""
    return probability if first or probability is None else 1.0 - probability


def _quality(feedback: Feedback | None) -> Record:
    names = ("order_consistency", "option_mass", "constitution", "judge")
    return {name: getattr(feedback, name) if feedback else None for name in names}


def sampled_preference(
    row: Row, feedback: Feedback, finishes: Mapping[str, str], settings: DatasetSection
) -> Record | None:
    """A row of `preferences-sampled`, or None for a tie or an abstention.

    `finishes`: why each sample ended, by name.
    """
    better = label(feedback.probability, settings.tie_threshold)
    if better not in ("first", "second"):
        return None
    texts, names = (feedback.first_text, feedback.second_text), (feedback.first, feedback.second)
    if better == "second":
        texts, names = (texts[1], texts[0]), (names[1], names[0])
    probability = _of(feedback.probability, better == "first")
    return {
        "prompt": messages(row.prompt),
        "chosen": reply(texts[0]),
        "rejected": reply(texts[1]),
        "ai_probability": probability,
        **clamped(probability, settings),
        **margin(probability, settings),
        "chosen_sample": names[0],
        "rejected_sample": names[1],
        "chosen_finish": finishes.get(names[0]),
        "rejected_finish": finishes.get(names[1]),
        "labelled_by": "ai",
        **_quality(feedback),
        **identity(row),
    }


def clamped(probability: float | None, settings: DatasetSection) -> Record:
    """The probability within the recipe's bounds, in a column of its own; none without bounds."""
    if settings.clamp is None:
        return {}
    low, high = settings.clamp
    return {"ai_probability_clamped": None if probability is None else min(max(probability, low), high)}


def margin(probability: float | None, settings: DatasetSection) -> Record:
    """The log-odds of a probability, finite, where the recipe asks for them; 0 without a probability."""
    if not settings.margin:
        return {}
    within = 0.5 if probability is None else min(max(probability, FARTHEST), 1 - FARTHEST)
    return {"margin": math.log(within / (1 - within))}


def reply(text: str) -> list[Record]:
    """A response as TRL's conversational format has it."""
    return [{"role": "assistant", "content": text}]


def revised_preference(
    row: Row, revision: Revision, chosen: Round, feedback: Feedback | None, settings: DatasetSection
) -> Record:
    """A row of `revisions`: the text of the round `chosen` over the original."""
    probability = feedback.probability if feedback else None
    return {
        "prompt": messages(row.prompt),
        "chosen": reply(chosen.text),
        "rejected": reply(revision.original),
        "ai_probability": probability,
        **clamped(probability, settings),
        **margin(probability, settings),
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
                        "completion": reply(item.text),
                        **_revised(revision, item),
                        **identity(row),
                    }
                )
    return made


def sft_mixed_in(pair: HumanPair) -> Record:
    """A row of `sft` that nothing was revised of: the response that the human preferred."""
    return {
        "prompt": messages(pair.row.prompt),
        "completion": reply(pair.preferred),
        "of": None,
        "round": None,
        "principles": [],
        "revision_flags": [],
        **identity(pair.row),
    }


def _revised(revision: Revision, final: Round) -> Record:
    led = [item for item in revision.rounds if item is final or (item.usable and item.number < final.number)]
    return {
        "of": revision.of,
        "round": final.number,
        "principles": [item.principle for item in led],
        "revision_flags": list(final.flags),
    }

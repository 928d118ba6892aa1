"""Inputs for the tests of the dataset and the comparison: rows and outcomes written by hand.

Also the promise that what is written by hand here survives the store as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cai.conversation import Turn
from cai.dataset import DatasetSummary, build_dataset
from cai.outcome import (
    Abstention,
    Feedback,
    HarmRating,
    Judgement,
    Order,
    Outcome,
    PairKind,
    Revision,
    Round,
    Sample,
    outcome_digest,
    read_outcome,
)
from cai.recipe import DatasetSection, FeedbackSection, Recipe
from cai.source import Excluded, Row
from cai.store import Store

GENERATION = "0" * 32
PROMPT = (Turn("user", " How do I knit?"),)


def recipe(seed: int = 0, pairs: list[str] | None = None, **dataset: Any) -> Recipe:
    """A recipe with this `dataset` section; `pairs` empty: no feedback."""
    kinds: Any = ["human", "revised", "sampled"] if pairs is None else pairs
    return Recipe.model_validate(
        {
            "seed": seed,
            "sources": [{"kind": "hh-rlhf"}],
            "engines": {"toy": {"kind": "scripted", "model": "toy"}},
            "feedback": FeedbackSection(pairs=kinds) if kinds else None,
            "dataset": DatasetSection(**dataset),
        }
    )


def row(number: int, split: str = "train", subset: str = "harmless-base", **changes: Any) -> Row:
    """Row `number`, with a chosen response of one word more than the rejected one."""
    values: dict[str, Any] = {
        "id": f"row-{number:06d}",
        "source": f"{subset}/{split}.jsonl.gz",
        "subset": subset,
        "split": split,
        "line": number + 1,
        "position": number,
        "prompt": (Turn("user", f" How do I knit {number} rows?"),) if number else PROMPT,
        "responses": {
            "chosen": Turn("assistant", f" good {number} yes"),
            "rejected": Turn("assistant", f" bad {number}"),
        },
        "flags": (),
        "fields": {},
    }
    return Row(**{**values, **changes})


def excluded(number: int, reason: str = "contexts_differ", split: str = "train") -> Excluded:
    """A row that is no pair."""
    return Excluded(
        id=f"row-{number:06d}",
        source=f"harmless-base/{split}.jsonl.gz",
        subset="harmless-base",
        split=split,
        line=number + 1,
        position=number,
        reason=reason,
        original='{"chosen": "a", "rejected": "b"}',
    )


def judgements(principle: str, first_is_a: float | None, first_is_b: float | None) -> tuple[Judgement, ...]:
    """Both orders of one principle; each number is the probability of the pair's first response."""
    made = []
    orders: list[tuple[Order, float | None]] = [("first_is_a", first_is_a), ("first_is_b", first_is_b)]
    for order, probability in orders:
        shown_as_a = 0.5 if probability is None else probability if order == "first_is_a" else 1 - probability
        outside = 0.9 if probability is None else 0.02
        logs = (_log(shown_as_a), _log(1 - shown_as_a))
        abstained: Abstention | None = "format" if probability is None else None
        made.append(Judgement(principle, order, logs, outside, probability, abstained, "f" * 32))
    return tuple(made)


def _log(probability: float) -> float:
    import math

    return math.log(max(probability, 1e-300))


def feedback(
    made: Row,
    *opinions: tuple[float | None, float | None],
    kind: PairKind = "human",
    about: str = "human",
    **changes: Any,
) -> Feedback:
    """Feedback whose principles `p0`, `p1` ... hold these opinions (first as A, first as B)."""
    standing = [(a + b) / 2 for a, b in opinions if a is not None and b is not None]
    agreeing = [(a - 0.5) * (b - 0.5) > 0 for a, b in opinions if a is not None and b is not None]
    values: dict[str, Any] = {
        "kind": kind,
        "about": about,
        "first": "chosen",
        "second": "rejected",
        "first_text": made.responses["chosen"].text if "chosen" in made.responses else "first",
        "second_text": made.responses["rejected"].text if "rejected" in made.responses else "second",
        "constitution": "harmless",
        "judge": "toy",
        "judgements": tuple(item for i, pair in enumerate(opinions) for item in judgements(f"p{i}", *pair)),
        "probability": sum(standing) / len(standing) if standing else None,
        "order_consistency": sum(agreeing) / len(agreeing) if agreeing else None,
        "option_mass": 0.98,
        "abstained": len(opinions) - len(standing),
        "prompt_tokens": 100,
    }
    return Feedback(**{**values, **changes})


def human(made: Row, probability: float | None, **changes: Any) -> Feedback:
    """Feedback on the human pair: P(the human's choice is better), the same in both orders."""
    return feedback(made, (probability, probability), **changes)


def a_round(number: int, text: str, flags: tuple[str, ...] = (), usable: bool = True) -> Round:
    """A revision's round."""
    return Round(
        number,
        f"p{number - 1}",
        f"critique {number}",
        "stop",
        f"raw {text}",
        text,
        "stop",
        flags,
        usable,
        50,
        7,
        ("e" * 32,),
    )


def revised(made: Row, probability: float | None, of: str = "rejected", text: str = "better") -> Feedback:
    """Feedback on a revision: P(the revision is better)."""
    names = {
        "first": "revision",
        "second": "original",
        "first_text": text,
        "second_text": made.responses[of].text,
    }
    return feedback(made, (probability, probability), kind="revised", about=of, **names)


def revision(made: Row, *rounds: Round, of: str = "rejected") -> Revision:
    """The revision of one response."""
    return Revision(of, made.responses[of].text, rounds)


def sample(name: str, text: str, finish: str = "stop") -> Sample:
    """A sampled response."""
    return Sample(name, text, finish, 9, 3, "d" * 32)


def outcome(
    made: Row,
    *found: Feedback,
    revisions: tuple[Revision, ...] = (),
    samples: tuple[Sample, ...] = (),
    excluded_as: str | None = None,
    harm: tuple[HarmRating, ...] = (),
) -> Outcome:
    """What became of a row."""
    return Outcome(made.id, excluded_as, revisions, samples, found, harm)


def harm(response: str, probability: float | None, judge: str = "toy") -> HarmRating:
    """P(harmful) of one response; None: the judge declined."""
    shown = 0.5 if probability is None else probability
    return HarmRating(
        response,
        judge,
        (_log(shown), _log(1 - shown)),
        0.9 if probability is None else 0.02,
        probability,
        "refusal" if probability is None else None,
        "b" * 32,
    )


def fill(folder: Path, outcomes: Iterable[Outcome], generation: str = GENERATION) -> None:
    """Write outcomes into a store, in this order."""
    with Store(folder, writable=True) as store:
        for number, item in enumerate(outcomes):
            key = outcome_digest(item.row, generation)
            store.put(key, item.record(), {"row": item.row, "stage": "outcome"})
            if number % 1000 == 999:
                store.commit()


def build(
    run: Path, items: Iterable[Row | Excluded], outcomes: Iterable[Outcome], asked: Recipe | None = None
) -> DatasetSummary:
    """A dataset under `run` from rows and outcomes."""
    fill(run / "store", outcomes)
    with Store(run / "store") as store:
        return build_dataset(run, asked or recipe(), GENERATION, items, store)


def test_an_outcome_written_by_hand_is_read_back_from_the_store_as_it_was(tmp_path: Path) -> None:
    one = row(0)
    made = outcome(
        one,
        human(one, 0.8),
        revisions=(revision(one, a_round(1, "better", ("label",))),),
        samples=(sample("sample 0", "x"), sample("sample 1", "y")),
    )
    fill(tmp_path / "store", [made])
    with Store(tmp_path / "store") as store:
        record = store.get(outcome_digest(one.id, GENERATION))
        assert record is not None
        assert read_outcome(record.answer) == made

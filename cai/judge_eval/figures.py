"""The figures of a judge's evaluation, as plain data; `judge-eval.json` has the same names as keys.

Every rate carries its count and its interval (cai/compare/estimates.py); where nothing was counted,
value and interval are null. Intervals are at 95 %; items that share a conversation's first human turn
are one cluster, and intervals allow for it.

A change of form is a change of `FORM`.

What this module does not know: how a figure is computed, how it is shown (screen.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cai.compare.estimates import Estimate, Rate
from cai.compare.figures import Calibration

FORM = "cai.judge-eval.v1"


@dataclass(frozen=True)
class FileFigures:
    """What was read: `items` of which `asked` were asked about; lines that are no items, located."""

    name: str
    items: int
    asked: int
    unreadable: tuple[LineFault, ...]


@dataclass(frozen=True)
class LineFault:
    """A line of the file, from 1, and what is wrong with it or went wrong with it."""

    line: int
    reason: str


@dataclass(frozen=True)
class JudgeFigures:
    """Who was asked, and with what: `identity` is the engine's digest, `prompts` the templates'."""

    engine: str
    model: str
    revision: str
    form: str
    identity: str
    prompts: str
    constitution: str | None
    min_option_mass: float
    combine: str
    seed: int


@dataclass(frozen=True)
class GroupFigures:
    """One way of asking, over all items or those of one category.

    `asked` = answered + tied + abstained + too_long. `answered`: one option is the most probable;
    `tied`: two responses are equally probable (a judge that always says A ties, its orders cancelling
    out). `accuracy`: the label's option is the most probable, over answered and tied, a tie being
    half; `decided`: over answered. `chance`: the accuracy of guessing. `small`: fewer than 30 items.
    `orders_agree`: the share of judgements in both orders that prefer the same response.
    `first_position`: how often a single judgement of two options prefers the one shown first.
    `option_mass`: mean probability on the options. `abstentions`: of `judgements`, those that do not
    count, by kind. `log_loss` in nats and `brier` of the probability of the label's option: of two,
    0.693 and 0.25 by always saying one half. For n options, brier is half the sum of squares.
    `calibration`: of two options, of P(the first is better), which is first being drawn; of more, of
    the most probable option's probability against its being right. What its bins call `human` is how
    often the label says so.
    """

    category: str
    small: bool
    asked: int
    answered: int
    tied: int
    abstained: int
    too_long: int
    accuracy: Rate
    decided: Rate
    chance: float | None
    orders_agree: Estimate
    first_position: Rate
    option_mass: Estimate
    judgements: int
    abstentions: dict[str, int]
    log_loss: Estimate
    brier: Estimate
    calibration: Calibration


@dataclass(frozen=True)
class WayFigures:
    """One way of asking. `asks`: what, in words; `not_for`: items that cannot be asked so."""

    way: str
    asks: str
    not_for: int
    overall: GroupFigures
    categories: tuple[GroupFigures, ...]


@dataclass(frozen=True)
class Difference:
    """Two ways on the items that both answered or tied: accuracy of `one` minus that of `other`.

    Paired, with a cluster-bootstrap interval; where no item tells them apart, Wilson's bound for none
    seen, either way. `mcnemar_p`: over items that both decide, taken as
    independent; exact below 25 discordant ones.
    """

    one: str
    other: str
    difference: Estimate
    mcnemar_p: float | None


@dataclass(frozen=True)
class HarmGroup:
    """P(harmful) of responses against their labels, over all items or those of one category.

    `asked`: items; `abstained`, `too_long`: items without a rating for each of their responses.
    Labels of single responses: `labelled` of which `harmful`; `auroc`: how often a harmful one is
    rated above a harmless one; `right`: the rating is on the label's side of one half;
    `calibration`: of the rating as a forecast of "harmful". Pairs: `lower_wins`: the response with
    the lower rating is the label's choice, a tie being half; `pair_auroc`: how often a response that
    the label rejects is rated above one that it chooses, over all pairs (a label that compares two
    responses says of neither that it is harmful, so ratings of pairs are not held to be calibrated).
    """

    category: str
    small: bool
    asked: int
    abstained: int
    too_long: int
    abstentions: dict[str, int]
    option_mass: Estimate
    labelled: int
    harmful: int
    auroc: Estimate
    right: Rate
    calibration: Calibration
    pairs: int
    lower_wins: Rate
    pair_auroc: Estimate


@dataclass(frozen=True)
class HarmRatings:
    """The absolute signal. `not_for`: items without a label that ratings can be held to."""

    not_for: int
    overall: HarmGroup
    categories: tuple[HarmGroup, ...]


@dataclass(frozen=True)
class JudgeEvaluation:
    """How good a judge a model is, on one file. `failed`: items that could not be asked."""

    form: str
    file: FileFigures
    judge: JudgeFigures
    ways: tuple[WayFigures, ...]
    differences: tuple[Difference, ...]
    harm: HarmRatings | None
    failed: tuple[LineFault, ...]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `judge-eval.json`."""
    from pydantic import TypeAdapter

    return TypeAdapter(JudgeEvaluation).json_schema(mode="serialization")

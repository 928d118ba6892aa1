"""The figures about judges and principles, as plain data; a part of figures.py's Comparison.

What this module does not know: how a figure is computed (judging.py, bias.py, harm.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from cai.compare.estimates import Estimate, Rate, Scanned


@dataclass(frozen=True)
class PrincipleFigures:
    """One principle alone, over human pairs in which both of its orders stand (`n`).

    Its label is the mean over both orders. `agreement` with the human label, over decided pairs;
    `decided`: share of `n` that is no tie; `order_consistency`: share of `n` whose orders prefer
    the same response; `distance`: mean of |p - 0.5|; `first_position`: share of its single
    judgements that answer A; `abstained`: pairs in which at least one order abstained. `scan`:
    McNemar's test against the combined label on the pairs that both decide.
    """

    constitution: str
    principle: str
    n: int
    abstained: int
    agreement: Rate
    decided: Rate
    order_consistency: Rate
    first_position: Rate
    distance: Estimate
    scan: Scanned


@dataclass(frozen=True)
class PrincipleMatrix:
    """How often two principles of a constitution prefer the same response, of the human pairs that
    both decide; `same[i][j]` for `principles[i]` and `principles[j]`, None where there is no pair."""

    constitution: str
    principles: tuple[str, ...]
    same: tuple[tuple[float | None, ...], ...]
    n: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Judging:
    """How the judge behaved on the pairs of one kind, whatever it preferred.

    `order_consistency`: mean over pairs of the share of principles whose orders agree.
    `first_position`: share of single judgements with A the more probable answer (0.5 by a judge
    without a favourite place); its interval takes the judgements of one pair as one cluster.
    `same_place`: share of pairs-and-principles in which both orders answer the same letter.
    `option_mass`: mean over pairs of the probability on the options. `abstention`: the
    share of single judgements that abstained; `abstained_as`: why -> how many.
    """

    judge: str
    judged: int
    labelled: int
    tied: int
    abstained: int
    judgements: int
    abstained_judgements: int
    abstention: Rate
    abstained_as: dict[str, int]
    order_consistency: Estimate
    first_position: Rate
    same_place: Rate
    option_mass: Estimate


@dataclass(frozen=True)
class Term:
    """A coefficient of a logistic regression, in log-odds; `p`: of no effect, Wald, two-sided."""

    name: str
    coefficient: Estimate
    p: float | None


@dataclass(frozen=True)
class Bias:
    """What one labeller tends to prefer, human labels and AI labels on the same labelled pairs.

    `longer`: how often it prefers the longer response; `refusal`, `evasion`, `question`: how often
    the one that refuses, evades, asks, where only one of the two does (text_features.py). `terms`:
    a logistic regression of "the first is better" on the differences (first minus second; without
    an intercept, so that it does not matter which stands first): length (in characters, divided by its standard deviation), refusal,
    evasion, question; for `ai given human` also the human label (+1 or -1). Intervals are
    cluster-robust. Empty where labels can be told apart perfectly or there are too few.
    """

    labeller: str
    longer: Rate
    refusal: Rate
    evasion: Rate
    question: Rate
    regression_n: int
    length_unit_characters: float | None
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class JudgePair:
    """Two judges on the human pairs that both label: agreement and kappa (cluster bootstrap).

    `coverage`: the share of human pairs that both label; ties and abstentions of either are left out.
    """

    one: str
    other: str
    coverage: Rate
    agreement: Rate
    kappa: Estimate


@dataclass(frozen=True)
class HarmFigures:
    """The absolute question "is this response harmful?" about the responses of human pairs.

    `rated`: pairs with both responses rated; `without`: pairs with a rating missing: `abstained` of
    them because the judge said nothing that counts of one or both, the others because it was not
    asked. `ratings`: how many of its ratings, of any response, abstained; `abstained_as`: why -> how
    many. `chosen`, `rejected`: mean P(harmful) of each; `difference`: chosen - rejected, paired; `both`: share of
    rated pairs with both at `Constants.harm_threshold` or more.
    """

    judge: str
    rated: int
    without: int
    abstained: int
    ratings: Rate
    abstained_as: dict[str, int]
    chosen: Estimate
    rejected: Estimate
    difference: Estimate
    both: Rate

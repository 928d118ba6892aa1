"""What became of one row: its revisions and its feedback, as a finished row is remembered.

A finished row is one record of the store, under a digest of the row's id and the generation
that made it. It holds every answer in the form the dataset needs, and beside each the digest of
the request that it came from, so that a label can be traced to what was asked.

What this module does not know: how answers are come by (revise.py, feedback.py), what the
dataset makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cai.digest import digest

PairKind = Literal["human", "revised", "sampled"]
Order = Literal["first_is_a", "first_is_b"]
Abstention = Literal["refusal", "format", "unfinished"]
"""Why a judge said nothing that counts: it declined; it answered something else than an option; its
reasoning was cut by its token budget."""


@dataclass(frozen=True, slots=True)
class Round:
    """One critique and revision. `raw` is what came back, `text` the same cleaned (cai/cleaning).

    `flags` name what was noticed; `usable` is whether `text` may stand as a response. Token
    counts are the engine's, summed over the round's requests; `requests` are their digests.
    """

    number: int
    principle: str
    critique: str
    critique_finish: str
    raw: str
    text: str
    finish: str
    flags: tuple[str, ...]
    usable: bool
    prompt_tokens: int
    completion_tokens: int
    requests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Revision:
    """All rounds that began at one response. `of` names it; `original` is its text."""

    of: str
    original: str
    rounds: tuple[Round, ...]

    @property
    def final(self) -> Round | None:
        """The last usable round, or None where no round gave a usable text."""
        return next((item for item in reversed(self.rounds) if item.usable), None)


@dataclass(frozen=True, slots=True)
class Sample:
    """A response sampled from the model; `name` is `fresh`, `sample 0` ... `finish` as the engine said."""

    name: str
    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int
    request: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """One probability: a pair under one principle, in one order, for one sample of reasoning.

    `sample`: 0, or which of several reasonings this is. `logprobs`: natural logs for the options
    A and B as shown (empty where the engine answered none); `outside`: the probability outside
    both, or None; `probability`: that the pair's *first* response is better, order and polarity
    undone, or None with `abstained` naming why. `said`: the words that the judge said instead of
    an option, where it was asked for them. `reasoning`: what it reasoned before it answered, whole,
    `reasoning_request` that request's digest (both empty where it answered at once). `request` is
    empty where the reasoning was not finished, since no option was then asked for.
    """

    principle: str
    order: Order
    logprobs: tuple[float, ...]
    outside: float | None
    probability: float | None
    abstained: Abstention | None
    request: str
    sample: int = 0
    said: str = ""
    reasoning: str = ""
    reasoning_request: str = ""


@dataclass(frozen=True, slots=True)
class Feedback:
    """The judgements of one pair by one judge, put together.

    `first` and `second` name the responses (`chosen`, `rejected`, `original`, `revision`,
    `sample 0` ...), the texts beside them. `judge`: the engine's name in the recipe.
    `probability`: that the first is better, put together over samples, both orders, and
    principles by weight (feedback.py has the formulas); None where every principle abstained. `order_consistency`: share of principles (with
    both orders) whose orders agree on the better response. `option_mass`: mean probability on
    the options, or None where the engine cannot tell. `abstained`: principles that do not count.
    `about`: for a revised pair, which response was revised.
    """

    kind: PairKind
    about: str
    first: str
    second: str
    first_text: str
    second_text: str
    constitution: str
    judge: str
    judgements: tuple[Judgement, ...]
    probability: float | None
    order_consistency: float | None
    option_mass: float | None
    abstained: int
    prompt_tokens: int
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class HarmRating:
    """One absolute judgement: is this response harmful? No order, no principle, no other response.

    `response`: `chosen`, `rejected`, `response`, `fresh`, `sample 0` ... or `revision 2 of rejected`
    (round 2). `probability`: P(True), normalised over True and False, or None with `abstained`
    naming why; not calibrated. `logprobs`, `outside`, `said` as in `Judgement`.
    """

    response: str
    judge: str
    logprobs: tuple[float, ...]
    outside: float | None
    probability: float | None
    abstained: Abstention | None
    request: str
    said: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Thought:
    """What the model thought, unasked, before one answer: that request's digest and stage, the text, and
    how many tokens it took (None: nobody can tell). The answer's own text is without it."""

    request: str
    stage: str
    text: str
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished row. `excluded` names why the data leave it out (`prompt_too_long`), or is None.

    `turns_dropped`: how many of the prompt's oldest turns all of its steps did without
    (cai/shortening.py), since the whole did not fit; mostly 0.

    `feedback`: where several judges judge, each pair has one for each of them, side by side; the
    one that makes the labels comes first. `thoughts`: by request, for most models none.
    """

    row: str
    excluded: str | None
    revisions: tuple[Revision, ...]
    samples: tuple[Sample, ...]
    feedback: tuple[Feedback, ...]
    harm: tuple[HarmRating, ...] = ()
    turns_dropped: int = 0
    thoughts: tuple[Thought, ...] = ()

    @property
    def labelling(self) -> tuple[Feedback, ...]:
        """The feedback that labels are made of: the first judge's, one for each pair."""
        return tuple(item for item in self.feedback if item.judge == self.feedback[0].judge)

    def record(self) -> dict[str, Any]:
        """What the store keeps."""
        record: dict[str, Any] = {
            "row": self.row,
            "excluded": self.excluded,
            "revisions": self.revisions,
            "samples": self.samples,
            "feedback": self.feedback,
            "harm": self.harm,
        }
        if self.turns_dropped:
            record["turns_dropped"] = self.turns_dropped
        if self.thoughts:
            record["thoughts"] = self.thoughts
        return record


def outcome_digest(row: str, generation: str) -> str:
    """Under which digest a finished row is remembered."""
    return digest("cai.outcome.v1", [row, generation])


def read_outcome(record: dict[str, Any]) -> Outcome:
    """The outcome that a record of the store holds.

    Raises: KeyError, TypeError for a record of another form.
    """
    return Outcome(
        row=record["row"],
        excluded=record["excluded"],
        revisions=tuple(_revision(item) for item in record["revisions"]),
        samples=tuple(Sample(**item) for item in record["samples"]),
        feedback=tuple(_feedback(item) for item in record["feedback"]),
        harm=tuple(HarmRating(**{**item, "logprobs": tuple(item["logprobs"])}) for item in record["harm"]),
        turns_dropped=record.get("turns_dropped", 0),
        thoughts=tuple(Thought(**item) for item in record.get("thoughts", ())),
    )


def _revision(record: dict[str, Any]) -> Revision:
    rounds = tuple(
        Round(**{**item, "flags": tuple(item["flags"]), "requests": tuple(item["requests"])})
        for item in record["rounds"]
    )
    return Revision(record["of"], record["original"], rounds)


def _feedback(record: dict[str, Any]) -> Feedback:
    judgements = tuple(
        Judgement(**{**item, "logprobs": tuple(item["logprobs"])}) for item in record["judgements"]
    )
    return Feedback(**{**record, "judgements": judgements})

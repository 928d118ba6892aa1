"""One row's story on a terminal: the row, what came of it, then each stage in blocks.

A principle is one block with both orders side by side; the requests stand by their digests.

What this module does not know: how the story is found (cai/trace.py), exact requests
(show_requests.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from cai.cli.show_requests import pair_words
from cai.outcome import Feedback, HarmRating, Judgement, Order, Outcome, Revision, Round, Thought

if TYPE_CHECKING:
    from cai.principle import Constitution
    from cai.source import Row

DIGEST = 12
"""How many characters of a request's digest are shown; `--request` takes them."""


def _say(console: Console, *parts: str | tuple[str, str], indent: int = 0) -> None:
    """One paragraph, wrapped at the terminal's width, indented; texts of data are made printable."""
    from cai.cli import printable

    clean = [printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts]
    console.print(Padding(Text.assemble(*clean), (0, 0, 0, indent), expand=False))


def _header(console: Console, words: str) -> None:
    from cai.cli import printable

    console.rule(Text(printable(words), style="bold"), align="left")


def print_row(console: Console, row: Row) -> None:
    """The row as it stands in the source."""
    _header(console, f"row {row.id}")
    flags = f"   flags: {', '.join(row.flags)}" if row.flags else ""
    _say(console, f"{row.source}:{row.line}   {row.subset}/{row.split}{flags}")
    for turn in row.prompt:
        name = "Human" if turn.role == "user" else turn.role.capitalize()
        _say(console, (f"{name}: ", "bold"), turn.text)
    for name, turn in row.responses.items():
        _say(console, (f"{name}: ", "bold"), turn.text)


def print_outcome(console: Console, outcome: Outcome) -> None:
    """What came of the row, in a few lines."""
    _header(console, "outcome")
    if outcome.excluded is not None:
        _say(console, f"excluded: {outcome.excluded}")
    if outcome.turns_dropped:
        _say(
            console,
            f"the conversation did not fit whole: all of this is without its {outcome.turns_dropped} oldest turns",
        )
    judges = len({feedback.judge for feedback in outcome.feedback})
    for feedback in outcome.feedback:
        by = f" (judge {feedback.judge})" if judges > 1 else ""
        _say(console, *_verdict(feedback, by))
    for revision in outcome.revisions:
        final = revision.final
        what = "no usable revision" if final is None else f"usable, of round {final.number}"
        unchanged = "; the same as the original" if final and final.text == revision.original else ""
        _say(console, f"revision of {revision.of}: {what}{unchanged}")
    if outcome.harm:
        ratings = ", ".join(f"{item.response} {_harm(item)}" for item in outcome.harm)
        _say(console, f"P(harmful), each response alone: {ratings}")


def _verdict(feedback: Feedback, by: str) -> Iterator[str | tuple[str, str]]:
    yield f"{feedback.first} against {feedback.second}{by}: "
    if feedback.probability is None:
        yield ("no label", "bold")
        yield f"; {_abstentions(feedback)}"
        return
    yield (f"P({feedback.first} is better) = {feedback.probability:.3f}", "bold")
    if feedback.kind == "human":
        agrees = feedback.probability > 0.5
        same = "even" if feedback.probability == 0.5 else "agrees" if agrees else "disagrees"
        yield f"; the human label says {feedback.first}: {same}"
    if feedback.abstained:
        yield f"; {_abstentions(feedback)}"


def _abstentions(feedback: Feedback) -> str:
    """How many principles abstained, and how many judgements by kind."""
    kinds = Counter(item.abstained for item in feedback.judgements if item.abstained is not None)
    shown = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    return f"{feedback.abstained} principles abstained (judgements: {shown})"


def _harm(rating: HarmRating) -> str:
    return f"none ({rating.abstained})" if rating.probability is None else f"{rating.probability:.3f}"


def print_stages(console: Console, outcome: Outcome, constitution: Constitution | None) -> None:
    """Each stage under a header: samples, revisions, judgements, harm ratings."""
    thoughts = {item.request: item for item in outcome.thoughts}
    for sample in outcome.samples:
        _header(console, f"{sample.name}: a response of the model's own")
        _say(console, (sample.text, "green"), indent=2)
        _asked(console, {"": sample.request}, thoughts)
    for revision in outcome.revisions:
        _header(console, f"critique and revision of {revision.of}")
        for item in revision.rounds:
            _print_round(console, revision, item, thoughts)
    several = len({feedback.judge for feedback in outcome.feedback}) > 1
    for feedback in outcome.feedback:
        _print_feedback(console, feedback, constitution, several)
    if outcome.harm:
        _header(console, "harm: is this response, alone, harmful?")
        for rating in outcome.harm:
            said = f'; it said: "{" ".join(rating.said.split())}"' if rating.said else ""
            _say(
                console, f"{rating.response}: {_harm(rating)}{said}", ("   " + rating.request[:DIGEST], "dim")
            )


def _print_round(console: Console, revision: Revision, item: Round, thoughts: Mapping[str, Thought]) -> None:
    flags = f"; flags: {', '.join(item.flags)}" if item.flags else ""
    state = "" if item.usable else "; not usable"
    _say(console, (f"round {item.number}, principle {item.principle}", "bold"), state + flags)
    if item.critique:
        _say(console, "critique: ", (item.critique, "green"), indent=2)
    text = item.text or item.raw
    same = text == revision.original
    _say(console, "revision: ", ("(the original)" if same else text, "green"), indent=2)
    names = ("critique", "revision") if len(item.requests) == 2 else ("revision",)
    _asked(console, dict(zip(names, item.requests, strict=False)), thoughts)


def _asked(console: Console, requests: Mapping[str, str], thoughts: Mapping[str, Thought]) -> None:
    for name, digest in requests.items():
        thought = thoughts.get(digest)
        if thought is not None:
            before = f"thought before the {name or 'response'}"
            known = "" if thought.tokens is None else f" ({thought.tokens} tokens)"
            _say(console, f"{before}{known}: ", (" ".join(thought.text.split()), "dim"), indent=4)
    shown = ", ".join(f"{name} {digest[:DIGEST]}".strip() for name, digest in requests.items())
    _say(console, (f"asked: {shown}", "dim"), indent=2)


# ------------------------------------------------------------------------------ judgements


@dataclass(frozen=True)
class _Block:
    """The judgements of one principle, by order."""

    principle: str
    orders: Mapping[Order, Sequence[Judgement]]


def _blocks(feedback: Feedback) -> Iterator[_Block]:
    for name in dict.fromkeys(item.principle for item in feedback.judgements):
        own = [item for item in feedback.judgements if item.principle == name]
        yield _Block(
            name, {order: [i for i in own if i.order == order] for order in ("first_is_a", "first_is_b")}
        )


def _print_feedback(
    console: Console, feedback: Feedback, constitution: Constitution | None, several: bool
) -> None:
    """One pair by one judge; `several`: whether there is another judge."""
    judge = f" by {feedback.judge}" if several else ""
    _header(console, f"judgement{judge}: {pair_words(feedback.kind, feedback.about)}")
    _say(console, f"P({feedback.first} is better); {feedback.first} shown as A, then as B", indent=2)
    for block in _blocks(feedback):
        _print_block(console, block, constitution)


def _print_block(console: Console, block: _Block, constitution: Constitution | None) -> None:
    principle = None
    if constitution is not None:
        principle = next((item for item in constitution.principles if item.id == block.principle), None)
    if principle is not None and constitution is not None:
        where = constitution.value(principle, "judgement").origin
        question = " ".join(principle.judgement.split())
        _say(console, (block.principle, "bold"), f"  {question}  ", (where, "dim"))
    else:
        _say(console, (block.principle, "bold"))
    sides: list[str | tuple[str, str]] = []
    means = []
    for letter, items in zip("AB", block.orders.values(), strict=True):
        standing = [item.probability for item in items if item.probability is not None]
        kinds = dict.fromkeys(item.abstained for item in items if item.abstained is not None)
        said = f"{sum(standing) / len(standing):.3f}" if standing else f"no ({', '.join(map(str, kinds))})"
        means += [sum(standing) / len(standing)] if standing else []
        sides += [f"as {letter} ", (said, "bold"), (f" {_digests(items)}   ", "dim")]
    both = f"both {sum(means) / 2:.3f}" if len(means) == 2 else "does not count"
    _say(console, *sides, both, indent=2)
    for letter, items in zip("AB", block.orders.values(), strict=True):
        for item in items:
            if item.reasoning:
                _say(
                    console,
                    f"reasoning (as {letter}): ",
                    (" ".join(item.reasoning.split()), "green"),
                    indent=4,
                )
            if item.said:
                _say(console, f"it said (as {letter}): ", (" ".join(item.said.split()), "green"), indent=4)


def _digests(items: Sequence[Judgement]) -> str:
    return " ".join((item.request or item.reasoning_request)[:DIGEST] for item in items)

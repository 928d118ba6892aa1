"""Asking a multiple-choice question in its file's own words.

The question goes to the model as it stands, one user's message (or plain text, for a base model). Its
last words, after the options, begin the answer, with the opening bracket of the letter: what is read
is the probability of each letter right there. Two options are asked in both orders, the texts changing
places under the letters, and averaged; more are asked once, as they stand.

Where the letters hold less than `min_option_mass` of the probability the judge abstains, as in any
judgement.

What this module does not know: files, labels, the other ways of asking.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cai.abreast import PromptTooLongError
from cai.abstention import kind_of, words_instead
from cai.feedback import AskFeedback
from cai.judge_eval.item import LETTERS, Item, Question
from cai.judge_eval.verdict import Verdict
from cai.parts import Message, MessageRole, Part
from cai.prompting import Form
from cai.request import ScoreRequest, Scores
from cai.template import Rendered


async def ask_verbatim(
    item: Item, engine: str, form: Form, min_option_mass: float, ask: AskFeedback
) -> Verdict:
    """Ask an item's own question. Raises: PromptTooLongError; EngineError, StoreError."""
    assert item.question is not None
    count = len(item.question.options)
    orders = [tuple(range(count))] + ([(1, 0)] if count == 2 else [])
    requests = [
        ScoreRequest(
            engine,
            _rendered(item.question, order, item.line, form),
            tuple(LETTERS[:count]),
            {"stage": "verbatim", "order": "as_written" if order[0] == 0 else "swapped"},
        )
        for order in orders
    ]
    scores = await ask.score(requests)
    if any(score.finish == "too_long" for score in scores):
        raise PromptTooLongError
    missed = [
        request
        for request, score in zip(requests, scores, strict=True)
        if not _stands(score, min_option_mass)
    ]
    said = await words_instead(missed, form, ask)
    return _verdict(
        scores,
        orders,
        min_option_mass,
        tuple(kind_of(words.text) for words in said),
        tuple(ask.digest(request) for request in requests),
    )


def _rendered(question: Question, order: tuple[int, ...], line: int, form: Form) -> Rendered:
    origin = f"row prompt, line {line}"
    text = Part(question.text(order), "row", origin)
    tail = question.tail if form == "completion" else question.tail.lstrip("\n")
    role: MessageRole = "text" if form == "completion" else "user"
    return Rendered((Message(role, (text,), text.text),), (Part(f"{tail} (", "row", origin),))


def _stands(score: Scores, min_option_mass: float) -> bool:
    return score.outside is None or 1.0 - score.outside >= min_option_mass


def _verdict(
    scores: Sequence[Scores],
    orders: Sequence[tuple[int, ...]],
    min_option_mass: float,
    abstained: tuple[str, ...],
    requests: tuple[str, ...],
) -> Verdict:
    """Put the orders together; one that abstains leaves the item without an answer."""
    count = len(orders[0])
    by_option: list[list[float]] = []
    decided = first = 0
    for order, score in zip(orders, scores, strict=True):
        if not _stands(score, min_option_mass):
            continue
        shown = _normalised(score.logprobs)
        placed = [0.0] * count
        for place, index in enumerate(order):
            placed[index] = shown[place]
        by_option.append(placed)
        if count == 2:
            decided += shown[0] != shown[1]
            first += shown[0] > shown[1]
    whole = len(by_option) == len(orders)
    outside = [score.outside for score in scores if score.outside is not None]
    agree = None
    if whole and len(orders) == 2:
        agree = float((by_option[0][0] - 0.5) * (by_option[1][0] - 0.5) > 0)
    return Verdict(
        probabilities=tuple(math.fsum(column) / len(orders) for column in zip(*by_option, strict=True))
        if whole
        else None,
        orders_agree=agree,
        judgements=len(orders),
        decided=decided,
        first=first,
        option_mass=1.0 - math.fsum(outside) / len(outside) if outside else None,
        abstained=abstained,
        requests=requests,
    )


def _normalised(logprobs: Sequence[float]) -> list[float]:
    top = max(logprobs)
    shares = [math.exp(value - top) for value in logprobs]
    return [share / math.fsum(shares) for share in shares]

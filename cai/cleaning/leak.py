"""Whether the critique, or talk of its kind, stands in a revision.

Three expressions find talk about "the assistant's response"; long runs of the critique's own words
are found whatever they say.

What this module does not know: what the critique objects to, and a critique said in other words.
"""

from __future__ import annotations

import re

from cai.cleaning.phrases import ANSWER, REWRITTEN
from cai.cleaning.spelling import Spelled, mentions, plain, words

_FAULTS = (
    r"(?:harmful|unethical|racist|sexist|toxic|dangerous|illegal|offensive|inappropriate|insensitive"
    r"|biased|misleading|problematic|disrespectful|rude|dismissive|evasive|preachy|condescending"
    r"|judge?mental|unhelpful|should(?:[ ]not)?[ ]have|should[ ](?:avoid|instead)|could[ ]have"
    r"|(?:should|could|can)[ ]be[ ](?:more|less|better|improved|revised|re-?written|changed)"
    r"|fail(?:s|ed)[ ]to|(?:does|did)[ ]not[ ](?:address|acknowledge|consider|respect|promote)"
    r"|encourag\w+|promot\w+|perpetuat\w+|stereotyp\w+|appropriate|harmless|acceptable)"
)
_JUDGED_VERBS = (
    r"(?:is|was|should|could|does|did|doesn't|didn't|fail(?:s|ed)|contain(?:s|ed)|gives|gave|provide[sd]"
    r"|encourag\w+"
    r"|promot\w+|assum\w+|suggest\w+|implie[sd]|uses?|used|needs|says|said|perpetuat\w+|may|might|can)"
)
_JUDGES = re.compile(
    r"^[ *_#>\"'-]{0,12}(?:critique:?[ ]?)?"
    r"(?:(?:overall|yes|no|first|in[ ](?:its|the|this)[ ](?:last[ ]|previous[ ])?response),[ ])?the[ ]"
    r"(?:(?:assistant|ai|chatbot|model)'s[ ](?:[\w-]+[ ])?(?:response|reply|answer|statement|advice"
    r"|suggestion"
    r"|comment|language|tone)|assistant|chatbot|(?:(?:last|previous|original|initial|above)[ ])?response)"
    rf"(?:[ ](?:above|here))?(?=[ ]{_JUDGED_VERBS}\b)[^.!?\n]{{0,250}}?\b{_FAULTS}\b",
    re.I | re.M,
)
_LAST_ANSWER = re.compile(
    rf"\b(?:the|this)[ ]assistant's[ ](?:last|previous|original|initial|prior|earlier)[ ](?:{ANSWER}"
    r"|message|turn|statement)\b",
    re.I,
)
_EXCHANGE_LABEL = re.compile(
    rf"^[*#\[ \t]{{0,6}}(?:critique[ ]?request|revision[ ]?request|(?:{REWRITTEN}|original)[ ]{ANSWER}"
    r"|revised[ ]version)[ ]?[*\]]{0,3}:",
    re.I | re.M,
)
_SUGGESTS = re.compile(
    rf"\b(?:better|appropriate|ethical|helpful)[ ](?:{ANSWER}|way)\b|\b(?:could|should"
    r"|would)(?:[ ]instead)?(?:[ ]have)?[ ]"
    r"(?:say|said|respond|reply|replied|answer)|\bfor[ ]example\b|\bsuch[ ]as\b|\binstead\b"
    r"|\bi[ ]suggest\b|\brevised\b",
    re.I,
)
_QUOTED = re.compile(r'"[^"\n]{1,2000}"')
_RUN_WORDS = 12
_RUN_WORDS_UNMARKED = 24
_SEARCHED_CHARS = 4000
"""A longer critique is not searched word by word, which would take the product of both lengths."""
TALKS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (_LAST_ANSWER, ("assistant's",)),
    (_EXCHANGE_LABEL, ("request", "response", "reply", "answer", "version")),
    (_JUDGES, ("assistant", "chatbot", "response", "ai's", "model's")),
)
"""Expressions, and folded needles of which one stands in all that the expression finds."""
_NAMES = ("the response", "the assistant", "the assistant's")


def leaks(said: Spelled, original: str, critique: str) -> bool:
    """Whether the critique, or talk of its kind, stands in the text."""
    for pattern, needles in TALKS:
        if (
            mentions(said.folded, needles)
            and pattern.search(said.plain)
            and not pattern.search(plain(original))
        ):
            return True
    return bool(critique) and _repeats_critique(said, original, plain(critique))


def _repeats_critique(said: Spelled, original: str, critique: str) -> bool:
    """Whether a long run of the critique's own words stands in the text.

    Words that the critique has from the original, or puts into the assistant's mouth (in quotes,
    after "a better response would be"), may stand there; so may short runs, for both
    speak of the same matter.
    """
    lowered = critique.lower()
    if _may_hold_run(said.words, lowered) and _repeats_unmarked(said.words, original, critique):
        return True
    if not (_names_exchange(said.words) and mentions(lowered, ("response", "assistant"))):
        return False
    marked = words(_QUOTED.sub(" | ", critique))
    length = min(_RUN_WORDS, len(marked))
    if length < 5:
        return False
    shared = _runs(said.words, marked, length)
    if shared:
        shared -= _runs(said.words, words(plain(original)), length)
    return any(f" {name} " in f" {run} " for run in shared for name in _NAMES)


def _repeats_unmarked(said: list[str], original: str, critique: str) -> bool:
    """Whether a run stands in the text that the critique neither quotes nor suggests."""
    suggestion = _SUGGESTS.search(critique)
    unmarked = words(_QUOTED.sub(" | ", critique[: suggestion.start()] if suggestion else critique))
    shared = _runs(said, unmarked, _RUN_WORDS_UNMARKED)
    return bool(shared and shared - _runs(said, words(plain(original)), _RUN_WORDS_UNMARKED))


def _may_hold_run(said: list[str], critique: str) -> bool:
    """Whether `_RUN_WORDS_UNMARKED` words in a row might stand in the critique, in lower case.

    Such a run holds a word whose place is a multiple of its length; around each of those, words
    are counted as long as each alone stands somewhere in the critique.
    """
    if len(critique) > _SEARCHED_CHARS:
        return True
    length = _RUN_WORDS_UNMARKED
    for at in range(length - 1, len(said), length):
        if said[at] not in critique:
            continue
        first, beyond = at, at + 1
        while first and beyond - first < length and said[first - 1] in critique:
            first -= 1
        while beyond < len(said) and beyond - first < length and said[beyond] in critique:
            beyond += 1
        if beyond - first >= length:
            return True
    return False


def _names_exchange(said: list[str]) -> bool:
    return "response" in said or "assistant" in said or "assistant's" in said


def _runs(words: list[str], others: list[str], length: int) -> set[str]:
    """All runs of so many words that both lists hold."""
    if min(len(words), len(others)) < length:
        return set()
    theirs = {" ".join(others[at : at + length]) for at in range(len(others) - length + 1)}
    return {
        run for at in range(len(words) - length + 1) if (run := " ".join(words[at : at + length])) in theirs
    }

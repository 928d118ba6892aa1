"""What a careful colleague would say about a constitution's wording, without asking a model.

    near-duplicate    two principles that say nearly the same
    two-questions     a judgement question that asks for two things at once
    no-question       a judgement that is no question
    polarity          a question whose wording asks for the other end than its polarity says
    leading           a judgement that names a letter or a place, and so favours it
    long-form         a form far longer than the same form of the other principles
    no-way-out        a critique request that leaves no room for "nothing is wrong"
    no-tests          principles without tests of their own
    uncovered-area    an area that the constitution promises and no principle has as its tag
    unknown-tag       a tag that is not among the areas, where there are any

The rules look at English wording and are guesses; each can be switched off. Token counts are
estimates (a word of English is about 1.3 tokens) unless a tokenizer is given.

What this module does not know: files, models, terminals.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from cai.principle import FORMS, Constitution, Principle

NEAR_DUPLICATE = 0.6
"""Cosine of word and word-pair weights (tf-idf) from which two wordings count as nearly the same."""
LONG_FORM = 2.5
"""How many times the median of a form makes a form far longer."""
LONG_FORM_TOKENS = 25
"""And by how many tokens at least."""
TOKENS_PER_WORD = 1.3

Weight = Literal["warning", "note"]
RULES: dict[str, Weight] = {
    "near-duplicate": "warning",
    "two-questions": "warning",
    "no-question": "warning",
    "polarity": "warning",
    "leading": "warning",
    "long-form": "note",
    "no-way-out": "note",
    "no-tests": "note",
    "uncovered-area": "warning",
    "unknown-tag": "warning",
}


@dataclass(frozen=True)
class Finding:
    """One remark. `where`: `file:line` of the wording; `weight`: a `warning` ends in exit code 1."""

    rule: str
    weight: Weight
    where: str
    principle: str
    problem: str
    advice: str


@dataclass(frozen=True)
class Lengths:
    """Tokens of each form of one principle; `estimated` where no tokenizer counted them."""

    principle: str
    tokens: dict[str, int]
    estimated: bool


def own_principles(constitution: Constitution) -> set[str]:
    """The ids of principles of which something is written in the constitution's own file; what it
    includes as it stands is somebody else's to mend."""
    if not constitution.origins:
        return {principle.id for principle in constitution.principles}
    here = f"{constitution.path.parent.name}/{constitution.path.name}:"
    return {name for (name, _), origin in constitution.origins.items() if origin.startswith(here)}


def lint(
    constitution: Constitution, count: Callable[[str], int] | None = None, *, included: bool = False
) -> list[Finding]:
    """All remarks on a constitution, in the order of its principles.

    `count`: counts the tokens of a text; without it they are estimated. `included`: remark on
    principles too that are included as they stand.
    """
    own = {p.id for p in constitution.principles} if included else own_principles(constitution)
    found = [
        *_near_duplicates(constitution),
        *(remark for principle in constitution.principles for remark in _wording(constitution, principle)),
        *_untested(constitution, own),
        *_long_forms(constitution, lengths(constitution, count)),
        *_areas(constitution, own),
    ]
    found = [item for item in found if not item.principle or item.principle in own]
    place = {principle.id: index for index, principle in enumerate(constitution.principles)}
    return sorted(found, key=lambda item: place.get(item.principle, -1))


def lengths(constitution: Constitution, count: Callable[[str], int] | None = None) -> list[Lengths]:
    """Tokens per form of every principle."""
    counted = count or estimated_tokens
    return [
        Lengths(p.id, {form: counted(getattr(p, form)) for form in FORMS}, count is None)
        for p in constitution.principles
    ]


def estimated_tokens(text: str) -> int:
    """About how many tokens an English text has, where there is no tokenizer."""
    return round(len(text.split()) * TOKENS_PER_WORD)


def _finding(
    constitution: Constitution, principle: Principle, form: str, rule: str, problem: str, advice: str
) -> Finding:
    where = constitution.value(principle, form).origin
    return Finding(rule, RULES[rule], where, principle.id, problem, advice)


# ------------------------------------------------------------------------------ wording

_NEGATIVE = (
    r"harmful|hurtful|dangerous|unsafe|risky|toxic|offensive|rude|insulting|hateful|biased|unfair|racist"
    r"|sexist|discriminatory|stereotyped|deceptive|dishonest|misleading|manipulative|false|inaccurate|wrong"
    r"|illegal|criminal|violent|unethical|immoral|inappropriate|objectionable|problematic|evasive|preachy"
    r"|condescending|judgmental|judgemental|patronising|patronizing|boring|unhelpful|irrelevant|bad"
)
_WORSE = re.compile(
    rf"\b(?:(?:more|most)(?:[ ](?:likely[ ]to[ ]be|\w+ly))?[ ](?:{_NEGATIVE})"
    r"|worse|worst|(?:ruder|rudest|riskier|riskiest|nastier|nastiest|harsher|harshest|meaner|meanest))\b"
    r"|\b(?:less|least)[ ](?:harmless|helpful|honest|safe|polite|truthful|accurate|fair|kind|respectful|ethical"
    r"|useful|clear|relevant)\b",
    re.I,
)
_BETTER = re.compile(
    rf"\b(?:(?:less|least)(?:[ ](?:likely[ ]to[ ]be|\w+ly))?[ ](?:{_NEGATIVE})"
    r"|(?:more|most)[ ](?:harmless|helpful|honest|polite|truthful|accurate|fair|kind|respectful|ethical"
    r"|useful|clear|relevant)|better|best|safer|safest|kinder|kindest|fairer|fairest)\b",
    re.I,
)
_PLACES = re.compile(
    r"\((?:A|B)\)|\b(?:Response|Option|Answer|Assistant|Candidate)[ ](?:A|B|1|2)\b"
    r"|\b(?:first|second|former|latter)[ ](?:response|answer|option|one)\b"
)
_COMPARISON = r"(?:more|most|less|least|fewer|better|best|worse|worst|\w{3,}er)"
_TWO = re.compile(
    rf"\b{_COMPARISON}\b[^?]*?(?:,|\band\b|\bor\b|\bas[ ]well[ ]as\b|\bwhile\b|\bbut\b|\byet\b)"
    rf"[ ](?:also[ ])?(?:{_COMPARISON})\b"
    r"|\b(?:more|most|less|least)[ ][\w-]+(?:,[ ][\w-]+)*,?[ ]and[ ](?!so\b|to\b)[\w-]+",
    re.I,
)
_NOT_COMPARISONS = re.compile(
    r"\b(?:\w*ever|other|whether|rather|user|users|over|under|after|answer|water|matter|matters|order"
    r"|number|together|however|consider|another|offer|further|reader|later|either|neither|speaker|computer"
    r"|power|danger|teacher|manner|member|letter|danger|paper|killer|hacker|stranger|customer|anger)\b",
    re.I,
)
_WAY_OUT = re.compile(
    r"\bor[ ]say[ ]\w+|\bsay[ ]plainly\b|\bif[ ](?:any|there|nothing|none|it|so|the|no)\b|\bif[ ]any\b|\bwhether\b|\b(?:if|where|when)[ ][^.?!]*?\b"
    r"(?:nothing|none|no|does[ ]not|doesn't|is[ ]not|isn't|fine|not)\b|\bsay[ ]so\b|\bany(?:thing)?\b",
    re.I,
)


def _wording(constitution: Constitution, principle: Principle) -> Iterator[Finding]:
    yield from _judgement(constitution, principle)
    if not _WAY_OUT.search(principle.critique):
        yield _finding(
            constitution,
            principle,
            "critique",
            "no-way-out",
            "the critique request takes it for granted that something is wrong",
            'Say what to answer when nothing is, such as "If nothing breaks this rule, say so plainly."',
        )


def _judgement(constitution: Constitution, principle: Principle) -> Iterator[Finding]:
    def remark(rule: str, problem: str, advice: str) -> Finding:
        return _finding(constitution, principle, "judgement", rule, problem, advice)

    question = principle.judgement
    if not question.rstrip().endswith("?"):
        yield remark(
            "no-question", "the judgement does not end as a question", "Ask one thing: Which response ...?"
        )
    plain = _NOT_COMPARISONS.sub("", question)
    if question.count("?") > 1 or _TWO.search(plain):
        yield remark(
            "two-questions",
            "the judgement asks for two things at once, which two responses can win one each",
            "Ask one of them, or make two principles.",
        )
    asks = _asks_for(question)
    if asks is not None and asks != principle.polarity:
        yield remark(
            "polarity",
            f"the wording asks for the {asks} response, the polarity says {principle.polarity}",
            f"Turn the question, or write polarity: {asks}.",
        )
    place = _PLACES.search(question)
    if place is not None:
        yield remark(
            "leading",
            f"the judgement names {place[0]!r}, which favours a place",
            "Say only what is asked of both.",
        )


def _asks_for(question: str) -> Literal["better", "worse"] | None:
    """Which end a question asks for, or None where the wording does not tell or tells both."""
    worse, better = _WORSE.search(question), _BETTER.search(question)
    if bool(worse) == bool(better):
        return None
    return "worse" if worse else "better"


# ------------------------------------------------------------------------------ between principles


def _near_duplicates(constitution: Constitution) -> Iterator[Finding]:
    principles = constitution.principles
    if len(principles) < 2:
        return
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [f"{p.text} {p.judgement}" for p in principles]
    weights = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    try:
        table = weights.fit_transform(texts)
    except ValueError:  # no words at all
        return
    alike = (table @ table.T).toarray()
    for second, principle in enumerate(principles):
        for first in range(second):
            if alike[first, second] >= NEAR_DUPLICATE:
                yield _finding(
                    constitution,
                    principle,
                    "text",
                    "near-duplicate",
                    f"it says nearly the same as {principles[first].id} (likeness {alike[first, second]:.2f})",
                    "Drop one, or say where they differ: two alike count twice in every label.",
                )


def _long_forms(constitution: Constitution, counted: list[Lengths]) -> Iterator[Finding]:
    for form in FORMS:
        middle = statistics.median(item.tokens[form] for item in counted)
        for principle, item in zip(constitution.principles, counted, strict=True):
            own = item.tokens[form]
            if own > LONG_FORM * middle and own - middle >= LONG_FORM_TOKENS:
                about = "about " if item.estimated else ""
                yield _finding(
                    constitution,
                    principle,
                    form,
                    "long-form",
                    f"its {form} has {about}{own} tokens, where half of the others have at most {middle:.0f}",
                    "Long forms cost in every request and draw the model's eye; shorten it.",
                )


def _untested(constitution: Constitution, own: set[str]) -> Iterator[Finding]:
    without = [p.id for p in constitution.principles if p.id in own and not p.tests]
    if without:
        yield Finding(
            "no-tests",
            RULES["no-tests"],
            constitution.path.name,
            "",
            f"{len(without)} of {len(own)} principles have no tests of their own: {', '.join(without)}",
            "Give each two or three: a prompt, a better and a worse response.",
        )


def _areas(constitution: Constitution, own: set[str]) -> Iterator[Finding]:
    if not constitution.areas:
        return
    tags = {tag for principle in constitution.principles for tag in principle.tags}
    for area in constitution.areas:
        if area not in tags:
            yield Finding(
                "uncovered-area",
                RULES["uncovered-area"],
                str(constitution.path.name),
                "",
                f"no principle has the tag {area}, which the constitution promises among its areas",
                "Write a principle for it, tag the one that covers it, or take it off the areas.",
            )
    for principle in constitution.principles:
        for tag in principle.tags if principle.id in own else []:
            if tag not in constitution.areas:
                yield _finding(
                    constitution,
                    principle,
                    "text",
                    "unknown-tag",
                    f"its tag {tag} is not among the constitution's areas",
                    "Mend its spelling, or add it to the areas.",
                )

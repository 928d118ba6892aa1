"""Whether a model declined to rewrite, rather than let the assistant decline to the user.

What this module does not know: whether a refusal of the user is in place (it is a response like
any other), and refusals beyond the first sentences.
"""

from __future__ import annotations

import re

from cai.cleaning.phrases import (
    ANSWER,
    FOR_THE_USER,
    HEAD_CHARS,
    REWRITE,
    REWRITTEN,
    SENTENCE_END,
    TALKS_OF_REWRITING,
    THE_ANSWER,
    WORKS,
)
from cai.cleaning.spelling import Spelled, mentions

_CANNOT = (
    r"(?:cannot|can't|can[ ]not|won't|will[ ]not|unable[ ]to|not[ ]able[ ]to|not[ ]comfortable"
    r"|decline[ ]to|refuse[ ]to"
    r"|must[ ]decline|(?:prefer|rather)[ ]not(?:[ ]to)?|not[ ]going[ ]to|couldn't"
    r"|don't[ ]feel[ ]comfortable|not[ ]willing[ ]to"
    r"|not[ ]appropriate"
    r"|not[ ]possible|should[ ]not|shouldn't|don't[ ]think[ ]i[ ](?:can|should)"
    r"|do[ ]not[ ]think[ ]i[ ](?:can|should))"
)
REFUSES = re.compile(
    rf"\b{_CANNOT}\b(?P<between>[^.!?\n]{{0,80}}?)\b(?:{REWRITE}|revising|rewriting|rephrasing|rewording"
    r"|revision"
    r"|(?:provid|generat|creat|writ|produc|offer|giv|mak)(?:e|es|ing)?[ ](?:you[ ])?(?:with[ ])?(?:an?"
    r"|the|any)[ ](?:[\w-]+[ ])?"
    rf"(?P<new>{REWRITTEN}|new|alternative|modified|different)(?=[ ](?:[\w-]+[ ])?(?:response"
    r"|version)\b))\b(?P<rest>[^.!?\n]*)",
    re.I,
)
_OF_THE_ANSWER = re.compile(rf"^[ ](?:of[ ]|to[ ])?{THE_ANSWER}\b|^[ ](?:such[ ])?an?[ ]response\b", re.I)
_OF_NOTHING = re.compile(
    r"^[ ]?(?:[ ](?:this|that|it|(?:this|that|the)[ ](?:request|conversation|dialogue|content|prompt)"
    r"|the[ ]above))?"
    r"(?:[ ](?:for[ ]you|as[ ]requested|in[ ]a[ ]way|in[ ]any|to[ ]\w+|because|as[ ]it|as[ ]an?|or"
    r"|without|since|while)\b.*)?"
    r"[,;\"'*)]*(?:[ ]?(?:as|because|since|but)\b.*)?$",
    re.I,
)
NOTHING_TO_DO = re.compile(
    rf"[^.!?\n]{{0,80}}?\b(?:no[ ](?:revisions?|re-?writ\w+)[ ](?:(?:is|are|was|were)[ ])?(?:needed"
    r"|necessary|required)"
    rf"|{ANSWER}[^.!?\n]{{0,60}}?\b(?:does[ ]not|doesn't)[ ](?:need"
    r"|require)[ ](?:to[ ]be[ ])?(?:any[ ])?(?:further[ ])?(?:revis|re-?writ|chang)\w*"
    rf"|(?:there[ ]is|there's|i[ ]see)[ ]nothing[ ](?:here[ ])?to[ ]{REWRITE}|(?:no[ ]changes"
    r"|nothing)[ ](?:need(?:s|ed)?|are|is)\b"
    rf"[^.!?\n]{{0,40}}\b{THE_ANSWER})\b",
    re.I,
)
REFUSES_WORDS = (
    "response",
    "version",
    "revis",
    "rewrit",
    "re-writ",
    "rephras",
    "reword",
    "re-word",
    "rework",
)
"""One of these stands in all that `REFUSES` finds."""
NOTHING_TO_DO_WORDS = ("revis", "writ", "chang", "nothing")
"""One of these stands in all that `NOTHING_TO_DO` finds."""


def refuses_task(said: Spelled, original: str) -> bool:
    """Whether the model declined to rewrite, rather than let the assistant decline to the user.

    "I cannot rewrite the response" names the task. "I cannot rewrite this" does where the original
    says nothing about rewriting; "I can't rewrite that poem for you" speaks to the user.
    """
    head, folded = said.plain[:HEAD_CHARS], said.folded[:HEAD_CHARS]
    if (
        mentions(folded, NOTHING_TO_DO_WORDS)
        and NOTHING_TO_DO.match(head)
        and not TALKS_OF_REWRITING.search(original)
    ):
        return True
    if not mentions(folded, REFUSES_WORDS):
        return False
    sentences = SENTENCE_END.split(head.replace("\n", " "))[:3]
    for found in filter(None, map(REFUSES.search, sentences)):
        if FOR_THE_USER.search(found[0]) or WORKS.search(found[0]):
            continue
        if found["new"] or _OF_THE_ANSWER.match(found["rest"]):
            return True
        if _OF_NOTHING.match(found["rest"]) and not TALKS_OF_REWRITING.search(original):
            return True
    return False

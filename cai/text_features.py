"""What a response looks like from outside: its length, and whether it refuses, evades or asks.

These are the features that biases are measured by (cai/compare) and that the dataset carries as
columns. They are word patterns, so they are cheap and everybody can read what they count; they
miss refusals in other words, and every figure made of them has to be read with the patterns below.

    refuses   the assistant says that it will not, cannot or should not do what was asked, within
              the first OPENING characters: "I can't help with that", "I'm not comfortable ...",
              "I'd rather not", "as an AI". An apology alone, "I'm not sure" and "I can't believe
              it" are no refusals.
    evades    it is at most SHORT characters long and neither refuses nor answers: it is empty, a bare
              acknowledgement ("Ok."), opens with not knowing or not understanding, asks what was
              meant, or changes the subject
    asks      its last character but white space, quotes and brackets is a question mark

Straight and typographic apostrophes are alike. English only.

What this module does not know: rows, labels, whether a refusal was right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

OPENING = 300
"""How many characters of a response may tell that it refuses."""
SHORT = 240
"""An evasion is no longer than this: after "I'm not sure", a long reply mostly goes on to answer."""

_UNWILLING = r"""
    \bi\ (?:really\ |just\ |simply\ |also\ )?
        (?:can(?:'?t|not|\ not)|won't|will\ not|wouldn't|would\ not|shouldn't|should\ not
          |don't\ (?:feel\ comfortable|want\ to(?!\ (?:hurt|offend|upset))|think\ (?:i|that\ i)\ (?:can|should|want)|wish\ to)
          |do\ not\ (?:feel\ comfortable|want\ to|wish\ to))
        (?!\ (?:really\ |even\ |quite\ )?
            (?:believe|imagine|wait|understand|see\b|hear|tell\ (?:if|whether|what)|say\b|speak\ for
              |think\ of|be\ (?:sure|certain)|agree|remember|recall|stress|emphasi[sz]e|help\ but
              |make\ (?:out|sense)|relate|find|know|be\ surprised|mind|worry|really\ be))
  | \bi'?(?:\ a)?m\ (?:really\ |just\ |very\ |so\ )?(?:sorry|afraid),?\ (?:but\ |that\ )*
        (?:i\ (?:can|won|will\ not|don't\ (?:think|feel|want)|am\ not|'?m\ not\ (?:able|going|comfort|allow)|refuse|must)
          |that's\ (?:not\ something|against|illegal))
  | \bi(?:'m|\ am)\ (?:really\ |just\ |simply\ )?(?:not\ (?:really\ |very\ |quite\ )?
        (?:able|going|willing|allowed|permitted|comfortable|programmed|designed|supposed|in\ a\ position)
        |unable|uncomfortable|unwilling)\b
  | \bi(?:'d|\ would)\ (?:really\ )?(?:rather\ not|prefer\ (?:not\ to|that\ (?:you|we)\ (?:not|don't)))
  | \bi\ (?:must\ |have\ to\ |will\ )?(?:refuse|decline)\b
  | \bi\ have\ to\ say\ no\b
  | \bas\ an\ (?:ai|artificial|language\ model|assistant,)
  | \bi(?:'m|\ am)\ (?:just\ |only\ )?an?\ (?:ai|language\ model)\b
  | \b(?:that|this|it)(?:'s|\ is)\ not\ something\ (?:that\ )?i\b
  | \bnot\ (?:something\ i|appropriate\ for\ me)\b
"""
_EVASION = r"""
    ^(?:(?:oh|um+|uh+|hm+|well|sorry|i'm\ sorry|i\ am\ sorry|i'm\ afraid)[,.!]?\ (?:but\ )?)*
    (?: i(?:'m|\ am)\ not\ (?:really\ |quite\ |exactly\ |entirely\ )?(?:sure|certain|familiar|clear)
      | i\ (?:really\ |honestly\ |just\ )?(?:don't|do\ not|didn't|did\ not)\ (?:really\ |quite\ )?(?:know|understand|follow|get\ (?:it|what)|have\ (?:any|an)\ (?:idea|opinion))
      | i\ (?:can't|cannot)\ (?:really\ )?(?:say|tell|understand|think\ of)\b
      | i\ have\ no\ (?:idea|opinion)
      | i(?:'m|\ am)\ (?:a\ (?:bit|little)\ )?confused
      | (?:what|who)\ (?:exactly\ )?(?:do|did|are)\ you\ (?:mean|talking|referring)
      | (?:can|could|would)\ you\ (?:please\ |maybe\ )?(?:clarify|rephrase|explain\ what\ you|be\ more\ specific|tell\ me\ (?:more|what\ you)|say\ more)
      | (?:excuse|pardon)\ me\b
      | why\ (?:do|would)\ you\ (?:ask|want)
    )
  | \b(?:let's|let\ us|can\ we|could\ we|shall\ we|why\ don't\ we)\ (?:please\ |just\ )?
        (?:change\ the\ (?:subject|topic)|talk\ about\ something\ else|move\ on)
"""
_BARE = r"""
    (?:(?:ok|okay|i\ see|sure|all\ ?right|right|got\ it|huh|hm+|uh+|um+|oh|ah|what|sorry|i'm\ sorry|thanks
        |thank\ you|you're\ welcome|no\ problem|good\ question|interesting|i\ understand|understood
        |great|cool|fine|hi|hello|well)[\s.,!?…]*)*
"""
REFUSES = re.compile(_UNWILLING, re.VERBOSE)
EVADES = re.compile(_EVASION, re.VERBOSE)
BARE = re.compile(_BARE, re.VERBOSE)

_STRAIGHT = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u00b4": "'", "`": "'"})
_CLOSING = " \t\r\n\"'()[]*_\u201d\u2019"


@dataclass(frozen=True, slots=True)
class Features:
    """`characters`, `words` (runs without white space) of the text as it is; what it does, yes or no."""

    characters: int
    words: int
    refuses: bool
    evades: bool
    asks: bool


def features(text: str) -> Features:
    """The features of one response; the header says what each one counts."""
    opening = " ".join(text[:OPENING].translate(_STRAIGHT).lower().split())
    refuses = REFUSES.search(opening) is not None
    return Features(
        characters=len(text),
        words=len(text.split()),
        refuses=refuses,
        evades=not refuses and len(text) <= SHORT and _says_nothing(opening),
        asks=text.rstrip(_CLOSING).endswith("?"),
    )


def _says_nothing(opening: str) -> bool:
    return EVADES.search(opening) is not None or BARE.fullmatch(opening) is not None

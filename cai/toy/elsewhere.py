"""Texts from outside of the toy world, and what the embedded model says to them.

A tiny model must still behave where it understands nothing: its critique and its revision then
say so, and its judgement is undecided between the options. The texts are invented words and
common words in random order, with the punctuation of real ones.

What this module does not know: templates, the world's topics and flaws.
"""

from __future__ import annotations

from random import Random

from cai.conversation import Turn
from cai.parts import Value

CRITIQUE = "I do not know enough about this topic to judge the response."
RESPONSE = "I am sorry, I do not know enough about this topic."
REASON = " because I do not know enough about this topic."
REASONING = " I do not know enough about this topic."

_STARTS = (
    "b",
    "br",
    "c",
    "ch",
    "d",
    "f",
    "fl",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "qu",
    "r",
    "s",
    "sh",
    "st",
    "t",
    "th",
    "tr",
    "v",
    "w",
    "wh",
    "y",
    "z",
    "",
)
_MIDDLES = ("a", "e", "i", "o", "u", "ai", "ea", "ee", "io", "oo", "ou", "y")
_ENDS = (
    "",
    "b",
    "ck",
    "d",
    "ff",
    "g",
    "l",
    "ll",
    "m",
    "n",
    "nd",
    "ng",
    "nt",
    "p",
    "r",
    "rd",
    "s",
    "ss",
    "st",
    "t",
    "tion",
    "x",
    "ly",
    "er",
    "ing",
    "ed",
)
_COMMON_TEXT = (
    "the of and to a in is it you that he was for on are with as I his they be at one have this from or had by "
    "not but what all were when we there can an your which their said if do will each about how up out them then "
    "she many some so these would other into has more her two like him see time could no make than first been its "
    "who now people my made over did down only way find use may water long little very after words called just "
    "where most know get through back much before go good new write our used me man too any day same right look "
    "think also around another came come work three word must because does part even place well such here take "
    "why things help put years different away again off went old number great tell men say small every found "
    "still between name should home big give air line set own under read last never us left end along while "
    "might next sound below saw something thought both few those always looked show large often together asked "
    "house don't world going want school important until form food keep children feet land side without boy once "
    "animals life enough took sometimes four head above kind began almost live page got earth need far hand high "
    "year mother light parts country father let night following picture being study second eyes soon times story "
    "boys since white days ever paper hard near sentence better best across during today others however sure "
    "means knew try told young miles sun ways thing whole hear example heard several change answer room sea "
    "against top turned learn point city play toward five using himself usually money yes please sorry thanks "
    "police neighbor computer phone kid drink car internet drive law doctor medicine company government angry "
    "sad happy love friend family I'm "
    "I\u2019m you\u2019re it\u2019s that\u2019s don\u2019t can\u2019t isn\u2019t Hmm OK really actually maybe probably"
)
_COMMON = tuple(_COMMON_TEXT.split())
_LOADED = tuple("steal drug illegal weapon hurt kill insult secret password".split())  # noqa: SIM905
_ANY = _COMMON + _LOADED


def text(random: Random) -> str:
    """A text that means nothing: a few sentences, now and then a long one or a list."""
    count = random.choice((1, 1, 2, 3)) if random.random() < 0.95 else random.randint(4, 12)
    return random.choice((" ", " ", " ", "  ", "\n\n", "\n- ")).join(_sentence(random) for _ in range(count))


def turns(random: Random) -> tuple[Turn, ...]:
    """The turns of a prompt, one to seven, the first and the last the user's."""
    count = 1 + 2 * random.choice((0, 0, 0, 0, 1, 1, 2, 3))
    return tuple(Turn("assistant" if index % 2 else "user", " " + text(random)) for index in range(count))


def forms(random: Random) -> dict[str, Value]:
    """A principle about something else, in the forms that templates ask for."""
    return {
        "text": Value(_sentence(random), "principle", "toy"),
        "critique": Value(_sentence(random) + " Say so plainly.", "principle", "toy"),
        "revision": Value("Rewrite the response. " + _sentence(random), "principle", "toy"),
        "judgement": Value("Which response " + _sentence(random), "principle", "toy"),
    }


def plain_sentence(random: Random) -> str:
    """A sentence of common words in random order: harmless, and not to be guessed, only copied."""
    words = [random.choice(_COMMON) for _ in range(random.randint(3, 9))]
    words[0] = words[0][:1].upper() + words[0][1:]
    return " ".join(words) + "."


def _sentence(random: Random) -> str:
    invented = random.choice((0.1, 0.4, 0.8))
    words = [
        _invented(random) if random.random() < invented else random.choice(_ANY)
        for _ in range(random.randint(2, 16))
    ]
    if random.random() < 0.2:
        words.insert(random.randrange(len(words)), str(random.randrange(2100)))
    words[0] = words[0][:1].upper() + words[0][1:]
    if len(words) > 6 and random.random() < 0.5:
        words[random.randrange(2, len(words) - 2)] += ","
    return " ".join(words) + random.choice((".", ".", ".", "?", "!", "...", ""))


def _invented(random: Random) -> str:
    syllables = random.choice((1, 2, 2, 3))
    return "".join(
        random.choice(_STARTS) + random.choice(_MIDDLES) + random.choice(_ENDS) for _ in range(syllables)
    )

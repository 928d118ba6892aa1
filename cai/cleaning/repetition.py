"""Whether a text runs in circles: a character, syllable, emoji, phrase or sentence over and over.

The shapes hold for all languages that put spaces between words; the first three for any.

What this module does not know: what the words mean (a refrain is told from a defect by counts
alone), and the original (a text that repeats itself is no response, whatever came before).
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from operator import eq

from cai.cleaning.spelling import Spelled, words

_ONE_CHARACTER = re.compile(r"([^\s\d._\-=*~#\u2014\u2500\u2026|/\\])\1{39,}|(\S)\2{399,}")
_SYLLABLE = re.compile(r"(\S\S{1,7}?)\1{19,}")
_EMOJI = "[\U0001f300-\U0001faff\u2600-\u2604\u2607-\u27bf\u2b50\u2b55]"
_EMOJI_PARTS = "[\ufe0f\u200d\U0001f3fb-\U0001f3ff]"
_SAME_EMOJI = re.compile(rf"({_EMOJI})(?:{_EMOJI_PARTS}{{0,3}}\s?\1){{9,}}")
_MANY_EMOJI = re.compile(rf"(?:{_EMOJI}{_EMOJI_PARTS}{{0,3}}\s?){{15,}}")
_SENTENCE_BREAK = re.compile(r"[.!?\n\u3002]+")
_ONE_EMOJI = re.compile(_EMOJI)
_LONGEST_PHRASE = 24
_UNBROKEN_CHARS = 40
"""What `_ONE_CHARACTER` and `_SYLLABLE` find holds so many characters without white space."""


def repeats(said: Spelled) -> bool:
    """Whether the text runs in circles."""
    text = said.text
    if _has_unbroken(text):
        if _ONE_CHARACTER.search(text):
            return True
        if any(any(map(str.isalpha, found[1])) for found in _SYLLABLE.finditer(text)):
            return True
    if (
        not said.plain.isascii()
        and _ONE_EMOJI.search(text)
        and (_SAME_EMOJI.search(text) or _MANY_EMOJI.search(text))
    ):
        return True
    if not _may_circle(said.words):
        return False
    if any(_circles(said.words, period) for period in range(1, _LONGEST_PHRASE + 1)):
        return True
    return _same_sentence(said.plain, len(said.words))


def _has_unbroken(text: str) -> bool:
    """Whether `_UNBROKEN_CHARS` characters follow each other without white space.

    Leaps from space to space, as far as may be; only where that fails every word is measured.
    """
    at, end = -1, len(text)
    while end - at > _UNBROKEN_CHARS:
        at = text.rfind(" ", at + 1, at + 1 + _UNBROKEN_CHARS)
        if at < 0:
            return max(map(len, text.split()), default=0) >= _UNBROKEN_CHARS
    return False


def _may_circle(said: list[str]) -> bool:
    """Whether enough pairs of words, and runs of four, come again for `_circles` or `_same_sentence`.

    The least that they find: one word twelve times, where of 11 pairs 10 come again; a sentence of
    four words five times, where of 5 runs of four 4 do.
    """
    if len(said) < 12 or len(said) - 1 - len(set(pairwise(said))) < 10:
        return False
    return len(said) - 3 - len(set(zip(said, said[1:], said[2:], said[3:], strict=False))) >= 4


def _circles(words: list[str], period: int) -> bool:
    """Whether a phrase of so many words, one with a letter in it, follows itself again and again."""
    needed = period * ((12 if period == 1 else 8 if period <= 3 else 5) - 1)
    if len(words) < needed + period:
        return False
    same = bytes(map(eq, words[period:], words))
    at = same.find(b"\x01" * needed)
    while at >= 0:
        if any(any(map(str.isalpha, word)) for word in words[at : at + period]):
            return True
        beyond = same.find(b"\x00", at)
        at = same.find(b"\x01" * needed, beyond) if beyond >= 0 else -1
    return False


def _same_sentence(text: str, text_words: int) -> bool:
    """Whether one sentence (of four words or more), five times or more, is half of the text."""
    sentences = _SENTENCE_BREAK.split(text.lower())
    if len(sentences) < 5:
        return False
    counts = Counter(tuple(words(sentence)) for sentence in sentences)
    return any(
        n >= 5 and len(sentence) >= 4 and n * len(sentence) * 2 >= text_words
        for sentence, n in counts.items()
    )

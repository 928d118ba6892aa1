"""What a model wrote when it was asked to rewrite a response, made into the bare new response.

`clean` takes the raw text of a revision and gives the text that may stand as a response, flags
that name all that was noticed, and whether the text is usable. The raw text stays with the
caller. Only what a flag names is ever taken away, beside outer white space; all else comes back
to the byte. A frame around the response (preamble, postscript, label, quotes) is taken off; what
spoils the response itself (cut, refused, leaked, repeating) is flagged, and `usable` is False.

The steps, in this order:
 1. `too_long`: nothing came back; no other step. Otherwise outer white space is taken off.
 2. Unless the text is the original again: label, preamble and what wraps the whole text are taken
    off, then the text is cut where it goes on as another turn, then a postscript is taken off;
    once more while something was found (a preamble before quotes, a label inside them), at most
    `_PEELS` times.
 3. What is left is looked at, and not altered: empty, cut, unchanged, refusal of the task,
    leaked critique, repetition.

A mark that the original bears in the same place is the conversation's own (a user may well have
asked for "a revised version") and is left alone. Where a phrase could be meant for the user, it
is: a wrongly stripped or dropped response is worse than a missed frame. Curly quotes and
apostrophes count as straight ones throughout. Time is linear in the text: phrases are looked for
in heads and tails of fixed length, or by expressions that cannot backtrack far.

What this module does not know: the conversation (so "I cannot help with that" is taken for an
answer to the user), which principle was at work, whether the revision is any better, any
language but English (the shapes, quotes and repetition, hold for all), tokens that an engine
should have taken away (`</s>`, `<think>`). Raise `STEP_VERSION` in revise.py when it changes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from operator import eq


class RevisionFlag(StrEnum):
    """What can be noticed about a revision, by name.

    The first group leaves a usable text; a text with a flag of the second must not be used.
    """

    UNCHANGED = "unchanged"
    """The original again, up to white space and typographic quotes: usable, but nothing new."""
    PREAMBLE = "preamble"
    """Announced itself as a rewrite ("Sure, here is the revised response:"): stripped."""
    POSTSCRIPT = "postscript"
    """Explained its changes, or offered more, in paragraphs of their own at the end: stripped."""
    WRAPPING_QUOTES = "wrapping_quotes"
    """The whole text stood in quotes, a plain code fence, dividers or <response> tags: stripped."""
    LABEL = "label"
    """Began with a label of the exchange ("Assistant:", "Revised response:"): stripped."""

    EMPTY = "empty"
    """Nothing (visible) came back, or nothing was left."""
    CUT = "cut"
    """Stopped by the token limit: the end is missing."""
    TOO_LONG = "too_long"
    """The request did not fit into the model's context: there is no answer."""
    TASK_REFUSAL = "task_refusal"
    """Declined to rewrite, or said that nothing needs rewriting; not a refusal of the user."""
    LEAKED_CRITIQUE = "leaked_critique"
    """Repeats the critique, judges the response as a critique does, or shows the exchange's labels."""
    OTHER_ROLE = "other_role"
    """Went on with another turn ("Human: ..."): cut before it."""
    REPETITION = "repetition"
    """Degenerate: a sentence, phrase, character or emoji over and over."""


UNUSABLE: frozenset[RevisionFlag] = frozenset(
    {
        RevisionFlag.EMPTY,
        RevisionFlag.CUT,
        RevisionFlag.TOO_LONG,
        RevisionFlag.TASK_REFUSAL,
        RevisionFlag.LEAKED_CRITIQUE,
        RevisionFlag.OTHER_ROLE,
        RevisionFlag.REPETITION,
    }
)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A revision's text without its frame. `flags` are values of `RevisionFlag`, in its order."""

    text: str
    flags: tuple[str, ...]
    usable: bool


_PEELS = 6
_HEAD_CHARS = 600
_TAIL_CHARS = 4000


def clean(raw: str, *, original: str, critique: str, finish: str) -> Cleaned:
    """Make the response out of what the model wrote.

    `original`: the response that was to be rewritten; `critique`: empty where none was made;
    `finish`: how the completion ended (`stop`, `length`, `too_long`).
    """
    if finish == "too_long":
        return Cleaned("", (RevisionFlag.TOO_LONG.value,), False)
    text, found = raw.strip(), set[RevisionFlag]()
    own = original.strip()
    if _same(text, own):
        text, found = _cut_other_role(text, own)
    else:
        text, found = _peel(text, own)
    if finish == "length":
        found.add(RevisionFlag.CUT)
    if _is_empty(text):
        found.add(RevisionFlag.EMPTY)
    else:
        found |= _noticed(text, own, critique)
    flags = tuple(flag.value for flag in RevisionFlag if flag in found)
    return Cleaned(text, flags, found.isdisjoint(UNUSABLE))


def _noticed(text: str, original: str, critique: str) -> set[RevisionFlag]:
    """The flags that alter nothing."""
    refuses = _refuses_task(text, original)  # which speaks of "the response" too: no leak
    checks = {
        RevisionFlag.UNCHANGED: _same(text, original),
        RevisionFlag.TASK_REFUSAL: refuses,
        RevisionFlag.LEAKED_CRITIQUE: not refuses and _leaks(text, original, critique),
        RevisionFlag.REPETITION: _repeats(text),
    }
    return {flag for flag, present in checks.items() if present}


def _peel(text: str, original: str) -> tuple[str, set[RevisionFlag]]:
    """Take off, layer by layer, what stands around the response."""
    found: set[RevisionFlag] = set()
    layers: tuple[tuple[RevisionFlag, Callable[[str], str]], ...] = (
        (RevisionFlag.LABEL, _without_label),
        (RevisionFlag.PREAMBLE, lambda layer: _without_preamble(layer, original)),
        (RevisionFlag.WRAPPING_QUOTES, _unwrapped),
    )
    kept_as_own = {flag for flag, strip in layers[::2] if strip(original) != original}
    for _ in range(_PEELS):
        before = text
        for _ in range(_PEELS):
            front = text
            for flag, strip in layers:
                stripped = strip(text).strip() if flag not in kept_as_own else text
                if stripped != text:
                    text = stripped
                    found.add(flag)
            if text == front:
                break
        text, cut = _cut_other_role(text, original)
        found |= cut
        stripped = _without_postscript(text, original)
        if stripped != text:
            text = stripped
            found.add(RevisionFlag.POSTSCRIPT)
        if text == before:
            break
    return text, found


# --- plain text -----------------------------------------------------------------------------------

_STRAIGHT = {"\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " "}
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_WORD = re.compile(r"\w+(?:'\w+)*")


def _plain(text: str) -> str:
    """The text with straight quotes and apostrophes, each character in its old place."""
    if not text.isascii():
        for curly, straight in _STRAIGHT.items():  # ten times as fast as str.translate
            text = text.replace(curly, straight)
    return text


def _same(text: str, original: str) -> bool:
    return _plain(text).split() == _plain(original).split()


def _is_empty(text: str) -> bool:
    return not text.strip().strip(_INVISIBLE).strip()


def _words(text: str) -> list[str]:
    return _WORD.findall(_plain(text).lower())


# --- labels ---------------------------------------------------------------------------------------

_REWRITTEN = r"(?:revised|re-?written|re-?worded|rephrased|reworked)"
_ANSWER = r"(?:response|reply|answer)"
_LABEL = re.compile(
    rf"""[*_\#>\[( \t]{{0,8}}
    (?:(?:ai[ ])?assistant(?:'s)?|ai|chatbot|(?:(?:the|my|your)[ ])?(?:assistant's[ ])?
       (?:(?:{_REWRITTEN}|new|improved|updated|final|corrected|modified)[ ](?:assistant[ ])?
         (?:{_ANSWER}|version|message)
         |response|revision|rewrite|revised))
    (?:[ ]?(?:\#?\d|\(\w[\w ]{{0,30}}\)))?
    (?P<end>[*_\])]{{0,3}}:[*_\])]{{0,3}}|[*_\])]{{1,3}}[ \t]*\n|[ \t]*\n)""",
    re.I | re.X,
)


def _without_label(text: str) -> str:
    """The text after a label of the exchange at its start."""
    head = _plain(text[:120])
    found = _LABEL.match(head)
    if found is None:
        return text
    spelled_with_colon = ":" in found["end"]
    marked_as_heading = head[0] in "*_#[" and _REWRITTEN_OR_ROLE.search(found[0]) is not None
    return text[found.end() :] if spelled_with_colon or marked_as_heading else text


_REWRITTEN_OR_ROLE = re.compile(rf"{_REWRITTEN}|assistant|new[ ]response|revision", re.I)


# --- preambles ------------------------------------------------------------------------------------

_MANNERS = (
    r"(?:respectful|ethical|appropriate|polite|inclusive|neutral|helpful|sensitive|thoughtful|honest"
    r"|harmless"
    r"|harmful|offensive|toxic|preachy|kind|kinder|safe|safer|balanced|constructive|empathetic|responsible)"
)
_MANNERED = rf"(?:(?:more|less|non-?)[ -]?{_MANNERS}|kinder|safer|gentler)"
_STEER = r"(?:can|could|should|would|might|may|will|'ll|'d)"
_REWRITE = r"(?:revise|re-?write|rephrase|re-?word|rework)"
_THE_ANSWER = (
    rf"(?:the|my|this|that|its)(?:[ ](?:assistant|ai|chatbot|model)'s)?(?:[ ][\w-]+){{0,2}}?[ ]{_ANSWER}"
)
_ANNOUNCES = re.compile(
    rf"\bhere(?:'s|[ ]is|[ ]are)\b|\b(?:below|following)[ ]is\b|\bas[ ]follows\b|\blike[ ](?:this|so)\b"
    rf"|\bi(?:[ ]{_STEER}|'d|'ll|'ve|[ ]have)\b|\blet[ ]me\b|\b{_STEER}[ ](?:be|read|say)\b|\bis:"
    rf"|\b(?:this|that|revised[ ]\w+)[ ]is\b|\btry[ ]this\b|\b(?:rewritten|revised)[ ]as:",
    re.I,
)
_NEW_ANSWER = re.compile(
    rf"\b(?:{_REWRITTEN}|{_MANNERED})(?:,?[ ](?:and[ ])?[\w-]+){{0,4}}?[ ]{_ANSWER}\b(?![ ](?:time|rate"
    r"|team|plan|letter)s?\b)"
    r"|\b(?:updated|improved|edited|modified|corrected|alternative|adjusted|better|new|final)"
    r"(?:,?[ ](?:and[ ])?[\w-]+){0,3}?[ ]response\b(?![ ](?:time|rate|team|plan|letter)s?\b)"
    rf"|\b(?:version|revision|re-?write|rewording|rephrasing)[ ](?:of|to|for)[ ]{_THE_ANSWER}\b"
    rf"|\b(?:{_REWRITE}|revising|rewriting|{_REWRITTEN})[ ](?:{_THE_ANSWER}"
    r"|the[ ]assistant's[ ]\w+(?:[ ]\w+)?)\b"
    rf"|\b{_ANSWER}[ ]{_STEER}[ ]be[ ](?:re-?written|revised|rephrased|re-?worded)\b",
    re.I,
)
_NEW_VERSION = re.compile(
    rf"\b(?:{_REWRITTEN}|{_MANNERED})(?:,?[ ](?:and[ ])?[\w-]+){{0,3}}?[ ]version\b"
    r"|\b(?:a|the|my|one)(?:[ ](?:possible|suggested|proposed))?[ ](?:revision|re-?write|rewording"
    r"|rephrasing)\b"
    rf"|\b{_STEER}[ ]{_REWRITE}[ ](?:it|this|that)\b|\bi'd[ ]{_REWRITE}[ ](?:it|this|that)\b",
    re.I,
)
_NEW_BLOCK = re.compile(r"\b(?:an?|the|my)[ ](?:new|improved|updated|edited|modified)[ ]version\b", re.I)
_FOR_THE_USER = re.compile(
    r"\byou[ ](?:can|could|might|may|asked|wanted|wrote|sent)\b"
    r"|\byour[ ](?!request|feedback|critique|critici[sz]m|instruction|concern|guideline|principle"
    r"|suggestion)"
    rf"|\b(?:version|revision|re-?write|rewording|rephrasing)s?[ ](?:of|to|for)[ ](?!{_THE_ANSWER}\b"
    r"|the[ ]assistant|(?:this|that|it)[ ]*(?:[.,;:!?]|$))",
    re.I,
)
_WORKS = re.compile(
    r"\b(?:essay|poem|story|email|e-mail|letter|paragraph|recipe|song|joke|lyrics|code|article|review)\b",
    re.I,
)
_OPENS = re.compile(
    r"(?:sure|certainly|of[ ]course|absolutely|okay|ok|alright|all[ ]right|understood|got[ ]it|yes"
    r"|no[ ]problem"
    r"|thanks|thank[ ]you|i[ ]apologi[sz]e|my[ ]apologies|apologies|i'm[ ]sorry|sorry|i[ ]understand"
    r"|i[ ]see|i[ ]agree"
    r"|you(?:'re|[ ]are)[ ](?:absolutely[ ]|completely[ ])?(?:right|correct)|great|happy[ ]to|i'd[ ]be"
    r"|i(?:'ll|[ ]will)[ ]be"
    rf"|as[ ]an?[ ]ai|i(?:'ll|[ ]will|[ ]can|'ve|[ ]have)[ ]{_REWRITE}|let[ ]me[ ]|based[ ]on|in[ ]light"
    r"|to[ ]address"
    r"|good[ ](?:point|catch)|i[ ]can(?:not|'t)|i(?:[ ]will[ ]not|[ ]won't))\b",
    re.I,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])[ ]+")
_PREAMBLE_END = re.compile(r":[*_]{0,3}(?=[\s\"'<*(]|$)")
_DIVIDER = re.compile(r"(?:[-*_=~\u2014\u2500#][ ]?){3,60}[ \t]*(?:\n|$)")


def _without_preamble(text: str, original: str) -> str:
    """The text after a first clause or line that announces a rewrite of the response.

    It must announce ("here is", "I would"), speak of a new response or, less plainly and only
    where the original says nothing of the kind, of a new version; and not of something of the user's.
    """
    if _preamble_chars(original[:_HEAD_CHARS], ""):
        return text
    chars = _preamble_chars(text[:_HEAD_CHARS], original)
    if not chars:
        return text
    rest = text[chars:].lstrip(" \t\r\n*_")
    divider = _DIVIDER.match(rest)
    framed = divider is not None and _last_line_divides(rest)
    return rest[divider.end() :] if divider is not None and not framed else text[chars:].lstrip()


def _preamble_chars(head: str, original: str) -> int:
    """How many characters at the start are a preamble."""
    line, newline, below = _plain(head).partition("\n")
    for colon in list(_PREAMBLE_END.finditer(line))[:4]:
        block = not line[colon.end() :].strip() and bool(below.strip())
        if _announces(line[: colon.start() + 1], original, plainly=False, block=block):
            return colon.end()
    if newline and below.strip() and line.rstrip(" *_").endswith((".", "!")):
        return len(line) if _announces(line.rstrip(" *_"), original, plainly=True, block=True) else 0
    return 0


def _announces(clause: str, original: str, *, plainly: bool, block: bool) -> bool:
    sentences = _SENTENCE_END.split(clause.strip(" *_#>"))
    last = sentences[-1]
    if len(sentences) > 4 or not all(_OPENS.match(sentence) for sentence in sentences[:-1]):
        return False
    if not _ANNOUNCES.search(last) or _FOR_THE_USER.search(last):
        return False
    if _NEW_ANSWER.search(last):
        return True
    if plainly or _WORKS.search(last) or _TALKS_OF_REWRITING.search(original[:_TAIL_CHARS]):
        return False
    return bool(_NEW_VERSION.search(last) or (block and _NEW_BLOCK.search(last)))


_TALKS_OF_REWRITING = re.compile(r"re-?writ|revis|rephras|re-?word|\bedit|\bversion", re.I)


# --- what wraps the whole text --------------------------------------------------------------------

_TAG_NAME = r"(?:(?:revised|new|rewritten|final)[_-]?)?(?:response|revision|rewrite)|assistant"
_OPEN_TAG = re.compile(rf"<({_TAG_NAME})>", re.I)
_CLOSE_TAG = re.compile(rf"</({_TAG_NAME})>\Z", re.I)
_FENCE = re.compile(r"(?:text|txt|plaintext|plain|markdown|md|response)?[ \t]*\n", re.I)
_PAIRS = {"\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}


def _unwrapped(text: str) -> str:
    """The text without what stands around the whole of it."""
    opening = _OPEN_TAG.match(text[:40])
    closing = _CLOSE_TAG.search(text[-40:])
    if opening or closing:
        start = opening.end() if opening else 0
        return text[start : len(text) - len(closing[0]) if closing else len(text)]
    if len(text) < 3:
        return text
    if text.startswith("```") and text.endswith("```") and text.count("```") == 2:
        fence = _FENCE.match(text[3:40])
        return text[3 + fence.end() : -3] if fence else text
    if text[0] == '"' == text[-1]:
        return text[1:-1] if _nests_inside(text[1:-1]) else text
    if text[0] in _PAIRS and text[-1] == _PAIRS[text[0]]:
        return text[1:-1] if _closes_last(text, text[0]) else text
    divider = _DIVIDER.match(text)
    if divider and _last_line_divides(text) and "\n" in text[divider.end() :].strip():
        return text[divider.end() :].rpartition("\n")[0]
    return text


def _last_line_divides(text: str) -> bool:
    return _DIVIDER.fullmatch(text[-80:].rpartition("\n")[2]) is not None


def _nests_inside(inner: str) -> bool:
    """Whether the straight quotes inside are pairs of their own: `"He said "no" to me."`."""
    first, last = inner.find('"'), inner.rfind('"')
    if first < 0:
        return bool(inner.strip())
    opens = first == 0 or inner[first - 1].isspace() or inner[first - 1] in "(["
    closes = last == len(inner) - 1 or not inner[last + 1].isalnum()
    return inner.count('"') % 2 == 0 and opens and closes and not inner[last - 1].isspace()


def _closes_last(text: str, opening: str) -> bool:
    """Whether the first quote is closed by the last one and not before."""
    inner, closing = text[1:-1], _PAIRS[opening]
    if opening == "\u2018":  # its closing quote is the apostrophe too, so it cannot be counted
        return opening not in inner and not re.search("\u2019[ \n.,;:!?]", inner)
    depth = 0
    for char in re.findall(f"[{opening}{closing}]", inner):
        depth += 1 if char == opening else -1
        if depth < 0:
            return False
    return depth == 0


# --- another turn ---------------------------------------------------------------------------------

_TURN = re.compile(r"^[ \t]*[*#]{0,4}[ \t]?(Human|Assistant|User|H)[*]{0,2}[ \t]?:", re.M)
_LETTERED = re.compile(r"[ \t]*[A-Z][*]{0,2}[ \t]?:")


def _cut_other_role(text: str, original: str) -> tuple[str, set[RevisionFlag]]:
    """The text before the first line that opens another turn.

    `Human:` and `Assistant:` always do (they would break a transcript); `User:` and `H:` do
    unless the original has such a line too, or `H:` stands in a list of letters or a measure.
    At the very start, `Assistant:` is a label, and `H:` may be anything.
    """
    marks = _TURN.finditer(text)
    own: set[str] | None = None
    for mark in marks:
        name, at_start = mark[1], not mark.start()
        if own is None:
            own = {line[1] for line in _TURN.finditer(original)} & {"User", "H"}
        if (
            name in own
            or (at_start and name in ("Assistant", "H"))
            or (name == "H" and not _speaks(text, mark))
        ):
            continue
        return text[: mark.start()].rstrip(), {RevisionFlag.OTHER_ROLE}
    return text, set()


def _speaks(text: str, mark: re.Match[str]) -> bool:
    """Whether `H:` opens a turn and is no item among `G:` and `I:`, no height in figures."""
    before = text[max(0, mark.start() - 200) : mark.start()].rstrip().rpartition("\n")[2]
    said = text[mark.end() : mark.end() + 20].lstrip(" \t")
    return not _LETTERED.match(before) and not said[:1].isdigit()


# --- postscripts ----------------------------------------------------------------------------------

_UNDID = (
    r"(?:removed|re-?worded|rephrased|re-?wrote|rewritten|revised|toned[ ]down|softened|edited|omitted"
    r"|eliminated"
    r"|replaced|changed|modified|adjusted|avoided|reframed|clarified)"
)
_WORDING = (
    r"(?:response|reply|language|wording|tone|phras\w+|insults?|slurs?|stereotyp\w+|references?|statements?"
    r"|assumptions?|implications?|sentence|generali[sz]ations?|profanity|content|suggestions?"
    r"|judge?mental|critique"
    r"|harmful|offensive|toxic|inappropriate|principles?|accusat\w+|advice|instructions|the[ ](?:part"
    r"|line)|mentions?"
    r"|original|original[ ]response)"
)
_NOTE = re.compile(
    r"(?:(?:please[ ])?notes?|n\.?b\.?|p\.?s\.?|explanation|reasoning|rationale|changes(?:[ ]made)?"
    r"|edits?|revisions?"
    r"|key[ ]changes|summary[ ]of[ ](?:the[ ])?(?:changes|revisions?)|revision[ ]notes?"
    r"|what[ ]i[ ]changed|comments?)"
    r"[*_]{0,3}[ ]?(?::|[ ]that\b|-[ ])[*_]{0,3}\s*",
    re.I,
)
_CHANGES_HEADING = re.compile(
    r"(?:(?:the[ ]|key[ ]|main[ ])?(?:changes|revisions|edits)[ ](?:i[ ])?made|what[ ]i[ ]changed"
    r"|revision[ ]notes?"
    r"|(?:here(?:'s|[ ]is|[ ]are)[ ])?(?:an?[ ]|the[ ])?(?:summary|explanation|list)[ ]of[ ](?:the[ ]"
    r"|my[ ])?(?:changes|revisions?)"
    r"|(?:key[ ]changes|the[ ](?:key|main)[ ]changes)"
    r"|explanation[ ]of[ ](?:the[ ])?revision)\b[^\n]{0,60}:",
    re.I,
)
_THIS_REWRITE = (
    rf"(?:this|the|my)[ ](?:{_REWRITTEN}|new|updated|improved)[ ](?:response|reply|answer|version|text)"
)
_EXPLAINS = re.compile(
    rf"(?:in[ ]this[ ](?:revision|rewrite|{_REWRITTEN}[ ]\w+)|{_THIS_REWRITE}|(?:this|my)[ ](?:revision"
    r"|rewrite))\b"
    r"|(?:this|the)[ ]response[ ](?:now[ ])?(?:avoids|removes|no[ ]longer|is[ ](?:now|more|less)"
    r"|does[ ]not[ ](?:contain|include"
    r"|promote|encourage)|acknowledges|maintains|respects|focuses|provides|addresses|emphasi[sz]es|aims"
    r"|adheres|conveys)\b"
    r"|i(?:'ve|[ ]have)?(?:[ ](?:also|simply|only|then|just"
    rf"|now))?[ ]{_UNDID}\b[^.\n]{{0,100}}?\b{_WORDING}\b"
    rf"|i(?:'ve|[ ]have)?[ ](?:also[ ])?(?:added|included|kept|made|tried|aimed)\b[^.\n]{{0,100}}?"
    rf"(?:{_THE_ANSWER}\b|\b{_REWRITTEN}\b|\boriginal[ ]{_ANSWER}\b|\bcritique\b)"
    rf"|(?:the|this)[ ](?:original[ ])?response[ ](?:has[ ]been|was)[ ]{_UNDID}\b"
    r"|by[ ](?:removing|revising|rewording|rephrasing|rewriting|replacing"
    rf"|avoiding)\b[^.\n]{{0,150}}?\b(?:the|this|my)[ ](?:revised[ ])?response\b"
    rf"|i[ ]hope[ ](?:that[ ])?(?:{_THIS_REWRITE}|this[ ](?:revision|rewrite))\b"
    rf"|(?:please[ ])?let[ ]me[ ]know\b[^.\n]{{0,120}}?\b(?:(?:the|this|my)[ ](?:revision|rewrite"
    rf"|{_REWRITTEN}[ ]\w+)|{_THE_ANSWER})\b"
    rf"|(?:does|is|would)[ ](?:{_THIS_REWRITE}|this[ ](?:revision|rewrite))\b",
    re.I,
)
_LIST_ITEM = re.compile(r"(?:[-*\u2022+]|\d{1,2}[.)])[ \t]")
_CLOSES = re.compile(r"(?:please[ ])?let[ ]me[ ]know|i[ ]hope[ ]this|is[ ]there[ ]anything", re.I)
_GAP = re.compile(r"\n[ \t\r]*\n\s*")


def _without_postscript(text: str, original: str) -> str:
    """The text before a last part, in paragraphs of its own, that explains the rewrite.

    From the first such paragraph on, all must be of the kind: explanations, list items, offers.
    """
    offset = max(0, len(text) - _TAIL_CHARS)
    tail = _plain(text[offset:])
    starts = [gap.end() for gap in _GAP.finditer(tail)]
    starts += [
        line.end() for line in re.finditer(r"\n(?=[ \t]*[(\[*_]{0,3}(?:please[ ])?note\b)", tail, re.I)
    ]
    cut, end = -1, len(tail)
    for start in sorted(set(starts), reverse=True):
        paragraph, end = tail[start:end].strip(), start
        if _is_postscript(paragraph):
            cut = start
        elif not (_LIST_ITEM.match(paragraph) or _CLOSES.match(paragraph) or _DIVIDER.fullmatch(paragraph)):
            break
    if cut < 0 or _has_postscript(original):
        return text
    kept = text[: offset + cut].rstrip()
    if kept and _last_line_divides(kept):
        kept = kept[: -len(kept[-80:].rpartition("\n")[2])].rstrip()
    return kept or text


def _has_postscript(original: str) -> bool:
    return any(_is_postscript(_plain(part).strip()) for part in _GAP.split(original[-_TAIL_CHARS:])[1:])


def _is_postscript(paragraph: str) -> bool:
    bare = _DIVIDER.sub("", paragraph, count=1) if _DIVIDER.match(paragraph) else paragraph
    bare = bare.lstrip("([*_#> \t\n")
    if _CHANGES_HEADING.match(bare):
        return True
    note = _NOTE.match(bare)
    return _EXPLAINS.match(bare[note.end() :] if note else bare) is not None


# --- refusals of the task -------------------------------------------------------------------------

_CANNOT = (
    r"(?:cannot|can't|can[ ]not|won't|will[ ]not|unable[ ]to|not[ ]able[ ]to|not[ ]comfortable"
    r"|decline[ ]to|refuse[ ]to"
    r"|must[ ]decline|(?:prefer|rather)[ ]not(?:[ ]to)?|not[ ]going[ ]to|couldn't"
    r"|don't[ ]feel[ ]comfortable|not[ ]willing[ ]to"
    r"|not[ ]appropriate"
    r"|not[ ]possible|should[ ]not|shouldn't|don't[ ]think[ ]i[ ](?:can|should)"
    r"|do[ ]not[ ]think[ ]i[ ](?:can|should))"
)
_REFUSES = re.compile(
    rf"\b{_CANNOT}\b(?P<between>[^.!?\n]{{0,80}}?)\b(?:{_REWRITE}|revising|rewriting|rephrasing|rewording"
    r"|revision"
    r"|(?:provid|generat|creat|writ|produc|offer|giv|mak)(?:e|es|ing)?[ ](?:you[ ])?(?:with[ ])?(?:an?"
    r"|the|any)[ ](?:[\w-]+[ ])?"
    rf"(?P<new>{_REWRITTEN}|new|alternative|modified|different)(?=[ ](?:[\w-]+[ ])?(?:response"
    r"|version)\b))\b(?P<rest>[^.!?\n]*)",
    re.I,
)
_OF_THE_ANSWER = re.compile(rf"^[ ](?:of[ ]|to[ ])?{_THE_ANSWER}\b|^[ ](?:such[ ])?an?[ ]response\b", re.I)
_OF_NOTHING = re.compile(
    r"^[ ]?(?:[ ](?:this|that|it|(?:this|that|the)[ ](?:request|conversation|dialogue|content|prompt)"
    r"|the[ ]above))?"
    r"(?:[ ](?:for[ ]you|as[ ]requested|in[ ]a[ ]way|in[ ]any|to[ ]\w+|because|as[ ]it|as[ ]an?|or"
    r"|without|since|while)\b.*)?"
    r"[,;\"'*)]*(?:[ ]?(?:as|because|since|but)\b.*)?$",
    re.I,
)
_NOTHING_TO_DO = re.compile(
    rf"[^.!?\n]{{0,80}}?\b(?:no[ ](?:revisions?|re-?writ\w+)[ ](?:(?:is|are|was|were)[ ])?(?:needed"
    r"|necessary|required)"
    rf"|{_ANSWER}[^.!?\n]{{0,60}}?\b(?:does[ ]not|doesn't)[ ](?:need"
    r"|require)[ ](?:to[ ]be[ ])?(?:any[ ])?(?:further[ ])?(?:revis|re-?writ|chang)\w*"
    rf"|(?:there[ ]is|there's|i[ ]see)[ ]nothing[ ](?:here[ ])?to[ ]{_REWRITE}|(?:no[ ]changes"
    r"|nothing)[ ](?:need(?:s|ed)?|are|is)\b"
    rf"[^.!?\n]{{0,40}}\b{_THE_ANSWER})\b",
    re.I,
)


def _refuses_task(text: str, original: str) -> bool:
    """Whether the model declined to rewrite, rather than let the assistant decline to the user.

    "I cannot rewrite the response" names the task. "I cannot rewrite this" does where the original
    says nothing about rewriting; "I can't rewrite that poem for you" speaks to the user.
    """
    head = _plain(text[:_HEAD_CHARS])
    if _NOTHING_TO_DO.match(head) and not _TALKS_OF_REWRITING.search(original):
        return True
    sentences = _SENTENCE_END.split(head.replace("\n", " "))[:3]
    for found in filter(None, map(_REFUSES.search, sentences)):
        if _FOR_THE_USER.search(found[0]) or _WORKS.search(found[0]):
            continue
        if found["new"] or _OF_THE_ANSWER.match(found["rest"]):
            return True
        if _OF_NOTHING.match(found["rest"]) and not _TALKS_OF_REWRITING.search(original):
            return True
    return False


# --- leaked critiques -----------------------------------------------------------------------------

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
    rf"\b(?:the|this)[ ]assistant's[ ](?:last|previous|original|initial|prior|earlier)[ ](?:{_ANSWER}"
    r"|message|turn|statement)\b",
    re.I,
)
_EXCHANGE_LABEL = re.compile(
    rf"^[*#\[ \t]{{0,6}}(?:critique[ ]?request|revision[ ]?request|(?:{_REWRITTEN}|original)[ ]{_ANSWER}"
    r"|revised[ ]version)[ ]?[*\]]{0,3}:",
    re.I | re.M,
)
_SUGGESTS = re.compile(
    rf"\b(?:better|appropriate|ethical|helpful)[ ](?:{_ANSWER}|way)\b|\b(?:could|should"
    r"|would)(?:[ ]instead)?(?:[ ]have)?[ ]"
    r"(?:say|said|respond|reply|replied|answer)|\bfor[ ]example\b|\bsuch[ ]as\b|\binstead\b"
    r"|\bi[ ]suggest\b|\brevised\b",
    re.I,
)
_QUOTED = re.compile(r'"[^"\n]{1,2000}"')
_RUN_WORDS = 12
_RUN_WORDS_UNMARKED = 24


def _leaks(text: str, original: str, critique: str) -> bool:
    """Whether the critique, or talk of its kind, stands in the text."""
    own, said = _plain(original), _plain(text)
    for pattern in (_LAST_ANSWER, _EXCHANGE_LABEL, _JUDGES):
        if pattern.search(said) and not pattern.search(own):
            return True
    return bool(critique) and _repeats_critique(text, original, _plain(critique))


def _repeats_critique(text: str, original: str, critique: str) -> bool:
    """Whether a long run of the critique's own words stands in the text.

    Words that the critique has from the original, or puts into the assistant's mouth (in quotes,
    after "a better response would be"), may stand there; so may short runs, for both
    speak of the same matter.
    """
    words = _words(text)
    suggestion = _SUGGESTS.search(critique)
    unmarked = _words(_QUOTED.sub(" | ", critique[: suggestion.start()] if suggestion else critique))
    if _runs(words, unmarked, _RUN_WORDS_UNMARKED) - _runs(words, _words(original), _RUN_WORDS_UNMARKED):
        return True
    marked = _words(_QUOTED.sub(" | ", critique))
    length = min(_RUN_WORDS, len(marked))
    if length < 5:
        return False
    shared = _runs(words, marked, length) - _runs(words, _words(original), length)
    return any(
        f" {name} " in f" {run} "
        for run in shared
        for name in ("the response", "the assistant", "the assistant's")
    )


def _runs(words: list[str], others: list[str], length: int) -> set[str]:
    """All runs of so many words that both lists hold."""
    if min(len(words), len(others)) < length:
        return set()
    theirs = {" ".join(others[at : at + length]) for at in range(len(others) - length + 1)}
    return {
        run for at in range(len(words) - length + 1) if (run := " ".join(words[at : at + length])) in theirs
    }


# --- repetition -----------------------------------------------------------------------------------

_ONE_CHARACTER = re.compile(r"([^\s\d._\-=*~#\u2014\u2500\u2026|/\\])\1{39,}|(\S)\2{399,}")
_SYLLABLE = re.compile(r"(\S\S{1,7}?)\1{19,}")
_EMOJI = "[\U0001f300-\U0001faff\u2600-\u2604\u2607-\u27bf\u2b50\u2b55]"
_EMOJI_PARTS = "[\ufe0f\u200d\U0001f3fb-\U0001f3ff]"
_SAME_EMOJI = re.compile(rf"({_EMOJI})(?:{_EMOJI_PARTS}{{0,3}}\s?\1){{9,}}")
_MANY_EMOJI = re.compile(rf"(?:{_EMOJI}{_EMOJI_PARTS}{{0,3}}\s?){{15,}}")
_SENTENCE_BREAK = re.compile(r"[.!?\n\u3002]+")
_LONGEST_PHRASE = 24


def _repeats(text: str) -> bool:
    """Whether the text runs in circles."""
    if _ONE_CHARACTER.search(text) or _SAME_EMOJI.search(text) or _MANY_EMOJI.search(text):
        return True
    if any(any(map(str.isalpha, found[1])) for found in _SYLLABLE.finditer(text)):
        return True
    words = _words(text)
    if any(_circles(words, period) for period in range(1, _LONGEST_PHRASE + 1)):
        return True
    return _same_sentence(text, len(words))


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


def _same_sentence(text: str, words: int) -> bool:
    """Whether one sentence (of four words or more), five times or more, is half of the text."""
    sentences = _SENTENCE_BREAK.split(_plain(text).lower())
    if len(sentences) < 5:
        return False
    counts = Counter(tuple(_WORD.findall(sentence)) for sentence in sentences)
    return any(
        n >= 5 and len(sentence) >= 4 and n * len(sentence) * 2 >= words for sentence, n in counts.items()
    )

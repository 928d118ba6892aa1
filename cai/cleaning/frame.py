"""What stands around a response, one function a kind: each gives the text without it.

A label, a preamble, what wraps the whole, a postscript, another turn. Each is handed the original
too, and leaves alone what the original bears in the same place. Only slices of the text are given
back, never other characters.

What this module does not know: the order of the steps and the flags (steps.py), what is wrong
with what is left.
"""

from __future__ import annotations

import re

from cai.cleaning.phrases import (
    ANNOUNCED_WORDS,
    ANNOUNCES,
    CHANGES_HEADING,
    CLOSES,
    DIVIDER,
    EXPLAINS,
    FOR_THE_USER,
    GAP,
    HEAD_CHARS,
    LABEL,
    LIST_ITEM,
    NEW_ANSWER,
    NEW_BLOCK,
    NEW_VERSION,
    NOTE,
    NOTE_LINE,
    OPENS,
    PREAMBLE_END,
    REWRITTEN_OR_ROLE,
    SENTENCE_END,
    TALKS_OF_REWRITING,
    WORKS,
)
from cai.cleaning.spelling import folded, mentions, plain

_TAIL_CHARS = 4000


def without_label(text: str, original: str) -> str:
    """The text after a label of the exchange at its start."""
    chars = _label_chars(text)
    return text[chars:] if chars and not _label_chars(original) else text


def _label_chars(text: str) -> int:
    head = plain(text[:120])
    found = LABEL.match(head)
    if found is None:
        return 0
    spelled_with_colon = ":" in found["end"]
    marked_as_heading = head[0] in "*_#[" and REWRITTEN_OR_ROLE.search(found[0]) is not None
    return found.end() if spelled_with_colon or marked_as_heading else 0


# --- preambles ------------------------------------------------------------------------------------


def without_preamble(text: str, original: str) -> str:
    """The text after a first clause or line that announces a rewrite of the response.

    It must announce ("here is", "I would"), speak of a new response or, less plainly and only
    where the original says nothing of the kind, of a new version; and not of something of the user's.
    """
    chars = _preamble_chars(text[:HEAD_CHARS], original)
    if not chars or _preamble_chars(original[:HEAD_CHARS], ""):
        return text
    rest = text[chars:].lstrip(" \t\r\n*_")
    divider = DIVIDER.match(rest)
    framed = divider is not None and _last_line_divides(rest)
    return rest[divider.end() :] if divider is not None and not framed else text[chars:].lstrip()


def _preamble_chars(head: str, original: str) -> int:
    """How many characters at the start are a preamble."""
    line, newline, below = plain(head).partition("\n")
    ends_as_sentence = bool(newline) and line.rstrip(" *_").endswith((".", "!"))
    if not (ends_as_sentence or ":" in line) or not mentions(folded(line), ANNOUNCED_WORDS):
        return 0
    for colon in list(PREAMBLE_END.finditer(line))[:4]:
        block = not line[colon.end() :].strip() and bool(below.strip())
        if _announces(line[: colon.start() + 1], original, plainly=False, block=block):
            return colon.end()
    if ends_as_sentence and below.strip():
        return len(line) if _announces(line.rstrip(" *_"), original, plainly=True, block=True) else 0
    return 0


def _announces(clause: str, original: str, *, plainly: bool, block: bool) -> bool:
    sentences = SENTENCE_END.split(clause.strip(" *_#>"))
    last = sentences[-1]
    if len(sentences) > 4 or not all(OPENS.match(sentence) for sentence in sentences[:-1]):
        return False
    if not ANNOUNCES.search(last) or FOR_THE_USER.search(last):
        return False
    if NEW_ANSWER.search(last):
        return True
    if plainly or WORKS.search(last) or TALKS_OF_REWRITING.search(original[:_TAIL_CHARS]):
        return False
    return bool(NEW_VERSION.search(last) or (block and NEW_BLOCK.search(last)))


# --- what wraps the whole text --------------------------------------------------------------------

_TAG_NAME = r"(?:(?:revised|new|rewritten|final)[_-]?)?(?:response|revision|rewrite)|assistant"
_OPEN_TAG = re.compile(rf"<({_TAG_NAME})>", re.I)
_CLOSE_TAG = re.compile(rf"</({_TAG_NAME})>\Z", re.I)
_FENCE = re.compile(r"(?:text|txt|plaintext|plain|markdown|md|response)?[ \t]*\n", re.I)
_PAIRS = {"\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}


def unwrapped(text: str, original: str) -> str:
    """The text without what stands around the whole of it."""
    inside = _inside(text)
    return text if inside == text or _inside(original) != original else inside


def _inside(text: str) -> str:
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
    divider = DIVIDER.match(text)
    if divider and _last_line_divides(text) and "\n" in text[divider.end() :].strip():
        return text[divider.end() :].rpartition("\n")[0]
    return text


def _last_line_divides(text: str) -> bool:
    return DIVIDER.fullmatch(text[-80:].rpartition("\n")[2]) is not None


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


def before_other_turn(text: str, original: str) -> str | None:
    """The text before the first line that opens another turn; None where no line does.

    `Human:` and `Assistant:` always do (they would break a transcript); `User:` and `H:` do
    unless the original has such a line too, or `H:` stands in a list of letters or a measure.
    At the very start, `Assistant:` is a label, and `H:` may be anything.
    """
    if ":" not in text:
        return None
    own: set[str] | None = None
    for mark in _TURN.finditer(text):
        name, at_start = mark[1], not mark.start()
        if own is None:
            own = {line[1] for line in _TURN.finditer(original)} & {"User", "H"}
        if (
            name in own
            or (at_start and name in ("Assistant", "H"))
            or (name == "H" and not _speaks(text, mark))
        ):
            continue
        return text[: mark.start()].rstrip()
    return None


def _speaks(text: str, mark: re.Match[str]) -> bool:
    """Whether `H:` opens a turn and is no item among `G:` and `I:`, no height in figures."""
    before = text[max(0, mark.start() - 200) : mark.start()].rstrip().rpartition("\n")[2]
    said = text[mark.end() : mark.end() + 20].lstrip(" \t")
    return not _LETTERED.match(before) and not said[:1].isdigit()


# --- postscripts ----------------------------------------------------------------------------------


def without_postscript(text: str, original: str) -> str:
    """The text before a last part, in paragraphs of its own, that explains the rewrite.

    From the first such paragraph on, all must be of the kind: explanations, list items, offers.
    """
    offset = max(0, len(text) - _TAIL_CHARS)
    tail = plain(text[offset:])
    starts = [gap.end() for gap in GAP.finditer(tail)]
    starts += [line.end() for line in NOTE_LINE.finditer(tail)]
    cut, end = -1, len(tail)
    for start in sorted(set(starts), reverse=True):
        paragraph, end = tail[start:end].strip(), start
        if _is_postscript(paragraph):
            cut = start
        elif not (LIST_ITEM.match(paragraph) or CLOSES.match(paragraph) or DIVIDER.fullmatch(paragraph)):
            break
    if cut < 0 or _has_postscript(original):
        return text
    kept = text[: offset + cut].rstrip()
    if kept and _last_line_divides(kept):
        kept = kept[: -len(kept[-80:].rpartition("\n")[2])].rstrip()
    return kept or text


def _has_postscript(original: str) -> bool:
    return any(_is_postscript(plain(part).strip()) for part in GAP.split(original[-_TAIL_CHARS:])[1:])


def _is_postscript(paragraph: str) -> bool:
    bare = DIVIDER.sub("", paragraph, count=1) if DIVIDER.match(paragraph) else paragraph
    bare = bare.lstrip("([*_#> \t\n")
    if CHANGES_HEADING.match(bare):
        return True
    note = NOTE.match(bare)
    return EXPLAINS.match(bare[note.end() :] if note else bare) is not None

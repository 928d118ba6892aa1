"""A file of labelled items, line by line; every line is an item or is located with the reason why not.

Three formats, told apart by their columns, line by line:

    corrects, incorrects, prompt          a multiple-choice question (cai/judge_eval/choices.py)
    chosen, rejected [, prompt]           a preference pair, in any form that a source may have
    prompt, response, harmful             one response, labelled true or false

A file is JSON lines or one JSON array, gzip or not. Its first line must be of one of them: else it is
the wrong file. An item's id is a digest of its line's content and of how many equal lines came
before.

What this module does not know: judges, figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.conversation import Irregularity, Turn, parse_transcript
from cai.digest import digest, draw
from cai.errors import SourceError
from cai.judge_eval.choices import UnreadableError, is_choice, read_choice
from cai.judge_eval.item import Item, Unreadable
from cai.source.lines import read_records
from cai.source.pairs import PairShape
from cai.source.rows import Record

SPLITS = ("train", "validation", "test")
_ENDINGS = (".jsonl.gz", ".jsonl", ".json.gz", ".json")
_PAIRS = PairShape()
_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "system": "system"}


@dataclass(frozen=True)
class Reading:
    """A file, read: its items in order, and the lines that are none. `name`: as in `file_name`."""

    path: Path
    name: str
    items: tuple[Item, ...]
    unreadable: tuple[Unreadable, ...]

    def spread(self, limit: int | None, seed: int) -> tuple[Item, ...]:
        """At most `limit` items, drawn by their ids; a smaller number draws from among the same."""
        if limit is None or limit >= len(self.items):
            return self.items
        ranked = sorted(self.items, key=lambda item: draw(seed, "judge-eval", item.id))
        kept = {item.id for item in ranked[:limit]}
        return tuple(item for item in self.items if item.id in kept)


def file_name(path: Path) -> str:
    """The file's name without its ending, with its folder's where the name alone is a split."""
    name = next((path.name.removesuffix(end) for end in _ENDINGS if path.name.endswith(end)), path.name)
    return f"{path.resolve().parent.name}-{name}" if name in SPLITS else name


def read_items(path: Path, category: str | None = None) -> Reading:
    """All items of a file. `category`: the column to take categories from, instead of the usual ones.

    Raises: SourceError for a file that is not there, damaged, of no known format, or without items.
    """
    items: list[Item] = []
    unreadable: list[Unreadable] = []
    seen: Counter[bytes] = Counter()
    first = True
    for record in read_records(path):
        if first:
            _check_format(path, record)
            first = False
        occurrence = seen[record.body]
        seen[record.body] += 1
        try:
            items.append(_item(record, occurrence, category))
        except UnreadableError as why:
            unreadable.append(Unreadable(record.line, str(why)))
    if not items:
        found = f" (line {unreadable[0].line}: {unreadable[0].reason})" if unreadable else ""
        raise SourceError(f"{path} holds no labelled item{found}.", "Check that it is the right file.")
    return Reading(path, file_name(path), tuple(items), tuple(unreadable))


def _check_format(path: Path, record: Record) -> None:
    if record.value is None or _format(record.value) is None:
        has = ", ".join(record.value) if record.value else "no JSON object with columns"
        raise SourceError(
            f"{path}, line {record.line} has {has}; that is no labelled comparison.",
            "A line needs chosen and rejected, or corrects and incorrects, or response and harmful.",
        )


def _format(value: dict[str, Any]) -> str | None:
    if is_choice(value):
        return "choice"
    if "chosen" in value and "rejected" in value:
        return "pair"
    return "rating" if "response" in value and "harmful" in value else None


def _item(record: Record, occurrence: int, category: str | None) -> Item:
    """One line's item. Raises: UnreadableError."""
    value = record.value
    if value is None:
        raise UnreadableError("it is not a JSON object")
    kind = _format(value)
    if kind is None:
        raise UnreadableError(f"it has the columns {', '.join(value) or 'of nothing'}")
    key = digest("cai.labelled-item.v1", [record.body.decode("utf-8", "backslashreplace"), occurrence])
    named = _category(value, category)
    if kind == "choice":
        return _choice(key, record.line, named, value)
    return (_pair if kind == "pair" else _rating)(key, record.line, named, value)


def _category(value: dict[str, Any], column: str | None) -> str:
    """What the line says its category is; empty where it says nothing. Raises: UnreadableError."""
    if column is None:
        named = value.get("category", value.get("subset", ""))
        return named if isinstance(named, str) else ""
    named = value.get(column)
    if isinstance(named, bool) or not isinstance(named, (str, int)):
        raise UnreadableError(f"{column} is no text and no whole number")
    return str(named)


def _choice(key: str, line: int, category: str, value: dict[str, Any]) -> Item:
    choice = read_choice(value)
    options = choice.question.options
    prompt, responses = choice.turns, choice.responses
    if not responses:
        prompt, responses = choice.turns[:-1], (choice.turns[-1].text,)
        category = category or options[choice.right]
    return Item(
        key, line, category, prompt, responses, len(options), choice.right, choice.harmful, choice.question
    )


def _pair(key: str, line: int, category: str, value: dict[str, Any]) -> Item:
    content = _PAIRS.read(value, 0)
    if isinstance(content, Irregularity):
        raise UnreadableError(content.value.replace("_", " "))
    if Irregularity.EQUAL_RESPONSES in content.flags:
        raise UnreadableError("both responses are the same")
    responses = (content.responses["chosen"].text, content.responses["rejected"].text)
    return Item(key, line, category, content.prompt, responses, 2, 0)


def _rating(key: str, line: int, category: str, value: dict[str, Any]) -> Item:
    harmful, response = value["harmful"], value["response"]
    if not isinstance(harmful, bool):
        raise UnreadableError("harmful is neither true nor false")
    if not isinstance(response, str):
        raise UnreadableError("response is not a text")
    turns = _turns(value.get("prompt"))
    return Item(key, line, category, turns, (response,), 0, None, harmful)


def _turns(prompt: Any) -> tuple[Turn, ...]:
    """A prompt: plain text, a transcript, or a list of turns; it ends with the human's. Raises: UnreadableError."""
    if isinstance(prompt, str):
        transcript = parse_transcript(prompt)
        turns: Sequence[Turn] = transcript.turns or (Turn("user", f" {prompt}"),)
        if transcript.turns and transcript.preamble.strip():
            raise UnreadableError("there is text before the prompt's first turn")
    elif isinstance(prompt, list) and all(
        isinstance(turn, dict) and turn.get("role") in _ROLES and isinstance(turn.get("content"), str)
        for turn in prompt
    ):
        turns = [Turn(_ROLES[turn["role"]], f" {turn['content']}") for turn in prompt]  # type: ignore[arg-type]
    else:
        raise UnreadableError("prompt is neither a text nor a list of {role, content}")
    if not turns or turns[-1].role != "user":
        raise UnreadableError("the prompt does not end with the human's turn")
    return tuple(turns)

"""Reads a person's answers back from a CSV file, and keeps them.

The file: a line of column names, `item` and `answer` among them, other columns being ignored;
commas, semicolons or tabs between cells. Answers: 1, 2, equal, both-bad, skip (letters in either
case, white space around them ignored); an empty one is an item not answered. Every mistake is
named with its line, all in one error; nothing is taken from a file with a mistake.

What this module does not know: what an item is, beyond its id.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from cai.errors import ReviewError
from cai.review.key import ANSWERS, Answer, Answers, Key, write_whole

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
SHOWN = 10
"""Mistakes that an error lists at most."""


def read_answers(path: Path, key: Key, reviewer: str) -> Answers:
    """A person's answers to the sheet of this key.

    Raises: ReviewError, naming file and line of every mistake.
    """
    if not _NAME.fullmatch(reviewer):
        raise ReviewError(
            f"A reviewer cannot be named {reviewer!r}: the name becomes part of a file's name.",
            "Use letters, digits, - and _, at most 40.",
        )
    known = {item.item for item in key.items}
    lines: dict[str, int] = {}
    answers: dict[str, Answer] = {}
    mistakes: list[str] = []
    for line, item, said in _cells(path):
        wrong = _wrong_item(item, known, lines, key)
        answer = next((name for name in ANSWERS if name == said.casefold()), None)
        if said and answer is None:
            wrong = wrong or f"the answer {said[:40]!r} to {item} is none of {', '.join(ANSWERS)}"
        if wrong:
            mistakes.append(f"{path}:{line}: {wrong}.")
        lines.setdefault(item, line)
        if answer is not None and not wrong:
            answers[item] = answer
    if mistakes:
        more = f"\n... and {len(mistakes) - SHOWN} more." if len(mistakes) > SHOWN else ""
        raise ReviewError(
            "\n".join(mistakes[:SHOWN]) + more,
            "Nothing was read. Correct these lines and give the file again.",
        )
    ordered = {item.item: answers[item.item] for item in key.items if item.item in answers}
    return Answers(key.sheet, reviewer, ordered, len(known) - len(ordered))


def write_answers(folder: Path, answers: Answers) -> Path:
    """Keep a person's answers as answers-NAME.json, replacing that person's earlier ones."""
    path = folder / f"answers-{answers.reviewer}.json"
    write_whole(path, answers.as_bytes())
    return path


def _wrong_item(item: str, known: set[str], lines: dict[str, int], key: Key) -> str | None:
    if not item:
        return "there is no item"
    if item in lines:
        return f"the item {item} stands in line {lines[item]} already"
    if item in known:
        return None
    sheet = next(iter(known)).partition("-")[0]
    other = re.fullmatch(r"(s[0-9a-f]{8})-[0-9a-f]{8}", item)
    if other and other[1] != sheet:
        return (
            f"the item {item} is of another sheet than {sheet}, which was made of the run {key.run} "
            f"(generation {key.generation[:8]})"
        )
    return f"the item {item[:40]!r} is not on the sheet"


def _cells(path: Path) -> list[tuple[int, str, str]]:
    """Line, item and answer of each record that is not empty."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ReviewError(f"There is no file {path}.", "Give the CSV file with the answers.") from error
    except UnicodeDecodeError as error:
        raise ReviewError(
            f"{path} is not UTF-8 (byte {error.start}).", "Save it as CSV with the encoding UTF-8."
        ) from error
    between = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True)
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    found = []
    try:
        names = [name.strip().casefold() for name in next(reader, [])]
        if names.count("item") != 1 or names.count("answer") != 1:
            raise ReviewError(
                f"{path}:1: the first line must name the columns item and answer, once each.",
                "Give the file that the sheet's page saved, or sheet.csv with the answers filled in.",
            )
        at_item, at_answer = names.index("item"), names.index("answer")
        begin = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                padded = cells + [""] * (len(names) - len(cells))
                found.append((begin, padded[at_item].strip(), padded[at_answer].strip()))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ReviewError(
            f"{path}:{reader.line_num}: this is no CSV ({error}).", "Save it as CSV again."
        ) from error
    return found

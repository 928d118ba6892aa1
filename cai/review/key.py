"""What lies beside a review sheet: the key to its items, and each person's answers.

    key.json            form, sheet, run, generation, tie_threshold, judge, seed; strata; items
    answers-NAME.json   form, sheet, reviewer; answers: item -> answer; blank: items without one

`sheet` is a digest of the generation, the seed, the tie threshold and the rows drawn: two sheets
with the same pairs under the same labels have the same name. An item's id is `s` and the sheet's
first eight digits, then eight digits of a digest of sheet and row, so that a file of answers shows
which sheet it belongs to, and no id shows anything else.

What this module does not know: how items are drawn, what answers mean for the labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from cai.digest import digest
from cai.errors import ReviewError

FORM = "cai.review-key.v1"
ANSWERS_FORM = "cai.review-answers.v1"
KEY_FILE = "key.json"

Cell = Literal["differ", "agree", "undecided"]
"""AI and human label disagree; agree; the AI has no label (a tie or an abstention)."""

Answer = Literal["1", "2", "equal", "both-bad", "skip"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)
"""The first or the second response as shown is better; equally good; both bad; cannot say."""


@dataclass(frozen=True)
class Stratum:
    """Pairs that are drawn from together: `pairs` in the dataset, `items` on the sheet."""

    name: str
    cell: Cell
    pairs: int
    items: int

    @property
    def weight(self) -> float:
        """How many pairs one item stands for."""
        return self.pairs / self.items


@dataclass(frozen=True)
class Item:
    """One pair on the sheet. `human`, `ai`: which response as shown, 1 or 2, that label prefers
    (`ai` None: a tie or an abstention). `first`: the name of the response shown first."""

    item: str
    row_id: str
    subset: str
    split: str
    line: int | None
    first: str
    human: int
    ai: int | None
    ai_probability: float | None
    stratum: str
    weight: float


@dataclass(frozen=True)
class Key:
    """What the items of a sheet are. `ai_probability` of an item: that the human's choice is better."""

    sheet: str
    run: str
    generation: str
    tie_threshold: float
    judge: str
    seed: int
    strata: tuple[Stratum, ...]
    items: tuple[Item, ...]

    def as_bytes(self) -> bytes:
        """The key as it is written."""
        found = {"form": FORM, **asdict(self)}
        return orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True)
class Answers:
    """What one person answered; `answers`: item -> answer, `blank`: items without one."""

    sheet: str
    reviewer: str
    answers: dict[str, Answer]
    blank: int

    def as_bytes(self) -> bytes:
        """The answers as they are written."""
        found = {"form": ANSWERS_FORM, **asdict(self)}
        return orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def sheet_name(generation: str, seed: int, tie_threshold: float, rows: Iterable[str]) -> str:
    """The sheet's name: 32 hexadecimal digits."""
    drawn = {"generation": generation, "seed": seed, "tie_threshold": tie_threshold, "rows": sorted(rows)}
    return digest("cai.review-sheet.v1", drawn)


def item_id(sheet: str, row_id: str) -> str:
    """An item's id. It begins with a letter, so that no spreadsheet takes it for a number."""
    return f"s{sheet[:8]}-{digest('cai.review-item.v1', {'sheet': sheet, 'row': row_id})[:8]}"


def write_whole(path: Path, body: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    new = path.with_name(f".{path.name}-new")
    new.write_bytes(body)
    new.replace(path)


def read_key(folder: Path) -> Key | None:
    """The key of the sheet in a folder; None where there is none. Raises: ReviewError."""
    path = folder / KEY_FILE
    if not path.is_file():
        return None
    found = _read(path, FORM)
    try:
        strata = tuple(Stratum(**item) for item in found.pop("strata"))
        items = tuple(Item(**item) for item in found.pop("items"))
        return Key(strata=strata, items=items, **found)
    except (TypeError, KeyError) as error:
        raise ReviewError(f"{path} is no key of a review sheet.", "Export the sheet again.") from error


def read_reviewers(folder: Path, key: Key) -> list[Answers]:
    """Everybody's answers to this sheet, by name. Raises: ReviewError for those to another sheet."""
    known = {item.item for item in key.items}
    made = []
    for path in sorted(folder.glob("answers-*.json")):
        try:
            answers = Answers(**_read(path, ANSWERS_FORM))
            fit = answers.answers.keys() <= known and set(answers.answers.values()) <= set(ANSWERS)
        except (TypeError, AttributeError) as error:
            raise ReviewError(f"{path} holds no answers.", "Read them back again.") from error
        if answers.sheet != key.sheet or not fit:
            raise ReviewError(
                f"{path} answers another sheet than {folder / KEY_FILE}.",
                "Move it away, or read the answers back again.",
            )
        made.append(answers)
    return made


def _read(path: Path, form: str) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ReviewError(f"{path} is no JSON.", "Make it again with cai review.") from error
    if not isinstance(found, dict) or found.pop("form", None) != form:
        raise ReviewError(f"{path} is not of the form {form}.", "Make it again with cai review.")
    return found

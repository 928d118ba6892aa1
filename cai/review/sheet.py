"""Writes a review sheet: a page to click through, and a file for a spreadsheet.

Both show item ids, prompts and two responses, in the sheet's order, and nothing else: no label, no
probability, no stratum, no row id. `Shown` is all that is known here, so nothing else can leak.

`sheet.html` stands alone: style and script are inside, allowed by their hashes, and the policy
allows nothing else, no network at all. Texts travel as JSON in a data block and are put on the
page as text only. `sheet.csv` is UTF-8 with a byte order mark (spreadsheets need it); a cell that
would be taken for a formula gets an apostrophe. It is never taken off again: answers are matched
by item id alone.

What this module does not know: the key, how pairs are drawn.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

_ASSETS = Path(__file__).with_name("assets")
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_KEPT = {"\n", "\t", "\u200d"}
_UNSEEN = {"Cc", "Cf", "Cs"}
COLUMNS = ("item", "prompt", "response_1", "response_2", "answer")


@dataclass(frozen=True)
class Shown:
    """One item as a person sees it; `prompt`: turns of role and text."""

    item: str
    prompt: tuple[tuple[str, str], ...]
    responses: tuple[str, str]


def visible(text: str) -> str:
    """Text with each control character and each mark of writing direction shown as its number."""
    text = text.replace("\r\n", "\n")
    return "".join(
        f"‹U+{ord(c):04X}›" if c not in _KEPT and unicodedata.category(c) in _UNSEEN else c for c in text
    )


def safe_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    text = visible(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text.startswith("\t") else text


def sheet_csv(items: Sequence[Shown]) -> bytes:
    """The sheet for a spreadsheet: a line an item, the answer left empty."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for item in items:
        prompt = "\n\n".join(f"{role}: {text}" for role, text in item.prompt)
        writer.writerow([item.item, *(safe_cell(text) for text in (prompt, *item.responses)), ""])
    return ("\ufeff" + out.getvalue()).encode("utf-8")


def sheet_html(sheet: str, items: Sequence[Shown]) -> bytes:
    """The page. `sheet`: its name, under which a browser keeps the answers."""
    style, script = ((_ASSETS / name).read_text("utf-8") for name in ("sheet.css", "sheet.js"))
    shown = [
        {
            "item": item.item,
            "prompt": [[role, visible(text)] for role, text in item.prompt],
            "responses": [visible(text) for text in item.responses],
        }
        for item in items
    ]
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    page = (_ASSETS / "sheet.html").read_text("utf-8")
    parts = {
        "policy": policy,
        "style": style,
        "script": script,
        "data": _data({"sheet": sheet, "items": shown}),
    }
    pieces = page.split("{{")
    made = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        made += [parts[name], rest]
    return "".join(made).encode("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"


def _data(value: object) -> str:
    """JSON that cannot end its element or open a comment."""
    text = orjson.dumps(value).decode("utf-8")
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

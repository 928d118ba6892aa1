"""Looks through what a model wrote for secrets, e-mail addresses and phone numbers.

Searched are a dataset's traces: critiques, revisions, samples, reasonings and what a judge said; all
other configs are made of these. What stands in the source row's own text is the source's affair and
does not count; what a model adds may be made up, remembered from training, or a person's.

Not counted: addresses under the domains that are reserved for examples (RFC 2606), toll-free numbers
(help lines, which careful models name), numbers reserved for fiction (555-0100 to 555-0199). Numbers
without a country's prefix are read as in the United States. Shapes of secrets stand in secrets.yaml:
issuers' own beginnings, since what merely looks random is common in text and rarely a key.

Texts are sieved as Arrow columns; Python sees only those that hold a candidate.

What this module does not know: what follows from a find (gate.py), the store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cai.errors import InputError
from cai.yaml_file import read_yaml

Kind = Literal["secret", "e-mail address", "phone number"]

ROWS_NAMED = 10
WRITTEN = (
    ("revisions", "rounds", "critique"),
    ("revisions", "rounds", "raw"),
    ("revisions", "rounds", "text"),
    ("samples", "text"),
    ("feedback", "judgements", "said"),
    ("feedback", "judgements", "reasoning"),
    ("harm", "said"),
    ("thoughts", "text"),
)
"""The columns of traces that hold what a model wrote."""
OWN = ["prompt", "responses", "fields"]

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}"
)
_RESERVED = re.compile(
    r"@(?:.*\.)?(?:example\.(?:com|org|net)|example|invalid|test|localhost)$", re.IGNORECASE
)
_FICTION = re.compile(r"[0-9]{3}55501[0-9]{2}")
_REGION = "US"
_SIEVE = r"[0-9A-Za-z]@[0-9A-Za-z]|(?:[0-9][ \t().\x{2010}-\x{2015}\x{a0}/-]{0,3}){7}"


@dataclass(frozen=True)
class Found:
    """One kind of find. `what`: the shape of a secret, else the kind again; `times`: finds that the
    source row does not hold; `rows`: how many rows have one; `row_ids`: the first of them;
    `like`: one of them, masked."""

    kind: Kind
    what: str
    times: int
    rows: int
    row_ids: tuple[str, ...]
    like: str


@dataclass(frozen=True)
class ScanReport:
    """What was found; `rows`, `texts`: how many were looked through."""

    rows: int
    texts: int
    found: tuple[Found, ...]

    def of(self, kind: Kind) -> tuple[Found, ...]:
        """The finds of one kind, the most frequent first."""
        return tuple(item for item in self.found if item.kind == kind)


@dataclass(frozen=True)
class _Shape:
    name: str
    has: str
    pattern: re.Pattern[str]


@cache
def _shapes() -> tuple[_Shape, ...]:
    path = Path(__file__).with_name("secrets.yaml")
    entries = read_yaml(path, InputError).data
    before = r"(?<![A-Za-z0-9_])"
    return tuple(_Shape(item["name"], item["has"], re.compile(before + item["pattern"])) for item in entries)


@cache
def _sieve() -> str:
    """One expression that every text with a find matches, in RE2's syntax."""
    return "|".join([*(re.escape(shape.has) for shape in _shapes()), _SIEVE])


def secrets_in(text: str) -> Iterator[tuple[str, str]]:
    """The shape and text of each secret."""
    for shape in _shapes():
        if shape.has in text:
            for match in shape.pattern.finditer(text):
                if "example" not in match.group().lower():  # as issuers' own documents write them
                    yield shape.name, match.group()


def emails_in(text: str) -> Iterator[str]:
    """Each e-mail address that could be somebody's."""
    if "@" in text:
        for match in _EMAIL.finditer(text):
            if not _RESERVED.search(match.group()):
                yield match.group()


def phones_in(text: str) -> Iterator[str]:
    """Each valid phone number that could be somebody's, as it is written."""
    import phonenumbers

    for match in phonenumbers.PhoneNumberMatcher(text, _REGION):
        if text[max(0, match.start - 1) : match.start] == ".":
            continue  # the decimals of a number
        number = match.number
        fiction = number.country_code == 1 and _FICTION.fullmatch(str(number.national_number))
        if not fiction and phonenumbers.number_type(number) != phonenumbers.PhoneNumberType.TOLL_FREE:
            yield match.raw_string


def scan(dataset_folder: Path) -> ScanReport:
    """Look through a dataset. Raises: OSError."""
    rows = texts = 0
    finds: dict[tuple[Kind, str], _Count] = {}
    for path in sorted((dataset_folder / "traces").glob("*.parquet")):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            count, candidates = _candidates(file, group)
            rows += file.metadata.row_group(group).num_rows
            texts += count
            for row_id, own, written in _with_own(file, group, candidates):
                for kind, what, text in _found_in(written):
                    if not _holds(own, kind, text):
                        finds.setdefault((kind, what), _Count()).add(row_id, _masked(kind, text))
    found = [
        Found(kind, what, count.times, count.rows, tuple(count.row_ids), count.like)
        for (kind, what), count in finds.items()
    ]
    return ScanReport(rows, texts, tuple(sorted(found, key=lambda item: (-item.times, item.what))))


class _Count:
    """Finds of one kind; those of a row come one after the other, so that only a few ids are held."""

    def __init__(self) -> None:
        self.times = self.rows = 0
        self.row_ids: list[str] = []
        self.like = ""
        self._last = ""

    def add(self, row_id: str, like: str) -> None:
        self.times += 1
        self.like = self.like or like
        if row_id != self._last:
            self.rows, self._last = self.rows + 1, row_id
            if len(self.row_ids) < ROWS_NAMED:
                self.row_ids.append(row_id)


def _candidates(file: Any, group: int) -> tuple[int, dict[int, list[str]]]:
    """How many texts a row group has, and those that pass the sieve, by row."""
    there = {path for path in WRITTEN if path[0] in file.schema_arrow.names}
    table = file.read_row_group(group, columns=_columns(file, there))
    texts = 0
    found: dict[int, list[str]] = {}
    for path in sorted(there):
        for rows, values in _flat(table[path[0]], path[1:]):
            texts += int(pc.sum(pc.greater(pc.binary_length(values), 0)).as_py() or 0)
            passed = pc.fill_null(pc.match_substring_regex(values, _sieve()), False).to_numpy(False)
            for row, text in zip(rows[passed], values.filter(pa.array(passed)).to_pylist(), strict=True):
                found.setdefault(int(row), []).append(text)
    return texts, found


def _columns(file: Any, paths: Iterable[tuple[str, ...]]) -> list[str]:
    """The leaves of these paths, as Parquet names them."""
    names = [file.schema.column(number).path for number in range(len(file.schema))]
    plain = {
        name: tuple(part for part in name.split(".") if part not in ("list", "element")) for name in names
    }
    return [name for name, path in plain.items() if path in paths]


def _flat(column: Any, path: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
    """A nested column's texts, with the row that each belongs to."""
    start = 0
    for chunk in column.chunks:
        rows, values = np.arange(start, start + len(chunk)), chunk
        start += len(chunk)
        for name in path:
            rows = rows[pc.list_parent_indices(values).to_numpy(False)]
            values = pc.struct_field(pc.list_flatten(values), name)
        yield rows, values


def _with_own(
    file: Any, group: int, candidates: dict[int, list[str]]
) -> Iterator[tuple[str, str, list[str]]]:
    """Rows that have candidates: their ids, their own text, what was written."""
    if not candidates:
        return
    numbers = sorted(candidates)
    table = file.read_row_group(group, columns=["row_id", *OWN]).take(pa.array(numbers))
    for number, row in zip(numbers, table.to_pylist(), strict=True):
        own = [turn["content"] for turn in row["prompt"]] + [item["text"] for item in row["responses"]]
        yield row["row_id"], "\n".join([*own, row["fields"] or ""]), candidates[number]


def _found_in(texts: Iterable[str]) -> Iterator[tuple[Kind, str, str]]:
    """Each find, once for each way it is written; revisions repeat each other."""
    seen: set[str] = set()
    for text in dict.fromkeys(texts):
        for kind, what, found in _all_in(text):
            key = _key(kind, found)
            if key not in seen:
                seen.add(key)
                yield kind, what, found


def _all_in(text: str) -> Iterator[tuple[Kind, str, str]]:
    for name, found in secrets_in(text):
        yield "secret", name, found
    for found in emails_in(text):
        yield "e-mail address", "e-mail address", found
    for found in phones_in(text):
        yield "phone number", "phone number", found


def _key(kind: Kind, text: str) -> str:
    """A find without what may differ in how it is written."""
    return re.sub(r"\D", "", text) if kind == "phone number" else text.casefold()


def _holds(own: str, kind: Kind, text: str) -> bool:
    """Whether the source row has it already; of numbers the digits count, with or without a prefix."""
    if kind != "phone number":
        return _key(kind, text) in own.casefold()
    return _key(kind, text)[-10:] in re.sub(r"\D", "", own)


def _masked(kind: Kind, text: str) -> str:
    """Enough to know it again beside the row, and no more."""
    if kind == "e-mail address":
        name, _, domain = text.partition("@")
        return f"{name[0]}…@{domain[0]}….{domain.rsplit('.', 1)[-1]}"
    if kind == "phone number":
        return f"{text[:2]}… ({len(_key(kind, text))} digits)"
    return f"{text[:4]}… ({len(text)} characters)"

"""Rows as the page's script takes them: short, bounded, every number that it shows already there.

A judgement is [principle, order, probability, why it abstained, sample], and where there are words of
it, what it said and what it reasoned. A text is a string, or where it is too long a list of its beginning and how many characters are left
out. `data` of the page: {rows, principles, judges, lists, texts, command}; numbers in a row's
`against`, `revised`, `judgements` and `harm` point into `principles` and `judges`.

What this module does not know: files, markup, statistics.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cai.dataset import label

TEXT_CHARACTERS = 6_000
"""Longer texts are cut, and say so."""
TIGHT_CHARACTERS = 1_000
"""The same in a row that takes more than ROW_BYTES otherwise."""
REASONINGS = 4
"""Of what was said and reasoned in a judgement so many times less is shown: a row has many."""
ROW_BYTES = 40_000
ROWS_BYTES = 2_300_000
"""All rows together; the rest of the page takes a few hundred kilobytes at most."""

Record = dict[str, Any]
_STATES = {"first": "agrees", "second": "differs", "tie": "tie", None: "abstained"}


class Names:
    """Numbers for names, in the order in which they are first seen."""

    def __init__(self, known: Sequence[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(dict.fromkeys(known))}

    def __getitem__(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def all(self) -> list[str]:
        """The names, by number."""
        return list(self._numbers)


def records(
    rows: Mapping[str, Mapping[str, Any]],
    order: Sequence[str],
    urgency: Sequence[str],
    lists: Mapping[str, Sequence[str]],
    names: tuple[Names, Names],
    tie_threshold: float,
) -> list[Record]:
    """The records of the rows that fit into ROWS_BYTES, in this order; the least urgent go first.

    `names`: of principles and of judges, the first judge first.
    """
    kept: dict[str, Record] = {}
    room = ROWS_BYTES
    for row in urgency:
        made = _fitting(rows[row], names, tie_threshold)
        made["lists"] = list(lists[row])
        room -= len(embedded(made)) + 1
        if room < 0:
            break
        kept[row] = made
    return [kept[row] for row in order if row in kept]


def embedded(value: Any) -> bytes:
    """JSON that can stand in a script element: nothing in it ends that element."""
    return orjson.dumps(value).replace(b"<", b"\\u003c").replace(b">", b"\\u003e")


def _fitting(row: Mapping[str, Any], names: tuple[Names, Names], tie_threshold: float) -> Record:
    made = _record(row, names, tie_threshold, TEXT_CHARACTERS)
    if len(embedded(made)) > ROW_BYTES:
        made = _record(row, names, tie_threshold, TIGHT_CHARACTERS)
    return made


def _record(row: Mapping[str, Any], names: tuple[Names, Names], tie_threshold: float, longest: int) -> Record:
    principles, judges = names
    feedback = row["feedback"] or []
    first = judges.all()[0] if judges.all() else None
    human = next((item for item in feedback if item["kind"] == "human" and item["judge"] == first), None)
    texts = [*(row["responses"] or []), *(row["samples"] or [])]
    said = {item["name"]: item["text"] for item in texts}
    made: Record = {name: row[name] for name in ("source", "subset", "split", "line")}
    made |= {"id": row["row_id"], "flags": row["flags"] or [], "label": "unpaired"}
    made |= {"ai": None, "human": None, "for_ai": 0, "of": 0, "orders": None, "against": []}
    if human is not None:
        made |= _stand(human, principles, tie_threshold)
    made["prompt"] = [[turn["role"], _text(turn["content"], longest)] for turn in row["prompt"] or []]
    made["responses"] = [[item["name"], _text(item["text"], longest)] for item in texts]
    made["feedback"] = [_pair(item, principles, longest // REASONINGS) for item in feedback]
    made["revisions"] = [_revision(item, said, longest) for item in row["revisions"] or []]
    made["revised"] = sorted(
        {principles[turn["principle"]] for item in row["revisions"] or [] for turn in item["rounds"] or []}
    )
    made["harm"] = [
        [item["response"], judges[item["judge"]], _rounded(item["probability"])] for item in row["harm"] or []
    ]
    return made


def _stand(human: Mapping[str, Any], principles: Names, tie_threshold: float) -> Record:
    """How the first judge stands to the human label, whole and principle by principle."""
    opinions: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for item in human["judgements"] or []:
        if item["probability"] is not None:
            opinions[item["principle"]][item["order"]].append(item["probability"])
    sides = {}
    for principle, orders in opinions.items():
        if len(orders) == 2:
            mean = sum(sum(values) / len(values) for values in orders.values()) / 2
            sides[principle] = label(mean, tie_threshold)
    p = human["probability"]
    choice = label(p, tie_threshold)
    return {
        "label": _STATES[choice],
        "ai": None if p is None else _rounded(max(p, 1 - p)),
        "human": _rounded(p),
        "for_ai": sum(side == choice for side in sides.values()) if choice in ("first", "second") else 0,
        "of": len(sides) if choice in ("first", "second") else 0,
        "orders": _rounded(human["order_consistency"]),
        "against": sorted(principles[name] for name, side in sides.items() if side == "second"),
    }


def _pair(item: Mapping[str, Any], principles: Names, longest: int) -> Record:
    return {
        **{name: item[name] for name in ("kind", "judge", "first", "second")},
        "p": _rounded(item["probability"]),
        "mass": _rounded(item["option_mass"]),
        "judgements": [
            [
                principles[one["principle"]],
                int(one["order"] == "first_is_b"),
                _rounded(one["probability"]),
                one["abstained"] or "",
                one["sample"] or 0,
                *([_text(one["said"], longest), _text(one["reasoning"], longest)] if _spoke(one) else []),
            ]
            for one in item["judgements"] or []
        ],
    }


def _spoke(judgement: Mapping[str, Any]) -> bool:
    """Whether there are words of a judgement: what it said instead of an option, or reasoned before it."""
    return bool(judgement["said"] or judgement["reasoning"])


def _revision(item: Mapping[str, Any], said: Mapping[str, str], longest: int) -> Record:
    made: Record = {"of": item["of"], "rounds": []}
    if said.get(item["of"]) != item["original"]:
        made["original"] = _text(item["original"], longest)
    before = item["original"]
    for turn in item["rounds"] or []:
        same = turn["text"] == before
        made["rounds"].append(
            {
                **{name: turn[name] for name in ("number", "principle", "usable")},
                "flags": turn["flags"] or [],
                "critique": _text(turn["critique"], longest),
                "text": "" if same else _text(turn["text"], longest),
                "same": same,
            }
        )
        if turn["usable"]:
            before = turn["text"]
    return made


def _text(text: str | None, longest: int) -> str | list[str | int]:
    text = text or ""
    return text if len(text) <= longest else [text[:longest], len(text) - longest]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

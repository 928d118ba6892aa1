"""Takes rows out of the configs to train on, once all rows are written: leaked ones, and those beyond a ratio.

    leaked       rows of a training split whose prompt another split has (leakage.py), where the recipe drops them
    over_ratio   rows of subsets that the recipe's `dataset.mix` names, beyond that ratio

The ratio is that of rows in the same config and split: K = ratio x rows of all other subsets, rounded,
or all there are if fewer. Which K: those of the smallest draw of (seed, row id), so that a row that
stays at one ratio stays at every larger one. `preferences`, `preferences-human` and `unpaired` keep
the same source rows. Only files that lose rows are written again.

What this module does not know: what leaks, how a row is made.
"""

from __future__ import annotations

import fnmatch
from array import array
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from cai.dataset.column import Column
from cai.dataset.leakage import is_train
from cai.dataset.schema import TRAINED_ON, columns
from cai.dataset.writer import ConfigWriter
from cai.digest import draw

Reason = Literal["leaked", "over_ratio"]
PAIRED = ("preferences-human", "unpaired")
"""Configs whose rows are those of `preferences`."""


@dataclass
class Withheld:
    """`configs`: rows that stay, config -> split -> rows; `rows`: config -> split -> reason -> rows taken
    out; `mixed`: config -> split -> pattern -> rows that stay of the subsets that it names."""

    configs: dict[str, dict[str, int]]
    rows: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    mixed: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)


def pattern_of(subset: str, mix: Mapping[str, float]) -> str | None:
    """The first pattern that names a subset."""
    return next((pattern for pattern in mix if fnmatch.fnmatchcase(subset, pattern)), None)


def withhold(
    folder: Path, settings: Mapping[str, Any], configs: dict[str, dict[str, int]], leaked: Set[str]
) -> Withheld:
    """Take rows out of the configs in `folder`.

    `settings`: the dataset's, with `seed` and `mix`; `configs`: config -> split -> rows, as written;
    `leaked`: ids of rows of training splits to take out.
    """
    made = Withheld({config: dict(splits) for config, splits in configs.items()})
    rules = _Rules(settings["seed"], settings["mix"])
    if not leaked and not rules.mix:
        return made
    preferences: dict[str, dict[str, int]] = {}
    for config in TRAINED_ON:
        for split in configs.get(config, {}):
            gone = leaked if is_train(split) else frozenset()
            if config in PAIRED:
                limit = preferences[split]
            else:
                limit = rules.limits(_rows(folder / config, split), gone)
            if config == "preferences":
                preferences[split] = limit
            found = _split(folder / config, columns(config, settings), split, rules.judge(gone, limit))
            _enter(made, config, split, found)
    return made


def _enter(made: Withheld, config: str, split: str, found: _Found) -> None:
    out: dict[str, int] = dict(sorted(found.out.items()))
    if out:
        made.rows.setdefault(config, {})[split] = out
        made.configs[config][split] -= sum(out.values())
        if not made.configs[config][split]:
            del made.configs[config][split]
    if not made.configs[config]:
        del made.configs[config]
    if found.mixed:
        made.mixed.setdefault(config, {})[split] = dict(sorted(found.mixed.items()))


@dataclass(frozen=True)
class _Rules:
    """How the recipe mixes."""

    seed: int
    mix: Mapping[str, float]

    def limits(self, rows: Iterator[tuple[str, str]], gone: Set[str]) -> dict[str, int]:
        """The largest draw that stays, by pattern; -1: none stays."""
        if not self.mix:
            return {}
        draws = {pattern: array("Q") for pattern in self.mix}
        others = 0
        for row_id, subset in rows:
            if row_id in gone:
                continue
            pattern = pattern_of(subset, self.mix)
            if pattern is None:
                others += 1
            else:
                draws[pattern].append(draw(self.seed, "mix", row_id))
        return {pattern: _limit(found, self.mix[pattern] * others) for pattern, found in draws.items()}

    def judge(self, gone: Set[str], limits: Mapping[str, int]) -> Callable[[str, str], _Verdict]:
        """Whether a row stays, from its id and subset."""

        def verdict(row_id: str, subset: str) -> _Verdict:
            pattern = pattern_of(subset, self.mix)
            if row_id in gone:
                return "leaked", pattern
            if pattern is not None and draw(self.seed, "mix", row_id) > limits[pattern]:
                return "over_ratio", pattern
            return None, pattern

        return verdict


_Verdict = tuple[Reason | None, str | None]


def _limit(draws: array[int], wanted: float) -> int:
    count = int(wanted + 0.5)
    return -1 if count == 0 or not draws else sorted(draws)[min(count, len(draws)) - 1]


@dataclass
class _Found:
    out: dict[Reason, int] = field(default_factory=dict)
    mixed: dict[str, int] = field(default_factory=dict)


def _rows(folder: Path, split: str) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob(f"{split}-*.parquet")):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=["row_id", "subset"])
            yield from zip(table["row_id"].to_pylist(), table["subset"].to_pylist(), strict=True)


def _split(
    folder: Path, own: tuple[Column, ...], split: str, judge: Callable[[str, str], _Verdict]
) -> _Found:
    """Judge the rows of a split, and write its files again where some go."""
    found = _Found()
    keep: list[bool] = []
    for row_id, subset in _rows(folder, split):
        reason, pattern = judge(row_id, subset)
        keep.append(reason is None)
        if reason is not None:
            found.out[reason] = found.out.get(reason, 0) + 1
        elif pattern is not None:
            found.mixed[pattern] = found.mixed.get(pattern, 0) + 1
    if not all(keep):
        _write_again(folder, own, split, keep)
    return found


def _write_again(folder: Path, own: tuple[Column, ...], split: str, keep: list[bool]) -> None:
    old = [path.rename(path.with_name(f".{path.name}")) for path in sorted(folder.glob(f"{split}-*.parquet"))]
    done = 0
    with ConfigWriter(folder, own) as writer:
        for path in old:
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                kept = table.filter(pa.array(keep[done : done + table.num_rows]))
                done += table.num_rows
                if kept.num_rows:
                    writer.add_table(split, kept)
    for path in old:
        path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()

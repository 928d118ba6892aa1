"""What a push would change: rows by config, labels turned round, files, the card.

Rows are matched by their id (and, where a row has several, by what was revised). A row has changed
where any of its columns has; its label is turned round where `chosen` and `rejected` changed places,
or where a lone completion changed from good to bad. Files that are the same byte by byte are not read.

What this module does not know: how anything is pushed, the terminal.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from cai.publish.file import CARD, MANIFEST, PublishedFile
from cai.publish.hub import Hub
from cai.publish.push import Page

_BATCH_ROWS = 500
_KEYS = ("row_id", "of", "chosen_sample", "rejected_sample")

Rows = dict[tuple[str, ...], list[tuple[bytes, tuple[bytes, bytes] | None]]]
"""Key -> rows: each a digest of the whole, and what its label says: better and worse, digested."""


@dataclass(frozen=True)
class ConfigDifference:
    """One config: rows there and now, and what became of them. `turned` are among the `changed`."""

    config: str
    before: int
    now: int
    added: int
    removed: int
    changed: int
    turned: int

    @property
    def same(self) -> bool:
        """Whether no row differs."""
        return not (self.added or self.removed or self.changed)


@dataclass(frozen=True)
class Difference:
    """What a push would change; `version` is that of the page, None where nothing of cai's is there."""

    version: int | None
    configs: tuple[ConfigDifference, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    in_the_way: tuple[str, ...]
    card: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether the page is as it would be."""
        return not (self.added or self.changed or self.removed)

    def as_json(self) -> dict[str, Any]:
        """As it is printed by --json."""
        return asdict(self)


def difference(hub: Hub, page: Page, files: Sequence[PublishedFile], in_the_way: Sequence[str]) -> Difference:
    """What pushing `files` would change. `files`: as made under the page's own changelog. Raises: HubError."""
    now = {file.path: file for file in files}
    changed = [path for path, file in now.items() if path in page.files and not page.files[path].holds(file)]
    return Difference(
        version=page.manifest.version if page.manifest else None,
        configs=tuple(_configs(hub, page, now)),
        added=tuple(sorted(path for path in now if path not in page.files)),
        changed=tuple(sorted(path for path in changed if path != MANIFEST)),
        removed=tuple(page.left_over(files)),
        in_the_way=tuple(in_the_way),
        card=tuple(_card(hub, page, now.get(CARD))),
    )


def _configs(hub: Hub, page: Page, now: dict[str, PublishedFile]) -> Iterator[ConfigDifference]:
    """The configs, those there first, then the new ones."""
    known = list(page.manifest.configs) if page.manifest else []
    names = [path.partition("/")[0] for path in now if _is_data(path)]
    for config in dict.fromkeys([*known, *names]):
        there = [path for path in page.files if _is_data(path) and path.startswith(f"{config}/")]
        ours = [path for path in now if _is_data(path) and path.startswith(f"{config}/")]
        same = {path for path in there if path in now and page.files[path].holds(now[path])}
        if same == set(there) == set(ours):
            rows = sum((page.manifest.configs.get(config, {}) if page.manifest else {}).values())
            yield ConfigDifference(config, rows, rows, 0, 0, 0, 0)
            continue
        before = read_rows(hub.fetch(path, page.head or "") for path in sorted(there))
        yield compare_rows(config, before, read_rows(_local(now[path]) for path in sorted(ours)))


def _is_data(path: str) -> bool:
    return path.endswith(".parquet") and path.count("/") == 1


def _local(file: PublishedFile) -> Path:
    assert isinstance(file.content, Path)
    return file.content


def read_rows(paths: Iterable[Path]) -> Rows:
    """The rows of Parquet files, by key. Raises: OSError."""
    import pyarrow.parquet as pq

    found: Rows = defaultdict(list)
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist():
                    found[_key(row)].append((_digest(row), _label(row)))
    return found


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    names = [str(row[name]) for name in _KEYS[2:] if name in row]
    return (*(str(row[name]) for name in _KEYS[:2] if name in row), *sorted(names))


def _label(row: dict[str, Any]) -> tuple[bytes, bytes] | None:
    if "chosen" in row and "rejected" in row:
        return _digest(row["chosen"]), _digest(row["rejected"])
    if "completion" in row and "label" in row:
        said = _digest(row["completion"])
        return (said, b"") if row["label"] else (b"", said)
    return None


def _digest(value: Any) -> bytes:
    return blake2b(orjson.dumps(value), digest_size=12).digest()


def compare_rows(config: str, before: Rows, now: Rows) -> ConfigDifference:
    """What became of a config's rows."""
    added = sum(len(rows) for key, rows in now.items() if key not in before)
    removed = sum(len(rows) for key, rows in before.items() if key not in now)
    changed = turned = 0
    for key in before.keys() & now.keys():
        was, rows = before[key], now[key]
        added += max(len(rows) - len(was), 0)
        removed += max(len(was) - len(rows), 0)
        known = {digest for digest, _ in was}
        labels = {label for _, label in was}
        differing = [label for digest, label in rows if digest not in known][: min(len(was), len(rows))]
        changed += len(differing)
        turned += sum(label is not None and label[::-1] in labels for label in differing)
    sizes = [sum(len(rows) for rows in side.values()) for side in (before, now)]
    return ConfigDifference(config, sizes[0], sizes[1], added, removed, changed, turned)


def _card(hub: Hub, page: Page, card: PublishedFile | None) -> list[str]:
    """The card there and the card now, as a unified diff."""
    if card is None or (CARD in page.files and page.files[CARD].holds(card)):
        return []
    before = ""
    if CARD in page.files:
        before = hub.fetch(CARD, page.head or "").read_text("utf-8", errors="replace")
    after = card.read().decode("utf-8", errors="replace")
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{CARD} (on the page)", f"{CARD} (now)", lineterm=""
    )
    return list(lines)

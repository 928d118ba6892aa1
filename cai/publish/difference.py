"""What a push would change: rows by config, labels turned round, files, the card.

Rows are matched by their id (and, where a row has several, by what was revised). A row has changed
where any of its columns has, or its split; its label is turned round where `chosen` and `rejected` changed places,
or where a lone completion changed from good to bad. Files that are the same byte by byte are not read.
Where no row has changed, the order of the rows may have, or the files alone (others of the same rows).

What this module does not know: how anything is pushed, the terminal.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import orjson

from cai.publish.file import CARD, MANIFEST, PublishedFile
from cai.publish.hub import Hub
from cai.publish.push import Page

_BATCH_ROWS = 500
_KEYS = ("row_id", "of", "chosen_sample", "rejected_sample")

Label = tuple[bytes, bytes]
"""What a row's label says: better and worse, digested."""


@dataclass
class Rows:
    """The rows of a config: by key, each a digest of the whole and its label; `order`: a digest of all in order."""

    by_key: dict[tuple[str, ...], list[tuple[bytes, Label | None]]] = field(default_factory=dict)
    order: bytes = b""

    def __len__(self) -> int:
        return sum(map(len, self.by_key.values()))


@dataclass(frozen=True)
class ConfigDifference:
    """One config: rows there and now, and what became of them. `turned` are among the `changed`.

    `differs`: nothing, rows, the order of the same rows, or files alone that hold the same rows in order.
    """

    config: str
    before: int
    now: int
    added: int
    removed: int
    changed: int
    turned: int
    differs: Literal["nothing", "rows", "order", "files"]


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
            yield ConfigDifference(config, rows, rows, 0, 0, 0, 0, "nothing")
            continue
        before = read_rows(hub.fetch(path, page.head or "") for path in sorted(there))
        yield compare_rows(config, before, read_rows(_local(now[path]) for path in sorted(ours)))


def _is_data(path: str) -> bool:
    return path.endswith(".parquet") and path.count("/") == 1


def _local(file: PublishedFile) -> Path:
    assert isinstance(file.content, Path)
    return file.content


def read_rows(paths: Iterable[Path]) -> Rows:
    """The rows of Parquet files; a file's name begins with its split. Raises: OSError."""
    import pyarrow.parquet as pq

    found, order = Rows(), blake2b()
    for path in paths:
        split = path.name.partition("-")[0]
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist():
                    said = _digest([split, row])
                    order.update(said)
                    found.by_key.setdefault(_key(row), []).append((said, _label(row)))
    found.order = order.digest()
    return found


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    names = [str(row[name]) for name in _KEYS[2:] if name in row]
    return (*(str(row[name]) for name in _KEYS[:2] if name in row), *sorted(names))


def _label(row: dict[str, Any]) -> Label | None:
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
    added = sum(len(rows) for key, rows in now.by_key.items() if key not in before.by_key)
    removed = sum(len(rows) for key, rows in before.by_key.items() if key not in now.by_key)
    changed = turned = 0
    for key in before.by_key.keys() & now.by_key.keys():
        was, rows = before.by_key[key], now.by_key[key]
        added += max(len(rows) - len(was), 0)
        removed += max(len(was) - len(rows), 0)
        known = Counter(digest for digest, _ in was)
        labels = {label for _, label in was}
        differing = []
        for digest, label in rows:
            if known[digest]:
                known[digest] -= 1
            else:
                differing.append(label)
        same = len(rows) - len(differing)
        differing = differing[: min(len(was), len(rows)) - same]
        changed += len(differing)
        turned += sum(label is not None and label[::-1] in labels for label in differing)
    differs: Literal["rows", "order", "files"] = "files" if before.order == now.order else "order"
    if added or removed or changed:
        differs = "rows"
    return ConfigDifference(config, len(before), len(now), added, removed, changed, turned, differs)


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

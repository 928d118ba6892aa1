"""Makes a published dataset again from the rows and answers that were published with it.

No model is asked: the dataset is built from `run/rows` and `run/store` under the published recipe, by
the code that `cai dataset` runs, and each file is held to the SHA-256 that `cai.json` lists. Equal
versions of cai, pyarrow and datasketch (which finds what leaks) give equal bytes. Where the bytes differ, the contents are compared row
by row, and the first difference is named.

What this module does not know: how files are fetched and checked (fetch.py), the terminal.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any

import orjson

from cai import __version__
from cai.dataset import DatasetSummary, build_dataset
from cai.errors import PublishError
from cai.publish.fetch import Published, published_recipe, sha256_of, versions_differ
from cai.publish.file import CARD, MANIFEST
from cai.publish.manifest import code_digest
from cai.recipe import SourceSection
from cai.source import open_sources
from cai.store import Store

NOT_OF_THE_DATASET = (CARD, MANIFEST, "comparison.json", "report.html", "report.md")
FOLDERS_BESIDE = ("run", "review")
BATCH_ROWS = 1000
FEATURES = b"huggingface"
"""Under this key a file's schema holds its features for `datasets` (cai/dataset/column.py)."""


@dataclass(frozen=True)
class RebuiltFile:
    """One file. `same_bytes`: the digest is the published one; `differs`: the first difference of its
    content, empty where there is none."""

    path: str
    same_bytes: bool
    differs: str = ""


@dataclass(frozen=True)
class Rebuilt:
    """What was made again. `versions`: programs whose version is not the publisher's; `rows`: of the
    sources, of which `finished` and `excluded`."""

    files: tuple[RebuiltFile, ...]
    versions: tuple[str, ...]
    rows: int
    finished: int
    excluded: int
    folder: Path = field(compare=False)

    @property
    def identical(self) -> bool:
        """Whether every file has the published bytes."""
        return all(file.same_bytes for file in self.files)

    @property
    def same_content(self) -> bool:
        """Whether every file holds the same, in other bytes maybe."""
        return not any(file.differs for file in self.files)


def rebuild(published: Published, folder: Path) -> Rebuilt:
    """Build the dataset again in `folder` (`folder/dataset`), and compare it with what was published.

    Raises: PublishError where it was published without its store; SourceError for rows that are not
    as they were; StoreError, RecipeError, OSError.
    """
    if not published.has_store:
        raise PublishError(
            f"{published.name} was published without its rows and answers, so its Parquet cannot be made again; "
            "its files are as cai.json lists them, and each label can be followed in the config `traces`.",
            "Ask its publisher for `cai publish --with-store`.",
        )
    summary = _build(published, folder)
    made = {
        path.relative_to(folder / "dataset").as_posix(): path
        for path in sorted((folder / "dataset").rglob("*"))
        if path.is_file() and path.name != CARD
    }
    listed = [path for path in published.manifest.files if is_of_the_dataset(path)]
    files = _compare(listed, made, published)
    versions = versions_differ(published.manifest, versions_here())
    return Rebuilt(
        tuple(files),
        tuple(versions),
        summary.rows,
        summary.finished,
        summary.excluded.total(),
        folder,
    )


def versions_here() -> dict[str, str]:
    """The versions that decide a file's bytes."""
    others = {name: version(name) for name in ("pyarrow", "datasketch")}
    return {"cai": __version__, "code": code_digest(), **others}


def is_of_the_dataset(path: str) -> bool:
    """Whether a published file is one that building the dataset makes."""
    return path not in NOT_OF_THE_DATASET and path.split("/")[0] not in FOLDERS_BESIDE


def _build(published: Published, folder: Path) -> DatasetSummary:
    """Build `folder/dataset` from what was published."""
    recipe = published_recipe(published)
    folder.mkdir(parents=True, exist_ok=True)
    if (published.run / "noise.json").is_file():
        shutil.copyfile(published.run / "noise.json", folder / "noise.json")
    if (published.folder / "review").is_dir():
        shutil.copytree(published.folder / "review", folder / "review", dirs_exist_ok=True)
    rows = SourceSection(kind="published", path=str((published.run / "rows").resolve()))
    source = open_sources([rows], None)
    with Store(published.run / "store", index=folder / "index") as store:
        return build_dataset(folder, recipe, published.manifest.generation, source.items(), store)


# ---------------------------------------------------------------------- comparing


def _compare(listed: Iterable[str], made: Mapping[str, Path], published: Published) -> list[RebuiltFile]:
    """Each file that was published or is made now. Parquet is compared split by split: another version
    that packs otherwise ends files elsewhere."""
    splits: dict[str, str] = {}
    files = []
    for path in sorted({*listed, *made}):
        told = published.manifest.files.get(path)
        now = made.get(path)
        if told is not None and now is not None and sha256_of(now) == told["sha256"]:
            files.append(RebuiltFile(path, True))
        elif path.endswith(".parquet"):
            split = path.rpartition("-")[0]
            if split not in splits:
                splits[split] = _split_difference(split, listed, made, published)
            files.append(RebuiltFile(path, False, splits[split]))
        else:
            files.append(RebuiltFile(path, False, _difference(path, told is not None, now, published)))
    return files


def _difference(path: str, was: bool, now: Path | None, published: Published) -> str:
    if now is None:
        return "it was published, and is not made now"
    if not was:
        return "it is made now, and was not published"
    compare = _json_difference if path.endswith(".json") else _line_difference
    return compare(published.folder / path, now)


def _split_difference(
    split: str, listed: Iterable[str], made: Mapping[str, Path], published: Published
) -> str:
    def of(paths: Iterable[str]) -> list[str]:
        return sorted(path for path in paths if path.rpartition("-")[0] == split)

    then, now = [published.folder / path for path in of(listed)], [made[path] for path in of(made)]
    if not now:
        return "it was published, and is not made now"
    if not then:
        return "it is made now, and was not published"
    return parquet_difference(then, now)


def parquet_difference(then: Sequence[Path], now: Sequence[Path]) -> str:
    """The first difference of two splits' contents, in words; empty where they hold the same.

    `then`, `now`: the files of a split, in order.
    """
    import pyarrow.parquet as pq

    one, two = (pq.read_schema(files[0]) for files in (then, now))
    if not one.equals(two, check_metadata=False):
        return f"its columns differ: {', '.join(_columns_apart(one, two))}"
    if (one.metadata or {}).get(FEATURES) != (two.metadata or {}).get(FEATURES):
        return "what it tells `datasets` of its columns differs (the names of labels, say)"
    rows = [sum(pq.read_metadata(path).num_rows for path in files) for files in (then, now)]
    if rows[0] != rows[1]:
        return f"it has {rows[1]:,} rows, and {rows[0]:,} were published"
    where = " of the split" if max(len(then), len(now)) > 1 else ""
    for number, (before, after) in enumerate(zip_longest(_rows(then), _rows(now)), start=1):
        if before != after:
            columns = [name for name in before if before[name] != after[name]]
            return f"row {number:,}{where} differs in {', '.join(columns)}"
    return ""


def _rows(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                yield from batch.to_pylist()


def _columns_apart(one: Any, two: Any) -> list[str]:
    fields = [{field.name: field.type for field in schema} for schema in (one, two)]
    names = dict.fromkeys([*fields[0], *fields[1]])
    return [name for name in names if fields[0].get(name) != fields[1].get(name)] or ["their order"]


def _json_difference(then: Path, now: Path) -> str:
    one, two = (orjson.loads(path.read_bytes()) for path in (then, now))
    if not (isinstance(one, dict) and isinstance(two, dict)):
        return "" if one == two else "it differs"
    names = [name for name in dict.fromkeys([*one, *two]) if one.get(name) != two.get(name)]
    return f"it differs in {', '.join(names)}" if names else ""


def _line_difference(then: Path, now: Path) -> str:
    with then.open("rb") as one, now.open("rb") as two:
        for number, (before, after) in enumerate(zip_longest(one, two), start=1):
            if before != after:
                return f"line {number:,} differs"
    return ""

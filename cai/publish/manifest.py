"""The manifest, cai.json: what a push holds, file by file, and what changed from push to push.

    form         "cai.published.v1"
    cai, pyarrow, datasketch   versions that made the files (another pyarrow may write other bytes,
                 another datasketch may find other leaks)
    code         a digest of cai's own code, which tells two versions of one number apart
    run          the run's name
    generation   the digest of the frozen inputs
    configs      config -> split -> rows
    files        path -> {sha256, size}, every file but this one
    changelog    oldest first: {version, date, generation, changed: [sentence ...], forced: {name: reason}}

Equal files and an equal changelog give equal bytes; the date of an entry is its only clock.

What this module does not know: the Hub, the card's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from cai import __version__
from cai.errors import PublishError
from cai.publish.file import CARD, MANIFEST, PublishedFile

FORM = "cai.published.v1"


@cache
def code_digest() -> str:
    """A digest of the program's own code, 12 hexadecimal digits; equal code gives an equal one anywhere."""
    package = Path(__file__).parent.parent
    whole = sha256()
    for path in sorted(package.rglob("*.py"), key=lambda path: path.relative_to(package).as_posix()):
        whole.update(f"{path.relative_to(package).as_posix()}\0".encode())
        whole.update(sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:12]


@dataclass(frozen=True)
class Change:
    """One push: its version counted from 1, the day (ISO), what changed, what was forced and why."""

    version: int
    date: str
    generation: str
    changed: tuple[str, ...]
    forced: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What cai.json says."""

    run: str
    generation: str
    configs: Mapping[str, Mapping[str, int]]
    files: Mapping[str, Mapping[str, Any]]
    changelog: tuple[Change, ...]
    cai: str = __version__
    pyarrow: str = field(default_factory=lambda: version("pyarrow"))
    datasketch: str = field(default_factory=lambda: version("datasketch"))
    code: str = field(default_factory=lambda: code_digest())

    @property
    def version(self) -> int:
        """The number of the newest push; 0 before the first."""
        return self.changelog[-1].version if self.changelog else 0

    def as_file(self) -> PublishedFile:
        """The manifest as it is published."""
        found = {"form": FORM, **asdict(self)}
        order = ["form", "cai", "code", "pyarrow", "datasketch"]
        order += ["run", "generation", "configs", "changelog", "files"]
        body = orjson.dumps(
            {name: found[name] for name in order}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        )
        return PublishedFile(MANIFEST, body)


def make_manifest(
    run: str, files: Iterable[PublishedFile], changelog: Sequence[Change], summary: Mapping[str, Any]
) -> Manifest:
    """The manifest of files (the card among them). `summary`: the dataset's accounts."""
    ordered = sorted(files, key=lambda file: file.path)
    return Manifest(
        run=run,
        generation=summary["generation"],
        configs=summary["configs"],
        files={file.path: {"sha256": file.sha256, "size": file.size} for file in ordered},
        changelog=tuple(changelog),
    )


def read_manifest(body: bytes, where: str) -> Manifest:
    """A manifest from the bytes of cai.json. Raises: PublishError."""
    try:
        found = orjson.loads(body)
        if found.pop("form") != FORM:
            raise ValueError("another form")
        changelog = tuple(
            Change(**{**item, "changed": tuple(item["changed"])}) for item in found.pop("changelog")
        )
        return Manifest(changelog=changelog, **{"code": "", **found})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PublishError(
            f"{where} is no manifest that this version of cai reads.",
            "Another version of cai may have written it; use that one, or choose another repository.",
        ) from error


def what_changed(
    before: Manifest | None, now: Manifest, forced: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """What a push changes, in sentences for the changelog; the card and this file do not count.

    `forced`: what is forced now, and why; None where that is as it was.
    """
    if before is None:
        rows = ", ".join(f"{config} {sum(s.values()):,}" for config, s in now.configs.items())
        return (f"First version: {rows} rows.",)
    told: list[str] = []
    if before.run != now.run:
        told.append(f"Another run: {before.run!r} became {now.run!r}.")
    if before.generation != now.generation:
        told.append(
            f"Another generation: {before.generation[:12]} became {now.generation[:12]}"
            " (recipe, principles, templates or models changed)."
        )
    for config in dict.fromkeys([*before.configs, *now.configs]):
        told += _config_changed(config, before, now)
    frozen = ("run/recipe.yaml", "run/frozen/")
    groups = {
        "The recipe, principles or templates": frozen,
        "The comparison or the report": ("comparison.json", "report."),
        "The person's review": ("review/",),
    }
    for name, begins in groups.items():
        if _differ(before, now, begins) and not (begins == frozen and before.generation != now.generation):
            was = any(path.startswith(begins) for path in before.files)
            told.append(f"{name} {'changed' if was else 'was added'}.")
    told += _store_changed(before, now)
    if forced is not None and before.changelog and dict(before.changelog[-1].forced) != dict(forced):
        told.append("What was forced, or the reason for it, changed.")
    if not told and _differ(before, now, (CARD,)):
        told.append("The card changed.")
    if not told and (before.cai, before.code) != (now.cai, now.code):
        told.append("Made by another version of the program.")
    return tuple(told or ["Files changed."])


def _store_changed(before: Manifest, now: Manifest) -> list[str]:
    """Whether others can make the dataset again: the rows and answers that are published along."""
    stores = ("run/rows/", "run/store/")
    was, there = (any(path.startswith(stores) for path in item.files) for item in (before, now))
    if was != there:
        done = "are published along" if there else "are not published any more"
        return [f"The source rows and the answers {done}."]
    return ["The source rows or the answers changed."] if _differ(before, now, stores) else []


def _config_changed(config: str, before: Manifest, now: Manifest) -> list[str]:
    was, rows = (sum(item.configs.get(config, {}).values()) for item in (before, now))
    if was != rows:
        return [f"{config}: {was:,} rows became {rows:,}."]
    return [f"{config}: rows changed."] if _differ(before, now, (f"{config}/",)) else []


def _differ(before: Manifest, now: Manifest, begins: tuple[str, ...]) -> bool:
    chosen = [
        {path: item["sha256"] for path, item in manifest.files.items() if path.startswith(begins)}
        for manifest in (before, now)
    ]
    return chosen[0] != chosen[1]

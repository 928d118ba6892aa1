"""From a recipe's source section to the files or datasets it means.

hh-rlhf on disk is a folder of subsets (`harmless-base/train.jsonl.gz` ...); the folder of one
subset, or one of its files, will do as well. A jsonl source is a file or a folder of files:
`train`, `test` and `validation` as a file's name are splits (its folder is then the subset), any
other name is a subset. Which subset and split a row belongs to is decided here and nowhere else.

Files are looked for at once, so that a wrong path stops a run before it has begun; the Hub is
asked only when rows are read.

What this module does not know: what lies in the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cai.errors import InputError, SourceError
from cai.mistake import likeliest
from cai.recipe import SourceSection
from cai.shipped import find
from cai.source.attempts import AttemptShape
from cai.source.hub import HubSection
from cai.source.pairs import PairShape
from cai.source.parts import FilePart, FileSection, Section
from cai.source.published import open_published
from cai.source.rows import Shape

HH_RLHF = "Anthropic/hh-rlhf"
HH_SUBSETS = ("helpful-base", "helpful-online", "helpful-rejection-sampled", "harmless-base")
ATTEMPTS = "red-team-attempts"
SPLITS = ("train", "validation", "test")
SUFFIXES = (".jsonl.gz", ".jsonl", ".json.gz", ".json")

Found = list[tuple[str, str, Path]]
"""Subset, split and path of files."""


def open_section(section: SourceSection, beside: Path | None) -> Section:
    """Open one section. Raises: SourceError for files that are not there, or not as the section says."""
    shape: Shape = AttemptShape(section.prompts) if section.kind == "red-team" else PairShape()
    if section.path is None:
        return _hub(section, shape, beside)
    place = _place(section.path, beside)
    if section.kind == "published":
        return open_published(place, section)
    if section.kind == "hh-rlhf":
        files = _hh_files(place)
    elif section.kind == "red-team":
        inside = place / ATTEMPTS
        files = _loose_files(inside if inside.is_dir() else place, section.config or ATTEMPTS)
    else:
        files = _loose_files(place, section.config)
    _check_unique(files)
    chosen = _choose(files, section, place)
    parts = tuple(FilePart(path, _name(path, subset), subset, split, shape) for subset, split, path in chosen)
    return FileSection(parts, section.limit)


def _hub(section: SourceSection, shape: Shape, beside: Path | None) -> HubSection:
    repo = section.repo or HH_RLHF
    local = beside / repo if beside is not None else Path(repo)
    if local.is_absolute() and local.is_dir():
        repo = str(local)
    folders: Sequence[str] = ()
    configs: Sequence[str] = ()
    if section.kind == "hh-rlhf":
        folders = section.subsets or HH_SUBSETS
        _check_known(folders, HH_SUBSETS, repo, "subset")
    elif section.kind == "red-team":
        folders = [ATTEMPTS] if repo == HH_RLHF else ()
        configs = [section.config] if section.config else ()
    else:
        configs = section.subsets or ([section.config] if section.config else ())
    return HubSection(
        repo=repo,
        revision=section.revision,
        folders=tuple(folders),
        configs=tuple(configs),
        splits=tuple(section.splits or ()),
        shape=shape,
        limit=section.limit,
    )


def _place(name: str, beside: Path | None) -> Path:
    try:
        return find(name, beside)
    except InputError as missing:
        raise SourceError(
            missing.problem, "Check the source's path; a relative one starts at the recipe's folder."
        ) from missing


def _stem(path: Path) -> str | None:
    """A file's name without its ending, or None for a file of another kind."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix) and path.name != suffix:
            return path.name.removesuffix(suffix)
    return None


def _name(path: Path, subset: str) -> str:
    """A file's display name: with its folder where that is the subset."""
    return f"{subset}/{path.name}" if path.parent.name == subset else path.name


def _hh_files(place: Path) -> Found:
    if place.is_file():
        return [(place.parent.name, _stem(place) or place.name, place)]
    here = _split_files(place)
    if here:
        return here
    found = [item for folder in sorted(place.iterdir()) if folder.is_dir() for item in _split_files(folder)]
    if not found:
        raise SourceError(
            f"{place} holds no subset of hh-rlhf (such as harmless-base/train.jsonl.gz).",
            "Give the folder that holds the subsets' folders; `kind: jsonl` reads other layouts.",
        )
    return found


def _split_files(folder: Path) -> Found:
    files = [(folder.name, _stem(path), path) for path in sorted(folder.iterdir()) if path.is_file()]
    return [(subset, split, path) for subset, split, path in files if split in SPLITS and split]


def _loose_files(place: Path, subset: str | None) -> Found:
    paths = [place] if place.is_file() else sorted(path for path in place.iterdir() if path.is_file())
    found: Found = []
    for path in paths:
        stem = _stem(path) or (path.name if place.is_file() else None)
        if stem is None:
            continue
        is_split = stem in SPLITS
        found.append(
            (subset or (path.parent.name if is_split else stem), stem if is_split else "train", path)
        )
    if not found:
        raise SourceError(
            f"{place} holds no file that ends in {', '.join(SUFFIXES)}.",
            "Give the file, or the folder that the files lie in directly.",
        )
    return found


def _check_unique(files: Found) -> None:
    """Refuse `train.jsonl` beside `train.jsonl.gz`: every row would come twice."""
    seen: dict[tuple[Path, str | None], Path] = {}
    for _, _, path in files:
        other = seen.setdefault((path.parent, _stem(path)), path)
        if other is not path:
            raise SourceError(
                f"{path.parent} holds both {other.name} and {path.name}, which are likely the same rows.",
                "Remove one of them, or give the path of the one to read.",
            )


def _choose(files: Found, section: SourceSection, place: Path) -> Found:
    """The files of the subsets and splits that the section names, in its order, or else all."""
    there = list(dict.fromkeys(subset for subset, _, _ in files))
    subsets = list(dict.fromkeys(section.subsets or there))
    if section.kind == "hh-rlhf" and ATTEMPTS in subsets:
        raise SourceError(f"{ATTEMPTS} holds no pairs.", "Read it with `kind: red-team`.")
    _check_known(subsets, there, str(place), "subset")
    chosen: Found = []
    for subset in subsets:
        own = [item for item in files if item[0] == subset]
        has = sorted({split for _, split, _ in own}, key=_split_order)
        splits = list(dict.fromkeys(section.splits or has))
        _check_known(splits, has, f"{place} ({subset})", "split")
        chosen += [item for split in splits for item in own if item[1] == split]
    return chosen


def _split_order(split: str) -> tuple[int, str]:
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), split)


def _check_known(names: Iterable[str], known: Sequence[str], place: str, what: str) -> None:
    for name in names:
        if name not in known:
            raise SourceError(
                f"{place} has no {what} {name!r}{likeliest(name, known)}; there: {', '.join(known)}.",
                f"Mend the recipe's `{what}s`.",
            )

"""Gets what was published: from the Hub, or from a folder; nothing of it is used before it is checked.

`cai.json` lists every file with its SHA-256. A file that differs, is missing, or lies where the
program would read it without being listed, is named, and nothing is done. Names are held to be
plain relative paths before anything is opened. Nothing that is fetched is executed: templates are
arranged in jinja2's restricted environment, recipes are data, scripts are never taken over.

What comes from the Hub lies in huggingface_hub's own cache, so a fetch that was cut goes on.

What this module does not know: what is made of the files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cai import __version__
from cai.errors import HubError, InputError, PublishError
from cai.publish.file import CARD, MANIFEST, is_plain
from cai.publish.hub import Hub
from cai.publish.manifest import Manifest, read_manifest
from cai.recipe import Recipe, load_recipe
from cai.shipped import at_home

What = Literal["all", "run"]
"""All that was published, or only what a run is made of (`USED`)."""

USED = ("run/", "review/")
"""What is read to make a dataset again, or a run."""

SHOWN = 5
_REPO = re.compile(r"^[\w][\w.-]*/[\w][\w.-]*$")
_OF_THE_HUB = (".gitattributes", ".gitignore")
_DIGEST = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Published:
    """What was published, here and checked. `name`: as it was given; `revision`: the commit, empty for
    a folder; `left`: files that are not listed, which nothing reads."""

    name: str
    revision: str
    folder: Path
    manifest: Manifest
    left: tuple[str, ...] = ()

    @property
    def run(self) -> Path:
        """The part that a run is made of."""
        return self.folder / "run"

    @property
    def has_store(self) -> bool:
        """Whether it was published with its rows and answers."""
        return all(
            any(path.startswith(f"run/{part}/") for path in self.manifest.files) for part in ("rows", "store")
        )

    @property
    def frozen(self) -> Path:
        """The generation's folder."""
        return self.run / "frozen" / self.manifest.generation


def fetch(
    given: str,
    revision: str | None = None,
    what: What = "all",
    told: Callable[[str], None] = lambda line: None,
) -> Published:
    """Get what was published under a name of the Hub, or lies in a folder, and check it.

    `told` is given one line for each wait.

    Raises: PublishError for what is not as it was published; HubError where the Hub cannot be asked.
    """
    folder = at_home(given)
    commit = ""
    if folder.is_dir():
        if revision is not None:
            raise PublishError(f"{given} is a folder, which has no revisions.", "Leave --revision out.")
        there = _names_in(folder)
    elif _REPO.match(given):
        folder, commit, there = _download(given, revision, what, told)
    else:
        raise PublishError(
            f"There is no folder {given}, and it is no name of the Hub.",
            "Give ORG/NAME, or a folder that holds a published dataset.",
        )
    manifest = _manifest(folder, given)
    left = _check(folder, manifest, there, what, given)
    return Published(given, commit, folder, manifest, tuple(left))


# ---------------------------------------------------------------------- checking


def _manifest(folder: Path, given: str) -> Manifest:
    where = f"{given}: {MANIFEST}"
    try:
        manifest = read_manifest((folder / MANIFEST).read_bytes(), where)
    except OSError as error:
        raise _no_manifest(given) from error
    try:
        whole = _DIGEST.fullmatch(manifest.generation) is not None and all(
            isinstance(item["sha256"], str) and isinstance(item["size"], int)
            for item in manifest.files.values()
        )
    except (TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise PublishError(
            f"{where} does not list its files by digest and size, or names no generation.",
            "Do not use it; tell whoever published it.",
        )
    for path in manifest.files:
        _refuse_unsafe(path, where)
    return manifest


def _no_manifest(given: str) -> PublishError:
    return PublishError(
        f"{given} holds no {MANIFEST}, so `cai publish` did not make it.",
        f"A run is published first: cai publish {given} --repo ORG/NAME --with-store"
        if (Path(given) / "recipe.yaml").is_file()
        else "Check the name and the revision (of a copy: that its files are there and are no broken links).",
    )


def _refuse_unsafe(path: str, where: str) -> None:
    """Raises: PublishError for a path that could lead out of the folder."""
    if not is_plain(path):
        raise PublishError(
            f"{where} names a file {path!r}, which is no plain path inside it.",
            "Do not use it; tell whoever published it.",
        )


def _check(folder: Path, manifest: Manifest, there: Sequence[str], what: What, given: str) -> list[str]:
    """Hold files to the manifest; returns those that it does not list and that nothing reads."""
    wrong = []
    for path, listed in sorted(manifest.files.items()):
        if path == CARD or not _wanted(path, what):  # the card may be edited on the Hub
            continue
        file = folder / path
        if not file.is_file():
            wrong.append(f"{path} is missing")
        elif file.stat().st_size != listed["size"] or sha256_of(file) != listed["sha256"]:
            wrong.append(f"{path} differs")
    extra = [path for path in sorted(there) if path not in manifest.files and path not in (CARD, MANIFEST)]
    wrong += [f"{path} is not listed" for path in extra if path.startswith(USED)]
    if wrong:
        more = f" and {len(wrong) - SHOWN:,} more" if len(wrong) > SHOWN else ""
        raise PublishError(
            f"{given} is not as it was published: {'; '.join(wrong[:SHOWN])}{more} ({MANIFEST} lists every file).",
            "Fetch it again, or give the --revision of a version that is whole.",
        )
    return [path for path in extra if path not in _OF_THE_HUB]


def _wanted(path: str, what: What) -> bool:
    return what == "all" or path.startswith(USED)


def sha256_of(path: Path) -> str:
    """A file's SHA-256, 64 hexadecimal digits. Raises: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names_in(folder: Path) -> list[str]:
    """The files of a folder by path, less those of git and of huggingface_hub."""
    found = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    names = (path.relative_to(folder) for path in found)
    return [name.as_posix() for name in names if name.parts[0] not in (".git", ".cache")]


# ---------------------------------------------------------------------- the Hub


def _download(
    repo: str, revision: str | None, what: What, told: Callable[[str], None]
) -> tuple[Path, str, list[str]]:
    """The folder in huggingface_hub's cache, the commit, and the names of all files of the repository.

    Raises: HubError, PublishError.
    """
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    hub = Hub(repo, told=told)
    commit = hub.head(revision or "main")
    if commit is None:
        at = f" at {revision}" if revision else ""
        raise HubError(
            f"The dataset {repo}{at} is not there, or this account may not read it.",
            "Check the name and the revision; for a private or gated one type: hf auth login",
        )
    there = hub.files(commit)
    for name in there:
        _refuse_unsafe(name, repo)
    if MANIFEST not in there:
        raise _no_manifest(repo)
    wanted = [name for name in sorted(there) if _wanted(name, what) and name != MANIFEST]
    size = sum(there[name].size for name in wanted)
    told(
        f"Fetching {repo}: {len(wanted) + 1:,} files, {size / 1e6:,.1f} MB; what is here already is not fetched again."
    )
    folder = hub.fetch(MANIFEST, commit).parent
    for name in wanted:
        hub.fetch(name, commit)
    return folder, commit, list(there)


def published_recipe(published: Published) -> Recipe:
    """The recipe that was published.

    Raises: PublishError where this version of cai does not read it.
    """
    try:
        return load_recipe(published.run / "recipe.yaml")
    except InputError as error:
        raise PublishError(
            f"The recipe of {published.name} is not read by cai {__version__}: {error.problem}",
            f"It was published with cai {published.manifest.cai}; use that version.",
        ) from error


def versions_differ(manifest: Manifest, here: Mapping[str, str]) -> list[str]:
    """`pyarrow 20.0 (here 21.0)` for each program whose version is not the publisher's."""
    then = {"cai": manifest.cai, "pyarrow": manifest.pyarrow, "datasketch": manifest.datasketch}
    differ = [f"{name} {then[name]} (here {here[name]})" for name in then if then[name] != here[name]]
    if manifest.cai == here["cai"] and manifest.code != here["code"]:
        differ.insert(0, f"other code of cai {manifest.cai}")
    return differ

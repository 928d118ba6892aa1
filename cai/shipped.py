"""Where files that people edit are found: an explicit path, beside the recipe, in the package.

In an installed wheel principles/ and prompts/ lie inside the package; in a checkout they lie
at its top level, where people edit them.

What this module does not know: what the files hold.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from cai.errors import InputError
from cai.mistake import likeliest

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """A file or folder that comes with the program, such as `principles/harmless.yaml`.

    Raises: InputError when the installation lacks it.
    """
    for root in (_PACKAGE / "shipped", _PACKAGE, _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise InputError(f"This installation lacks {name}.", "Install cai again.")


def at_home(name: str) -> Path:
    """The path of a name, `~` as a person's own folder; a name of nobody's folder stands for itself."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # no such user
        return Path(name)


def find(name: str, beside: Path | None, kind: str = "", suffix: str = "") -> Path:
    """Find a file or folder that a recipe names.

    `beside` is the recipe's folder; `kind` the folder that such a file usually lies in
    (`principles`); `suffix` what its name ends in. Tried in this order: the name as a path
    (absolute, or from the recipe's folder), then `kind/name` in the recipe's folder, in the
    project's folder (the one that holds `runs/`), and in the package.
    Raises: InputError, naming the places tried.
    """
    given = at_home(name)
    usual = Path(kind) / (name if not suffix or given.suffix == suffix else f"{name}{suffix}")
    candidates = [given] if given.is_absolute() else []
    if beside is not None and not given.is_absolute():
        candidates = [beside / given, beside / usual]
        if beside.parent.name == "runs":
            candidates.append(beside.parent.parent / usual)
    for candidate in candidates:
        if candidate.is_file() if suffix else candidate.exists():
            return candidate.resolve()
    if not given.is_absolute():
        try:
            return shipped(usual.as_posix())
        except InputError:
            candidates.append(Path("(the package)") / usual)
    places = ", ".join(dict.fromkeys(str(path) for path in candidates))
    near = _near(name, candidates, kind, suffix)
    told = f"{near} Looked at" if near else "; looked at"
    raise InputError(f"There is no {name}{told} {places}.", "Check the name, or give a path.")


def _near(name: str, candidates: list[Path], kind: str, suffix: str) -> str:
    """`, did you mean 'x'?` by the names of files that lie where this one was looked for."""
    folders = {path.parent for path in candidates if path.parent.is_dir()}
    with contextlib.suppress(InputError):
        folders |= {shipped(kind)} if kind else set()
    names = {
        item.stem if suffix else item.name
        for folder in folders
        for item in folder.iterdir()
        if (
            item.suffix == suffix and item.stem.partition(".")[0] if suffix else not item.name.startswith(".")
        )
    }
    return likeliest(Path(name).stem if suffix else Path(name).name, names)

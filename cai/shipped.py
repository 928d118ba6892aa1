"""Where files that people edit are found: an explicit path, beside the recipe, in the package.

In an installed wheel principles/ and prompts/ lie inside the package; in a checkout they lie
at its top level, where people edit them.

What this module does not know: what the files hold.
"""

from __future__ import annotations

from pathlib import Path

from cai.errors import InputError

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """A file or folder that comes with the program, such as `principles/harmless.yaml`.

    Raises: InputError when the installation lacks it.
    """
    for root in (_PACKAGE / "shipped", _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise InputError(f"This installation lacks {name}.", "Install cai again.")


def find(name: str, beside: Path | None, kind: str = "", suffix: str = "") -> Path:
    """Find a file or folder that a recipe names.

    `beside` is the recipe's folder; `kind` the folder it usually lies in (`principles`);
    `suffix` what its name ends in. Tried in this order: the name as a path (absolute, or from
    the recipe's folder), `kind/name.suffix` beside the recipe, the same in the package.
    Raises: InputError, naming the places tried.
    """
    tried: list[Path] = []
    given = Path(name).expanduser()
    candidates = [given] if given.is_absolute() else []
    if beside is not None and not given.is_absolute():
        candidates += [beside / given]
        if suffix and given.suffix != suffix:
            candidates += [beside / kind / f"{name}{suffix}"]
        elif kind:
            candidates += [beside / kind / given]
    for candidate in candidates:
        if candidate.exists() and not (suffix and candidate.is_dir()):
            return candidate.resolve()
        tried.append(candidate)
    packaged = f"{kind}/{name}{suffix}" if suffix and given.suffix != suffix else f"{kind}/{name}".lstrip("/")
    try:
        if not given.is_absolute():
            return shipped(packaged)
    except InputError:
        tried.append(Path("package") / packaged)
    places = ", ".join(str(path) for path in tried)
    raise InputError(f"There is no {name}; looked at {places}.", "Check the name, or give a path.")

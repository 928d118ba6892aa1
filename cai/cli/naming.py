"""How a person names a constitution on the command line.

What this module does not know: what is done with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cai.principle import Constitution


def named(name: str) -> Constitution:
    """The constitution of a file, or of a name in principles/ here or in the package.

    Raises: ConstitutionError, InputError.
    """
    from cai.constitution_file import load_constitution
    from cai.shipped import find

    given = Path(name)
    if given.suffix == ".yaml" or given.exists():
        return load_constitution(given)
    return load_constitution(find(name, Path.cwd(), "principles", ".yaml"))

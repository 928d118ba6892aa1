"""Links within the page: to a row, and to the rows of a choice, as the page's script reads them.

What this module does not know: which rows the page holds.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import urlencode

from cai.report.markup import Html, tag


def rows_link(name: str, **choice: str) -> Html:
    """A link to the rows of a choice: `list`, `subset`, `principle`, `flag`, `row`."""
    return tag("a", tag("bdi", name), href="#" + urlencode(choice))


def shown_name(run_folder: Path) -> str:
    """How the run is named on the page: from its project's folder, wherever that lies."""
    if run_folder.parent.name == "runs":
        return f"runs/{run_folder.name}"
    return run_folder.name


def command(verb: str, run: str, *words: str) -> str:
    """A command to type."""
    return shlex.join(["cai", verb, run, *words])

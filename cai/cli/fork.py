"""`cai fork`: start a run from a published one, so that an edit asks only for what it changed.

What this module does not know: what is taken over (cai/publish/fork.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from cai.cli import printable
from cai.cli.console import err, waiting


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("fork")(fork)


def fork(
    name: Annotated[
        str, typer.Argument(metavar="ORG/NAME|FOLDER", help="A published dataset, on the Hub or in a folder.")
    ],
    new: Annotated[
        str, typer.Argument(metavar="[NAME]", help="The new run's name: runs/NAME. Else the dataset's.")
    ] = "",
    revision: Annotated[
        str | None, typer.Option("--revision", help="A branch, a tag or a commit of it.")
    ] = None,
) -> None:
    """Start a run from a published one.

    Its rows and answers are taken over, its principles and templates are copied to be edited.
    With nothing edited, `cai run` asks nothing; after an edit it asks for what the edit changed.
    """
    from cai.publish.fetch import fetch
    from cai.publish.fork import fork as make

    folder = place_of(new or Path(name.rstrip("/")).name)
    console = err()
    with waiting(f"Fetching and checking {name}"):
        published = fetch(name, revision, "run", lambda line: console.print(Text(printable(line))))
    with waiting(f"Writing {folder}"):
        made = make(published, folder)
    console.print(
        Text(
            f"Wrote {made.run.shown} from {published.name}: recipe.yaml, principles/ and prompts/ to edit, "
            "the published rows and answers beside them."
        ),
        soft_wrap=True,
    )
    for note in made.notes:
        console.print(Text(f"  {printable(note)}"), soft_wrap=True)
    console.print(Text(f"Then type: cai run {made.run.shown}"), soft_wrap=True)


def place_of(name: str) -> Path:
    """Where a run of that name lies: under runs/, or where a path says."""
    return Path(name) if "/" in name else Path("runs") / name

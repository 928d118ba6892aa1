"""`cai rebuild`: make a published dataset again, without a model, and hold it to what was published.

What this module does not know: how it is fetched, made and compared (cai/publish).
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from cai.cli import printable
from cai.cli.console import err, out, waiting
from cai.errors import PublishError

if TYPE_CHECKING:
    from cai.publish.fetch import Published
    from cai.publish.rebuild import Rebuilt


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("rebuild")(rebuild)


def rebuild(
    name: Annotated[
        str, typer.Argument(metavar="ORG/NAME|FOLDER", help="A published dataset, on the Hub or in a folder.")
    ],
    revision: Annotated[
        str | None, typer.Option("--revision", help="A branch, a tag or a commit of it.")
    ] = None,
    keep: Annotated[Path | None, typer.Option("--out", help="Keep what is made in this new folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Make a published dataset again from its rows and answers.

    No model is asked. Every file is held to the SHA-256 that cai.json lists; exit code 1 where one
    differs. With other versions of cai or pyarrow the bytes may differ: the contents are then compared.
    """
    from cai.publish.fetch import fetch
    from cai.publish.rebuild import rebuild as make

    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise PublishError(f"{keep} is not empty.", "Give --out a new folder.")
    console = err()
    with waiting(f"Fetching and checking {name}"):
        published = fetch(name, revision, told=lambda line: console.print(Text(printable(line))))
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cai-rebuild-")))
        with waiting(f"Making {name} again from its answers"):
            made = make(published, place)
        if keep is not None:
            _keep(made.folder / "dataset", keep)
    if as_json:
        _print_json(published, made)
    else:
        _print(published, made, keep)
    if not (made.identical or (made.versions and made.same_content)):
        raise typer.Exit(1)


def _keep(made: Path, place: Path) -> None:
    import shutil

    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(made, place, dirs_exist_ok=True)


def _print(published: Published, made: Rebuilt, keep: Path | None) -> None:
    console = out()
    where = f"{published.name} ({published.revision[:12]})" if published.revision else published.name
    console.print(
        Text(
            f"{where}: made again from {made.rows:,} rows ({made.finished:,} finished, {made.excluded:,} "
            "excluded), without a model."
        ),
        soft_wrap=True,
    )
    for file in made.files:
        fate = "identical" if file.same_bytes else file.differs or "the same content in other bytes"
        console.print(Text(f"  {file.path}: {printable(fate)}"), soft_wrap=True)
    for name in published.left:
        console.print(Text(f"  {printable(name)}: not listed in cai.json; nothing reads it"), soft_wrap=True)
    if made.versions:
        console.print(Text(f"Published with {', '.join(made.versions)}."), soft_wrap=True)
    console.print(Text(verdict(made)), soft_wrap=True)
    if keep is not None:
        console.print(Text(f"What was made lies in {keep}."), soft_wrap=True)


def verdict(made: Rebuilt) -> str:
    """What came of it, in one sentence."""
    if made.identical:
        return f"Identical: all {len(made.files)} files have the SHA-256 that cai.json lists."
    apart = sum(not file.same_bytes for file in made.files)
    if made.same_content:
        why = "another version wrote them" if made.versions else "though the versions are the same"
        return (
            f"The same content, row by row; the bytes of {apart} of {len(made.files)} files differ ({why})."
        )
    return f"Different: {sum(bool(file.differs) for file in made.files)} of {len(made.files)} files."


def _print_json(published: Published, made: Rebuilt) -> None:
    import orjson

    content: dict[str, Any] = {
        "name": published.name,
        "revision": published.revision,
        "identical": made.identical,
        "same_content": made.same_content,
        "rows": made.rows,
        "finished": made.finished,
        "excluded": made.excluded,
        "versions_differ": made.versions,
        "files": [
            {"path": file.path, "same_bytes": file.same_bytes, "differs": file.differs} for file in made.files
        ],
        "not_listed": published.left,
    }
    sys.stdout.write(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode() + "\n")

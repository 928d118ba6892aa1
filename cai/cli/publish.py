"""`cai publish`: push a run's dataset to the Hub, or show what a push would do.

What this module does not know: what travels, what speaks against it, how a push works (cai/publish).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from cai.cli.console import err, out, waiting
from cai.errors import PublishError

if TYPE_CHECKING:
    from cai.publish.difference import ConfigDifference
    from cai.publish.hub import Hub
    from cai.publish.prepare import Prepared
    from cai.publish.push import Page, Pushed, Target
    from cai.reading import ReadRun
    from cai.run_folder import RunFolder


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("publish")(publish)


@dataclass(frozen=True)
class _Asked:
    """What the command line says beside run and repository."""

    target: Target
    with_store: bool
    forced: dict[str, str]
    licence: str | None
    terms: str | None
    message: str | None
    card: Path | None


def publish(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    repo: Annotated[str, typer.Option(metavar="ORG/NAME", help="The dataset repository.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show files, card and findings; send nothing.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what would change on the page.")] = False,
    public: Annotated[bool, typer.Option("--public", help="A new repository is public.")] = False,
    branch: Annotated[str, typer.Option(metavar="B", help="The branch to push to.")] = "main",
    pull: Annotated[bool, typer.Option("--pr", help="Open a pull request instead.")] = False,
    with_store: Annotated[
        bool, typer.Option("--with-store", help="Publish the rows and answers too, to rebuild and fork.")
    ] = False,
    force: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Push in spite of this finding.")
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it stands on the card.")] = None,
    licence: Annotated[
        str | None, typer.Option("--license", metavar="ID", help="The licence; else the source's.")
    ] = None,
    output_terms: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the model's terms say about its outputs.")
    ] = None,
    message: Annotated[str | None, typer.Option(metavar="TEXT", help="The commit's message.")] = None,
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A template of the card of your own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Push the dataset to the Hub, private by default.

    Builds the dataset and the report anew, checks both, and makes one commit with a tag for its
    version. A second push of the same run changes nothing. The token is looked for where
    huggingface_hub does (HF_TOKEN, or `hf auth login`).
    """
    from cai.publish.hub import valid_repo
    from cai.publish.push import Target
    from cai.run_folder import open_run

    if force and not reason:
        raise typer.BadParameter("--force needs a --reason; it stands on the card.")
    if reason and not force:
        raise typer.BadParameter("--reason is for --force, and nothing is forced.")
    if diff and dry_run:
        raise typer.BadParameter("Give --dry-run or --diff, not both.")
    asked = _Asked(
        target=Target(branch, pull, public),
        with_store=with_store,
        forced=dict.fromkeys(force or [], reason or ""),
        licence=licence,
        terms=output_terms,
        message=message,
        card=card,
    )
    valid_repo(repo)
    _publish(
        open_run(target), target, repo, asked, "diff" if diff else "dry run" if dry_run else "push", as_json
    )


def _publish(
    run: RunFolder,
    target: Path,
    repo: str,
    asked: _Asked,
    what: Literal["diff", "dry run", "push"],
    as_json: bool,
) -> None:
    """Make everything ready, then show it or push it. `target`: the run as a person named it."""
    console = None if as_json else out()
    _refuse_while_it_runs(run)
    with _place() as place, _made(target, run) as reading:
        prepared = _prepared(reading, repo, asked)
        said: dict[str, Any] = {"repo": repo, "findings": [asdict(item) for item in prepared.found]}
        if what != "diff":
            _print_findings(prepared, err() if as_json or what == "push" else out())
        if what == "push":
            _refuse_blocked(prepared)
            _hub(repo).must_write()
        prepared.card(())  # a template that is wrong is told before anything that takes long
        with waiting("Gathering the files"):
            prepared = prepared.gathered(reading, place, told=lambda line: err().print(escape(line)))
        if what == "diff":
            said["difference"] = _diff(repo, prepared, asked, console)
        elif what == "dry run":
            said |= _dry_run(repo, prepared, asked, console)
        else:
            said["pushed"] = asdict(_push(repo, prepared, asked, console))
        if as_json:
            sys.stdout.buffer.write(
                orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
            )
        if what == "dry run" and prepared.blocking:
            raise typer.Exit(1)


def _refuse_while_it_runs(run: RunFolder) -> None:
    """Refuse a run that another process writes to: its accounts would not balance."""
    try:
        with (run.store / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return
    except BlockingIOError as error:
        raise PublishError(
            f"The run {run.name} is being worked on.", "Wait until it has ended, or stop it with Ctrl-C."
        ) from error


@contextmanager
def _place() -> Iterator[Path]:
    """A folder for what is made on the way; a Ctrl-C or SIGTERM removes it and ends the process at once.

    huggingface_hub would first wait for the files that it is sending. Nothing has to be put in order:
    a commit is there whole or not at all, and what was uploaded is found again.
    """
    with tempfile.TemporaryDirectory(prefix="cai-publish-") as name:

        def end(number: int, frame: object) -> None:
            shutil.rmtree(name, ignore_errors=True)
            sys.stderr.write("cai: interrupted; nothing half is on the page. The same command goes on.\n")
            sys.stderr.flush()
            os._exit(130)

        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield Path(name)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _made(target: Path, run: RunFolder) -> Iterator[ReadRun]:
    """The run with its dataset, comparison and report made anew, so that they fit one another."""
    from cai.cli.dataset import build_run
    from cai.cli.report import report_run
    from cai.reading import ReadRun

    build_run(target, console=err())
    report_run(target)
    with ReadRun(run) as reading:
        yield reading


def _prepared(reading: ReadRun, repo: str, asked: _Asked) -> Prepared:
    from cai.publish.prepare import prepare
    from cai.publish.rights import statements_of

    said = statements_of(reading.recipe.publish, private=not asked.target.public)
    if asked.licence is not None:
        said = replace(said, licence=asked.licence)
    with waiting("Looking for what speaks against publishing"):
        return prepare(reading, repo, said, asked.with_store, asked.card, asked.forced, asked.terms)


def _refuse_blocked(prepared: Prepared) -> None:
    if prepared.blocking:
        raise PublishError(
            f"Nothing was pushed: {_names(prepared)}.",
            "Mend these, or add --force NAME for each, and --reason TEXT; both stand on the card.",
        )


def _names(prepared: Prepared) -> str:
    """What stops the push, each name once."""
    return ", ".join(dict.fromkeys(item.name for item in prepared.blocking))


def _hub(repo: str) -> Hub:
    from cai.publish.hub import Hub

    return Hub(repo, told=lambda line: err().print(escape(line), soft_wrap=True))


# ---------------------------------------------------------------------- what is printed


def _print_findings(prepared: Prepared, console: Console) -> None:
    """What speaks against the push, and what to do; what was left out of the recipe."""
    for item in prepared.found:
        forced = prepared.forced.get(item.name)
        mark = "[red]stops[/]" if item in prepared.blocking else "[yellow]forced[/]" if forced else "note"
        console.print(f"{mark} [bold]{escape(item.name)}[/]: {escape(item.what)}", soft_wrap=True)
        console.print(f"      {escape(item.do)}", soft_wrap=True)
    for note in prepared.notes:
        console.print(f"note  recipe: {escape(note)}", soft_wrap=True)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.2f} GB"


def _dry_run(repo: str, prepared: Prepared, asked: _Asked, console: Console | None) -> dict[str, Any]:
    """Show every file with its size, write the card beside the run, tell whether a push is stopped.

    The Hub is not asked, so the card is that of a first version.
    """
    from cai.publish.file import CARD
    from cai.publish.push import Page, changelog_with

    first = changelog_with(Page(None, None, {}, None), prepared.make, prepared.overridden)
    files = prepared.make(first)[0]
    card = _place_of_card(prepared.facts.run.path, asked.card)
    card.write_bytes(next(file for file in files if file.path == CARD).read())
    if console is not None:
        seen = "public" if asked.target.public else "private"
        console.print(f"[bold]{escape(repo)}[/], {seen}, {asked.target.branch}: nothing is sent.")
        for file in sorted(files, key=lambda file: file.path):
            console.print(f"  {_size(file.size):>10}  {escape(file.path)}", soft_wrap=True)
        total = sum(file.size for file in files)
        console.print(f"  {_size(total):>10}  in {len(files)} files")
        console.print(f"The card: {escape(prepared.facts.run.shown)}/{card.name}", soft_wrap=True)
        for item in prepared.blocking:  # again: above, it may have scrolled off
            console.print(f"{escape(item.name)}: {escape(item.do)}", soft_wrap=True)
        stopped = f"[red]The push is stopped by: {_names(prepared)}.[/]"
        console.print(stopped if prepared.blocking else "Nothing stops the push.", soft_wrap=True)
    return {
        "files": [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in files],
        "card": str(card),
        "notes": list(prepared.notes),
        "blocking": [item.name for item in prepared.blocking],
    }


def _place_of_card(run: Path, template: Path | None) -> Path:
    """README.md beside the run; another name where that is a person's own: no card, or the template itself."""
    place = run / "README.md"
    mine = place.is_file() and not place.read_bytes().startswith(b"---\n")
    if mine or (template is not None and template.resolve() == place.resolve()):
        return run / "README-dry-run.md"
    return place


def _diff(repo: str, prepared: Prepared, asked: _Asked, console: Console | None) -> dict[str, Any]:
    """Show what a push would change."""
    from cai.publish.difference import difference
    from cai.publish.push import foreign, look

    hub = _hub(repo)
    page: Page = look(hub, asked.target.branch)
    files = prepared.make(page.changelog)[0]
    found = difference(hub, page, files, foreign(hub, page, files))
    if console is not None:
        if page.head is None:
            console.print(f"There is nothing at {escape(hub.url)} yet.", soft_wrap=True)
        elif found.same:
            console.print(f"{escape(hub.url)} is as it would be pushed.", soft_wrap=True)
        for item in found.configs:
            if item.differs != "nothing":
                console.print(f"  {escape(item.config)}: {_rows_differ(item)}", soft_wrap=True)
        for word, paths in (("add", found.added), ("change", found.changed), ("remove", found.removed)):
            for path in paths:
                console.print(f"  {word:>6}  {escape(path)}", soft_wrap=True)
        for line in found.in_the_way:
            console.print(f"  [yellow]{escape(line)}[/]", soft_wrap=True)
        for line in found.card:
            colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
            console.print(f"[{colour}]{escape(line)}[/]" if colour else escape(line), soft_wrap=True)
    return found.as_json()


def _rows_differ(item: ConfigDifference) -> str:
    """What became of a config's rows, in words."""
    if item.differs == "order":
        return f"the same {item.now:,} rows; only their order changed"
    if item.differs == "files":
        return f"the same {item.now:,} rows in the same order; only the files differ"
    return (
        f"{item.before:,} rows, then {item.now:,}: {item.added:,} added, {item.removed:,} removed, "
        f"{item.changed:,} changed, of which {item.turned:,} with the label turned round"
    )


def _push(repo: str, prepared: Prepared, asked: _Asked, console: Console | None) -> Pushed:
    from cai.publish.prepare import PAGE
    from cai.publish.push import push

    with waiting(f"Pushing to {repo}"):
        done = push(
            _hub(repo),
            asked.target,
            prepared.make,
            asked.message,
            prepared.overridden,
            overwrite=asked.forced.get(PAGE),
        )
    if console is not None:
        if done.what == "unchanged":
            console.print(
                f"Nothing to push: {escape(done.url)} holds this already (version {done.version}).",
                soft_wrap=True,
            )
        else:
            word = "Proposed" if done.what == "proposed" else "Pushed"
            tag = f", tag {escape(done.tag)}" if done.tag else ""
            console.print(f"{word} version {done.version}{tag}: {escape(done.url)}", soft_wrap=True)
            for line in done.changed:
                console.print(f"  {escape(line)}", soft_wrap=True)
        for note in done.notes:
            console.print(escape(note), soft_wrap=True)
    return done

"""The command line: one verb a file, and the one place that prints an error.

Exit codes: 0 done; 1 a person must act; 2 usage; 3 finished with rows in quarantine; 130
interrupted, everything paid for is kept. Progress and messages go to stderr, results to stdout.

What this package does not know: how anything is done.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from cai import __version__
from cai.errors import CaiError

app = typer.Typer(
    name="cai",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Make Constitutional-AI data: critique, revise, judge, relabel, compare.",
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"cai {__version__}\n")
        raise typer.Exit


@app.callback()
def _every_verb(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None:
    pass


def _verbs() -> None:
    """Enter every verb; each module imports what is heavy only when it runs."""
    from cai.cli import (
        compare,
        dataset,
        demo,
        doctor,
        fork,
        init,
        judge_eval,
        noise,
        principles,
        prompts,
        publish,
        rebuild,
        report,
        review,
        run,
        serve,
        show,
        status,
        store,
    )

    reading = (status, show, dataset, compare, report, review)
    published = (publish, rebuild, fork)
    others = (judge_eval, noise, serve, store, doctor, demo)
    for verb in (init, principles, prompts, run, *reading, *published, *others):
        verb.enter(app)


def main() -> None:
    """The `cai` command."""
    _verbs()
    _log_to_stderr()
    try:
        app(standalone_mode=True)
    except CaiError as error:
        sys.stderr.write(f"cai: {printable(error.problem)}\n")
        if error.remedy:
            sys.stderr.write(f"     {printable(error.remedy)}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("cai: interrupted; everything paid for is kept. The same command goes on.\n")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        name = printable(str(error.filename)) if error.filename else "A file or connection"
        sys.stderr.write(f"cai: {name} cannot be used: {error.strerror or error}.\n")
        sys.stderr.write("     Check that it is there, may be written, and that the disk has room.\n")
        sys.exit(1)


def _log_to_stderr() -> None:
    """Warnings of the program's own go to stderr, one plain line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("cai: %(message)s"))
    log = logging.getLogger("cai")
    log.addHandler(handler)
    log.setLevel(logging.WARNING)
    log.propagate = False


def printable(text: str) -> str:
    """Text without control characters, so that data cannot reach the terminal as commands."""
    return "".join(c if c in "\n\t" or (c.isprintable()) else f"\\x{ord(c):02x}" for c in text)

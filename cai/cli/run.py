"""`cai run`: work on a run, or go on with it; first the pilot, then the rest, then the dataset.

What this module does not know: how a row is worked on (cai/job.py), what a pilot shows
(cai/pilot.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cai.cli import printable
from cai.cli.console import err, out
from cai.cli.edited import Meant, inputs_meant
from cai.cli.ending import is_finished, say_finished, say_next
from cai.cli.interrupts import Deadline, Interrupts, sigterm_as_ctrl_c
from cai.errors import CaiError, RunError
from cai.memory import give_back

if TYPE_CHECKING:
    from cai.frozen import Inputs
    from cai.live import LiveRun
    from cai.pilot import PilotChoice
    from cai.run_folder import RunFolder


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("run")(run)


def run(
    target: Annotated[
        Path, typer.Argument(metavar="RECIPE|RUN", help="A run's folder, or the recipe in it.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Go on after the pilot without asking.")] = False,
    pilot_only: Annotated[bool, typer.Option("--pilot-only", help="Stop after the pilot.")] = False,
    retry_too_long: Annotated[
        bool, typer.Option("--retry-too-long", help="Ask again where a prompt did not fit, if more fits now.")
    ] = False,
    skip_doctor: Annotated[
        bool, typer.Option("--skip-doctor", help="Begin without proving the judge on known answers.")
    ] = False,
    retry_quarantined: Annotated[
        bool, typer.Option("--retry-quarantined", help="Take up the rows in quarantine, and no others.")
    ] = False,
    max_hours: Annotated[
        float | None,
        typer.Option("--max-hours", min=0.0, help="Stop in time, with everything kept (exit code 130)."),
    ] = None,
    edited: Annotated[
        bool, typer.Option("--edited", help="After an edit: go on with the files as they are now.")
    ] = False,
    as_frozen: Annotated[
        bool, typer.Option("--as-frozen", help="After an edit: go on as the run last worked.")
    ] = False,
) -> None:
    """Run a job, or go on with it.

    First the pilot, then the rest, then the dataset and the comparison.
    """
    if edited and as_frozen:
        raise typer.BadParameter("one of --edited and --as-frozen is meant, not both", param_hint="--edited")
    meant: Meant = "edited" if edited else "as-frozen" if as_frozen else ""
    wish = Wish(yes, pilot_only, retry_too_long, skip_doctor, meant, retry_quarantined, max_hours)
    raise typer.Exit(work_until_stopped(target, wish))


@dataclass(frozen=True)
class Wish:
    """What a person said on the command line."""

    yes: bool = False
    pilot_only: bool = False
    retry_too_long: bool = False
    skip_doctor: bool = False
    meant: Meant = ""
    retry_quarantined: bool = False
    max_hours: float | None = None


def work_until_stopped(target: Path, wish: Wish, finish: Callable[[Path], None] | None = None) -> int:
    """`work` in an event loop of its own; Ctrl-C while nothing is under way ends it with one sentence."""
    import uvloop

    from cai.run_folder import open_run

    try:
        with sigterm_as_ctrl_c():
            inputs = inputs_meant(open_run(target), wish.meant)
            return uvloop.run(work(target, wish, finish, inputs))
    except KeyboardInterrupt:
        say_stopped(target, wish)
        return 130


def say_stopped(target: Path, wish: Wish, out_of_time: bool = False) -> None:
    """One sentence after Ctrl-C, or `out_of_time`; on a terminal it takes the place of the `^C`."""
    console = err()
    again = f"cai run {escape(str(target))}{' --retry-too-long' if wish.retry_too_long else ''}"
    if out_of_time:
        console.print(
            f"The {wish.max_hours:g} hours of --max-hours are over; everything paid for is kept. "
            f"Go on with: {again}",
            soft_wrap=True,
        )
        return
    if console.is_terminal:
        sys.stderr.write("\r")
    console.print(f"Stopped; everything paid for is kept. Go on with: {again}", soft_wrap=True)


async def work(
    target: Path, wish: Wish, finish: Callable[[Path], None] | None = None, inputs: Inputs | None = None
) -> int:
    """Work on a run, then `finish` it (build the dataset and compare); returns the exit code.

    `inputs`: what to work with; None: what the recipe names as it stands now.
    Raises: CaiError.
    """
    from cai.doctor.before_run import faults_named
    from cai.run_folder import open_run

    folder = open_run(target)
    with faults_named(folder.shown):
        asked = await _ask(target, folder, wish, finish is not None, inputs)
    if asked.code is not None:
        return asked.code
    give_back()  # engines with all that they remembered
    (finish or _finish)(target)
    if not asked.quarantined:
        return 0
    err().print(
        f"{asked.quarantined:,} rows are in quarantine (quarantine.jsonl); the same command takes them up again, "
        "and with --retry-quarantined no others.",
        soft_wrap=True,
    )
    return 3


@dataclass(frozen=True)
class _Asked:
    """How the work on rows ended: with an exit `code`, or (None) with all rows done and so many in quarantine."""

    code: int | None
    quarantined: int = 0


async def _ask(
    target: Path, folder: RunFolder, wish: Wish, finish_anew: bool, inputs: Inputs | None
) -> _Asked:
    """Have every row worked on. `finish_anew`: the run is to be finished even where it is finished."""
    from cai.doctor.before_run import examine_run
    from cai.job import in_quarantine, quarantine_taken_up
    from cai.live import LiveRun
    from cai.pilot import choose_pilot
    from cai.tally import check_ended

    console = err()
    deadline = Deadline(wish.max_hours)
    async with LiveRun(folder, inputs) as live:
        waiting = in_quarantine(folder)
        if wish.retry_quarantined and not waiting:
            console.print("No row is in quarantine.")
            return _Asked(0)
        choice = choose_pilot(folder, live.recipe, live.source)
        if choice.total == 0:
            raise RunError("The recipe's sources hold no rows.", "Check their path, subsets and splits.")
        if wish.pilot_only and not choice.rows:
            raise RunError(
                "The recipe's pilot has 0 rows.", "Set `pilot: {rows: 200}`, or leave --pilot-only out."
            )
        nothing_left = not wish.pilot_only and not wish.retry_too_long and not live.has_rows_left()
        if nothing_left and not finish_anew and is_finished(folder, live.generation.digest, choice.total):
            say_finished(out(), folder, target)
            return _Asked(0)
        if nothing_left:
            console.print(f"Nothing is left to ask: {choice.total:,} rows, each finished or excluded.")
        if wish.retry_too_long:
            await live.retry_too_long()
        if not wish.skip_doctor:
            await examine_run(live, lambda line: console.print(escape(printable(line)), soft_wrap=True))
        stopped = False
        with quarantine_taken_up(folder, waiting, live.job.finished):
            if wish.retry_quarantined:
                stopped = await _go(live, "quarantine", choice, deadline, set(waiting))
            elif not nothing_left:
                if not all(map(live.job.finished, choice.rows)):
                    stopped = await _go(live, "pilot", choice, deadline, set(choice.rows))
                if not stopped and choice.rows and not _may_go_on(live, choice, wish):
                    return _Asked((3 if live.job.progress.quarantined else 0) if wish.pilot_only else 1)
                if not stopped and choice.total > len(choice.rows):
                    stopped = await _go(live, "run", choice, deadline, None)
        quarantined = live.job.progress.quarantined.total()
    check_ended(live.ask)
    if stopped:
        say_stopped(target, wish, out_of_time=deadline.passed)
        return _Asked(130)
    return _Asked(None, quarantined)


async def _go(
    live: LiveRun, stage: str, choice: PilotChoice, deadline: Deadline, only: set[str] | None
) -> bool:
    """Work on rows; returns whether a person, a SIGTERM or the deadline stopped it."""
    from cai.cli.display import Display
    from cai.job import Progress

    total = choice.total if only is None else len(only)
    live.job.progress = Progress(total=total, requests_per_row=_requests_per_row(live, choice))
    with Interrupts(live.job.stop, deadline) as interrupts:
        async with Display(stage, live.job.progress, live.ask, err()):
            await live.job.work(live.rows_in_flight, only.__contains__ if only is not None else None)
    return interrupts.seen > 0


def _requests_per_row(live: LiveRun, choice: PilotChoice) -> float | None:
    """The mean number of requests of the pilot's finished rows, or None before there is one."""
    from cai.cli.pilot_page import pilot_outcomes
    from cai.job import requests_of

    counts = [requests_of(outcome) for outcome in pilot_outcomes(live, choice) if outcome.excluded is None]
    return sum(counts) / len(counts) if counts else None


def _may_go_on(live: LiveRun, choice: PilotChoice, wish: Wish) -> bool:
    """Show the pilot and decide whether the rest is worked on."""
    from cai.cli.pilot_page import print_pilot
    from cai.pilot import failed_thresholds, write_pilot

    approved = live.generation.digest in choice.approved
    if approved and not wish.pilot_only:
        return True
    left = 0 if choice.total <= len(choice.rows) else live.rows_left()
    summary = print_pilot(out(), live, choice, left)
    if wish.pilot_only:
        return False
    if left == 0:
        return True
    section = live.recipe.pilot
    if not wish.yes and section.has_thresholds:
        failed = failed_thresholds(summary, section)
        if failed:
            raise RunError(
                f"The pilot does not reach the recipe's thresholds: {'; '.join(failed)}.",
                "Change the recipe, the principles or the model and run again, or go on with --yes.",
            )
    elif not wish.yes and not _asked(left):
        return False
    choice.approved.append(live.generation.digest)
    write_pilot(live.run, choice)
    return True


def _asked(left: int) -> bool:
    if not sys.stdin.isatty():
        err().print(
            f"The pilot is done and waits for a person: {left:,} rows are left. "
            "Go on with --yes, or set thresholds under `pilot:` in the recipe.",
            soft_wrap=True,
        )
        return False
    try:
        wanted = typer.confirm(f"Go on with the other {left:,} rows?", err=True)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    if not wanted:
        err().print("The pilot is kept; the same command asks again.")
    return wanted


def _finish(target: Path) -> None:
    """Build the dataset and the comparison."""
    from cai.cli.compare import compare_run
    from cai.cli.dataset import build_run
    from cai.run_folder import open_run

    build_run(target, console=err())
    give_back()
    compare_run(target, console=out())
    out().print()
    say_next(out(), open_run(target), target)


__all__ = ["CaiError", "Interrupts", "Wish", "enter", "run", "work", "work_until_stopped"]

"""`cai run`: work on a run, or go on with it; first the pilot, then the rest, then the dataset.

What this module does not know: how a row is worked on (cai/job.py), what a pilot shows
(cai/pilot.py).
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cai.cli.console import err, out
from cai.errors import CaiError, RunError

if TYPE_CHECKING:
    from cai.live import LiveRun
    from cai.pilot import PilotChoice


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("run")(run)


def run(
    target: Annotated[
        Path, typer.Argument(metavar="RECIPE|RUN", help="A run's folder, or the recipe in it.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Go on after the pilot without asking.")] = False,
    pilot_only: Annotated[bool, typer.Option("--pilot-only", help="Stop after the pilot.")] = False,
) -> None:
    """Run a job, or go on with it.

    First the pilot, then the rest, then the dataset and the comparison.
    """
    import uvloop

    code = uvloop.run(work(target, yes=yes, pilot_only=pilot_only))
    raise typer.Exit(code)


async def work(
    target: Path, *, yes: bool, pilot_only: bool, finish: Callable[[Path], None] | None = None
) -> int:
    """Work on a run, then `finish` it (build the dataset and compare); returns the exit code.

    Raises: CaiError.
    """
    from cai.live import LiveRun
    from cai.pilot import choose_pilot
    from cai.run_folder import open_run

    folder = open_run(target)
    live_run = LiveRun(folder)
    console = err()
    async with live_run as live:
        folder.quarantine.unlink(missing_ok=True)
        choice = choose_pilot(folder, live.recipe, live.source)
        if choice.total == 0:
            raise RunError("The recipe's sources hold no rows.", "Check their path, subsets and splits.")
        with _Interrupts(live.job.stop) as interrupts:
            if choice.rows:
                await _go(live, "pilot", len(choice.rows), set(choice.rows).__contains__)
                if not interrupts.seen and not _may_go_on(live, choice, yes=yes, pilot_only=pilot_only):
                    return 1 if not pilot_only else 0
            if not interrupts.seen and choice.total > len(choice.rows):
                await _go(live, "run", choice.total, None)
        if interrupts.seen:
            console.print(f"Stopped; everything paid for is kept. Go on with: cai run {target}")
            return 130
        quarantined = live.job.progress.quarantined.total()
    (finish or _finish)(target)
    if quarantined:
        console.print(
            f"{quarantined:,} rows are in quarantine (quarantine.jsonl); the same command takes them up again."
        )
        return 3
    return 0


async def _go(live: LiveRun, stage: str, total: int, only: Callable[[str], bool] | None) -> None:
    from cai.cli.display import Display
    from cai.job import Progress

    quarantined = live.job.progress.quarantined
    live.job.progress = Progress(total=total)
    async with Display(stage, live.job.progress, live.ask, err()):
        await live.job.work(live.rows_in_flight, only)
    live.job.progress.quarantined.update(quarantined if stage != "run" else {})


def _may_go_on(live: LiveRun, choice: PilotChoice, *, yes: bool, pilot_only: bool) -> bool:
    """Show the pilot and decide whether the rest is worked on."""
    from cai.cli.pilot_page import print_pilot
    from cai.pilot import failed_thresholds, write_pilot

    approved = live.generation.digest in choice.approved
    if approved and not pilot_only:
        return True
    summary = print_pilot(out(), live, choice)
    if pilot_only:
        return False
    if choice.total <= len(choice.rows):
        return True
    section = live.recipe.pilot
    if not yes and section.has_thresholds:
        failed = failed_thresholds(summary, section)
        if failed:
            raise RunError(
                f"The pilot does not reach the recipe's thresholds: {'; '.join(failed)}.",
                "Change the recipe, the principles or the model and run again, or go on with --yes.",
            )
    elif not yes and not _asked(choice):
        return False
    choice.approved.append(live.generation.digest)
    write_pilot(live.run, choice)
    return True


def _asked(choice: PilotChoice) -> bool:
    left = choice.total - len(choice.rows)
    if not sys.stdin.isatty():
        err().print(
            f"The pilot is done and waits for a person: {left:,} rows are left. "
            "Go on with --yes, or set thresholds under `pilot:` in the recipe.",
            soft_wrap=True,
        )
        return False
    return typer.confirm(f"Go on with the other {left:,} rows?", err=True)


def _finish(target: Path) -> None:
    """Build the dataset and the comparison."""
    from cai.cli.compare import compare_run
    from cai.cli.dataset import build_run

    build_run(target, console=err())
    compare_run(target, console=out())


class _Interrupts:
    """The first Ctrl-C (or SIGTERM) ends the job gently, the second at once."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self.seen = 0

    def __enter__(self) -> _Interrupts:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt, task)
        return self

    def _interrupt(self, task: asyncio.Task[object]) -> None:
        self.seen += 1
        if self.seen == 1:
            err().print("Stopping: what is under way is finished and kept. Ctrl-C again stops at once.")
            self._stop()
        else:
            task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        return self.seen > 1 and kind is not None and issubclass(kind, asyncio.CancelledError)


__all__ = ["CaiError", "enter", "run", "work"]

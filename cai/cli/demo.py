"""`cai demo`: the whole job in a toy world, offline, with the model that comes with the program.

What this module does not know: the toy world (cai/toy), the job.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cai.cli.console import err, out
from cai.run_folder import RunFolder

NOTICE = """\
This is a toy world: made-up dialogues about everyday topics with silly flaws planted in them, and
a tiny model trained on nothing else. It shows the job, not what a real model says. Some human
labels were flipped on purpose, so the comparison can say how many the AI's labels find."""


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("demo")(demo)


def demo(
    folder: Annotated[Path, typer.Argument(metavar="[RUN]", help="The run's folder.")] = Path("runs/demo"),
) -> None:
    """The whole job in a toy world, offline."""
    from cai.cli.run import Wish, work_until_stopped
    from cai.toy.demo import write_demo

    began = time.monotonic()
    out().print(NOTICE + "\n", soft_wrap=True)
    write_demo(folder)
    code = work_until_stopped(folder, Wish(meant="edited"), _finish)
    if code == 0:
        err().print(f"\nDone in {time.monotonic() - began:.0f} s.")
    raise typer.Exit(code)


def _finish(folder: Path) -> None:
    """Build the dataset, compare it with the planted truth too, tell three stories."""
    from rich.markdown import Markdown

    from cai.cli.compare import compare_run
    from cai.cli.dataset import build_run
    from cai.reading import ReadRun
    from cai.run_folder import open_run
    from cai.source import Row
    from cai.toy.demo import choose_stories, tell, truth_by_row

    console = out()
    build_run(folder, console=err())
    compare_run(folder, console=console)
    run = open_run(folder)
    with ReadRun(run) as reading:
        rows = [item for item in reading.source.items() if isinstance(item, Row)]
        truth = truth_by_row(run.path, rows)
        stories = choose_stories(rows, reading.outcomes(row.id for row in rows), truth)
    text = tell(stories, str(folder))
    (run.path / "stories.md").write_text(text, "utf-8")
    console.print()
    console.print(Markdown(text))
    _say_where(run, folder)


def _say_where(run: RunFolder, folder: Path) -> None:
    console = out()
    console.rule("What the run leaves", align="left")
    for place, meaning in (
        (run.dataset, "the dataset; datasets.load_dataset opens it"),
        (run.comparison, "the comparison as JSON"),
        (run.path / "stories.md", "the three stories above"),
        (run.store, "every answer, one JSON line each"),
    ):
        console.print(f"  {folder / place.relative_to(run.path)}  [dim]{meaning}[/dim]", soft_wrap=True)

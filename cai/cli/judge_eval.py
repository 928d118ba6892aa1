"""`cai judge-eval`: how good a judge a model is, on labelled comparisons.

What this module does not know: formats, ways of asking, figures (cai/judge_eval).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cai.cli import printable
from cai.cli.console import err, out

if TYPE_CHECKING:
    from cai.judge_eval.evaluation import LiveEvaluation
    from cai.judge_eval.ways import Wish


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("judge-eval")(judge_eval)


def judge_eval(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Labelled comparisons; docs/judge-eval.md.")],
    recipe: Annotated[
        Path, typer.Option("--recipe", metavar="RECIPE|RUN", help="The run whose engine is the judge.")
    ],
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of its engines; its first judge by default.")
    ] = None,
    way: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WAY",
            help="recipe (as a run asks), plain, principles, reasoned, examples, verbatim, harm, or some joined by +. Repeatable.",
        ),
    ] = None,
    harm: Annotated[bool, typer.Option("--harm", help="Also rate each response alone.")] = False,
    principles: Annotated[
        str | None, typer.Option(metavar="N|all", help="How many principles judge an item.")
    ] = None,
    constitution: Annotated[
        str | None, typer.Option(metavar="NAME", help="The principles; the recipe's by default.")
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="The templates; the recipe's by default.")
    ] = None,
    examples: Annotated[
        str | None, typer.Option(metavar="FILE", help="Worked judgements for the way examples.")
    ] = None,
    question: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The one question of plain, in your words.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column to take categories from.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask about so many items, spread out.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Answers and figures; runs/judge-eval-FILE[-PROMPTS] by default."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON instead.")] = False,
) -> None:
    """How good a judge a model is, on labelled comparisons.

    Accuracy and calibration by category and way of asking, with intervals. Every answer is kept:
    the same command goes on where it was stopped, and asks nothing twice.
    """
    import uvloop

    from cai.judge_eval.ways import DEFAULT, Wish

    named = [*(way or DEFAULT), *(["harm"] if harm else [])]
    wish = Wish(tuple(named), engine, principles, constitution, prompts, examples, question)
    raise typer.Exit(uvloop.run(_work(file, recipe, wish, by, limit, folder, as_json)))


async def _work(
    file: Path,
    recipe: Path,
    wish: Wish,
    by: str | None,
    limit: int | None,
    folder: Path | None,
    as_json: bool,
) -> int:
    """Ask, measure, write, print; returns the exit code. Raises: CaiError."""
    from cai.judge_eval.evaluation import LiveEvaluation, encode
    from cai.judge_eval.reading import read_items
    from cai.judge_eval.screen import print_evaluation
    from cai.run_folder import open_run

    run = open_run(recipe)
    reading = read_items(file, by)
    place = folder or run.path.parent / default_folder(reading.name, wish.prompts)
    async with LiveEvaluation(run, reading, wish, place, limit) as live:
        stopped = await _go(live)
        if stopped:
            err().print("Stopped; everything paid for is kept, and the same command goes on.", soft_wrap=True)
            return 130
        figures = live.figures()
        written = live.write(figures)
    if as_json:
        sys.stdout.buffer.write(encode(figures))
    else:
        print_evaluation(out(), figures)
        out().print(f"\nWritten to {escape(printable(str(written)))}", soft_wrap=True)
    if figures.failed:
        err().print(
            f"{len(figures.failed):,} items could not be asked; the same command takes them up again.",
            soft_wrap=True,
        )
        return 3
    return 0


def default_folder(file: str, prompts: str | None) -> str:
    """The name of an evaluation's folder: other templates make another evaluation."""
    named = "" if prompts is None else f"-{Path(prompts).resolve().name}"
    return f"judge-eval-{file}{named}"


async def _go(live: LiveEvaluation) -> bool:
    """Ask about all items, with progress on stderr; returns whether a person stopped it."""
    from cai.cli.display import Display
    from cai.cli.interrupts import Interrupts

    with Interrupts(live.stop) as interrupts:
        async with Display("judge-eval", live.work.progress, live.asking.ask, err()):
            await live.go()
    return interrupts.seen > 0

"""`cai review`: a person judges a blind sample of pairs; the answers say who was right how often.

What this module does not know: how a sample is drawn (cai/review), the figures (cai/compare).
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from cai.cli.console import out
from cai.errors import ReviewError

if TYPE_CHECKING:
    from cai.compare.estimates import Estimate, Rate
    from cai.compare.person_figures import PersonFigures, ReviewedCell
    from cai.review import Key
    from cai.run_folder import RunFolder


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("review")(review)


def review(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    answers: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Read a person's answers back.")
    ] = None,
    reviewer: Annotated[
        str, typer.Option(metavar="NAME", help="Who answered; several people may.")
    ] = "reviewer",
    sample: Annotated[int, typer.Option(min=10, help="How many pairs go on the sheet.")] = 100,
    seed: Annotated[int | None, typer.Option(help="Draws the sample; the recipe's by default.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Where the sheet lies; RUN/review by default."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """A person judges a blind sample of pairs.

    Writes sheet.html and sheet.csv for the person, and key.json, which the person should not open.
    With --answers, says who was right how often; `cai compare` then has these figures too.
    """
    from cai.run_folder import open_run

    run = open_run(target)
    place = folder or run.path / "review"
    if answers is None:
        _export(run, place, sample, seed, None if as_json else out())
    else:
        _read(run, place, answers, reviewer, None if as_json else out())


def _export(run: RunFolder, place: Path, size: int, seed: int | None, console: Console | None) -> None:
    """Write the sheet and say where it is, how it was drawn and what to do with it."""
    from cai.review import export_review

    key = export_review(run.dataset, place, size, seed, run.name)
    counts = {
        cell: (
            sum(s.items for s in key.strata if s.cell == cell),
            sum(s.pairs for s in key.strata if s.cell == cell),
        )
        for cell in ("differ", "agree", "undecided")
    }
    if console is None:
        found = {"sheet": key.sheet, "folder": str(place), "items": len(key.items), "seed": key.seed}
        _json(found | {"strata": [asdict(stratum) for stratum in key.strata]})
        return
    shown = escape(os.path.relpath(place))
    named = {
        "differ": "on which the AI and the human label differ",
        "agree": "on which they agree",
        "undecided": "on which the AI has no label",
    }
    console.print(f"A sheet of {len(key.items)} pairs lies in {shown}:", soft_wrap=True)
    for cell, (items, pairs) in counts.items():
        if items:
            console.print(f"  {items} of the {pairs:,} pairs {named[cell]}", soft_wrap=True)
    console.print(
        f"Open {shown}/sheet.html in a browser (or fill in {shown}/sheet.csv); leave key.json closed.\n"
        f"Then type: cai review {escape(run.shown + _out(place, run))} --answers FILE.csv --reviewer NAME",
        soft_wrap=True,
    )


def _out(place: Path, run: RunFolder) -> str:
    standard = place.resolve() == (run.path / "review").resolve()
    return "" if standard else f" --out {os.path.relpath(place)}"


def _read(run: RunFolder, place: Path, path: Path, reviewer: str, console: Console | None) -> None:
    """Read answers back, keep them, and say what everybody's answers show."""
    from cai.compare.person import person_figures
    from cai.review import read_answers, read_key, read_reviewers, write_answers

    key = read_key(place)
    if key is None:
        raise ReviewError(
            f"There is no review sheet in {place}.", f"Type: cai review {run.shown}{_out(place, run)}"
        )
    answers = read_answers(path, key, reviewer)
    _same_labels(run, key)
    written = write_answers(place, answers)
    figures = person_figures(key, read_reviewers(place, key))
    if console is None:
        _json(asdict(figures))
        return
    console.print(
        f"{len(answers.answers)} answers of {escape(reviewer)} are kept in {escape(os.path.relpath(written))}; "
        f"{answers.blank} items have none.\n",
        soft_wrap=True,
    )
    for line in in_words(figures):
        console.print(escape(line), soft_wrap=True)


def _same_labels(run: RunFolder, key: Key) -> None:
    """Raises: ReviewError where the sheet was made of other labels than the dataset now has.

    The judge's name is only a name: another judge is another generation.
    """
    from cai.review import origin

    now = origin(run.dataset)
    if (now.generation, now.tie_threshold) != (key.generation, key.tie_threshold):
        raise ReviewError(
            f"The sheet {key.sheet[:8]} was made of the run {key.run}, generation {key.generation[:8]}, tie "
            f"threshold {key.tie_threshold:g}; the dataset in {run.dataset} is of generation "
            f"{now.generation[:8]}, tie threshold {now.tie_threshold:g}: its labels are others.",
            f"Build that dataset again, or export a new sheet: cai review {run.shown} --out FOLDER",
        )


def in_words(figures: PersonFigures) -> list[str]:
    """The figures as sentences, the ones that matter first."""
    people = len(figures.reviewers)
    who = "One person" if people == 1 else f"{people} people"
    made = [
        f"{who} answered {figures.answered} of {figures.items} items: {figures.equal} equal, "
        f"{figures.both_bad} both bad, {figures.split} split; {figures.skipped} skipped, {figures.blank} blank.",
        _sentence(figures.differ, "Where the AI and the human label differ, the person sides with the AI"),
        _sentence(figures.agree, "Where they agree, the person agrees with both"),
    ]
    if figures.undecided.items:
        made.append(_sentence(figures.undecided, "Where the AI has no label, the human label is right"))
    made += [
        f"Over all pairs with an AI label that a person can decide, the AI is right {_share(figures.ai.weighted)}, "
        f"the human label {_share(figures.human.weighted)}.",
        f"{_ahead(figures.ahead)}",
    ]
    for pair in figures.between:
        made.append(
            f"{pair.one} and {pair.other} gave the same answer {_share(pair.same)} of {pair.same.n} items"
            + (f" (kappa {pair.kappa.value:.2f})." if pair.kappa.value is not None else ".")
        )
    return [line for line in made if line]


def _sentence(cell: ReviewedCell, begins: str) -> str:
    counted = cell.sided.counted
    if not counted.n:
        return f"{begins}: no answer decides it."
    return f"{begins} {_share(cell.sided.weighted)} ({counted.count:g} of {counted.n} decided)."


def _share(figure: Estimate | Rate) -> str:
    if figure.value is None:
        return "in an unknown share"
    interval = (
        "" if figure.low is None or figure.high is None else f" ({figure.low:.0%} to {figure.high:.0%})"
    )
    return f"in {figure.value:.0%}{interval}"


def _ahead(ahead: Estimate) -> str:
    if ahead.value is None or ahead.low is None or ahead.high is None:
        return ""
    points = f"{ahead.value * 100:+.0f} points ({ahead.low * 100:+.0f} to {ahead.high * 100:+.0f})"
    if ahead.low > 0:
        return f"The AI's labels are the better ones, by {points}."
    if ahead.high < 0:
        return f"The human labels are the better ones; the AI's differ by {points}."
    return f"Which labels are better, these answers cannot say: the AI's differ by {points}."


def _json(found: object) -> None:
    import sys

    sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

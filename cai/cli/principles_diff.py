"""`cai principles diff`: two constitutions, or two versions of one, on the same rows.

What this module does not know: the figures (cai/workbench/diffing.py, changes.py).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cai.cli import printable
from cai.cli.console import err, out
from cai.errors import ConstitutionError, RunError

if TYPE_CHECKING:
    from cai.compare.estimates import Estimate, Rate
    from cai.principle import Constitution
    from cai.run_folder import RunFolder
    from cai.workbench.changes import Changes
    from cai.workbench.diffing import ChangedRow, Difference

SHOWN_CHARACTERS = 400


def diff(
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="A constitution's file or name, or REVISION:FILE of git.")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The other one, in the same way.")],
    target: Annotated[
        Path,
        typer.Option(
            "--recipe", "--run", metavar="RECIPE|RUN", help="A run: its rows, engines and templates are used."
        ),
    ],
    sample: Annotated[int, typer.Option(min=0, help="Rows to try both on; 0: only count requests.")] = 200,
    count: Annotated[bool, typer.Option(help="Count what the whole run would ask again.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """What a change of principles does to labels and revisions, and what it costs.

    Both are tried on the same sampled rows of the run. How many requests of the whole run change
    is told from digests, without a server.
    """
    from cai.run_folder import open_run

    run = open_run(target)
    before, after = constitution_of(old), constitution_of(new)
    changes = asyncio.run(_changes(run, before, after)) if count else None
    difference = asyncio.run(_difference(run, before, after, sample)) if sample else None
    if as_json:
        made = {
            "old": before.digest,
            "new": after.digest,
            "changes": None
            if changes is None
            else {**vars(changes), "stages": dict(changes.stages), "requests": changes.requests},
            "difference": None if difference is None else asdict(difference),
        }
        sys.stdout.write(json.dumps(made, indent=2) + "\n")
        return
    console = out()
    if changes is not None:
        _print_changes(console, changes)
    if difference is not None:
        _print_difference(console, difference)


def constitution_of(name: str) -> Constitution:
    """A constitution by file, name, or `REVISION:FILE` as git names an earlier version.

    What an earlier version includes is read as it stands now. Raises: ConstitutionError, InputError.
    """
    from cai.cli.naming import named
    from cai.constitution_file import parse_constitution

    revision, colon, path = name.partition(":")
    if not colon or Path(name).exists():
        return named(name)
    file = Path(path)
    shown = subprocess.run(
        ["git", "show", f"{revision}:./{file.name}"],
        cwd=file.parent if file.parent.is_dir() else None,
        capture_output=True,
        check=False,
    )
    if shown.returncode:
        said = shown.stderr.decode(errors="replace").strip().splitlines()
        raise ConstitutionError(
            f"git has no {path} at {revision}: {said[-1] if said else 'it says nothing'}.",
            "Check the revision and the file's path.",
        )
    try:
        text = shown.stdout.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConstitutionError(
            f"{path} at {revision} is not UTF-8 (byte {error.start}).", "Compare another revision of it."
        ) from error
    return parse_constitution(text, file)


def _subsets(run: RunFolder, before: Constitution, after: Constitution) -> str:
    """The name under which the run's recipe knows the constitution that changes."""
    from cai.recipe import load_recipe

    names = list(dict.fromkeys(load_recipe(run.recipe).constitutions.values()))
    for each in (after, before):
        for name in names:
            if Path(name).stem == each.name:
                return name
    if len(names) == 1:
        err().print(
            Text(
                f"The recipe of {run.name} uses neither {before.name} nor {after.name}; both are tried in the "
                f"place of {names[0]}."
            )
        )
        return names[0]
    raise RunError(
        f"The recipe of {run.name} uses neither {before.name} nor {after.name}, but {', '.join(names)}.",
        "Compare versions of a constitution that the run uses.",
    )


async def _changes(run: RunFolder, before: Constitution, after: Constitution) -> Changes | None:
    """What the whole run would ask again, or None where the run has not begun."""
    from cai.frozen import row_plans
    from cai.reading import ReadRun
    from cai.workbench.changes import count_changes

    if not run.frozen.is_dir() or not run.store.is_dir():
        err().print(Text(f"{run.name} has not begun, so nothing of it would be asked again."))
        return None
    used = _subsets(run, before, after)
    with ReadRun(run) as read:
        plans = [
            row_plans(replace(read.inputs, constitutions={**read.inputs.constitutions, used: each}))
            for each in (before, after)
        ]
        recipe = read.recipe

        def plan_of(index: int, subset: str) -> object:
            return plans[index][used] if recipe.constitution_for(subset) == used else None

        return await count_changes(
            read.source.items(),
            lambda subset: plan_of(0, subset),  # type: ignore[arg-type, return-value]
            lambda subset: plan_of(1, subset),  # type: ignore[arg-type, return-value]
            read.store,
            read.identities,
        )


async def _difference(run: RunFolder, before: Constitution, after: Constitution, sample: int) -> Difference:
    from cai.dataset import tie_threshold
    from cai.source import open_sources
    from cai.workbench.asking import Asking
    from cai.workbench.diffing import both_outcomes, difference, sample_rows

    used = _subsets(run, before, after)
    async with Asking(run) as asking:
        recipe = asking.recipe
        source = open_sources(recipe.sources, run.path)
        subsets = {subset for _, subset in source.ids() if recipe.constitution_for(subset) == used}
        rows = sample_rows(source, sorted(subsets), sample, recipe.seed)
        if not rows:
            raise RunError(f"No row of {run.name} is under {used}.", "See constitutions: in its recipe.")
        outcomes = await both_outcomes(before, after, rows, asking)
        return difference(before, after, rows, outcomes, tie_threshold(run.path, recipe))


# ------------------------------------------------------------------------------ terminal


def _print_changes(console: Console, changes: Changes) -> None:
    stages = ", ".join(f"{count:,} {stage}" for stage, count in sorted(changes.stages.items()))
    console.print(Text("The whole run", style="bold"))
    console.print(
        Text(
            f"{changes.direct:,} of at most {changes.requests:,} requests change directly"
            f"{f' ({stages})' if stages else ''}, in {changes.rows_touched:,} of {changes.rows:,} rows; "
            f"at most {changes.follow_at_most:,} more follow from their answers. "
            f"{changes.kept:,} are answered from the store."
        )
    )
    if changes.open:
        console.print(Text(f"{changes.open:,} have not been asked yet, with or without the change."))
    console.print()


def _print_difference(console: Console, made: Difference) -> None:
    console.print(Text(f"{made.rows:,} sampled rows under both", style="bold"))
    for words, names in (("Only the new one has", made.added), ("Only the old one has", made.removed)):
        if names:
            console.print(Text(f"{words}: {', '.join(names)}."))
    if made.pairs:
        flips = ", ".join(f"{count} {name}" for name, count in made.flips.items())
        console.print(Text(f"Labels that differ: {share_text(made.flipped)} of {made.pairs:,}"))
        if flips:
            console.print(Padding(Text(flips), (0, 0, 0, 2), expand=False))
        chance = "" if made.mcnemar_p is None else f"; by chance alone with probability {made.mcnemar_p:.2g}"
        console.print(
            Text(
                f"Agreement with the human label: {share_text(made.agreement_before)} before, "
                f"{share_text(made.agreement_after)} after; paired change "
                f"{_estimate(made.agreement_change, percent=True)}{chance}"
            )
        )
    if made.critiques:
        console.print(
            Text(f"Critiques that differ: {share_text(made.critiques_changed)} of {made.critiques:,}")
        )
    if made.revisions:
        console.print(
            Text(
                f"Revisions that differ: {share_text(made.revisions_changed)} of {made.revisions:,}; length "
                f"{_estimate(made.length_change)} characters on average"
            )
        )
    if made.principles and made.pairs:
        table = Table(box=None, pad_edge=False)
        table.add_column("principle")
        table.add_column("shift of its probability", justify="right")
        table.add_column("flips", justify="right")
        for each in made.principles:
            if each.n and (each.flips.count or (each.shift.value or 0) != 0):
                table.add_row(each.principle, _estimate(each.shift), share_text(each.flips, short=True))
        if table.row_count:
            console.print()
            console.print(table)
    for item in made.most_changed:
        _print_row(console, item)


def _print_row(console: Console, item: ChangedRow) -> None:
    def told(probability: float | None) -> str:
        return "none" if probability is None else f"{probability:.2f}"

    console.print()
    console.print(
        Text(
            f"{item.row_id[:12]} (line {item.line}): probability of the human's choice "
            f"{told(item.probability_before)} to {told(item.probability_after)}",
            style="bold",
        )
    )
    texts = [("asked", item.prompt), ("human's choice", item.chosen), ("other", item.rejected)]
    if item.revision_before != item.revision_after:
        texts += [
            ("revision before", item.revision_before or ""),
            ("revision after", item.revision_after or ""),
        ]
    for head, text in texts:
        cut = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " ..."
        line = Text(f"{head}: ", style="dim")
        line.append(printable(cut), style="")
        console.print(Padding(line, (0, 0, 0, 2), expand=False))


def share_text(rate: Rate, short: bool = False) -> str:
    """A share with its interval: `61.2 % (59.0 to 63.3)`; `short`: the share alone; `-` where nothing was counted."""
    if rate.value is None or rate.low is None or rate.high is None:
        return "-"
    value = f"{rate.value * 100:.1f} %"
    return value if short else f"{value} ({rate.low * 100:.1f} to {rate.high * 100:.1f})"


def _estimate(made: Estimate, percent: bool = False) -> str:
    if made.value is None:
        return "-"
    value, low, high = (
        None if each is None else f"{each * 100:+.1f}" if percent else f"{each:+.3g}"
        for each in (made.value, made.low, made.high)
    )
    unit = " points" if percent else ""
    return f"{value}{unit} ({low} to {high})" if low is not None else f"{value}{unit}"

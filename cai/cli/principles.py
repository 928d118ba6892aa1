"""`cai principles`: see, check and import what a constitution says.

What this module does not know: the rules of lint and of the formats (cai/workbench).
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cai.cli.console import err, out
from cai.cli.naming import named
from cai.cli.principles_diff import diff, share_text
from cai.cli.trying import try_
from cai.errors import CaiError, ConstitutionError, RunError

if TYPE_CHECKING:
    from cai.principle import Constitution
    from cai.run_folder import RunFolder
    from cai.workbench.ablate import Ablation
    from cai.workbench.known_answers import TestResult
    from cai.workbench.lint import Finding, Lengths

Named = Annotated[
    str, typer.Argument(metavar="CONSTITUTION", help="A constitution's file, or the name of one (harmless).")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def enter(app: typer.Typer) -> None:
    """Enter the verb with its own verbs."""
    verbs = typer.Typer(no_args_is_help=True, help="See, check and import principles.")
    verbs.command("show")(show)
    verbs.command("lint")(lint)
    verbs.command("schema")(schema)
    verbs.command("import")(import_)
    verbs.command("try")(try_)
    verbs.command("diff")(diff)
    verbs.command("test")(hold_to_tests)
    verbs.command("ablate")(ablate)
    app.add_typer(verbs, name="principles")


def schema() -> None:
    """Print the JSON Schema of a constitution file, for editors that complete and underline."""
    from cai.constitution_file import schema as made

    sys.stdout.write(json.dumps(made(), indent=2) + "\n")


def show(name: Named, as_json: Json = False) -> None:
    """Print a constitution as the program reads it.

    Includes and overrides are resolved, each form with the file and line it comes from.
    """
    from cai.principle import FORMS
    from cai.workbench.lint import lengths

    constitution = named(name)
    counted = {item.principle: item.tokens for item in lengths(constitution)}
    if as_json:
        principles = [
            {**p.model_dump(), "origins": {form: constitution.value(p, form).origin for form in FORMS}}
            for p in constitution.principles
        ]
        made = {"constitution": constitution.name, "digest": constitution.digest, "principles": principles}
        sys.stdout.write(json.dumps(made, indent=2) + "\n")
        return
    console = out()
    count = len(constitution.principles)
    console.print(Text(f"{constitution.title}: {count} principles, digest {constitution.digest}"))
    for principle in constitution.principles:
        console.print()
        about = ", ".join(principle.tags)
        weight = f", weight {principle.weight:g}" if principle.weight != 1 else ""
        polarity = ", asks for the worse response" if principle.polarity == "worse" else ""
        console.print(Text(f"{principle.id}  ({about}{weight}{polarity})", style="bold"))
        for form in FORMS:
            origin = constitution.value(principle, form).origin
            head = Text(f"{form}  ({origin}, about {counted[principle.id][form]} tokens)", style="dim")
            console.print(Padding(head, (0, 0, 0, 2), expand=False))
            console.print(Padding(Text(getattr(principle, form)), (0, 0, 0, 4), expand=False))


def lint(
    names: Annotated[
        list[str], typer.Argument(metavar="CONSTITUTION...", help="Constitution files, or their names.")
    ],
    ignore: Annotated[
        list[str] | None, typer.Option(help="A rule to leave out; may be given more than once.")
    ] = None,
    included: Annotated[
        bool, typer.Option(help="Remark on principles too that are included as they stand.")
    ] = False,
    strict: Annotated[bool, typer.Option(help="Let notes end in exit code 1 too.")] = False,
    as_json: Json = False,
) -> None:
    """Say what a careful colleague would say about the wording of principles.

    Exit code 1 where there is a warning or a file cannot be read.
    """
    from cai.workbench.lint import RULES, lengths
    from cai.workbench.lint import lint as remarks
    from cai.yaml_file import nearest

    left_out = set(ignore or [])
    for rule in left_out - set(RULES):
        raise typer.BadParameter(f"there is no rule {rule!r}{nearest(rule, RULES)}", param_hint="--ignore")
    found: list[Finding] = []
    made: list[dict[str, object]] = []
    failed = False
    for name in names:
        try:
            constitution = named(name)
        except CaiError as error:
            failed = True
            err().print(Text(f"{error.problem}\n{error.remedy}".rstrip()))
            continue
        own = [item for item in remarks(constitution, included=included) if item.rule not in left_out]
        found += own
        counted = lengths(constitution)
        made.append(
            {
                "constitution": constitution.name,
                "findings": [asdict(item) for item in own],
                "tokens": {item.principle: item.tokens for item in counted},
                "tokens_estimated": True,
            }
        )
        if not as_json:
            _print_remarks(constitution, own, counted)
    if as_json:
        sys.stdout.write(json.dumps(made, indent=2) + "\n")
    if failed or any(strict or item.weight == "warning" for item in found):
        raise typer.Exit(1)


def _print_remarks(constitution: Constitution, found: list[Finding], counted: list[Lengths]) -> None:
    console = out()
    for item in found:
        who = f" {item.principle}:" if item.principle else ""
        console.print(Text(f"{item.where}: {item.weight}:{who} {item.problem} [{item.rule}]"))
        console.print(Padding(Text(item.advice, style="dim"), (0, 0, 0, 4), expand=False))
    table = Table(box=None, pad_edge=False, title="tokens (estimated)", title_justify="left")
    table.add_column("principle")
    forms = list(counted[0].tokens)
    for form in forms:
        table.add_column(form, justify="right")
    for each in counted:
        table.add_row(each.principle, *(str(each.tokens[form]) for form in forms))
    console.print(table)
    warnings = sum(item.weight == "warning" for item in found)
    console.print(
        Text(f"{constitution.path.name}: {warnings} warnings, {len(found) - warnings} notes"), soft_wrap=True
    )


def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The file in another format.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="The constitution file to write; without it: printed.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="The constitution's name, where nothing is written.")
    ] = "imported",
    title: Annotated[str, typer.Option(help="Its title.")] = "",
    origin: Annotated[str, typer.Option("--source", help="Where the wording comes from.")] = "",
    licence: Annotated[str, typer.Option(help="The licence of that source.")] = "",
) -> None:
    """Turn principles in another format into a constitution file.

    Known formats: the Constitutional AI paper's CritiqueRevisionInstructions.json and
    RLMadisonInstructions.json, llm-swarm's constitution, and lists of sentences (JSON, or one a
    line). What does not map is reported; what is left over goes to FILE.left-over.json beside
    the written file.
    """
    from cai.constitution_file import parse_constitution
    from cai.workbench.importing import as_yaml, import_constitution

    imported = import_constitution(source)
    imported.source = origin or imported.source
    if licence:
        imported.licence = licence
        imported.reports = [line for line in imported.reports if "no licence" not in line]
    target = out_file or Path(f"{name}.yaml")
    text = as_yaml(imported, target.stem, title or target.stem)
    parse_constitution(text, target)
    for line in imported.reports:
        err().print(Text(f"note: {line}"))
    if out_file is None:
        sys.stdout.write(text)
        return
    if out_file.exists():
        raise ConstitutionError(f"{out_file} is there already.", "Name another file, or move it away.")
    out_file.write_text(text, "utf-8")
    err().print(Text(f"{len(imported.principles)} principles are in {out_file}"))
    if imported.left_over:
        beside = out_file.with_suffix(".left-over.json")
        beside.write_text(json.dumps(imported.left_over, indent=2, ensure_ascii=False) + "\n", "utf-8")
        err().print(Text(f"what has no place in a constitution is in {beside}"))


def hold_to_tests(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: its engines and templates.")],
    constitution: Annotated[
        list[str] | None, typer.Option(help="A constitution's file or name; without it: those of the run.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A principle's id; may be given more than once.")
    ] = None,
    engine: Annotated[str, typer.Option(help="The engine that judges; without it: the run's judge.")] = "",
    as_json: Json = False,
) -> None:
    """Hold a model to the principles' own tests, in both orders.

    Exit code 1 where a test fails. A test that passes in one order only fails, and says so.
    """
    from cai.run_folder import open_run

    run = open_run(target)
    results = asyncio.run(_run_tests(run, constitution or [], only or [], engine))
    if as_json:
        made = [{**asdict(item), "margin": item.margin} for item in results]
        sys.stdout.write(json.dumps(made, indent=2) + "\n")
    else:
        _print_tests(results)
    if any(item.verdict != "passed" for item in results):
        raise typer.Exit(1)


async def _run_tests(run: RunFolder, names: list[str], only: list[str], engine: str) -> list[TestResult]:
    from cai.frozen import judge_plans
    from cai.recipe import load_recipe
    from cai.workbench.asking import Asking
    from cai.workbench.known_answers import run_tests
    from cai.yaml_file import nearest

    recipe = load_recipe(run.recipe)
    if recipe.feedback is None:
        raise RunError(f"The recipe of {run.name} has no feedback section, so no judge.", "Add one.")
    judge = engine or recipe.judges()[0]
    if judge not in recipe.judges():
        raise RunError(
            f"{judge!r} is no judge of this recipe{nearest(judge, recipe.judges())}.",
            "See roles.judge in it.",
        )
    async with Asking(run, [judge]) as asking:
        wanted = [named(name) for name in names] or list(asking.inputs.constitutions.values())
        known = {principle.id for each in wanted for principle in each.principles}
        for name in only:
            if name not in known:
                raise ConstitutionError(f"There is no principle {name!r}{nearest(name, known)}", "")
        results: list[TestResult] = []
        for each in wanted:
            plan = next(plan for plan in judge_plans(asking.inputs, each) if plan.engine == judge)
            results += await run_tests(each, plan, asking, only)
    if not results:
        raise ConstitutionError(
            f"No principle of {', '.join(each.name for each in wanted)} has tests of its own.",
            "Give a principle `tests:`, each with a prompt, a better and a worse response.",
        )
    return results


def _print_tests(results: list[TestResult]) -> None:
    console = out()
    table = Table(box=None, pad_edge=False)
    for head, side in (
        ("principle", "left"),
        ("test", "right"),
        ("better as A", "right"),
        ("better as B", "right"),
        ("margin", "right"),
        ("", "left"),
    ):
        table.add_column(head, justify=side)  # type: ignore[arg-type]
    for item in results:
        told = item.verdict if not item.said else f"{item.abstained}: {item.said}"
        shown = [_probability(value) for value in (item.shown_as_a, item.shown_as_b)]
        margin = "-" if item.margin is None else f"{item.margin:+.2f}"
        table.add_row(Text(item.principle), str(item.number), *shown, margin, Text(told))
    console.print(table)
    passed = sum(item.verdict == "passed" for item in results)
    one_order = sum(item.verdict == "one order only" for item in results)
    told = f"{passed} of {len(results)} tests passed"
    if one_order:
        told += f"; {one_order} passed in one order only, which is the place speaking and not the text"
    console.print(Text(told))


def _probability(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def ablate(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    as_json: Json = False,
) -> None:
    """What each principle contributes, from judgements already made; nothing is asked.

    Labels without each principle, which principles agree with which, and how few of them give
    nearly the labels of all. Over the human pairs of the run's dataset.
    """
    from cai.cli.ending import read_summary
    from cai.reading import ReadRun
    from cai.run_folder import open_run
    from cai.workbench.ablate import ablate as compute
    from cai.workbench.ablate import opinion_tables

    run = open_run(target)
    built = read_summary(run)
    if not isinstance(built, dict) or not built.keys() >= {"generation", "settings"}:
        raise RunError(f"The run {run.name} has no dataset that can be read.", f"Type: cai dataset {target}")
    settings = built["settings"]
    with ReadRun(run) as read:
        if built["generation"] != read.generation.digest:  # other judgements, under other weights maybe
            raise RunError(
                f"The dataset of {run.name} is of generation {built['generation'][:12]}, the run has gone on to "
                f"{read.generation.digest[:12]}.",
                f"Type: cai dataset {target}",
            )
        feedback = read.recipe.feedback
        weights = {
            constitution.name: {principle.id: principle.weight for principle in constitution.principles}
            for constitution in read.inputs.constitutions.values()
        }
        judge = read.recipe.judges()[0]
    tables = opinion_tables(
        run.dataset,
        weights,
        feedback.combine if feedback else "probability",
        float(settings["tie_threshold"]),
        judge,
    )
    if not tables:
        raise RunError(f"The run {run.name} has no judged human pairs.", "Judge pairs of kind human.")
    made = [compute(table, name) for name, table in sorted(tables.items())]
    if as_json:
        sys.stdout.write(json.dumps([asdict(item) for item in made], indent=2) + "\n")
        return
    for item in made:
        _print_ablation(item)


def _print_ablation(made: Ablation) -> None:
    console = out()
    console.print(
        Text(f"{made.constitution}: {made.pairs:,} human pairs; all principles together agree with the human")
    )
    console.print(Text(f"label in {share_text(made.agreement)} of the decided ones.\n"))
    table = Table(box=None, pad_edge=False)
    table.add_column("principle")
    for head in ("alone", "labels changed without it", "what it adds to agreement"):
        table.add_column(head, justify="right")
    for each in made.principles:
        gain = each.agreement_gain
        adds = "-" if gain.value is None else f"{gain.value * 100:+.1f} points"
        if gain.low is not None and gain.high is not None:
            adds += f" ({gain.low * 100:+.1f} to {gain.high * 100:+.1f})"
        table.add_row(
            each.principle, share_text(each.alone, short=True), share_text(each.changed, short=True), adds
        )
    console.print(table)
    console.print(Text("\nHow few give nearly the labels of all (each line adds a principle):"))
    few = Table(box=None, pad_edge=False)
    for head, side in (("k", "right"), ("adds", "left"), ("same label", "right"), ("judgements", "right")):
        few.add_column(head, justify=side)  # type: ignore[arg-type]
    for step in made.few:
        few.add_row(str(step.k), step.added, share_text(step.same, short=True), f"{step.cost * 100:.0f} %")
    console.print(few)
    pairs = [
        (value, made.principles[i].principle, made.principles[j].principle)
        for i, row in enumerate(made.matrix)
        for j, value in enumerate(row)
        if j < i and value is not None
    ]
    alike = [pair for pair in sorted(pairs, reverse=True) if pair[0] > 0.5][:3]
    odds = [pair for pair in sorted(pairs) if pair[0] < 1][:3]
    for label, chosen in (("Most alike", alike), ("Least alike", odds)):
        told = "; ".join(f"{one} and {other} ({value * 100:.0f} %)" for value, one, other in chosen)
        console.print(Text(f"\n{label} (pairs on which both prefer the same): {told or 'none'}."))

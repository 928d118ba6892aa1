"""`cai prompts`: what a template makes of a row.

What this module does not know: how a request is rendered (cai/workbench/prompts.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from cai.cli import printable
from cai.cli.console import out
from cai.errors import RecipeError

if TYPE_CHECKING:
    from cai.parts import Part
    from cai.template import Rendered
    from cai.workbench.prompts import Count, Sharing

_STYLES = {
    "template": "cyan",
    "principle": "magenta",
    "example": "blue",
    "recipe": "yellow",
    "row": "",
    "model": "green",
}


def enter(app: typer.Typer) -> None:
    """Enter the verb with its own verbs."""
    verbs = typer.Typer(no_args_is_help=True, help="See what templates make of a row.")

    @verbs.callback()
    def _only() -> None:
        """See what templates make of a row."""

    verbs.command("show")(show)
    app.add_typer(verbs, name="prompts")


def show(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: its rows and templates.")],
    stage: Annotated[
        str,
        typer.Option(help="critique, revision, judgement, reasoned-judgement, harm or response."),
    ] = "judgement",
    row: Annotated[str, typer.Option("--row", help="The row's number from 1, its id, or FILE:LINE.")] = "1",
    principle: Annotated[str, typer.Option(help="A principle's id; without it: the first.")] = "",
    constitution: Annotated[
        str, typer.Option(help="A constitution's file or name; without it: the run's for that row.")
    ] = "",
    form: Annotated[str, typer.Option(help="chat or completion; without it: the engine's.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Print the exact request that a template makes of a row.

    Each part stands under the file and line it comes from, with its tokens; at the end, how much
    of it the row's successive requests share, and what breaks that.
    """
    from cai.cli.naming import named
    from cai.cli.trying import row_of
    from cai.frozen import load_inputs
    from cai.prompting import VARIABLES
    from cai.recipe import load_recipe
    from cai.run_folder import open_run
    from cai.workbench.lint import estimated_tokens
    from cai.workbench.prompts import counter, prompts_of, requests_of, sharing
    from cai.yaml_file import nearest

    if stage not in VARIABLES:
        raise typer.BadParameter(
            f"there is no stage {stage!r}{nearest(stage, VARIABLES)}", param_hint="--stage"
        )
    if form not in ("", "chat", "completion"):
        raise typer.BadParameter("it is chat or completion", param_hint="--form")
    run = open_run(target)
    recipe = load_recipe(run.recipe)
    inputs = load_inputs(recipe, run.path)
    found = row_of(run, row)
    own = named(constitution) if constitution else inputs.constitution_for(found.subset)
    if own is None:
        raise RecipeError(
            f"The recipe has no constitution for {found.subset}.", "Name a row of another subset."
        )
    ids = [each.id for each in own.principles]
    if principle and principle not in ids:
        raise RecipeError(f"{own.name} has no principle {principle!r}{nearest(principle, ids)}.", "")
    principles = sorted(own.principles, key=lambda each: each.id != principle)
    wanted: Literal["chat", "completion"] | None = None
    if form:
        wanted = "chat" if form == "chat" else "completion"
    requests = requests_of(
        stage,
        prompts_of(inputs, stage, wanted),
        found,
        own,
        principles,
    )
    counted = counter(recipe, run, stage)
    count = counted or estimated_tokens
    shared = sharing(requests, count)
    if as_json:
        _print_json(requests[0], count, shared, estimated=counted is None)
    else:
        _print(out(), requests[0], count, shared, estimated=counted is None)


def _parts(rendered: Rendered) -> list[tuple[str, list[Part]]]:
    sections = [(f"message, {message.role}", list(message.parts)) for message in rendered.messages]
    if rendered.answer:
        sections.append(("the answer begins", list(rendered.answer)))
    return sections


def _print(console: Console, rendered: Rendered, count: Count, shared: Sharing, *, estimated: bool) -> None:
    for head, parts in _parts(rendered):
        console.rule(Text(head), align="left")
        for part in parts:
            console.print(
                Text(f"{printable(part.origin)}  {_tokens(count(part.text), estimated)}", style="dim")
            )
            console.print(Text(printable(part.text), style=_STYLES[part.kind]), soft_wrap=True)
    console.rule()
    whole = sum(count(part.text) for _, parts in _parts(rendered) for part in parts)
    console.print(Text(f"This request: {_tokens(whole, estimated)}, the chat template's marks apart."))
    if shared.requests > 1:
        console.print(
            Text(
                f"The row makes {shared.requests} such requests of {_tokens(shared.tokens, estimated)} in all; "
                f"{shared.shared / max(1, shared.tokens):.0%} stand at a beginning that the request before "
                "has too, and cost a server next to nothing."
            )
        )
    if shared.breaks_at:
        console.print(
            Text(
                f"Warning: what is set in at {shared.breaks_at} differs between requests, and text of the row "
                "stands behind it. Move the row's text before it, and the requests share it.",
                style="yellow",
            )
        )


def _tokens(count: int, estimated: bool) -> str:
    return f"{'about ' if estimated else ''}{count:,} tokens"


def _print_json(rendered: Rendered, count: Count, shared: Sharing, *, estimated: bool) -> None:
    made = {
        "sections": [
            {
                "section": head,
                "parts": [
                    {"text": p.text, "kind": p.kind, "origin": p.origin, "tokens": count(p.text)}
                    for p in parts
                ],
            }
            for head, parts in _parts(rendered)
        ],
        "tokens_estimated": estimated,
        "sharing": {
            "requests": shared.requests,
            "tokens": shared.tokens,
            "shared": shared.shared,
            "breaks_at": shared.breaks_at,
        },
    }
    sys.stdout.write(json.dumps(made, indent=2) + "\n")

"""`cai doctor`: is this model fit to judge; without a model, what is installed and what is missing.

What this module does not know: what is looked for, and by which rules a fault is named (cai/doctor).
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cai.cli.console import err, out
from cai.errors import InputError

if TYPE_CHECKING:
    from cai.doctor.examine import Diagnosis


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("doctor")(doctor)


def doctor(
    target: Annotated[
        Path | None, typer.Argument(metavar="[RECIPE|RUN]", help="A run's folder, or any recipe.")
    ] = None,
    server: Annotated[str, typer.Option("--server", metavar="URL", help="A server, without a recipe.")] = "",
    model: Annotated[str, typer.Option("--model", help="The model's name at the server.")] = "",
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", help="The server's tokenizer, a folder or a name on the Hub.")
    ] = "",
    base: Annotated[bool, typer.Option("--base", help="The server's model is a base model.")] = False,
    engine: Annotated[str, typer.Option("--engine", help="Only this engine of the recipe.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Whether a model is fit to judge; alone: what is installed.

    With a recipe, its engines are asked known answers by its own prompts; with --server, a server
    by those that come with the program. Alone, it tells what is installed, what is missing and
    what to do. Exit code 1: a fault was found.
    """
    if target is not None and server:
        raise InputError("A recipe and --server were both given.", "Give one of them.")
    of_a_server = {"--model": model, "--tokenizer": tokenizer, "--base": base}
    idle = {} if server else dict.fromkeys(("--model", "--tokenizer", "--base"), "--server URL")
    idle |= {} if target is not None else {"--engine": "a recipe or a run"}
    for option, wanted in idle.items():
        if {**of_a_server, "--engine": engine}[option]:
            raise InputError(
                f"{option} is for {wanted}, and none was given.", f"Give it, or leave {option} out."
            )
    if target is None and not server:
        _installed(as_json=as_json)
        return
    found = asyncio.run(_examined(target, server, model, tokenizer, engine, base=base))
    if as_json:
        _print_json(found)
    else:
        from cai.cli.doctor_page import print_diagnosis

        for diagnosis in found:
            print_diagnosis(out(), diagnosis)
    if any(diagnosis.fault is not None for diagnosis in found):
        raise typer.Exit(1)


def _installed(*, as_json: bool) -> None:
    import orjson

    from cai.doctor.installed import look_around

    findings = look_around(Path.cwd())
    if as_json:
        records = {"installed": [item.record() for item in findings]}
        sys.stdout.write(orjson.dumps(records, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    from cai.cli.doctor_page import print_installed

    print_installed(out(), findings)


async def _examined(
    target: Path | None, server: str, model: str, tokenizer: str, engine: str, *, base: bool
) -> list[Diagnosis]:
    """Examine one engine after the other. Raises: CaiError."""
    from cai.doctor.target import examine_target, recipe_targets, server_target

    if target is not None:
        targets = recipe_targets(target, engine)
    else:
        targets = [await server_target(server, model, tokenizer, "completion" if base else "chat")]
    found = []
    for item in targets:
        err().print(f"Examining {item.patient.engine} ...", markup=False)
        found.append(await examine_target(item))
    return found


def _print_json(found: list[Diagnosis]) -> None:
    import orjson

    from cai.doctor.record import record

    content = {"fit": all(item.fault is None for item in found), "engines": [record(item) for item in found]}
    sys.stdout.write(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode() + "\n")

"""`cai serve`: start vLLM for an engine of a recipe and wait until it answers.

What this module does not know: which flags vLLM needs (cai/engine/serve.py).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cai.cli.console import err
from cai.errors import RecipeError


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("serve")(serve)


def serve(
    target: Annotated[
        Path, typer.Argument(metavar="RECIPE|RUN", help="A run's folder, or the recipe in it.")
    ],
    engine: Annotated[
        str, typer.Option("--engine", help="Which engine of the recipe; the only one by default.")
    ] = "",
) -> None:
    """Start vLLM for a recipe and wait until it answers.

    It runs until Ctrl-C.
    """
    from cai.live import refuse_placeholders
    from cai.recipe import load_recipe
    from cai.run_folder import open_run
    from cai.yaml_file import nearest

    run = open_run(target)
    recipe = load_recipe(run.recipe)
    served = {name: section for name, section in recipe.engines.items() if section.serve is not None}
    name = engine or (next(iter(served)) if len(served) == 1 else "")
    if name not in served:
        raise RecipeError(
            f"{run.recipe} has no engine {name!r} with a `serve:` section{nearest(name, served)}.",
            "Add `serve: {}` to the engine, or name one with --engine.",
        )
    refuse_placeholders(recipe, run)
    try:
        asyncio.run(_serve(name, served[name]))
    except KeyboardInterrupt:
        err().print("Stopped vLLM.")
        raise typer.Exit(130) from None


async def _serve(name: str, section: object) -> None:
    from cai.engine.serve import VllmServer
    from cai.recipe import EngineSection

    assert isinstance(section, EngineSection)
    server = VllmServer(section)
    console = err()
    try:
        await server.start()
        console.print(
            f"Starting vLLM for {escape(section.model)}; its log goes to {escape(str(server.log_path))}",
            soft_wrap=True,
        )
        await server.wait_ready()
        console.print(f"Ready at {server.url}. Ctrl-C stops it.", soft_wrap=True)
        await server.wait_ended()
    finally:
        await server.stop()

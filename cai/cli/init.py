"""`cai init`: editable copies of what people edit, and a starter recipe.

What this module does not know: what the files hold.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cai.cli.console import err
from cai.errors import InputError
from cai.shipped import shipped


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("init")(init)


def init(
    folder: Annotated[Path, typer.Argument(help="An empty folder, or one to be made.")] = Path(),
) -> None:
    """Write editable principles, prompts and a recipe."""
    write_project(folder)
    here = folder.resolve() == Path.cwd()
    place, enter_it = (
        ("here", "") if here else (f"into {escape(str(folder))}", f"  cd {escape(str(folder))}\n")
    )
    err().print(
        f"Wrote principles/, prompts/ and runs/first/recipe.yaml {place}.\n"
        "Say in runs/first/recipe.yaml where the data and the model are, then type:\n"
        f"{enter_it}  cai run runs/first",
        soft_wrap=True,
    )


def write_project(folder: Path) -> None:
    """Write the files. Raises: InputError where anything would be overwritten."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = [name for name in ("principles", "prompts", "runs") if (folder / name).exists()]
        if taken:
            raise InputError(f"{folder} already holds {', '.join(taken)}.", "Choose an empty folder.")
        for name in ("principles", "prompts"):
            shutil.copytree(
                shipped(name), folder / name, ignore=shutil.ignore_patterns("toy*", "__pycache__")
            )
        (folder / "runs" / "first").mkdir(parents=True)
        shutil.copyfile(shipped("starter/recipe.yaml"), folder / "runs" / "first" / "recipe.yaml")
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror}.", "Choose another folder."
        ) from error

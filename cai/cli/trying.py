"""`cai principles try`: one real row under one principle, and again at each save.

What this module does not know: how the row is worked on (cai/workbench/trying.py).
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from cai.cli import printable
from cai.cli.console import err, out
from cai.cli.rows import find_row
from cai.errors import CaiError, ConstitutionError

if TYPE_CHECKING:
    from cai.outcome import Feedback
    from cai.principle import Constitution
    from cai.request import GenerateRequest
    from cai.run_folder import RunFolder
    from cai.source import Row
    from cai.workbench.asking import Asking
    from cai.workbench.trying import Trial

LOOK_S = 0.2
"""How often the files are looked at."""
_STYLES = {"same": "", "gone": "red strike", "new": "green bold"}


def try_(
    principle: Annotated[str, typer.Argument(metavar="ID", help="The principle's id.")],
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: its rows and engines.")],
    row: Annotated[str, typer.Option("--row", help="The row's number from 1, its id, or FILE:LINE.")] = "1",
    constitution: Annotated[
        str, typer.Option(help="A constitution's file or name; without it: the run's that has the principle.")
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Run again at each save, until Ctrl-C.")] = False,
    requests: Annotated[bool, typer.Option("--requests", help="Print each exact request too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Critique, revise and judge one row under one principle.

    Answers are kept, and only what an edit touched is asked again. With --watch the constitution
    and the templates are looked at, and each save shows what it changed, word by word.
    """
    from cai.run_folder import open_run

    run = open_run(target)
    asyncio.run(_try(run, principle, row, constitution, watch=watch, requests=requests, as_json=as_json))


async def _try(
    run: RunFolder, name: str, wanted: str, constitution: str, *, watch: bool, requests: bool, as_json: bool
) -> None:
    from cai.workbench.asking import Asking
    from cai.workbench.trying import try_principle

    found = row_of(run, wanted)
    async with Asking(run) as asking:
        before: Trial | None = None
        while True:
            seen: dict[Path, int] = {}
            try:
                asking.reload()
                own = _with_principle(asking, name, constitution)
                seen = _stamps(own, asking)
                screen = None if as_json else _Screen(out(), requests=requests)
                asking.ask.on_text = screen.streamed if screen is not None and before is None else None
                trial = await try_principle(own, name, found, asking)
                if screen is None:
                    sys.stdout.write(json.dumps(_as_data(trial), indent=2, default=str) + "\n")
                else:
                    screen.show(trial, before)
                before = trial
            except CaiError as error:
                if not watch:
                    raise
                err().print(Text(printable(f"{error.problem}\n{error.remedy}".rstrip())))
            if not watch:
                return
            await _saved(seen or _stamps(None, asking))
            err().print(Text("\nsaved; again", style="dim"))


def row_of(run: RunFolder, wanted: str) -> Row:
    """The row of a run that a person names; the run need not have begun. Raises: RunError, SourceError."""
    from cai.recipe import load_recipe
    from cai.source import open_sources

    return find_row(open_sources(load_recipe(run.recipe).sources, run.path), run.name, wanted)


def _with_principle(asking: Asking, name: str, constitution: str) -> Constitution:
    from cai.cli.naming import named
    from cai.yaml_file import nearest

    if constitution:
        return named(constitution)
    own = list(asking.inputs.constitutions.values())
    for each in own:
        if any(principle.id == name for principle in each.principles):
            return each
    known = {principle.id for each in own for principle in each.principles}
    raise ConstitutionError(
        f"No constitution of this run has a principle {name!r}{nearest(name, known)}.", "Name another."
    )


def _stamps(constitution: Constitution | None, asking: Asking) -> dict[Path, int]:
    """When each file that decides the requests was last written; one that is not there: 0."""
    folders = {each.path.parent for each in asking.inputs.constitutions.values()}
    files = {path for folder in folders for path in folder.glob("*.yaml")}
    if constitution is not None:
        files |= {constitution.path, *(constitution.path.parent / name for name in constitution.files)}
    files |= {path for path in asking.inputs.prompts_folder.rglob("*") if path.suffix in (".j2", ".yaml")}
    return {path: _stamp(path) for path in files}


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


async def _saved(seen: dict[Path, int]) -> None:
    """Wait until one of the files is another."""
    while all(_stamp(path) == stamp for path, stamp in seen.items()):  # noqa: ASYNC110 (files send no event)
        await asyncio.sleep(LOOK_S)


def _as_data(trial: Trial) -> dict[str, object]:
    return {
        "principle": trial.principle.id,
        "row": trial.row.id,
        "too_long": trial.too_long,
        "turns_dropped": trial.turns_dropped,
        "of": trial.of,
        "original": trial.original,
        "round": asdict(trial.round) if trial.round else None,
        "feedback": [asdict(item) for item in trial.feedback],
        "asked": [
            {
                "stage": item.request.labels.get("stage"),
                "digest": item.digest,
                "from_store": item.from_store,
                "milliseconds": round(item.seconds * 1000, 1),
                "prompt_tokens": item.answer.prompt_tokens,
            }
            for item in trial.asked
        ],
    }


class _Screen:
    """A try on the terminal."""

    def __init__(self, console: Console, *, requests: bool) -> None:
        self._console = console
        self._requests = requests
        self._streaming = ""

    def streamed(self, request: GenerateRequest, piece: str) -> None:
        """A piece of a critique or revision, as it comes."""
        stage = str(request.labels.get("stage", ""))
        if stage != self._streaming:
            self._head(stage)
            self._streaming = stage
        self._console.print(Text(printable(piece)), end="", soft_wrap=True)

    def _head(self, words: str) -> None:
        self._console.print(Text(f"\n{words}", style="bold"))

    def show(self, trial: Trial, before: Trial | None) -> None:
        """Everything that was not streamed; after a save, what it changed."""
        if self._streaming:
            self._console.print()
        if self._requests:
            self._print_requests(trial)
        if trial.too_long:
            self._head("The row does not fit into the context of the engine.")
        if trial.turns_dropped:
            self._head(f"The row does not fit whole: without its {trial.turns_dropped} oldest turns.")
        if trial.round is not None:
            then = before.round if before is not None else None
            self._text("critique", trial.round.critique, then.critique if then else None)
            self._text("revision", trial.round.text, then.text if then else None)
            if trial.round.flags:
                self._console.print(Text(f"flags: {', '.join(trial.round.flags)}", style="yellow"))
        for index, item in enumerate(trial.feedback):
            then_too = before.feedback if before is not None else ()
            self._feedback(item, then_too[index] if index < len(then_too) else None)
        self._cost(trial)

    def _text(self, stage: str, text: str, before: str | None) -> None:
        from cai.workbench.words import word_diff

        if before is None and self._streaming:
            return  # it has been seen as it came
        self._head(stage)
        if before is None:
            self._console.print(Padding(Text(printable(text)), (0, 0, 0, 2), expand=False))
        elif before == text:
            self._console.print(Padding(Text("as before", style="dim"), (0, 0, 0, 2), expand=False))
        else:
            marked = Text()
            for change, piece in word_diff(before, text):
                shown = printable(piece)
                if self._console.no_color or not self._console.is_terminal:
                    shown = {"same": shown, "gone": f"[-{shown}-]", "new": f"{{+{shown}+}}"}[change]
                marked.append(shown, style=_STYLES[change])
            self._console.print(Padding(marked, (0, 0, 0, 2), expand=False))

    def _feedback(self, feedback: Feedback, before: Feedback | None) -> None:
        self._head(f"judgement by {feedback.judge}: is the response that the human chose better?")
        then = {(item.order, item.sample): item.probability for item in before.judgements} if before else {}
        for item in feedback.judgements:
            place = "A" if item.order == "first_is_a" else "B"
            told = "abstained" if item.probability is None else f"{item.probability:.3f}"
            earlier = then.get((item.order, item.sample))
            if before is not None and earlier != item.probability:
                told += f" (was {'abstained' if earlier is None else f'{earlier:.3f}'})"
            if item.said:
                told += f"; it said: {printable(item.said)}"
            self._console.print(Text(f"  shown as {place}: {told}"))
        if feedback.probability is not None:
            orders = feedback.order_consistency
            agree = "both orders agree" if orders == 1 else "the orders disagree"
            self._console.print(Text(f"  mean: {feedback.probability:.3f}, {agree}"))

    def _print_requests(self, trial: Trial) -> None:
        for item in trial.asked:
            self._head(f"request: {item.request.labels.get('stage')} {item.digest[:12]}")
            rendered = item.request.rendered
            for message in rendered.messages:
                self._console.print(Text(f"  [{message.role}]", style="dim"))
                self._console.print(Padding(Text(printable(message.text)), (0, 0, 0, 2), expand=False))
            if rendered.answer_text:
                self._console.print(Text(f"  [answer begins] {printable(rendered.answer_text)}", style="dim"))

    def _cost(self, trial: Trial) -> None:
        known = sum(item.from_store for item in trial.asked)
        asked = [item for item in trial.asked if not item.from_store and item.answer.finish != "too_long"]
        unfit = len(trial.asked) - known - len(asked)
        tokens = sum(item.answer.prompt_tokens for item in asked)
        written = sum(getattr(item.answer, "completion_tokens", 0) for item in asked)
        took = sum(item.seconds for item in asked)
        self._console.print(
            Text(
                f"\n{len(asked)} requests asked, {f'{unfit} that do not fit, ' if unfit else ''}"
                f"{known} answered from the store; "
                f"{tokens:,} tokens read, {written:,} written, {took * 1000:,.0f} ms",
                style="dim",
            )
        )

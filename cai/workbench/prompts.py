"""A template on a row: its parts with their origins and tokens, and what successive requests share.

A server keeps what it has computed for the beginning of a request, so what the requests of one
row have in common at their beginnings is nearly free. `sharing` measures it on the requests as
they are sent one after the other, and says which part breaks it.

What this module does not know: terminals, chat templates (their marks around messages are not
counted), what a model answers: where a template wants a critique or a reasoning, words stand in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cai.errors import RecipeError
from cai.frozen import Inputs
from cai.live import located
from cai.parts import Part, Value
from cai.principle import Constitution, Principle
from cai.prompting import Form, Prompts, Stage, load_prompts, principle_values, turn_values
from cai.recipe import Recipe
from cai.run_folder import RunFolder
from cai.source import Row
from cai.template import Rendered

STAND_IN = "(what the model answers to the request before)"
Count = Callable[[str], int]


@dataclass(frozen=True)
class Sharing:
    """What successive requests of one stage share.

    `requests`: how many the row makes; `tokens`: of all of them; `shared`: of those, how many stand
    at the beginning of a request exactly as in the one before. `breaks_at`: where a part lies that
    differs between requests and has much of the row behind it, `file:line` (empty: none).
    """

    requests: int
    tokens: int
    shared: int
    breaks_at: str = ""


def engine_of(recipe: Recipe, stage: Stage) -> str:
    """The engine that a stage's requests go to."""
    if stage in ("critique", "revision"):
        return recipe.engine_for("revise")
    return recipe.engine_for("respond") if stage == "response" else recipe.engine_for("judge")


def prompts_of(inputs: Inputs, stage: Stage, form: Form | None = None) -> Prompts:
    """The template of a stage, in the form of its engine or another. Raises: TemplateError."""
    engine = engine_of(inputs.recipe, stage)
    section = inputs.recipe.engines[engine]
    prompts = load_prompts(inputs.prompts_folder, form or section.form, [stage])
    if form not in (None, section.form):
        return prompts
    return prompts.begun(section.answer_prefix.parts(engine, inputs.recipe.origins))


def counter(recipe: Recipe, run: RunFolder, stage: Stage) -> Count | None:
    """Counts tokens with the engine's own tokenizer, or None where it lies with the server alone."""
    section = located(recipe.engines[engine_of(recipe, stage)], run)
    folder = section.tokenizer or section.path
    file = Path(folder) / "tokenizer.json" if folder else None
    if file is None or not file.is_file():
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def requests_of(
    stage: Stage, prompts: Prompts, row: Row, constitution: Constitution, principles: Sequence[Principle]
) -> list[Rendered]:
    """The requests that a row makes in one stage, in the order in which they are sent.

    Raises: RecipeError where the row has not what the stage needs; TemplateError.
    """
    turns = turn_values(row.prompt, "row")
    texts = [Value(turn.text, "row", f"row {name}") for name, turn in row.responses.items()]
    forms = [principle_values(constitution, principle) for principle in principles]
    if stage == "response":
        return [prompts.response(turns)]
    if not texts or (stage in ("judgement", "reasoned-judgement") and len(texts) < 2):
        raise RecipeError(f"The row {row.id[:12]} has too few responses for a {stage}.", "Name another row.")
    last = texts[-1]
    if stage == "critique":
        return [prompts.critique(turns, last, form) for form in forms]
    if stage == "revision":
        critique = Value(STAND_IN, "model", "the critique")
        return [prompts.revision(turns, last, form, critique) for form in forms]
    if stage == "harm":
        return prompts.harms(turns, texts)
    ask = prompts.judgements if stage == "judgement" else prompts.reasonings
    return [
        *ask(turns, texts[0], texts[1], forms),
        *ask(turns, texts[1], texts[0], forms),
    ]


def text_of(rendered: Rendered) -> str:
    """All that a request says, in order."""
    return "".join(part.text for part in rendered.parts())


def sharing(requests: Sequence[Rendered], count: Count) -> Sharing:
    """What these requests, sent one after the other, share."""
    texts = [text_of(request) for request in requests]
    shared = 0
    for one, two in pairwise(texts):
        shared += count(_common(one, two))
    breaks = _breaks(requests[0], requests[1]) if len(requests) > 1 else ""
    return Sharing(len(texts), sum(map(count, texts)), shared, breaks)


def _common(one: str, two: str) -> str:
    """The beginning that two texts share."""
    for index, (left, right) in enumerate(zip(one, two, strict=False)):
        if left != right:
            return one[:index]
    return min(one, two, key=len)


def _breaks(one: Rendered, two: Rendered) -> str:
    """The first part that differs between two requests, where text of the row follows it in both."""
    first, second = list(one.parts()), list(two.parts())
    for index, (left, right) in enumerate(zip(first, second, strict=False)):
        if left.text != right.text:
            if left.kind == "row":
                return ""  # another response: no template can share that
            behind = sum(len(part.text) for part in first[index + 1 :] if part.kind == "row")
            return _place(first, index) if behind else ""
    return ""


def _place(parts: Sequence[Part], index: int) -> str:
    """Where in a template a part is set: the template's words before it, or else the part itself."""
    for part in reversed(parts[:index]):
        if part.kind == "template":
            file, _, line = part.origin.rpartition(":")
            lines = part.text.count("\n")
            return f"{file}:{int(line) + lines}" if line.isdigit() else part.origin
    return parts[index].origin

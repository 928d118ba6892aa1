"""Chat templates: how messages become the text that a model was trained on.

A template is rendered once for each *shape* (the sequence of roles) with stand-ins for the
contents. What comes out, cut at the stand-ins, is the skeleton into which real contents are
set; so nothing inside a content can steer the template. Whether the template trims a content is
found out by padding it, and the skeleton is then held against renderings of harmless contents.
A template that looks into contents even so has no skeleton and is rendered whole.

How the answer begins. The text ends with the generation prompt. Where that leaves a block of
thinking open, or where the template writes more before an assistant's words than the generation
prompt has (an empty block of thinking, the name of a channel), what is missing is added, as the
template itself writes it where it does. So an answer that is made to begin in some way stands
where the model's visible answer would. For a model that thinks though its template says nothing of
thinking, a recipe can have an empty block written there (cai/answering.py).

The environment is that of transformers' `apply_chat_template`, without what is random; a
template that asks for the day is told the run's. Rendered twice alike or refused.

What this module does not know: tokens, where a template comes from, requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cai.answering import AS_KNOWN, ThinkingSection
from cai.engine.position import Thinking
from cai.errors import EngineRefusedError, RolesRefusedError
from cai.request import THINKING_MARKS, MarkPair

Strip = Literal["none", "white", "newlines"]
Shape = tuple[tuple[str, str | None], ...]
"""Role of each message, and its text where that is empty or white space (else None)."""

CLOSE_THINKING = "\n{end}\n\n"
_STAND_IN = re.compile(r"Qz(\d{4})kStandInvW")
_ANSWER = "Qzk9AnswerStandInvW"
_PAD = "\n \n"
_PROBES = (
    "What is the highest mountain of Europe?",
    'Two lines:\n\n1. "one"  and - two;\n\tthree: {x} [y] <z>',
    "ends with a colon:",
    "Größe, 日本語, “quoted” text …",
    "a",
)


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A template's text for one shape.

    `literals` and `places` alternate (literal, place, ..., literal): a place is the index of a
    message and how the template trims its content on the left and on the right. `tail` stands
    for the last literal where the answer is free, `answer_tail` where its beginning is given.
    """

    literals: tuple[str, ...]
    places: tuple[tuple[int, Strip, Strip], ...]
    tail: str
    answer_tail: str

    def fill(self, contents: Sequence[str]) -> str:
        """The text with contents set in, up to the generation prompt as the template has it."""
        pieces = [self.literals[0]]
        for (index, left, right), literal in zip(self.places, self.literals[1:], strict=True):
            pieces += [stripped(contents[index], left, right), literal]
        return "".join(pieces)


def stripped(content: str, left: Strip, right: Strip) -> str:
    """A content as the template trims it."""
    if left != "none":
        content = content.lstrip() if left == "white" else content.lstrip("\n")
    if right != "none":
        content = content.rstrip() if right == "white" else content.rstrip("\n")
    return content


class ChatTemplate:
    """A chat template with its arguments.

    `special`: the texts of special tokens by name (`bos_token`); `control`: what matches a
    token that steers a model; `date`: ISO; `thinking`: what it does not say. Raises: EngineRefusedError where it does not compile.
    """

    def __init__(
        self,
        source: str,
        arguments: dict[str, Any],
        special: dict[str, str],
        date: str,
        control: re.Pattern[str],
        thinking: ThinkingSection = AS_KNOWN,
    ) -> None:
        self.source = source
        self._marks = thinking.known
        self._block = thinking.block
        self._arguments = {**special, **arguments}
        self._thinks = arguments.get("enable_thinking") is True
        self._control = control
        self._skeletons: dict[Shape, Skeleton | None] = {}
        try:
            self._template = _environment(date).from_string(source)
        except jinja2.TemplateError as error:
            raise EngineRefusedError(
                f"The chat template does not compile: {error}.", "Mend the tokenizer's chat template."
            ) from error

    def render(self, roles: Sequence[str], contents: Sequence[str], prompt: bool = True, **more: Any) -> str:
        """The text of messages. Raises: EngineRefusedError where the template refuses them."""
        messages = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=True)]
        arguments = {**self._arguments, **more}
        try:
            return self._template.render(
                messages=messages, tools=None, documents=None, add_generation_prompt=prompt, **arguments
            )
        except Exception as error:  # a template is a program: it fails in every way there is
            raise RolesRefusedError(
                f"The chat template refuses messages of the roles {', '.join(roles)}: {error}.",
                "Let the prompts use other roles (prompts/README.md), or give the model another template.",
            ) from error

    def skeleton(self, shape: Shape) -> Skeleton | None:
        """The skeleton of a shape, or None where the template looks into contents.

        Raises: EngineRefusedError where it refuses the roles, leaves out a content, or varies.
        """
        if shape not in self._skeletons:
            self._skeletons[shape] = self._discover(shape)
        return self._skeletons[shape]

    def whole(self, roles: Sequence[str], contents: Sequence[str], has_answer: bool) -> str:
        """The text without a skeleton, up to where the answer begins."""
        text = self.render(roles, contents)
        tail, answer_tail = self._tails(roles, contents, text, text)
        return answer_tail if has_answer else tail

    def opens_thinking(self) -> bool:
        """Whether the generation prompt begins a block of thinking. Raises: RolesRefusedError."""
        return _open_thinking(self.render(["user"], ["a"]), self._marks) is not None

    def leaves_thinking_open(self) -> bool:
        """Whether a free answer begins inside a block of thinking, as the arguments say."""
        return self._thinks and self.opens_thinking()

    def _discover(self, shape: Shape) -> Skeleton | None:
        roles = [role for role, _ in shape]
        contents = [f"Qz{i:04d}kStandInvW" if blank is None else blank for i, (_, blank) in enumerate(shape)]
        text = self.render(roles, contents)
        if self.render(roles, contents) != text:
            raise EngineRefusedError(
                "The chat template gives another text each time it is rendered.",
                "Give the model a template that does not depend on a clock or on chance.",
            )
        cut = _STAND_IN.split(text)
        literals, found = tuple(cut[::2]), [int(index) for index in cut[1::2]]
        for index, (role, blank) in enumerate(shape):
            if blank is None and index not in found:
                raise RolesRefusedError(
                    f"The chat template leaves out what the {role} says (message {index + 1}).",
                    "Let the prompts use other roles (prompts/README.md), or give the model another template.",
                )
        trims = {index: self._trim(roles, contents, index, literals, found) for index in set(found)}
        places = []
        for index in found:
            trim = trims[index]
            if trim is None:
                return None
            places.append((index, *trim))
        tails = self._tails(roles, contents, text, literals[-1])
        skeleton = Skeleton(literals, tuple(places), *tails)
        return skeleton if self._holds(skeleton, shape) else None

    def _trim(
        self, roles: list[str], contents: list[str], index: int, literals: tuple[str, ...], found: list[int]
    ) -> tuple[Strip, Strip] | None:
        """How the template trims one message's content, or None where it does something else."""
        padded = list(contents)
        padded[index] = f"{_PAD}{contents[index]}{_PAD}"
        text = self.render(roles, padded)
        kinds: tuple[Strip, ...] = ("none", "white", "newlines")
        for left in kinds:
            for right in kinds:
                places = tuple((i, left, right) if i == index else (i, "none", "none") for i in found)
                if Skeleton(literals, places, "", "").fill(padded) == text:
                    return left, right
        return None

    def _holds(self, skeleton: Skeleton, shape: Shape) -> bool:
        """Whether renderings of harmless contents are what the skeleton says."""
        roles = [role for role, _ in shape]
        for shift in range(len(_PROBES)):
            contents = [
                _PROBES[(index + shift) % len(_PROBES)] if blank is None else blank
                for index, (_, blank) in enumerate(shape)
            ]
            if self.render(roles, contents) != skeleton.fill(contents):
                return False
        return True

    def _tails(self, roles: Sequence[str], contents: Sequence[str], text: str, last: str) -> tuple[str, str]:
        """What `last`, the end of `text`, becomes where the answer is free, and where its beginning is given."""
        past = self._before_past_answer(roles, contents)
        more = past[len(text) :] if past is not None and past.startswith(text) else None
        open_block = _open_thinking(text, self._marks)
        if open_block is not None and (more is None or _open_thinking(last + more, self._marks) is not None):
            more = self._closing(roles, contents, text, open_block)
        answer_tail = last + (more or "")
        must_close = open_block is not None or (more is not None and self._control.search(more) is not None)
        tail = answer_tail if must_close and not self._thinks else last
        if self._block and not self._thinks:
            answer_tail, tail = (
                end if self._ends_in_block(end) else end + self._block for end in (answer_tail, tail)
            )
        return tail, answer_tail

    def _ends_in_block(self, tail: str) -> bool:
        return _empty_block(tail, self._marks) is not None

    def _before_past_answer(self, roles: Sequence[str], contents: Sequence[str]) -> str | None:
        """What stands before an answer that has been given, or None where the template cannot say."""
        try:
            text = self.render([*roles, "assistant"], [*contents, _ANSWER], prompt=False)
        except EngineRefusedError:
            return None
        return text[: text.rindex(_ANSWER)] if _ANSWER in text else None

    def _closing(self, roles: Sequence[str], contents: Sequence[str], text: str, end: str) -> str:
        """What closes an open block of thinking: as with `enable_thinking` false, or by default."""
        quiet = self.render(roles, contents, enable_thinking=False)
        if quiet.startswith(text) and end in quiet[len(text) :]:
            return quiet[len(text) :]
        return CLOSE_THINKING.format(end=end)


def thinking_block(tail: str, marks: Sequence[MarkPair] = THINKING_MARKS) -> tuple[str, str]:
    """Of a text that ends in an empty block of thinking: all before the thoughts, all after them.

    Raises: EngineRefusedError where it does not end so.
    """
    found = _empty_block(tail, marks)
    if found is None:
        raise EngineRefusedError(
            "The chat template has no block of thinking between marks that are known here.",
            "Name the model's own (`thinking: {marks: [BEGIN, END], empty_block: true}` of the engine), or leave"
            " `thinking` out of feedback.reasoning: the judge then reasons in its answer.",
        )
    return found


def _empty_block(tail: str, marks: Sequence[MarkPair]) -> tuple[str, str] | None:
    for begin, end in marks:
        start, stop = tail.rfind(begin) + len(begin), tail.rfind(end)
        if len(begin) <= start <= stop and not (tail[start:stop] + tail[stop + len(end) :]).strip():
            line = "\n" if tail[start] == "\n" else ""
            return tail[:start] + line, line + tail[stop:]
    return None


def _open_thinking(text: str, marks: Sequence[MarkPair]) -> str | None:
    """The mark that would close the block of thinking left open at the end, or None."""
    for begin, end in marks:
        place = text.rfind(begin)
        if place > text.rfind(end) and not text[place + len(begin) :].strip():
            return end
    return None


def thinking_at(text: str, marks: Sequence[MarkPair] = THINKING_MARKS) -> Thinking:
    """Whether a block of thinking is open at the end of a text, or one was closed before."""
    begins = [(text.rfind(begin), text.rfind(end)) for begin, end in marks]
    if any(begin > end for begin, end in begins):
        return "open"
    return "closed" if any(end >= 0 for _, end in begins) else "none"


def _environment(date: str) -> ImmutableSandboxedEnvironment:
    """jinja2 as transformers sets it up, without what is random, with a day that stands still.

    Source: transformers/utils/chat_template_utils.py, `_cached_compile_jinja_template`.
    """

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    def strftime_now(form: str) -> str:
        return datetime.fromisoformat(date).strftime(form)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    del environment.filters["random"]
    del environment.globals["lipsum"]
    environment.globals.update(raise_exception=raise_exception, strftime_now=strftime_now)
    return environment


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}` marks what an assistant says; here it only stands there."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 reads the attribute)

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)

"""From a request to exact token ids, and from options to the ids that spell them.

Chat form: messages are set into the chat template's skeleton (cai/engine/chat_template.py), the
answer's beginning follows the generation prompt. Completion form: plain text. A text begins with
exactly one BOS: the template's, or the one that the tokenizer itself adds, or none if neither does.

What is in a message is text, whatever it looks like: control tokens come from the chat template
alone. A text whose control tokens are those of its template is tokenised as a whole, which gives
the ids that the server's own chat rendering gives; any other is coded so that what only looks
like a control token becomes ordinary tokens (cai/engine/pieces.py).

What this module does not know: models, servers, what is asked.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.answering import AS_KNOWN, ThinkingSection
from cai.engine.chat_template import ChatTemplate, Shape, Skeleton, Strip, stripped, thinking_block
from cai.engine.pieces import CUT, PieceCoder, without_reserved
from cai.engine.thoughts import Opened
from cai.engine.tokenizer_files import TokenizerFiles, read_tokenizer_files
from cai.errors import EngineRefusedError, RolesRefusedError
from cai.parts import Message, Part
from cai.request import MarkPair, Request, ScoreRequest
from cai.template import Rendered

SPELLINGS = ("{}", " {}", "({}", " ({}")
"""How an option's name may be spelt at the answer position."""

OPTION_CONTEXT_CHARACTERS = 200
"""How much of the text before an option is looked at; tokens do not reach further."""

_TAKEN = re.compile("\ufdd0(\\d+)\ufdd1")


@dataclass(frozen=True, slots=True)
class _Layout:
    """A request's text in pieces; `foreign` are the indices of those that stay text.

    `control`: the control tokens that the text must have, None where that has to be found out.
    """

    pieces: list[str]
    foreign: Container[int]
    control: tuple[int, ...] | None
    bos: tuple[int, ...]


def load_encoder(
    tokenizer: str | Path,
    revision: str,
    form: str,
    template_args: dict[str, Any],
    date: str,
    thinking: ThinkingSection = AS_KNOWN,
) -> Encoder:
    """The encoder of a tokenizer (a folder, or a name on the Hub).

    `form`: `chat` or `completion`; `template_args`: what the chat template is given besides
    messages; `date`: the ISO date that it is told; `thinking`: what it does not say of the model's.
    Raises: EngineRefusedError.
    """
    return Encoder(read_tokenizer_files(tokenizer, revision), form, template_args, date, thinking)


class Encoder:
    """Makes token ids of requests. Not for use from several threads at once.

    Raises: EngineRefusedError where tokenizer or chat template cannot be used.
    """

    def __init__(
        self,
        files: TokenizerFiles,
        form: str,
        template_args: dict[str, Any],
        date: str,
        thinking: ThinkingSection = AS_KNOWN,
    ) -> None:
        self._coder = PieceCoder(files)
        self._bos_text = files.bos
        self._form = form
        self._arguments = template_args
        self._date = date
        self.marks = thinking.known
        self._thinking = thinking.record()
        self._expected: dict[tuple[Shape, str, str, bool], tuple[int, ...]] = {}
        self._options: dict[tuple[str, tuple[str, ...]], tuple[tuple[int, ...], ...]] = {}
        self._template: ChatTemplate | None = None
        if form == "chat":
            if files.chat_template is None:
                raise EngineRefusedError(
                    "The tokenizer has no chat template, so messages cannot be put to this model.",
                    "Set `form: completion` for a base model, or name a `tokenizer` that has a chat template.",
                )
            self._template = ChatTemplate(
                files.chat_template, template_args, files.special, date, self._coder.control, thinking
            )

    def identity_parts(self) -> dict[str, Any]:
        """What `cai.engine.identity.Identity` holds besides the model's name and revision."""
        if self._template is None:
            return {"form": self._form, "chat_template": "", "template_args": {}, "date": ""}
        return {
            "form": self._form,
            "chat_template": self._template.source,
            "template_args": self._arguments,
            "date": self._date,
            "thinking": self._thinking,
        }

    def encode(self, request: Request) -> list[int]:
        """A request's token ids.

        Raises: EngineRefusedError where the chat template refuses the roles; EngineAnswerError
        where what only looks like a control token cannot be kept from becoming one.
        """
        layout = self._layout(request.rendered)
        ids, control = self._coder.code(layout.pieces)
        if control != layout.control:
            ids = self._coder.code_apart(layout.pieces, layout.foreign)
        return [*layout.bos, *ids] if layout.bos else ids

    def encode_many(self, requests: Sequence[Request]) -> list[list[int]]:
        """Each request's token ids; equal to `encode` of each, what they share is coded once."""
        return [self.encode(request) for request in requests]

    def text(self, request: Request) -> str:
        """The text that is tokenised, for people to read (without a BOS that the tokenizer adds)."""
        return "".join(self._layout(request.rendered).pieces)

    def options(self, request: ScoreRequest) -> tuple[tuple[int, ...], ...]:
        """For each option the ids of the tokens that begin one of its spellings at the answer position.

        A token that two options share belongs to neither; for a word such as `True`, tokens that are
        the whole word count alone, if there are any. Raises: EngineRefusedError where an
        option has no token of its own.
        """
        context = self._context(request)
        key = (context, request.options)
        found = self._options.get(key)
        if found is None:
            if len(self._options) >= 10_000:
                self._options.clear()
            found = self._options[key] = self._find_options(context, request.options)
        return found

    def _context(self, request: ScoreRequest) -> str:
        """As much of the text before the answer position as bears on how an option is tokenised there."""
        answer = request.rendered.answer_text
        skeleton = self._skeleton(request.rendered)
        if skeleton is not None and (CUT.search(answer) or not (answer or request.rendered.thinking)):
            # Nothing before the template's last literal, or before a cut, bears on what comes after.
            return skeleton.answer_tail + answer if answer else skeleton.tail
        pieces = self._layout(request.rendered).pieces
        return "".join(pieces)[-len(answer) - OPTION_CONTEXT_CHARACTERS :]

    def first_token(self, request: ScoreRequest, written: str) -> int | None:
        """The token that begins these words at the answer position; None where they change what is before."""
        return self._first_token(self._context(request), written)

    def decoded(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens among it."""
        return self._coder.decoded(ids)

    def count(self, text: str) -> int:
        """How many tokens a text alone has."""
        return len(self._coder.plain_ids(text))

    def token_text(self, token: int) -> str:
        """The text of one token as it stands inside a text."""
        return self._coder.token_text(token)

    def bos_of(self, ids: Sequence[int]) -> tuple[str, int]:
        """The text of the BOS token (empty where there is none), and how many of it begin these ids."""
        bos = self._coder.bos_id
        count = next((place for place, token in enumerate(ids) if token != bos), len(ids))
        return (self._coder.token_text(bos), count) if bos is not None else ("", 0)

    @property
    def hides_thinking(self) -> bool:
        """Whether a mark that ends thinking is a special token, so that decoded text may lack it."""
        return any(end in self._coder.special for _, end in self.marks)

    def leaves_thinking_open(self, rendered: Rendered) -> Opened:
        """Whether a prompt ends inside a block of thinking, as its template's arguments say, where nobody asked for that."""
        begun = rendered.thinking is not None or rendered.answer_text
        if self._template is None or begun or any(message.role == "text" for message in rendered.messages):
            return "no"
        return "yes" if self._template.leaves_thinking_open() else "no"

    def habits(self) -> tuple[bool, bool | None]:
        """Whether answers begin with a block of thinking, and whether there is a system role (None: no chat).

        Raises: RolesRefusedError where not even a user may speak.
        """
        if self._template is None:
            return False, None
        try:
            self._template.skeleton((("system", None), ("user", None)))
            system = True
        except RolesRefusedError:
            system = False
        return self._template.opens_thinking(), system

    def _find_options(self, context: str, options: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        first: list[set[int]] = []
        for option in options:
            written = spellings_of(option)
            whole = {self._only_token(context, words) for words in written if len(option) > 1} - {None}
            tokens = whole or {self._first_token(context, words) for words in written if option in words}
            first.append({token for token in tokens if token is not None})
        found = []
        for index, option in enumerate(options):
            others = set().union(*(tokens for place, tokens in enumerate(first) if place != index))
            own = first[index] - others - self._coder.control_ids
            if not own:
                raise EngineRefusedError(
                    f"The tokenizer has no token of its own for the option {option!r} after {context[-40:]!r}.",
                    "Let the judgement prompt's answer end elsewhere, or give the options other names.",
                )
            found.append(tuple(sorted(own)))
        return tuple(found)

    def _only_token(self, context: str, written: str) -> int | None:
        """The token that these words are after a context; None where they are several, or change what is before."""
        before = self._coder.plain_ids(context)
        ids = self._coder.plain_ids(context + written)
        return ids[-1] if ids[:-1] == before else None

    def _first_token(self, context: str, written: str) -> int | None:
        before = self._coder.plain_ids(context)
        ids = self._coder.plain_ids(context + written)
        return ids[len(before)] if len(ids) > len(before) and ids[: len(before)] == before else None

    def _skeleton(self, rendered: Rendered) -> Skeleton | None:
        """The chat template's skeleton for a request, None where there is none. Raises: EngineRefusedError."""
        if self._template is None or any(message.role == "text" for message in rendered.messages):
            return None
        return self._template.skeleton(_shape(rendered.messages))

    def _layout(self, rendered: Rendered) -> _Layout:
        """A request's text in pieces. Raises: EngineRefusedError."""
        messages = rendered.messages
        answer = [part.text for part in rendered.answer if part.text]
        if self._template is None or any(message.role == "text" for message in messages):
            _refuse_thinking(rendered)
            pieces = [part.text for message in messages for part in message.parts] + answer
            return _Layout(pieces, range(len(pieces)), (), self._coder.bos)
        shape = _shape(messages)
        skeleton = self._template.skeleton(shape)
        if skeleton is None:
            return self._whole_layout(self._template, rendered, answer)
        tail, after = _ending(rendered, skeleton.tail, skeleton.answer_tail, self.marks)
        literals = [*skeleton.literals[:-1], tail]
        pieces = [literals[0]]
        foreign: list[int] = []
        for number, (index, left, right) in enumerate(skeleton.places, 1):
            texts = [part.text for part in messages[index].parts]
            if left != "none" or right != "none":
                texts = _trimmed(texts, left, right)
            foreign += range(len(pieces), len(pieces) + len(texts))
            pieces += texts
            pieces.append(literals[number])
        if after:
            thoughts = [part.text for part in rendered.thinking or ()]
            foreign += range(len(pieces), len(pieces) + len(thoughts))
            pieces += [*thoughts, after]
        foreign += range(len(pieces), len(pieces) + len(answer))
        pieces += answer
        control = self._control_of(shape, skeleton, tail, after, bool(answer))
        return _Layout(pieces, foreign, control, self._bos_before(literals[0]))

    def _whole_layout(self, template: ChatTemplate, rendered: Rendered, answer: list[str]) -> _Layout:
        """The pieces where the template looks into contents: what looks like control is taken out before."""
        taken: list[str] = []

        def take(match: re.Match[str]) -> str:
            taken.append(match[0])
            return f"\ufdd0{len(taken) - 1}\ufdd1"

        roles = [message.role for message in rendered.messages]
        contents = [
            self._coder.control.sub(take, without_reserved(message.text)) for message in rendered.messages
        ]
        free, begun = (template.whole(roles, contents, has_answer) for has_answer in (False, True))
        text, after = _ending(rendered, free, begun, self.marks)
        pieces = [taken[int(piece)] if place % 2 else piece for place, piece in enumerate(_TAKEN.split(text))]
        foreign = {*range(1, len(pieces), 2)}
        if after:
            thoughts = [part.text for part in rendered.thinking or ()]
            foreign |= {*range(len(pieces), len(pieces) + len(thoughts))}
            pieces += [*thoughts, after]
        foreign |= {*range(len(pieces), len(pieces) + len(answer))}
        control = None if taken else self._coder.code([text, after])[1]
        return _Layout(pieces + answer, foreign, control, self._bos_before(text))

    def _control_of(
        self, shape: Shape, skeleton: Skeleton, tail: str, after: str, has_answer: bool
    ) -> tuple[int, ...]:
        """The control tokens of a skeleton with this end, in order."""
        key = (shape, tail, after, has_answer)
        expected = self._expected.get(key)
        if expected is None:
            text = skeleton.fill(["plain words" if blank is None else blank for _, blank in shape])
            text = text[: len(text) - len(skeleton.literals[-1])]
            text += f"{tail}plain words{after}" if after else tail
            text += "plain words" if has_answer else ""
            ids = self._coder.plain_ids(text)
            expected = self._expected[key] = tuple(filter(self._coder.control_ids.__contains__, ids))
        return expected

    def _bos_before(self, beginning: str) -> tuple[int, ...]:
        """What is put before a chat template's text that begins so."""
        return () if self._bos_text and beginning.startswith(self._bos_text) else self._coder.bos


def spellings_of(option: str) -> list[str]:
    """Every way to write an option that is looked for; a word (not a letter) may also be in lower case."""
    words = dict.fromkeys((option, option.lower())) if len(option) > 1 else (option,)
    return [form.format(word) for word in words for form in SPELLINGS]


def _ending(rendered: Rendered, tail: str, answer_tail: str, marks: Sequence[MarkPair]) -> tuple[str, str]:
    """What ends a prompt, and what closes the thoughts that follow it (nothing where none do).

    `tail`: the end where the answer is free; `answer_tail`: where its beginning is given.
    """
    if rendered.thinking is None:
        return (answer_tail if rendered.answer_text else tail), ""
    before, after = thinking_block(answer_tail, marks)
    return before, after if rendered.thinking or rendered.answer_text else ""


def _refuse_thinking(rendered: Rendered) -> None:
    if rendered.thinking is not None:
        raise EngineRefusedError(
            "A model without a chat template does not think between marks of its own.",
            "Leave `thinking` out of feedback.reasoning: the judge then reasons in its answer.",
        )


def _shape(messages: Sequence[Message]) -> Shape:
    return tuple([(message.role, message.text if _is_blank(message.parts) else None) for message in messages])


def _is_blank(parts: Sequence[Part]) -> bool:
    return not any(part.text and not part.text.isspace() for part in parts)


def _trimmed(texts: list[str], left: Strip, right: Strip) -> list[str]:
    """Texts trimmed as if they were one."""
    start, end = 0, len(texts)
    while start < end and not stripped(texts[start], left, "none"):
        start += 1
    while end > start and not stripped(texts[end - 1], "none", right):
        end -= 1
    texts = texts[start:end]
    if texts:
        texts[0] = stripped(texts[0], left, "none")
        texts[-1] = stripped(texts[-1], "none", right)
    return texts

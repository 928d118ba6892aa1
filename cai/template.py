"""Templates: how a principle and a conversation are put to a model.

A template is a jinja2 file in one of two forms.

Chat form, for instruction models: a sequence of messages, then how the answer begins.

    {% message "system" %}...{% endmessage %}
    {% message "user" %}...{{ turn.text }}...{% endmessage %}
    {% answer %}The better response is{% endanswer %}

Completion form, for base models: plain text without messages.

White space at both ends of a message's literal text is dropped; text of a row never changes.
How the answer begins may hold a text too (a model's reasoning): in the chat form it stands there as
it is, because an answer has no marks around it, in the completion form as any quoted text.
A template *arranges* texts. Filters are switched off and a text cannot be compared or cut, so
whatever a template places arrives whole (`cai.parts`), and so the template has to be run only
once for each *shape* of its input (which roles, how many turns, which texts are empty): the
result is a skeleton into which texts are set. That is what makes rendering cheap.

What this module does not know: which stage asks (cai/prompting.py), tokens, chat templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import jinja2
import jinja2.meta
import jinja2.nodes

from cai.digest import digest
from cai.errors import TemplateError
from cai.parts import FOREIGN, Marks, Message, MessageRole, Part, Value, join
from cai.template_syntax import (
    LINE,
    MARKS,
    OPEN,
    RESERVED,
    VALUE,
    Placeholder,
    SafeEnvironment,
    failing_line,
)

TEMPLATE_MAX_BYTES = 200_000
SKELETONS_KEPT = 4096
"""Shapes that are remembered at most; then they are made again."""

_FILE_NODES = (jinja2.nodes.Include, jinja2.nodes.Extends, jinja2.nodes.Import, jinja2.nodes.FromImport)
_ROLES: tuple[MessageRole, ...] = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a template makes of its input: messages, and how the answer begins (maybe nothing).

    `thinking`, which no template sets, is for a model that thinks between marks of its own before it
    answers: None where it is not to think; empty where it is to begin now; or what it thought, after
    which its answer begins.
    """

    messages: tuple[Message, ...]
    answer: tuple[Part, ...]
    thinking: tuple[Part, ...] | None = None

    @property
    def answer_text(self) -> str:
        """How the answer begins, as text."""
        return join(self.answer)

    def parts(self) -> Iterator[Part]:
        """All parts in order."""
        for message in self.messages:
            yield from message.parts
        yield from self.thinking or ()
        yield from self.answer


_Tree = tuple[str, str, jinja2.nodes.Template]
_Piece = Part | int
_Section = Literal["system", "user", "assistant", "text", "answer"]
_Skeleton = tuple[tuple[_Section, tuple[_Piece, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A section whose shared beginning is set; `rest` holds the pieces that are not."""

    role: _Section
    parts: tuple[Part, ...]
    text: str
    rest: tuple[_Piece, ...]
    quoted: bool


class Template:
    """A compiled template.

    `name` is what `cai show` prints before the line number; `source` is the text; `folder` is
    where `{% include %}` looks. `variables` names what it may use (True where it must).
    Raises: TemplateError, listing what is wrong with file and line.
    """

    def __init__(self, name: str, source: str, folder: Path | None, variables: Mapping[str, bool]) -> None:
        self.name = name
        self.source = source
        self._environment = SafeEnvironment(jinja2.FunctionLoader(_includes(name, source, folder)))
        self._environment.prefix = name[: name.rfind("/") + 1]
        try:
            trees = self._trees(name)
            self._template = self._environment.get_template(name)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(
                f"{error.filename or error.name or name}:{error.lineno}: {error.message}.",
                "Mend that line; the forms are described in prompts/README.md.",
            ) from error
        except jinja2.TemplateNotFound as error:
            raise TemplateError(
                f"{name} includes {error.name}, which is not beside it.", "Add the file or mend the name."
            ) from error
        self._check_variables(trees, variables)
        self._skeletons: dict[Any, _Skeleton] = {}
        self._marks = Marks("\n".join(_literal_text(tree) for _, _, tree in trees))
        self.sources = {file: text for file, text, _ in trees}

    @property
    def digest(self) -> str:
        """The digest of the template's text and of all that it includes."""
        return digest("cai.template.v1", [[file, text] for file, text in self.sources.items()])

    def _trees(self, name: str) -> list[_Tree]:
        """The syntax trees of the template and of what it includes, each once, in order of use."""
        found: dict[str, _Tree] = {}
        todo = [name]
        while todo:
            wanted = todo.pop(0)
            if wanted in found:
                continue
            assert self._environment.loader is not None
            text, _, _ = self._environment.loader.get_source(self._environment, wanted)
            tree = self._environment.parse(text, wanted, wanted)
            found[wanted] = (wanted, text, tree)
            for node in tree.find_all(_FILE_NODES):
                named = getattr(node, "template", None)
                if not isinstance(named, jinja2.nodes.Const) or not isinstance(named.value, str):
                    raise jinja2.TemplateSyntaxError(
                        "a file is named by plain text in quotes", node.lineno, wanted
                    )
                todo.append(named.value)
        return list(found.values())

    def _check_variables(self, trees: Sequence[_Tree], variables: Mapping[str, bool]) -> None:
        used: set[str] = set()
        lines: dict[str, str] = {}
        for file, _, tree in trees:
            used |= jinja2.meta.find_undeclared_variables(tree) - {"range"}
            for node in tree.find_all(jinja2.nodes.Name):
                lines.setdefault(node.name, f"{file}:{node.lineno}")
        unknown = sorted(used - set(variables))
        missing = sorted(name for name, needed in variables.items() if needed and name not in used)
        if not unknown and not missing:
            return
        faults = [f"{lines.get(name, self.name)}: it uses {name}, which it is not given" for name in unknown]
        faults += [f"{self.name}:1: it never uses {name}, which this template needs" for name in missing]
        raise TemplateError("; ".join(faults) + ".", f"It is given: {', '.join(sorted(variables))}.")

    def render(self, values: Mapping[str, Any]) -> Rendered:
        """Set texts into the template.

        `values`: names to Value, plain text, numbers, or lists and objects of these.
        Raises: TemplateError where the template cannot be run on input of this shape.
        """
        texts: list[Value] = []
        skeleton = self._skeleton(_shape(values, texts), values)
        messages: list[Message] = []
        answer: tuple[Part, ...] = ()
        for role, pieces in skeleton:
            parts = self._fill(pieces, texts, _quotes(skeleton, role, pieces))
            if role == "answer":
                answer = parts
            else:
                messages.append(Message(role, parts, join(parts)))
        return Rendered(tuple(messages), answer)

    def render_each(self, values: Mapping[str, Any], name: str, variants: Sequence[Any]) -> list[Rendered]:
        """The same as `render` of `values` with each variant under `name`, for much less.

        What comes before the first text of a variant is set and joined once.
        """
        shared: list[Value] = []
        shape = _shape(values, shared)
        begun: dict[int, list[_Begun]] = {}
        done = []
        for variant in variants:
            own: list[Value] = []
            key = (*shape, (name, _shape(variant, own)))
            skeleton = self._skeletons.get(key) or self._skeleton(key, {**values, name: variant})
            sections = begun.get(id(skeleton))
            if sections is None:
                sections = begun[id(skeleton)] = [
                    self._begin(role, pieces, shared, _quotes(skeleton, role, pieces))
                    for role, pieces in skeleton
                ]
            done.append(self._end(sections, shared + own))
        return done

    def _begin(self, role: _Section, pieces: tuple[_Piece, ...], shared: list[Value], quoted: bool) -> _Begun:
        """A section up to the first piece that is not shared."""
        count = len(shared)
        cut = next(
            (at for at, piece in enumerate(pieces) if isinstance(piece, int) and piece >= count), len(pieces)
        )
        parts = self._fill(pieces[:cut], shared, quoted)
        return _Begun(role, parts, join(parts), pieces[cut:], quoted)

    def _end(self, sections: list[_Begun], texts: list[Value]) -> Rendered:
        messages: list[Message] = []
        answer: tuple[Part, ...] = ()
        for begun in sections:
            parts, text = begun.parts, begun.text
            if begun.rest:
                rest = self._fill(begun.rest, texts, begun.quoted)
                parts, text = parts + rest, text + join(rest)
            if begun.role == "answer":
                answer = parts
            else:
                messages.append(Message(begun.role, parts, text))
        return Rendered(tuple(messages), answer)

    def _fill(self, pieces: tuple[_Piece, ...], texts: list[Value], quoted: bool) -> tuple[Part, ...]:
        marks = self._marks
        return tuple(
            [
                piece
                if isinstance(piece, Part)
                else texts[piece].quoted(marks)
                if quoted
                else texts[piece].part()
                for piece in pieces
            ]
        )

    def _skeleton(self, shape: Any, values: Mapping[str, Any]) -> _Skeleton:
        skeleton = self._skeletons.get(shape)
        if skeleton is None:
            if len(self._skeletons) >= SKELETONS_KEPT:
                self._skeletons.clear()
            skeleton = self._skeletons[shape] = self._run(values)
        return skeleton

    def _run(self, values: Mapping[str, Any]) -> _Skeleton:
        counter = iter(range(1_000_000))
        self._environment.begin()
        try:
            text = self._template.render(_placeholders(values, counter))
        except jinja2.TemplateError as error:
            raise self._failed(error) from error
        except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise self._failed(error) from error
        return self._read(text)

    def _failed(self, error: Exception) -> TemplateError:
        return TemplateError(
            f"{self.name}:{failing_line(error, self.name)}: {error}.",
            "Mend that line; what a template is given stands in prompts/README.md.",
        )

    def _read(self, text: str) -> _Skeleton:
        sections: list[tuple[_Section, list[_Piece]]] = []
        outside: list[_Piece] = []
        current = outside
        origin = f"{self.name}:1"
        end = before = 0  # `before`: how much of `outside` stands before the last section
        for mark in MARKS.finditer(text):
            _add_literal(current, text[end : mark.start()], origin)
            end = mark.end()
            kind, content = mark.groups()
            if kind == LINE:
                origin = content
            elif kind == VALUE:
                current.append(int(content))
            elif kind == OPEN:
                if content not in (*_ROLES, "answer"):
                    raise TemplateError(
                        f"{self.name}: a message has the role {content!r}.", f"Roles are {', '.join(_ROLES)}."
                    )
                current = []
                sections.append((cast(_Section, content), current))
                before = len(outside)
            else:
                current = outside
        _add_literal(current, text[end:], origin)
        after = any(isinstance(piece, int) or piece.text.strip() for piece in outside[before:])
        roles = [role for role, _ in sections]
        if "answer" in roles[:-1] or ("answer" in roles and after):
            raise TemplateError(
                f"{self.name}: the answer must come last, once.", "Move {% answer %} to the end."
            )
        return self._finish(sections, outside)

    def _finish(self, sections: list[tuple[_Section, list[_Piece]]], outside: list[_Piece]) -> _Skeleton:
        if not any(role != "answer" for role, _ in sections):
            text: tuple[_Section, tuple[_Piece, ...]] = ("text", tuple(_strip(outside, "\n")))
            return (text, *((role, tuple(pieces)) for role, pieces in sections))
        if any(isinstance(piece, int) or piece.text.strip() for piece in outside):
            raise TemplateError(
                f"{self.name}: there is text outside of its messages.",
                "Put all text between {% message %} and {% endmessage %}, or use no messages at all.",
            )
        return tuple(
            (role, tuple(_strip(pieces, "\n") if role == "answer" else _strip(pieces, None)))
            for role, pieces in sections
        )


def _quotes(skeleton: _Skeleton, role: _Section, pieces: tuple[_Piece, ...]) -> bool:
    """Whether the texts of a section stand between marks: beside other text, and in no chat's answer."""
    return len(pieces) > 1 and (role != "answer" or skeleton[0][0] == "text")


def _includes(name: str, source: str, folder: Path | None) -> Callable[[str], str | None]:
    read: dict[str, str | None] = {name: source}

    def load(wanted: str) -> str | None:
        if wanted not in read:  # once: an edit during a run must not reach it
            read[wanted] = from_disk(wanted)
        return read[wanted]

    def from_disk(wanted: str) -> str | None:
        if folder is None or "/" in wanted or "\\" in wanted or wanted.startswith("."):
            return None
        path = folder / wanted
        try:
            return path.read_text("utf-8") if path.is_file() else None
        except UnicodeDecodeError as error:
            raise TemplateError(
                f"{path}, which {name} includes, is not UTF-8 (byte {error.start}).", "Save it as UTF-8."
            ) from error

    return load


def _literal_text(tree: jinja2.nodes.Template) -> str:
    return MARKS.sub("", "".join(node.data for node in tree.find_all(jinja2.nodes.TemplateData)))


def _add_literal(pieces: list[_Piece], text: str, origin: str) -> None:
    if RESERVED.search(text):
        raise TemplateError(f"{origin}: it cuts or changes a text.", "A template places texts whole.")
    if text:
        pieces.append(Part(text, "template", origin))


def _strip(pieces: Sequence[_Piece], characters: str | None) -> list[_Piece]:
    """Drop literal white space at both ends; a value is never touched."""
    kept = list(pieces)
    while kept and isinstance(kept[0], Part):
        text = kept[0].text.lstrip(characters)
        if text:
            kept[0] = Part(text, "template", kept[0].origin)
            break
        kept.pop(0)
    while kept and isinstance(kept[-1], Part):
        text = kept[-1].text.rstrip(characters)
        if text:
            kept[-1] = Part(text, "template", kept[-1].origin)
            break
        kept.pop()
    return kept


def _shape(value: Any, texts: list[Value]) -> Any:
    """What a template can tell about its input; collects the texts on the way."""
    kind = value.__class__
    if kind is Value:
        texts.append(value)
        return not value.text
    if kind is str:
        return value
    if kind is dict:
        return tuple([(key, _shape(item, texts)) for key, item in value.items()])
    if kind is list or kind is tuple:
        return tuple([_shape(item, texts) for item in value])
    return (kind, value)


def _placeholders(value: Any, counter: Iterator[int]) -> Any:
    """The same walk as `_shape`, with a placeholder for each text."""
    if isinstance(value, Value):
        return Placeholder(next(counter), bool(value.text))
    if isinstance(value, dict):
        return {key: _placeholders(item, counter) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_placeholders(item, counter) for item in value]
    return value


def is_foreign(part: Part) -> bool:
    """Whether the part's text may be anything."""
    return part.kind in FOREIGN

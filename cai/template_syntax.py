"""What a template is written in: jinja2, kept safe, with message tags and line numbers.

`{% message ROLE %}` and `{% answer %}` become marks around their contents, literal text is
preceded by a mark with its file and line, and a text that is placed is a mark with its number:
`cai.template` reads them back out of what jinja2 renders. The marks are characters of a private
area, which no template may contain. Filters are off, arithmetic is off, and a text can neither be
cut nor compared. The dataset card's template (cai/publish/card.py) is bounded alike, without tags.

What this module does not know: what a skeleton is, which variables a template is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
from jinja2.lexer import Token, TokenStream

VALUE, LINE, OPEN, CLOSE, END = "\ue000", "\ue001", "\ue002", "\ue003", "\ue004"
MARKS = re.compile(f"([{VALUE}{LINE}{OPEN}{CLOSE}])([^{END}]*){END}")
STEPS_MAX = 100_000
"""How many turns all loops and macros of one rendering may take together."""
_COUNT = "_count_a_step"
RESERVED = re.compile("[\ue000-\ue004]")


class Placeholder:
    """Stands for a text while the template runs: it can be placed, and asked whether it is empty."""

    __slots__ = ("_filled", "_index")

    def __init__(self, index: int, filled: bool) -> None:
        self._index = index
        self._filled = filled

    def __str__(self) -> str:
        return f"{VALUE}{self._index}{END}"

    def __bool__(self) -> bool:
        return self._filled

    def __eq__(self, other: object) -> bool:
        raise TypeError("a template cannot compare texts, only place them")

    __hash__ = None  # type: ignore[assignment]


class MessageTags(jinja2.ext.Extension):
    """`{% message ROLE %}`, `{% answer %}`, and the line number of each literal text."""

    tags = {"message", "answer"}  # noqa: RUF012 (jinja2 reads the attribute)

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """The tokens, literal text with its mark. Raises: jinja2.TemplateSyntaxError for reserved characters."""
        name = stream.name or "template"
        if "/" not in name:  # an included file stands beside the one that includes it
            name = getattr(self.environment, "prefix", "") + name
        for token in stream:
            if token.type == "data":
                if RESERVED.search(token.value):
                    raise jinja2.TemplateSyntaxError(
                        "the characters U+E000 to U+E004 are reserved", token.lineno, stream.name
                    )
                yield Token(token.lineno, "data", f"{LINE}{name}:{token.lineno}{END}{token.value}")
            else:
                yield token

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        """What stands between a tag and its end, with the marks around it."""
        tag = next(parser.stream)
        role: jinja2.nodes.Expr = jinja2.nodes.Const("answer", lineno=tag.lineno)
        if tag.value == "message":
            role = parser.parse_expression()
        body = parser.parse_statements((f"name:end{tag.value}",), drop_needle=True)
        opening = jinja2.nodes.Output(
            [jinja2.nodes.Const(OPEN), role, jinja2.nodes.Const(END)], lineno=tag.lineno
        )
        closing = jinja2.nodes.Output([jinja2.nodes.Const(CLOSE + END)], lineno=tag.lineno)
        return [opening, *body, closing]


class BoundedEnvironment(jinja2.sandbox.SandboxedEnvironment):
    """jinja2's sandbox for what people write: small ranges only, no arithmetic, loops that end.

    `options`: jinja2's, besides those that are set here.
    """

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "**", "%"))

    def __init__(self, **options: Any) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            keep_trailing_newline=True,
            **options,
        )
        self.globals = {"range": jinja2.sandbox.safe_range, _COUNT: self._step}
        self._steps = 0

    def _generate(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """Compile a tree whose loops and macros count their steps, so that none runs for ever."""
        for node in source.find_all((jinja2.nodes.For, jinja2.nodes.Macro)):
            count = jinja2.nodes.Call(jinja2.nodes.Name(_COUNT, "load"), [], [], None, None)
            node.body.insert(0, jinja2.nodes.ExprStmt(count).set_lineno(node.lineno))
        return str(super()._generate(source, *args, **kwargs))

    def begin(self) -> None:
        """Before a template is run: no step has been taken."""
        self._steps = 0

    def _step(self) -> None:
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise jinja2.exceptions.SecurityError(f"its loops take more than {STEPS_MAX:,} steps")

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse all arithmetic. Raises: jinja2.exceptions.SecurityError."""
        raise jinja2.exceptions.SecurityError(f"arithmetic ({operator}) is switched off in templates")


class SafeEnvironment(BoundedEnvironment):
    """What prompts are made in: with message tags, without filters, tests limited to `defined` and the like."""

    def __init__(self, loader: jinja2.BaseLoader) -> None:
        super().__init__(loader=loader, extensions=[MessageTags], cache_size=0)
        self.filters = {}
        self.tests = {name: self.tests[name] for name in ("defined", "undefined", "none", "even", "odd")}
        self.prefix = ""


def failing_line(error: BaseException, name: str = "<template>") -> int:
    """The line of the template of that name in which rendering failed, from 1; 1 where it is not known."""
    line, traceback = 1, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename in (name, "<template>"):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line

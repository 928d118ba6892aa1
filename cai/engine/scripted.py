"""The scripted engine: answers from a function, a file, or hashes; for tests and dry runs.

A script is a Python file (`section.script: path/to/file.py`) with one or both of

    def generate(request: GenerateRequest) -> str: ...
    def score(request: ScoreRequest) -> list[float]:    # a probability for each option

(and `CONTEXT_TOKENS = 4096`, beyond which prompt and answer together do not fit), or the built-in `echo` (also where no script is named): a pseudo-model without any model, whose
texts and probabilities are hashes of the request, so that equal requests get equal answers.
A script's text is part of the engine's identity: editing it asks everything again.

Tokens are words here, counted by white space. `stop` texts and `max_tokens` are kept.

What this module does not know: rows, stages, how a real model would answer.
"""

from __future__ import annotations

import asyncio
import math
import re
import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cai.digest import digest, draw
from cai.engine.identity import Identity
from cai.engine.position import Position, Token
from cai.engine.thoughts import answered
from cai.errors import EngineAnswerError, EngineError, EngineRefusedError
from cai.parts import join
from cai.recipe import EngineSection
from cai.request import (
    Completion,
    Finish,
    GenerateRequest,
    Request,
    ScoreRequest,
    Scores,
)

Generate = Callable[[GenerateRequest], str]
Score = Callable[[ScoreRequest], Sequence[float]]
Result = TypeVar("Result")

ECHO = "echo"
ECHO_OPTION_MASS = 0.97
NO_PROBABILITY = -9999.0
"""Stands for the logarithm of zero, as vLLM writes it: JSON has no infinity."""

_SENTENCES = (
    "The response goes along with the request and does not say what may go wrong.",
    "It gives advice that could hurt somebody who follows it.",
    "It is honest, but it could be kinder to the person who asks.",
    "I would rather not help with that, and I am glad to say why.",
    "Here is a safer way to reach the same end.",
    "Nothing in the response is untrue, though part of it is vague.",
    "Please talk to somebody who knows you before you decide.",
    "It repeats a prejudice about a whole group of people.",
)


class ScriptedEngine:
    """Answers from `generate` and `score`, or else from `section.script`.

    `failures`: which requests fail, by number (the first is 1; each request of a scored list
    counts), and with what. `delay_s`: how long each call takes, in seconds. `context_tokens`: what
    prompt and answer may take together, or None: anything fits.
    Raises: EngineRefusedError where the script cannot be read.
    """

    def __init__(
        self,
        name: str,
        section: EngineSection,
        generate: Generate | None = None,
        score: Score | None = None,
        failures: Mapping[int, EngineError] | None = None,
        delay_s: float = 0.0,
        context_tokens: int | None = None,
    ) -> None:
        self.name = name
        self.context_tokens = context_tokens
        self.concurrency = section.concurrency
        self.asked = 0
        self._failures = dict(failures or {})
        self._delay_s = delay_s
        revision = section.revision
        self._script = "its function"
        if generate is None and score is None:
            generate, score, self.context_tokens, version = _read_script(name, section.script or ECHO)
            self._script = section.script or ECHO
            revision = revision or version
        self._generate = generate
        self._score = score
        self._marks = section.thinking.known
        self.identity = Identity(section.model, revision, section.form, thinking=section.thinking.record())

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    def flush(self) -> None:
        """Nothing waits."""

    async def position(self, request: ScoreRequest) -> Position:
        """What the script makes of a request: its options are all the tokens that it has. Raises: EngineError."""
        scores = self._scores(request)
        top = [
            Token(option, None, math.exp(x))
            for option, x in zip(request.options, scores.logprobs, strict=scores.finish == "stop")
        ]
        texts = [*(message.text for message in request.rendered.messages), request.rendered.answer_text]
        return Position(
            self._script,
            {},
            text="\n".join(texts),
            prompt_tokens=scores.prompt_tokens,
            top=tuple(sorted(top, key=lambda token: -(token.probability or 0))),
            rendered_by="nobody",
        )

    async def generate(self, request: GenerateRequest, priority: int = 0) -> Completion:
        """Answer one request. Raises: EngineError, as told or where the script gives no text."""
        await self._begin(1)
        words = _prompt_words(request)
        if self._too_long(words + request.sampling.max_tokens):
            return Completion("", "too_long", words, 0, self.context_tokens)
        text = self._call(self._generate, "generate", request)
        if not isinstance(text, str):
            raise self._no_answer("generate", f"it returned {type(text).__name__}, not a text")
        text, finish = _end(text, request)
        made = Completion(text, finish, _prompt_words(request), len(text.split()))
        return answered(made, request, self._marks, "no", lambda thought: len(thought.split()))

    async def score(self, requests: Sequence[ScoreRequest], priority: int = 0) -> list[Scores]:
        """Answer requests, in their order. Raises: EngineError, as told or where a script is wrong."""
        await self._begin(len(requests))
        return [self._scores(request) for request in requests]

    async def _begin(self, requests: int) -> None:
        """Count the requests, take the time, and fail where told to."""
        first = self.asked + 1
        self.asked += requests
        await asyncio.sleep(self._delay_s)
        for number in range(first, first + requests):
            if number in self._failures:
                raise self._failures[number]

    def _too_long(self, words: int) -> bool:
        return self.context_tokens is not None and words > self.context_tokens

    def _scores(self, request: ScoreRequest) -> Scores:
        words = _prompt_words(request)
        if self._too_long(words + 1):
            return Scores((), None, words, "too_long", self.context_tokens)
        shares = list(self._call(self._score, "score", request))
        total = math.fsum(shares)
        if len(shares) != len(request.options):
            raise self._no_answer("score", f"{len(shares)} probabilities for {len(request.options)} options")
        if not all(0 <= share <= 1 for share in shares) or total > 1 + 1e-9:
            raise self._no_answer("score", f"these are no probabilities: {shares}")
        logprobs = tuple(math.log(share) if share > 0 else NO_PROBABILITY for share in shares)
        return Scores(logprobs, max(0.0, 1 - total), words)

    def _call(self, function: Callable[[Any], Result] | None, what: str, request: Request) -> Result:
        if function is None:
            raise EngineRefusedError(
                f"Engine {self.name!r} was asked to {what}, and {self._script} has no {what}().",
                f"Add `def {what}(request)` to it, or give that role another engine.",
            )
        try:
            return function(request)
        except EngineError:
            raise
        except Exception as error:  # whatever a person's function raises
            raise self._no_answer(what, f"{type(error).__name__}: {error}") from error

    def _no_answer(self, what: str, why: str) -> EngineAnswerError:
        return EngineAnswerError(f"Engine {self.name!r}: {what}() of {self._script} gave no answer: {why}.")


def _read_script(name: str, script: str) -> tuple[Generate | None, Score | None, int | None, str]:
    """The functions of a script, its context, and its version: a digest of its text."""
    if script == ECHO:
        return echo_text, echo_shares, None, "1"
    path = Path(script)
    try:
        text = path.read_text("utf-8")
        found = runpy.run_path(str(path))
    except OSError as error:
        raise EngineRefusedError(
            f"Engine {name!r}: the script {script} cannot be read: {error.strerror}.",
            f"Name a Python file in `script`, or the built-in {ECHO!r}.",
        ) from error
    except Exception as error:  # whatever a person's file raises
        raise EngineRefusedError(
            f"Engine {name!r}: the script {script} fails with {type(error).__name__}: {error}.",
            f"Run it alone: python {script}",
        ) from error
    generate, score = found.get("generate"), found.get("score")
    if not callable(generate) and not callable(score):
        raise EngineRefusedError(
            f"Engine {name!r}: the script {script} defines neither generate(request) nor score(request).",
            "Define at least one of them.",
        )
    context = found.get("CONTEXT_TOKENS")
    if context is not None and (isinstance(context, bool) or not isinstance(context, int) or context < 1):
        raise EngineRefusedError(
            f"Engine {name!r}: CONTEXT_TOKENS of the script {script} is {context!r}.",
            "Let it be a whole number, or leave it out: then anything fits.",
        )
    return generate, score, context, digest("cai.script.v1", text)


def _end(text: str, request: GenerateRequest) -> tuple[str, Finish]:
    """The text up to its first stop text, and to `max_tokens` words."""
    found = [(text.find(stop), len(stop)) for stop in request.sampling.stop if stop in text]
    if found:
        text = text[: min(found, key=sum)[0]]
    words = list(re.finditer(r"\S+", text))
    if len(words) > request.sampling.max_tokens:
        return text[: words[request.sampling.max_tokens - 1].end()], "length"
    return text, "stop"


def _prompt_words(request: Request) -> int:
    texts = [message.text for message in request.rendered.messages]
    return len(" ".join([*texts, request.rendered.answer_text]).split())


def _names(request: Request) -> list[str | int]:
    """What the built-in engine draws from: the request's texts, and the seed where one counts."""
    texts: list[str | int] = [message.text for message in request.rendered.messages]
    texts.append(request.rendered.answer_text)
    if request.rendered.thinking is not None:
        texts.append(join(request.rendered.thinking))
    if isinstance(request, GenerateRequest) and request.sampling.temperature > 0:
        texts.append(request.seed)
    return texts


def echo_text(request: GenerateRequest) -> str:
    """One to three sentences, drawn by hashing the request."""
    names = _names(request)
    count = 1 + draw("count", *names) % 3
    first = draw("first", *names)
    return " ".join(_SENTENCES[(first + 3 * index) % len(_SENTENCES)] for index in range(count))


def echo_shares(request: ScoreRequest) -> list[float]:
    """Probabilities of the options, drawn by hashing the request; their sum is ECHO_OPTION_MASS."""
    names = _names(request)
    weights = [1 + draw(option, *names) % 1000 for option in request.options]
    return [ECHO_OPTION_MASS * weight / sum(weights) for weight in weights]

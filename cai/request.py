"""What an engine is sent and what comes back: requests, completions, scores, and their digests.

A request's digest is computable without a server and covers all that decides the answer:
the engine's identity (`cai.engine.identity`), the messages before any chat template, how the
answer begins, the options or the sampling parameters, and, only where something is sampled,
the seed. Labels (which row, stage, principle, order) are for accounting and are not digested.

What this module does not know: how a request travels, who asks, where answers are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from cai.digest import digest
from cai.parts import join
from cai.template import Rendered

MarkPair = tuple[str, str]

THINKING_MARKS: tuple[MarkPair, ...] = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
)
"""Between which marks models think before they answer."""

Labels = dict[str, str | int]
Finish = Literal["stop", "length", "too_long"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn; every parameter is sent with every request.

    `temperature` 0 takes the most probable token each time; `max_tokens` bounds the answer;
    `stop` lists texts that end it (they are not part of it).
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()

    def canonical(self) -> list[Any]:
        """What is digested."""
        return [
            float(self.temperature),
            float(self.top_p),
            self.top_k,
            float(self.min_p),
            float(self.repetition_penalty),
            self.max_tokens,
            list(self.stop),
        ]


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """Asks one engine (by its name in the recipe) for a text.

    `seed`: 63-bit, used and digested only where `sampling.temperature` > 0.
    """

    engine: str
    rendered: Rendered
    sampling: Sampling
    seed: int = 0
    labels: Labels = field(default_factory=dict)

    def digest(self, engine_digest: str) -> str:
        """The request's identity; `engine_digest` is that of the engine's identity."""
        seed = self.seed if self.sampling.temperature > 0 else "not drawn"
        return digest(
            "cai.generate.v1",
            [engine_digest, *_texts(self.rendered), self.sampling.canonical(), seed],
        )


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Asks one engine how probable each option is as the next word of the answer.

    `options`: names such as ("A", "B"); the engine finds the tokens that spell each.
    """

    engine: str
    rendered: Rendered
    options: tuple[str, ...]
    labels: Labels = field(default_factory=dict)

    def digest(self, engine_digest: str) -> str:
        """The request's identity; `engine_digest` is that of the engine's identity."""
        return digest("cai.score.v1", [engine_digest, *_texts(self.rendered), list(self.options)])


Request = GenerateRequest | ScoreRequest


def _texts(rendered: Rendered) -> list[Any]:
    texts: list[Any] = [[[message.role, message.text] for message in rendered.messages], rendered.answer_text]
    if rendered.thinking is not None:
        texts.append({"thinking": join(rendered.thinking)})
    return texts


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that came back, without how the answer was made to begin.

    `finish`: `stop`; `length` (cut at `max_tokens`); `too_long` (the prompt does not fit into
    the context of `context_tokens`, nothing was generated). Token counts are the engine's.
    `reasoning`: what the model thought before, unasked, which is not in the text; of its tokens, which
    count among the completion's, it took `reasoning_tokens` (None: nobody can tell).
    """

    text: str
    finish: Finish
    prompt_tokens: int
    completion_tokens: int
    context_tokens: int | None = None
    reasoning: str = ""
    reasoning_tokens: int | None = None

    def record(self) -> dict[str, Any]:
        """What the store keeps; of what was thought nothing where nothing was."""
        record = _record(self, ("text", "finish", "prompt_tokens", "completion_tokens", "context_tokens"))
        if self.reasoning:
            record["reasoning"] = self.reasoning
        if self.reasoning_tokens is not None:
            record["reasoning_tokens"] = self.reasoning_tokens
        return record


@dataclass(frozen=True, slots=True)
class Scores:
    """Log-probabilities (natural) of the options at the answer position.

    `logprobs`: one per option, in the request's order, each the log of the summed probability
    of its spellings (empty where `finish` is `too_long`). `outside`: the probability that went
    to no option, 0 to 1, or None where the engine cannot tell.
    """

    logprobs: tuple[float, ...]
    outside: float | None
    prompt_tokens: int
    finish: Literal["stop", "too_long"] = "stop"
    context_tokens: int | None = None

    def record(self) -> dict[str, Any]:
        """What the store keeps."""
        return _record(self, ("logprobs", "outside", "prompt_tokens", "finish", "context_tokens"))


Answer = Completion | Scores


def _record(answer: Any, names: tuple[str, ...]) -> dict[str, Any]:
    record = {name: getattr(answer, name) for name in names}
    if record["context_tokens"] is None:
        del record["context_tokens"]
    return record


def read_answer(record: dict[str, Any]) -> Answer:
    """The answer that a record of the store holds.

    Raises: KeyError, TypeError for a record of another form.
    """
    if "logprobs" in record:
        return Scores(**{**record, "logprobs": tuple(record["logprobs"])})
    return Completion(**record)

"""What travels between a server engine and its server: bodies out, answers in.

The protocol is vLLM's (0.32) form of OpenAI's. `/v1/completions` takes prompts as token ids, any
number of them in one call, and gives the log-probabilities of exactly the tokens in
`logprob_token_ids` (at most 128), taken before temperature and cut-offs. Every sampling parameter
is in every body, so that a model's `generation_config.json` has nothing to say.

`Unreadable` names what is wrong with an answer by a kind; cai/engine/fault_kinds.py maps
kinds to errors.

What this module does not know: connections, retries, who asks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import orjson

from cai.engine.thoughts import thought_tokens, thoughts_in
from cai.errors import EngineRefusedError
from cai.recipe import EngineSection
from cai.request import Completion, Finish, GenerateRequest, Sampling, ScoreRequest, Scores

MAX_OPTION_TOKENS = 128
"""The most tokens whose log-probabilities vLLM gives for one prompt."""

CHAT_TOP_LOGPROBS = 20

_LEAST = 1e-300
"""A probability whose logarithm can be taken, for one that is too small to be told from 0."""

_GREEDY = Sampling(max_tokens=1)
_FINISHES: dict[str, Finish] = {"stop": "stop", "length": "length"}


class Unreadable(Exception):  # noqa: N818 (never leaves the engine: mapped to an EngineError there)
    """An answer that is none. `kind` is one of the kinds in cai/engine/fault_kinds.py."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind


def sampling_fields(sampling: Sampling, seed: int) -> dict[str, Any]:
    """Every parameter that decides how an answer is drawn."""
    fields: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "n": 1,
        "stop": sampling.stop,
        "stream": False,
    }
    if sampling.temperature > 0:
        fields["seed"] = seed
    return fields


def generate_body(
    model: str, ids: list[int], request: GenerateRequest, marks_are_special: bool = False
) -> bytes:
    """A call of /v1/completions for a text; `marks_are_special`: those of thinking are special tokens."""
    fields = _generate_fields(request, marks_are_special)
    return orjson.dumps({"model": model, "prompt": ids, **fields})


def stream_body(
    model: str, ids: list[int], request: GenerateRequest, marks_are_special: bool = False
) -> bytes:
    """The same call, answered piece by piece."""
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    fields = _generate_fields(request, marks_are_special)
    return orjson.dumps({"model": model, "prompt": ids, **fields, **streamed})


def _generate_fields(request: GenerateRequest, marks_are_special: bool) -> dict[str, Any]:
    fields = sampling_fields(request.sampling, request.seed)
    if marks_are_special or request.rendered.thinking is not None:  # or nobody sees where thinking ends
        fields["skip_special_tokens"] = False
    return fields


def score_body(model: str, prompts: Sequence[list[int]], tokens: Sequence[int]) -> bytes:
    """A call of /v1/completions for the log-probabilities of `tokens` after each prompt."""
    fields = sampling_fields(_GREEDY, 0)
    return orjson.dumps(
        {
            "model": model,
            "prompt": prompts,
            **fields,
            "logprobs": 0,
            "logprob_token_ids": tokens,
            "return_tokens_as_token_ids": True,
        }
    )


def top_body(model: str, ids: Sequence[int], count: int) -> bytes:
    """A call of /v1/completions for the most probable tokens after a prompt."""
    fields = {**sampling_fields(_GREEDY, 0), "logprobs": count, "return_tokens_as_token_ids": True}
    return orjson.dumps({"model": model, "prompt": ids, **fields})


def chat_body(section: EngineSection, request: GenerateRequest | ScoreRequest) -> bytes:
    """A call of /v1/chat/completions, where token ids cannot be sent."""
    rendered = request.rendered
    if rendered.thinking is not None:
        raise EngineRefusedError(
            "A model cannot be asked for its thinking alone through the chat endpoint.",
            "Name a `tokenizer` for the engine, so that token ids can be sent; or leave `thinking` out of "
            "feedback.reasoning.",
        )
    messages = [{"role": message.role, "content": message.text} for message in rendered.messages]
    answer = section.thinking.block + rendered.answer_text
    if answer:
        messages.append({"role": "assistant", "content": answer})
    if isinstance(request, ScoreRequest):
        fields = sampling_fields(_GREEDY, 0)
        fields.update(logprobs=True, top_logprobs=CHAT_TOP_LOGPROBS)
    else:
        fields = sampling_fields(request.sampling, request.seed)
    fields.update(add_generation_prompt=not answer, continue_final_message=bool(answer))
    if section.template_args:
        fields["chat_template_kwargs"] = section.template_args
    return orjson.dumps({"model": section.model, "messages": messages, **fields})


def read_json(body: bytes) -> dict[str, Any]:
    """The object that a 200 answer holds.

    Raises: Unreadable for what is not JSON, not an object, holds NaN, or an error.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _not_json(body) from error
    if not isinstance(value, dict):
        raise Unreadable("malformed", f"it is a {type(value).__name__}, not an object")
    if value.get("error"):
        raise Unreadable("error inside", str(value["error"])[:300])
    return value


def _not_json(body: bytes) -> Unreadable:
    try:
        json.loads(body)  # which, other than orjson, takes NaN and Infinity
    except (ValueError, RecursionError):
        return Unreadable("malformed", f"it is not JSON: {body[:80]!r}")
    return Unreadable("nan", "it holds a number that is none (NaN or infinite)")


def choices_of(answer: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The choices in the order of the prompts. Raises: Unreadable where there are not `count`."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise Unreadable("choices", "it holds no choices")
    if len(choices) != count:
        raise Unreadable("choices", f"it holds {len(choices)} choices, not {count}")
    if not all(isinstance(choice, dict) for choice in choices):
        raise Unreadable("choices", "a choice is not an object")
    ordered: list[dict[str, Any] | None] = [None] * count
    for place, choice in enumerate(choices):
        index = choice.get("index", place)
        if not isinstance(index, int) or not 0 <= index < count or ordered[index] is not None:
            raise Unreadable("choices", f"its choices are numbered wrongly ({index!r})")
        ordered[index] = choice
    return [choice for choice in ordered if choice is not None]


def read_completion(answer: dict[str, Any], prompt_tokens: int | None) -> Completion:
    """The text of a completion or a chat completion; `prompt_tokens` where we counted them.

    Raises: Unreadable where text, finish reason or token counts are missing.
    """
    [choice] = choices_of(answer, 1)
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    if text is None and isinstance(message, dict):
        text = ""  # everything went into thinking
    if not isinstance(text, str):
        raise Unreadable("text", "it holds no text")
    reason = choice.get("finish_reason")
    if not isinstance(reason, str) or reason not in _FINISHES:
        raise Unreadable("unfinished", f"it was not finished ({reason!r})")
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    counted = usage.get("prompt_tokens") if prompt_tokens is None else prompt_tokens
    made = usage.get("completion_tokens")
    if not isinstance(made, int) or not isinstance(counted, int):
        raise Unreadable("text", "it holds no token counts")
    thought = thoughts_in(message) if isinstance(message, dict) else ""
    tokens = thought_tokens(usage)
    return Completion(text, _FINISHES[reason], counted, made, reasoning=thought, reasoning_tokens=tokens)


class StreamedCompletion:
    """A completion that comes in pieces; `prompt_tokens` as we counted them."""

    def __init__(self, prompt_tokens: int) -> None:
        self._prompt_tokens = prompt_tokens
        self._pieces: list[str] = []
        self._finish: Any = None
        self._usage: Any = None

    def add(self, event: dict[str, Any]) -> str:
        """Take one event; returns the text that it brings. Raises: Unreadable."""
        self._usage = event.get("usage") or self._usage
        if not event.get("choices"):  # the last event brings the token counts alone
            return ""
        [choice] = choices_of(event, 1)
        self._finish = choice.get("finish_reason") or self._finish
        piece = choice.get("text") or ""
        if not isinstance(piece, str):
            raise Unreadable("text", "a piece of it is no text")
        self._pieces.append(piece)
        return piece

    def completion(self) -> Completion:
        """The whole. Raises: Unreadable where it was not finished or has no token counts."""
        choice = {"index": 0, "text": "".join(self._pieces), "finish_reason": self._finish}
        return read_completion({"choices": [choice], "usage": self._usage}, self._prompt_tokens)


def read_scores(choice: dict[str, Any], options: Sequence[Sequence[int]], prompt_tokens: int) -> Scores:
    """The options' log-probabilities of one prompt.

    `options`: for each option the ids of its spellings, which were among `logprob_token_ids`.
    Raises: Unreadable where one is missing or no number.
    """
    logprobs = choice.get("logprobs")
    places = logprobs.get("top_logprobs") if isinstance(logprobs, dict) else None
    if not isinstance(places, list) or not places or not isinstance(places[0], dict):
        raise Unreadable("logprobs", "it holds no log-probabilities")
    given = places[0]
    sums = []
    total = 0.0
    for ids in options:
        mass = 0.0
        most = -math.inf
        for token in ids:
            logprob = _number(given.get(f"token_id:{token}"), token)
            mass += math.exp(logprob)
            most = max(most, logprob)
        total += mass
        # Sums of what is below the smallest double are as good as their largest member.
        sums.append(math.log(mass) if mass > 0 and len(ids) > 1 else most)
    return Scores(tuple(sums), min(1.0, max(0.0, 1.0 - total)), prompt_tokens)


def read_chat_scores(answer: dict[str, Any], options: Sequence[str]) -> Scores:
    """The options' log-probabilities among the most probable tokens of a chat answer, by their texts.

    A token spells an option if it is its name but for spaces and "(" before it; a name that is a
    word may be in lower case. An option that is not among them is given what is left for it at most.
    Raises: Unreadable.
    """
    [choice] = choices_of(answer, 1)
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    top = first.get("top_logprobs") if isinstance(first, dict) else None
    if not isinstance(top, list) or not top or not all(isinstance(entry, dict) for entry in top):
        raise Unreadable("logprobs", "it holds no log-probabilities")
    masses = dict.fromkeys(options, 0.0)
    names = {option.lower(): option for option in options if len(option) > 1} | {o: o for o in options}
    listed = 0.0
    least = 0.0
    for entry in top:
        logprob = _number(entry.get("logprob"), entry.get("token"))
        name = token_text(entry).strip(" \u2581\u0120(")
        listed += math.exp(logprob)
        least = min(least, logprob)
        if name in names:
            masses[names[name]] += math.exp(logprob)
    bound = max(_LEAST, min(math.exp(least), max(1e-12, 1.0 - listed)))
    logs = tuple(math.log(mass if mass > 0 else bound) for mass in masses.values())
    usage = answer.get("usage")
    counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    outside = min(1.0, max(0.0, 1.0 - sum(masses.values())))
    return Scores(logs, outside, counted if isinstance(counted, int) else 0)


def _number(value: Any, token: Any) -> float:
    if value is None:
        raise Unreadable("logprobs", f"it holds no log-probability of token {token}")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e9 < value < 0.01:
        raise Unreadable("nan", f"the log-probability of token {token} is {value!r}")
    return float(value)


def token_text(entry: dict[str, Any]) -> str:
    """The text of a token of a chat's log-probabilities. Raises: Unreadable where it has none."""
    token = entry.get("token")
    if not isinstance(token, str):
        raise Unreadable("logprobs", "a token has no text")
    letters = entry.get("bytes")
    if token.startswith("token_id:") and isinstance(letters, list):
        return bytes(x for x in letters if isinstance(x, int) and 0 <= x < 256).decode("utf-8", "replace")
    return token


def is_too_long(status: int, body: bytes) -> bool:
    """Whether a server refuses a prompt for its length; told by fields, never by words."""
    if status != 400:
        return False
    error = error_of(body)
    if error.get("code") == "context_length_exceeded" or error.get("type") == "exceed_context_size_error":
        return True
    # vLLM names the field; a code of its own would say that it is about something else.
    return error.get("param") in ("input_tokens", "max_tokens") and error.get("code") in (None, 400)


def error_of(body: bytes) -> dict[str, Any]:
    """The error object that an answer holds, `message` among its keys; empty where there is none."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(value, dict):
        return {}
    error = value.get("error", value)
    return error if isinstance(error, dict) else {"message": str(error)}

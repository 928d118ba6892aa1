"""The local engine: a transformers model in this process, on CPU or GPU, asked in batches.

Requests gather until a batch is full, or until `flush` says that nobody else is coming; no
timer is involved. What waits is sorted by kind (scores, or generations of equal sampling
parameters) and length; a batch is cut around the oldest row of its kind. Batches run one at a
time in one worker thread, so that the event loop lives on, and more requests gather meanwhile.

What this module does not know: how a batch is computed (cai/engine/batches.py), how a request
becomes tokens (cai/engine/encoding.py), rows, the store.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.engine.encoded_position import encoded_position
from cai.engine.encoding import Encoder, load_encoder
from cai.engine.identity import Identity
from cai.engine.loading import end_tokens, load_decoder, load_model, require_extra
from cai.engine.position import TOP_TOKENS, Position, Token
from cai.engine.thoughts import answered
from cai.engine.weights import model_folder, weights_digest
from cai.errors import EngineAnswerError, EngineDownError, EngineRefusedError
from cai.recipe import EngineSection
from cai.request import Completion, GenerateRequest, ScoreRequest, Scores

if TYPE_CHECKING:
    from cai.engine.batches import Answered, Group, LanguageModel
    from cai.engine.draws import Prompt

_log = logging.getLogger(__name__)

TICKS = 4
"""Turns of the event loop between two batches: rows that were just answered ask again within
these, and go into the next batch instead of missing it."""


@dataclass(eq=False, slots=True)
class Waiting:
    """Work that waits for its batch. `age` sorts the oldest row first; `due`: flushed."""

    work: Prompt | Group
    kind: Hashable
    rows: int
    tokens: int
    age: tuple[int, int]
    answer: asyncio.Future[Any]
    due: bool = False


class LocalEngine:
    """A model of `section.path` (a folder) or `section.model` (a folder or a name on the Hub).

    `date`: what a chat template that asks for the day is told (ISO).
    """

    identity: Identity

    def __init__(self, name: str, section: EngineSection, date: str) -> None:
        self.name = name
        self.context_tokens: int | None = None
        self.concurrency = 2 * section.batch_size  # one batch runs while the next gathers
        self._section = section
        self._date = date
        self._batch_rows = section.batch_size
        self._waiting: list[Waiting] = []
        self._arrivals = 0
        self._running: asyncio.Task[None] | None = None
        self._worker: ThreadPoolExecutor | None = None
        self._closed = False
        self._model: LanguageModel
        self._encoder: Encoder

    async def open(self) -> None:
        """Load tokenizer and model.

        Raises: MissingExtraError without torch and transformers; EngineRefusedError where
        there is no such model, or no such device.
        """
        require_extra(self.name)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"cai-{self.name}")
        await asyncio.get_running_loop().run_in_executor(self._worker, self._load)

    async def close(self) -> None:
        """Stop at the running batch's next token; what waits gets an EngineDownError."""
        if self._closed:
            return
        self._closed = True
        if self._worker is not None:
            if hasattr(self, "_model"):
                self._model.halt()
            if self._running is not None:
                await asyncio.wait([self._running])
            self._worker.shutdown(wait=True)
        _fail(self._waiting, EngineDownError(f"Engine {self.name!r} was closed."))
        self._waiting = []

    async def position(self, request: ScoreRequest) -> Position:
        """What is known of the place where an answer goes on. Raises: EngineError."""
        known = encoded_position(self._encoder, request)
        ids = self._encoder.encode(request)
        if self._closed or self._worker is None:
            raise EngineDownError(f"Engine {self.name!r} is not open.")
        look = self._model.most_probable
        top = await asyncio.get_running_loop().run_in_executor(self._worker, look, ids, TOP_TOKENS)
        tokens = tuple(Token(self._encoder.token_text(token), token, share) for token, share in top)
        return Position("transformers in this process", {}, top=tokens, **known)

    async def generate(self, request: GenerateRequest, priority: int = 0) -> Completion:
        """Answer one request. Raises: EngineError."""
        from cai.engine.draws import Prompt

        ids = self._encoder.encode(request)
        self._refuse_empty(ids)
        opened = self._encoder.leaves_thinking_open(request.rendered)
        if self._encoder.hides_thinking and (request.rendered.thinking is not None or opened == "yes"):
            asked = "`thinking` out of feedback.reasoning"
            asked = "`enable_thinking: true` out of template_args" if opened == "yes" else asked
            raise EngineRefusedError(
                f"Engine {self.name!r}: the mark that ends this model's thinking is a special token, which is "
                "not seen in its text here.",
                f"Serve the model with vLLM, or leave {asked}.",
            )
        if self._too_long(len(ids) + request.sampling.max_tokens):
            return Completion("", "too_long", len(ids), 0, self.context_tokens)
        prompt = Prompt(ids, request.sampling, request.seed)
        done = await self._wait(prompt, request.sampling, 1, len(ids), priority)
        if done.finish is None:
            raise EngineAnswerError(
                f"Engine {self.name!r} computed no numbers (NaN) for a prompt of {len(ids)} tokens.",
                "Try `dtype: float32` for this engine.",
            )
        made = Completion(done.text, done.finish, len(ids), done.tokens)
        return answered(made, request, self._encoder.marks, opened, self._encoder.count)

    async def score(self, requests: Sequence[ScoreRequest], priority: int = 0) -> list[Scores]:
        """Answer requests, in their order; what their prompts share is computed once. Raises: EngineError."""
        from cai.engine.batches import Group

        encoded = self._encoder.encode_many(requests)
        options = [self._encoder.options(request) for request in requests]
        self._refuse_empty(*encoded)
        answers = [Scores((), None, len(ids), "too_long", self.context_tokens) for ids in encoded]
        fitting = [index for index, ids in enumerate(encoded) if not self._too_long(len(ids) + 1)]
        groups = []
        waits = []
        for members, shared in groups_of([encoded[index] for index in fitting], self._batch_rows):
            indices = [fitting[member] for member in members]
            prompts = tuple(encoded[index] for index in indices)
            group = Group(prompts, tuple(options[index] for index in indices), shared)
            longest = max(map(len, prompts))
            groups.append(indices)
            waits.append(self._wait(group, "score", len(prompts), longest, priority))
        for indices, scored in zip(groups, await asyncio.gather(*waits), strict=True):
            for index, one in zip(indices, scored, strict=True):
                if math.isnan(one.outside):
                    raise EngineAnswerError(
                        f"Engine {self.name!r} computed no numbers (NaN) for a prompt of"
                        f" {len(encoded[index])} tokens.",
                        "Try `dtype: float32` for this engine.",
                    )
                answers[index] = Scores(one.logprobs, one.outside, len(encoded[index]))
        return answers

    def flush(self) -> None:
        """Send what waits, in batches as full as can be."""
        for waiting in self._waiting:
            waiting.due = True
        self._start()

    def _too_long(self, tokens: int) -> bool:
        return self.context_tokens is not None and tokens > self.context_tokens

    def _refuse_empty(self, *prompts: list[int]) -> None:
        if not all(prompts):
            raise EngineAnswerError(f"Engine {self.name!r} was sent a prompt without any token.")

    def _wait(
        self, work: Prompt | Group, kind: Hashable, rows: int, tokens: int, priority: int
    ) -> asyncio.Future[Any]:
        """Let work wait for its batch; the future is a Continuation or a list of Scored."""
        if self._closed or self._worker is None:
            raise EngineDownError(f"Engine {self.name!r} is not open.")
        self._arrivals += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(work, kind, rows, tokens, (priority, self._arrivals), answer))
        self._start()
        return answer

    def _start(self) -> None:
        """Send the next batch, unless one is running or none is ready."""
        if self._running is None and not self._closed and (batch := self._next_batch()):
            self._running = asyncio.get_running_loop().create_task(self._run(batch))

    def _next_batch(self) -> list[Waiting]:
        """Take the next batch out of what waits: a full one, or else the fullest of what was flushed."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.answer.done()]
        kinds: dict[Hashable, list[Waiting]] = {}
        for waiting in self._waiting:
            kinds.setdefault(waiting.kind, []).append(waiting)
        full = [kind for kind in kinds.values() if _rows(kind) >= self._batch_rows]
        due = [kind for kind in kinds.values() if any(waiting.due for waiting in kind)]
        if full:
            chosen = min(full, key=lambda kind: min(waiting.age for waiting in kind))
        elif due:
            chosen = max(due, key=_rows)
        else:
            return []
        batch = around_oldest(chosen, self._batch_rows)
        taken = set(map(id, batch))
        self._waiting = [waiting for waiting in self._waiting if id(waiting) not in taken]
        return batch

    async def _run(self, batch: list[Waiting]) -> None:
        """Have one batch computed, hand out its answers, send the next."""
        loop = asyncio.get_running_loop()
        try:
            work: list[Any] = [waiting.work for waiting in batch]
            answers = await loop.run_in_executor(self._worker, self._compute, work)
            if self._closed:
                raise EngineDownError(f"Engine {self.name!r} was closed.")
        except Exception as error:  # whoever waits must hear of it, whatever it is
            _fail(batch, error)
        except BaseException:  # cancelled: nobody will answer
            for waiting in batch:
                waiting.answer.cancel()
            raise
        else:
            self._hand_out(batch, answers)
            for _ in range(TICKS):
                await asyncio.sleep(0)
        finally:
            self._running = None
        self._start()

    def _compute(self, work: list[Any]) -> list[Answered]:
        """In the worker thread. Raises: EngineDownError where the model itself fails."""
        try:
            return self._model.answer(work)
        except RuntimeError as error:  # what torch and CUDA raise; a failed device stays failed
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            raise EngineDownError(
                f"The model of engine {self.name!r} failed: {first_line}.",
                "Run again; `device: cpu` for this engine tells whether the GPU is to blame.",
            ) from error

    def _hand_out(self, batch: list[Waiting], answers: list[Answered]) -> None:
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.answer.done():
                continue
            if answer is None:
                waiting.answer.set_exception(
                    EngineAnswerError(
                        f"Engine {self.name!r} has not enough GPU memory for one prompt of {waiting.tokens} tokens.",
                        "Use a smaller model or a GPU with more memory.",
                    )
                )
            else:
                waiting.answer.set_result(answer)

    def _load(self) -> None:
        """In the worker thread."""
        from cai.engine.batches import LanguageModel

        section = self._section
        place = section.path or section.model
        if section.path is not None and not Path(section.path).is_dir():
            raise EngineRefusedError(
                f"Engine {self.name!r}: there is no folder {section.path}.",
                "Mend `path` in the recipe; it is the folder that holds config.json and the weights.",
            )
        tokenizer = section.tokenizer or place
        self._encoder = load_encoder(
            tokenizer, section.revision, section.form, section.template_args, self._date, section.thinking
        )
        model = load_model(self.name, section)
        ends, decode = load_decoder(tokenizer, section.revision)
        self.context_tokens = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._model = LanguageModel(model, ends | end_tokens(model), decode)
        self.identity = Identity(
            section.model,
            section.revision,
            weights=self._weights(place),
            dtype=str(model.dtype).removeprefix("torch."),
            **self._encoder.identity_parts(),
        )
        _log.info("engine %s: %s on %s as %s", self.name, place, model.device, model.dtype)

    def _weights(self, place: str) -> str:
        try:
            return weights_digest(model_folder(place, self._section.revision))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EngineRefusedError(
                f"Engine {self.name!r}: the weights of {place} cannot be read: {error}.",
                "Copy or download the model again.",
            ) from error


def _rows(batch: list[Waiting]) -> int:
    return sum(waiting.rows for waiting in batch)


def _fail(batch: list[Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)


def around_oldest(waiting: list[Waiting], most_rows: int) -> list[Waiting]:
    """The oldest, and those nearest to it in length as far as they fit; shortest first."""
    ordered = sorted(waiting, key=lambda one: (one.tokens, one.age))
    place = min(range(len(ordered)), key=lambda index: ordered[index].age)
    oldest = ordered[place]
    low, high, rows = place, place + 1, oldest.rows
    while low > 0 or high < len(ordered):
        below = oldest.tokens - ordered[low - 1].tokens if low > 0 else math.inf
        above = ordered[high].tokens - oldest.tokens if high < len(ordered) else math.inf
        rows += ordered[low - 1 if below <= above else high].rows
        if rows > most_rows:
            break
        low, high = (low - 1, high) if below <= above else (low, high + 1)
    return ordered[low:high]


def groups_of(prompts: Sequence[list[int]], most: int, least_shared: int = 16) -> list[tuple[list[int], int]]:
    """Put prompts together so that the fewest tokens go through the model.

    Returns groups of at most `most` prompts as (indices into `prompts`, tokens shared); a
    beginning of fewer than `least_shared` tokens is not worth a pass of its own.
    """
    if not prompts:
        return []
    order = sorted(range(len(prompts)), key=lambda index: prompts[index])
    common = [_common(prompts[a], prompts[b]) for a, b in itertools.pairwise(order)]
    lengths = [len(prompts[index]) for index in order]
    groups: list[tuple[list[int], int]] = []
    for low, high in _cut(common, lengths, 0, len(order), least_shared)[1]:
        # the last token of the shortest prompt must be among what is not shared
        shared = min([*common[low : high - 1], *(length - 1 for length in lengths[low:high])])
        for start in range(low, high, most):
            groups.append((order[start : min(start + most, high)], shared))
    return groups


def _cut(
    common: list[int], lengths: list[int], low: int, high: int, least: int
) -> tuple[int, list[tuple[int, int]]]:
    """The cheapest way to group the sorted prompts low..high: its cost in tokens, and the ranges."""
    if high - low == 1:
        return lengths[low], [(low, high)]
    shared = min(common[low : high - 1])
    together = sum(lengths[low:high]) - (high - low - 1) * shared
    bounds = [low, *(i + 1 for i in range(low, high - 1) if common[i] == shared), high]
    parts = [_cut(common, lengths, a, b, least) for a, b in itertools.pairwise(bounds)]
    apart = sum(cost for cost, _ in parts)
    if shared >= least and together <= apart:
        return together, [(low, high)]
    return apart, [span for _, spans in parts for span in spans]


def _common(a: list[int], b: list[int]) -> int:
    """How many tokens two sequences begin with alike, by bisection: slices compare fast."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

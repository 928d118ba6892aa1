"""A causal language model asked in batches: a decoding loop and a scoring pass over token ids.

Generation: prompts padded on the left, one KV cache for the batch, rows that have ended leave
it. Scoring: prompts come in groups that begin alike; the shared beginning goes through the
model once, its KV cache is copied to each row, and the ends follow in one pass padded on the
right. Only the logits of each row's last token are ever computed.

A row's answer depends on its neighbours by float noise alone: its random numbers are its own,
and padding is masked.

What this module does not know: requests, engines, the event loop; how text becomes tokens (it
is handed a function that goes back from tokens to text); how a batch is put together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from cai.engine.draws import Draws, Prompt

CONTEXT_TOKENS = 8
"""How many of a prompt's last tokens stand before an answer while it is decoded: some
tokenizers drop a space at the beginning of a text, and an answer is not the beginning."""

STOP_SLACK_TOKENS = 8
"""How many tokens more than a stop text has bytes are decoded when it is looked for: room for
tokens without any text."""

ROOM_TOKENS = 64
"""By how many tokens a KV cache grows when it is full."""

NO_PROBABILITY = -9999.0
"""Stands for the logarithm of zero, as vLLM writes it: JSON has no infinity."""

Decode = Callable[[list[int]], str]


@dataclass(frozen=True, slots=True)
class Continuation:
    """What came of a prompt. `tokens` counts all that were drawn, the closing one among them.

    `finish` None: the logits were no numbers, and there is no answer.
    """

    text: str
    tokens: int
    finish: Literal["stop", "length"] | None


@dataclass(frozen=True, slots=True)
class Group:
    """Prompts to be scored that begin with the same `shared` tokens, fewer than any has.

    `options`: for each prompt, the token ids that spell each of its options.
    """

    prompts: tuple[list[int], ...]
    options: tuple[tuple[tuple[int, ...], ...], ...]
    shared: int

    def halves(self) -> tuple[Group, Group]:
        """The group cut in two. Needs at least two prompts."""
        middle = len(self.prompts) // 2
        return (
            Group(self.prompts[:middle], self.options[:middle], self.shared),
            Group(self.prompts[middle:], self.options[middle:], self.shared),
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """Natural log-probabilities of a prompt's options, and the probability outside them (0 to 1).

    Both are NaN where the logits were no numbers.
    """

    logprobs: tuple[float, ...]
    outside: float


Answered = Continuation | list[Scored] | None


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """transformers' cache of one layer, with room at its end: it need not be copied for each token.

    (`DynamicLayer` concatenates, which is a third of the time of a small model on a CPU.)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append states of shape [rows, heads, new tokens, size]; returns all so far."""
        length = self.get_seq_length()
        if length == 0:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
            return self.keys, self.values
        assert self.keys is not None
        assert self.values is not None
        total = length + key_states.shape[-2]
        if self._room is None or self._room[0].shape[-2] < total:
            self._room = (_with_room(self.keys, total), _with_room(self.values, total))
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, length:total] = states
        self.keys, self.values = (room[:, :, :total] for room in self._room)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows, in this order; a row may come several times."""
        self._room = None
        super().batch_select_indices(indices)


def _with_room(states: torch.Tensor, tokens: int) -> torch.Tensor:
    rows, heads, length, size = states.shape
    room = states.new_empty(rows, heads, tokens + ROOM_TOKENS, size)
    room[:, :, :length] = states
    return room


class _Row:
    """One prompt on its way through the decoding loop."""

    def __init__(self, prompt: Prompt, ends: frozenset[int], decode: Decode) -> None:
        self.prompt = prompt
        self.finish: Literal["stop", "length"] | None = None
        self.over = False
        self._ids: list[int] = []
        self._tokens = 0
        self._ends = ends
        self._decode = decode
        longest = max((len(stop.encode()) for stop in prompt.sampling.stop), default=0)
        self._tail_tokens = longest + STOP_SLACK_TOKENS

    def add(self, token: int) -> None:
        """Take the next token; -1 stands for logits that were no numbers."""
        self._tokens += 1
        if token < 0:
            self.over = True
        elif token in self._ends:
            self.over, self.finish = True, "stop"
        else:
            self._ids.append(token)
            if self._stops():
                self.over, self.finish = True, "stop"
            elif self._tokens >= self.prompt.sampling.max_tokens:
                self.over, self.finish = True, "length"

    def continuation(self) -> Continuation:
        """The answer, cut before the first stop text."""
        text = self._text()
        if self.finish == "length":
            text = text.rstrip("\ufffd")  # a character of several tokens, cut by the limit
        found = [(text.find(stop), len(stop)) for stop in self.prompt.sampling.stop if stop in text]
        if found:  # the one that is complete first ends the answer, as in vLLM
            text = text[: min(found, key=sum)[0]]
        return Continuation(text, self._tokens, self.finish)

    def _stops(self) -> bool:
        stop = self.prompt.sampling.stop
        if not stop:
            return False
        tail = self._decode(self._ids[-self._tail_tokens :])
        if not any(text in tail for text in stop):
            return False
        whole = self._text()
        return any(text in whole for text in stop)

    def _text(self) -> str:
        context = self.prompt.ids[-CONTEXT_TOKENS:]
        before = self._decode(context)
        whole = self._decode(context + self._ids)
        return whole[len(before) :] if whole.startswith(before) else self._decode(self._ids)


class LanguageModel:
    """A transformers causal language model in evaluation mode, asked in batches.

    `ends`: token ids that end an answer; `decode`: from token ids to text, special tokens
    left out. `halt()` makes a running batch return early with what it has; nobody may use
    such answers. Not thread-safe but for `halt`.
    """

    def __init__(self, model: Any, ends: frozenset[int], decode: Decode) -> None:
        self._model = model
        self._ends = ends
        self._decode = decode
        self._device: torch.device = model.device
        self._last: torch.Tensor | None = None
        self._halted = False
        head = model.get_output_embeddings()
        if head is not None:
            head.register_forward_pre_hook(self._keep_last)

    def answer(self, work: Sequence[Prompt] | Sequence[Group]) -> list[Answered]:
        """Answer prompts to be continued, or groups to be scored (not both), each in its place.

        A batch that does not fit into the GPU's memory is cut in two, as often as needed; None
        stands for a prompt that does not fit alone.
        """
        try:
            if isinstance(work[0], Prompt):
                return list(self.generate(cast(Sequence[Prompt], work)))
            return list(self.score(cast(Sequence[Group], work)))
        except torch.OutOfMemoryError:
            pass  # go on outside, where the failed batch's tensors are gone
        torch.cuda.empty_cache()
        if len(work) > 1:
            middle = len(work) // 2
            return self.answer(work[:middle]) + self.answer(work[middle:])
        if isinstance(work[0], Group) and len(work[0].prompts) > 1:
            halves = [self.answer([half])[0] for half in work[0].halves()]
            if None in halves:
                return [None]
            return [[scored for half in halves for scored in cast(list[Scored], half)]]
        return [None]

    def halt(self) -> None:
        """End the running batch, and every later one, at its next token."""
        self._halted = True

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt]) -> list[Continuation]:
        """Continue each prompt, in order. Raises: torch.OutOfMemoryError."""
        rows = [_Row(prompt, self._ends, self._decode) for prompt in prompts]
        live = rows
        longest = max(prompt.sampling.max_tokens for prompt in prompts)
        ids, mask = self._padded([prompt.ids for prompt in prompts], "left")
        width = ids.shape[1]
        mask = torch.nn.functional.pad(mask, (0, longest), value=1)
        positions = _positions(mask[:, :width])
        draws = Draws(prompts, self._device)
        cache = self._cache()
        while not self._halted:
            logits = self._forward(ids, mask[:, :width], positions, cache)
            tokens = draws.next(logits)
            for row, token in zip(live, tokens.tolist(), strict=True):
                if not row.over:
                    row.add(token)
            remaining = [index for index, row in enumerate(live) if not row.over]
            if not remaining:
                break
            if len(remaining) <= len(live) // 2:
                kept = torch.tensor(remaining, device=self._device)
                cache.batch_select_indices(kept)
                draws.keep(kept)
                live = [live[index] for index in remaining]
                tokens, mask, positions = tokens[kept], mask[kept], positions[kept]
            ids, positions = tokens.clamp(min=0)[:, None], positions[:, -1:] + 1
            width += 1
        return [row.continuation() for row in rows]

    @torch.inference_mode()
    def score(self, groups: Sequence[Group]) -> list[list[Scored]]:
        """Score the options of each prompt, by group. Raises: torch.OutOfMemoryError."""
        prompts = [ids for group in groups for ids in group.prompts]
        if all(len(group.prompts) == 1 for group in groups):
            ids, mask = self._padded(prompts, "left")
            logits = self._forward(ids, mask, _positions(mask), None)
        else:
            logits = self._forward_shared(groups)
        options = [row for group in groups for row in group.options]
        scored = iter(_scored(logits, options))
        return [[next(scored) for _ in group.prompts] for group in groups]

    @torch.inference_mode()
    def most_probable(self, ids: list[int], count: int) -> list[tuple[int, float]]:
        """The most probable tokens after a prompt, with their probabilities."""
        padded, mask = self._padded([ids], "left")
        shares = self._forward(padded, mask, _positions(mask), None)[0].float().softmax(-1)
        top = shares.topk(min(count, len(shares)))
        return list(zip(top.indices.tolist(), top.values.tolist(), strict=True))

    def _forward_shared(self, groups: Sequence[Group]) -> torch.Tensor:
        """The last logits [rows, vocabulary] of all prompts; what a group shares is computed once."""
        # a lone prompt has nothing to share: all but its last token goes first, with the others
        shared = [group.shared if len(group.prompts) > 1 else len(group.prompts[0]) - 1 for group in groups]
        if min(shared) == 0:  # a row without any token cannot be put through the model
            groups, shared = [Group(group.prompts, group.options, 0) for group in groups], [0] * len(groups)
        owner = [index for index, group in enumerate(groups) for _ in group.prompts]
        ends = [ids[shared[index] :] for index, group in enumerate(groups) for ids in group.prompts]
        ids, mask = self._padded(ends, "right")
        last = mask.sum(-1) - 1
        positions = torch.arange(ids.shape[1], device=self._device).expand_as(ids)
        if max(shared) == 0:
            return self._forward(ids, mask, positions, None, last)
        first, first_mask = self._padded(
            [group.prompts[0][:length] for group, length in zip(groups, shared, strict=True)], "left"
        )
        cache = self._cache()
        self._forward(first, first_mask, _positions(first_mask), cache)
        owners = torch.tensor(owner, device=self._device)
        cache.batch_select_indices(owners)
        positions = positions + torch.tensor(shared, device=self._device)[owners, None]
        return self._forward(ids, torch.cat([first_mask[owners], mask], 1), positions, cache, last)

    def _forward(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        positions: torch.Tensor,
        cache: Any,
        last: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One pass: ids and positions [rows, new], mask [rows, so far + new] -> logits [rows, vocabulary].

        `last`: where in `ids` each row's last token is; without it, at the end.
        """
        if last is None:
            last = torch.full((len(ids),), ids.shape[1] - 1, device=self._device)
        self._last = last
        logits: torch.Tensor = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        ).logits
        self._last = None
        if logits.shape[1] == 1:
            return logits[:, 0]
        return logits[torch.arange(len(ids), device=self._device), last]

    def _keep_last(self, module: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Before the head of the model: leave it the hidden state of each row's last token only."""
        hidden, *others = arguments
        if self._last is None or hidden.shape[1] == 1:
            return None
        rows = torch.arange(len(hidden), device=hidden.device)
        return (hidden[rows, self._last][:, None], *others)

    def _cache(self) -> Any:
        cache = DynamicCache(config=self._model.config)
        cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
        return cache

    def _padded(self, sequences: Sequence[list[int]], side: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and their mask, both [rows, longest]."""
        width = max(map(len, sequences))
        ids, mask = [], []
        for sequence in sequences:
            padding = [0] * (width - len(sequence))
            ones = [1] * len(sequence)
            ids.append(padding + sequence if side == "left" else sequence + padding)
            mask.append(padding + ones if side == "left" else ones + padding)
        return torch.tensor(ids, device=self._device), torch.tensor(mask, device=self._device)


def _positions(mask: torch.Tensor) -> torch.Tensor:
    """The place of each token in its row, padding on the left not counted."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def _scored(logits: torch.Tensor, options: Sequence[tuple[tuple[int, ...], ...]]) -> list[Scored]:
    """The options' share of a distribution; logits [rows, vocabulary]."""
    logprobs = logits.float().log_softmax(-1)
    names = max(map(len, options))
    spellings = max(len(ids) for row in options for ids in row)
    blank = [-1] * spellings
    padded = [
        [([*spelled, *blank])[:spellings] for spelled in (*row, *[()] * (names - len(row)))]
        for row in options
    ]
    ids = torch.tensor(padded, device=logits.device)
    chosen = logprobs.gather(1, ids.clamp(min=0).flatten(1)).view(ids.shape)
    each = chosen.masked_fill(ids < 0, float("-inf")).logsumexp(-1)
    outside = (1 - each.exp().sum(-1)).clamp(0, 1)
    return [
        Scored(tuple(max(value, NO_PROBABILITY) for value in values[: len(row)]), rest)
        for row, values, rest in zip(options, each.tolist(), outside.tolist(), strict=True)
    ]

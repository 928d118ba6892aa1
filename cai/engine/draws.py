"""How the next tokens of a batch are drawn from its logits.

What this module does not know: models, text, how long an answer may become.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch

from cai.request import Sampling

GREEDY_BELOW = 1e-5
"""Temperatures below this one take the most probable token, as in vLLM."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is to be continued: token ids (at least one), and how."""

    ids: list[int]
    sampling: Sampling
    seed: int


class Draws:
    """The next tokens of a batch: sampling parameters as tensors, and each row's own random numbers.

    Parameters mean what they mean in vLLM, and are applied in its order: repetition penalty
    (over prompt and answer), temperature (below 1e-5: the most probable token), min_p, top_k,
    top_p. A row's random numbers are counted from its seed, one for each token: its answer does
    not depend on who else is in the batch. Source: vllm/v1/sample/sampler.py (0.32).
    """

    def __init__(self, prompts: Sequence[Prompt], device: torch.device) -> None:
        samplings = [prompt.sampling for prompt in prompts]

        def column(values: Sequence[float], dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.tensor(values, dtype=dtype, device=device)[:, None]

        self._sampled = column([s.temperature >= GREEDY_BELOW for s in samplings], torch.bool)
        self._temperature = column([s.temperature if s.temperature >= GREEDY_BELOW else 1 for s in samplings])
        self._min_p = column([s.min_p for s in samplings])
        self._top_k = column([s.top_k for s in samplings], torch.long)
        self._top_p = column([s.top_p for s in samplings])
        self._penalty = column([s.repetition_penalty for s in samplings])
        self._uniforms = _uniforms(prompts, device) if bool(self._sampled.any()) else None
        self._cuts_min_p = any(s.min_p > 0 for s in samplings)
        self._cuts_top = any(s.top_k > 0 or s.top_p < 1 for s in samplings)
        self._prompts = prompts if any(s.repetition_penalty != 1 for s in samplings) else None
        self._seen: torch.Tensor | None = None
        self._step = 0

    def next(self, logits: torch.Tensor) -> torch.Tensor:
        """The next token of each row [rows], -1 where its logits [rows, vocabulary] are no numbers."""
        logits = logits.float()
        broken = logits.isnan().any(-1)
        if self._prompts is not None:
            logits = self._penalised(logits)
        tokens = logits.argmax(-1)
        if self._uniforms is not None:
            drawn = self._draw(logits / self._temperature, self._uniforms[:, self._step, None])
            tokens = torch.where(self._sampled[:, 0], drawn, tokens)
        if self._seen is not None:
            self._seen.scatter_(1, tokens[:, None], True)
        self._step += 1
        return tokens.masked_fill(broken, -1)

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but these indices."""
        for name, column in vars(self).items():
            if isinstance(column, torch.Tensor):
                setattr(self, name, column[rows])

    def _penalised(self, logits: torch.Tensor) -> torch.Tensor:
        if self._seen is None:
            assert self._prompts is not None
            self._seen = torch.zeros_like(logits, dtype=torch.bool)
            for row, prompt in zip(self._seen, self._prompts, strict=True):
                row[prompt.ids] = True
        penalised = torch.where(logits > 0, logits / self._penalty, logits * self._penalty)
        return torch.where(self._seen, penalised, logits)

    def _draw(self, logits: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
        """One token a row from its distribution, by inversion; uniforms [rows, 1] in [0, 1)."""
        if self._cuts_min_p:
            probabilities = logits.softmax(-1)
            floor = self._min_p * probabilities.amax(-1, keepdim=True)
            logits = logits.masked_fill(probabilities < floor, float("-inf"))
        if self._cuts_top:
            ordered, index = logits.sort(-1)
            size = logits.shape[1]
            place = torch.where(self._top_k > 0, size - self._top_k, 0).clamp(0, size - 1)
            ordered = ordered.masked_fill(ordered < ordered.gather(1, place), float("-inf"))
            outside = ordered.softmax(-1).cumsum(-1) <= 1 - self._top_p
            outside[:, -1] = False
            logits = torch.empty_like(logits).scatter_(1, index, ordered.masked_fill(outside, float("-inf")))
        cumulative = logits.double().softmax(-1).cumsum(-1)
        drawn = torch.searchsorted(cumulative, uniforms * cumulative[:, -1:], right=True)
        return drawn[:, 0].clamp(max=logits.shape[1] - 1)


def _uniforms(prompts: Sequence[Prompt], device: torch.device) -> torch.Tensor:
    """Random numbers in [0, 1) as [rows, longest answer]; each row's from its own seed (Philox)."""
    most = max(prompt.sampling.max_tokens for prompt in prompts)
    rows = [numpy.random.Generator(numpy.random.Philox(key=prompt.seed)).random(most) for prompt in prompts]
    return torch.from_numpy(numpy.stack(rows)).to(device)

"""Which rows of `train` ask what a row of another split asks: the same prompt, or nearly the same.

The same: equal turns, but for case and white space. Nearly: of the runs of three words that either
prompt has (system turns aside), at least NEAR are in both; punctuation is no part of a word, and
where writing has no spaces each character is one. `train`, and what begins so (`train_prefs`), are
trained on; all other splits are held out. A prompt that goes on from another, and says too much more
to be nearly the same, is counted and no leak: many a conversation begins with "hi". MinHash finds the
candidates (cai/dataset/bands.py, and an estimate of at least NEAR - SLACK: of pairs at 0.8 one in
some 10,000 is missed, of those above hardly any), and each is then checked on its words. Held-out
prompts are kept in memory PROMPTS_AT_ONCE at a time, so that any number needs the same memory; more
of them need more passes over `train`.

What this module does not know: what becomes of such rows.
Source: Broder 1997 (resemblance of documents).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cai.dataset.bands import SIGNATURE, Bands, Signatures, signature
from cai.digest import digest

NEAR = 0.8
"""From which share of common word runs two prompts are nearly the same."""

WORDS = 3
SLACK = 0.15
"""How far the estimate may lie below: four standard deviations."""

PROMPTS_AT_ONCE = 50_000
_TOGETHER = 1_000
"""So many prompts of `train` are looked for at once."""
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
"""A word; or one character of Thai, Japanese or Chinese, which are written without spaces."""

Hashes = NDArray[np.uint32]


@dataclass(frozen=True)
class Leak:
    """A row of `train` and the row of another split that its prompt is like; `similarity`: 1.0 is the same."""

    row_id: str
    line: int | None
    like: str
    like_split: str
    like_line: int | None
    kind: str
    similarity: float

    @property
    def closeness(self) -> tuple[float, bool]:
        """Larger for what is more alike; the same prompt before one of the same words."""
        return self.similarity, self.kind == "exact"


@dataclass(frozen=True)
class Leaks:
    """What was found; `trained`, `held_out`: how many prompts were compared. `leaks` in source order;
    `continued`: further rows of `train` that go on from a held-out prompt, turn for turn, or the reverse."""

    trained: int = 0
    held_out: int = 0
    leaks: tuple[Leak, ...] = ()
    continued: int = 0

    @property
    def rows(self) -> frozenset[str]:
        """The ids of the rows of `train`."""
        return frozenset(leak.row_id for leak in self.leaks)


@dataclass(frozen=True, slots=True)
class _Prompt:
    """`exact`: digest of its turns; `begins`: of those up to each earlier turn of the human."""

    row_id: str
    split: str
    line: int | None
    exact: bytes
    begins: tuple[bytes, ...]
    hashes: Hashes


def find_leaks(traces: Path, splits: Sequence[str]) -> Leaks:
    """The leaks of a dataset; `traces`: the folder of that config, `splits`: those that it has.

    Nothing leaks where there is no split to train on, or no other.
    """
    trains = [split for split in splits if is_train(split)]
    others = [split for split in splits if not is_train(split)]
    if not trains or not others:
        return Leaks()
    found: dict[int, Leak] = {}
    continued: set[int] = set()
    trained = held_out = 0
    waiting = _prompts(traces, others)
    while index := _Index(islice(waiting, PROMPTS_AT_ONCE)):
        held_out += len(index)
        trained = 0
        asked = _prompts(traces, trains)
        while prompts := list(islice(asked, _TOGETHER)):
            for number, (prompt, leak) in enumerate(index.likes(prompts), start=trained):
                before = found.get(number)
                if leak is not None and (before is None or leak.closeness > before.closeness):
                    found[number] = leak
                if index.goes_on(prompt):
                    continued.add(number)
            trained += len(prompts)
    leaks = tuple(leak for _, leak in sorted(found.items()))
    return Leaks(trained, held_out, leaks, len(continued - found.keys()))


def is_train(split: str) -> bool:
    """Whether a split is one to train on: `train`, or of that kind, as in `train_prefs`."""
    return re.match(r"train(?![^\W\d_])", split, re.IGNORECASE) is not None


class _Index:
    """Held-out prompts, found by exact digest or by likeness."""

    def __init__(self, prompts: Iterable[_Prompt]) -> None:
        self._places: list[tuple[str, str, int | None]] = []
        self._exact: dict[bytes, int] = {}
        self._begins: set[bytes] = set()
        hashes, signatures, self._starts = bytearray(), bytearray(), [0]
        self._numbers = array("i")  # of the prompts with a signature: of the same word runs the first
        known: set[bytes] = set()
        for number, prompt in enumerate(prompts):
            self._places.append((prompt.row_id, prompt.split, prompt.line))
            self._exact.setdefault(prompt.exact, number)
            self._begins.update(prompt.begins)
            runs = blake2b(prompt.hashes.tobytes(), digest_size=16).digest()
            if runs in known:
                continue
            known.add(runs)
            self._numbers.append(number)
            hashes += prompt.hashes.tobytes()
            signatures += signature(prompt.hashes).tobytes()
            self._starts.append(len(hashes) // 4)
        self._hashes = np.frombuffer(hashes, np.uint32)
        self._near = Bands(np.frombuffer(signatures, np.uint32).reshape(-1, SIGNATURE))

    def __len__(self) -> int:
        return len(self._places)

    def likes(self, prompts: list[_Prompt]) -> Iterator[tuple[_Prompt, Leak | None]]:
        """Each prompt with the held-out one that is most like it, the first of equals; None: none is.

        What is near is only looked for where none is the same: a prompt may stand in every row.
        """
        others = [prompt for prompt in prompts if prompt.exact not in self._exact]
        near = iter(self._near.near(_signatures(others), NEAR - SLACK))
        for prompt in prompts:
            same = self._exact.get(prompt.exact)
            if same is None:
                yield prompt, self._nearest(prompt, next(near))
            else:
                yield prompt, self._leak(prompt, same, "exact", 1.0)

    def _nearest(self, prompt: _Prompt, places: list[int]) -> Leak | None:
        """The most alike of the prompts whose signatures have these places."""
        best: tuple[float, int] | None = None
        for place in places:
            own = self._hashes[self._starts[place] : self._starts[place + 1]]
            similarity = _similarity(prompt.hashes, own)
            if similarity >= NEAR and (best is None or similarity > best[0]):
                best = (similarity, self._numbers[place])
        return None if best is None else self._leak(prompt, best[1], "near", best[0])

    def _leak(self, prompt: _Prompt, like: int, kind: str, similarity: float) -> Leak:
        return Leak(prompt.row_id, prompt.line, *self._places[like], kind, similarity)

    def goes_on(self, prompt: _Prompt) -> bool:
        """Whether the prompt begins with a held-out one, or a held-out one with it."""
        return prompt.exact in self._begins or any(begun in self._exact for begun in prompt.begins)


def _signatures(prompts: list[_Prompt]) -> Signatures:
    found = [signature(prompt.hashes) for prompt in prompts]
    return np.array(found, np.uint32).reshape(-1, SIGNATURE)


def _similarity(one: Hashes, other: Hashes) -> float:
    """The share of word runs that both have, of those that either has."""
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)


def _prompts(traces: Path, splits: Sequence[str]) -> Iterator[_Prompt]:
    for split in splits:
        for path in sorted(traces.glob(f"{split}-*.parquet")):
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group, columns=_COLUMNS).to_pylist():
                    yield _prompt(row, split)


_COLUMNS = ["row_id", "line", "prompt.list.element.role", "prompt.list.element.content"]


def _prompt(row: dict[str, Any], split: str) -> _Prompt:
    turns = [[turn["role"], " ".join(turn["content"].casefold().split())] for turn in row["prompt"]]
    said = " ".join(text for role, text in turns if role != "system")
    words = _WORD.findall(said) or said.split()
    begins = [
        place for place, (role, _) in enumerate(turns, start=1) if role == "user" and place < len(turns)
    ]
    *begun, exact = (bytes.fromhex(digest("cai.prompt.v1", turns[:end])) for end in (*begins, len(turns)))
    return _Prompt(row["row_id"], split, row["line"], exact, tuple(begun), word_runs(words))


def word_runs(words: Sequence[str]) -> Hashes:
    """The runs of WORDS words as sorted 32-bit hashes, each once; of fewer words all of them as one."""
    runs = {" ".join(words[start : start + WORDS]) for start in range(max(1, len(words) - WORDS + 1))}
    made = [int.from_bytes(blake2b(run.encode(), digest_size=4).digest(), "big") for run in runs]
    return np.unique(np.array(made, np.uint32))

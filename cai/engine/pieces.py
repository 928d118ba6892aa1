"""Text in pieces to token ids: each piece once, and control tokens only where they are meant.

A text comes in pieces (a template's literal, a turn, a principle), and most pieces come again in
the next request. For tokenizers that provably split before a space between ASCII letters, a
piece is cut at its first and last such place; the inner part and the joints between pieces are
tokenised once and remembered. For any other tokenizer the whole text is tokenised each time.

Control tokens are special tokens and added marks such as `<think>`. Where a text contains the
spelling of one that it must not contain, a twin tokenizer is used in which control tokens have
names that no text can contain, so that the spelling becomes ordinary tokens.

What this module does not know: messages, chat templates, requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Sequence
from typing import Any

from tokenizers import Tokenizer

from cai.engine.tokenizer_files import TokenizerFiles
from cai.errors import EngineAnswerError, EngineRefusedError

REMEMBERED_CHARACTERS = 4_000_000
"""How much text one of two generations may hold; about 5 bytes of memory each."""

CUT = re.compile(r"(?<=[A-Za-z])(?= [A-Za-z])")
"""Where a text may be tokenised apart, if the tokenizer splits there."""

_LAST_CUT = re.compile(r".*[A-Za-z](?= [A-Za-z])", re.DOTALL)
_NAME = "\ufdd0{}\ufdd1"
_RESERVED = re.compile("[\ufdd0\ufdd1]")

_Ids = list[int]
_Coded = tuple[_Ids, tuple[int, ...]]
"""Token ids, and the control tokens among them."""


class PieceCoder:
    """Makes token ids of pieces of text. Not for use from several threads at once.

    `control`: matches the spelling of a control token; `control_ids`: the tokens; `bos`: what
    the tokenizer itself puts before a text; `shares`: whether pieces are remembered; `special`: the
    spellings of control tokens that decoded text leaves out.
    Raises: EngineRefusedError where tokenizer.json cannot be read.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        self._tokenizer = _tokenizer(files.json_text)
        self._json_text = files.json_text
        structure = json.loads(files.json_text)
        unknown = _unknown(structure.get("model", {}))
        self._added = [t for t in structure.get("added_tokens", ()) if _is_control(t) and t["id"] != unknown]
        self.control_ids = frozenset(token["id"] for token in self._added)
        self.special = frozenset(token["content"] for token in self._added if token.get("special"))
        names = sorted((re.escape(token["content"]) for token in self._added), key=len, reverse=True)
        self.control = re.compile("|".join(names) if names else r"(?!)")
        self.bos = self._find_bos(files)
        named = self._tokenizer.token_to_id(files.bos) if files.bos else None
        self.bos_id: int | None = named if named is not None else next(iter(self.bos), None)
        self.shares = splits_at_words(self._tokenizer, structure)
        self._twin: tuple[Tokenizer, dict[int, int]] | None = None
        self._numbers: dict[int, int] = {}  # each id is one object, wherever it is remembered
        self._segments = _Memory()
        self._joints = _Memory()

    def code(self, pieces: Sequence[str]) -> tuple[list[int], tuple[int, ...]]:
        """The ids of pieces joined, and the control tokens among them, in order."""
        if not self.shares:
            return self._coded("".join(pieces))
        ids: _Ids = []
        control: tuple[int, ...] = ()
        joint = ""
        for piece in pieces:
            head, inner, inner_control, tail = self._segments.get(piece) or self._segment(piece)
            if tail is None:
                joint += head
                continue
            joint += head
            joint_ids, joint_control = self._joints.get(joint) or self._joint(joint)
            ids += joint_ids
            ids += inner
            if joint_control or inner_control:
                control += joint_control + inner_control
            joint = tail
        joint_ids, joint_control = self._joints.get(joint) or self._joint(joint)
        ids += joint_ids
        return ids, control + joint_control

    def _segment(self, piece: str) -> tuple[str, _Ids, tuple[int, ...], str | None]:
        """A piece as (up to its first cut, ids between, their control tokens, from its last cut)."""
        first = CUT.search(piece)
        if first is None:
            found: tuple[str, _Ids, tuple[int, ...], str | None] = (piece, [], (), None)
        else:
            last = _LAST_CUT.match(piece)
            assert last is not None
            ids, control = self._coded(piece[first.end() : last.end()])
            found = (piece[: first.end()], ids, control, piece[last.end() :])
        self._segments.put(piece, found)
        return found

    def _joint(self, text: str) -> _Coded:
        coded = self._coded(text)
        self._joints.put(text, coded)
        return coded

    def _coded(self, text: str) -> _Coded:
        if not text:
            return [], ()
        ids = self.plain_ids(text)
        ids = list(map(self._numbers.setdefault, ids, ids))
        return ids, tuple(filter(self.control_ids.__contains__, ids))

    def plain_ids(self, text: str) -> list[int]:
        """The ids of a text as it stands, whatever spellings it contains."""
        ids: _Ids = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def decoded(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens among it."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def token_text(self, token: int) -> str:
        """The text of one token inside a text: some decoders drop a space where a text begins."""
        around = self.plain_ids("a")[:1]
        alone, both = self.decoded(around), self.decoded([*around, token])
        return both[len(alone) :] if both.startswith(alone) else self.decoded([token])

    def code_apart(self, pieces: Sequence[str], foreign: Container[int]) -> list[int]:
        """The ids of pieces of which those with a `foreign` index stay text, whatever they spell.

        Raises: EngineAnswerError where this tokenizer cannot be kept from making a control token.
        """
        if self._twin is None:
            self._twin = _twin(self._json_text, self._added)
        twin, real = self._twin
        names = {token["content"]: _NAME.format(token["id"]) for token in self._added}
        text = ""
        expected: list[int] = []
        for index, piece in enumerate(pieces):
            if index in foreign:
                text += without_reserved(piece)
            else:
                text += self.control.sub(lambda match: names[match[0]], piece)
                expected += self._coded(piece)[1]
        ids = [real.get(token, token) for token in twin.encode(text, add_special_tokens=False).ids]
        if [token for token in ids if token in self.control_ids] != expected:
            raise EngineAnswerError(
                "A text contains the spelling of a special token, and this tokenizer makes that token of it.",
                "Only a tokenizer of another build (byte-level BPE) can take such a row.",
            )
        return ids

    def _find_bos(self, files: TokenizerFiles) -> tuple[int, ...]:
        if files.adds_bos is not None:
            bos = self._tokenizer.token_to_id(files.bos) if files.bos else None
            return (bos,) if files.adds_bos and bos is not None else ()
        bare = self._tokenizer.encode("word", add_special_tokens=False).ids
        dressed = self._tokenizer.encode("word", add_special_tokens=True).ids
        for place in range(len(dressed)):
            if dressed[place : place + len(bare)] == bare:
                return tuple(dressed[:place])
        return ()


def without_reserved(text: str) -> str:
    """A text without the two characters (never assigned, U+FDD0 and U+FDD1) that names are made of."""
    return _RESERVED.sub("\ufffd", text)


class _Memory:
    """Remembers what was made of texts, in two generations: the older is dropped when the newer is full.

    Each text counts as 100 characters more, for what it takes besides.
    """

    __slots__ = ("_characters", "_new", "_old")

    def __init__(self) -> None:
        self._new: dict[str, Any] = {}
        self._old: dict[str, Any] = {}
        self._characters = 0

    def get(self, text: str) -> Any:
        """What was put for a text, or None."""
        found = self._new.get(text)
        if found is None and text in self._old:
            found = self._old[text]
            self.put(text, found)
        return found

    def put(self, text: str, value: Any) -> None:
        """Remember a value for a text."""
        self._new[text] = value
        self._characters += len(text) + 100
        if self._characters > REMEMBERED_CHARACTERS:
            self._old, self._new, self._characters = self._new, {}, 0


def _tokenizer(text: str) -> Tokenizer:
    """A tokenizer that neither cuts nor fills up. Raises: EngineRefusedError."""
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises bare Exception
        raise EngineRefusedError(
            f"tokenizer.json cannot be read: {error}.", "Download it again, or update `tokenizers`."
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _is_control(token: dict[str, Any]) -> bool:
    """Whether an added token steers a model; runs of spaces and added words do not."""
    content = str(token["content"])
    return bool(token.get("special")) or not re.fullmatch(r"[\w\s]*", content)


def _unknown(model: dict[str, Any]) -> int | None:
    """The id that stands for what a vocabulary cannot write: ordinary text may contain it."""
    if model.get("type") == "Unigram":
        number = model.get("unk_id")
    else:
        number = model.get("vocab", {}).get(model.get("unk_token"))
    return number if isinstance(number, int) else None


def _twin(text: str, control: list[dict[str, Any]]) -> tuple[Tokenizer, dict[int, int]]:
    """The tokenizer with control tokens under names that no text contains, and their real ids."""
    structure = json.loads(text)
    names = {token["id"]: _NAME.format(token["id"]) for token in control}
    for token in structure["added_tokens"]:
        token["content"] = names.get(token["id"], token["content"])
    structure["post_processor"] = None
    model = structure["model"]
    if model.get("type") == "Unigram":  # it would take the pieces themselves for words
        for number, name in names.items():
            if number < len(model["vocab"]):
                model["vocab"][number][0] = name
    twin = _tokenizer(json.dumps(structure))
    real = {}
    for token in structure["added_tokens"]:
        number = twin.token_to_id(token["content"])
        assert number is not None, "an added token has an id"
        real[number] = token["id"]
    return twin, real


_CLASS = re.compile(r"\[(?:\\.|[^\]\\])*\]")
_LOOKS_BACK = re.compile(r"\(\?<|\\[bBAGZz]|\^|\$")
_BOUNDARY_PROBES = ("a b", "word after", "Two words and MORE Words", "it's we'll do", "x1a b2c d", "é a ü b")


def splits_at_words(tokenizer: Tokenizer, structure: dict[str, Any]) -> bool:
    """Whether a text may be tokenised apart before a space that stands between ASCII letters.

    So it is where each pre-token is coded by itself, patterns look only ahead, and such a space
    begins a pre-token whatever surrounds it; read from the structure, then tried.
    """
    if not _normalizes_locally(structure.get("normalizer")):
        return False
    steps = structure.get("pre_tokenizer") or {}
    steps = steps.get("pretokenizers", [steps])
    if not steps or steps[-1].get("type") != "ByteLevel":
        return False
    for step in steps:
        if step.get("type") == "ByteLevel":
            if step.get("add_prefix_space", True):
                return False
        elif step.get("type") == "Split":
            pattern = step.get("pattern", {}).get("Regex")
            if pattern is None or step.get("invert") or _LOOKS_BACK.search(_CLASS.sub("", pattern)):
                return False
        elif step.get("type") != "Digits":
            return False
    model = structure.get("model", {})
    if model.get("type") != "BPE" or model.get("dropout"):
        return False
    for token in structure.get("added_tokens", ()):
        if CUT.search(token["content"]) or (token.get("rstrip") and token["content"][-1:].isalpha()):
            return False
    return all(_splits(tokenizer, probe) for probe in _BOUNDARY_PROBES)


def _normalizes_locally(normalizer: dict[str, Any] | None) -> bool:
    if normalizer is None:
        return True
    if normalizer.get("type") == "Sequence":
        return all(map(_normalizes_locally, normalizer.get("normalizers", ())))
    return normalizer.get("type") in ("NFC", "NFKC", "NFD", "NFKD")


def _splits(tokenizer: Tokenizer, probe: str) -> bool:
    starts = {start for _, (start, _) in tokenizer.pre_tokenizer.pre_tokenize_str(probe)}
    return all(match.start() in starts for match in CUT.finditer(probe))

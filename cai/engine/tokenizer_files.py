"""A tokenizer's files: `tokenizer.json`, the names of its special tokens, its chat template.

They are read from a folder, or from the Hub's cache and then the Hub. A chat template may stand
in `chat_template.jinja`, `chat_template.json`, or `tokenizer_config.json` (one text, or a list
of named ones, of which `default` is taken). Where there is no `tokenizer.json`, transformers
converts what there is; only then is it imported.

What this module does not know: messages, requests, how a template is rendered.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from cai.errors import EngineRefusedError

_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FIELDS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_Read = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """What the files of a tokenizer say.

    `json_text`: as in tokenizer.json; `special`: names such as `bos_token` to texts;
    `adds_bos`: what tokenizer_config.json says of it, None where it does not.
    """

    json_text: str
    chat_template: str | None
    special: dict[str, str]
    adds_bos: bool | None = None

    @property
    def bos(self) -> str:
        """The text of the beginning-of-text token, or nothing."""
        return self.special.get("bos_token", "")


def read_tokenizer_files(place: str | Path, revision: str = "") -> TokenizerFiles:
    """Read the files of a tokenizer: a folder, or a name on the Hub (of one `revision`).

    Raises: EngineRefusedError where there is no such tokenizer, or it cannot be read.
    """
    read = _folder_reader(Path(place)) if Path(place).is_dir() else _hub_reader(str(place), revision)
    try:
        config = json.loads(read("tokenizer_config.json") or "{}")
        names = {**json.loads(read("special_tokens_map.json") or "{}"), **config}
        special = {name: _text(names[name]) for name in _NAMES if names.get(name)}
        template = _chat_template(read, config)
        text = read("tokenizer.json")
        adds_bos = config.get("add_bos_token")
        if text is None:
            return _converted(place, revision, template)
        text = _with_added(text, config.get("added_tokens_decoder") or {})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineRefusedError(
            f"The tokenizer files of {place} cannot be read: {error}.", "Download them again."
        ) from error
    return TokenizerFiles(text, template, special, adds_bos if isinstance(adds_bos, bool) else None)


def _folder_reader(folder: Path) -> _Read:
    def read(name: str) -> str | None:
        try:
            return (folder / name).read_text("utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EngineRefusedError(
                f"{folder / name} cannot be read: {error.strerror}.", "Check that you may read it."
            ) from error

    return read


def _hub_reader(repo: str, revision: str) -> _Read:
    """Reads single files of a repository, from the cache where they are there.

    Raises: EngineRefusedError where there is no such repository, or it cannot be reached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    def read(name: str) -> str | None:
        try:
            return Path(hf_hub_download(repo, name, revision=revision or None)).read_text("utf-8")
        except EntryNotFoundError as error:
            if _is_unreachable(error):
                raise _no_tokenizer(repo, error) from error
            return None
        except (HfHubHTTPError, HFValidationError, OSError, RuntimeError) as error:
            raise _no_tokenizer(repo, error) from error

    return read


def _is_unreachable(error: Exception) -> bool:
    """Whether the file may exist: it is not in the cache, and the Hub could not be asked."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    return isinstance(error, LocalEntryNotFoundError)


def _no_tokenizer(repo: str, error: Exception) -> EngineRefusedError:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return EngineRefusedError(
        f"There is no tokenizer folder {repo}, and the Hub has none by that name within reach: {first_line}",
        "Set the engine's `tokenizer` to a folder that holds tokenizer.json.",
    )


def _chat_template(read: _Read, config: dict[str, Any]) -> str | None:
    """The chat template, wherever it stands; a file of its own counts before the configuration."""
    text = read("chat_template.jinja")
    if text is not None:
        return text
    other = read("chat_template.json")
    value = json.loads(other).get("chat_template") if other is not None else None
    value = config.get("chat_template") if value is None else value
    if isinstance(value, list):
        value = {entry["name"]: entry["template"] for entry in value}
    if isinstance(value, dict):
        value = value.get("default") or next(iter(value.values()), None)
    return value if isinstance(value, str) else None


def _with_added(text: str, decoder: dict[str, dict[str, Any]]) -> str:
    """tokenizer.json with the added tokens that only tokenizer_config.json names."""
    known = {token["content"] for token in json.loads(text).get("added_tokens", ())}
    missing = [entry for _, entry in sorted(decoder.items(), key=lambda item: int(item[0]))]
    missing = [entry for entry in missing if entry["content"] not in known]
    if not missing:
        return text
    tokenizer = Tokenizer.from_str(text)
    for entry in missing:
        token = AddedToken(entry["content"], **{name: entry[name] for name in _FIELDS if name in entry})
        tokenizer.add_tokens([token])
    return str(tokenizer.to_str())


def _converted(place: str | Path, revision: str, template: str | None) -> TokenizerFiles:
    """What transformers makes of a tokenizer without tokenizer.json."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise EngineRefusedError(
            f"{place} has no tokenizer.json.",
            "Install transformers (pip install '.[local]' in a checkout of cai) to convert it.",
        ) from error
    try:
        loaded = AutoTokenizer.from_pretrained(place, **({"revision": revision} if revision else {}))
        text = loaded.backend_tokenizer.to_str()
    except Exception as error:  # transformers raises whatever its many readers raise
        raise _no_tokenizer(str(place), error) from error
    special = {name: str(value) for name, value in loaded.special_tokens_map.items() if name in _NAMES}
    own = loaded.chat_template if isinstance(loaded.chat_template, str) else None
    return TokenizerFiles(text, template or own, special)


def _text(value: Any) -> str:
    return value["content"] if isinstance(value, dict) else str(value)

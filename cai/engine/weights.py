"""What tells a model in this process from another: a digest of its weights and of its shape.

The weights are the files that transformers loads (one file, or the shards that its index names;
safetensors before pickles). A small file is read whole. Of a larger one its size counts, and what
lies at the beginning of each tensor: a model that was trained, merged or quantised on differs there
in nearly every tensor, and a 70B model is looked at within a second. `config.json` counts without
the names and versions that saving again changes.

What this module does not know: how a model is loaded, what is made of the digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from cai.digest import digest

WHOLE_BYTES = 64 * 2**20
"""Files up to this size are read whole."""
PIECE_BYTES = 4096
PIECES = 1024
"""How many pieces, evenly spread, are read of a large file that is no safetensors file."""

_NAMES = ("model.safetensors", "pytorch_model.bin")
_IDLE = ("_name_or_path", "transformers_version")
_LONGEST_HEADER = 200 * 2**20


def weights_digest(folder: Path) -> str:
    """The digest of the weights in a model's folder; empty where no such file lies there.

    Raises: OSError; ValueError where a file is damaged.
    """
    files = _files(folder)
    if not files:
        return ""
    config = json.loads((folder / "config.json").read_bytes())
    shape = {key: value for key, value in config.items() if key not in _IDLE}
    return digest("cai.weights.v1", [json.dumps(shape, sort_keys=True), [_of_file(file) for file in files]])


def model_folder(place: str, revision: str) -> Path:
    """Where a model's files lie: the folder itself, or what was loaded of a model of the Hub."""
    if Path(place).is_dir():
        return Path(place)
    from transformers.utils.hub import cached_file

    found = cached_file(place, "config.json", **({"revision": revision} if revision else {}))
    return Path(str(found)).parent


def _files(folder: Path) -> list[Path]:
    """What transformers takes: the first of these that is there."""
    for name in _NAMES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = json.loads(index.read_bytes())["weight_map"].values()
            return [folder / str(shard) for shard in sorted(set(shards))]
    return []


def _of_file(path: Path) -> list[Any]:
    """A file's size, and the hash of it or of pieces of it."""
    size = path.stat().st_size
    state = blake2b(digest_size=16)
    with path.open("rb") as file:
        if size <= WHOLE_BYTES:
            state.update(file.read())
            return [size, state.hexdigest()]
        places: Iterator[int] = (size * number // PIECES for number in range(PIECES))
        if path.suffix == ".safetensors":
            header = file.read(min(_LONGEST_HEADER, int.from_bytes(file.read(8), "little")))
            state.update(header)
            places = iter(_tensors(header))
        for place in places:
            file.seek(place)
            state.update(file.read(PIECE_BYTES))
    return [size, state.hexdigest()]


def _tensors(header: bytes) -> list[int]:
    """Where each tensor begins in a safetensors file."""
    said = json.loads(header)
    starts = {int(item["data_offsets"][0]) for name, item in said.items() if name != "__metadata__"}
    return [8 + len(header) + start for start in sorted(starts)]

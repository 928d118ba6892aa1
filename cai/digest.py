"""Tagged digests: how everything in the program gets its identity.

The canonical form of a value is its JSON as UTF-8 with sorted keys, no white space and
the shortest decimal that reads back as the same double (RFC 8785 in all that matters
here: text, integers, floats, lists, objects with text keys). A digest is the BLAKE2b hash
(16 bytes, written as 32 hexadecimal digits) of the tag, a zero byte, and the canonical form.
The tag names the kind of thing and its version (`cai.request.v1`), so that two kinds never
share a digest and a change of form is a change of tag.

This is a contract: a store written today is read by these rules for ever.

What this module does not know: what is digested, and why.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import orjson

DIGEST_BYTES = 16


def canonical(value: Any) -> bytes:
    """The canonical form of a JSON value.

    Raises: TypeError for what JSON cannot hold, lone surrogates and NaN included.
    """
    body = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if b"null" in body:  # orjson writes NaN and infinities as null: refuse to confuse them
        _refuse_non_finite(value)
    return body


def _refuse_non_finite(value: Any) -> None:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise TypeError("a digest cannot be made of NaN or an infinity")
    if isinstance(value, dict):
        for item in value.values():
            _refuse_non_finite(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _refuse_non_finite(item)


def digest(tag: str, value: Any) -> str:
    """The tagged digest of a JSON value, as 32 hexadecimal digits.

    `tag`: kind and version, such as `cai.row.v1`.
    """
    state = blake2b(tag.encode(), digest_size=DIGEST_BYTES)
    state.update(b"\0")
    state.update(canonical(value))
    return state.hexdigest()


def draw(*parts: str | int) -> int:
    """A uniform 64-bit integer made from a seed and names, the only randomness there is.

    Equal parts give equal draws on every machine, in every order of completion.
    """
    state = blake2b(b"cai.draw.v1\0", digest_size=8)
    state.update(canonical(list(parts)))
    return int.from_bytes(state.digest(), "big")

"""The kinds of faults of a server, and the error that each becomes.

Every fault has a kind, counted in `faults`, and each kind an error:

    refused      no connection                             EngineDownError
    reset        the connection broke, in the body or before TransientEngineError
    timeout      no answer within the time limit           TransientEngineError
    busy         429                                       TransientEngineError
    failed       408, 425, 5xx                             TransientEngineError
    malformed    200, but not JSON (cut off, or garbage)   TransientEngineError
    error inside 200, with an error in it                  TransientEngineError
    unfinished   a text that neither stopped nor was cut   TransientEngineError
    denied       401, 403                                  EngineRefusedError
    rejected     any other status                          EngineRefusedError
    choices      none, too few, too many                   EngineAnswerError
    text         no text, or no token counts               EngineAnswerError
    logprobs     missing, or fewer than asked              EngineAnswerError
    nan          a log-probability that is no number       EngineAnswerError

What this module does not know: how a call travels, and when it is tried again.
"""

from __future__ import annotations

import email.utils
import time

import aiohttp

from cai.engine.wire import Unreadable, error_of
from cai.errors import (
    EngineAnswerError,
    EngineDownError,
    EngineError,
    EngineRefusedError,
    TransientEngineError,
)

FAULTS: dict[str, type[EngineError]] = {
    "refused": EngineDownError,
    "reset": TransientEngineError,
    "timeout": TransientEngineError,
    "busy": TransientEngineError,
    "failed": TransientEngineError,
    "malformed": TransientEngineError,
    "error inside": TransientEngineError,
    "unfinished": TransientEngineError,
    "denied": EngineRefusedError,
    "rejected": EngineRefusedError,
    "choices": EngineAnswerError,
    "text": EngineAnswerError,
    "logprobs": EngineAnswerError,
    "nan": EngineAnswerError,
}

DOWN_KINDS = ("refused", "reset", "failed")
"""What a server that is down, or dying, does."""


class Status(Exception):  # noqa: N818 (never leaves the engine: mapped to an EngineError here)
    """An answer with a status other than 200."""

    def __init__(self, status: int, body: bytes, retry_after: str | None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body
        self.retry_after = retry_after


REMEDIES = {
    "timeout": "Raise the engine's `timeout_s`, or lower its `concurrency`.",
    "denied": "Put the right key into the environment variable that `api_key_variable` names.",
    "rejected": "Is it a vLLM server of version 0.32 or newer?",
    "nan": "Does the model compute in float16? Try bfloat16.",
}


def kind_of(error: Exception) -> tuple[str, str]:
    """The kind of a fault, and how a sentence about the server goes on."""
    if isinstance(error, Unreadable):
        return error.kind, f"gave an answer that is none: {error}"
    if isinstance(error, Status):
        message = str(error_of(error.body).get("message", "")).rstrip(". ")
        words = f"answered with status {error.status}" + (f": {message}" if message else "")
        return kind_of_status(error.status), words
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "refused", "cannot be reached (no answer to a connection)"
    if isinstance(error, TimeoutError):  # before OSError, which it is a kind of
        return "timeout", "did not answer in time"
    if isinstance(error, (aiohttp.ClientConnectorError, ConnectionRefusedError)):
        return "refused", "cannot be reached (no connection)"
    if isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):
        return "rejected", "has an address that is none"
    return "reset", f"broke the connection ({type(error).__name__})"


def kind_of_status(status: int) -> str:
    """The kind of a fault that a status (any but 200) stands for; one that is not known is `rejected`."""
    if status == 429:
        return "busy"
    if status in (408, 425) or status >= 500:
        return "failed"
    return "denied" if status in (401, 403) else "rejected"


def seconds_of(retry_after: str | None) -> float | None:
    """What a Retry-After header asks for, in seconds; it is a number or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None

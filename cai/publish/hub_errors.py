"""What huggingface_hub raises, as errors of this program: with the server's own words, without a token.

Errors are told apart by class and status, never by text.

What this module does not know: what was being done, beyond the words it is given.
"""

from __future__ import annotations

import contextlib
from email.utils import parsedate_to_datetime
from functools import cache
from time import time
from typing import Any

from cai.errors import HubError, HubMovedError, TransientHubError

_SAME = "Mend that and type the same command again; nothing half is on the page."
_SAID = 500
"""Characters of the server's words that are shown."""


class NotThereError(HubError):
    """There is no such repository, revision or file, or none that the token may see."""


@cache
def raised() -> tuple[type[Exception], ...]:
    """Every class that a call of huggingface_hub fails with."""
    import httpx2
    from huggingface_hub import errors

    own = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)]
    return (httpx2.HTTPError, OSError, RuntimeError, ValueError, *own)


def cause(error: BaseException) -> BaseException:
    """What really went wrong: an upload's thread, or a download that looks in its cache, says something else."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, RuntimeError | LocalEntryNotFoundError) and error.__cause__ is not None:
        return cause(error.__cause__)
    return error


def mapped(error: BaseException, what: str, url: str, token: str | None) -> HubError:
    """What an error means to whoever pushes. `what`: what was being done; `url`: the page."""
    import httpx2
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    found = cause(error)
    said = _said(found, token)
    if isinstance(found, OfflineModeIsEnabled):
        return HubError("The Hub is switched off (HF_HUB_OFFLINE).", "Unset it, or use --dry-run.")
    if isinstance(found, RepositoryNotFoundError | RevisionNotFoundError | EntryNotFoundError):
        return NotThereError(
            f"{url}: not found while {what}.", "Check the name, and that your token may see it."
        )
    if isinstance(found, HfHubHTTPError) and found.response is not None:
        return _refused(what, url, found.response, said)
    if isinstance(found, httpx2.TransportError) and not isinstance(found, httpx2.UnsupportedProtocol):
        return TransientHubError(
            f"The connection to {url} failed while {what} ({type(found).__name__}).",
            "Type the same command again; what was uploaded is kept.",
        )
    return HubError(f"While {what}, the Hub or huggingface_hub said: {said}.", _SAME)


def _refused(what: str, url: str, response: Any, said: str) -> HubError:
    """An answer that is none."""
    status = int(response.status_code)
    if status == 412:
        return HubMovedError(f"Somebody else's commit on {url} came first.", "Look with --diff.")
    if status in (408, 429) or status >= 500:
        after = _retry_after(response.headers)
        wait = f", and asks to wait {after:.0f} s" if after else ""
        later = f" in {after / 60:.0f} minutes." if after else " later; what was uploaded is kept."
        return TransientHubError(
            f"The Hub answered {status} while {what}{wait} ({said}).",
            f"Nothing half is on the page. Type the same command again{later}",
            retry_after_s=after,
        )
    if status == 401:
        return HubError(
            f"The Hub does not know the token ({said}).",
            "Type `hf auth login`, or set HF_TOKEN; the token must be allowed to write.",
        )
    if status in (402, 403):
        return HubError(
            f"The Hub refuses while {what}: {said}.",
            f"The token must be allowed to write to {url}, and its owner must have the room.",
        )
    return HubError(f"The Hub answered {status} while {what}: {said}.", _SAME)


def _said(error: BaseException, token: str | None) -> str:
    """The server's own words, on one line, without the token."""
    text = getattr(error, "server_message", None) or str(error)
    if token:
        text = text.replace(token, "(the token)")
    return " ".join(text.split()).rstrip(".")[:_SAID] or type(error).__name__


def _retry_after(headers: Any) -> float | None:
    """Seconds that a server asks to wait: a number, a date, or when its rate limit ends."""
    given = headers.get("Retry-After")
    if given:
        with contextlib.suppress(ValueError):
            return max(float(given), 0.0)
        with contextlib.suppress(ValueError, TypeError):
            return max(parsedate_to_datetime(given).timestamp() - time(), 0.0)
    from huggingface_hub.utils._http import parse_ratelimit_headers

    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None

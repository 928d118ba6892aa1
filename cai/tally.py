"""What was asked over all goes at a run, and what went wrong on the way: RUN/tally.json.

    goes       how many goes wrote here
    requests   "engine stage" -> asked = from_store + shared + answered + stopped + failed (by class)
               + under_way, which is 0 unless a go was killed (what is paid for is in the store all the same)
    seconds    for how long requests were under way, waits for a server that is down among them
    faults     engine -> kind (cai/engine/fault_kinds.py) -> how often, what was tried again included

Written every few seconds and at the end of a go. It counts work, and no dataset depends on it.

What this module does not know: rows, what a request asks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from cai.ask import Account, Ask
from cai.errors import RunError

_log = logging.getLogger("cai")

SAVE_EVERY_S = 5.0
_PARTS = ("from_store", "shared", "answered", "stopped")


@dataclass
class Tally:
    """Counts of all goes, in the form of the file."""

    goes: int = 0
    requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: float | None = 0.0
    """None: goes of an older version wrote here, which did not measure it."""

    def with_go(self, ask: Ask) -> Tally:
        """This, and what a go has done by now."""
        requests = {name: dict(counts) for name, counts in self.requests.items()}
        for (engine, stage), account in ask.accounts.items():
            name = f"{engine} {stage}"
            requests[name] = _sum(requests.get(name, {}), _counts(account))
        faults = {name: dict(kinds) for name, kinds in self.faults.items()}
        for name, kinds in faults_of(ask).items():
            faults[name] = _sum(faults.get(name, {}), kinds)
        seconds = None if self.seconds is None else self.seconds + ask.clock.seconds
        return Tally(self.goes + 1, requests, faults, seconds)

    def save(self, path: Path) -> None:
        """Write it whole. Raises: RunError."""
        draft = path.with_suffix(".draft")
        record = {"goes": self.goes, "requests": self.requests, "faults": self.faults}
        if self.seconds is not None:
            record["seconds"] = round(self.seconds, 1)
        try:
            draft.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
            draft.replace(path)
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error.strerror}.", "Check the folder.") from error


def read_tally(path: Path) -> Tally:
    """The counts of the goes before; none where there is no file, or an empty one. Raises: RunError."""
    try:
        data = path.read_bytes()
        if not data:  # it is not fsynced, and no reason to stop a run
            _log.warning("%s is empty, as a power cut may leave it: its counts are lost", path)
            return Tally()
        record = orjson.loads(data)
        seconds = float(record["seconds"]) if "seconds" in record else None
        return Tally(int(record["goes"]), dict(record["requests"]), dict(record["faults"]), seconds)
    except FileNotFoundError:
        return Tally()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged.", "Delete it; only its counts are lost.") from error


def faults_of(ask: Ask) -> dict[str, dict[str, int]]:
    """What went wrong by now in this go, by engine and kind."""
    found = {}
    for name, engine in ask.engines.items():
        faults: dict[str, int] = getattr(getattr(engine, "inner", engine), "faults", {})
        if faults:
            found[name] = dict(faults)
    return found


def unbalanced(requests: Mapping[str, Mapping[str, Any]], ended: bool = False) -> list[str]:
    """Accounts whose parts are not the whole; `ended`: nothing may be under way either."""
    wrong = []
    for name, counts in requests.items():
        parts = sum(counts[part] for part in _PARTS) + sum(counts["failed"].values())
        if counts["asked"] != parts + counts["under_way"] or counts["under_way"] < 0:
            wrong.append(f"{name}: {counts['asked']:,} asked, {parts:,} accounted for")
        elif ended and counts["under_way"]:
            wrong.append(f"{name}: {counts['under_way']:,} still under way after the end")
    return wrong


def check_ended(ask: Ask) -> None:
    """Hold a go that has ended to its balance. Raises: RunError."""
    accounts = {f"{engine} {stage}": _counts(account) for (engine, stage), account in ask.accounts.items()}
    wrong = unbalanced(accounts, ended=True)
    if wrong:
        raise RunError(
            f"The accounts of the requests do not balance: {'; '.join(wrong)}.",
            "This is a mistake of the program; what was answered is kept. Please report it.",
        )


def _counts(account: Account) -> dict[str, Any]:
    return {
        "asked": account.asked,
        **{part: getattr(account, part) for part in _PARTS},
        "failed": dict(account.failed),
        "under_way": account.under_way,
    }


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for name in dict.fromkeys((*one, *other)):
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) or isinstance(b, dict):
            total[name] = _sum(a or {}, b or {})
        else:
            total[name] = (a or 0) + (b or 0)
    return total

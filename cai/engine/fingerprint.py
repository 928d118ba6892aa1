"""What tells one model from another under the same name: how it answers fixed questions.

A fingerprint holds the log-probabilities of two options after each of the canary prompts, and what
the server says of itself. It guards an identity and is no part of it. Two fingerprints are of one
model where no log-probability differs by more than TOLERANCE nats: another number format or other
kernels move one by up to a tenth or two, other weights move some by much more, and nearly equal
weights pass (docs/reliability.md has what was measured). What the server says
(version, where the weights lie) may change without the model; it is told, not refused.

What this module does not know: how the questions are asked.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cai.parts import Message, Part
from cai.request import ScoreRequest
from cai.template import Rendered

TOLERANCE = 0.5
LEAST = -8.0
"""Log-probabilities below this are alike: nothing that rare decides anything."""

_QUESTION = "Which of these responses is less harmful, more honest and more helpful?"
_CANARIES = (
    f"{_QUESTION} A person asks how to get a stain of red wine out of a white tablecloth. Response A says: salt, "
    "then cold water, and do not rub. Response B says: it is your own fault, throw it away.",
    f"{_QUESTION} Somebody wants to know what the capital of Australia is. Response A says that it is Sydney, the "
    "largest city. Response B says that it is Canberra, which was built for that purpose.",
    f"{_QUESTION} A neighbour plays loud music every night. Response A proposes to cut the cable of the house. "
    "Response B proposes to ring the bell, to talk, and to ask the landlord if that does not help.",
)


@dataclass(frozen=True)
class Fingerprint:
    """`canaries`: for each canary prompt the options' log-probabilities (nats); none where a server
    cannot tell. `version`: of the server's program; `root`: where it says the weights lie."""

    canaries: tuple[tuple[float, ...], ...] = ()
    version: str = ""
    root: str = ""

    def record(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)


def read_fingerprint(record: dict[str, Any]) -> Fingerprint:
    """What `record` gave. Raises: KeyError, TypeError, ValueError."""
    canaries = tuple(tuple(float(value) for value in each) for each in record["canaries"])
    return Fingerprint(canaries, str(record["version"]), str(record["root"]))


def canary_requests(engine: str, role: Any) -> list[ScoreRequest]:
    """The fixed questions, as messages of a role."""
    return [
        ScoreRequest(
            engine,
            Rendered(
                (Message(role, (Part(text, "template", "canary"),)),),
                (Part("The answer is Response", "template", "canary"),),
            ),
            ("A", "B"),
        )
        for text in _CANARIES
    ]


def difference(known: Fingerprint, now: Fingerprint) -> float | None:
    """The largest difference of a log-probability, in nats; None where there is nothing to compare."""
    if not known.canaries or not now.canaries or len(known.canaries) != len(now.canaries):
        return None
    pairs = [
        (max(a, LEAST), max(b, LEAST))
        for one, other in zip(known.canaries, now.canaries, strict=True)
        for a, b in zip(one, other, strict=False)
    ]
    return max((abs(a - b) for a, b in pairs), default=None)


def said_differences(known: Fingerprint, now: Fingerprint) -> list[str]:
    """What the server says otherwise of itself, in words."""
    found = []
    if known.version and now.version and known.version != now.version:
        found.append(f"version {now.version} (was {known.version})")
    if known.root and now.root and known.root != now.root:
        found.append(f"weights from {now.root} (were from {known.root})")
    return found

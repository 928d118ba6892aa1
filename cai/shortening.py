"""Which of a prompt's oldest turns may go, where the whole does not fit into an engine's context.

What goes is whole exchanges, the oldest first: a human turn, or several running, with the answer
to it. So what stays begins with a human turn and holds at least the last one; system turns stay.
A prompt of five exchanges and a question may lose 2, 4, 6, 8 or 10 of its eleven turns.

What this module does not know: tokens, contexts, what is asked about a conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from cai.conversation import Turn

OLDEST_TURNS_DROPPED = "oldest_turns_dropped"
"""The flag of a row whose steps did without its prompt's oldest turns."""

EXACT_TRIES = 16
"""So many exchanges are dropped one by one; then the step grows by one with each further so many,
which bounds the tries of a prompt of ten thousand turns to about a hundred."""


def drops_to_try(prompt: Sequence[Turn]) -> list[int]:
    """How many turns to drop, in the order to try: 0, then more, to all that may go."""
    spoken = [turn.role for turn in prompt if turn.role != "system"]
    begins = [place + 1 for place, pair in enumerate(pairwise(spoken)) if pair == ("assistant", "user")]
    possible = [0, *begins]
    tries, place = [], 0
    while place < len(possible) - 1:
        tries.append(possible[place])
        place += 1 + place // EXACT_TRIES
    return [*tries, possible[-1]]


def without_oldest(prompt: Sequence[Turn], dropped: int) -> tuple[Turn, ...]:
    """The turns that stay where the oldest `dropped` go."""
    return tuple(prompt[place] for place in kept_turns(prompt, dropped))


def kept_turns(prompt: Sequence[Turn], dropped: int) -> list[int]:
    """The places of the turns that stay where the oldest `dropped` go; system turns do not count."""
    kept, left = [], dropped
    for place, turn in enumerate(prompt):
        if turn.role == "system" or left == 0:
            kept.append(place)
        else:
            left -= 1
    return kept

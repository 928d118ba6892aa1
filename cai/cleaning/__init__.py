"""What a model wrote when it was asked to rewrite a response, made into the bare new response.

    raw ─steps→ same as the original? ─no─frame→ layers off ─→ refusal, leak, repetition ─→ Cleaned
                 spelling: the forms of a text        phrases: what frames are made of

`clean` takes the raw text of a revision and gives the text that may stand as a response, flags
that name all that was noticed, and whether the text is usable. The raw text stays with the
caller. Only what a flag names is ever taken away, beside outer white space; all else comes back
to the byte. A frame around the response (preamble, postscript, label, quotes) is taken off; what
spoils the response itself (cut, refused, leaked, repeating) is flagged, and `usable` is False.

A mark that the original bears in the same place is the conversation's own (a user may well have
asked for "a revised version") and is left alone. Where a phrase could be meant for the user, it
is: a wrongly stripped or dropped response is worse than a missed frame. Curly quotes and
apostrophes count as straight ones throughout. Time is linear in the text: phrases are looked for
in heads and tails of fixed length, or by expressions that cannot backtrack far. Nearly all
revisions bear no mark, so each expression stands behind a cheap test that what it finds must pass
(a word it cannot do without); tests/test_cleaning.py holds the two together.

What this package does not know: the conversation (so "I cannot help with that" is taken for an
answer to the user), which principle was at work, whether the revision is any better, any
language but English (the shapes, quotes and repetition, hold for all), tokens that an engine
should have taken away (`</s>`, `<think>`). Raise `STEP_VERSION` in revise.py when it changes.
"""

from __future__ import annotations

from cai.cleaning.flags import UNUSABLE, Cleaned, RevisionFlag
from cai.cleaning.steps import clean

__all__ = ["UNUSABLE", "Cleaned", "RevisionFlag", "clean"]

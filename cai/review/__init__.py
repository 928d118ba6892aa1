"""A blind sample of pairs for a person to judge, and the person's answers.

    RUN/review/sheet.html          the sheet, to click through in a browser
    RUN/review/sheet.csv           the same pairs for a spreadsheet
    RUN/review/key.json            what each item is; not to be opened by who answers
    RUN/review/answers-NAME.json   what a person answered

What this package does not know: what the answers say about the labels (cai/compare/person.py).
"""

from cai.review.answers import read_answers, write_answers
from cai.review.export import export_review
from cai.review.key import ANSWERS, Answers, Item, Key, Stratum, read_key, read_reviewers
from cai.review.pairs import Origin, origin
from cai.review.verdicts import Reviewed, Said, reviewed_rows, verdict

__all__ = [
    "ANSWERS",
    "Answers",
    "Item",
    "Key",
    "Origin",
    "Reviewed",
    "Said",
    "Stratum",
    "export_review",
    "origin",
    "read_answers",
    "read_key",
    "read_reviewers",
    "reviewed_rows",
    "verdict",
    "write_answers",
]

"""The multiple-choice format: a question with its options inside a text, and which letter is right.

    {"prompt": "...\\n\\nHuman: ...\\n\\n\\n<what is asked>:\\n (A) [[[...]]]\\n (B) [[[...]]]\\n\\n<the answer begins>:",
     "corrects": [" (B)"], "incorrects": [" (A)"]}

Two kinds of options are read. Between `[[[` and `]]]` stand responses: the conversation then ends
with the human's turn, there are two of them, and the text can be taken apart into a prompt and a
pair. Without such marks an option is one line, a statement about a conversation that ends with the
assistant's turn. `text_correct` and `text_incorrect`, where a line has them, must be what taking it
apart gives, word for word.

The letters must run from A without a gap, the right ones be exactly one, and all of them be named.
Whatever fits in no other way is refused with its reason; nothing is guessed.

What this module does not know: files, other formats, how a judge is asked.
Source: the evaluation files published with 2212.08073 (format).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cai.conversation import Transcript, Turn, parse_transcript, write_transcript
from cai.judge_eval.item import LETTERS, Question

_NAMED = re.compile(r" ?\(([A-Z])\)")
_TAIL = re.compile(r"\n+[^\n]*:")
_RESPONSE = re.compile(r"\n \(([A-Z])\) \[\[\[")
_STATEMENTS = re.compile(r"(?:\n \([A-Z]\) [^\n]+)+(?=\n+[^\n]*:\Z)")
_STATEMENT = re.compile(r"\n \(([A-Z])\) ([^\n]+)")
_HARM = re.compile(r"\b(?:harmful|unethical|unsafe)\b", re.IGNORECASE)
_DENIES = re.compile(r"\b(?:no|not|never|neither|nor)\b|n['\u2019]t\b", re.IGNORECASE)


class UnreadableError(Exception):
    """The line is no item; the text says why. Not a CaiError: cai/judge_eval/reading.py counts it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A line taken apart: the conversation (without the question), the question, the right option.

    `responses`: what the options say, where they are responses; else none.
    """

    turns: tuple[Turn, ...]
    question: Question
    right: int
    responses: tuple[str, ...]

    @property
    def harmful(self) -> bool | None:
        """What the label says of the assistant's conduct.

        None unless one of two statements, and one alone, calls it harmful without a denial.
        """
        if self.responses or len(self.question.options) != 2:
            return None
        called = [bool(_HARM.search(text)) for text in self.question.options]
        denied = any(_DENIES.search(text) for text in self.question.options)
        return called[self.right] if sum(called) == 1 and not denied else None


def is_choice(value: dict[str, Any]) -> bool:
    """Whether a line is written in this format."""
    return "corrects" in value and "incorrects" in value


def read_choice(value: dict[str, Any]) -> Choice:
    """Take a line apart. Raises: UnreadableError."""
    prompt = value.get("prompt")
    if not isinstance(prompt, str):
        raise UnreadableError("prompt is not a text")
    question, responses = _question(prompt)
    right = _right(value, len(question.options))
    turns = _conversation(question.before)
    speaker = turns[-1].role
    if responses and (speaker != "user" or len(responses) != 2):
        raise UnreadableError("options in [[[ ]]] must be two responses to a human's turn")
    if not responses and speaker != "assistant":
        raise UnreadableError("options without [[[ ]]] must be about a conversation that the assistant ends")
    choice = Choice(turns, question, right, responses)
    if responses:
        _check_texts(value, choice)
    return choice


def _question(prompt: str) -> tuple[Question, tuple[str, ...]]:
    """The question, and the responses among its options. Raises: UnreadableError."""
    if _RESPONSE.search(prompt):
        return _of_responses(prompt)
    found = _STATEMENTS.search(prompt)
    if found is None:
        raise UnreadableError(
            "there are no options such as (A) and (B), each on a line of its own, at the end"
        )
    options = _STATEMENT.findall(found[0])
    _check_letters([letter for letter, _ in options])
    question = Question(prompt[: found.start()], tuple(text for _, text in options), prompt[found.end() :])
    return question, ()


def _of_responses(prompt: str) -> tuple[Question, tuple[str, ...]]:
    marks = list(_RESPONSE.finditer(prompt))
    _check_letters([mark[1] for mark in marks])
    ends = [mark.start() for mark in marks[1:]]
    last = prompt.rfind("]]]", marks[-1].end())
    if last < 0 or not _TAIL.fullmatch(prompt, last + 3):
        raise UnreadableError("after the last ]]] there is not one line that ends in a colon")
    bodies = []
    for mark, end in zip(marks, [*ends, last + 3], strict=True):
        body = prompt[mark.end() : end]
        if not body.endswith("]]]"):
            raise UnreadableError(f"option ({mark[1]}) does not end in ]]]")
        bodies.append(body[:-3])
    question = Question(
        prompt[: marks[0].start()], tuple(f"[[[{body}]]]" for body in bodies), prompt[last + 3 :]
    )
    return question, tuple(bodies)


def _check_letters(letters: list[str]) -> None:
    if len(letters) < 2 or letters != list(LETTERS[: len(letters)]):
        raise UnreadableError(f"the options are lettered {', '.join(letters)}, not from A on, once each")


def _right(value: dict[str, Any], options: int) -> int:
    """The number of the right option. Raises: UnreadableError."""
    named: list[list[int]] = []
    for key in ("corrects", "incorrects"):
        letters = value[key]
        found = [_NAMED.fullmatch(text) if isinstance(text, str) else None for text in letters or ()]
        if not isinstance(letters, list) or not all(found):
            raise UnreadableError(f"{key} is not a list of letters such as (A)")
        named.append([LETTERS.index(match[1]) for match in found if match is not None])
    correct, incorrect = named
    if len(correct) != 1:
        raise UnreadableError(f"{len(correct)} options are correct, not one")
    if sorted(correct + incorrect) != list(range(options)):
        raise UnreadableError("corrects and incorrects do not name each option once")
    return correct[0]


def _conversation(before: str) -> tuple[Turn, ...]:
    """The turns of what stands before the options, less the line that asks. Raises: UnreadableError."""
    transcript = parse_transcript(before)
    if not transcript.turns or transcript.turns[0].role != "user":
        raise UnreadableError("there is no conversation that begins with Human:")
    last = transcript.turns[-1]
    cut = last.raw.rfind("\n\n")
    asked = last.raw[cut:].strip("\n") if cut >= 0 else ""
    if not asked.endswith(":") or "\n" in asked:
        raise UnreadableError("no line that ends in a colon asks for the options")
    said = last.raw[:cut].rstrip("\n")
    if not said.strip() and last.role == "user":
        raise UnreadableError("the human's last turn is empty")
    return (*transcript.turns[:-1], Turn(last.role, said))


def _check_texts(value: dict[str, Any], choice: Choice) -> None:
    """Hold what was taken apart to the line's own texts. Raises: UnreadableError."""
    wanted = {"text_correct": choice.right, "text_incorrect": 1 - choice.right}
    for key, index in wanted.items():
        if key in value:
            turns = (*choice.turns, Turn("assistant", f" {choice.responses[index]}"))
            if value[key] != write_transcript(Transcript("", turns)):
                raise UnreadableError(f"taken apart, it does not give {key}")


__all__ = ["Choice", "UnreadableError", "is_choice", "read_choice"]

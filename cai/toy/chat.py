"""The embedded model's chat format: its special tokens, its chat template, and the same in Python.

Each message is `<|im_start|>role`, a line break, the content as it is, `<|im_end|>`, a line break.
There is no token at the beginning of the text, and a content is never trimmed. An answer that is
made to begin in some way simply goes on after the generation prompt.

What this module does not know: tokens, what is said.
"""

from __future__ import annotations

from dataclasses import dataclass

START = "<|im_start|>"
END = "<|im_end|>"
PAD = "<|pad|>"
SPECIAL_TOKENS = (PAD, START, END)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Segment:
    """Text of a chat, and its weight in the loss (0: given to the model, not learnt).

    `instead`: another text that would be as right, of as many tokens; the loss is then the mean
    of both.
    """

    text: str
    weight: float
    instead: str | None = None


def message(role: str, content: str) -> list[Segment]:
    """A message that the model is given."""
    return [Segment(f"{START}{role}\n{content}{END}\n", 0.0)]


def answer_start() -> Segment:
    """The generation prompt, after which the model's answer begins."""
    return Segment(f"{START}assistant\n", 0.0)

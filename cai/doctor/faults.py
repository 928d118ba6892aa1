"""The faults that a model can have as a judge: each with a name, a sentence and a remedy.

A fault stops a run before its first row; a warning is said and the run goes on.

What this module does not know: how a fault is found (verdict.py, examine.py).
"""

from __future__ import annotations

from enum import Enum

_OTHER_MODEL = (
    "Use another model as judge, or another wording of prompts/judgement.j2 (of reasoned-judgement.j2, where"
    " it reasons first)"
)
_TEMPLATE = "Name a `tokenizer` for the engine whose chat template does not"


class Fault(Enum):
    """What is wrong, and what to do. The name in lower case is what a person reads and greps for."""

    ROLES_REFUSED = (
        "The model's chat template refuses the messages that the prompts are made of.",
        "Let the prompts use other roles (prompts/README.md), or give the engine another `tokenizer`.",
    )
    DOUBLE_BOS = (
        "Requests begin with more than one BOS token, which the model has never seen.",
        f"{_TEMPLATE} write it twice.",
    )
    PREFIX_SWALLOWED = (
        "The beginning of the answer does not reach the model as it was written.",
        "Use a server that takes token ids (vLLM 0.32 or newer), or a chat template that keeps what an"
        " assistant says.",
    )
    NEVER_LEAVES_THINKING = (
        "The answer would stand inside a block of thinking that nobody closes.",
        "Set `template_args` of the engine so that thinking is off (enable_thinking: false); where its chat"
        " template has no such switch, let an empty block stand before every answer (`thinking: {empty_block:"
        " true}` of the engine).",
    )
    CONTEXT_TOO_SMALL = (
        "The model's context is too small for the shortest of judgements.",
        "Start the server with a longer context (--max-model-len), or use another model.",
    )
    LOW_OPTION_MASS = (
        "Where A or B should stand, the model wants to say something else.",
        f"Look at the most probable tokens (`cai doctor`). {_OTHER_MODEL} whose answer ends right before the"
        " letter.",
    )
    ALWAYS_A = (
        "The judge answers A whichever response stands there.",
        f"{_OTHER_MODEL}.",
    )
    ALWAYS_B = (
        "The judge answers B whichever response stands there.",
        f"{_OTHER_MODEL}; a model that sees the letter B last may just repeat it.",
    )
    IGNORES_TEXT = (
        "The judge's answers do not change when the two responses change places.",
        "See whether prompts/judgement.j2 shows both responses, and whether the server cuts long prompts;"
        " else use another model.",
    )
    LABELS_SWAPPED = (
        "The judge names the wrong response almost always, so A and B mean each other somewhere.",
        "See which response prompts/judgement.j2 shows as A and which as B (reasoned-judgement.j2, where it"
        " reasons first).",
    )
    POLARITY_TURNED = (
        "The judge is wrong almost always where a question asks for the worse response, and right elsewhere.",
        "Give the judge questions that ask for the better response (no `polarity: worse`), or another model.",
    )
    LONGER_WINS = (
        "The judge prefers the longer response, whatever the question is.",
        f"{_OTHER_MODEL}.",
    )
    SHORTER_WINS = (
        "The judge prefers the shorter response, whatever the question is.",
        f"{_OTHER_MODEL}.",
    )
    AT_CHANCE = (
        "The judge is no better than a coin at questions whose answers nobody doubts.",
        "Use a larger or better trained model as judge; or, if it knows only a small world of its own, name"
        " pairs from there (`doctor: {probes: FILE}`).",
    )
    HARM_TURNED = (
        "The judge calls harmless responses harmful and harmful ones harmless, so True and False mean each"
        " other somewhere.",
        "See which statement prompts/harm.j2 asks about, or rate no harm (`feedback: {harm: false}`).",
    )

    @property
    def title(self) -> str:
        """The fault's name."""
        return self.name.lower()

    @property
    def sentence(self) -> str:
        """What is wrong."""
        return str(self.value[0])

    @property
    def remedy(self) -> str:
        """What to do."""
        return str(self.value[1])


class Warned(Enum):
    """What is not right, but stops nothing."""

    NO_TOKEN_IDS = (
        "The server does not take token ids, so it renders the prompts itself and tells only its 20 most"
        " probable tokens."
    )
    LEANS_TO_A_PLACE = (
        "The judge leans to one place strongly; both orders even that out, but ties will be many."
    )
    POLARITY_UNSURE = (
        "The judge does not read questions that ask for the worse response; this recipe has none of them."
    )
    THINKS_FIRST = "The model thinks in the open before it answers; critiques and revisions pay for that."
    HARM_UNSURE = (
        "The judge's harm ratings do not tell harmful responses from harmless ones that nobody doubts; do not"
        " rely on them."
    )
    NOT_ASKED = "Some of the known-answer pairs got no usable answer."

    @property
    def title(self) -> str:
        """The warning's name."""
        return self.name.lower()

    @property
    def sentence(self) -> str:
        """What is not right."""
        return str(self.value)

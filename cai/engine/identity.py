"""Who an engine is: what of a model decides its answers and is known without asking it.

The identity is settled at the first contact of a run and frozen with it; from then on digests
are computed from the frozen identity, with or without a server.

What this module does not know: how the model is reached.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from cai.digest import digest

_UNLESS_EMPTY = ("weights", "dtype", "thinking")


@dataclass(frozen=True)
class Identity:
    """A model by name and revision, and how messages become text for it.

    `chat_template`: the jinja text (empty in completion form); `template_args`: what it is
    given besides messages; `thinking`: what it does not say of the model's thinking; `date`: ISO date that a template asking for the day is told. `weights`
    and `dtype`: of a model in this process, the digest of its weights and the numbers it computes
    in; empty where nobody can tell.
    """

    model: str
    revision: str = ""
    form: str = "chat"
    chat_template: str = ""
    template_args: dict[str, Any] = field(default_factory=dict)
    date: str = ""
    weights: str = ""
    dtype: str = ""
    thinking: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """What requests carry of the identity; the date counts only where the template reads it."""
        content = self.record()
        if "strftime_now" not in self.chat_template:
            content["date"] = ""
        return digest("cai.engine.v1", content)

    def record(self) -> dict[str, Any]:
        """As it is frozen; `weights`, `dtype` and `thinking` only where there is something to say."""
        return {key: value for key, value in asdict(self).items() if value or key not in _UNLESS_EMPTY}

"""Known answers: the file they stand in, and what is asked about them: judgements of pairs, and
harm ratings of single responses.

What this module does not know: who is asked, what the answers mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cai.conversation import Turn
from cai.digest import digest
from cai.errors import InputError
from cai.examples import after_examples
from cai.feedback import ORDERS
from cai.outcome import Order
from cai.parts import Message, Value
from cai.principle import FORMS, Principle
from cai.prompting import HARM_OPTIONS, OPTIONS, Prompts, turn_values
from cai.request import ScoreRequest
from cai.yaml_file import YamlFile, check, read_yaml

FIRST_PAIRS = 16
"""How many pairs are asked at first; the others only where these leave it open."""

LONGER_SHARE = (0.35, 0.65)
"""In which share of the pairs the better response may be the longer one."""

LEAST_HARM = 6
"""How many single responses there must be where there are any."""

NO_REASONING = Value(" I read the conversation and both responses with care.", "model", "doctor")
"""What stands for a reasoning: words that favour neither response."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*$", max_length=60)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]


class Probe(BaseModel):
    """A prompt, two responses, and a question whose answer nobody doubts.

    `better` is the response to be preferred; `polarity` `worse`: the question asks for the other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Name
    prompt: Words
    question: Words
    better: Words
    worse: Words
    polarity: Literal["better", "worse"] = "better"

    @property
    def principle(self) -> Principle:
        """The question as a principle."""
        said = self.question
        return Principle(
            id=self.id, text=said, critique=said, revision=said, judgement=said, polarity=self.polarity
        )

    @property
    def better_is_longer(self) -> bool:
        """Whether the better response has more characters."""
        return len(self.better) > len(self.worse)


class HarmProbe(BaseModel):
    """A prompt and one response, of which nobody doubts whether it is harmful."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Name
    prompt: Words
    response: Words
    harmful: bool


class _ProbeFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    probes: Name
    title: Words
    description: str = ""
    licence: str = ""
    pairs: list[Probe] = Field(min_length=8, max_length=200)
    harm: list[HarmProbe] = Field(default_factory=list, max_length=200)


@dataclass(frozen=True)
class Probes:
    """A file of pairs. `lines`: where each pair's texts stand, by (pair's number, field); `harm`:
    single responses, with the lines of theirs."""

    name: str
    pairs: tuple[Probe, ...]
    path: Path
    lines: dict[tuple[int, str], int]
    harm: tuple[HarmProbe, ...] = ()
    harm_lines: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of what the pairs and the single responses say."""
        return digest("cai.probes.v1", [item.model_dump() for item in (*self.pairs, *self.harm)])

    def value(self, number: int, field: str) -> Value:
        """A text of a pair, with its origin; responses count as a row's, and are escaped as such."""
        origin = f"{self.path.parent.name}/{self.path.name}:{self.lines[number, field]}"
        kind: Literal["principle", "row"] = "principle" if field == "question" else "row"
        return Value(getattr(self.pairs[number], field), kind, origin)

    def requests(
        self,
        engine: str,
        prompts: Prompts,
        numbers: range,
        before: tuple[Message, ...] = (),
        *,
        reasoned: bool = False,
    ) -> list[Asked]:
        """The judgements about some of the pairs, each in both orders, by the judge's own template.

        `before`: the worked judgements that the judge is shown. `reasoned`: by the template of a
        judge that reasons first, after words of reasoning that are the same for all.
        """
        asked = []
        for number in numbers:
            probe = self.pairs[number]
            turns = turn_values([Turn("user", probe.prompt)], f"probe {probe.id}")
            better, worse = self.value(number, "better"), self.value(number, "worse")
            question = {form: self.value(number, "question") for form in FORMS}
            for order in ORDERS:
                a, b = (better, worse) if order == "first_is_a" else (worse, better)
                labels: dict[str, str | int] = {"stage": "doctor", "probe": probe.id, "order": order}
                rendered = (
                    prompts.reasoned_judgement(turns, a, b, question, NO_REASONING)
                    if reasoned
                    else prompts.judgement(turns, a, b, question)
                )
                rendered = after_examples(before, rendered)
                asked.append(Asked(probe, order, ScoreRequest(engine, rendered, OPTIONS, labels)))
        return asked

    def harm_requests(self, engine: str, prompts: Prompts) -> list[ScoreRequest]:
        """The harm ratings of the single responses, by the judge's own template."""
        asked = []
        for probe, line in zip(self.harm, self.harm_lines, strict=True):
            turns = turn_values([Turn("user", probe.prompt)], f"probe {probe.id}")
            value = Value(probe.response, "row", f"{self.path.parent.name}/{self.path.name}:{line}")
            (rendered,) = prompts.harms(turns, [value])
            labels: dict[str, str | int] = {"stage": "doctor", "probe": probe.id, "harm": int(probe.harmful)}
            asked.append(ScoreRequest(engine, rendered, HARM_OPTIONS, labels))
        return asked


@dataclass(frozen=True, slots=True)
class Asked:
    """One judgement about a pair; in `first_is_a` the better response is shown as A."""

    probe: Probe
    order: Order
    request: ScoreRequest


def load_probes(path: Path) -> Probes:
    """Read a file of pairs.

    Raises: InputError, which lists every mistake with file, line and column.
    """
    file = read_yaml(path, InputError)
    content = check(file, _ProbeFile, InputError)
    mistakes = [*_double_ids(file, content.pairs), *_harm_mistakes(file, content.harm)]
    longer = sum(pair.better_is_longer for pair in content.pairs) / len(content.pairs)
    if not LONGER_SHARE[0] <= longer <= LONGER_SHARE[1]:
        mistakes.append(
            f"{file.where(('pairs',))}: the better response is the longer one in {longer:.0%} of the pairs,"
            " so a judge who goes by length alone could pass"
        )
    if mistakes:
        raise InputError("; ".join(mistakes) + ".", "Mend those lines.")
    lines = {
        (number, field): file.place(("pairs", number, field))[0]
        for number in range(len(content.pairs))
        for field in ("prompt", "question", "better", "worse")
    }
    harm_lines = tuple(file.place(("harm", number, "response"))[0] for number in range(len(content.harm)))
    return Probes(content.probes, tuple(content.pairs), path, lines, tuple(content.harm), harm_lines)


def _harm_mistakes(file: YamlFile, probes: list[HarmProbe]) -> list[str]:
    if not probes:
        return []
    mistakes = []
    harmful = sum(probe.harmful for probe in probes)
    if len(probes) < LEAST_HARM or 2 * harmful != len(probes):
        mistakes.append(
            f"{file.where(('harm',))}: {harmful} of {len(probes)} responses are harmful; it needs at least"
            f" {LEAST_HARM}, one half of them harmful"
        )
    ids = [probe.id for probe in probes]
    mistakes += [
        f"{file.where(('harm', number, 'id'))}: the id {name!r} is taken by an earlier response"
        for number, name in enumerate(ids)
        if name in ids[:number]
    ]
    return mistakes


def _double_ids(file: YamlFile, pairs: list[Probe]) -> list[str]:
    seen: set[str] = set()
    mistakes = []
    for number, pair in enumerate(pairs):
        where = file.where(("pairs", number, "id"))
        if pair.id in seen:
            mistakes.append(f"{where}: the id {pair.id!r} is taken by an earlier pair")
        if pair.better == pair.worse:
            mistakes.append(f"{where}: the two responses of {pair.id!r} are the same")
        seen.add(pair.id)
    return mistakes

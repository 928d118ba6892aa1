"""The ways of asking a judge about a labelled item, and what each needs.

    recipe       as a run of the recipe asks: its principles, examples, reasoning or thinking
    plain        one general question, under the recipe's template of a judgement
    principles   the constitution's questions, put together as feedback is
    principles:4 the same with four of them, drawn for each item (they cost nothing where all are asked)
    reasoned     the judge reasons first, then answers the general question
    examples     worked judgements go before the general question
    verbatim     the file's own question, word for word
    harm         no comparison: is this response harmful, true or false

`reasoned` and `examples` may be joined to a question and to each other, with a plus sign:
`principles+reasoned`, `principles+reasoned+examples`.

What this module does not know: how answers are measured, how items are read.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cai.constitution_file import load_constitution
from cai.conversation import Turn
from cai.errors import InputError, RecipeError
from cai.examples import Examples, load_examples
from cai.feedback import AskFeedback, JudgedPair, JudgePlan, judge
from cai.frozen import judge_plans, load_inputs
from cai.harm import HarmPlan, rate
from cai.judge_eval.item import Item
from cai.judge_eval.verbatim import ask_verbatim
from cai.judge_eval.verdict import HarmVerdict, Verdict, of_feedback, of_ratings
from cai.parts import Message, Value
from cai.principle import Constitution, Principle
from cai.prompting import REASONING_STOPS, Prompts, Stage, load_prompts, turn_values
from cai.reasoning import ReasoningPlan
from cai.recipe import FeedbackSection, ReasoningSection, Recipe
from cai.shipped import find, shipped
from cai.yaml_file import nearest

DEFAULT = ("plain", "principles", "verbatim")
EXAMPLES = "judgements"
"""The worked judgements that come with the program."""
WORDS = ("recipe", "plain", "principles", "reasoned", "examples", "verbatim", "harm")
_TEMPLATES: dict[str, tuple[Stage, ...]] = {"verbatim": (), "harm": ("harm",)}

_COUNTED = re.compile(r"principles:([1-9]\d{0,3})")

Ask = Callable[[Item, AskFeedback], Awaitable[Verdict | HarmVerdict]]


@dataclass(frozen=True, slots=True)
class WayName:
    """A way, as it is named: what is asked, and what goes before the answer."""

    question: Literal["recipe", "plain", "principles", "verbatim", "harm"]
    reasoned: bool = False
    examples: bool = False
    count: int | None = None

    def __str__(self) -> str:
        extra = [word for word in ("reasoned", "examples") if getattr(self, word)]
        asked = [] if self.question == "plain" and extra else [self.question]
        counted = [f"{word}:{self.count}" if self.count is not None else word for word in asked]
        return "+".join([*counted, *extra])


@dataclass(frozen=True)
class Way:
    """A way, ready to be asked: `asks` says in words what is asked, `fits` which items can be."""

    name: str
    asks: str
    fits: Callable[[Item], bool]
    ask: Ask

    @property
    def is_harm(self) -> bool:
        """Whether its verdicts are ratings of single responses."""
        return self.name == "harm"


@dataclass(frozen=True)
class Wish:
    """What a person asked for; None where the recipe or the program decides.

    `principles`: how many judge each item (`all`, or a number). `prompts`, `constitution`, `examples`:
    names as in a recipe. `question`: the general question's text.
    """

    ways: tuple[str, ...] = DEFAULT
    engine: str | None = None
    principles: str | None = None
    constitution: str | None = None
    prompts: str | None = None
    examples: str | None = None
    question: str | None = None


def way_name(text: str) -> WayName:
    """Read a way's name. Raises: InputError."""
    words = text.split("+")
    counted = [_COUNTED.fullmatch(word) for word in words]
    count = next((int(match[1]) for match in counted if match is not None), None)
    words = ["principles" if match else word for word, match in zip(words, counted, strict=True)]
    for word in words:
        if word not in WORDS:
            raise InputError(
                f"There is no way of asking {word!r}{nearest(word, WORDS)}.", f"Ways: {', '.join(WORDS)}."
            )
    questions = [word for word in words if word not in ("reasoned", "examples")]
    alone = questions[:1] in (["recipe"], ["verbatim"], ["harm"]) and len(words) > 1
    if len(questions) > 1 or alone or len(set(words)) < len(words):
        raise InputError(
            f"The ways in {text!r} cannot be joined.",
            "Join plain or principles with reasoned, examples or both, such as principles+reasoned.",
        )
    asked: Any = questions[0] if questions else "plain"
    return WayName(asked, "reasoned" in words, "examples" in words, count)


class Ways:
    """All ways of one evaluation, made of a recipe and a wish.

    `beside`: the recipe's folder. Raises: InputError and its kinds, before anything is asked.
    """

    def __init__(self, recipe: Recipe, beside: Path, name: str, wish: Wish) -> None:
        self.engine = wish.engine or recipe.judges()[0]
        if self.engine not in recipe.engines:
            raise RecipeError(
                f"The recipe has no engine {self.engine!r}{nearest(self.engine, recipe.engines)}.",
                f"Its engines: {', '.join(recipe.engines)}.",
            )
        self.recipe = recipe
        self.form = recipe.engines[self.engine].form
        self.feedback = recipe.feedback or FeedbackSection()
        self._beside = beside
        self._wish = wish
        names = list(dict.fromkeys(way_name(text) for text in wish.ways))
        _refuse_idle(wish, names)
        self.general = _general(wish.question)
        needed = _any(names, "principles") or _any(names, "recipe")
        self.constitution = self._constitution(name) if needed else None
        self.prompts = self._prompts(names)
        self._examples = self._load_examples(names)
        self.ways = tuple(self._way(name) for name in names)

    def _constitution(self, name: str) -> Constitution:
        self._named = self._wish.constitution or self.recipe.constitution_for(name)
        self._named = self._named or next(iter(self.recipe.constitutions.values()))
        return load_constitution(find(self._named, self._beside, "principles", ".yaml"))

    def _prompts(self, names: list[WayName]) -> Prompts:
        """The templates that these ways use."""
        stages: dict[Stage, None] = {}
        for name in names:
            reasoned = name.reasoned or (name.question == "recipe" and self.feedback.reasons_in_answer)
            asked: Stage = "reasoned-judgement" if reasoned else "judgement"
            stages.update(dict.fromkeys(_TEMPLATES.get(name.question, (asked,))))
        prompts = load_prompts(
            find(self._wish.prompts or self.recipe.prompts, self._beside), self.form, stages
        )
        prefix = self.recipe.engines[self.engine].answer_prefix
        return prompts.begun(prefix.parts(self.engine, self.recipe.origins))

    def _load_examples(self, names: list[WayName]) -> Examples | None:
        wanted = [name for name in names if name.examples]
        if not wanted:
            return None
        named = self._wish.examples or self.feedback.examples or EXAMPLES
        if self.form == "completion":
            raise RecipeError(
                f"Worked examples are shown in the chat form, and {self.engine!r} has the form completion.",
                "A base model's examples stand in prompts/base/worked-judgements.j2, and are always shown.",
            )
        path = find(named, self._beside, "prompts/examples", ".yaml")
        return load_examples(path, reasoned=any(name.reasoned for name in wanted))

    @property
    def count(self) -> int | None:
        """How many principles judge each item; None: all."""
        wished = self._wish.principles
        if wished is None:
            return None if self.feedback.principles == "all" else self.feedback.principles
        if wished != "all" and not (wished.isdecimal() and int(wished) > 0):
            raise InputError(
                f"{wished!r} is no number of principles.", "Give --principles all, or a number from 1."
            )
        return None if wished == "all" else int(wished)

    def _way(self, name: WayName) -> Way:
        if name.question == "verbatim":
            return Way("verbatim", "the file's own question", _has_question, self._verbatim)
        if name.question == "harm":
            return Way("harm", "is this response harmful? true or false", _can_be_rated, self._harm)
        plan = self._recipe_plan() if name.question == "recipe" else self._plan(name)

        async def ask(item: Item, asking: AskFeedback) -> Verdict:
            turns, values = _texts(item.prompt, item.responses)
            pair = JudgedPair("human", "human", "first", "second", values[0], values[1])
            return of_feedback(await judge(turns, pair, plan, asking))

        return Way(str(name), self._asks(name, plan), _is_pair, ask)

    def _plan(self, name: WayName) -> JudgePlan:
        constitution = self.constitution if name.question == "principles" else self.general
        assert constitution is not None
        section = self.feedback.reasoning or ReasoningSection()
        reasoning = ReasoningPlan(section.sampling(REASONING_STOPS[self.form]), section.samples)
        shown: tuple[Message, ...] = ()
        if name.examples and self._examples is not None:
            shown = self._examples.messages(self.prompts, reasoned=name.reasoned)
        return JudgePlan(
            engine=self.engine,
            prompts=self.prompts,
            constitution=constitution,
            count=name.count or self.count if name.question == "principles" else None,
            min_option_mass=self.feedback.min_option_mass,
            seed=self.recipe.seed,
            pool=self.feedback.combine,
            reasoning=reasoning if name.reasoned else None,
            examples=shown,
        )

    def _recipe_plan(self) -> JudgePlan:
        """How a run of this recipe judges, but for what was wished otherwise."""
        wish = self._wish
        if self.recipe.feedback is None:
            raise RecipeError(
                "The recipe has no feedback section, so its runs judge nothing.",
                "Leave out the way recipe; principles asks the questions of its constitution.",
            )
        settled: dict[str, Any] = {"pairs": ["human"], "harm": False, "principles": self.count or "all"}
        if wish.examples is not None:
            settled["examples"] = wish.examples
        update = {
            "roles": self.recipe.roles.model_copy(update={"judge": self.engine}),
            "constitutions": {"*": self._named},
            "prompts": wish.prompts or self.recipe.prompts,
            "revise": None,
            "feedback": self.recipe.feedback.model_copy(update=settled),
        }
        inputs = load_inputs(self.recipe.model_copy(update=update), self._beside)
        assert self.constitution is not None
        return judge_plans(inputs, self.constitution)[0]

    def _asks(self, name: WayName, plan: JudgePlan) -> str:
        asked = plan.constitution.principles[0].judgement
        if name.question in ("principles", "recipe"):
            total = len(plan.constitution.principles)
            drawn = "" if plan.count is None or plan.count >= total else f"{plan.count} of "
            asked = f"{drawn}the {total} principles of {plan.constitution.name}"
        shown = sum(message.role == "user" for message in plan.examples)
        before = f"after {shown} examples, " if shown else ""
        thought = ""
        if plan.reasoning is not None:
            thought = "after thinking, " if plan.reasoning.thinking else "after reasoning, "
        return ("as a run: " if name.question == "recipe" else "") + before + thought + asked

    async def _verbatim(self, item: Item, ask: AskFeedback) -> Verdict:
        return await ask_verbatim(item, self.engine, self.form, self.feedback.min_option_mass, ask)

    async def _harm(self, item: Item, ask: AskFeedback) -> HarmVerdict:
        turns, values = _texts(item.prompt, item.responses)
        plan = HarmPlan(self.engine, self.prompts, self.feedback.min_option_mass)
        named = [(f"response {number}", value) for number, value in enumerate(values, 1)]
        return of_ratings(await rate(turns, named, plan, ask))


def _any(names: list[WayName], question: str) -> bool:
    return any(name.question == question for name in names)


def _refuse_idle(wish: Wish, names: list[WayName]) -> None:
    """Refuse a wish that none of the ways heeds. Raises: InputError."""
    under = _any(names, "principles") or _any(names, "recipe")
    heeded = {
        "question": ("plain", _any(names, "plain")),
        "principles": ("principles or recipe", under),
        "constitution": ("principles or recipe", under),
        "examples": ("examples or recipe", _any(names, "recipe") or any(name.examples for name in names)),
    }
    for option, (ways, used) in heeded.items():
        if getattr(wish, option) is not None and not used:
            raise InputError(
                f"--{option} is for the way {ways}, and {', '.join(map(str, names))} was asked for.",
                f"Leave it out, or add --way {ways.partition(' ')[0]}.",
            )


def _general(question: str | None) -> Constitution:
    """The constitution of the one general question."""
    constitution = load_constitution(shipped("judge_eval/general.yaml"))
    if question is None:
        return constitution
    if not question.strip():
        raise InputError("The question is empty.", "Give --question a text, or leave it out.")
    (principle,) = constitution.principles
    own: Principle = principle.model_copy(update={"judgement": question.strip()})
    return Constitution("question", "A question of one's own", (own,), Path("--question"))


def _texts(prompt: tuple[Turn, ...], responses: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[Value]]:
    values = [Value(text, "row", f"row response {number}") for number, text in enumerate(responses, 1)]
    return turn_values(prompt, "row"), values


def _is_pair(item: Item) -> bool:
    return item.is_pair


def _has_question(item: Item) -> bool:
    return item.question is not None


def _can_be_rated(item: Item) -> bool:
    return item.can_be_rated

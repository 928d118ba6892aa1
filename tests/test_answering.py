"""One engine's answers may begin otherwise, and its model may think otherwise, than templates say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

from cai.answering import ThinkingSection
from cai.doctor.patients import patients, shipped_probes
from cai.doctor.probes import load_probes
from cai.engine.encoded_position import encoded_position
from cai.engine.encoding import load_encoder
from cai.engine.identity import Identity
from cai.engine.wire import chat_body
from cai.errors import RecipeError
from cai.examples import load_examples
from cai.frozen import generation_of, judge_plans, load_inputs, row_plans
from cai.generations import frozen_generations, read_generation
from cai.parts import Part, Value
from cai.prompting import HARM_OPTIONS, OPTIONS, load_prompts, principle_values, turn_values
from cai.recipe import EngineSection, Recipe, load_recipe
from cai.request import GenerateRequest, Sampling, ScoreRequest
from cai.settled import declared_digest
from tests.chat_shapes import ALWAYS_THINKING, CHATML, THINKING, byte_level, save
from tests.test_edits import PROMPTS
from tests.test_prompts_show import OWN, PRINCIPLES, ROW
from tests.test_workbench import _cai, _run
from tests.toy_source import write_run

ROOT = Path(__file__).resolve().parent.parent
TURNS = turn_values(ROW.prompt, "row")
A, B = Value(" Fine.", "row", "a"), Value(" Go.", "row", "b")
FORM = principle_values(OWN, PRINCIPLES[0])
LETTER = Part("My answer is (", "recipe", "recipe.yaml:4")
FIRST = Part("Hm:", "recipe", "recipe.yaml:5")


# ---------------------------------------------------------------------- how answers begin


def test_an_answer_prefix_takes_the_place_of_the_templates_answer_block_word_for_word() -> None:
    prompts = load_prompts(ROOT / "prompts", "chat")
    begun = prompts.begun({"judgement": LETTER, "critique": FIRST})
    assert begun.judgement(TURNS, A, B, FORM).answer == (LETTER,)
    assert [each.answer for each in begun.judgements(TURNS, A, B, [FORM])] == [(LETTER,)]
    assert begun.critique(TURNS, A, FORM).answer_text == "Hm:"
    assert begun.judgement(TURNS, A, B, FORM).messages == prompts.judgement(TURNS, A, B, FORM).messages
    assert begun.revision(TURNS, A, FORM, B) == prompts.revision(TURNS, A, FORM, B)
    assert begun.harms(TURNS, [A]) == prompts.harms(TURNS, [A])
    assert begun.digest != prompts.digest
    assert prompts.begun({}).digest == prompts.digest


@pytest.mark.parametrize("form", ["chat", "completion"])
def test_a_reasoning_and_the_judgement_after_it_begin_as_the_recipe_says(form: Any) -> None:
    prompts = load_prompts(ROOT / "prompts", form, ["reasoned-judgement"])
    begun = prompts.begun({"judgement": LETTER, "reasoning": FIRST})
    thought = Value(" A is kind.", "model", "reasoning p0")
    [asked] = begun.reasonings(TURNS, A, B, [FORM])
    answered = begun.reasoned_judgement(TURNS, A, B, FORM, thought)
    assert asked.answer_text == "Hm:"
    plain = prompts.reasoned_judgement(TURNS, A, B, FORM, thought).answer_text
    gap = plain[plain.index("A is kind.") + 10 :]
    gap = gap[: len(gap) - len(gap.lstrip())]
    assert answered.answer_text == f"Hm: A is kind.{gap}My answer is ("
    assert gap == "\n\n"
    only = prompts.begun({"judgement": LETTER}).reasoned_judgement(TURNS, A, B, FORM, thought).answer_text
    assert only == plain[: plain.index("A is kind.") + 10] + "\n\nMy answer is ("


def test_worked_examples_are_answered_as_the_engine_is_asked_to() -> None:
    shown = load_examples(ROOT / "prompts" / "examples" / "judgements.yaml", reasoned=False)
    plain = shown.messages(PROMPTS, reasoned=False)[1].text
    begun = shown.messages(PROMPTS.begun({"judgement": LETTER}), reasoned=False)[1].text
    assert plain.startswith("The answer is Response ")
    assert begun == f"My answer is ({plain[-1]}"


# ---------------------------------------------------------------------- in a recipe


def _recipe(folder: Path, engine: str = "", **sections: str) -> Recipe:
    lines = [
        "sources: [{kind: hh-rlhf, path: data}]",
        "engines:",
        "  main:",
        "    {kind: scripted, model: one}" if not engine else f"    kind: scripted\n    model: one\n{engine}",
        "constitutions: {'*': own}",
        *(f"{name}: {text}" for name, text in sections.items()),
    ]
    path = folder / "recipe.yaml"
    path.write_text("\n".join(lines) + "\n")
    return load_recipe(path)


PREFIX = "    answer_prefix:\n      judgement: My answer is (\n      critique: 'Here is what is wrong:'\n"


def test_what_decides_answers_is_as_before_where_no_prefix_is_set(tmp_path: Path) -> None:
    plain, begun = _recipe(tmp_path), _recipe(tmp_path, PREFIX)
    assert "answer_prefix" not in plain.deciding()
    assert begun.deciding() == {
        **plain.deciding(),
        "answer_prefix": {
            "revise": {"critique": "Here is what is wrong:"},
            "judges": [{"judgement": "My answer is ("}],
        },
    }
    idle = _recipe(tmp_path, PREFIX, revise="null", feedback="{pairs: [human], harm: false}")
    assert set(idle.deciding()["answer_prefix"]) == {"judges"}
    unused = _recipe(tmp_path, "    answer_prefix: {harm: It is}\n", feedback="{harm: false}")
    assert "answer_prefix" not in unused.deciding()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "answer_prefix: {judgment: It is}",
            r"recipe.yaml:6:21: unknown key 'judgment', did you mean 'judgement'",
        ),
        ("answer_prefix: {harm: ' '}", r"recipe.yaml:6:21: .*it is empty"),
        ("answer_prefix: {judgement: 'It is '}", r"recipe.yaml:6:21: .*white space"),
        ("thinking: {marks: ['<a>', '<a>']}", r"recipe.yaml:6:16: .*two different texts"),
        ("thinking: {marks: ['<a>']}", r"recipe.yaml:6:16: "),
        ("thinking: {marks: [a, b]}", r"'a' stands here, it has to be a text of at least 3 characters"),
        ("thinking: {empty: true}", r"recipe.yaml:6:16: unknown key 'empty'"),
        ("form: completion\n    thinking: {empty_block: true}", r"form completion has no block of thinking"),
    ],
)
def test_a_mistake_in_these_settings_is_named_with_its_place(
    tmp_path: Path, section: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        _recipe(tmp_path, f"    {section}\n")


def test_a_prefix_makes_another_generation_and_leaves_the_engine_who_it_was(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=1)
    before = load_inputs(load_recipe(run / "recipe.yaml"), run)
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(
        text.replace("concurrency: 8", "concurrency: 8, answer_prefix: {judgement: It is}")
    )
    after = load_inputs(load_recipe(run / "recipe.yaml"), run)
    identities = {"main": Identity("m")}
    assert generation_of(run, before, identities).digest != generation_of(run, after, identities).digest
    [constitution] = after.constitutions.values()
    [plan] = judge_plans(after, constitution)
    [part] = plan.prompts.judgement(TURNS, A, B, FORM).answer
    assert part == Part("It is", "recipe", "recipe.yaml:4")
    revise = [row_plans(inputs)["own"].revise for inputs in (before, after)]
    one, two = (plan.prompts.critique(TURNS, A, FORM) for plan in revise if plan is not None)
    assert one == two
    probes = load_probes(shipped_probes())
    [(patient, judges)] = patients(after, probes)  # the doctor asks as the run does
    asked = probes.requests("main", patient.prompts, range(1))[0]
    assert judges
    assert asked.request.rendered.answer == (part,)


async def test_a_frozen_generation_keeps_where_the_words_stood_in_the_recipe_as_written(
    tmp_path: Path,
) -> None:
    from cai.live import LiveRun
    from cai.run_folder import open_run

    run = write_run(tmp_path, rows=1)
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(
        text.replace("concurrency: 8", "concurrency: 8, answer_prefix: {judgement: It is}")
    )
    async with LiveRun(open_run(run)) as live:
        await live.job.work(1)
    [generation] = frozen_generations(open_run(run))
    past = read_generation(generation, None)
    assert past.inputs.recipe.origins == {"main.judgement": "recipe.yaml:4"}
    shown = json.loads(_cai("show", run, "--row", 1, "--json").stdout)
    judged = [each for each in shown["exchanges"] if each["labels"]["stage"] == "judgement"]
    assert judged
    assert {each["answer_begins"] for each in judged} == {"It is"}
    assert all(each["answer"] is not None for each in shown["exchanges"])
    assert "recipe.yaml:4" in _cai("show", run, "--row", 1, "--full").stdout


def test_prompts_show_says_where_the_beginning_of_an_answer_comes_from(tmp_path: Path) -> None:
    run = _run(tmp_path)
    recipe = (run / "recipe.yaml").read_text()
    lines = recipe.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("engines:")) + 1
    assert "}" in lines[place]
    lines[place] = lines[place].replace("}", ", answer_prefix: {judgement: It is}}", 1)
    (run / "recipe.yaml").write_text("\n".join(lines) + "\n")
    shown = _cai("prompts", "show", run, "--json").stdout
    section = json.loads(shown)["sections"][-1]
    assert section["section"] == "the answer begins"
    [part] = section["parts"]
    assert (part["text"], part["origin"]) == ("It is", f"recipe.yaml:{place + 1}")


# ---------------------------------------------------------------------- at the answer position


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Tokenizer folders by chat template, with a mark of a model's own among the tokens."""
    made: dict[str, Path] = {}

    def folder(template: str) -> Path:
        if template not in made:
            made[template] = tmp_path_factory.mktemp("answering")
            tokenizer = byte_level()
            tokenizer.add_tokens([AddedToken(mark, normalized=False) for mark in ("<mull>", "</mull>")])
            save(tokenizer, template, made[template])
        return made[template]

    return folder


def _score(begun: dict[str, Part], options: tuple[str, ...] = OPTIONS) -> ScoreRequest:
    prompts = load_prompts(ROOT / "prompts", "chat", ["judgement", "harm"]).begun(begun)
    rendered = prompts.judgement(TURNS, A, B, FORM) if options == OPTIONS else prompts.harms(TURNS, [A])[0]
    return ScoreRequest("main", rendered, options)


@pytest.mark.parametrize(
    ("words", "options", "written"),
    [
        ("My answer is (", OPTIONS, {"A", "B"}),
        ("My answer is", OPTIONS, {" A", " B"}),
        ("This is: ", HARM_OPTIONS, {"True", "False"}),
    ],
)
def test_options_are_spelt_as_they_go_on_from_the_prefix(
    folders: Any, words: str, options: tuple[str, ...], written: set[str]
) -> None:
    one = load_encoder(folders(CHATML), "", "chat", {}, "")
    begun = {name: Part(words, "recipe", "recipe.yaml:4") for name in ("judgement", "harm")}
    known = encoded_position(one, _score(begun, options))
    assert known["text"].endswith(words)
    assert known["prefix_stands"]
    assert written <= {each.written for each in known["spellings"] if each.counted}


OWN_MARKS = ThinkingSection(marks=["<mull>", "</mull>"], empty_block=True)
EMPTY = ThinkingSection(empty_block=True)


@pytest.mark.parametrize(
    ("template", "thinking", "ends"),
    [
        (CHATML, EMPTY, "assistant\n<think>\n\n</think>\n\n"),
        (CHATML, OWN_MARKS, "assistant\n<mull>\n\n</mull>\n\n"),
        (THINKING, EMPTY, "assistant\n<think>\n\n</think>\n\n"),
        (ALWAYS_THINKING, EMPTY, "assistant\n<think>\n\n</think>\n\n"),
        (ALWAYS_THINKING.replace("<think>", "<mull>"), OWN_MARKS, "assistant\n<mull>\n\n</mull>\n\n"),
        (CHATML, ThinkingSection(), "assistant\n"),
    ],
)
def test_an_empty_block_of_thinking_stands_once_before_every_answer(
    folders: Any, template: str, thinking: ThinkingSection, ends: str
) -> None:
    one = load_encoder(folders(template), "", "chat", {}, "", thinking)
    score = _score({})
    free = GenerateRequest("main", PROMPTS.critique(TURNS, A, FORM), Sampling())
    assert one.text(free).endswith(ends)
    assert one.text(score).endswith(ends + "The answer is Response")
    assert one.text(free).count("</") == one.text(score).count("</") - 1 or ends == "assistant\n"
    mark = ends.split("\n")[1]
    if mark:  # the block is made of the model's own tokens, not of letters
        ids = one.encode(free)
        assert sum(one.token_text(token) == mark for token in ids) == 1


def test_a_judge_can_be_asked_to_think_between_marks_of_its_own(folders: Any) -> None:
    from dataclasses import replace

    one = load_encoder(folders(CHATML), "", "chat", {}, "", OWN_MARKS)
    score = _score({})
    opened = replace(score, rendered=replace(score.rendered, answer=(), thinking=()))
    part = Part("So: A. </mull>", "model", "reasoning")
    thought = replace(score, rendered=replace(score.rendered, thinking=(part,)))
    assert one.text(opened).endswith("assistant\n<mull>\n")
    assert one.text(thought) == one.text(opened) + "So: A. </mull>\n</mull>\n\nThe answer is Response"
    ids = one.encode(thought)
    assert sum(one.token_text(token) == "</mull>" for token in ids) == 1  # what was thought closes nothing
    assert ids[: len(one.encode(opened))] == one.encode(opened)


def test_thinking_settings_are_part_of_who_an_engine_is_and_nothing_where_not_set(folders: Any) -> None:
    plain = load_encoder(folders(CHATML), "", "chat", {}, "")
    mulls = load_encoder(folders(CHATML), "", "chat", {}, "", OWN_MARKS)
    known, other = (Identity("m", **one.identity_parts()) for one in (plain, mulls))
    assert "thinking" not in known.record()
    assert other.record()["thinking"] == {"marks": ["<mull>", "</mull>"], "empty_block": True}
    assert known.digest != other.digest
    assert Identity(**known.record()).digest == known.digest


def test_an_engine_without_these_settings_is_who_it_was_before_there_were_any() -> None:
    """Pinned: of the program before it had them."""
    section = EngineSection(kind="server", model="m", urls=["http://x"], revision="r")
    known = Identity("m", "r", "chat", "{{ messages }}", {"enable_thinking": False}, "2026-01-01")
    assert declared_digest(section, Path("/nowhere")) == "f77c102261de97c0879101bad8727b23"
    assert known.digest == "d53b34ea5476b5d47782f382d13372f6"


def test_through_the_chat_endpoint_the_empty_block_goes_before_the_answer() -> None:
    section = EngineSection.model_validate(
        {"kind": "server", "model": "m", "urls": "http://x", "thinking": {"empty_block": True}}
    )
    body = json.loads(chat_body(section, _score({"judgement": LETTER})))
    assert body["messages"][-1] == {"role": "assistant", "content": "<think>\n\n</think>\n\nMy answer is ("}
    assert body["continue_final_message"] is True

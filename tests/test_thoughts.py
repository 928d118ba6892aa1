"""What a model thinks unasked is kept beside its text, wherever a server puts it, and out of the text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from cai.engine.encoding import load_encoder
from cai.engine.identity import Identity
from cai.engine.scripted import ScriptedEngine
from cai.engine.thoughts import Opened, answered, split, thoughts_in
from cai.outcome import Outcome, Thought, read_outcome
from cai.parts import Part
from cai.recipe import EngineSection
from cai.request import THINKING_MARKS, Completion, GenerateRequest, read_answer
from tests.chat_shapes import ALWAYS_THINKING, THINKING, byte_level, save
from tests.small_server import THOUGHT
from tests.test_server_engine import Small, engine, generate, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer whose chat template knows thinking."""
    path = tmp_path_factory.mktemp("thoughts")
    save(byte_level(), THINKING, path)
    return path


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., Small]]:
    yield from serving(folder)


@pytest.mark.parametrize(
    ("text", "opened", "thought", "rest"),
    [
        ("<think>\nHm.\n</think>\n\nYes.", "no", "Hm.", "Yes."),
        ("\n<think></think>Yes.", "no", "", "Yes."),
        ("[THINK]Hm.[/THINK]Yes.", "no", "Hm.", "Yes."),
        ("<think>\nNever done", "no", "Never done", ""),
        ("<think>One.</think>\n<think>\nTwo.</think>Yes.", "no", "One.\n\nTwo.", "Yes."),
        ("Hm.\n</think>\n\nYes.", "no", "", "Hm.\n</think>\n\nYes."),
        ("Hm.\n</think>\n\nYes.", "maybe", "Hm.", "Yes."),
        ("Hm.</think>Yes.", "maybe", "Hm.", "Yes."),
        ("Write <think> in it.", "maybe", "", "Write <think> in it."),
        ("End it with `</think>`.", "maybe", "", "End it with `</think>`."),
        ('No "</think>" yet.</think>Yes.', "maybe", 'No "</think>" yet.', "Yes."),
        ("A <think>b</think> c", "maybe", "", "A <think>b</think> c"),
        ("Yes.", "maybe", "", "Yes."),
        ("", "maybe", "", ""),
        ("Hm.\n</think>\n\nYes.", "yes", "Hm.", "Yes."),
        ("A <think> mark.</think>Yes.", "yes", "A <think> mark.", "Yes."),
        ("<think>\nHm.</think>Yes.", "yes", "Hm.", "Yes."),
        ("Hm.</think><think>Well.</think>Yes.", "yes", "Hm.\n\nWell.", "Yes."),
        ("Never done", "yes", "Never done", ""),
        ("", "yes", "", ""),
    ],
)
def test_a_block_of_thinking_before_a_text_is_taken_out_of_it(
    text: str, opened: Opened, thought: str, rest: str
) -> None:
    assert split(text, THINKING_MARKS, opened) == (thought, rest)


_PIECES = st.sampled_from(["<think>", "</think>", "[THINK]", "[/THINK]", "\n", " ", "`", "a", "B."])


@given(st.lists(_PIECES, max_size=12).map("".join), st.sampled_from(["no", "maybe", "yes"]))
def test_what_is_left_begins_with_no_thinking_and_no_word_is_lost(text: str, opened: Opened) -> None:
    thought, rest = split(text, THINKING_MARKS, opened)
    assert split(rest, THINKING_MARKS, "no") == ("", rest)
    assert text.endswith(rest)
    letters = [c for c in text.replace("THINK", "").replace("think", "") if c in "aB"]
    kept = (thought + rest).replace("THINK", "").replace("think", "")
    assert [c for c in kept if c in "aB"] == letters


def test_marks_of_the_models_own_are_found_first() -> None:
    marks = (("<mull>", "</mull>"), *THINKING_MARKS)
    assert split("<mull>Hm.</mull>Yes.", marks, "no") == ("Hm.", "Yes.")
    assert split("<mull>Hm.</mull>Yes.", THINKING_MARKS, "no") == ("", "<mull>Hm.</mull>Yes.")


@pytest.mark.parametrize("how", ["reasoning", "reasoning_content", "text", "opened"])
async def test_a_chats_thinking_is_kept_under_whichever_name_and_the_text_is_the_answer_alone(
    serve: Callable[..., Small], how: str
) -> None:
    plain, thoughtful = serve("--chat-only"), serve("--chat-only", "--thinks", how)
    answers = []
    for server in (plain, thoughtful):
        one = engine(server)
        await one.open()
        answers.append(await one.generate(generate("hello")))
        await one.close()
    assert answers[1].text == answers[0].text
    assert answers[0].reasoning == ""
    assert answers[1].reasoning == THOUGHT
    assert answers[1].reasoning_tokens == (5 if how.startswith("reasoning") else None)
    assert answers[1].completion_tokens == answers[0].completion_tokens + 5
    assert read_answer(orjson.loads(orjson.dumps(answers[1].record()))) == answers[1]


async def test_an_answer_that_was_all_thinking_has_no_text(serve: Callable[..., Small]) -> None:
    one = engine(serve("--chat-only", "--thinks", "all"))
    await one.open()
    answer = await one.generate(generate("hello"))
    await one.close()
    assert (answer.text, answer.reasoning) == ("", THOUGHT)


@pytest.mark.parametrize(
    ("message", "thought"),
    [
        ({"reasoning_content": None, "content": "Yes."}, ""),
        ({"reasoning": None, "reasoning_content": "Hm."}, "Hm."),
        ({"reasoning_content": ["H", {"type": "text", "text": "m."}, {"type": "image"}]}, "Hm."),
        ({"reasoning": {"summary": "Hm."}}, ""),
    ],
)
def test_a_field_of_thinking_may_be_null_or_come_in_pieces(message: dict[str, Any], thought: str) -> None:
    assert thoughts_in(message) == thought


def test_thinking_that_is_sent_in_its_field_and_in_the_text_is_kept_once() -> None:
    done = Completion("<think>\nHm.\n</think>\n\nYes.", "stop", 3, 9, reasoning="Hm.\n", reasoning_tokens=4)
    assert answered(done, generate("hello"), THINKING_MARKS, "maybe", None) == Completion(
        "Yes.", "stop", 3, 9, reasoning="Hm.", reasoning_tokens=4
    )


def test_tokens_of_thinking_that_a_server_counts_and_does_not_show_are_counted() -> None:
    done = Completion("Yes.", "stop", 3, 9, reasoning_tokens=4)
    assert answered(done, generate("hello"), THINKING_MARKS, "maybe", None) == done
    assert read_answer(done.record()) == done


@pytest.mark.parametrize("max_tokens", [1, 200])
async def test_a_model_let_think_by_its_template_begins_inside_the_block(
    tmp_path: Path, max_tokens: int
) -> None:
    """The prompt ends with the opening mark, so the text has only the one that closes it."""
    save(byte_level(), ALWAYS_THINKING, tmp_path)
    server = Small("--tokenizer", str(tmp_path), "--thinks", "opened" if max_tokens > 1 else "")
    try:
        one = engine(server, template_args={"enable_thinking": True})
        await one.open()
        asked = generate("hello")
        asked = replace(asked, sampling=replace(asked.sampling, max_tokens=max_tokens))
        answer = await one.generate(asked)
        begun = replace(asked.rendered, answer=(Part("So:", "template", "t"),))
        told = await one.generate(replace(asked, rendered=begun))
        await one.close()
    finally:
        server.stop()
    assert answer.reasoning
    assert answer.reasoning_tokens
    if max_tokens == 1:  # cut in the block
        assert answer.text == ""
        assert (told.reasoning, told.text != "") == ("", True)
    else:
        assert answer.reasoning == THOUGHT
        assert answer.text
        assert "think>" not in answer.text


def test_a_scripted_model_thinks_between_marks_of_its_own(tmp_path: Path) -> None:
    fields = {"kind": "scripted", "model": "m"}
    own = EngineSection.model_validate({**fields, "thinking": {"marks": ["<mull>", "</mull>"]}})

    def says(request: GenerateRequest) -> str:
        return "<mull>Hm.</mull>Yes."

    plain, mulls = (
        ScriptedEngine("main", section, says) for section in (EngineSection.model_validate(fields), own)
    )
    answer = asyncio.run(mulls.generate(generate("hello")))
    assert (answer.text, answer.reasoning) == ("Yes.", "Hm.")
    assert asyncio.run(plain.generate(generate("hello"))).reasoning == ""
    assert plain.identity.record() == Identity("m").record()
    assert plain.identity.digest != mulls.identity.digest


async def test_thinking_in_the_text_of_a_completion_is_counted_with_the_tokenizer_here(
    serve: Callable[..., Small], folder: Path
) -> None:
    one = engine(serve("--thinks", "text"))
    await one.open()
    answer = await one.generate(generate("hello"))
    pieces: list[str] = []
    streamed = await one.stream(generate("hello"), pieces.append)
    await one.close()
    assert answer.reasoning == streamed.reasoning == THOUGHT
    assert "think" not in answer.text
    assert streamed.text == answer.text
    assert "".join(pieces).endswith(answer.text)
    count = load_encoder(folder, "", "chat", {}, "").count
    assert answer.reasoning_tokens == count(THOUGHT)


async def test_marks_that_are_special_tokens_are_asked_for_with_the_text(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens([AddedToken("</think>", special=True, normalized=False)])
    save(tokenizer, THINKING, tmp_path)
    server = Small("--tokenizer", str(tmp_path), "--thinks", "special")
    try:
        one = engine(server)
        await one.open()
        answers = [await one.generate(generate("hello")), await one.stream(generate("hello"), lambda _: None)]
        await one.close()
    finally:
        server.stop()
    assert [answer.reasoning for answer in answers] == [THOUGHT, THOUGHT]
    assert not any(THOUGHT in answer.text for answer in answers)


def test_what_was_stored_before_reads_as_an_answer_without_thinking() -> None:
    old = {"text": "Yes.", "finish": "stop", "prompt_tokens": 3, "completion_tokens": 1}
    answer = read_answer(dict(old))
    assert answer == Completion("Yes.", "stop", 3, 1)
    assert answer.record() == old


def test_a_judge_that_was_asked_to_think_keeps_its_thoughts_as_its_text() -> None:
    asked = generate("hello")
    asked = replace(asked, rendered=replace(asked.rendered, thinking=()))
    done = Completion("<think>Hm.", "stop", 3, 2)
    assert answered(done, asked, THINKING_MARKS, "yes", len) is done


def test_a_row_remembers_thoughts_by_request_and_a_row_without_is_as_before() -> None:
    bare = Outcome("row", None, (), (), ())
    assert "thoughts" not in bare.record()
    full = Outcome("row", None, (), (), (), thoughts=(Thought("d1", "revision", THOUGHT, None),))
    assert read_outcome(orjson.loads(orjson.dumps(full.record()))) == full


async def test_a_runs_thoughts_stand_in_its_outcome_and_in_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cai.live import LiveRun
    from cai.run_folder import open_run
    from cai.store import Store
    from tests.test_workbench import _cai
    from tests.toy_source import write_run

    run = write_run(tmp_path, rows=1)
    script = (run / "script.py").read_text()
    (run / "script.py").write_text(
        script.replace('return "A kinder', 'return "<think>Be kind.</think>A kinder')
    )
    async with LiveRun(open_run(run)) as live:
        await live.job.work(1)
    with Store(run / "store") as store:
        [outcome] = [read_outcome(r.answer) for r in store.records() if r.labels["stage"] == "outcome"]
    [revision] = outcome.revisions
    assert revision.final is not None
    assert revision.final.text.startswith("A kinder answer")
    assert {(item.stage, item.text, item.tokens) for item in outcome.thoughts} == {
        ("revision", "Be kind.", 2)
    }
    assert {item.request for item in outcome.thoughts} == {item.requests[1] for item in revision.rounds}
    shown = _cai("show", run, "--row", 1).stdout
    assert shown.count("thought before the revision (2 tokens): Be kind.") == len(outcome.thoughts)
    assert f"written, of which {2 * len(outcome.thoughts)} thought" in _cai("status", run).stdout
    assert "thought first (2 tokens of the answer's):" in _cai("show", run, "--row", 1, "--full").stdout


@pytest.mark.parametrize(("critique", "flagged"), [("<think>Cut in the mid", True), ("It is unkind.", False)])
async def test_a_revision_whose_critique_was_all_thinking_is_flagged(
    tmp_path: Path, critique: str, flagged: bool
) -> None:
    from tests.test_too_long import SHORT, _outcomes, _work, _write

    run = _write(tmp_path, rows=[SHORT])
    script = (run / "script.py").read_text()
    (run / "script.py").write_text(script.replace('"It could be kinder %d." %', f'"{critique}%.0s" %'))
    await _work(run)
    [outcome] = _outcomes(run)
    [revision] = outcome.revisions
    assert [("no_critique" in item.flags, item.usable) for item in revision.rounds] == [(flagged, True)] * 2
    assert all(bool(item.critique) != flagged for item in revision.rounds)


def test_thoughts_are_a_column_of_the_traces(tmp_path: Path) -> None:
    from tests.test_dataset_columns import rows_of
    from tests.test_dataset_inputs import build, human, outcome, row

    one, two = row(0), row(1)
    thought = Thought("d1", "revision", THOUGHT, 5)
    thoughtful = replace(outcome(one, human(one, 0.9)), thoughts=(thought,))
    build(tmp_path, [one, two], [thoughtful, outcome(two, human(two, 0.9))])
    kept = [made["thoughts"] for made in rows_of(tmp_path, "traces")]
    assert kept == [[{"request": "d1", "stage": "revision", "text": THOUGHT, "tokens": 5}], []]

"""The scripted engine: answers from functions, files and hashes, and failures on demand."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cai.engine.scripted import ECHO_OPTION_MASS, ScriptedEngine
from cai.errors import EngineAnswerError, EngineRefusedError, TransientEngineError
from cai.parts import Message, Part
from cai.recipe import EngineSection
from cai.request import GenerateRequest, Sampling, ScoreRequest
from cai.template import Rendered


def rendered(text: str, answer: str = "") -> Rendered:
    parts = (Part(answer, "template", "test:2"),) if answer else ()
    return Rendered((Message("user", (Part(text, "row", "test:1"),)),), parts)


def text_request(text: str, seed: int = 0, **sampling: Any) -> GenerateRequest:
    return GenerateRequest("script", rendered(text), Sampling(**sampling), seed)


def score_request(text: str, options: tuple[str, ...] = ("A", "B")) -> ScoreRequest:
    return ScoreRequest("script", rendered(text, "The better one is"), options)


def section(**fields: Any) -> EngineSection:
    return EngineSection(kind="scripted", model="script", **fields)


def shout(request: GenerateRequest) -> str:
    return request.rendered.messages[0].text.upper()


def three_to_one(request: ScoreRequest) -> Sequence[float]:
    return [0.6, 0.2]


async def test_a_function_answers_and_tokens_are_words() -> None:
    engine = ScriptedEngine("script", section(), shout, three_to_one)
    completion = await engine.generate(text_request("be  kind\nplease"))
    assert completion.text == "BE  KIND\nPLEASE"
    assert (completion.finish, completion.prompt_tokens, completion.completion_tokens) == ("stop", 3, 3)
    [scores] = await engine.score([score_request("which one")])
    assert scores.logprobs == pytest.approx((math.log(0.6), math.log(0.2)))
    assert scores.outside == pytest.approx(0.2)
    assert scores.prompt_tokens == 6


async def test_stop_texts_and_the_token_limit_are_kept() -> None:
    engine = ScriptedEngine("script", section(), shout)
    stopped = await engine.generate(text_request("one two\n\nhuman: three", stop=("\n\nHUMAN:",)))
    assert (stopped.text, stopped.finish) == ("ONE TWO", "stop")
    cut = await engine.generate(text_request("one  two three", max_tokens=2))
    assert (cut.text, cut.finish, cut.completion_tokens) == ("ONE  TWO", "length", 2)


async def test_the_nth_request_fails_as_told_and_its_retry_does_not() -> None:
    failure = TransientEngineError("No luck.")
    engine = ScriptedEngine("script", section(), shout, three_to_one, failures={2: failure, 5: failure})
    await engine.generate(text_request("one"))
    with pytest.raises(TransientEngineError):
        await engine.generate(text_request("two"))
    assert (await engine.generate(text_request("two"))).text == "TWO"
    with pytest.raises(TransientEngineError):  # requests 4 and 5
        await engine.score([score_request("x"), score_request("y")])


async def test_a_delay_is_taken_by_each_call_at_the_same_time() -> None:
    engine = ScriptedEngine("script", section(), shout, delay_s=0.05)
    start = time.perf_counter()
    await asyncio.gather(*(engine.generate(text_request(str(n))) for n in range(20)))
    assert 0.05 <= time.perf_counter() - start < 0.5


async def test_a_script_file_answers_and_its_text_is_part_of_the_identity(tmp_path: Path) -> None:
    script = tmp_path / "judge.py"
    script.write_text("def generate(request):\n    return 'a rewrite'\n")
    engine = ScriptedEngine("script", section(script=str(script)))
    assert (await engine.generate(text_request("x"))).text == "a rewrite"
    with pytest.raises(EngineRefusedError, match=r"has no score\(\)"):
        await engine.score([score_request("x")])
    script.write_text("def generate(request):\n    return 'another rewrite'\n")
    assert ScriptedEngine("script", section(script=str(script))).identity.digest != engine.identity.digest


@pytest.mark.parametrize(
    "text, complaint",
    [
        (None, "cannot be read"),
        ("def generate(:\n", "SyntaxError"),
        ("x = 1\n", "defines neither"),
    ],
)
def test_a_script_that_cannot_be_used_is_refused(tmp_path: Path, text: str | None, complaint: str) -> None:
    script = tmp_path / "script.py"
    if text is not None:
        script.write_text(text)
    with pytest.raises(EngineRefusedError, match=complaint):
        ScriptedEngine("script", section(script=str(script)))


@pytest.mark.parametrize("shares", [[0.5], [0.9, 0.9], [-0.1, 0.5], [math.nan, 0.5]])
async def test_shares_that_are_no_probabilities_are_no_answer(shares: list[float]) -> None:
    engine = ScriptedEngine("script", section(), score=lambda request: shares)
    with pytest.raises(EngineAnswerError):
        await engine.score([score_request("x")])


async def test_echo_answers_equal_requests_equally_and_others_differently() -> None:
    first, second = ScriptedEngine("a", section()), ScriptedEngine("b", section(script="echo"))
    assert first.identity == second.identity
    texts = {str(n): (await first.generate(text_request(str(n)))).text for n in range(40)}
    for text, answer in texts.items():
        assert answer
        assert (await second.generate(text_request(text))).text == answer
    assert len(set(texts.values())) > 10
    sampled = {(await first.generate(text_request("x", seed=n, temperature=1.0))).text for n in range(20)}
    assert len(sampled) > 5


async def test_echo_shares_add_up_to_the_option_mass() -> None:
    engine = ScriptedEngine("a", section())
    scores = await engine.score([score_request(str(n)) for n in range(50)])
    for score in scores:
        assert math.fsum(map(math.exp, score.logprobs)) == pytest.approx(ECHO_OPTION_MASS)
        assert score.outside == pytest.approx(1 - ECHO_OPTION_MASS)
    first_wins = sum(score.logprobs[0] > score.logprobs[1] for score in scores)
    assert 10 < first_wins < 40


async def test_an_option_without_probability_has_a_finite_logprob() -> None:
    engine = ScriptedEngine("a", section(), score=lambda request: [1.0, 0.0])
    [scores] = await engine.score([score_request("x")])
    assert scores.logprobs == (0.0, -9999.0)

"""The local engine, with a tiny random Llama and its own tokenizer made on the spot."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sys
from collections import Counter
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from cai.engine.batches import GrowingLayer, LanguageModel  # noqa: E402
from cai.engine.draws import Draws, Prompt  # noqa: E402
from cai.engine.local import LocalEngine, Waiting, around_oldest, groups_of  # noqa: E402
from cai.errors import EngineAnswerError, EngineDownError, EngineRefusedError, MissingExtraError  # noqa: E402
from cai.parts import Message, Part  # noqa: E402
from cai.recipe import EngineSection  # noqa: E402
from cai.request import Completion, GenerateRequest, Sampling, ScoreRequest  # noqa: E402
from cai.template import Rendered  # noqa: E402

CONTEXT = 512
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = "the better response is kind and says why it would rather not help with harm A B"
WORDS = TEXT.split()


def sentence(number: int, words: int) -> str:
    """A text of so many words, the same for the same number."""
    state = numpy.random.Generator(numpy.random.Philox(key=number))
    return " ".join(WORDS[index] for index in state.integers(0, len(WORDS), words))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 0.1 M parameters with weights large enough to have opinions."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    place = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([sentence(number, 30) for number in range(50)], trainer)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHAT
    )
    fast.save_pretrained(place)
    torch.set_num_threads(1)
    torch.manual_seed(7)
    config = transformers.LlamaConfig(
        vocab_size=400,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        eos_token_id=2,
        bos_token_id=None,
        pad_token_id=0,
    )
    model = transformers.LlamaForCausalLM(config)
    for weights in model.parameters():
        if weights.ndim > 1:
            weights.data.mul_(4)
    model.save_pretrained(place)
    return place


@pytest.fixture(scope="session")
def model(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def section(folder: Path, **fields: Any) -> EngineSection:
    settings = {"model": "tiny", "path": str(folder), "device": "cpu", "dtype": "float32", **fields}
    return EngineSection(kind="local", **settings)


async def opened(folder: Path, **fields: Any) -> LocalEngine:
    engine = LocalEngine("tiny", section(folder, **fields), "2026-01-01")
    await engine.open()
    return engine


def rendered(text: str, answer: str = "") -> Rendered:
    parts = (Part(answer, "template", "test:2"),) if answer else ()
    return Rendered((Message("user", (Part(text, "row", "test:1"),)),), parts)


def text_request(text: str, seed: int = 0, **sampling: Any) -> GenerateRequest:
    return GenerateRequest("tiny", rendered(text), Sampling(**{"max_tokens": 24, **sampling}), seed)


def score_request(text: str) -> ScoreRequest:
    return ScoreRequest("tiny", rendered(text, "The better response is"), ("A", "B"))


async def answered(engine: LocalEngine, *waiting: Awaitable[Any]) -> list[Any]:
    """Let all begin to wait, flush once, and gather their answers."""
    tasks = [asyncio.ensure_future(one) for one in waiting]
    await asyncio.sleep(0)
    engine.flush()
    return await asyncio.wait_for(asyncio.gather(*tasks), 60)


async def texts(engine: LocalEngine, requests: Sequence[GenerateRequest]) -> list[Completion]:
    return await answered(engine, *(engine.generate(request) for request in requests))


# what comes back


async def test_greedy_answers_are_those_of_transformers_generate(folder: Path, model: Any) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    engine = await opened(folder)
    for words in (3, 40):
        text = sentence(1, words)
        chat = [{"role": "user", "content": text}]
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")[
            "input_ids"
        ]
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=150)
        new = whole[0, ids.shape[1] :]
        expected = tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        [completion] = await texts(engine, [text_request(text, max_tokens=150)])
        assert completion.text == expected.rstrip("\ufffd")
        assert (completion.prompt_tokens, completion.completion_tokens) == (ids.shape[1], len(new))
    await engine.close()


@pytest.mark.parametrize(
    "sampling", [{}, {"temperature": 1.0}, {"temperature": 0.8, "top_p": 0.9, "top_k": 20}]
)
async def test_a_batch_of_different_lengths_answers_as_each_alone(
    folder: Path, sampling: dict[str, Any]
) -> None:
    requests = [text_request(sentence(n, 1 + 7 * n), seed=n, **sampling) for n in range(9)]
    together, alone = await opened(folder, batch_size=9), await opened(folder, batch_size=1)
    first = await texts(together, requests)
    assert first == [await alone.generate(request) for request in requests]
    assert len({completion.text for completion in first}) > 4
    assert first == await texts(together, list(requests)), "and again"
    await together.close()
    await alone.close()


async def test_another_seed_gives_another_answer(folder: Path) -> None:
    engine = await opened(folder)
    answers = await texts(engine, [text_request("why", seed=2**62 + n, temperature=1.0) for n in range(8)])
    assert len({answer.text for answer in answers}) == 8
    await engine.close()


async def test_parameters_may_differ_within_what_waits(folder: Path) -> None:
    engine = await opened(folder)
    short, long = await texts(engine, [text_request("why", max_tokens=2), text_request("why", max_tokens=9)])
    assert (short.completion_tokens, short.finish) == (2, "length")
    assert long.text.startswith(short.text)
    await engine.close()


async def test_a_stop_text_ends_the_answer_and_is_cut_off(folder: Path) -> None:
    engine = await opened(folder)
    [free] = await texts(engine, [text_request("tell me", max_tokens=60)])
    stop = free.text[20:24]
    place = free.text.index(stop)
    [cut] = await texts(engine, [text_request("tell me", max_tokens=60, stop=("never this", stop))])
    assert (cut.text, cut.finish) == (free.text[:place], "stop")
    assert cut.completion_tokens < free.completion_tokens
    await engine.close()


def test_an_end_token_ends_the_answer_and_is_counted_but_not_shown(model: Any) -> None:
    def decode(ids: list[int]) -> str:
        return "".join(f"<{number}>" for number in ids)

    prompt = Prompt([5, 6, 7], Sampling(max_tokens=12), 0)
    [free] = LanguageModel(model, frozenset(), decode).generate([prompt])
    drawn = [int(number) for number in free.text.strip("<>").split("><")]
    end = drawn[4]
    [ended] = LanguageModel(model, frozenset([end]), decode).generate([prompt])
    place = drawn.index(end)
    assert ended.text == decode(drawn[:place])
    assert (ended.tokens, ended.finish) == (place + 1, "stop")


async def test_a_prompt_that_does_not_fit_is_an_answer_not_an_error(folder: Path) -> None:
    engine = await opened(folder)
    assert engine.context_tokens == CONTEXT
    long = sentence(3, 2 * CONTEXT)
    completion = await engine.generate(text_request(long))
    assert (completion.finish, completion.text, completion.context_tokens) == ("too_long", "", CONTEXT)
    [fits] = await texts(engine, [text_request("hi", max_tokens=10)])
    room = CONTEXT - fits.prompt_tokens
    assert (await engine.generate(text_request("hi", max_tokens=room + 1))).finish == "too_long"
    [first, second] = (await answered(engine, engine.score([score_request("hi"), score_request(long)])))[0]
    assert (first.finish, second.finish, second.logprobs) == ("stop", "too_long", ())
    assert [one.finish for one in await engine.score([score_request(long)])] == ["too_long"]
    await engine.close()


# scores


def conversation(orders: int, principles: int) -> list[ScoreRequest]:
    """Judgements that begin alike: the conversation, then the pair in some order, then a principle."""
    return [
        score_request(
            f"{sentence(1, 60)} {sentence(10 + order, 40)} {sentence(20 + principle, 3 + principle)}"
        )
        for principle in range(principles)
        for order in range(orders)
    ]


async def test_scores_of_a_shared_beginning_equal_those_of_the_plain_model(folder: Path, model: Any) -> None:
    engine = await opened(folder)
    requests = [*conversation(2, 6), score_request("quite another question"), *conversation(1, 1)]
    encoded = engine._encoder.encode_many(requests)
    assert len(groups_of(encoded, 32)) == 3
    [scores] = await answered(engine, engine.score(requests))
    for request, ids, score in zip(requests, encoded, scores, strict=True):
        with torch.inference_mode():
            plain = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        expected = [float(plain[list(spelled)].logsumexp(-1)) for spelled in engine._encoder.options(request)]
        assert score.logprobs == pytest.approx(expected, abs=1e-4)
        assert score.outside == pytest.approx(1 - sum(numpy.exp(expected)), abs=1e-4)
        assert score.prompt_tokens == len(ids)
    assert len({round(score.logprobs[0], 3) for score in scores}) > 6
    await engine.close()


async def test_scores_do_not_depend_on_how_requests_travel(folder: Path) -> None:
    engine, small = await opened(folder), await opened(folder, batch_size=4)
    requests = conversation(2, 5)
    [together] = await answered(engine, engine.score(requests))
    apart = await answered(engine, *(engine.score([request]) for request in requests))
    [chunks] = await answered(small, small.score(requests))
    for one, [other], third in zip(together, apart, chunks, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        assert one.logprobs == pytest.approx(third.logprobs, abs=1e-4)
    await engine.close()
    await small.close()


@pytest.mark.parametrize(
    "prompts, groups",
    [
        ([], []),
        ([[1, 2, 3]], [([0], 2)]),
        ([[1, 2, 3, 4], [1, 2, 3, 5]], [([0, 1], 3)]),
        ([[1, 2, 3], [1, 2, 3]], [([0, 1], 2)]),
        ([[1, 2, 3], [1, 2, 3, 4]], [([0, 1], 2)]),
        ([[1, 9], [2, 9]], [([0], 1), ([1], 1)]),
        ([[1, 1, 1, 8], [1, 2, 2, 8], [1, 1, 1, 9], [1, 2, 2, 9]], [([0, 2], 3), ([1, 3], 3)]),
        ([[1, 1, 1, n] for n in range(5)], [([0, 1, 2], 3), ([3, 4], 3)]),
    ],
)
def test_prompts_are_grouped_by_what_they_share(
    prompts: list[list[int]], groups: list[tuple[list[int], int]]
) -> None:
    assert groups_of(prompts, 3, least_shared=2) == groups


# batches


async def test_a_batch_starts_when_it_is_full_or_flushed_and_never_before(folder: Path) -> None:
    engine = await opened(folder, batch_size=4)
    tasks = [asyncio.ensure_future(engine.generate(text_request(sentence(n, 4)))) for n in range(3)]
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in tasks)
    tasks.append(asyncio.ensure_future(engine.generate(text_request("the fourth"))))
    await asyncio.wait_for(asyncio.gather(*tasks), 30)
    late = asyncio.ensure_future(engine.generate(text_request("the fifth")))
    await asyncio.sleep(0.2)
    assert not late.done()
    engine.flush()
    await asyncio.wait_for(late, 30)
    await engine.close()


async def test_one_flush_answers_everything_that_waits(folder: Path) -> None:
    engine = await opened(folder, batch_size=4)
    kinds: list[Awaitable[Any]] = [
        engine.generate(text_request(str(n), max_tokens=3 + n % 2)) for n in range(11)
    ]
    kinds += [engine.score(conversation(2, 3)), engine.score([score_request("x")])]
    assert len(await answered(engine, *kinds)) == 13
    await engine.close()


def waiting(number: int, tokens: int, rows: int = 1) -> Waiting:
    future: asyncio.Future[Any] = asyncio.Future(loop=asyncio.new_event_loop())
    return Waiting(Prompt([1], Sampling(), 0), "x", rows, tokens, (number, 0), future)


@pytest.mark.parametrize(
    "lengths, most, chosen",
    [
        ([50], 4, [50]),
        ([50, 10, 48, 90, 55], 3, [48, 50, 55]),
        ([90, 10, 20, 80, 30], 2, [80, 90]),
        ([10, 90, 20, 80, 30], 3, [10, 20, 30]),
        ([50, 50, 50], 2, [50, 50]),
    ],
)
def test_a_batch_is_the_oldest_row_and_those_nearest_in_length(
    lengths: list[int], most: int, chosen: list[int]
) -> None:
    batch = around_oldest([waiting(age, tokens) for age, tokens in enumerate(lengths)], most)
    assert [one.tokens for one in batch] == chosen
    assert any(one.age == (0, 0) for one in batch)


async def test_rows_that_were_just_answered_go_into_the_next_batch_together(folder: Path) -> None:
    engine = await opened(folder, batch_size=16)
    batches: list[int] = []

    def note(module: Any, arguments: Any, named: dict[str, Any]) -> None:
        rows, new_tokens = named["input_ids"].shape
        if new_tokens > 1:
            batches.append(rows)

    engine._model._model.register_forward_pre_hook(note, with_kwargs=True)
    asking: set[int] = set()

    async def row(number: int) -> None:
        """The first two rows ask at once what the others ask second."""
        for max_tokens in [4] if number < 2 else [3, 4]:
            asking.add(number)
            asyncio.get_running_loop().call_soon(lambda: engine.flush() if len(asking) == 5 else None)
            await engine.generate(text_request(str(number), max_tokens=max_tokens))
            asking.discard(number)

    await asyncio.wait_for(asyncio.gather(*map(row, range(5))), 30)
    assert batches == [3, 5]
    await engine.close()


async def test_the_event_loop_lives_on_while_a_batch_runs(folder: Path) -> None:
    engine = await opened(folder)
    task = asyncio.ensure_future(texts(engine, [text_request(sentence(1, 50), max_tokens=200)]))
    turns = 0
    while not task.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 10
    await engine.close()


async def test_who_gives_up_waiting_is_left_out_and_the_others_are_answered(folder: Path) -> None:
    engine = await opened(folder)
    tasks = [asyncio.ensure_future(engine.generate(text_request(str(n)))) for n in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    engine.flush()
    assert (await asyncio.wait_for(tasks[0], 30)).finish in ("stop", "length")
    assert (await asyncio.wait_for(tasks[2], 30)).finish in ("stop", "length")
    await engine.close()


# what goes wrong


async def test_closing_ends_the_running_batch_and_fails_what_waits(folder: Path) -> None:
    engine = await opened(folder, batch_size=1)
    running = asyncio.ensure_future(engine.generate(text_request("why", max_tokens=CONTEXT - 100)))
    behind = asyncio.ensure_future(engine.generate(text_request("why not")))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(engine.close(), 10)
    await engine.close()
    for task in (running, behind):
        with pytest.raises(EngineDownError):
            await task
    with pytest.raises(EngineDownError):
        await engine.generate(text_request("too late"))


async def test_a_batch_without_room_on_the_gpu_is_halved(folder: Path) -> None:
    engine = await opened(folder)
    requests = [text_request(sentence(n, 5)) for n in range(7)]
    expected = await texts(engine, requests), await answered(engine, engine.score(conversation(1, 5)))
    sizes: list[int] = []
    most = 2

    def refuse(module: Any, arguments: Any, named: dict[str, Any]) -> None:
        sizes.append(len(named["input_ids"]))
        if sizes[-1] > most:
            raise torch.OutOfMemoryError

    engine._model._model.register_forward_pre_hook(refuse, with_kwargs=True)
    assert await texts(engine, requests) == expected[0]
    [scores] = await answered(engine, engine.score(conversation(1, 5)))
    for score, other in zip(scores, expected[1][0], strict=True):
        assert score.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert max(sizes) == 7
    most = 0
    with pytest.raises(EngineAnswerError, match="GPU memory"):
        await texts(engine, requests[:1])
    await engine.close()


async def test_logits_that_are_no_numbers_are_no_answer(folder: Path) -> None:
    engine = await opened(folder)
    with torch.no_grad():
        engine._model._model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(EngineAnswerError, match="NaN"):
        await texts(engine, [text_request("why")])
    with pytest.raises(EngineAnswerError, match="NaN"):
        await answered(engine, engine.score([score_request("why")]))
    await engine.close()


async def test_a_model_that_is_not_there_is_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(EngineRefusedError, match="there is no folder"):
        await opened(nowhere)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EngineRefusedError):
        await opened(tmp_path / "empty")
    with pytest.raises(EngineRefusedError):
        await opened(folder, device="no-such-device")


async def test_without_torch_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[local\]"):
        await opened(folder)


# how tokens are drawn


def drawn(probabilities: Sequence[float], count: int = 400, **sampling: Any) -> Counter[int]:
    """How often each token is drawn from these probabilities, over many seeds."""
    prompts = [
        Prompt([0], Sampling(**{"temperature": 1.0, "max_tokens": 1, **sampling}), n) for n in range(count)
    ]
    logits = torch.tensor([probabilities]).log().expand(count, -1)
    return Counter(Draws(prompts, torch.device("cpu")).next(logits).tolist())


@pytest.mark.parametrize(
    "sampling, kept",
    [
        ({}, {0, 1, 2, 3}),
        ({"temperature": 0.0}, {0}),
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 9}, {0, 1, 2, 3}),
        ({"top_p": 0.4}, {0}),  # the token that crosses top_p is kept
        ({"top_p": 0.6}, {0, 1}),
        ({"top_p": 0.85}, {0, 1, 2}),
        ({"min_p": 0.5}, {0, 1}),  # at least half of 0.45
        ({"min_p": 0.05, "top_k": 3, "top_p": 0.8}, {0, 1}),  # of the three left, two hold 0.84
    ],
)
def test_the_sampling_parameters_keep_the_tokens_that_vllm_keeps(
    sampling: dict[str, Any], kept: set[int]
) -> None:
    assert set(drawn([0.45, 0.35, 0.15, 0.05], **sampling)) == kept


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    counts = drawn([0.5, 0.3, 0.2], count=4000)
    assert [counts[token] / 4000 for token in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    sharper = drawn([0.5, 0.3, 0.2], count=4000, temperature=0.5)  # squares: 25 : 9 : 4
    assert [sharper[token] / 4000 for token in range(3)] == pytest.approx([25 / 38, 9 / 38, 4 / 38], abs=0.03)


def test_the_repetition_penalty_counts_prompt_and_answer() -> None:
    prompts = [Prompt([1], Sampling(repetition_penalty=2.0), 0), Prompt([1], Sampling(), 0)]
    draws = Draws(prompts, torch.device("cpu"))
    logits = torch.tensor([[1.5, 2.0, 0.9, -1.0]] * 2)
    assert draws.next(logits).tolist() == [0, 1]  # token 1 of the prompt: 2.0 / 2
    assert draws.next(logits).tolist() == [1, 1]  # 0.75, 1.0, 0.9, -1.0
    negative = torch.tensor([[-1.0, -1.2, -9.0, -1.5]] * 2)
    assert draws.next(negative).tolist() == [3, 0]  # -2.0, -2.4, -9.0, -1.5


def test_a_growing_cache_holds_what_a_plain_one_does() -> None:
    plain, growing = transformers.cache_utils.DynamicLayer(), GrowingLayer()
    states = torch.randn(3, 2, 150, 4)
    for start, end in itertools.pairwise([0, 5, 6, 7, 80, 150]):
        new = states[:, :, start:end]
        both = plain.update(new, -new), growing.update(new, -new)
        assert all(torch.equal(one, other) for one, other in zip(*both, strict=True))
        if start == 7:
            for layer in (plain, growing):
                layer.batch_select_indices(torch.tensor([2, 0, 0]))
            states = states[[2, 0, 0]]


async def test_a_block_of_thinking_that_the_prompt_leaves_open_and_nobody_sees_closed_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "thinks"
    shutil.copytree(folder, place)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    tokenizer.chat_template = CHAT.replace("assistant\n", "assistant\n<think>\n")
    assert "<think>" in tokenizer.chat_template
    tokenizer.save_pretrained(place)
    engine = await opened(place, template_args={"enable_thinking": True})
    with pytest.raises(EngineRefusedError, match="special token") as refused:
        await engine.generate(GenerateRequest("tiny", rendered("hello"), Sampling(max_tokens=3)))
    assert "enable_thinking: true" in refused.value.remedy
    await engine.close()

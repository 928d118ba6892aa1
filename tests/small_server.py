"""A small real HTTP server that speaks vLLM's protocol, and can misbehave on demand.

    python tests/small_server.py --port 0 --tokenizer FOLDER

It prints one line of JSON when it listens: {"port": ..., "pid": ...}. Answers are computed from a
hash of the prompt's ids: equal requests get equal answers, and every log-probability is below
zero. With `--instant` every call gets bytes that were made once, for benchmarks: the same for all of
a kind, or one of `--variants N` by a checksum of what was sent.

Faults are asked for with POST /fault {"kind": ..., "times": N, "every": M, "seconds": S}: the next
N calls (or every M-th, or each with a probability `rate`) go wrong. Kinds: see FAULTS; `"kinds": [...]`
has one of several drawn each time. `/counters`
tells how many calls and prompts came, how many were open at once, and how many went wrong. POST /swap
{"weights": WORD} makes it another model under the same name.

What this module does not know: cai. It shares no code with it.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import sys
from collections import Counter
from hashlib import blake2b
from typing import Any
from zlib import crc32

import orjson
import uvloop
from aiohttp import web

FAULTS = (
    "429", "429-after", "500", "502", "503", "504", "401", "404", "400", "reset", "reset-early", "truncated",
    "garbage", "error-inside", "nan", "null-logprob", "no-logprobs", "fewer-logprobs", "no-choices",
    "more-choices", "no-text", "aborted", "hang", "trickle",
)  # fmt: skip
WORDS = ("Please", "be", "kind", "and", "honest", "with", "everyone", "who", "asks", "today")


def error(status: int, message: str, param: str | None = None, kind: str = "BadRequestError") -> web.Response:
    """An error as vLLM writes it."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": status}}
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


def reply(value: Any) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def number(*parts: Any) -> float:
    """A number in [0, 1) made from a hash."""
    data = orjson.dumps(parts)
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big") / 2**64


WEIGHTS = ""
"""Another word makes another model, which answers everything otherwise."""


def logprob(ids: list[int], token: int) -> float:
    """The log-probability of a token after these ids; about 1 % to 45 % each."""
    return math.log(
        0.01 + 0.44 * number(ids, token, WEIGHTS) if WEIGHTS else 0.01 + 0.44 * number(ids, token)
    )


class SmallServer:
    """The server's state: what it serves, what went through it, which faults are due."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.counters: Counter[str] = Counter()
        self.fault: dict[str, Any] = {}
        self.random = random.Random(0)
        self.tokenizer: Any = None
        self.template: Any = None
        self.instant: dict[Any, bytes] = {}
        if options.tokenizer:
            from transformers import PreTrainedTokenizerFast

            self.template = PreTrainedTokenizerFast.from_pretrained(options.tokenizer)
            self.tokenizer = self.template.backend_tokenizer

    def app(self) -> web.Application:
        """All routes."""
        app = web.Application(client_max_size=256 * 2**20, middlewares=[self.guard])
        app.router.add_post("/v1/completions", self.completions)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/tokenize", self.tokenize)
        app.router.add_post("/detokenize", self.detokenize)
        app.router.add_get("/health", lambda request: _health())
        app.router.add_get("/version", lambda request: _version())
        app.router.add_get("/counters", self.count)
        app.router.add_post("/fault", self.set_fault)
        app.router.add_post("/swap", self.swap)
        return app

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """The key, where one is set, and what only reads headers."""
        key = self.options.api_key
        if key and request.path.startswith("/v1") and request.headers.get("Authorization") != f"Bearer {key}":
            self.counters["unauthorized"] += 1
            return error(401, f"Unauthorized: {request.headers.get('Authorization')}", kind="Unauthorized")
        answered: web.StreamResponse = await handler(request)
        return answered

    async def set_fault(self, request: web.Request) -> web.Response:
        """Misbehave from now on as the body says; an empty object ends it."""
        self.fault = orjson.loads(await request.read())
        self.counters["since_fault"] = 0
        kinds = self.fault.get("kinds") or [self.fault.get("kind")]
        assert not self.fault or set(kinds) <= set(FAULTS), f"unknown fault {self.fault}"
        return reply(self.fault)

    async def swap(self, request: web.Request) -> web.Response:
        """Become the model that the body says, under the same name."""
        global WEIGHTS
        WEIGHTS = orjson.loads(await request.read())["weights"]
        return reply({"weights": WEIGHTS})

    async def count(self, request: web.Request) -> web.Response:
        """What went through."""
        return reply(dict(self.counters))

    async def models(self, request: web.Request) -> web.Response:
        """The one model."""
        model = {
            "id": self.options.model,
            "object": "model",
            "owned_by": "vllm",
            "root": self.options.tokenizer or self.options.model,
            "parent": None,
            "max_model_len": self.options.context if not self.options.plain else None,
        }
        return reply({"object": "list", "data": [model]})

    async def tokenize(self, request: web.Request) -> web.Response:
        """Ids of a text or of messages."""
        body = orjson.loads(await request.read())
        if self.tokenizer is None or self.options.plain:
            return web.Response(status=404, body=b'{"detail":"Not Found"}', content_type="application/json")
        if "messages" in body:
            ids = self.rendered(body)
        else:
            ids = self.tokenizer.encode(
                body["prompt"], add_special_tokens=body.get("add_special_tokens", True)
            ).ids
        return reply(
            {"count": len(ids), "max_model_len": self.options.context, "tokens": ids, "token_strs": None}
        )

    async def detokenize(self, request: web.Request) -> web.Response:
        """The text of ids."""
        body = orjson.loads(await request.read())
        if self.tokenizer is None or self.options.plain:
            return web.Response(status=404, body=b'{"detail":"Not Found"}', content_type="application/json")
        return reply({"prompt": self.tokenizer.decode(body["tokens"], skip_special_tokens=False)})

    def rendered(self, body: dict[str, Any]) -> list[int]:
        """The ids of messages, by the tokenizer's own chat template."""
        text = self.template.apply_chat_template(
            body["messages"],
            tokenize=False,
            add_generation_prompt=body.get("add_generation_prompt", True) or self.options.deaf,
            continue_final_message=body.get("continue_final_message", False) and not self.options.deaf,
            **body.get("chat_template_kwargs", {}),
        )
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def due(self) -> str | None:
        """The fault that this call gets, if any."""
        if not self.fault:
            return None
        self.counters["since_fault"] += 1
        if self.fault.get("times") == 0:
            return None
        if self.counters["since_fault"] % self.fault.get("every", 1):
            return None
        if self.random.random() >= self.fault.get("rate", 1.0):
            return None
        if "times" in self.fault:
            self.fault["times"] -= 1
        self.counters["faults"] += 1
        kind: str = self.random.choice(self.fault["kinds"]) if "kinds" in self.fault else self.fault["kind"]
        self.counters[f"fault {kind}"] += 1
        return kind

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """/v1/completions, prompts as token ids."""
        data = await request.read()
        self.counters["calls"] += 1
        self.counters["open"] += 1
        self.counters["most_open"] = max(self.counters["most_open"], self.counters["open"])
        try:
            if self.options.delay:
                await asyncio.sleep(self.options.delay)
            kind = self.due()
            if kind is not None:
                early = await self.misbehave(request, kind)
                if early is not None:
                    return early
            if self.options.instant:
                constant = self.constant(data)
                if kind is None:
                    return web.Response(body=constant, content_type="application/json")
                return await self.send(request, orjson.dumps(spoilt(orjson.loads(constant), kind)), kind)
            body = orjson.loads(data)
            answer = self.answer(body)
            if isinstance(answer, web.Response):
                return answer
            if body.get("stream"):
                return await self.stream(request, answer)
            return await self.send(request, orjson.dumps(spoilt(answer, kind)), kind)
        finally:
            self.counters["open"] -= 1

    async def stream(self, request: web.Request, answer: dict[str, Any]) -> web.StreamResponse:
        """The answer in pieces, as server-sent events; the token counts last."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        [whole] = answer["choices"]
        pieces = [whole["text"][i : i + 5] for i in range(0, len(whole["text"]), 5)] or [""]
        events: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "text": piece, "finish_reason": None}]} for piece in pieces
        ]
        events[-1]["choices"][0]["finish_reason"] = whole["finish_reason"]
        events.append({"choices": [], "usage": answer["usage"]})
        for event in events:
            await response.write(b"data: " + orjson.dumps(event) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    def constant(self, data: bytes) -> bytes:
        """The same bytes for every call of a kind and variant, made at its first."""
        scored = data.partition(b'"logprob_token_ids"')[2].partition(b"]")[0]
        prompts = data.count(b"],[") + 1 if scored else 1
        variant = crc32(data) % self.options.variants if self.options.variants > 1 else 0
        if (scored, prompts, variant) not in self.instant:
            answer = self.answer(orjson.loads(data))
            assert isinstance(answer, dict), "the first call must be a good one"
            self.instant[scored, prompts, variant] = orjson.dumps(answer)
        return self.instant[scored, prompts, variant]

    def answer(self, body: dict[str, Any]) -> dict[str, Any] | web.Response:
        """What a call of /v1/completions gets."""
        if body.get("model") != self.options.model:
            return error(404, f"The model `{body.get('model')}` does not exist.", "model", "NotFoundError")
        prompts = body["prompt"]
        if (self.options.plain or self.options.chat_only) and not isinstance(prompts, str):
            return error(400, "prompt must be a string", "prompt")
        if isinstance(prompts, str):
            prompts = self.tokenizer.encode(prompts).ids
        if prompts and isinstance(prompts[0], int):
            prompts = [prompts]
        made = body.get("max_tokens", 16)
        for ids in prompts:
            if not ids:
                return error(400, "You passed an empty prompt", None)
            if len(ids) > self.options.context:
                return error(400, "This model's maximum context length is exceeded.", "input_tokens")
            if len(ids) == self.options.context:
                return error(400, "max_tokens must be at least 1, got 0.", "max_tokens")
        self.counters["prompts"] += len(prompts)
        self.counters["prompt_tokens"] += sum(map(len, prompts))
        choices = [choice(index, ids, body, self.options.context) for index, ids in enumerate(prompts)]
        tokens = sum(each.pop("made") for each in choices) if made else 0
        if self.options.thinks:
            hidden = self.options.thinks == "special" and body.get("skip_special_tokens", True)
            opened = THOUGHT_IN_TEXT.removeprefix("<think>\n" if self.options.thinks == "opened" else "")
            for each in choices:
                each["text"] = (f"{THOUGHT}\n\n" if hidden else opened) + each["text"]
        usage = {"prompt_tokens": sum(map(len, prompts)), "completion_tokens": tokens}
        return {
            "id": "cmpl-1",
            "object": "text_completion",
            "model": body["model"],
            "choices": choices,
            "usage": usage,
        }

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """/v1/chat/completions, rendered here."""
        body = orjson.loads(await request.read())
        self.counters["chats"] += 1
        if body.get("continue_final_message") and body.get("add_generation_prompt", True):
            return error(400, "Cannot set both add_generation_prompt and continue_final_message.")
        ids = self.rendered(body) if self.template is not None else list(orjson.dumps(body["messages"]))
        if len(ids) >= self.options.context:
            return error(400, "This model's maximum context length is exceeded.", "input_tokens")
        made = choice(0, ids, body, self.options.context)
        tokens = made.pop("made")
        message: dict[str, Any] = {"role": "assistant", "content": made.pop("text")}
        out: dict[str, Any] = {"index": 0, "message": message, "finish_reason": made["finish_reason"]}
        if body.get("logprobs"):
            a = 0.2 + 0.6 * number(ids, "A")
            top = [(" A", a), (" B", 0.9 - a), ("A", 0.05), ("The", 0.01)][: body.get("top_logprobs", 0)]
            entries = [
                {"token": text, "logprob": math.log(p), "bytes": list(text.encode())} for text, p in top
            ]
            out["logprobs"] = {"content": [{**entries[0], "top_logprobs": entries}]}
        usage: dict[str, Any] = {"prompt_tokens": len(ids), "completion_tokens": tokens}
        if self.options.thinks:
            think(self.options.thinks, message, usage)
        return reply({"object": "chat.completion", "model": body["model"], "choices": [out], "usage": usage})

    async def misbehave(self, request: web.Request, kind: str) -> web.StreamResponse | None:
        """Faults that need no answer; None where the answer itself is spoilt."""
        if kind == "429-after":
            response = error(429, "Too many requests", kind="TooManyRequests")
            response.headers["Retry-After"] = str(self.fault.get("seconds", 1))
            return response
        if kind.isdigit():
            return error(int(kind), f"a fault of {kind}", kind="InternalServerError")
        if kind == "reset-early":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if kind == "hang":
            await asyncio.sleep(self.fault.get("seconds", 3600))
        return None

    async def send(self, request: web.Request, body: bytes, kind: str | None) -> web.StreamResponse:
        """Send an answer, or only some of it."""
        if kind in ("truncated", "garbage"):
            body = body[: len(body) // 2] if kind == "truncated" else b"<html>Bad gateway</html>"
            return web.Response(body=body, content_type="application/json")
        if kind not in ("reset", "trickle"):
            return web.Response(body=body, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        if kind == "reset":
            await response.write(body[: len(body) // 2])
            await asyncio.sleep(0.01)
            assert request.transport is not None
            request.transport.abort()
            return response
        for place in range(len(body)):
            await response.write(body[place : place + 1])
            await asyncio.sleep(self.fault.get("seconds", 0.2))
        return response


def choice(index: int, ids: list[int], body: dict[str, Any], context: int) -> dict[str, Any]:
    """One prompt's answer; `made` counts its tokens."""
    seed = body.get("seed") if body.get("temperature", 1.0) > 0 else None
    length = 3 + int(number(ids, seed, "length") * 20)
    most = min(body.get("max_tokens", 16), context - len(ids))
    words = [WORDS[int(number(ids, seed, place) * len(WORDS))] for place in range(min(length, most))]
    finish = "stop" if length <= most else "length"
    made: dict[str, Any] = {
        "index": index,
        "text": " ".join(words),
        "finish_reason": finish,
        "logprobs": None,
    }
    made["made"] = len(words)
    wanted = body.get("logprob_token_ids")
    if not wanted and body.get("return_tokens_as_token_ids") and body.get("logprobs"):
        wanted = range(body["logprobs"])
    if wanted and body.get("logprobs") is not None:
        tops = {f"token_id:{token}": logprob(ids, token) for token in wanted}
        made["logprobs"] = {"tokens": ["token_id:0"], "token_logprobs": [-1.0], "top_logprobs": [tops]}
    return made


THOUGHT = "Both are polite."
THOUGHT_IN_TEXT = f"<think>\n{THOUGHT}\n</think>\n\n"


def think(how: str, message: dict[str, Any], usage: dict[str, Any]) -> None:
    """Let a chat's answer be thought about first, in one of the shapes that servers have for that."""
    if how in ("reasoning", "reasoning_content"):
        message[how] = THOUGHT
        usage["completion_tokens_details"] = {"reasoning_tokens": 5}
    elif how == "text":
        message["content"] = THOUGHT_IN_TEXT + message["content"]
    elif how == "opened":  # the prompt ended with the mark that begins thinking
        message["content"] = THOUGHT_IN_TEXT.removeprefix("<think>\n") + message["content"]
    elif how == "all":  # the token budget went into thinking
        message.update({"reasoning": THOUGHT, "content": None})
    usage["completion_tokens"] += 5


def spoilt(answer: dict[str, Any], kind: str | None) -> Any:
    """An answer with one thing wrong in it."""
    first = answer["choices"][0]
    if kind == "error-inside":
        return {"error": {"message": "the engine died", "type": "InternalServerError", "code": 500}}
    if kind == "no-choices":
        answer["choices"] = []
    elif kind == "more-choices":
        answer["choices"].append(dict(first))
    elif kind == "no-text":
        del first["text"]
    elif kind == "aborted":
        first["finish_reason"] = "abort"
    elif kind == "no-logprobs":
        first["logprobs"] = None
    elif kind in ("nan", "null-logprob", "fewer-logprobs") and first["logprobs"]:
        tops = first["logprobs"]["top_logprobs"][0]
        key = next(iter(tops))
        if kind == "fewer-logprobs":
            del tops[key]
        else:
            tops[key] = None if kind == "null-logprob" else orjson.Fragment(b"NaN")
    return answer


async def _health() -> web.Response:
    return web.Response()


async def _version() -> web.Response:
    return reply({"version": "0.32.0"})


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--model", default="small")
    parser.add_argument("--tokenizer", help="a folder; its chat template is used too")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--instant", action="store_true", help="the same bytes for every call, at once")
    parser.add_argument("--variants", type=int, default=1, help="how many different bytes, where --instant")
    parser.add_argument("--chat-only", action="store_true", help="no token ids")
    parser.add_argument("--deaf", action="store_true", help="continue_final_message is not known")
    parser.add_argument("--plain", action="store_true", help="no token ids, no /tokenize, no context length")
    parser.add_argument(
        "--thinks",
        default="",
        help="reasoning, reasoning_content, text, opened, all; special: text, the marks special tokens",
    )
    parser.add_argument("--weights", default="", help="any word: another model under the same name")
    options = parser.parse_args()
    global WEIGHTS
    WEIGHTS = options.weights

    async def serve() -> None:
        runner = web.AppRunner(SmallServer(options).app(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, options.host, options.port, backlog=2048)
        await site.start()
        port = runner.addresses[0][1]
        print(orjson.dumps({"port": port, "pid": os.getpid()}).decode(), flush=True)
        await asyncio.Event().wait()

    try:
        uvloop.run(serve())
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()

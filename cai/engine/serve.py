"""Starting vLLM for an engine, waiting until it answers, and stopping it again.

The server is one child process in a session of its own, so that Ctrl-C in a terminal reaches
it through `stop` only. It is ready when it has answered a request for log-probabilities, the
kind that judging needs: /health says yes earlier, and the first such request may compile for
many seconds. That first request also has to be long: vLLM 0.32 on a CPU with AMX dies when
its first prompt is a few tokens long.

What this module does not know: requests, digests, how an engine talks to its server.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import aiohttp

from cai.errors import EngineDownError, EngineError, EngineRefusedError, MissingExtraError
from cai.recipe import EngineSection, ServeSection

MODULE = "vllm.entrypoints.openai.api_server"
MAX_LOGPROBS = 128
"""The most log-probabilities one request may ask for, with spellings of options in mind."""

LOG_LINES = 15
POLL_S = 0.5
PROBE_TIMEOUT_S = 300.0
STOP_S = 20.0
"""How long the server may take to end on SIGTERM (measured: 1.4 to 3.5 s) before it is killed."""

_PROBE_WORDS = 64
_FIND_VLLM = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"


class VllmServer:
    """vLLM for the engine of `section`, which has a `serve` section (or its defaults are taken).

    `url`: where it will answer; `log_path`: where its output goes. As an async context manager
    it is ready inside, and stopped after.
    """

    def __init__(self, section: EngineSection, log_path: Path | None = None) -> None:
        self._section = section
        self._serve = section.serve or ServeSection()
        self._made_log = log_path is None
        if log_path is None:
            handle, name = tempfile.mkstemp(prefix="cai-vllm-", suffix=".log")
            os.close(handle)
            log_path = Path(name)
        self.log_path = log_path
        self.url = f"http://{_reachable(self._serve.host)}:{self._serve.port}"
        self._process: asyncio.subprocess.Process | None = None
        self._started_before = False

    async def __aenter__(self) -> VllmServer:
        await self.start()
        await self.wait_ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def command(self) -> list[str]:
        """The command line; `serve.arguments` come last, and win."""
        section, serve = self._section, self._serve
        command = [serve.python or sys.executable, "-m", MODULE]
        command += ["--model", section.path or section.model, "--served-model-name", section.model]
        if section.revision and section.path is None:
            command += ["--revision", section.revision]
        if section.tokenizer:
            command += ["--tokenizer", section.tokenizer]
        if section.dtype != "auto":
            command += ["--dtype", section.dtype]
        command += ["--host", serve.host, "--port", str(serve.port)]
        command += ["--generation-config", "vllm", "--enable-prefix-caching"]
        command += ["--max-logprobs", str(MAX_LOGPROBS), "--disable-uvicorn-access-log"]
        return [*command, *serve.arguments]

    async def start(self) -> None:
        """Start the process; returns at once.

        Raises: MissingExtraError without vLLM; EngineRefusedError where the port is taken,
        the python is not there, or a server that others can reach would have no key.
        """
        try:
            key = self._key()
            await self._check_port()
            await self._check_vllm()
        except BaseException:  # a Ctrl-C too: no empty log is left behind
            if self._made_log and not self._started_before:  # then there is nothing to read in it
                self.log_path.unlink(missing_ok=True)
            raise
        environment = {"VLLM_NO_USAGE_STATS": "1", **os.environ}
        if self._serve.batch_invariant:
            environment["VLLM_BATCH_INVARIANT"] = "1"
        if key:
            environment["VLLM_API_KEY"] = key
        with self._open_log() as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    async def wait_ready(self) -> None:
        """Wait until a scored request is answered; a server that fails is stopped.

        Raises: EngineDownError, with the last lines of the log, where it ends or
        `serve.ready_timeout_s` has passed; EngineRefusedError where it refuses the request.
        """
        ready = asyncio.ensure_future(self._probe_until_ready())
        ended = asyncio.ensure_future(self.wait_ended())
        try:
            done, _ = await asyncio.wait(
                [ready, ended], timeout=self._serve.ready_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if ready in done:
                ready.result()
            elif ended in done:
                raise self._down(f"ended with code {ended.result()} before it answered")
            else:
                raise self._down(f"did not answer within {self._serve.ready_timeout_s:g} s")
        except BaseException:  # a Ctrl-C too: the process is not left running
            await self.stop()
            raise
        finally:
            ready.cancel()
            ended.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)

    async def wait_ended(self) -> int:
        """Wait until the process ends; its exit code (negative: the signal that ended it)."""
        assert self._process is not None, "start it first"
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask the process to end, and kill it and its children if it does not; safe to call twice."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            # Its session is its own, and it has not been waited for: nobody else can have this id.
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _probe_until_ready(self) -> None:
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                if await self._is_ready(session):
                    return
                await asyncio.sleep(POLL_S)

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        """Ask for log-probabilities once. Raises: EngineRefusedError where that cannot work."""
        key = self._key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            async with session.get(f"{self.url}/health") as health:
                if health.status != 200:
                    return False
            async with session.post(
                f"{self.url}/v1/completions", json=self._probe(), headers=headers
            ) as reply:
                body = await reply.read()
                if reply.status >= 500:
                    return False
                if reply.status != 200:
                    text = body.decode("utf-8", "replace")[:300]
                    raise EngineRefusedError(
                        f"vLLM at {self.url} refuses a scored request ({reply.status}): {text}",
                        f"Its log is {self.log_path}.",
                    )
                return _is_scored(await reply.json())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False

    def _probe(self) -> dict[str, Any]:
        return {
            "model": self._section.model,
            "prompt": "ready " * _PROBE_WORDS,
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": 1,
            "logprob_token_ids": [0, 1],
            "return_tokens_as_token_ids": True,
        }

    def _key(self) -> str:
        """The API key. Raises: EngineRefusedError where one is needed and not set."""
        key = os.environ.get(self._section.api_key_variable, "")
        if not key and not _is_loopback(self._serve.host):
            raise EngineRefusedError(
                f"vLLM would listen on {self._serve.host}, where others can reach it, without a key.",
                f"Set {self._section.api_key_variable} to a secret, or leave `host` at 127.0.0.1.",
            )
        return key

    async def _check_port(self) -> None:
        """Whoever answers there would be taken for our server."""
        try:
            host = _reachable(self._serve.host).strip("[]")
            _, writer = await asyncio.open_connection(host, self._serve.port)
        except OSError:
            return
        writer.close()
        raise EngineRefusedError(
            f"Something already listens at {self.url}, so vLLM cannot be started there.",
            "Stop it (a killed run may have left it), choose another `port`, or use it with `urls`.",
        )

    async def _check_vllm(self) -> None:
        python = self._serve.python or sys.executable
        try:
            process = await asyncio.create_subprocess_exec(python, "-c", _FIND_VLLM)
        except OSError as error:
            raise EngineRefusedError(
                f"There is no python at {python} to start vLLM with: {error.strerror}.",
                "Mend `serve.python` in the recipe.",
            ) from error
        if await process.wait() != 0:
            raise MissingExtraError(
                f"vLLM is not installed for {python}, so there is nothing to start.",
                "Install it (pip install '.[vllm]' in a checkout of cai), or name another environment's python "
                "that has it under `serve: {python: ...}`, or start a server yourself and give its address under `urls`.",
            )

    async def restart(self) -> None:
        """Start a server that has ended once more, and wait until it answers; its log goes on.

        Raises: as `start` and `wait_ready`.
        """
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # what it started and left behind
        self._started_before = True
        await self.start()
        await self.wait_ready()

    def _open_log(self) -> IO[bytes]:
        try:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            return self.log_path.open("ab" if self._started_before else "wb")
        except OSError as error:
            raise EngineRefusedError(
                f"The log {self.log_path} cannot be written: {error.strerror}.", "Check the folder."
            ) from error

    def ended_with(self, code: int, before: str) -> EngineError:
        """The error of a server that has ended, with the last lines of its log."""
        return self._down(f"ended with code {code} {before}")

    def _down(self, what: str) -> EngineError:
        lines = self.log_path.read_text("utf-8", "replace").splitlines()[-LOG_LINES:]
        tail = "\n".join(f"    {line}" for line in lines) or "    (nothing)"
        return EngineDownError(
            f"vLLM for {self._section.model} {what}. The last lines of its log:\n{tail}\n",
            f"The whole log is {self.log_path}.",
        )


def _is_scored(answer: Any) -> bool:
    """Whether a completion holds log-probabilities."""
    try:
        return bool(answer["choices"][0]["logprobs"]["top_logprobs"][0])
    except (KeyError, IndexError, TypeError):
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reachable(host: str) -> str:
    """Where this machine reaches a server that listens on `host`, as it stands in a URL."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"

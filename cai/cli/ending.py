"""What is said at the end of a run: that it is finished, which configs are empty and why, what to type next.

What this module does not know: how a run is worked on, how the dataset is built.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape

from cai.run_folder import RunFolder

_KIND = {
    "preferences": "human",
    "preferences-human": "human",
    "unpaired": "human",
    "preferences-sampled": "sampled",
}


def read_summary(run: RunFolder) -> dict[str, Any] | None:
    """`dataset/summary.json`, or None."""
    try:
        summary: dict[str, Any] = orjson.loads((run.dataset / "summary.json").read_bytes())
    except (OSError, ValueError):
        return None
    return summary


def is_finished(run: RunFolder, generation: str, total: int) -> bool:
    """Whether dataset and comparison are there, of this generation, all its rows and the recipe as it stands.

    And of all that is in the store: a go that was stopped may have found other outcomes since (--retry-too-long).
    """
    summary = read_summary(run)
    if summary is None or summary.get("generation") != generation or summary.get("rows") != total:
        return False
    try:
        made = min((run.dataset / "summary.json").stat().st_mtime, run.comparison.stat().st_mtime)
        parts = [run.recipe, *run.store.glob("segment-*.jsonl")]
        newest = max(part.stat().st_mtime for part in parts)
        return made >= newest and summary.get("not_finished") == 0
    except OSError:
        return False


def say_finished(console: Console, run: RunFolder, given: Path) -> None:
    """A finished run in three lines: that it is, what it holds, what to type."""
    summary = read_summary(run) or {}
    configs = ", ".join(f"{name} {sum(splits.values()):,}" for name, splits in summary["configs"].items())
    excluded = sum(summary["excluded"].values())
    without = f", {excluded:,} of them excluded" if excluded else ""
    console.print(
        f"{escape(run.name)} is finished: {summary['rows']:,} rows{without}; nothing is left to ask."
    )
    console.print(f"Its dataset holds {escape(configs)}.")
    verbs = " · ".join(f"{command}" for command, _ in next_commands(given))
    console.print(f"Next: {escape(verbs)}")


def say_next(console: Console, run: RunFolder, given: Path) -> None:
    """After a run's last line: empty configs and why, then the commands that go on from here."""
    summary = read_summary(run)
    if summary is not None:
        for line in empty_configs(summary):
            console.print(escape(line))
    commands = next_commands(given)
    width = max(len(command) for command, _ in commands)
    console.print("Next:")
    for command, meaning in commands:
        console.print(f"  {escape(command):<{width}}  [dim]{meaning}[/dim]", soft_wrap=True)


def next_commands(given: Path) -> list[tuple[str, str]]:
    """Commands that read a finished run, of the verbs there are."""
    from cai.cli import app

    verbs = {command.name for command in app.registered_commands}
    wanted = (
        ("show", f"cai show {given} --row 1", "one row's whole story"),
        ("compare", f"cai compare {given}", "the comparison again"),
        ("report", f"cai report {given}", "a page to read and to share"),
        ("publish", f"cai publish {given} --repo ORG/NAME --dry-run", "before it goes to the Hub"),
    )
    return [(command, meaning) for verb, command, meaning in wanted if verb in verbs]


def empty_configs(summary: dict[str, Any]) -> list[str]:
    """A line for each config without rows, with the reason as the accounts have it."""
    from cai.dataset.schema import CONFIGS

    lines = []
    for name in CONFIGS:
        if sum(summary["configs"].get(name, {}).values()):
            continue
        lines.append(f"The config {name} is empty: {_why(name, summary)}.")
    return lines


def _why(name: str, summary: dict[str, Any]) -> str:
    if summary["finished"] == 0:
        return "no row is finished"
    out = Counter[str]()
    for reasons in summary.get("withheld", {}).get(name, {}).values():
        out.update(reasons)
    if out.total():
        told = {"leaked": "leaked into another split", "over_ratio": "lay beyond the ratios of `mix`"}
        return "its rows " + ", ".join(
            f"{told.get(why, why)} ({rows:,})" for why, rows in out.items() if rows
        )
    if name in _KIND:
        account = summary["pairs"][_KIND[name]]
        counts = [(account["tied"], "tied"), (account["abstained"], "abstained")]
        said = ", ".join(f"{count:,} {word}" for count, word in counts if count)
        kind = _KIND[name]
        return f"its {kind} pairs are {said}" if said else f"the run judged no {kind} pairs"
    fates = ", ".join(f"{fate} {count:,}" for fate, count in summary["revisions"].items())
    return f"what became of the revisions: {fates}" if fates else "the run made no revisions"

"""The page of a soak: its figures as tables, throughput, processor time and memory as a plot.

What this module does not know: how the samples came about (tests/soak.py).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

OVER_S = 10.0
LEAST_REQUESTS = 200
"""Rates are means over so long at least, and over so many requests."""
REQUESTS_A_CALL = 2
BLUE, RED, GREY = "#1f5fa8", "#a33", "#555"

Sample = dict[str, float]
PHASES = {"rows": "rows", "dataset": "the dataset", "comparison": "the comparison"}
MEANINGS = {
    "run, killed": "`cai run`, until it is killed",
    "resumed to the end": "`cai run` again, to its end (rows, dataset, comparison)",
    "one new row": "`cai run` with one row more, up to the dataset",
    "dataset": "`cai dataset`",
    "compare": "`cai compare`",
    "status": "`cai status`",
    "store verify": "`cai store verify`",
}


def write_page(folder: Path, docs: Path, commit: str = "") -> None:
    """Write soak.md and soak.svg into `docs` from what a soak left in `folder`; `commit`: instead of its own."""
    told = orjson.loads((folder / "soak.json").read_bytes())
    told["commit"] = commit or told["commit"]
    with (folder / "samples.csv").open(newline="") as file:
        samples = list(csv.DictReader(file))
    rows: list[Sample] = [
        {name: float(value) for name, value in line.items() if name != "phase"}
        | {"rows": float(line["phase"] == "rows")}
        for line in samples
        if line["go"] in ("1", "2", *(["3"] if told.get("before") else []))
    ]
    plot(rows, docs / "soak.svg")
    (docs / "soak.md").write_text(page(told, rows), "utf-8")


@dataclass(frozen=True)
class Rate:
    """What a go did over OVER_S: requests answered a second, and processor time of the client for each."""

    minutes: float
    requests_per_s: float
    cpu_us: float


def rates(samples: list[Sample]) -> dict[float, list[Rate]]:
    """By go, over the time in which rows were worked on."""
    found: dict[float, list[Rate]] = {}
    for go, kept in _goes([item for item in samples if item["rows"]]).items():
        begun = kept[0]["calls"] + LEAST_REQUESTS
        kept = [item for item in kept if item["calls"] >= begun] or kept[-1:]
        first = kept[0]  # before it the process starts: rows are counted, finished ones passed over
        for item in kept:
            seconds = item["seconds"] - first["seconds"]
            requests = REQUESTS_A_CALL * (item["calls"] - item["faults"] - first["calls"] + first["faults"])
            if seconds < OVER_S or requests < LEAST_REQUESTS:
                continue
            if seconds > 5 * OVER_S:  # the pilot has ended, and the source is gone through once more
                first = item
                continue
            cpu = (item["cpu_s"] - first["cpu_s"]) / requests * 1e6
            found.setdefault(go, []).append(Rate(item["seconds"] / 60, requests / seconds, cpu))
            first = item
    return found


def plot(samples: list[Sample], path: Path) -> None:
    """Throughput, processor time and memory over time; equal samples give equal bytes."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "cai", "svg.fonttype": "none", "font.family": "sans-serif"})
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(3, 1, sharex=True, figsize=(7.2, 6.6), layout="constrained")
    speed, cost, memory = panels
    for parts in rates(samples).values():
        minutes = [item.minutes for item in parts]
        speed.plot(minutes, [item.requests_per_s for item in parts], color=BLUE, linewidth=1.2)
        cost.plot(minutes, [item.cpu_us for item in parts], color=BLUE, linewidth=1.2)
    for go, held in _goes(samples[:: max(1, len(samples) // 400)]).items():
        minutes = [item["seconds"] / 60 for item in held]
        memory.plot(minutes, [item["rss_mib"] for item in held], color=BLUE, linewidth=1.2)
        memory.plot(minutes, [item["own_mib"] for item in held], color=GREY, linewidth=1.0)
        if go > 1:
            _mark(panels, minutes[0], "killed, gone on with", RED, "--")
    ended = next(
        (item["seconds"] / 60 for before, item in pairwise(samples) if before["rows"] > item["rows"]), None
    )
    if ended is not None:
        _mark(panels, ended, "dataset, comparison", GREY, ":")
    speed.set_ylabel("requests a second")
    cost.set_ylabel("processor of the\nclient, µs a request")
    memory.set_ylabel("memory of the client, MiB\n(grey: of its own)")
    memory.set_xlabel("minutes")
    for axes in panels:
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def _mark(panels: Any, minutes: float, text: str, colour: str, style: str) -> None:
    """A line through all panels, named in the lowest."""
    for axes in panels:
        axes.axvline(minutes, color=colour, linewidth=1, linestyle=style)
    panels[-1].annotate(
        f" {text}",
        (minutes, 0.06 if colour == RED else 0.9),
        xycoords=("data", "axes fraction"),
        color=colour,
        fontsize=8,
    )


def _goes(samples: list[Sample]) -> dict[float, list[Sample]]:
    found: dict[float, list[Sample]] = {}
    for item in samples:
        found.setdefault(item["go"], []).append(item)
    return found


def page(told: dict[str, Any], samples: list[Sample]) -> str:
    """The page's text."""
    versions = ", ".join(f"{name} {number}" for name, number in told["versions"].items())
    counted, status, summary = told["server"], told["status"], told["summary"]
    kinds = ", ".join(
        f"{n:,} × {k.removeprefix('fault ')}" for k, n in sorted(counted.items()) if k.startswith("fault ")
    )
    before = told.get("before", {"calls": 0, "faults": 0})
    calls, faults = (counted[name] + before[name] for name in ("calls", "faults"))
    part = f" (of the last {counted['calls']:,} calls)" if before["calls"] else ""
    loads = sorted(item["load"] for item in samples)
    rows = status["rows"]
    lines = [
        "# Many rows, and a server that fails now and then",
        "",
        "`make soak` (a million rows; here as many as the table says) writes rows of hh-rlhf's form, judges each pair by one principle in both orders (two requests a",
        "row, in one call) against a server that answers at once and lets one call in so many go wrong, kills the run on",
        "its way and goes on with it. This page and its plot are made by it (`tests/soak.py`).",
        "",
        f"Measured on {told['date']}, commit {told['commit']}: {told['processor']}, {told['cores']} cores, load "
        f"{loads[0]:.1f} to {loads[-1]:.1f} (median {loads[len(loads) // 2]:.1f}) with the server and other work beside; {versions}.",
        "",
        "![Requests a second, processor time a request and memory over time](soak.svg)",
        "",
        "| what | figure |",
        "| --- | --- |",
        f"| rows, source | {told['rows']:,}, {told['source_mb']:,} MB |",
        f"| calls that reached the server | {calls:,}, of which {faults:,} went wrong ({told['rate']:.1%} asked for) |",
        f"| what went wrong{part} | {kinds} |",
        f"| rows finished, excluded, in quarantine | {rows['finished']:,}, {sum(rows['excluded'].values()):,}, {rows['quarantined']:,} |",
        f"| accounts | {'balanced' if not status['unbalanced'] else '; '.join(status['unbalanced'])} |",
        f"| preferences in the dataset | {sum(summary['configs']['preferences'].values()):,} |",
        f"| store | {told['store_mb']:,} MB |",
        "",
        "Memory is that of the process; there is no engine in it. Of its own (RssAnon) is what nobody else can use; the whole (VmHWM at its",
        "peak, VmRSS by phase) has libraries and mapped files in it too, the store's index and a comparison's columns above all, which the",
        "system takes back when it needs room. Processor time counts all threads.",
        "",
        "| process | seconds | processor s | memory of its own, MiB | the whole, MiB | the whole by phase, MiB | first call after, s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, go in told["goes"].items():
        phases = ", ".join(f"{PHASES[key]} {peak}" for key, peak in go["peak_mib_by_phase"].items())
        phases = phases if name.startswith(("run", "resumed")) else ""
        first = go.get("first_call_s", "")
        lines.append(
            f"| {MEANINGS[name]} | {go['seconds']:,} | {go['cpu_s']:,} | {go['own_mib']} | {go['peak_mib']} | {phases} | {first} |"
        )
    if told.get("note"):
        lines += ["", told["note"]]
    return "\n".join(lines) + "\n"

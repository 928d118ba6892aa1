"""The page of a soak: its figures as tables, throughput and memory over time as a plot.

What this module does not know: how the samples came about (tests/soak.py).
"""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

OVER_S = 10.0
"""Rates are means over so long."""

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


def write_page(folder: Path, docs: Path) -> None:
    """Write soak.md and soak.svg into `docs` from what a soak left in `folder`."""
    told = orjson.loads((folder / "soak.json").read_bytes())
    with (folder / "samples.csv").open(newline="") as file:
        samples = list(csv.DictReader(file))
    rows: list[Sample] = [
        {name: float(value) for name, value in line.items() if name != "phase"}
        | {"rows": float(line["phase"] == "rows")}
        for line in samples
        if line["go"] in ("1", "2")
    ]
    plot(rows, docs / "soak.svg")
    (docs / "soak.md").write_text(page(told, rows), "utf-8")


def rates(samples: list[Sample]) -> list[tuple[float, float]]:
    """Calls answered a second over time, (minutes, rate), of the time in which rows were worked on."""
    found: list[tuple[float, float]] = []
    kept = [item for item in samples if item["rows"]]
    begin = 0
    for end, item in enumerate(kept):
        if item["go"] != kept[begin]["go"]:
            begin = end
        first = kept[begin]
        if item["seconds"] - first["seconds"] >= OVER_S:
            done = (item["calls"] - item["faults"]) - (first["calls"] - first["faults"])
            found.append((item["seconds"] / 60, done / (item["seconds"] - first["seconds"])))
            begin = end
    return found


def plot(samples: list[Sample], path: Path) -> None:
    """Throughput and memory over time, one above the other; equal samples give equal bytes."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "cai", "svg.fonttype": "none", "font.family": "sans-serif"})
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(7.2, 5.0), layout="constrained")
    speed = rates(samples)
    thinned = samples[:: max(1, len(samples) // 400)]
    above.plot([at for at, _ in speed], [2 * rate for _, rate in speed], color="#1f5fa8", linewidth=1.2)
    above.set_ylabel("requests answered a second")
    above.set_ylim(bottom=0)
    for go, parts in _goes(thinned).items():
        minutes = [item["seconds"] / 60 for item in parts]
        below.plot(minutes, [item["rss_mib"] for item in parts], color="#1f5fa8", linewidth=1.2)
        if go > 1:
            for axes in (above, below):
                axes.axvline(minutes[0], color="#a33", linewidth=1, linestyle="--")
            above.annotate(
                " killed, gone on with", (minutes[0], 0.04), xycoords=("data", "axes fraction"), color="#a33"
            )
    ended = next(
        (item["seconds"] / 60 for before, item in pairwise(samples) if before["rows"] > item["rows"]), None
    )
    if ended is not None:
        for axes in (above, below):
            axes.axvline(ended, color="#555", linewidth=1, linestyle=":")
        below.annotate(
            " dataset, comparison", (ended, 0.04), xycoords=("data", "axes fraction"), color="#555"
        )
    below.axhline(500, color="#555", linewidth=0.8)
    below.annotate("500 MiB", (0.005, 505), xycoords=("axes fraction", "data"), color="#555")
    below.set_ylabel("memory of the process, MiB")
    below.set_ylim(bottom=0)
    below.set_xlabel("minutes")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


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
    loads = sorted(item["load"] for item in samples)
    rows = status["rows"]
    lines = [
        "# A million rows",
        "",
        "`make soak` writes rows of hh-rlhf's form, judges each pair by one principle in both orders (two requests a",
        "row, in one call) against a server that answers at once and lets one call in so many go wrong, kills the run on",
        "its way and goes on with it. This page and its plot are made by it (`tests/soak.py`).",
        "",
        f"Measured on {told['date']}, commit {told['commit']}: {told['processor']}, {told['cores']} cores, load "
        f"{loads[0]:.1f} to {loads[-1]:.1f} (median {loads[len(loads) // 2]:.1f}) with the server and other work beside; {versions}.",
        "",
        "![Requests a second and memory over time](soak.svg)",
        "",
        "| what | figure |",
        "| --- | --- |",
        f"| rows, source | {told['rows']:,}, {told['source_mb']:,} MB |",
        f"| calls that reached the server | {counted['calls']:,}, of which {counted['faults']:,} went wrong ({told['rate']:.1%} asked for) |",
        f"| what went wrong | {kinds} |",
        f"| rows finished, excluded, in quarantine | {rows['finished']:,}, {sum(rows['excluded'].values()):,}, {rows['quarantined']:,} |",
        f"| requests kept from before the kill | {status['requests']['main judgement']['from_store']:,} |",
        f"| accounts | {'balanced' if not status['unbalanced'] else '; '.join(status['unbalanced'])} |",
        f"| preferences in the dataset | {sum(summary['configs']['preferences'].values()):,} |",
        f"| store | {told['store_mb']:,} MB |",
        "",
        "Memory is what the process itself holds (VmHWM at its peak, VmRSS by phase); there is no engine in it. Processor time counts",
        "all its threads.",
        "",
        "| process | seconds | processor s | peak MiB | by phase, MiB | first call after, s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, go in told["goes"].items():
        phases = ", ".join(f"{PHASES[key]} {peak}" for key, peak in go["peak_mib_by_phase"].items())
        phases = phases if name.startswith(("run", "resumed")) else ""
        first = go.get("first_call_s", "")
        lines.append(
            f"| {MEANINGS[name]} | {go['seconds']:,} | {go['cpu_s']:,} | {go['peak_mib']} | {phases} | {first} |"
        )
    return "\n".join(lines) + "\n"

"""Puts a report together: one HTML file that needs nothing else and can run nothing else.

The content security policy allows the page's own style and script by their hashes and nothing
besides: no request, no inline attribute, no text made into markup (trusted types). Rows travel as
JSON, and the script writes their texts as text nodes.

What this module does not know: how a figure is computed, how a section is written.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from cai.compare.figures import Comparison
from cai.report import about_agreement, about_judging, about_revisions, about_rows
from cai.report.links import command, shown_name
from cai.report.markup import Html, escape, join, tag
from cai.report.rows import Names, embedded, records
from cai.report.selection import select
from cai.report.tables import Head as Column
from cai.report.tables import more, paragraph, section, table
from cai.report.traces import find_rows, read_rows

LARGEST_BYTES = 3_000_000
_PARTS = ("policy", "title", "style", "header", "main", "footer", "data", "script")


def write_report(run_folder: Path, comparison: Comparison) -> Path:
    """Write `report.html`, replacing it whole; equal datasets give equal bytes. Returns its path."""
    path = run_folder / "report.html"
    new = path.with_name(".report.html-new")
    new.write_bytes(report(run_folder, comparison))
    new.replace(path)
    return path


def report(run_folder: Path, comparison: Comparison) -> bytes:
    """The page, as UTF-8."""
    run = shown_name(run_folder)
    return page(comparison, page_data(run_folder / "dataset", comparison, run), run)


def page_data(dataset_folder: Path, comparison: Comparison, run: str) -> dict[str, Any]:
    """What the page's script is given (rows.py)."""
    judging = comparison.judging.get("human")
    places = find_rows(dataset_folder, judging.judge if judging else None)
    selection = select(comparison, places)
    principles = Names([item.principle for item in comparison.principles])
    others = [item.judge for item in comparison.other_judges]
    others += comparison.settings.get("judges") or []  # where no human pair was judged, these alone say it
    judges = Names([*([judging.judge] if judging else []), *others])
    rows = records(
        read_rows(places, selection.order),
        selection.order,
        selection.urgency,
        selection.lists,
        (principles, judges),
        float(comparison.settings.get("tie_threshold", 0.0)),
    )
    return {
        "command": command("show", run, "--row"),
        "principles": principles.all(),
        "judges": judges.all(),
        "lists": about_rows.LIST_NAMES,
        "texts": about_revisions.phrase_texts(comparison),
        "rows": rows,
    }


def page(comparison: Comparison, data: Mapping[str, Any], run: str) -> bytes:
    """The page with these rows."""
    assets = files("cai.report") / "assets"
    names = sorted(item.name for item in assets.iterdir() if item.name.endswith(".js"))
    script = "\n".join((assets / name).read_text("utf-8") for name in names)
    style = (assets / "report.css").read_text("utf-8")
    parts = {
        "policy": escape(policy(script, style)),
        "title": escape(f"{run}: AI labels beside human ones"),
        "style": style,
        "header": _header(comparison, run),
        "main": _main(comparison, data, run),
        "footer": _footer(comparison),
        "data": embedded(data).decode(),
        "script": script,
    }
    made = (assets / "page.html").read_text("utf-8")
    pieces = [made]
    for name in _PARTS:
        before, after = pieces.pop().split("{{" + name + "}}")
        pieces += [before, parts[name], after]
    return "".join(pieces).encode()


def policy(script: str, style: str) -> str:
    """The content security policy of a page with this script and this style."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


_CONTENTS = {
    "agreement": "Agreement",
    "calibration": "Calibration",
    "principles": "Principles",
    "judge": "The judge",
    "harm": "Harm",
    "revisions": "Revisions",
    "right": "Who was right",
    "rows": "The rows",
    "made": "How it was made",
}


def _header(comparison: Comparison, run: str) -> Html:
    theme = tag("button", "Colours: system", type="button", id="theme", hidden=True, data_scripted=True)
    about = f"{comparison.finished:,} of {comparison.rows:,} rows finished, generation {comparison.generation[:12]}"
    show = tag(
        "button", "Show texts", type="button", data_show_texts=True, aria_pressed="false", hidden=True,
        data_scripted=True,
    )  # fmt: skip
    return join(
        [
            tag("h1", "AI labels beside human ones: ", tag("bdi", run)),
            tag("div", tag("p", about, class_="note"), theme, class_="bar"),
            tag(
                "div",
                paragraph(
                    tag("strong", "Content warning. "),
                    "The data behind this page can hold offensive, violent and otherwise disturbing text. "
                    "All of it is hidden until you ask.",
                ),
                show,
                class_="warning",
                role="note",
            ),
        ]
    )


def _main(comparison: Comparison, data: Mapping[str, Any], run: str) -> Html:
    sections = [
        about_rows.next_steps(comparison, run),
        about_agreement.agreement(comparison),
        about_agreement.calibration(comparison),
        about_judging.principles(comparison),
        about_judging.judge(comparison),
        about_judging.harm(comparison),
        about_revisions.revisions(comparison),
        about_rows.right(comparison),
        about_rows.rows(comparison, data, run),
        _made(comparison),
    ]
    there = [name for name in _CONTENTS if any(f'id="{name}"' in (item or "") for item in sections)]
    links = [tag("li", tag("a", _CONTENTS[name], href=f"#{name}")) for name in there]
    return join(
        [
            tag("p", _sentences(comparison.verdict), class_="verdict", id="verdict"),
            about_agreement.key_figures(comparison),
            tag("nav", tag("ul", links, class_="contents"), aria_label="Sections"),
            sections,
        ]
    )


def _sentences(verdict: Sequence[str]) -> list[Html]:
    """The verdict's sentences; what stands in backticks is a command."""
    parts = " ".join(verdict).replace(" %", "\u00a0%").split("`")
    return [tag("code", part) if index % 2 else escape(part) for index, part in enumerate(parts)]


def _made(comparison: Comparison) -> Html:
    excluded = [[f"excluded: {reason}", f"{count:,}"] for reason, count in comparison.excluded.items()]
    lost = [["of these without their oldest turns", f"{comparison.shortened:,}"]]
    shortened = lost if comparison.shortened else []
    accounts = [
        ["source rows", f"{comparison.rows:,}"],
        ["finished", f"{comparison.finished:,}"],
        *shortened,
        ["not finished", f"{comparison.not_finished:,}"],
        *excluded,
    ]
    settings = [[name, str(value)] for name, value in comparison.settings.items()]
    constants = comparison.constants
    made_with = (
        f"Intervals are at {100 * constants.confidence:g} %. They and the tests take pairs that share a prompt's first turn as "
        f"one cluster, except for phrases, places (A or B) and figures against a planted or a person's truth; bootstraps draw {constants.resamples:,} times. The generation is {comparison.generation}."
    )
    return section(
        "made",
        "How it was made",
        table("Rows", [Column("what", "words"), Column("rows")], accounts),
        more(
            "Settings",
            table("Settings of the dataset", [Column("what", "words"), Column("value", "words")], settings),
        ),
        about_agreement.literature(comparison),
        paragraph(made_with),
    )


def _footer(comparison: Comparison) -> Html:
    return paragraph(
        "The same figures as data: comparison.json, of the form ",
        tag("code", comparison.form),
        "; its JSON Schema: ",
        tag("code", "cai compare --schema"),
        ". This page asks nothing of any network, and keeps nothing.",
    )

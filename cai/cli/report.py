"""`cai report`: the comparison as one HTML file with the rows behind it, and as Markdown.

What this module does not know: how the page is made (cai/report).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cai.cli.console import err, waiting


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("report")(report)


def report(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the figures as Markdown.")] = False,
) -> None:
    """Write the comparison as one HTML file to read.

    Also written: report.md, the same figures as Markdown, and comparison.json.
    """
    page, text = report_run(target)
    if as_json:
        sys.stdout.write((page.parent / "comparison.json").read_text("utf-8"))
    elif as_markdown:
        sys.stdout.write(text.read_text("utf-8"))
    err().print(f"The report: {escape(str(page))}, and for a card {escape(str(text))}", soft_wrap=True)


def report_run(target: Path) -> tuple[Path, Path]:
    """Compare, write comparison.json, report.html and report.md. Raises: CaiError."""
    from cai.cli.compare import compared
    from cai.report import write_markdown, write_report

    run, comparison = compared(target)
    with waiting("Writing the report"):
        return write_report(run.path, comparison), write_markdown(run.path, comparison)

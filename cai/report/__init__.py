"""The report: a comparison as one HTML file with the rows behind it, and as Markdown for a card.

    comparison ─about_agreement, about_judging, about_revisions, about_rows→ sections ┐
    dataset ─selection, traces, rows→ rows as JSON ──────────────────────────────────┴page→ report.html

`assets/` holds what the page is made of besides: its frame, its style, its script in parts.

What this package does not know: stores, engines, recipes, how a figure is computed, the Hub.
"""

from cai.report.markdown import markdown, write_markdown
from cai.report.page import LARGEST_BYTES, write_report

__all__ = ["LARGEST_BYTES", "markdown", "write_markdown", "write_report"]

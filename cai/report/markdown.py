"""The same figures as Markdown, short enough for a dataset card.

What this module does not know: where the text will stand, how a figure is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cai.compare.figures import Comparison, Estimate, RevisionFigures
from cai.report import numbers
from cai.report.about_agreement import scanned
from cai.report.markup import visible

_GROUPS = 12
_ESCAPED = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#|~"})


def write_markdown(run_folder: Path, comparison: Comparison) -> Path:
    """Write `report.md`, replacing it whole; returns its path."""
    path = run_folder / "report.md"
    new = path.with_name(".report.md-new")
    new.write_text(markdown(comparison), encoding="utf-8")
    new.replace(path)
    return path


def markdown(comparison: Comparison) -> str:
    """Verdict, figures, groups and principles as compact tables, every value with its interval."""
    parts = [_plain(" ".join(comparison.verdict)).replace("\\`", "`")]
    if comparison.agreement.judged:
        parts += [_key(comparison), _baselines(comparison), _groups(comparison), _principles(comparison)]
    parts.append(_harm(comparison))
    if comparison.revisions is not None:
        parts.append(_revisions(comparison.revisions))
    parts.append(_right(comparison))
    confidence = f"{100 * comparison.constants.confidence:g}"
    parts.append(
        f"In brackets: {confidence} % intervals; pairs that share a prompt's first turn are one cluster, except for "
        "phrases, the letter answered, and figures against a planted truth."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return " ".join(visible(text).translate(_ESCAPED).split())


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column holds words, the others numbers."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _key(comparison: Comparison) -> str:
    found, calibration = comparison.agreement, comparison.calibration
    rows = [
        ["agreement with the human labels", numbers.rate_text(found.decided)],
        ["the same, a tie counting half", numbers.rate_text(found.ties_half)],
        ["judged pairs with a label", numbers.rate_text(found.coverage)],
        ["Cohen's kappa", numbers.estimate_text(comparison.kappa)],
        ["log-loss (a coin: 0.693)", numbers.estimate_text(calibration.log_loss)],
        ["calibration error, ECE (no interval)", numbers.number(calibration.ece)],
        ["AUROC", numbers.estimate_text(calibration.auroc)],
    ]
    judging = comparison.judging.get("human")
    if judging is not None:
        rows.append(["the judge answers A", numbers.rate_text(judging.first_position)])
        rows.append(["principles whose orders agree, mean", numbers.share_text(judging.order_consistency)])
    for labeller, name in (("ai", "the AI"), ("human", "the human")):
        bias = comparison.bias(labeller)
        if bias is not None:
            rows.append([f"{name} prefers the longer response", numbers.rate_text(bias.longer)])
    return _table(["figure", "value (interval, n)"], rows)


def _baselines(comparison: Comparison) -> str:
    rows = [
        [
            _plain(item.name),
            numbers.rate_text(item.ties_half),
            "" if item.kind == "ai" else numbers.points(item.ahead),
        ]
        for item in comparison.main.lines
    ]
    return _table(["who labels", "agreement, ties half", "the AI is ahead by"], rows) if rows else ""


def _groups(comparison: Comparison) -> str:
    groups = comparison.breakdown("subset")
    rows = [
        [_plain(item.name), numbers.rate_text(item.agreement.decided), scanned(item.scan)]
        for item in groups[:_GROUPS]
    ]
    if not rows:
        return ""
    left = f"\n\n{len(groups) - _GROUPS} more subsets are left out." if len(groups) > _GROUPS else ""
    return _table(["subset", "agreement", "differs from the rest"], rows) + left


def _principles(comparison: Comparison) -> str:
    several = len({item.constitution for item in comparison.principles}) > 1
    rows = [
        [
            _plain(f"{item.constitution}: {item.principle}" if several else item.principle),
            numbers.rate_text(item.agreement),
            numbers.share_text(item.order_consistency),
        ]
        for item in comparison.principles
    ]
    return _table(["principle, alone", "agreement", "orders agree"], rows) if rows else ""


def _harm(comparison: Comparison) -> str:
    found = comparison.harm
    if found is None or not found.rated:
        return ""
    rows = [
        ["the human's choice", numbers.estimate_text(found.chosen)],
        ["the other response", numbers.estimate_text(found.rejected)],
        ["both responses bad", numbers.rate_text(found.both)],
        ["ratings in which the judge abstained", numbers.rate_text(found.ratings)],
    ]
    return _table(["P(harmful), not calibrated", "value (interval)"], rows)


def _revisions(found: RevisionFigures) -> str:
    rows = [
        ["usable at the end", numbers.rate_text(found.usable)],
        ["unchanged", numbers.rate_text(found.unchanged)],
        ["preferred to the original by the judge", numbers.rate_text(found.preferred)],
        ["hold a phrase that revisions repeat", numbers.rate_text(found.phrase_share)],
    ]
    for item in found.changes:
        if item.measure in ("harm", "refuses", "evades"):
            name = {"harm": "P(harmful)", "refuses": "refusals", "evades": "evasions"}[item.measure]
            if item.measure == "harm":  # a mean of probabilities, as in the terminal
                change = f"{numbers.estimate_text(item.before)} → {numbers.estimate_text(item.after)}, {numbers.difference_text(item.difference)}"
            else:
                change = f"{numbers.share_text(item.before)} → {numbers.share_text(item.after)}, {numbers.points(item.difference)}"
            rows.append([f"{name}, round {item.round}", change])
    return _table([f"revisions of {found.revised:,} responses", "value (interval, n)"], rows)


def _right(comparison: Comparison) -> str:
    """Who was right, as far as anybody can say."""
    rows = []
    planted = comparison.planted
    person = comparison.person if comparison.person and comparison.person.answered else None
    if person is not None:
        for name, side in (("the AI label", person.ai), ("the human label", person.human)):
            rows.append([name, _weighted(side.weighted)])
        rows.append(["the AI label, where they differ", _weighted(person.differ.sided.weighted)])
    if planted is not None:
        rows.append(["the AI is right, as planted", numbers.rate_text(planted.ai)])
        rows.append(["the human label is right, as planted", numbers.rate_text(planted.human)])
    if not rows and not comparison.agreement.judged:
        return ""  # no human label that the AI could differ from
    if not rows:
        return "Who is right where the AI and the human differ is not known: no person has reviewed a sample."
    blind = f"who is right, by a blind review of {person.answered:,} pairs" if person else "who is right"
    return _table([blind, "share (interval)"], rows)


def _weighted(estimate: Estimate) -> str:
    """A share that is an estimate: `81.2 % (71.2 to 91.2)`."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return numbers.share(estimate.value)
    return f"{numbers.share(estimate.value)} ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"

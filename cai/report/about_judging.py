"""The sections about the judge: its principles, its biases, other judges, harm.

What this module does not know: how a figure is computed; rows.
"""

from __future__ import annotations

from cai.compare.figures import (
    Bias,
    Comparison,
    Estimate,
    HarmFigures,
    Judging,
    PrincipleFigures,
    PrincipleMatrix,
    Rate,
)
from cai.report import charts, numbers
from cai.report.about_agreement import scanned
from cai.report.links import rows_link
from cai.report.markup import Child, Html, join, tag
from cai.report.tables import Head, below, more, note, paragraph, section, table

_HEAT = (0.6, 0.7, 0.8, 0.9, 0.97)
"""From which pairwise agreement on a cell takes the next shade."""
_CONTRARY = 0.4
"""Below it two principles rather contradict each other."""
_MATRIX_LONGEST = 32


def principles(comparison: Comparison) -> Html | None:
    """Each principle alone, and how often two of them agree."""
    if not comparison.principles:
        return None
    constitutions = list(dict.fromkeys(item.constitution for item in comparison.principles))
    return section(
        "principles",
        "Principle by principle",
        [_principles(name, comparison) for name in constitutions],
        [_matrix(item) for item in comparison.matrices],
    )


def _principles(constitution: str, comparison: Comparison) -> Html:
    heads = [
        Head("principle", "words"),
        Head("agrees"),
        Head("95 % interval"),
        Head("contradicts"),
        Head("decided"),
        Head("orders agree"),
        Head("differs from all together"),
        Head("", "chart"),
    ]
    own = [item for item in comparison.principles if item.constitution == constitution]
    rows = [_principle(item) for item in own]
    caption = f"Principles of “{constitution}”, each alone, against the human label"
    meaning = (
        "Agrees, contradicts: of the pairs that it decides. Orders agree: the same response preferred with "
        "the responses swapped. Differs: McNemar's test against the combined label, adjusted for all principles."
    )
    return table(caption, heads, rows, meaning)


def _principle(item: PrincipleFigures) -> list[Child]:
    agreement = item.agreement
    against = None if agreement.value is None else 1 - agreement.value
    return [
        rows_link(item.principle, principle=f"j:{item.principle}"),
        numbers.share(agreement.value),
        numbers.rate_interval(agreement),
        numbers.share(against),
        below(numbers.share_text(item.decided)),
        below(numbers.share_text(item.order_consistency)),
        scanned(item.scan),
        charts.strip(agreement),
    ]


def _matrix(matrix: PrincipleMatrix) -> Html | None:
    """Pairwise agreement, shaded; the columns have the lines' numbers."""
    count = len(matrix.principles)
    if count < 2 or count > _MATRIX_LONGEST:
        return None
    caption = f"How often two principles of “{matrix.constitution}” prefer the same response (per cent)"
    head = [tag("th", "principle", scope="col")]
    head += [tag("th", str(i + 1), scope="col", title=name) for i, name in enumerate(matrix.principles)]
    body = []
    for i, name in enumerate(matrix.principles):
        cells = [_cell(matrix.same[i][j], i == j, matrix.n[i][j]) for j in range(count)]
        body.append(tag("tr", tag("th", f"{i + 1} {name}", scope="row"), cells))
    whole = tag(
        "table", tag("thead", tag("tr", head)), tag("tbody", body), class_="matrix", aria_label=caption
    )
    region = tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)
    meaning = note(
        "Of the human pairs that both decide; cells have no intervals. Shaded: they agree in 60 % or more; in bold: in less than 40 %."
    )
    return tag("figure", tag("figcaption", caption), region, meaning)


def _cell(value: float | None, own: bool, n: int) -> Html:
    if own:
        return tag("td", "·", class_="self")
    if value is None:
        return tag("td", numbers.NONE)
    shade = sum(value >= bound for bound in _HEAT)
    kind = f"h{shade}" if shade else "contrary" if value < _CONTRARY else None
    return tag("td", f"{100 * value:.0f}", class_=kind, title=f"{n:,} pairs")


def judge(comparison: Comparison) -> Html | None:
    """How the judge behaves whatever it prefers; biases of both labellers; other judges."""
    if not comparison.judging:
        return None
    return section(
        "judge",
        "How the judge behaves",
        _behaviour(comparison),
        _biases(comparison),
        _terms(comparison),
        _judges(comparison),
    )


def _behaviour(comparison: Comparison) -> Html:
    columns: list[tuple[str, Judging]] = [
        (f"{kind} pairs", item) for kind, item in comparison.judging.items()
    ]
    columns += [(f"{item.judge}, human pairs", item) for item in comparison.other_judges]
    lines: list[tuple[str, list[Child]]] = [
        ("pairs judged", [f"{item.judged:,}" for _, item in columns]),
        ("single judgements", [f"{item.judgements:,}" for _, item in columns]),
        ("of these abstained", [_abstained(item) for _, item in columns]),
        ("the same as a share", [_both(item.abstention) for _, item in columns]),
        ("answers A (50 %: no favourite place)", [_both(item.first_position) for _, item in columns]),
        ("same letter in both orders", [_both(item.same_place) for _, item in columns]),
        (
            "principles whose orders agree, mean",
            [below(numbers.share_text(item.order_consistency)) for _, item in columns],
        ),
        (
            "probability on the options, mean",
            [below(numbers.share_text(item.option_mass)) for _, item in columns],
        ),
    ]
    heads = [Head("figure", "words"), *(Head(name) for name, _ in columns)]
    return table("Behaviour, by kind of pair", heads, [[name, *cells] for name, cells in lines])


def _abstained(item: Judging) -> str:
    if not item.abstained_judgements:
        return "0"
    reasons = ", ".join(f"{name} {count:,}" for name, count in sorted(item.abstained_as.items()))
    return f"{item.abstained_judgements:,} ({reasons})" if reasons else f"{item.abstained_judgements:,}"


def _both(rate: Rate) -> Html:
    return join(
        [numbers.share(rate.value), tag("br"), tag("span", numbers.rate_interval(rate), class_="quiet")]
    )


def _biases(comparison: Comparison) -> Html | None:
    labellers = [item for item in comparison.biases if " given " not in item.labeller]
    if not labellers:
        return None
    heads = [Head("prefers the response that", "words"), *(Head(_labeller(item)) for item in labellers)]
    rows: list[list[Child]] = [
        ["is longer", *(_counted(item.longer) for item in labellers)],
        ["refuses, where one does", *(_counted(item.refusal) for item in labellers)],
        ["evades, where one does", *(_counted(item.evasion) for item in labellers)],
        ["asks back, where one does", *(_counted(item.question) for item in labellers)],
    ]
    return table(
        "What each labeller tends to prefer",
        heads,
        rows,
        "Human and AI: on the same pairs, those that the AI labels; other judges: on those that each of "
        "them labels. 50 %: no leaning. Refusals and evasions are found by word patterns, which miss some.",
    )


def _counted(rate: Rate) -> Html:
    if rate.value is None:
        return Html(numbers.NONE)
    return join(
        [
            numbers.share(rate.value),
            tag("br"),
            tag("span", f"{numbers.rate_interval(rate)}, n {rate.n:,}", class_="quiet"),
        ]
    )


def _labeller(item: Bias) -> str:
    return {"ai": "the AI", "human": "the human", "ai given human": "the AI, the human label known"}.get(
        item.labeller, item.labeller
    )


def _terms(comparison: Comparison) -> Html | None:
    regressed = [item for item in comparison.biases if item.terms]
    if not regressed:
        return None
    names = list(dict.fromkeys(term.name for item in regressed for term in item.terms))
    heads = [Head("difference in", "words"), *(Head(_labeller(item)) for item in regressed)]
    rows: list[list[Child]] = []
    for name in names:
        cells: list[Child] = [name]
        for item in regressed:
            term = next((found for found in item.terms if found.name == name), None)
            cells.append(numbers.NONE if term is None else numbers.estimate_text(term.coefficient, 2))
        rows.append(cells)
    units = {item.length_unit_characters: _labeller(item) for item in reversed(regressed)}
    said = ", ".join(f"{unit:,.0f} ({name})" for unit, name in reversed(units.items()) if unit)
    if len(units) == 1:
        said = said.split(" (")[0]
    length = f" Length: for so many characters more: {said}." if said else ""
    return more(
        "The same in one regression",
        table(
            "Logistic regression of the label: log-odds, all differences at once",
            heads,
            rows,
            "0: no leaning once the others are taken into account." + length,
        ),
    )


def _judges(comparison: Comparison) -> Html | None:
    if not comparison.between_judges:
        return None
    heads = [
        Head("judges", "words"),
        Head("agreement"),
        Head("95 % interval"),
        Head("n"),
        Head("both label"),
        Head("kappa"),
    ]
    rows: list[list[Child]] = [
        [
            f"{item.one} and {item.other}",
            numbers.share(item.agreement.value),
            numbers.rate_interval(item.agreement),
            f"{item.agreement.n:,}",
            below(numbers.share_text(item.coverage)),
            below(numbers.estimate_text(item.kappa)),
        ]
        for item in comparison.between_judges
    ]
    meaning = "Of the pairs that both label; ties and abstentions of either are left out."
    return table("Agreement between judges, on human pairs", heads, rows, meaning)


def harm(comparison: Comparison) -> Html:
    """The absolute question: is this response harmful?"""
    found = comparison.harm
    title = "Is the response harmful at all?"
    if found is None:
        return section(
            "harm",
            title,
            paragraph(
                "Responses were not rated for harm one by one in this run (",
                tag("code", "feedback.harm"),
                " in the recipe), so nothing here says whether both responses of a pair are bad.",
            ),
        )
    if not found.rated:
        pairs = "No pair has both of its responses rated for harm."
        if not found.without:
            pairs = "No human pair was judged, so there is none whose ratings of harm could stand here."
        return section("harm", title, paragraph(f"{pairs} {_unrated(found)}"))
    return section("harm", title, _harm(found, comparison))


def _unrated(found: HarmFigures) -> str:
    """Which ratings are missing, and why."""
    reasons = ", ".join(f"{name} {count:,}" for name, count in sorted(found.abstained_as.items()))
    said = f"Of {found.ratings.n:,} single ratings {found.ratings.count:,} abstained" + (
        f" ({reasons}). " if reasons else ". "
    )
    if not found.rated and not found.without:
        return said
    return said + (
        f"{found.without:,} pairs lack a rating: the judge abstained in {found.abstained:,}, "
        f"and was not asked in {found.without - found.abstained:,}. "
    )


def _harm(found: HarmFigures, comparison: Comparison) -> Html:
    heads = [Head("figure", "words"), Head("value"), Head("95 % interval"), Head("", "chart")]
    rows: list[list[Child]] = [
        ["the human's choice: mean P(harmful)", *_estimate(found.chosen)],
        ["the other response: mean P(harmful)", *_estimate(found.rejected)],
        ["difference, paired", numbers.points(found.difference).split(" (")[0], *_points_interval(found), ""],
        [
            rows_link("both responses bad", list="both harmful"),
            numbers.share(found.both.value),
            numbers.rate_interval(found.both),
            charts.strip(found.both),
        ],
    ]
    threshold = comparison.constants.harm_threshold
    return table(
        f"P(harmful) by the judge “{found.judge}”, over {found.rated:,} pairs",
        heads,
        rows,
        f"Not calibrated. Bad: P(harmful) of {threshold:g} or more. {_unrated(found)}"
        "Pairs with both responses bad are flagged, never left out.",
    )


def _estimate(figure: Estimate) -> list[Child]:
    return [numbers.number(figure.value), numbers.interval(figure), charts.strip(figure)]


def _points_interval(found: HarmFigures) -> list[Child]:
    low, high = found.difference.low, found.difference.high
    if low is None or high is None:
        return [numbers.NONE]
    return [f"{numbers.number(100 * low, 1)} to {numbers.number(100 * high, 1)}"]

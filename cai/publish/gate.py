"""The quality gate: what speaks against publishing a run, each finding by its name.

A finding that blocks stops a push until it is mended or forced by name, and what was forced
stands on the card. The thresholds are the recipe's `publish` section, which can change at any time.

    unbalanced-accounts      some row, pair or request is not accounted for
    no-comparison            labels that were compared with no human ones
    judge-at-chance          agreement with the human labels that a coin might reach, or less
    judge-unfit              the doctor found a fault (judge-unproven: it was not asked; does not block)
    low-order-consistency    the judge's answer hangs on which response it is shown first
    rows-in-quarantine       too many rows failed
    rows-unfinished          the run is not done
    no-licence, unknown-licence   none is stated or carried over, or none that the Hub knows
    unknown-language         none is stated or carried over, or no language's code
    terms-not-stated         nobody says what a model's terms say of its outputs
    terms-restrict           they forbid training other models on them (does not block)
    principles-without-licence    wordings whose licence their source does not state
    secrets, emails, phone-numbers   found in what a model wrote and not in the source
    private-source           rows that not everybody may read, to be pushed for everybody
    source-not-checked       nobody could tell who may read the source (blocks where it is one of the
                             Hub, to be pushed for everybody)
    secret-in-recipe         the published recipe, or a file of principles, templates or worked examples,
                             comments included, holds a key or a token

What this module does not know: licences and terms (rights.py), how a card is written, how anything is
pushed, the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cai.compare.estimates import Estimate, Rate
from cai.compare.verdict import near_chance, turned
from cai.publish.facts import CardFacts
from cai.publish.portable import portable
from cai.publish.rights import Finding, Statements, rights_findings, statements_of
from cai.publish.scan import Found, Kind, ScanReport, secrets_in

_SCANNED: tuple[tuple[str, Kind, str], ...] = (
    ("secrets", "secret", "keys or tokens"),
    ("emails", "e-mail address", "e-mail addresses"),
    ("phone-numbers", "phone number", "phone numbers"),
)


def findings(
    facts: CardFacts, statements: Statements | None = None, scanned: ScanReport | None = None
) -> list[Finding]:
    """What speaks against publishing a run, what blocks first.

    `scanned`: what `scan` found in the dataset; without it the texts count as not looked through.
    """
    said = statements if statements is not None else statements_of(facts.recipe.publish)
    found = [
        *_accounts(facts),
        *_judge(facts),
        *_rows(facts),
        *rights_findings(facts, said),
        *(_texts(scanned, facts.run.shown) if scanned is not None else ()),
        *_secrets(facts),
    ]
    return sorted(found, key=lambda item: not item.blocks)


# ---------------------------------------------------------------------- the run


def _accounts(facts: CardFacts) -> Iterator[Finding]:
    if facts.unbalanced:
        yield Finding(
            "unbalanced-accounts",
            True,
            f"The accounts do not balance: {'; '.join(facts.unbalanced)}.",
            f"Build the dataset and the comparison again (cai dataset {facts.run.shown}, cai report "
            f"{facts.run.shown}); if that changes nothing, `cai store verify {facts.run.shown}` looks for damage.",
        )


def _judge(facts: CardFacts) -> Iterator[Finding]:
    if facts.recipe.feedback is None:
        return
    comparison = facts.comparison
    if comparison is None:
        if "human" in facts.recipe.feedback.pairs:
            yield Finding(
                "no-comparison",
                True,
                "The labels have not been compared with the human ones.",
                f"Type: cai report {facts.run.shown}",
            )
    else:
        agreement = comparison.agreement
        if agreement.judged and not agreement.labelled:
            yield Finding(
                "judge-at-chance",
                True,
                f"Of {agreement.judged:,} human pairs the judge decided none.",
                _BETTER,
            )
        elif agreement.labelled and (near_chance(comparison) or turned(comparison)):
            yield Finding(
                "judge-at-chance",
                True,
                f"The labels agree with the human ones in {_shown(agreement.decided)} of {agreement.labelled:,} pairs, "
                + ("less often than a coin." if turned(comparison) else "which a coin might reach."),
                _BETTER,
            )
        yield from _consistency(facts)
    yield from _doctor(facts)


_BETTER = "Judge more pairs, or with a stronger judge; labels like these should train nothing."


def _consistency(facts: CardFacts) -> Iterator[Finding]:
    least = facts.recipe.publish.min_order_consistency
    judging = facts.comparison.judging if facts.comparison is not None else {}
    for kind, item in judging.items():
        value = item.order_consistency
        if value.value is not None and value.value < least:
            yield Finding(
                "low-order-consistency",
                True,
                f"On the {kind} pairs the judge's two orders agree in {_shown(value)} of the cases, below {100 * least:g} %; a "
                "judge that answers at random reaches 50 %.",
                "Try another judge or template (`cai judge-eval` compares them), or set "
                "`publish.min_order_consistency` with a reason of your own.",
            )
            return


def _doctor(facts: CardFacts) -> Iterator[Finding]:
    """The engines' diagnoses; those of engines that this recipe does not use do not count."""
    judges = {(name, facts.recipe.engines[name].model) for name in facts.recipe.judges()}
    seen = set()
    for item in (facts.doctor or {}).get("engines", ()):
        if (item["engine"], item["model"]) not in judges:
            continue
        seen.add((item["engine"], item["model"]))
        if item["fault"] is not None:
            yield Finding(
                "judge-unfit",
                True,
                f"The doctor found of {item['model']}: {item['fault']['name']}. {item['fault']['sentence']}",
                item["fault"]["remedy"],
            )
    if unproven := sorted(model for _, model in judges - seen):
        yield Finding(
            "judge-unproven",
            False,
            f"No known answers were put to {', '.join(unproven)} before the run.",
            f"It stops no push, and the card says so; `cai doctor {facts.run.shown}` tells you whether it is fit.",
        )


def _rows(facts: CardFacts) -> Iterator[Finding]:
    rows = max(1, facts.summary["rows"])
    section = facts.recipe.publish
    failed, left = facts.fates.quarantined, facts.fates.unfinished
    if failed / rows > section.max_quarantined:
        yield Finding(
            "rows-in-quarantine",
            True,
            f"{failed:,} of {rows:,} rows failed ({failed / rows:.1%}; {section.max_quarantined:.1%} may), and what "
            "fails is not a random part of the rows.",
            f"Take them up again: cai run {facts.run.shown} --retry-quarantined",
        )
    if left / rows > section.max_unfinished:
        yield Finding(
            "rows-unfinished",
            True,
            f"{left:,} of {rows:,} rows are not done.",
            f"Finish the run (cai run {facts.run.shown}), or set `publish.max_unfinished`.",
        )


# ---------------------------------------------------------------------- what the data hold


def _texts(scanned: ScanReport, run: str) -> Iterator[Finding]:
    """What was found in the texts. Which rows, and what like, is for the publisher alone: `what` stands on the card."""
    for name, kind, words in _SCANNED:
        found = scanned.of(kind)
        if found:
            times = sum(item.times for item in found)
            one = found[0].row_ids[0][:12]
            yield Finding(
                name,
                True,
                f"What a model wrote holds {times:,} {words} that the source does not.",
                f"Read those rows (cai show {run} --row {one}, say), and leave them out of the source or force this "
                f"with a reason: {_listed(found)}.",
            )


def _listed(found: Iterable[Found]) -> str:
    parts = []
    for item in found:
        ids = ", ".join(row[:12] for row in item.row_ids)
        more = ", ..." if item.rows > len(item.row_ids) else ""
        what = f"{item.what} like " if item.kind == "secret" else ""
        parts.append(f"{what}{item.like} in {item.rows:,} row{'s' if item.rows != 1 else ''} ({ids}{more})")
    return "; ".join(parts)


def _secrets(facts: CardFacts) -> Iterator[Finding]:
    """Secrets in what travels beside the data: the recipe as it is published, principles, templates, examples."""
    recipe = portable(facts.recipe).recipe.model_dump(mode="json")
    places = [(f"The recipe's {where.lstrip('.')}", text) for where, text in _words(recipe, "")]
    places += [(f"The template {name}", text) for name, text in facts.templates.items()]
    found = {(where, shape) for where, text in places for shape, _ in secrets_in(text)}
    for constitution in facts.constitutions.values():
        name = f"The constitution {constitution.name}"
        said = {f"{name}, principle {item.id},": item.model_dump() for item in constitution.principles}
        found |= _in_files(said, {f"{name}, {file}": text for file, text in constitution.files.items()})
    if facts.examples is not None:
        name = f"The file of worked examples {facts.examples.path.name}"
        judgements = enumerate(facts.examples.judgements, 1)
        said = {f"{name}, judgement {number},": item.model_dump() for number, item in judgements}
        found |= _in_files(said, {name: facts.examples.source})
    for where, shape in sorted(found):
        yield Finding(
            "secret-in-recipe",
            True,
            f"{where} holds what looks like a secret ({shape}).",
            "Take it out, and make a new one where it came from; the recipe can name a variable (`api_key_variable`) "
            "instead.",
        )


def _in_files(said: Mapping[str, Any], files: Mapping[str, str]) -> set[tuple[str, str]]:
    """The place and shape of each secret in what files say, and of those elsewhere in their text (comments, say)."""
    found, seen = set(), set()
    for where, value in said.items():
        for _, text in _words(value, ""):
            for shape, secret in secrets_in(text):
                found.add((where, shape))
                seen.add(secret)
    for file, text in files.items():
        for shape, secret in secrets_in(text):
            if secret not in seen:
                found.add((f"{file}, line {text.count(chr(10), 0, text.index(secret)) + 1},", shape))
    return found


def _words(value: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _words(item, f"{where}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _words(item, f"{where}[{number}]")
    elif isinstance(value, str):
        yield where, value


def _shown(figure: Rate | Estimate) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return "none" if figure.value is None else f"{100 * figure.value:.1f} %"
    return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"

"""The card's words about what came of a run: configs, accounts, figures, limits.

What was not measured is said to be missing, or left out; no sentence here is an estimate.

What this module does not know: where on the card its parts stand (card.md.j2), the Hub.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from cai.compare import Comparison
from cai.dataset.page import type_name
from cai.dataset.schema import ABOUT, TRAINERS, columns
from cai.publish.facts import CardFacts
from cai.publish.markdown_text import Markdown, plain, sentences, summary, table, word
from cai.publish.scan import ScanReport
from cai.report import markdown, numbers

_BIASES = {
    "longer": "the longer response",
    "refusal": "the one that refuses, where one does",
    "evasion": "the one that evades, where one does",
    "question": "the one that ends with a question, where one does",
}


def configs(facts: CardFacts) -> Markdown:
    """What can be loaded: each config with its rows."""
    rows = [
        [
            word(name),
            ", ".join(f"{split} {count:,}" for split, count in splits.items()),
            _doc(ABOUT.get(name, "")),
        ]
        for name, splits in facts.configs.items()
    ]
    return table(["config", "rows", "what it holds"], rows)


def loading(facts: CardFacts, repo: str) -> Markdown:
    """How to open each config, as Python."""
    lines = ["from datasets import load_dataset", ""]
    for name, splits in facts.configs.items():
        split = "train" if "train" in splits else next(iter(splits))
        variable = name.replace("-", "_")
        lines.append(f'{variable} = load_dataset("{repo}", "{name}", split="{split}")')
    return Markdown("\n".join(lines))


def training(facts: CardFacts) -> Markdown:
    """A trainer of TRL for each config that one takes, as Python; empty where none is."""
    made = [
        f'{trainer}("your/model", train_dataset={name.replace("-", "_")})'
        for name, splits in facts.configs.items()
        for trainer in TRAINERS.get(name, ())
        if "train" in splits
    ]
    if not made:
        return Markdown("")
    names = sorted({line.partition("(")[0] for line in made})
    ends = [f"{line}.train()" for line in made]
    return Markdown("\n".join([f"from trl import {', '.join(names)}", "", *ends]))


def columns_of(facts: CardFacts) -> list[dict[str, Markdown]]:
    """The columns of each config, folded."""
    return [
        {
            "summary": summary(f"The columns of {name}"),
            "table": table(
                ["column", "type", "meaning"],
                (
                    [word(item.name), word(type_name(item)), _doc(item.doc)]
                    for item in columns(name, facts.summary["settings"])
                ),
            ),
        }
        for name in facts.configs
    ]


def _doc(text: str) -> Markdown:
    """A column's meaning, written in this program, where backticks mean code."""
    return Markdown(text.replace("|", "\\|").replace("<", "&lt;"))


def shape(facts: CardFacts) -> Markdown:
    """What a reader should know before using a row."""
    parts = []
    if "preferences" in facts.configs:
        parts.append(
            "In `preferences`, `chosen` is what the AI prefers, and `human_agrees` tells whether the human did too; "
            "`ai_probability` is the soft label."
        )
        mixed = sum(
            sum(patterns.values())
            for patterns in (facts.summary.get("mixed") or {}).get("preferences", {}).values()
        )
        if mixed:
            parts.append(
                f"{_rows(mixed).capitalize()} of it {'was' if mixed == 1 else 'were'} mixed in and not judged: the order is "
                "the human's (`labelled_by`), and there is no probability."
            )
        reviewed = facts.summary["settings"].get("reviewed", 0)
        if reviewed:
            parts.append(
                f"{_rows(reviewed).capitalize()} {'was' if reviewed == 1 else 'were'} reviewed by people who saw neither "
                "label: `person_prefers_chosen` is what they say where they decide, and `review/` holds their answers."
            )
    if "sft" in facts.configs:
        parts.append("In `sft`, earlier turns of the assistant stand in the prompt, and carry no loss.")
        if facts.summary.get("settings", {}).get("mix_sft") and (facts.summary.get("mixed") or {}).get("sft"):
            parts.append(
                "Rows of it without `of` were mixed in: their completion is the response that the human preferred."
            )
    if "traces" in facts.configs:
        parts.append("`traces` has, for every source row, all that was asked and answered.")
    return Markdown(" ".join(parts))


# ---------------------------------------------------------------------- accounts, limits


def accounts(facts: CardFacts) -> Markdown:
    """What became of every row and pair."""
    found = facts.summary
    excluded = sum(found["excluded"].values())
    balance = "They balance." if not facts.unbalanced else "**They do not balance.**"
    failed = f" ({facts.fates.quarantined:,} of these failed)" if facts.fates.quarantined else ""
    lines = [
        f"{found['rows']:,} source rows = {found['finished']:,} finished + {excluded:,} excluded + "
        f"{found['not_finished']:,} not finished{failed}. {balance}"
    ]
    reasons = table(
        ["excluded because", "rows"], ((word(k), v) for k, v in found["excluded"].items()), numbers=[1]
    )
    kinds = table(
        ["pairs", "labelled", "tied", "abstained", "rows without such a pair"],
        (
            [kind, *(account[name] for name in ("labelled", "tied", "abstained", "without_pair"))]
            for kind, account in found["pairs"].items()
            if any(account[name] for name in ("labelled", "tied", "abstained"))
        ),
        numbers=range(1, 5),
    )
    fates = table(
        ["what became of revisions", "how many"],
        ((name.replace("_", " "), count) for name, count in found.get("revisions", {}).items()),
        numbers=[1],
    )
    return Markdown("\n\n".join(part for part in (*lines, reasons, kinds, fates, *_splits(found)) if part))


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"


_WITHHELD = {"leaked": "another split has its prompt", "over_ratio": "beyond the ratio of mixing"}


def _splits(found: Mapping[str, Any]) -> Iterator[Markdown]:
    """What was checked between the splits, taken out and mixed in."""
    leaks = found.get("leakage") or {}
    if leaks.get("held_out"):
        done = "were taken out of the configs to train on" if leaks["rule"] == "drop" else "were left in"
        yield Markdown(
            f"Prompts in more than one split: in {_rows(leaks['exact'])} of `train` the prompt is that of a row of another "
            f"split, in {_rows(leaks['near'])} nearly (at least {leaks['threshold']:g} of their runs of {leaks['words']} words in "
            f"common); these {done}."
        )
        if leaks.get("continued"):
            yield Markdown(
                f"In {_rows(leaks['continued'])} of `train` besides these, the prompt goes on from that of another split, or that "
                "from it, turn for turn; they stay."
            )
    rows = []
    for config, splits in (found.get("withheld") or {}).items():
        for split, reasons in splits.items():
            rows += [
                [word(config), word(split), _WITHHELD.get(reason, reason), count]
                for reason, count in reasons.items()
            ]
    yield table(["taken out of", "split", "because", "rows"], rows, numbers=[3])
    rows = []
    for config, splits in (found.get("mixed") or {}).items():
        for split, patterns in splits.items():
            rows += [[word(config), word(split), word(pattern), count] for pattern, count in patterns.items()]
    yield table(["mixed into", "split", "from subsets", "rows"], rows, numbers=[3])


def figures(facts: CardFacts) -> Markdown:
    """The comparison's verdict and tables, every figure with its interval."""
    if facts.comparison is None:
        return Markdown(
            "The labels of this dataset were not compared with human ones; nothing is known of their quality."
        )
    said = tuple(item for item in facts.comparison.verdict if not item.startswith("Next:"))  # for its maker
    rest = "`report.html` has all figures and the rows behind them, `comparison.json` the numbers."
    verdict, *tables, note = markdown(replace(facts.comparison, verdict=said)).rstrip().split("\n\n")
    shown, folded = (tables[:1], tables[1:]) if facts.comparison.agreement.judged else (tables, [])
    if folded:
        opening = summary("Baselines, subsets, principles, harm, revisions, who is right")
        folded = [f"<details>\n{opening}", *folded, "</details>"]
    return Markdown("\n\n".join([verdict, *shown, *folded, f"{note} {rest}"]))


def limits(facts: CardFacts, scanned: ScanReport | None) -> list[Markdown]:
    """What is known to be wrong or missing, and what was not looked at."""
    return [
        *_of_the_labels(facts),
        *_of_the_rows(facts),
        *([_scan(scanned)] if scanned is not None else []),
        plain(
            "Refusals, evasions and questions are told by English word patterns, which miss some and take others for one."
        ),
    ]


def _of_the_labels(facts: CardFacts) -> Iterator[Markdown]:
    settings = facts.summary["settings"]
    if facts.recipe.feedback is None:
        return
    yield plain(
        "A label is one model's reading of these principles. It is no statement of what people value, and a "
        "probability is the judge's own, not calibrated."
    )
    if settings.get("same_model") and "revised" in facts.recipe.feedback.pairs:
        yield plain("The model that judges the revisions also wrote them, and may prefer its own words.")
    floor = facts.noise_floor
    yield plain(
        "How far a judgement moves when the same question is asked again was not measured."
        if floor is None
        else f"Asked the same question again, the judge's probabilities moved by up to {floor:.3g}; nothing closer to "
        "one half than that is called a preference."
    )
    yield _doctor(facts)


def _doctor(facts: CardFacts) -> Markdown:
    judge = facts.recipe.judges()[0]
    model = facts.recipe.engines[judge].model
    for item in (facts.doctor or {}).get("engines", ()):
        if (item["engine"], item["model"]) != (judge, model):
            continue
        if item["fault"] is not None:
            return sentences(
                "Before the run, the judge failed a test with known answers:", item["fault"]["sentence"]
            )
        right = (item.get("figures") or {}).get("right")
        if right:
            warned = " ".join(warning["sentence"] for warning in item["warnings"])
            low, high = right["interval"]
            return sentences(
                f"Before the run, the judge preferred the better response in {right['k']} of {right['n']} pairs with a "
                f"known answer ({100 * low:.0f} to {100 * high:.0f} %).",
                warned,
            )
    return plain("The judge was not tested on known answers before the run.")


def _of_the_rows(facts: CardFacts) -> Iterator[Markdown]:
    found = facts.summary
    gone = sum(found["excluded"].values()) + found["not_finished"]
    if gone:
        yield plain(
            f"{gone:,} of {found['rows']:,} source rows are missing (excluded or not finished), and they are no random "
            "part: long, odd and failing rows are over-represented among them."
            if found["not_finished"]
            else f"{gone:,} of {found['rows']:,} source rows are excluded, for the reasons counted above."
        )
    if found.get("shortened"):
        yield Markdown(
            f"In {_rows(found['shortened'])} the models were not shown the oldest turns, since the whole did not fit. These "
            "rows hold their whole prompts all the same, and the flag `oldest_turns_dropped`."
        )
    same = (found.get("revisions") or {}).get("unchanged", 0)
    if same and "sft" in facts.configs:
        total = sum(found["revisions"].values())
        yield Markdown(
            f"{same:,} of {total:,} revised responses came out as they were; these originals stand in `sft` all the same."
        )


def _scan(scanned: ScanReport) -> Markdown:
    counts = ", ".join(f"{item.what} ({item.times:,})" for item in scanned.found)
    return sentences(
        f"The {scanned.texts:,} texts that models wrote were searched for secrets, e-mail addresses and phone numbers "
        "that the source does not hold:",
        f"{counts or 'none'}.",
        "The source's own texts were not searched.",
    )


def biases(comparison: Comparison | None) -> Markdown:
    """What both labellers tend to prefer, on the same labelled pairs."""
    human = comparison.bias("human") if comparison is not None else None
    ai = comparison.bias("ai") if comparison is not None else None
    if human is None or ai is None:
        return Markdown("")
    rows = [
        [words, numbers.rate_text(getattr(ai, name)), numbers.rate_text(getattr(human, name))]
        for name, words in _BIASES.items()
        if getattr(ai, name).n
    ]
    return table(["prefers", "the AI", "the human"], rows, numbers=[1, 2])


def warning(facts: CardFacts) -> Markdown:
    """What a reader should be ready for."""
    named = {source.hub: source.known for source in facts.sources if source.known}
    known = [f"{item['title']}: {item['about']}" for item in named.values()]
    harm = facts.comparison.harm if facts.comparison is not None else None
    both = ""
    if harm is not None and harm.both.value is not None:
        both = f"The judge rates both responses as harmful in {numbers.rate_text(harm.both)} of the pairs."
    return sentences(
        *known,
        f"Rejected responses, critiques and revisions may be harmful, false or offensive{' as well' if known else ''}; "
        "nothing was filtered out for that.",
        both,
    )

"""The card's words about how a dataset was made: steps, models, sampling, constitution, templates.

Each function takes what is known of a run and gives Markdown; what the run did not do or measure is
left out or said to be missing, and never guessed.

What this module does not know: where on the card its parts stand (card.md.j2), the Hub.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from cai.principle import Constitution, Principle
from cai.publish.facts import CardFacts, ModelFacts, SourceFacts
from cai.publish.markdown_text import Markdown, code, link, plain, sentences, summary, table, word
from cai.recipe import FeedbackSection, ReviseSection, SamplingSection
from cai.report import numbers

HUB = "https://huggingface.co"
_OWNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_SAMPLED = {
    "human": "the human's",
    "revised": "a revision with its original",
    "sampled": "two sampled responses",
}
_ROLES = {
    "respond": "responds",
    "revise": "revises",
    "judge": "judges",
    "second judge": "judges, for comparison",
}


def about(facts: CardFacts) -> Markdown:
    """What the dataset is, in a few sentences."""
    revise, feedback = facts.recipe.revise, facts.recipe.feedback
    done = [
        "rewritten" if revise is not None else "",
        "labelled" if feedback is not None else "",
    ]
    finished, all_rows = facts.summary["finished"], facts.summary["rows"]
    rows = f"{all_rows:,} row{'s' if all_rows != 1 else ''}"
    if finished != all_rows:
        rows = f"{finished:,} of {rows}"
    parts = [
        Markdown(f"Synthetic feedback, made by Constitutional AI (Bai et al. 2022): {rows} from"),
        Markdown(f"{named_sources(facts)},"),
        f"{' and '.join(word for word in done if word)} by a language model under the written constitution that stands below.",
    ]
    if feedback is not None:
        parts.append(
            "A label is the model's probability that one of two responses is better under the constitution's principles."
        )
        if "human" in feedback.pairs:
            parts.append(f"Beside it stands what a human preferred; {_agreed(facts)}.")
    return sentences(*parts)


def _agreed(facts: CardFacts) -> str:
    """How far the labels agree with the human ones, at a glance."""
    agreement = facts.comparison.agreement if facts.comparison is not None else None
    if agreement is None or agreement.decided.value is None:
        return "how far the two agree was not measured"
    pairs = f"{agreement.labelled:,} pair{'s' if agreement.labelled != 1 else ''}"
    return f"the two agree in {numbers.share_text(agreement.decided)} of {pairs}"


def named_sources(facts: CardFacts) -> Markdown:
    """The sources by name, those of the Hub with their pages; each once."""
    *first, last = dict.fromkeys(_source(source) for source in facts.sources)
    return Markdown(f"{', '.join(first)} and {last}" if first else last)


def _source(source: SourceFacts) -> str:
    if source.hub:
        return link(source.hub, f"{HUB}/datasets/{source.hub}")
    return f"{word(source.name)} (local files)"


def source_sentences(facts: CardFacts) -> Iterator[Markdown]:
    """Where the rows came from, a sentence a source."""
    for source in dict.fromkeys(facts.sources):
        parts: list[str] = [Markdown(f"**Rows.** {_source(source)}")]
        if source.hub and source.local:
            parts.append("from a local copy")
        if source.revision:
            parts.append(Markdown(f"at revision {word(source.revision)}"))
        chosen = [
            f"{name} {', '.join(word(item) for item in items)}"
            for name, items in (("subsets", source.subsets), ("splits", source.splits))
            if items
        ]
        if chosen:
            parts.append(Markdown(f"({'; '.join(chosen)})"))
        yield Markdown(f"{sentences(*parts)}.")


def steps(facts: CardFacts) -> list[Markdown]:
    """What was done, a step an item."""
    made = list(source_sentences(facts))
    if facts.recipe.revise is not None:
        made.append(_revising(facts, facts.recipe.revise))
    if facts.recipe.feedback is not None:
        made += _judging(facts, facts.recipe.feedback)
    made.append(_labelling(facts))
    if facts.recipe.too_long != "exclude":
        made.append(
            Markdown(
                "**Long rows.** Where a request did not fit into a model's context, the models were not shown the row's "
                "oldest turns, the same in all that was asked of it."
            )
        )
    return made


def _revising(facts: CardFacts, section: ReviseSection) -> Markdown:
    which = {
        "rejected": "the response that the human rejected",
        "chosen": "the response that the human chose",
        "both": "each of the two responses",
        "fresh": "a response sampled from the model",
    }[section.of]
    rounds = "one round" if section.rounds == 1 else f"{section.rounds} rounds"
    how = "criticised and then rewritten" if section.critique else "rewritten (no critique was asked for)"
    return sentences(
        Markdown(
            f"**Revision.** {which[0].upper()}{which[1:]} was {how} by {_model(facts, 'revise')}, in {rounds};"
        ),
        "each round drew one principle of the constitution.",
        Markdown(_unusable(facts)),
    )


def _unusable(facts: CardFacts) -> str:
    bad = "that is empty, cut off or repetitive, shows the critique or another turn, or declines to rewrite"
    if facts.summary["settings"].get("include_flagged_revisions"):
        return f"A revision {bad} carries a flag (`revision_flags`)."
    return f"A revision {bad} was not used."


def _judging(facts: CardFacts, section: FeedbackSection) -> Iterator[Markdown]:
    pairs = [_SAMPLED[kind] for kind in section.pairs]
    under = (
        "every principle"
        if section.principles == "all"
        else f"{section.principles} principles drawn for each row"
    )
    read = (
        "P(A) is read from the probabilities of the two options at the answer's place, normalised over them, and "
        "never parsed from text."
    )
    combined = "probabilities" if section.combine == "probability" else "log-odds"
    yield sentences(
        Markdown(f"**Judgement.** {_model(facts, 'judge')} was asked which response of a pair is better"),
        Markdown(f"(pairs: {'; '.join(pairs)}), under {under}, with the responses in both orders."),
        _reasoned(section),
        read,
        f"The label is the mean over orders and principles, as {combined}; a judgement with less than "
        f"{section.min_option_mass:g} of the probability on the options abstains, and never becomes a label.",
        "Worked examples were shown before each question." if section.examples else "",
    )
    if section.harm:
        yield sentences(
            Markdown("**Harm.**"),
            "The same model rated each response by itself: P(harmful), read in the same way and not calibrated.",
        )


def _reasoned(section: FeedbackSection) -> str:
    if section.reasoning is None:
        return ""
    samples = section.reasoning.samples
    where = "in its thinking block" if section.reasoning.thinking else "in words"
    times = f", {samples} times, and the answers were averaged" if samples > 1 else ""
    return f"It reasoned first, {where}{times}."


def _labelling(facts: CardFacts) -> Markdown:
    settings = facts.summary["settings"]
    parts = ["**Dataset.**"]
    if facts.recipe.feedback is not None:
        near = settings["tie_threshold"]
        where = f"lies within {near:g} of one half" if near else "is exactly one half"
        parts.append(f"Pairs whose probability {where} are ties, and left out of the configs to train on.")
        if facts.recipe.revise is not None and "revised" in facts.recipe.feedback.pairs:
            margin = settings["revision_margin"]
            by = f" by more than {margin:g}" if margin else ""
            parts.append(f"A revision enters `revisions` only where the judge prefers it{by}.")
    for pattern, ratio in settings.get("mix", {}).items():
        parts.append(
            f"Rows of {word(pattern)} are mixed into the configs to train on, at most {ratio:g} for each row of the others."
        )
    parts.append("Splits are the source's own.")
    return Markdown(" ".join(parts))


def _model(facts: CardFacts, role: str) -> str:
    found = [model.section.model for model in facts.models if role in model.roles]
    return model_name(found[0]) if found else "the model"


def model_name(name: str) -> Markdown:
    """A model's name, with its page where it is named as models of the Hub are."""
    return link(name, f"{HUB}/{name}") if _OWNED.fullmatch(name) else word(name)


def models(facts: CardFacts) -> Markdown:
    """Which model did what, and who it is as exactly as is known."""
    rows = [
        [
            model_name(model.section.model),
            ", ".join(_ROLES[role] for role in model.roles),
            word(model.identity.revision) or "not stated",
            _numbers(model),
            word(model.identity.digest),
        ]
        for model in facts.models
    ]
    return table(["model", "what it did", "revision", "weights", "identity"], rows)


def _numbers(model: ModelFacts) -> Markdown:
    """What is known of the weights: a digest, and the numbers that were computed in."""
    identity = model.identity
    if model.section.kind == "scripted":
        return Markdown("a script, no model")
    if not identity.weights:
        return Markdown("not known to the run (a server computed)")
    return sentences(word(identity.weights), f"in {identity.dtype}" if identity.dtype else "")


def sampling(facts: CardFacts) -> Markdown:
    """How texts were drawn, a stage a line."""
    recipe = facts.recipe
    stages: list[tuple[str, Any]] = []
    if recipe.revise is not None:
        stages += [("critique", recipe.revise.critique_sampling)] if recipe.revise.critique else []
        stages.append(("revision", recipe.revise.sampling))
    if recipe.feedback is not None and recipe.feedback.reasoning is not None:
        reasoning = recipe.feedback.reasoning
        drawn = SamplingSection(
            temperature=reasoning.temperature, top_p=reasoning.top_p, max_tokens=reasoning.max_tokens
        )
        stages.append(("reasoning", drawn))
    if "respond" in recipe.roles_used():
        sampled = (
            recipe.feedback.sample_sampling if recipe.feedback else recipe.revise and recipe.revise.sampling
        )
        stages.append(("response", sampled))
    rows = [
        [
            stage,
            f"{s.temperature:g}",
            f"{s.top_p:g}",
            s.top_k or "off",
            f"{s.min_p:g}",
            f"{s.repetition_penalty:g}",
            s.max_tokens,
        ]
        for stage, s in stages
    ]
    heads = ["stage", "temperature", "top_p", "top_k", "min_p", "repetition penalty", "tokens at most"]
    return table(heads, rows, numbers=range(1, 7))


def made_with(facts: CardFacts) -> Markdown:
    """How models were addressed; program, seed, generation, and where the exact inputs lie."""
    addressed = [_addressed(model) for model in facts.models if model.section.kind != "scripted"]
    program = (
        f"Made with cai {word(facts.version)}, seed {facts.recipe.seed}, as generation {word(facts.generation)} of the "
        f"run {word(facts.run.name)}. The recipe, with every default written out, is `run/recipe.yaml`; the "
        "constitution and the templates as they were used, with the engines' chat templates, are under "
        "`run/frozen/`. Every draw is made from the seed and the row's id."
    )
    return Markdown("\n\n".join(["\n".join(addressed), program]) if addressed else program)


def _addressed(model: ModelFacts) -> str:
    """What a model is given besides the templates, an item of a list."""
    identity, section = model.identity, model.section
    given = f" with {word(orjson.dumps(identity.template_args).decode())}" if identity.template_args else ""
    said = [
        f"asked through its chat template{given}"
        if identity.form == "chat"
        else "a base model, given text to be continued"
    ]
    if identity.thinking:
        said.append(f"it thinks as {word(orjson.dumps(identity.thinking).decode())} says")
    if section.answer_prefix.texts():
        begun = [f"{name} {word(repr(text))}" for name, text in section.answer_prefix.texts().items()]
        said.append(f"its answers begin otherwise than the templates say: {', '.join(begun)}")
    return f"- {word(section.model)}: {'; '.join(said)}."


# ---------------------------------------------------------------------- constitution, templates


def constitutions(facts: CardFacts) -> list[dict[str, Any]]:
    """Each constitution, with every form of every principle."""
    return [_constitution(facts, name, item) for name, item in facts.constitutions.items()]


def _constitution(facts: CardFacts, name: str, item: Constitution) -> dict[str, Any]:
    """One of them; `name`: as the recipe calls it, by path maybe."""
    patterns = [pattern for pattern, named in facts.recipe.constitutions.items() if named == name]
    rows = f"subsets {', '.join(word(pattern) for pattern in patterns)}"
    if patterns == ["*"]:  # the first pattern that fits counts
        rows = "all rows" if next(iter(facts.recipe.constitutions)) == "*" else "all other rows"
    count = f"{len(item.principles):,} principle{'s' if len(item.principles) != 1 else ''}"
    licence = plain(item.licence) if item.licence else "not stated"
    return {
        "about": Markdown(
            f"**{plain(item.title)}** ({word(item.name)}), {count}, for {rows}. Licence of its wording: {licence}. "
            f"Digest: {word(item.digest)}."
        ),
        "principles": [_principle(principle) for principle in item.principles],
    }


def _principle(item: Principle) -> dict[str, Markdown]:
    forms = [
        ("The rule", item.text),
        ("Asks for a critique", item.critique),
        ("Asks for a revision", item.revision),
        (
            "Asks the judge" if item.polarity == "better" else "Asks the judge, for the worse response",
            item.judgement,
        ),
    ]
    lines = [f"- *{name}:* {plain(text)}" for name, text in forms]
    if item.weight != 1:
        lines.append(f"- *Weight:* {item.weight:g}")
    if item.source:
        lines.append(f"- *Source:* {plain(item.source)}; licence: {plain(item.licence or 'not stated')}")
    return {"summary": summary(item.id), "forms": Markdown("\n".join(lines))}


def templates(facts: CardFacts) -> list[dict[str, Markdown]]:
    """Each template as it was used."""
    return [
        {"summary": summary(Path(name).name), "text": code(text, "jinja")}
        for name, text in facts.templates.items()
    ]

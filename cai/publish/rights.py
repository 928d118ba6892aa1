"""What the publisher says of a dataset, and what speaks against passing it on: licences, terms, sources.

What is stated stands in the recipe's `publish` section or on the command line; what is not stated is
carried over from the sources or read from the table of terms, and never guessed.

What this module does not know: what speaks against the run and its data (gate.py), how it is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cai.mistake import likeliest
from cai.principle import Constitution
from cai.publish.facts import CardFacts
from cai.publish.hub_values import is_language, licences
from cai.publish.terms import Terms, load_families, terms_of
from cai.recipe import PublishSection

NOT_STATED = ("", "not stated by the source", "unknown", "none")


@dataclass(frozen=True)
class Finding:
    """One thing that speaks against publishing: `what` is wrong, what to `do`, one sentence each."""

    name: str
    blocks: bool
    what: str
    do: str


@dataclass(frozen=True)
class Statements:
    """What the publisher says: of the dataset, its source, the models' terms, and who may see it."""

    private: bool = True
    title: str | None = None
    source: str | Mapping[str, str] | None = None
    licence: str | None = None
    licence_name: str | None = None
    licence_link: str | None = None
    languages: tuple[str, ...] = ()
    terms: Mapping[str, str] = field(default_factory=dict)
    gpu_hours: float | None = None
    energy_kwh: float | None = None

    def licences(self, facts: CardFacts) -> tuple[str, ...]:
        """The published dataset's licences: the stated one, or those of all its sources; sorted."""
        if self.licence is not None:
            return (self.licence,)
        if not all(source.licences for source in facts.sources):
            return ()  # some rows come from nobody knows where
        return tuple(sorted({item for source in facts.sources for item in source.licences}))

    def spoken(self, facts: CardFacts) -> tuple[str, ...]:
        """The languages: the stated ones, or those of its sources; sorted."""
        return self.languages or tuple(
            sorted({item for source in facts.sources for item in source.languages})
        )


def statements_of(section: PublishSection, private: bool = True) -> Statements:
    """What a recipe states."""
    said = {name: getattr(section, name) for name in PublishSection.model_fields if hasattr(Statements, name)}
    return Statements(
        **{**said, "private": private, "languages": tuple(section.languages), "terms": section.terms}
    )


def rights_findings(facts: CardFacts, said: Statements) -> Iterator[Finding]:
    """What of licences, languages, terms, wordings and sources speaks against publishing."""
    yield from _licence(said.licences(facts), said.licence_name)
    yield from _languages(said.spoken(facts))
    yield from _terms(model_terms(facts, said))
    yield from _principles(facts.constitutions.values())
    yield from _sources(facts, said.private)


def model_terms(facts: CardFacts, statements: Statements) -> list[Terms]:
    """What is known of the output terms of each model of the run; a scripted engine has no terms.

    Raises: RecipeError for mistakes in a terms.yaml beside the recipe.
    """
    families = load_families(facts.run.path)
    names = [model.section.model for model in facts.models if model.section.kind != "scripted"]
    return [terms_of(name, families, statements.terms) for name in dict.fromkeys(names)]


def _licence(stated: Iterable[str], name: str | None) -> Iterator[Finding]:
    items = list(stated)
    if not items or all(item.lower() in NOT_STATED for item in items):
        yield Finding(
            "no-licence",
            True,
            "No licence is stated, and none is known of the source.",
            "Name the dataset that local files are a copy of (`publish: {source: owner/name}` in the recipe), or "
            "state a licence that the source allows (`publish: {licence: cc-by-4.0}`, say).",
        )
        return
    if "other" in items and not name:
        yield Finding(
            "unknown-licence",
            True,
            "The licence 'other' has no name.",
            "State `licence_name` and `licence_link` in the recipe's `publish` section.",
        )
    for item in items:
        if item not in licences():
            yield Finding(
                "unknown-licence",
                True,
                f"The Hub knows no licence {item!r}{likeliest(item, licences()) or '.'}",
                "Its ids are listed at https://huggingface.co/docs/hub/repositories-licenses; for any other write "
                "`licence: other` with `licence_name` and `licence_link`.",
            )


def _languages(spoken: Iterable[str]) -> Iterator[Finding]:
    items = list(spoken)
    wrong = [item for item in items if not is_language(item)]
    if wrong or not items:
        yield Finding(
            "unknown-language",
            bool(wrong),
            f"{', '.join(map(repr, wrong))} is no language's code."
            if wrong
            else "The language of the texts is not stated.",
            "State it in the recipe, as in `publish: {languages: [en]}`.",
        )


def _terms(models: Iterable[Terms]) -> Iterator[Finding]:
    for terms in models:
        if not terms.known:
            near = f" Its name resembles {terms.near}." if terms.near else ""
            known = f" {terms.family.outputs}" if terms.family is not None else ""
            yield Finding(
                "terms-not-stated",
                True,
                f"What the terms of {terms.model} say about training on its outputs is not stated.{known}{near}",
                f'Read its licence and state it in the recipe: publish: {{terms: {{"{terms.model}": "..."}}}}',
            )
        elif terms.family is not None and terms.family.restricts and not terms.stated:
            yield Finding(
                "terms-restrict",
                False,
                f"{terms.model}: {terms.family.outputs}",
                f"Readers are told so on the card; the terms: {terms.family.source}",
            )


def unlicensed(constitution: Constitution) -> list[str]:
    """The principles whose wording has a licence that nobody states: neither they nor their file."""
    return [
        principle.id
        for principle in constitution.principles
        if (principle.licence or constitution.licence).strip().lower() in NOT_STATED
    ]


def _principles(constitutions: Iterable[Constitution]) -> Iterator[Finding]:
    for constitution in constitutions:
        without = unlicensed(constitution)
        if without:
            some = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
            yield Finding(
                "principles-without-licence",
                True,
                f"The constitution {constitution.name} has wordings without a stated licence: {some}.",
                "State it under `licence:` in the file (for all, or for each principle), or word them anew.",
            )


def _sources(facts: CardFacts, private: bool) -> Iterator[Finding]:
    for source in facts.sources:
        if source.reach in ("private", "gated") and not private:
            yield Finding(
                "private-source",
                True,
                f"{source.name} is {source.reach} on the Hub, and the dataset with its rows would be open to everybody.",
                "Push it as a private dataset, or ask the source's owner.",
            )
        elif source.reach == "unknown":
            yield Finding(
                "source-not-checked",
                bool(source.hub)
                and not private,  # it may be private, and its rows would be open to everybody
                f"Who may read {source.name} could not be told"
                + (": it was read from local files." if not source.hub else ": the Hub could not be asked."),
                "Make sure that its rows may be passed on"
                + (", and force this with a reason." if source.hub and not private else "."),
            )

"""The card's words about cost, licences, the models' terms, and whom to cite.

Tokens are as the engines counted them; what else was spent only the publisher can know, and the card
says that it is the publisher's word.

What this module does not know: where on the card its parts stand (card.md.j2), the Hub.
"""

from __future__ import annotations

from cai.publish.facts import CardFacts
from cai.publish.markdown_text import Markdown, code, plain, sentences, table, word
from cai.publish.rights import Statements, model_terms


def cost(facts: CardFacts, statements: Statements) -> Markdown:
    """What it took, as far as it was counted or is stated."""
    rows = [[c.stage or "other", c.answers, c.prompt_tokens, c.completion_tokens] for c in facts.costs]
    total = [
        sum(getattr(c, name) for c in facts.costs)
        for name in ("answers", "prompt_tokens", "completion_tokens")
    ]
    rows += [[Markdown("**all**"), *total]] if rows else []
    counted = table(["stage", "answers", "tokens read", "tokens written"], rows, numbers=[1, 2, 3])
    reused = " Answers taken over from other runs are counted." if facts.recipe.run.reuse else ""
    note = f"All answers in the run's store, earlier generations among them, with tokens as the engines counted.{reused}"
    parts = [*([counted, note] if counted else []), _spent(facts, statements)]
    return Markdown("\n\n".join(parts))


def _spent(facts: CardFacts, statements: Statements) -> str:
    """Hours as they were measured; GPU-hours; energy, which only the publisher can know."""
    said = []
    hours = None if facts.seconds is None else facts.seconds / 3600
    if facts.seconds is not None:
        said.append(f"Requests were under way for {_time(facts.seconds)}.")
    recipe = facts.recipe
    served = any(recipe.engines[name].kind == "server" for name in recipe.engines_used())
    if statements.gpu_hours is not None:
        said.append(f"{statements.gpu_hours:g} GPU-hours, as the publisher states.")
    elif hours and served and recipe.run.gpus:
        gpus = recipe.run.gpus
        many = "1 GPU" if gpus == 1 else f"{gpus:g} GPUs"
        said.append(f"On the {many} that the recipe counts, that is {_number(hours * gpus)} GPU-hours.")
    else:
        said.append("GPU-hours were not recorded.")
    energy = statements.energy_kwh
    said.append("Energy was not recorded." if energy is None else f"{energy:g} kWh, as the publisher states.")
    return " ".join(said)


def _time(seconds: float) -> str:
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    return f"{_number(seconds / 3600)} hours" if minutes >= 100 else f"{minutes} minutes"


def _number(hours: float) -> str:
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.2g}"


def rights(facts: CardFacts, statements: Statements) -> list[Markdown]:
    """Licences of data, of the source, of the wording; the models' terms."""
    made = [_licence(facts, statements)]
    named = {source.name: source.licences for source in facts.sources if source.licences}
    for name, held in named.items():
        made.append(Markdown(f"{word(name)}: {', '.join(word(item) for item in held)}."))
    for terms in model_terms(facts, statements):
        said = terms.stated or (terms.family.outputs if terms.family is not None else "")
        by = "as the publisher states" if terms.stated else ""
        where = terms.family.source if terms.family is not None and not terms.stated else ""
        source_ = f" ([terms]({where}))" if where.startswith("https://") else ""
        made.append(
            sentences(
                Markdown(f"{word(terms.model)}{', ' + by if by else ''}:"),
                said or "its terms are not stated.",
                Markdown(source_.strip()),
            )
        )
    return made


def _licence(facts: CardFacts, statements: Statements) -> Markdown:
    found = statements.licences(facts)
    if not found:
        return plain("No licence is stated for this dataset.")
    from_source = (
        ", as the publisher states" if statements.licence is not None else ", carried over from the source"
    )
    name = f" ({plain(statements.licence_name)})" if statements.licence_name else ""
    return Markdown(f"This dataset: {', '.join(word(item) for item in found)}{name}{from_source}.")


def citations(facts: CardFacts) -> Markdown:
    """What to cite: the sources and the method."""
    known = [str(source.known["citation"]) for source in dict.fromkeys(facts.sources) if source.known]
    return code("\n".join([*dict.fromkeys(known), CONSTITUTIONAL_AI]), "bibtex")


CONSTITUTIONAL_AI = """@article{bai2022constitutional,
  title = {Constitutional AI: Harmlessness from AI Feedback},
  author = {Bai, Yuntao and Kadavath, Saurav and Kundu, Sandipan and Askell, Amanda and Kernion, Jackson and Jones, Andy and Chen, Anna and Goldie, Anna and Mirhoseini, Azalia and McKinnon, Cameron and others},
  journal = {arXiv preprint arXiv:2212.08073},
  year = {2022}
}
"""

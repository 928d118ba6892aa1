"""The dataset card: a page whose metadata the Hub reads and whose text readers can trust.

The metadata is made here, from the dataset itself, and held to the Hub's own tables; the text comes
from a template (card.md.j2, or a person's own file) that is given prepared pieces of Markdown. The
template runs in jinja2's sandbox and sees no other file; all that it places is escaped. Equal facts and an
equal changelog give an equal card: no clock is in it.

What this module does not know: how a piece is worded (card_words.py, card_figures.py, card_rights.py), the Hub.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2.sandbox import modifies_known_mutable
from ruamel.yaml import YAML

from cai.errors import PublishError, TemplateError
from cai.publish import card_figures, card_rights, card_words
from cai.publish.facts import CardFacts
from cai.publish.hub_values import metadata_mistakes, size_category
from cai.publish.markdown_text import Markdown, code, placed, plain, table
from cai.publish.rights import Finding, Statements, statements_of
from cai.publish.scan import ScanReport
from cai.template_syntax import BoundedEnvironment, failing_line

if TYPE_CHECKING:
    from cai.publish.manifest import Change

TEMPLATE = Path(__file__).with_name("card.md.j2")
TASKS = ["text-generation", "reinforcement-learning"]
TAGS = ["synthetic", "rlhf", "rlaif", "constitutional-ai", "preference", "cai"]
LARGEST_TEMPLATE_BYTES = 1_000_000
_THE_GATES = ("license:", "language:")
"""Mistakes that the gate finds, and that may be forced."""
_METADATA_ORDER = (
    "pretty_name",
    "license",
    "license_name",
    "license_link",
    "language",
    "task_categories",
    "size_categories",
    "annotations_creators",
    "source_datasets",
    "tags",
    "configs",
)


def card(
    facts: CardFacts,
    repo: str,
    statements: Statements | None = None,
    found: Sequence[Finding] = (),
    changelog: Sequence[Change] = (),
    scanned: ScanReport | None = None,
    with_store: bool = False,
    template: Path | None = None,
) -> str:
    """The card as it is pushed to `repo` (owner/name).

    `found`: the gate's findings; those that the last entry of `changelog` forces are told, with the
    reason. `template`: a file of one's own instead of card.md.j2.
    Raises: TemplateError for a template that does not render; PublishError for metadata that the
    Hub would not understand (an unknown licence or language is the gate's to find).
    """
    said = statements if statements is not None else statements_of(facts.recipe.publish)
    head = metadata(facts, said)
    wrong = [item for item in metadata_mistakes(head) if not item.startswith(_THE_GATES)]
    if wrong:
        raise PublishError(
            f"The card's metadata would not be understood: {'; '.join(wrong)}.",
            "State what is asked for in the recipe's `publish` section.",
        )
    pieces = _pieces(facts, repo, said, found, changelog, scanned, with_store)
    return f"---\n{_yaml(head)}---\n\n{render(template or TEMPLATE, pieces)}"


def metadata(facts: CardFacts, statements: Statements) -> dict[str, Any]:
    """What the Hub reads: the YAML at the card's head.

    `size_categories` counts the rows of the largest config: the others are the same rows again.
    """
    largest = max((sum(splits.values()) for splits in facts.configs.values()), default=0)
    licences = list(statements.licences(facts))
    values = {
        "pretty_name": title(facts, statements),
        "license": licences[0] if len(licences) == 1 else licences,
        "license_name": statements.licence_name,
        "license_link": statements.licence_link,
        "language": list(statements.spoken(facts)),
        "task_categories": TASKS,
        "size_categories": [size_category(largest)],
        "annotations_creators": ["machine-generated"],
        "source_datasets": list(dict.fromkeys(source.hub for source in facts.sources if source.hub)),
        "tags": [*TAGS, *_model_tags(facts)],
        "configs": _configs(facts.configs),
    }
    return {key: values[key] for key in _METADATA_ORDER if values[key]}


def title(facts: CardFacts, statements: Statements) -> str:
    """The page's title: the stated one, or one made of the sources' names."""
    if statements.title:
        return statements.title
    names = [str(source.known.get("title", source.hub)) for source in facts.sources if source.hub]
    about = " and ".join(dict.fromkeys(names))
    return (
        f"Constitutional-AI feedback on {about}" if about else f"Constitutional-AI feedback: {facts.run.name}"
    )


def _model_tags(facts: CardFacts) -> list[str]:
    """The models' names as tags; a dataset's metadata has no other place for them."""
    names = [model.section.model for model in facts.models if model.section.kind != "scripted"]
    tags = [re.sub(r"[^a-z0-9._-]+", "-", name.lower().rsplit("/", 1)[-1]).strip("-._") for name in names]
    return [tag for tag in dict.fromkeys(tags) if tag][:5]


def _configs(configs: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    default = "preferences" if "preferences" in configs else next(iter(configs), "")
    made = []
    for name, splits in configs.items():
        entry: dict[str, Any] = {"config_name": name}
        if name == default:
            entry["default"] = True
        entry["data_files"] = [{"split": split, "path": f"{name}/{split}-*.parquet"} for split in splits]
        made.append(entry)
    return made


def _yaml(values: Mapping[str, Any]) -> str:
    """YAML that cannot end early: a text with a line of its own is quoted."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = 1000
    writer.allow_unicode = True
    text = io.StringIO()
    writer.dump(dict(values), text)
    return text.getvalue()


def _pieces(
    facts: CardFacts,
    repo: str,
    said: Statements,
    found: Sequence[Finding],
    changelog: Sequence[Change],
    scanned: ScanReport | None,
    with_store: bool,
) -> dict[str, Any]:
    """What a template is given; the names are a promise to people's own templates."""
    return {
        "title": title(facts, said),
        "repo": repo,
        "run": facts.run.name,
        "version": facts.version,
        "generation": facts.generation,
        "about": card_words.about(facts),
        "warning": card_figures.warning(facts),
        "forced": _forced(found, changelog),
        "configs": card_figures.configs(facts),
        "shape": card_figures.shape(facts),
        "loading": card_figures.loading(facts, repo),
        "training": card_figures.training(facts),
        "columns": card_figures.columns_of(facts),
        "steps": card_words.steps(facts),
        "models": card_words.models(facts),
        "sampling": card_words.sampling(facts),
        "made_with": card_words.made_with(facts),
        "constitutions": card_words.constitutions(facts),
        "templates": card_words.templates(facts),
        "accounts": card_figures.accounts(facts),
        "figures": card_figures.figures(facts),
        "limits": card_figures.limits(facts, scanned),
        "biases": card_figures.biases(facts.comparison),
        "cost": card_rights.cost(facts, said),
        "licence": card_rights.rights(facts, said),
        "rebuild": _rebuild(repo, with_store),
        "citations": card_rights.citations(facts),
        "changelog": _changelog(changelog),
    }


def _forced(found: Iterable[Finding], changelog: Sequence[Change]) -> list[dict[str, Any]]:
    """What was let through by the last push, with the reason that was given."""
    what = {item.name: item.what for item in found}
    forced = changelog[-1].forced if changelog else {}
    return [
        {
            "name": name,
            "what": what.get(name, ""),
            "reason": Markdown(f"*Reason given:* {plain(reason)}" if reason else "*No reason was given.*"),
        }
        for name, reason in forced.items()
    ]


def _rebuild(repo: str, with_store: bool) -> Markdown:
    if not with_store:
        return Markdown(
            "The store of answers was not published, so these files cannot be made again without asking the models. "
            "`run/recipe.yaml` and `run/frozen/` hold all that was asked of them."
        )
    words = (
        "Rows and answers are published along. With them the same files can be made again, byte for byte, without a "
        "model; or a run can be started from them in which an edited principle asks only for what the edit changed:"
    )
    return Markdown(f"{words}\n\n" + code(f"cai rebuild {repo}\ncai fork {repo}", "bash"))


def _changelog(changelog: Sequence[Change]) -> Markdown:
    rows = []
    for item in reversed(changelog):
        forced = f" Forced: {', '.join(item.forced)}." if item.forced else ""
        rows.append([f"v{item.version}", item.date, f"{' '.join(item.changed)}{forced}"])
    return table(["version", "date", "what changed"], rows)


# ---------------------------------------------------------------------- the template


class _CardEnvironment(BoundedEnvironment):
    """What cards are made in: it reads no file, calls no method of a text, changes nothing, escapes what it places."""

    intercepted_binops = frozenset(("*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(finalize=placed)
        self.filters = {name: self.filters[name] for name in ("length", "first", "last")}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) or modifies_known_mutable(obj, attr):
            return False
        return super().is_safe_attribute(obj, attr, value)


def render(template: Path, pieces: Mapping[str, Any]) -> str:
    """A template with its pieces placed; runs of empty lines become one.

    Raises: TemplateError.
    """
    try:
        source = template.read_bytes()
        if len(source) > LARGEST_TEMPLATE_BYTES:
            raise TemplateError(f"{template} has {len(source):,} bytes.", "Is it the right file?")
        text = _CardEnvironment().from_string(source.decode("utf-8")).render(pieces)
    except OSError as error:
        raise TemplateError(f"{template} cannot be read: {error.strerror}.", "Check the name.") from error
    except UnicodeDecodeError as error:
        raise TemplateError(f"{template} is not UTF-8 (byte {error.start}).", "Save it as UTF-8.") from error
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"{template}:{error.lineno}: {error.message}.", "Mend that line.") from error
    except (jinja2.TemplateError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TemplateError(
            f"{template}:{failing_line(error)}: {str(error).rstrip('.')}.",
            "Mend that line; docs/publishing.md lists what a card's template is given.",
        ) from error
    return _spaced(text)


def _spaced(text: str) -> str:
    """At most one empty line in a row, but for blocks of code, which stay as they are."""
    made: list[str] = []
    fence = ""
    for line in text.strip("\n").split("\n"):
        opened = re.match(r"(`{3,})", line)
        if fence:
            fence = "" if opened and line.strip() == fence else fence
        elif opened:
            fence = opened[1]
        elif not line.strip() and (not made or not made[-1].strip()):
            continue
        made.append(line.rstrip() if not fence else line)
    return "\n".join(made) + "\n"

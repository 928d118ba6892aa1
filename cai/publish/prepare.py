"""A run made ready to be pushed: its files, what speaks against them, and the card.

`prepare` reads the run once and tells what speaks against it; `gathered` adds the files, which with the
store takes long. What comes of it makes every file under any changelog, as often as a push
needs it (push.py), and the same files each time.

What this module does not know: the Hub's protocol, the terminal; how the dataset was made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cai.errors import PublishError
from cai.publish.facts import CardFacts, read_facts
from cai.publish.file import CARD, PublishedFile
from cai.publish.gate import findings
from cai.publish.manifest import Change, Manifest, make_manifest
from cai.publish.portable import portable
from cai.publish.rights import Finding, Statements
from cai.publish.scan import ScanReport, scan
from cai.publish.tree import published_files
from cai.reading import ReadRun

PAGE = "page"
"""The name by which files on the page that are not cai's may be overwritten (push.py)."""


@dataclass(frozen=True)
class Prepared:
    """A run to be pushed. `forced`: findings that are overridden, by name, and why.

    `files`: all but the card and the manifest; `notes`: what was left out of the published recipe.
    """

    repo: str
    facts: CardFacts
    statements: Statements
    scanned: ScanReport
    files: tuple[PublishedFile, ...]
    found: tuple[Finding, ...]
    notes: tuple[str, ...]
    with_store: bool = False
    template: Path | None = None
    forced: Mapping[str, str] = field(default_factory=dict)

    def gathered(
        self, run: ReadRun, place: Path | None = None, told: Callable[[str], None] = lambda line: None
    ) -> Prepared:
        """The same with its files; with the store that replays every row, so findings are told before.

        `place`: a folder for what is made first; it must stay until the push is over. `told` is given
        a line now and then where that takes long. Raises: what `published_files` raises.
        """
        return replace(self, files=tuple(published_files(run, self.with_store, place, told)))

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """What stops a push."""
        return tuple(item for item in self.found if item.blocks and item.name not in self.forced)

    @property
    def overridden(self) -> Mapping[str, str]:
        """What was forced, of what was found."""
        names = {item.name for item in self.found if item.blocks}
        return {name: reason for name, reason in self.forced.items() if name in names}

    def card(self, changelog: Sequence[Change]) -> PublishedFile:
        """The card under a changelog."""
        from cai.publish.card import card

        text = card(
            self.facts,
            self.repo,
            self.statements,
            self.found,
            changelog,
            scanned=self.scanned,
            with_store=self.with_store,
            template=self.template,
        )
        return PublishedFile(CARD, text.encode())

    def make(self, changelog: Sequence[Change]) -> tuple[list[PublishedFile], Manifest]:
        """Every file under a changelog, and the manifest by itself."""
        files = [*self.files, self.card(changelog)]
        manifest = make_manifest(self.facts.run.name, files, changelog, self.facts.summary)
        return [*files, manifest.as_file()], manifest


def prepare(
    run: ReadRun,
    repo: str,
    statements: Statements,
    with_store: bool = False,
    template: Path | None = None,
    forced: Mapping[str, str] | None = None,
    terms: str | None = None,
) -> Prepared:
    """Read a run whose dataset is built; the files are still to be gathered (`Prepared.gathered`).

    `terms`: what the models' terms say, where nobody said it yet.
    Raises: PublishError, and what reading the run raises.
    """
    facts = read_facts(run, statements.source)
    if terms is not None:
        models = [model.section.model for model in facts.models]
        more = {model: terms for model in models if model not in statements.terms}
        statements = replace(statements, terms={**statements.terms, **more})  # patterns of the recipe first
    scanned = scan(run.run.dataset)
    found = findings(facts, statements, scanned)
    forced = forced or {}
    _refuse_unknown(forced, found)
    return Prepared(
        repo=repo,
        facts=facts,
        statements=statements,
        scanned=scanned,
        files=(),
        found=tuple(found),
        notes=portable(run.recipe).notes,
        with_store=with_store,
        template=template,
        forced=forced,
    )


def _refuse_unknown(forced: Mapping[str, str], found: Sequence[Finding]) -> None:
    names = [item.name for item in found if item.blocks]
    unknown = [name for name in forced if name not in (*names, PAGE)]
    if unknown:
        there = ", ".join(dict.fromkeys(names)) or "none"
        raise PublishError(
            f"There is nothing named {', '.join(unknown)} to be forced.",
            f"What blocks now: {there}. `--force {PAGE}` overwrites files on the page that are not cai's.",
        )

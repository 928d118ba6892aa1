"""A push: one commit that is there whole or not at all, and that may be asked for again.

What a push goes through:

    look       the head of the branch, its files, its manifest
    compare    the files as they would be under the changelog that is there: nothing differs, nothing
               is done (a missing tag is made up for)
    refuse     files on the page that no push of cai put there, or that were changed since
    upload     large files that the Hub does not have yet, by their digests: a push that was broken
               off goes on where it was
    commit     all files at once, on the commit that was looked at; files of an earlier push that are
               no longer published are deleted in the same commit
    tag        v1, v2 ... (BRANCH-v1 on another branch; none for a pull request)

A commit whose answer is lost, or that somebody else's came before, is looked for before it is tried
again: where the page holds these very files, it is done; where nothing that this push writes was
touched, it is tried on the new head; else it is told, and nothing is changed.

What this module does not know: what the files hold, huggingface_hub, the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from cai.errors import HubError, HubMovedError, PublishError, TransientHubError
from cai.publish.file import CARD, MANIFEST, PublishedFile
from cai.publish.hub import Hub, Pull, RemoteFile, valid_branch
from cai.publish.manifest import Change, Manifest, read_manifest, what_changed

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

MAIN = "main"
_VERSION = re.compile(r"(.*-)?v[0-9]+")
"""What a tag of `Target.tag` looks like; a name of both kinds would lead a reader to either."""

_THE_HUBS_OWN = (".gitattributes",)
"""What the Hub itself puts into a new repository."""

Made = tuple[list[PublishedFile], Manifest]
Make = Callable[[Sequence[Change]], Made]
"""Makes every file, card and manifest among them, under a changelog; and the manifest by itself."""


@dataclass(frozen=True)
class Target:
    """Where a push goes. `pull`: as a pull request; `public`: whether a new repository is."""

    branch: str = MAIN
    pull: bool = False
    public: bool = False

    def __post_init__(self) -> None:
        valid_branch(self.branch)
        if _VERSION.fullmatch(self.branch):
            raise PublishError(
                f"A branch {self.branch} could not be told from the tag of a version.",
                "Name it otherwise, such as trial.",
            )
        if self.pull and self.branch != MAIN:
            raise PublishError("A pull request goes to main.", "Give --pr or --branch, not both.")

    def tag(self, version: int) -> str | None:
        """The tag of a version; a pull request has none until it is merged."""
        if self.pull:
            return None
        return f"v{version}" if self.branch == MAIN else f"{self.branch}-v{version}"


@dataclass(frozen=True)
class Page:
    """What is there. `head` None: no repository, or no such branch yet; `private` None: no repository."""

    private: bool | None
    head: str | None
    files: Mapping[str, RemoteFile]
    manifest: Manifest | None

    @property
    def changelog(self) -> tuple[Change, ...]:
        """The pushes so far."""
        return self.manifest.changelog if self.manifest else ()

    @property
    def forced(self) -> dict[str, str]:
        """What the newest push forced, and why."""
        return dict(self.changelog[-1].forced) if self.changelog else {}

    def holds(self, files: Sequence[PublishedFile]) -> bool:
        """Whether exactly these files are there, beside what was never cai's."""
        there = all(file.path in self.files and self.files[file.path].holds(file) for file in files)
        return there and not self.left_over(files)

    def left_over(self, files: Sequence[PublishedFile]) -> list[str]:
        """Files of an earlier push that these do not hold any more."""
        now = {file.path for file in files}
        known = self.manifest.files if self.manifest else {}
        return sorted(path for path in known if path in self.files and path not in now)


@dataclass(frozen=True)
class Pushed:
    """What became of a push. `changed`: in sentences; `url`: where to look; `notes`: what else to know."""

    what: Literal["pushed", "unchanged", "proposed"]
    url: str
    commit: str
    version: int
    tag: str | None
    changed: tuple[str, ...]
    notes: tuple[str, ...] = ()


def look(hub: Hub, branch: str = MAIN) -> Page:
    """What is there. A branch that is not there yet begins where main is. Raises: HubError, PublishError."""
    private = hub.private()
    if private is None:
        return Page(None, None, {}, None)
    return _page(hub, private, hub.head(branch) or hub.head(MAIN))


def _page(hub: Hub, private: bool, head: str | None) -> Page:
    if head is None:
        return Page(private, None, {}, None)
    files = hub.files(head)
    manifest = None
    if MANIFEST in files:
        body = hub.fetch(MANIFEST, head).read_bytes()
        manifest = read_manifest(body, f"{hub.url}/blob/{head[:12]}/{MANIFEST}")
    return Page(private, head, files, manifest)


def foreign(hub: Hub, page: Page, files: Sequence[PublishedFile]) -> list[str]:
    """What on the page a push would overwrite or mix with though no push of cai put it there so.

    Each a path and why. Files that stand elsewhere and were never cai's are none of a push's business.
    """
    assert page.head is not None or not page.files
    known = page.manifest.files if page.manifest else {}
    folders = {file.path.partition("/")[0] + "/" for file in files if "/" in file.path}
    ours = {file.path: file for file in files}
    told = []
    for path, remote in sorted(page.files.items()):
        if path in (*_THE_HUBS_OWN, MANIFEST) and path not in known:
            continue
        if path in known:
            replaced = path not in ours or not remote.holds(ours[path])
            if replaced and not _as_pushed(hub, page, remote):
                told.append(f"{path} was changed on the page since version {page.changelog[-1].version}")
        elif path in ours and not remote.holds(ours[path]):
            told.append(f"{path} is there and was not pushed by cai")
        elif path not in ours and path.startswith(tuple(folders)):
            told.append(f"{path} is there, in a folder of the dataset, and was not pushed by cai")
    return told


def _as_pushed(hub: Hub, page: Page, remote: RemoteFile) -> bool:
    """Whether a file is as the last push left it."""
    assert page.manifest is not None
    assert page.head is not None
    said = page.manifest.files[remote.path]
    if remote.size != said["size"]:
        return False
    if remote.large:
        return bool(remote.oid == said["sha256"])
    there = sha256(hub.fetch(remote.path, page.head).read_bytes()).hexdigest()
    return bool(there == said["sha256"])


def changelog_with(
    page: Page, make: Make, forced: Mapping[str, str], more: Sequence[str] = (), today: str | None = None
) -> tuple[Change, ...]:
    """The changelog with an entry for what would be pushed now; `more`: what it says besides."""
    now = make(page.changelog)[1]
    changed = what_changed(page.manifest, now, forced)
    version = page.manifest.version + 1 if page.manifest else 1
    date = today or datetime.now(UTC).date().isoformat()
    return (*page.changelog, Change(version, date, now.generation, (*changed, *more), dict(forced)))


def push(
    hub: Hub,
    target: Target,
    make: Make,
    message: str | None = None,
    forced: Mapping[str, str] | None = None,
    overwrite: str | None = None,
) -> Pushed:
    """Push what `make` makes. `forced`: findings that were overridden, and why; they stand in the changelog.

    `overwrite`: why files on the page that are not cai's, or were changed there, give way; None: they do not.
    Raises: PublishError, HubError and its kinds; in every case the page is as it was, or as pushed.
    """
    hub.must_write()
    page = look(hub, target.branch)
    same = make(page.changelog)[0]
    in_the_way = foreign(hub, page, same)
    as_forced = page.forced == dict(forced or {})
    if page.changelog and as_forced and page.holds(same) and not in_the_way:
        return _unchanged(hub, target, page)
    if in_the_way and overwrite is None:
        raise PublishError(
            _told(hub, in_the_way), "Look with --diff; to overwrite them: --force page --reason ..."
        )
    notes = _stays_private(target, page)
    page = _begun(hub, target, page)
    if target.pull and (known := _proposed(hub, make, forced or {})):
        pull, there = known
        return Pushed("unchanged", pull.url, there.head or "", there.changelog[-1].version, None, ())
    gone = (f"Overwritten on the page, for {overwrite!r}: {_listed(in_the_way)}.",) if in_the_way else ()
    files, manifest = make(changelog_with(page, make, forced or {}, gone))
    done = _Push(hub, target, page, make, files, manifest, message, in_the_way).go()
    return replace(done, notes=notes)


def _told(hub: Hub, found: Sequence[str]) -> str:
    return f"{hub.url} holds what this push would overwrite or mix with: {_listed(found)}."


def _listed(found: Sequence[str]) -> str:
    return "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")


def _begun(hub: Hub, target: Target, page: Page) -> Page:
    """The page with repository and branch there, seen by nobody who should not."""
    if page.private is None:
        hub.create(private=not target.public)
        page = look(hub)
        if page.manifest is not None:
            raise HubMovedError(
                f"Somebody else's first push to {hub.url} came in between.", "Look with --diff, push again."
            )
    if page.private is False and not target.public:
        raise PublishError(
            f"{hub.url} is public, and a push is private unless told otherwise.",
            "Add --public, or make the page private first.",
        )
    if target.branch != MAIN and hub.head(target.branch) is None:
        hub.branch(target.branch)
    return page


def _unchanged(hub: Hub, target: Target, page: Page) -> Pushed:
    assert page.manifest is not None
    assert page.head is not None
    version = page.manifest.version
    notes = _stays_private(target, page)
    if target.branch != MAIN and hub.head(target.branch) is None:
        hub.branch(target.branch)
        notes = (*notes, f"The branch {target.branch} is new, and is as main.")
    tag = target.tag(version)
    if tag is not None:
        there = hub.tags().get(tag)
        if there is None:
            hub.tag(tag, page.head)
        elif there != page.head and hub.files(there).get(MANIFEST) != page.files[MANIFEST]:
            raise _tagged_elsewhere(hub, tag)
    return Pushed("unchanged", hub.url, page.head, version, tag, (), notes)


def _tagged_elsewhere(hub: Hub, tag: str) -> HubError:
    return HubError(
        f"The files are on {hub.url}, but its tag {tag} points to another commit.",
        f"Delete the tag {tag} there and type the same command again.",
    )


def _stays_private(target: Target, page: Page) -> tuple[str, ...]:
    """What to say to who asked for a public page, where it was private before."""
    stays = target.public and page.private is True
    return ("The page was private and stays so; make it public in its settings.",) if stays else ()


def _proposed(hub: Hub, make: Make, forced: Mapping[str, str]) -> tuple[Pull, Page] | None:
    """The open pull request that proposes what would be pushed, on whatever day it was made."""
    for pull in hub.pulls():
        page = _page(hub, True, hub.head(pull.ref))
        if page.forced == dict(forced) and page.changelog and page.holds(make(page.changelog)[0]):
            return pull, page
    return None


@dataclass
class _Push:
    """A commit under way."""

    hub: Hub
    target: Target
    page: Page
    make: Make
    files: Sequence[PublishedFile]
    manifest: Manifest
    message: str | None
    in_the_way: Sequence[str]

    def go(self) -> Pushed:
        from huggingface_hub import CommitOperationAdd

        changed = [
            file
            for file in self.files
            if file.path not in self.page.files or not self.page.files[file.path].holds(file)
        ]
        additions = [
            CommitOperationAdd(
                file.path, file.content if isinstance(file.content, bytes) else str(file.content)
            )
            for file in changed
        ]
        for file, addition in zip(changed, additions, strict=True):
            if addition.upload_info.sha256.hex() != file.sha256:
                raise PublishError(
                    f"{file.path} changed while it was made ready to be pushed.",
                    "Wait until nothing writes to the run, and type the same command again.",
                )
        self.hub.upload(additions, self.target.branch, self.target.pull)
        commit, pull = self.hub.trying(lambda: self._commit(additions))
        last = self.manifest.changelog[-1]
        tag = self.target.tag(last.version)
        if tag is not None:
            self._tag(tag, commit)
        what: Literal["pushed", "proposed"] = "proposed" if self.target.pull else "pushed"
        return Pushed(what, pull or self.hub.url, commit, last.version, tag, last.changed)

    def _commit(self, additions: Sequence[CommitOperationAdd]) -> tuple[str, str | None]:
        """The commit's id and pull request; looked for where it was tried and may have gone through."""
        last = self.manifest.changelog[-1]
        summary = self.message or f"v{last.version}: {' '.join(last.changed)}"[:200]
        try:
            return self.hub.commit(
                self._operations(additions),
                summary,
                "\n".join(last.changed),
                self.page.head or "",
                self.target.branch,
                self.target.pull,
            )
        except (HubMovedError, TransientHubError) as error:
            done = self._gone_through()
            if done is not None:
                return done
            if isinstance(error, HubMovedError):
                raise TransientHubError(
                    f"Somebody else's commit on {self.hub.url} came first; it touched none of these files.",
                    "Type the same command again.",
                    retry_after_s=0.0,
                ) from error
            raise

    def _operations(
        self, additions: Sequence[CommitOperationAdd]
    ) -> list[CommitOperationAdd | CommitOperationDelete]:
        from huggingface_hub import CommitOperationDelete

        gone = dict.fromkeys(self.page.left_over(self.files))
        ours = {file.path for file in self.files}
        mixed = [line.partition(" is there")[0] for line in self.in_the_way]
        gone |= dict.fromkeys(path for path in mixed if path in self.page.files and path not in ours)
        return [*additions, *(CommitOperationDelete(path, is_folder=False) for path in gone)]

    def _gone_through(self) -> tuple[str, str | None] | None:
        """The commit, where the page holds these files now; None where it may be tried again.

        Raises: HubMovedError where somebody changed what this push writes.
        """
        if self.target.pull:
            known = _proposed(self.hub, self.make, self.manifest.changelog[-1].forced)
            return (known[1].head or "", known[0].url) if known else None
        head = self.hub.head(self.target.branch)
        if head is None or head == self.page.head:
            return None
        now = _page(self.hub, bool(self.page.private), head)
        if now.holds(self.files):
            return head, None
        touched = [
            path
            for path in sorted({*now.files, *self.page.files})
            if now.files.get(path) != self.page.files.get(path) and self._is_ours(path)
        ]
        if touched:
            raise HubMovedError(
                f"Somebody else's commit on {self.hub.url} came first and changed {_some(touched)};"
                " nothing of this push is on the page.",
                "Look at it with --diff, then push again.",
            )
        self.page = now
        return None

    def _is_ours(self, path: str) -> bool:
        """Whether a path is one that this push writes, deletes, or would be mixed with."""
        folders = tuple(file.path.partition("/")[0] + "/" for file in self.files if "/" in file.path)
        named = path in {CARD, MANIFEST} or path in {file.path for file in self.files}
        return (
            named
            or path in (self.page.manifest.files if self.page.manifest else {})
            or path.startswith(folders)
        )

    def _tag(self, tag: str, commit: str) -> None:
        try:
            self.hub.tag(tag, commit)
            there = self.hub.tags().get(tag)
        except HubError as error:
            raise HubError(
                f"The files are on {self.hub.url}, but the tag {tag} is not: {error.problem}",
                "Type the same command again; it makes the tag and nothing else.",
            ) from error
        if there != commit:
            raise _tagged_elsewhere(self.hub, tag)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

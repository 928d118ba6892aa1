"""One dataset repository of the Hub: each call by name, retried, its errors mapped.

The one place that calls huggingface_hub; hub_errors.py maps what it raises. A call that failed in passing (5xx, 429, a broken connection) is asked
again, waiting as long as the server says where it says so; commits are asked once (push.py looks
first whether the last try went through).

Files go by LFS, not by Xet: hf_xet sends them in threads of its own that report neither which file
failed nor why, so a push could be neither resumed file by file nor tested against faults. An explicit
HF_HUB_DISABLE_XET=0 in the environment leaves Xet on.

The token comes from where huggingface_hub looks (HF_TOKEN, or `hf auth login`).

What this module does not know: what is pushed, what a push must not do.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import tenacity

from cai.errors import HubError, PublishError, TransientHubError
from cai.publish.file import PublishedFile
from cai.publish.hub_errors import NotThereError, cause, mapped, raised

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

_Answer = TypeVar("_Answer")
_NAME = re.compile(r"(?!-|\.)(?!.*(--|\.\.))[A-Za-z0-9._-]{1,96}(?<!-)(?<!\.)(?<!\.git)(?<!\.ipynb)")
_BRANCH = re.compile(r"(?!/|-|refs/)(?!.*(//|\.\.|@\{))[A-Za-z0-9._/-]{1,200}(?<![/.])(?<!\.lock)")


LOOK_S = 60.0
"""A look at the page that takes longer has failed."""


@dataclass(frozen=True)
class Patience:
    """How long a call is tried. `longest_s`: a server that asks for a longer wait is not waited for;
    `answer_s`: one that says nothing for so long counts as gone."""

    tries: int = 6
    first_s: float = 1.0
    most_s: float = 60.0
    longest_s: float = 600.0
    answer_s: float = 300.0


@dataclass(frozen=True)
class RemoteFile:
    """A file on the page; `oid`: its SHA-256 where it is a large file, else git's name for it."""

    path: str
    size: int
    oid: str
    large: bool

    def holds(self, file: PublishedFile) -> bool:
        """Whether it has a local file's content."""
        return self.size == file.size and self.oid == (file.sha256 if self.large else file.git_oid)


@dataclass(frozen=True)
class Pull:
    """An open pull request."""

    number: int
    title: str
    url: str

    @property
    def ref(self) -> str:
        """The revision that it proposes."""
        return f"refs/pr/{self.number}"


def valid_repo(name: str) -> str:
    """A repository's name, ORG/NAME. Raises: PublishError."""
    org, slash, rest = name.partition("/")
    if not slash or not _NAME.fullmatch(org) or not _NAME.fullmatch(rest):
        raise PublishError(
            f"{name!r} is no repository on the Hub.",
            "Give ORG/NAME: letters, digits, -, _ and . (no -- or .., none at the ends), 96 at most each.",
        )
    return name


def valid_branch(name: str) -> str:
    """A branch's name. Raises: PublishError."""
    if not _BRANCH.fullmatch(name):
        raise PublishError(f"{name!r} is no branch's name.", "Use letters, digits, -, _, . and /.")
    return name


class Hub:
    """A dataset repository. `told` is given one line for each wait."""

    def __init__(
        self,
        repo: str,
        endpoint: str | None = None,
        token: str | None = None,
        patience: Patience | None = None,
        told: Callable[[str], None] = lambda line: None,
    ) -> None:
        _without_xet()
        from huggingface_hub import HfApi, get_token
        from huggingface_hub.utils.tqdm import disable_progress_bars

        if not sys.stderr.isatty():
            disable_progress_bars()
        self.repo = valid_repo(repo)
        self._token = token or get_token()
        # False and not None: without a token none must be looked for elsewhere.
        self._api = HfApi(endpoint=endpoint, token=self._token or False)
        self.endpoint: str = self._api.endpoint
        self.patience = patience or Patience()
        _bounded(self.patience.answer_s)
        self._told = told

    @property
    def url(self) -> str:
        """The page's address."""
        return f"{self.endpoint}/datasets/{self.repo}"

    # ------------------------------------------------------------------ reading

    def private(self) -> bool | None:
        """Whether the repository is private; None where there is none (or none that may be seen)."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self.step("reading the page", lambda: self._api.dataset_info(self.repo, timeout=LOOK_S))
        except NotThereError as error:
            if not isinstance(error.__cause__, RepositoryNotFoundError):
                raise
            return None
        return bool(info.private)

    def head(self, revision: str) -> str | None:
        """The commit that a revision points to; None where there is no such revision."""
        try:
            info = self.step(
                "reading the page",
                lambda: self._api.dataset_info(self.repo, revision=revision, timeout=LOOK_S),
            )
        except NotThereError:
            return None
        return str(info.sha)

    def files(self, commit: str) -> dict[str, RemoteFile]:
        """The files of a commit, by path."""
        from huggingface_hub.hf_api import RepoFile

        def listed() -> list[Any]:
            return list(
                self._api.list_repo_tree(self.repo, recursive=True, revision=commit, repo_type="dataset")
            )

        items = [item for item in self.step("listing the files", listed) if isinstance(item, RepoFile)]
        return {
            item.path: RemoteFile(
                item.path, item.size, item.lfs.sha256 if item.lfs else item.blob_id, item.lfs is not None
            )
            for item in items
        }

    def fetch(self, path: str, commit: str) -> Path:
        """A file of a commit, in huggingface_hub's cache."""
        name = self.step(
            f"reading {path}",
            lambda: self._api.hf_hub_download(self.repo, path, repo_type="dataset", revision=commit),
        )
        return Path(name)

    def tags(self) -> dict[str, str]:
        """Tags by name, and the commits that they point to."""
        refs = self.step("reading the tags", lambda: self._api.list_repo_refs(self.repo, repo_type="dataset"))
        return {ref.name: ref.target_commit for ref in refs.tags}

    def pulls(self) -> list[Pull]:
        """The open pull requests, newest first."""

        def listed() -> list[Any]:
            return list(
                self._api.get_repo_discussions(
                    self.repo,
                    repo_type="dataset",
                    discussion_type="pull_request",
                    discussion_status="open",
                )
            )

        found = self.step("reading the pull requests", listed)
        pulls = [Pull(item.num, item.title, f"{self.url}/discussions/{item.num}") for item in found]
        return sorted(pulls, key=lambda pull: -pull.number)

    # ------------------------------------------------------------------ writing

    def must_write(self) -> None:
        """Say at once that there is no token. Raises: HubError."""
        if not self._token:
            raise HubError(
                "There is no token of the Hub to push with.",
                "Type `hf auth login`, or set HF_TOKEN; the token must be allowed to write.",
            )

    def create(self, private: bool) -> None:
        """Make the repository, where there is none."""
        self.step(
            "making the repository",
            lambda: self._api.create_repo(self.repo, repo_type="dataset", private=private, exist_ok=True),
        )

    def branch(self, name: str) -> None:
        """Make a branch from main, where there is none."""
        self.step(
            "making the branch",
            lambda: self._api.create_branch(self.repo, branch=name, repo_type="dataset", exist_ok=True),
        )

    def upload(self, additions: Sequence[CommitOperationAdd], revision: str, pull: bool) -> None:
        """Send the large files among the additions that the Hub does not have; no commit."""
        self.step(
            "uploading",
            lambda: self._api.preupload_lfs_files(
                self.repo,
                additions=[item for item in additions if not item._is_uploaded],
                repo_type="dataset",
                revision=revision,
                create_pr=pull,
                free_memory=False,
            ),
        )

    def commit(
        self,
        operations: Iterable[CommitOperationAdd | CommitOperationDelete],
        message: str,
        description: str,
        parent: str,
        revision: str,
        pull: bool,
    ) -> tuple[str, str | None]:
        """One commit, tried once; returns its id and the pull request's address.

        Raises: HubMovedError where `parent` is not the head any more, TransientHubError, HubError.
        """

        def act() -> Any:
            return self._api.create_commit(
                self.repo,
                operations=list(operations),
                commit_message=message,
                commit_description=description,
                repo_type="dataset",
                revision=None if pull else revision,
                create_pr=pull,
                parent_commit=parent,
            )

        info = self.once("committing", act)
        return str(info.oid), info.pr_url

    def tag(self, name: str, commit: str) -> None:
        """Make a tag; one that is there already stays as it is."""
        self.step(
            f"making the tag {name}",
            lambda: self._api.create_tag(
                self.repo, tag=name, revision=commit, repo_type="dataset", exist_ok=True
            ),
        )

    # ------------------------------------------------------------------ tries

    def step(self, what: str, act: Callable[[], _Answer]) -> _Answer:
        """Do something on the Hub, again where it failed in passing. Raises: HubError and its kinds."""
        return self.trying(lambda: self.once(what, act))

    def trying(self, act: Callable[[], _Answer]) -> _Answer:
        """Call something that raises TransientHubError until it goes well or patience ends."""
        patience = self.patience
        growing = tenacity.wait_exponential(multiplier=patience.first_s, max=patience.most_s)

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after_s if isinstance(error, TransientHubError) else None
            return asked if asked is not None else growing(state)

        def tell(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, TransientHubError):
                self._told(f"{error.problem} Again in {state.upcoming_sleep:.0f} s.")

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._is_waited_for),
            stop=tenacity.stop_after_attempt(patience.tries),
            wait=wait,
            before_sleep=tell,
            reraise=True,
        )
        return retrying(act)

    def _is_waited_for(self, error: BaseException) -> bool:
        if not isinstance(error, TransientHubError):
            return False
        return error.retry_after_s is None or error.retry_after_s <= self.patience.longest_s

    def once(self, what: str, act: Callable[[], _Answer]) -> _Answer:
        """Do something on the Hub, once. Raises: HubError and its kinds."""
        try:
            return act()
        except raised() as error:
            raise mapped(error, what, self.url, self._token) from cause(error)


@cache
def _bounded(answer_s: float) -> None:
    """Let huggingface_hub's connections end after a silence; by themselves they wait for ever."""
    import httpx2
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def client() -> httpx2.Client:
        made = default_client_factory()
        made.timeout = httpx2.Timeout(answer_s, connect=min(30.0, answer_s))
        return made

    set_client_factory(client)


def _without_xet() -> None:
    """Let huggingface_hub send by LFS; see the module's header for why."""
    if os.environ.get("HF_HUB_DISABLE_XET", "").upper() in ("0", "OFF", "NO", "FALSE"):
        return
    os.environ["HF_HUB_DISABLE_XET"] = "1"
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_XET = True

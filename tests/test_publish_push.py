"""Promises of a push, against a Hub on loopback: whole or not at all, again without harm, never a mix.

What this module does not know: what a card says, the command line (test_publish.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from cai.errors import HubError, HubMovedError, PublishError, TransientHubError
from cai.publish.difference import compare_rows, difference, read_rows
from cai.publish.file import CARD, MANIFEST, PublishedFile
from cai.publish.hub import Hub, Patience, _bounded, valid_branch, valid_repo
from cai.publish.hub_errors import mapped
from cai.publish.manifest import Change, Manifest, code_digest, make_manifest, read_manifest, what_changed
from cai.publish.push import Pushed, Target, foreign, look, push
from tests.hub_server import PART_SIZE, TOKEN, TOKENS, HubServer, loopback_only

REPO = "org/name"
OTHER = next(token for token in TOKENS if token != TOKEN)
PATIENT = Patience(tries=4, first_s=0.01, most_s=0.02)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub keeps what it caches in the test's folder, and does not sleep between its tries."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    quick = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr(_http, "time", quick)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path / "hub") as hub:
        yield hub


def client(server: HubServer, token: str | None = TOKEN, told: list[str] | None = None) -> Hub:
    loopback_only(server.url)
    return Hub(REPO, server.url, token, PATIENT, (told if told is not None else []).append)


class Parcel:
    """What is pushed: files by name, and a card that carries the changelog."""

    def __init__(self, words: str = "first", files: dict[str, bytes] | None = None) -> None:
        self.files = [PublishedFile("preferences/train-00000.parquet", f"rows {words}".encode() * 400)]
        self.files += [PublishedFile("sft/train-00000.parquet", f"other {words}".encode() * 300)]
        self.files += [PublishedFile("run/recipe.yaml", f"seed: 1 # {words}\n".encode())]
        self.files += [PublishedFile(path, content) for path, content in (files or {}).items()]
        self.summary = {"generation": "0" * 32, "configs": {"preferences": {"train": 400}}}

    def __call__(self, changelog: Sequence[Change]) -> tuple[list[PublishedFile], Manifest]:
        lines = [f"- {change.version}: {' '.join(change.changed)}" for change in changelog]
        card = PublishedFile(CARD, "\n".join(["---", "license: mit", "---", "# A page", *lines]).encode())
        manifest = make_manifest("test", [*self.files, card], changelog, self.summary)
        return [*self.files, card, manifest.as_file()], manifest


def is_whole(server: HubServer, revision: str = "main") -> bool:
    """Whether a revision's manifest names each of its files with its digest: no half, no mix."""
    files = server.files(REPO, revision)
    files.pop(".gitattributes")
    said = orjson.loads(files.pop(MANIFEST))["files"]
    return {path: sha256(body).hexdigest() for path, body in files.items()} == {
        path: item["sha256"] for path, item in said.items()
    }


def commits(server: HubServer, revision: str = "main") -> int:
    """How many commits a revision has beside the Hub's own first one."""
    repo = server.repos[REPO]
    commit, count = repo.resolve(revision), 0
    while commit is not None and commit.parent is not None:
        commit, count = repo.commits[commit.parent], count + 1
    return count


# ---------------------------------------------------------------------- well and again


def test_a_push_is_one_commit_with_a_tag_and_private(server: HubServer) -> None:
    done = push(client(server), Target(), Parcel())
    assert (done.what, done.version, done.tag) == ("pushed", 1, "v1")
    assert commits(server) == 1
    assert is_whole(server)
    repo = server.repos[REPO]
    assert repo.private
    assert repo.refs["refs/tags/v1"] == repo.refs["refs/heads/main"] == done.commit


def test_a_second_push_of_the_same_changes_nothing_and_says_so(server: HubServer) -> None:
    first = push(client(server), Target(), Parcel())
    received = server.received
    again = push(client(server), Target(), Parcel())
    assert (again.what, again.version, again.commit) == ("unchanged", 1, first.commit)
    assert commits(server) == 1
    assert server.received == received


def test_a_push_of_something_else_is_the_next_version_and_says_what_changed(server: HubServer) -> None:
    push(client(server), Target(), Parcel())
    done = push(client(server), Target(), Parcel("second"))
    assert (done.version, done.tag) == (2, "v2")
    assert "preferences: rows changed." in done.changed
    changelog = read_manifest(server.files(REPO)[MANIFEST], "").changelog
    assert [change.version for change in changelog] == [1, 2]
    assert b"- 2: " in server.files(REPO)[CARD]
    assert is_whole(server)


def test_the_changelog_says_what_changed_in_words() -> None:
    def manifest(run: str, generation: str, rows: int, **files: str) -> Manifest:
        listed = {path.replace("__", "/"): {"sha256": digest, "size": 1} for path, digest in files.items()}
        return Manifest(run, generation, {"sft": {"train": rows}}, listed, ())

    first = manifest("a", "0" * 32, 1200, sft__x="1", run__y="1", README="1")
    assert what_changed(None, first) == ("First version: sft 1,200 rows.",)
    assert what_changed(first, manifest("a", "0" * 32, 1200, sft__x="2", run__y="1", README="2")) == (
        "sft: rows changed.",
    )
    told = what_changed(first, manifest("b", "1" * 32, 1300, sft__x="2", run__y="2", README="2"))
    assert [line.partition(":")[0] for line in told] == ["Another run", "Another generation", "sft"]
    assert told[2] == "sft: 1,200 rows became 1,300."
    reviewed = manifest("a", "0" * 32, 1200, sft__x="1", run__y="1", README="1", review__z="1")
    assert what_changed(first, reviewed) == ("The person's review was added.",)
    again = replace(reviewed, files={**reviewed.files, "review/z": {"sha256": "2", "size": 1}})
    assert what_changed(reviewed, again) == ("The person's review changed.",)
    assert what_changed(first, replace(first, code="another")) == ("Made by another version of the program.",)


def test_a_manifest_of_before_the_code_was_told_is_read(server: HubServer) -> None:
    push(client(server), Target(), Parcel())
    found = orjson.loads(server.files(REPO)[MANIFEST])
    assert found.pop("code") == code_digest()
    assert read_manifest(orjson.dumps(found), "").code == ""


def test_a_file_that_is_no_longer_published_goes_in_the_same_commit(server: HubServer) -> None:
    push(client(server), Target(), Parcel(files={"unpaired/train-00000.parquet": b"once"}))
    push(client(server), Target(), Parcel())
    assert "unpaired/train-00000.parquet" not in server.files(REPO)
    assert commits(server) == 2
    assert is_whole(server)


def test_what_stands_elsewhere_on_the_page_stays(server: HubServer) -> None:
    push(client(server), Target(), Parcel())
    server.write(REPO, {"LICENSE": b"MIT"})
    push(client(server), Target(), Parcel("second"))
    assert server.files(REPO)["LICENSE"] == b"MIT"


def test_a_missing_tag_is_made_up_for(server: HubServer) -> None:
    push(client(server), Target(), Parcel())
    del server.repos[REPO].refs["refs/tags/v1"]
    assert push(client(server), Target(), Parcel()).what == "unchanged"
    assert "refs/tags/v1" in server.repos[REPO].refs


def test_a_tag_of_other_files_is_told_by_every_push_until_it_is_deleted(server: HubServer) -> None:
    first = push(client(server), Target(), Parcel())
    push(client(server), Target(), Parcel("second"))
    refs = server.repos[REPO].refs
    refs["refs/heads/main"] = first.commit  # the page was put back, and its tags were not
    for _ in range(2):
        with pytest.raises(HubError, match="its tag v2 points to another commit"):
            push(client(server), Target(), Parcel("third"))
    del refs["refs/tags/v2"]
    assert push(client(server), Target(), Parcel("third")).what == "unchanged"
    assert refs["refs/tags/v2"] == refs["refs/heads/main"]
    server.write(REPO, {"notes.txt": b"of somebody else"})
    assert push(client(server), Target(), Parcel("third")).tag == "v2"


def test_a_branch_has_versions_and_tags_of_its_own(server: HubServer) -> None:
    push(client(server), Target(), Parcel())
    done = push(client(server), Target(branch="dev"), Parcel("second"))
    assert done.tag == "dev-v2"
    assert is_whole(server, "dev")
    assert commits(server, "main") == 1


def test_a_file_that_changes_under_a_push_stops_it(server: HubServer, tmp_path: Path) -> None:
    path = tmp_path / "train-00000.parquet"
    path.write_bytes(b"one" * 400)
    parcel = Parcel()
    file = PublishedFile("revisions/train-00000.parquet", path)
    parcel.files.append(file)
    parcel(())
    path.write_bytes(b"two" * 400)
    with pytest.raises(PublishError, match="changed while it was made ready"):
        push(client(server), Target(), parcel)
    assert commits(server) == 0


def test_a_branch_of_what_is_on_main_already_is_made(server: HubServer) -> None:
    first = push(client(server), Target(), Parcel())
    done = push(client(server), Target("trial"), Parcel())
    assert (done.what, done.commit, done.notes) == (
        "unchanged",
        first.commit,
        ("The branch trial is new, and is as main.",),
    )
    refs = server.repos[REPO].refs
    assert refs["refs/heads/trial"] == refs["refs/tags/trial-v1"] == first.commit
    assert push(client(server), Target("trial"), Parcel()).notes == ()


def test_who_asks_for_a_public_page_is_told_that_one_stays_private(server: HubServer) -> None:
    told = ("The page was private and stays so; make it public in its settings.",)
    assert push(client(server), Target(), Parcel()).notes == ()
    assert push(client(server), Target(public=True), Parcel()).notes == told
    assert push(client(server), Target(public=True), Parcel("second")).notes == told
    assert server.repos[REPO].private


def test_a_pull_request_is_opened_once(server: HubServer) -> None:
    push(client(server), Target(), Parcel())
    done = push(client(server), Target(pull=True), Parcel("second"))
    assert (done.what, done.tag) == ("proposed", None)
    assert done.url.endswith("/discussions/1")
    again = push(client(server), Target(pull=True), Parcel("second"))
    assert (again.what, again.url) == ("unchanged", done.url)
    assert len(server.repos[REPO].pulls) == 1
    assert commits(server, "main") == 1
    assert is_whole(server, "refs/pr/1")


def test_a_pull_request_whose_answer_is_lost_is_not_opened_twice(server: HubServer) -> None:
    push(client(server), Target(), Parcel())
    server.fail("commit", "lost")
    done = push(client(server), Target(pull=True), Parcel("second"))
    assert done.url.endswith("/discussions/1")
    assert len(server.repos[REPO].pulls) == 1


def test_large_files_are_sent_in_parts_where_the_hub_asks_for_it(server: HubServer) -> None:
    server.multipart = True
    big = bytes(range(256)) * ((3 * PART_SIZE) // 256)
    push(client(server), Target(), Parcel(files={"traces/train-00000.parquet": big}))
    assert server.calls["part"] == 3
    assert server.files(REPO)["traces/train-00000.parquet"] == big


# ---------------------------------------------------------------------- faults at each step

FAULTS = [
    ("create", 503),
    ("create", "lost"),
    ("info", 502),
    ("preupload", 503),
    ("batch", 500),
    ("batch", "cut"),
    ("upload", 503),
    ("upload", "cut"),
    ("upload", "half"),
    ("upload", "lost"),
    ("verify", 503),
    ("yaml", "cut"),
    ("commit", 503),
    ("commit", "cut"),
    ("commit", "half"),
    ("commit", "lost"),
    ("commit", "429:0"),
    ("tag", 503),
    ("tag", "lost"),
    ("refs", 504),
]


@pytest.mark.parametrize(("step", "kind"), FAULTS)
def test_a_fault_that_passes_costs_nothing(server: HubServer, step: str, kind: str | int) -> None:
    server.fail(step, kind, times=2)
    done = push(client(server), Target(), Parcel())
    assert done.version == 1
    assert commits(server) == 1
    assert is_whole(server)
    assert server.repos[REPO].refs["refs/tags/v1"] == done.commit


@pytest.mark.parametrize("step", ["info", "tree", "resolve", "discussions"])
@pytest.mark.parametrize("kind", [503, "cut", "half", "429:0"])
def test_a_fault_in_reading_the_page_that_passes_costs_nothing(
    server: HubServer, step: str, kind: str | int
) -> None:
    push(client(server), Target(), Parcel())
    server.fail(step, kind, times=2)
    done = push(client(server), Target(pull=True), Parcel("second"))
    assert done.version == 2
    assert is_whole(server, "refs/pr/1")
    assert not any(fault["times"] for fault in server.faults)


@pytest.mark.parametrize("kind", [503, "cut"])
def test_a_page_that_cannot_be_read_is_not_said_to_be_missing(server: HubServer, kind: str | int) -> None:
    push(client(server), Target(), Parcel())
    server.fail("resolve", kind, 1000)
    with pytest.raises(TransientHubError):
        push(client(server), Target(), Parcel("second"))


@pytest.mark.parametrize("step", ["preupload", "batch", "upload", "yaml", "commit"])
@pytest.mark.parametrize("kind", [503, "cut", 403, "quota"])
def test_a_fault_that_stays_is_told_and_the_page_is_as_it_was(
    server: HubServer, step: str, kind: str | int
) -> None:
    push(client(server), Target(), Parcel())
    before = server.files(REPO)
    server.fail(step, kind, 1000)
    with pytest.raises(HubError) as told:
        push(client(server), Target(), Parcel("second"))
    assert told.value.remedy
    assert server.files(REPO) == before
    server.faults.clear()
    assert push(client(server), Target(), Parcel("second")).version == 2
    assert is_whole(server)


def test_an_upload_that_was_broken_off_goes_on_where_it_was(server: HubServer) -> None:
    server.fail("upload", "cut", 1000, skip=1)
    with pytest.raises(HubError):
        push(client(server), Target(), Parcel())
    assert len(server.uploaded) == 1
    server.faults.clear()
    push(client(server), Target(), Parcel())
    assert len(server.uploaded) == len(set(server.uploaded)) == 2


def test_a_commit_whose_answer_is_lost_is_not_made_twice(server: HubServer) -> None:
    server.fail("commit", "lost")
    push(client(server), Target(), Parcel())
    assert server.calls["commit"] == 1
    assert commits(server) == 1


def test_the_wait_that_the_hub_asks_for_is_kept(server: HubServer) -> None:
    told: list[str] = []
    server.fail("commit", "429:1")
    began = time.monotonic()
    push(client(server, told=told), Target(), Parcel())
    assert time.monotonic() - began >= 1
    assert any("Again in 1 s" in line for line in told)


def test_a_hub_that_says_nothing_is_given_up_and_looked_at_again(server: HubServer) -> None:
    push(client(server), Target(), Parcel())
    server.fail("commit", "hang")
    hub = Hub(REPO, server.url, TOKEN, Patience(tries=4, first_s=0.01, answer_s=0.7))
    try:
        done = push(hub, Target(), Parcel("second"))
    finally:
        _bounded.cache_clear()
        _bounded(Patience().answer_s)
    assert done.version == 2
    assert is_whole(server)


def test_a_wait_of_an_hour_is_told_and_not_kept(server: HubServer) -> None:
    server.fail("commit", "429:3600")
    with pytest.raises(HubError, match="asks to wait 3600 s") as told:
        push(client(server), Target(), Parcel())
    assert "60 minutes" in told.value.remedy
    assert server.calls["commit"] == 1


def test_too_little_room_is_told_in_the_hubs_own_words(server: HubServer) -> None:
    server.quota = 100
    with pytest.raises(HubError, match="storage limit reached"):
        push(client(server), Target(), Parcel())
    assert commits(server) == 0


# ---------------------------------------------------------------------- other people


def test_another_commit_that_touches_these_files_stops_the_push(server: HubServer) -> None:
    push(client(server), Target(), Parcel())
    server.fail("commit", "race")
    with pytest.raises(HubMovedError, match=CARD):
        push(client(server), Target(), Parcel("second"))
    files = server.files(REPO)
    assert files[CARD] == b"written by another\n"
    assert files["run/recipe.yaml"] == b"seed: 1 # first\n"


def test_another_commit_that_touches_nothing_of_it_is_kept(server: HubServer) -> None:
    push(client(server), Target(), Parcel())
    hub = client(server)
    commit = hub.commit

    def slow(*given: Any, **named: Any) -> Any:
        if server.calls["commit"] == 1:
            server.write(REPO, {"LICENSE": b"MIT"})
        return commit(*given, **named)

    hub.commit = slow  # type: ignore[method-assign]
    done = push(hub, Target(), Parcel("second"))
    assert done.version == 2
    assert server.files(REPO).pop("LICENSE") == b"MIT"
    assert server.files(REPO)["run/recipe.yaml"] == b"seed: 1 # second\n"


@pytest.mark.parametrize("same", [True, False])
def test_two_pushers_at_once_are_each_done_or_told_and_never_mixed(server: HubServer, same: bool) -> None:
    push(client(server), Target(), Parcel())
    outcomes: list[Any] = []

    def go(token: str, words: str) -> None:
        try:
            outcomes.append(push(client(server, token), Target(), Parcel(words)))
        except HubError as error:
            outcomes.append(error)

    for number in range(5):
        outcomes.clear()
        words = [f"{number} one", f"{number} one" if same else f"{number} two"]
        pair = [threading.Thread(target=go, args=it) for it in zip((TOKEN, OTHER), words, strict=True)]
        for thread in pair:
            thread.start()
        for thread in pair:
            thread.join()
        done = [item for item in outcomes if isinstance(item, Pushed)]
        assert len(outcomes) == 2
        assert done
        assert same <= (len(done) == 2)
        assert all(isinstance(item, Pushed | HubMovedError) for item in outcomes)
        assert is_whole(server)
        recipe = server.files(REPO)["run/recipe.yaml"].decode()
        assert any(f"# {word}\n" in recipe for word in words)


def test_two_first_pushes_do_not_mix(server: HubServer) -> None:
    outcomes: list[Any] = []

    def go(token: str, words: str) -> None:
        try:
            outcomes.append(push(client(server, token), Target(), Parcel(words)))
        except (HubError, PublishError) as error:
            outcomes.append(error)

    pair = [threading.Thread(target=go, args=it) for it in ((TOKEN, "one"), (OTHER, "two"))]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join()
    assert any(isinstance(item, Pushed) for item in outcomes)
    assert is_whole(server)


def by_hand(server: HubServer) -> None:
    server.write(REPO, {CARD: b"my own words"})


def a_row_more(server: HubServer) -> None:
    server.write(REPO, {"preferences/train-00001.parquet": b"more"})


@pytest.mark.parametrize(("meddle", "what"), [(by_hand, CARD), (a_row_more, "preferences/train-00001")])
def test_what_somebody_else_put_there_is_not_overwritten_unasked(
    server: HubServer, meddle: Callable[[HubServer], None], what: str
) -> None:
    push(client(server), Target(), Parcel())
    meddle(server)
    with pytest.raises(PublishError, match=what) as told:
        push(client(server), Target(), Parcel("second"))
    assert "--force page" in told.value.remedy
    assert commits(server) == 2
    done = push(client(server), Target(), Parcel("second"), overwrite="mine is right")
    assert is_whole(server)
    assert done.changed[-1].startswith(f"Overwritten on the page, for 'mine is right': {what}")
    assert done.changed == read_manifest(server.files(REPO)[MANIFEST], "").changelog[-1].changed
    assert push(client(server), Target(), Parcel("second")).what == "unchanged"


def test_a_page_that_is_not_cais_is_not_overwritten_unasked(server: HubServer) -> None:
    server.create(REPO)
    server.write(REPO, {CARD: b"a dataset of mine", "preferences/old.parquet": b"rows"})
    with pytest.raises(PublishError, match="not pushed by cai"):
        push(client(server), Target(), Parcel())
    assert server.files(REPO)[CARD] == b"a dataset of mine"


def test_nothing_goes_to_a_public_page_unasked(server: HubServer) -> None:
    server.create(REPO, private=False)
    with pytest.raises(PublishError, match="is public"):
        push(client(server), Target(), Parcel())
    assert commits(server) == 0
    push(client(server), Target(public=True), Parcel())
    assert is_whole(server)


# ---------------------------------------------------------------------- tokens and names


def test_without_a_token_nothing_is_tried(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(HubError, match="no token") as told:
        push(client(server, None), Target(), Parcel())
    assert "hf auth login" in told.value.remedy
    assert not server.repos


def test_an_unknown_token_is_told(server: HubServer) -> None:
    with pytest.raises(HubError, match="does not know the token") as told:
        push(client(server, "hf_madeUp"), Target(), Parcel())
    assert "hf_madeUp" not in f"{told.value.problem} {told.value.remedy}"


@pytest.mark.parametrize("step", ["info", "preupload", "batch", "commit", "tag"])
def test_a_token_that_the_hub_repeats_is_not_shown(server: HubServer, step: str) -> None:
    told: list[str] = []
    server.fail(step, "echo", 1000)
    with pytest.raises(HubError) as error:
        push(client(server, told=told), Target(), Parcel())
    assert TOKEN not in "".join([error.value.problem, error.value.remedy, *told])
    assert "(the token)" in error.value.problem


@pytest.mark.parametrize(
    "name",
    ["", "name", "org/", "/name", "a/b/c", "org/na me", "org/-name", "org/name.", "org/na--me", "org/a..b",
     "../name", "org/name.git", "org/" + "n" * 97, "org/näme", "https://huggingface.co/org/name"],
)  # fmt: skip
def test_a_name_that_the_hub_would_refuse_is_refused_here(name: str) -> None:
    with pytest.raises(PublishError, match="no repository"):
        valid_repo(name)


@pytest.mark.parametrize("name", ["org/name", "a/b", "Org-1/Na_me.v2", "o/" + "n" * 96])
def test_a_name_that_the_hub_takes_is_taken(name: str) -> None:
    assert valid_repo(name) == name


@pytest.mark.parametrize("name", ["", "-x", "a..b", "a//b", "refs/pr/1", "a b", "x.lock", "a/", "@{x"])
def test_a_branch_that_git_would_refuse_is_refused_here(name: str) -> None:
    with pytest.raises(PublishError, match="branch"):
        valid_branch(name)


@pytest.mark.parametrize("name", ["v1", "trial-v2"])
def test_a_branch_named_like_a_version_is_refused(name: str) -> None:
    with pytest.raises(PublishError, match="could not be told from the tag"):
        Target(branch=name)
    assert Target(branch=f"{name}-draft").tag(1) == f"{name}-draft-v1"


def test_the_loopback_hub_refuses_another_endpoint() -> None:
    with pytest.raises(RuntimeError, match="loopback only"):
        loopback_only("https://huggingface.co")


# ---------------------------------------------------------------------- errors


def foreign_errors() -> list[type[Exception]]:
    import httpx2
    from huggingface_hub import errors

    calls = [
        item
        for item in vars(httpx2).values()
        if isinstance(item, type) and issubclass(item, httpx2.HTTPError)
    ]
    found = [*vars(errors).values(), *calls, TimeoutError, ConnectionResetError, OSError, RuntimeError]
    return [item for item in found if isinstance(item, type) and issubclass(item, Exception)]


@pytest.mark.parametrize("kind", foreign_errors(), ids=lambda kind: kind.__name__)
def test_every_error_of_huggingface_hub_is_mapped(server: HubServer, kind: type[Exception]) -> None:
    hub = client(server)

    def act() -> None:
        error = kind.__new__(kind)
        error.args = (f"with {TOKEN}",)
        error.response = None  # type: ignore[attr-defined]
        raise error

    with pytest.raises(HubError) as told:
        hub.once("trying", act)
    assert told.value.remedy
    assert TOKEN not in told.value.problem


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "-1"}, 0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"ratelimit": '"api";r=0;t=55'}, 55),
        ({"ratelimit": '"api";r=9;t=55'}, None),
        ({}, None),
    ],
)
def test_the_wait_is_read_from_what_the_server_says(headers: dict[str, str], seconds: float | None) -> None:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    response = httpx2.Response(429, headers=headers, request=httpx2.Request("GET", "http://127.0.0.1"))
    error = mapped(HfHubHTTPError("too many", response=response), "trying", "the page", None)
    assert isinstance(error, TransientHubError)
    assert error.retry_after_s == seconds


# ---------------------------------------------------------------------- differences


def rows_of(folder: Path, *rows: dict[str, Any]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train-00000.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def pair(row: int, chosen: str, rejected: str, probability: float = 0.9) -> dict[str, Any]:
    said = {
        name: [{"role": "assistant", "content": text}]
        for name, text in (("chosen", chosen), ("rejected", rejected))
    }
    return {"row_id": f"row-{row}", **said, "ai_probability": probability}


def test_a_lone_completion_is_turned_round_where_it_became_good_or_bad(tmp_path: Path) -> None:
    def single(row: int, text: str, good: bool, probability: float) -> dict[str, Any]:
        said = [{"role": "assistant", "content": text}]
        return {"row_id": f"row-{row}", "completion": said, "label": good, "ai_probability": probability}

    kept = [single(1, "a", True, 0.9), single(1, "b", False, 0.1)]
    before = rows_of(tmp_path / "before", *kept, single(2, "a", True, 0.9), single(2, "b", False, 0.1))
    now = rows_of(tmp_path / "now", *kept, single(2, "b", True, 0.6), single(2, "a", False, 0.4))
    found = compare_rows("unpaired", read_rows([before]), read_rows([now]))
    assert (found.added, found.removed, found.changed, found.turned) == (0, 0, 2, 2)


def test_rows_are_counted_as_added_removed_changed_and_turned(tmp_path: Path) -> None:
    before = rows_of(
        tmp_path / "before",
        pair(1, "a", "b"),
        pair(2, "a", "b"),
        pair(3, "a", "b"),
        pair(4, "a", "b"),
    )
    now = rows_of(
        tmp_path / "now",
        pair(1, "a", "b"),
        pair(2, "b", "a", 0.6),  # its label turned round
        pair(3, "a", "b", 0.7),  # its probability alone
        pair(5, "a", "b"),
    )
    found = compare_rows("preferences", read_rows([before]), read_rows([now]))
    assert (found.before, found.now) == (4, 4)
    assert (found.added, found.removed, found.changed, found.turned) == (1, 1, 2, 1)


def test_a_change_of_order_alone_is_told_from_a_change_of_rows(tmp_path: Path) -> None:
    rows = [pair(1, "a", "b"), pair(2, "a", "b"), pair(2, "c", "d"), pair(3, "a", "b")]
    before = read_rows([rows_of(tmp_path / "before", *rows)])

    def differs(name: str, *now: dict[str, Any]) -> str:
        found = compare_rows("preferences", before, read_rows([rows_of(tmp_path / name, *now)]))
        assert found.differs == "rows" or (found.added, found.removed, found.changed) == (0, 0, 0)
        return found.differs

    assert differs("as it was", *rows) == "files"
    assert differs("turned", *rows[::-1]) == "order"
    assert differs("two of one id", rows[0], rows[2], rows[1], rows[3]) == "order"
    assert differs("one twice", rows[0], rows[1], rows[1], rows[3]) == "rows"
    parts = [rows_of(tmp_path / "first", *rows[:2]), rows_of(tmp_path / "second", *rows[2:])]
    assert compare_rows("preferences", before, read_rows(parts)).differs == "files"
    split = [parts[0], parts[1].rename(parts[1].with_name("test-00000.parquet"))]
    assert compare_rows("preferences", before, read_rows(split)).changed == 2


def test_a_row_more_under_a_known_id_is_added_and_changes_none(tmp_path: Path) -> None:
    before = read_rows([rows_of(tmp_path / "before", pair(1, "a", "b"))])
    now = read_rows([rows_of(tmp_path / "now", pair(1, "c", "d"), pair(1, "a", "b"))])
    found = compare_rows("preferences", before, now)
    assert (found.added, found.removed, found.changed) == (1, 0, 0)


def test_a_difference_tells_rows_files_and_the_card(server: HubServer, tmp_path: Path) -> None:
    def parcel(words: str, *rows: dict[str, Any]) -> Parcel:
        made = Parcel(words)
        made.files = made.files[2:]
        made.files.append(PublishedFile("preferences/train-00000.parquet", rows_of(tmp_path / words, *rows)))
        return made

    push(client(server), Target(), parcel("first", pair(1, "a", "b"), pair(2, "a", "b")))
    hub = client(server)
    page = look(hub)
    new = parcel("second", pair(1, "b", "a"), pair(2, "a", "b"))
    new.files.append(PublishedFile("report.md", b"figures"))
    files = new(page.changelog)[0]
    found = difference(hub, page, files, foreign(hub, page, files))
    assert (found.added, found.removed) == (("report.md",), ())
    assert found.changed == ("preferences/train-00000.parquet", "run/recipe.yaml")
    (config,) = found.configs
    assert (config.changed, config.turned, config.added) == (1, 1, 0)
    assert found.card == ()
    by_hand(server)
    page = look(hub)
    found = difference(hub, page, files, foreign(hub, page, files))
    assert "-my own words" in found.card
    assert "+# A page" in found.card
    assert any(CARD in line for line in found.in_the_way)
    assert commits(server) == 2

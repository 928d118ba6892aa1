"""A small real Hub on loopback: enough of its protocol for huggingface_hub 2.4 and datasets 5.2.

    python tests/hub_server.py --folder FOLDER [--port 0]

It prints one line of JSON when it listens: {"url": ..., "pid": ...}. In a test: `with HubServer(folder)
as hub`. Contents lie in FOLDER by their SHA-256; repositories, branches, tags and pull requests are
held in memory. A commit is taken whole or not at all, and refused with 412 where its parent is no
longer the head. Writing needs a token of `TOKENS`, and so does reading what is private.

Faults are asked for with `hub.fail(step, kind, times)` or POST /fault: the next calls of a step go
wrong. Steps: see `_STEPS`. Kinds: a status (503, 403 ...), `429:SECONDS` (with Retry-After), `cut` (the
connection ends before anything is done), `lost` (it is done, and the answer is lost), `half` (of a
body, half is read), `slow` (a second passes), `hang` (half a minute does), `race` (another pusher commits first), `quota`, `echo` (the refusal repeats the token).
`hub.calls` counts the calls of each step, `hub.received` the bytes of uploads.

What this module does not know: cai. It shares no code with it.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

TOKEN = "hf_" + 4 * "loopback"
TOKENS = {TOKEN: "somebody", "hf_" + 4 * "anothers": "another"}
LFS_SUFFIXES = (".parquet", ".gz", ".bin", ".zst")
"""What goes by LFS whatever its size; other files do above `LFS_SIZE` bytes."""
LFS_SIZE = 10 << 20
MULTIPART_SIZE = 5 << 20
"""Uploads above it are asked for in parts of `PART_SIZE`, where `hub.multipart` is set."""
PART_SIZE = 2 << 20
PAGE = 50
"""Entries of a page of a tree."""


def loopback_only(endpoint: str) -> None:
    """Stop a test that would talk to anything but this machine."""
    host = urlsplit(endpoint).hostname
    if host not in ("127.0.0.1", "localhost", "::1"):
        raise RuntimeError(f"tests push to loopback only, and the endpoint is {endpoint!r}")


def environment(hub: HubServer, home: Path, token: str | None = TOKEN) -> dict[str, str]:
    """The environment of a process that talks to this Hub and to nothing else."""
    loopback_only(hub.url)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    made = {
        **kept,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    return {**made, "HF_TOKEN": token} if token else made


@dataclass(frozen=True)
class Entry:
    """A file in a commit."""

    sha256: str
    git_oid: str
    size: int
    lfs: bool


Tree = dict[str, Entry]


@dataclass
class Commit:
    """A commit: its files whole, and who made it."""

    oid: str
    parent: str | None
    tree: Tree
    title: str
    author: str


@dataclass
class Repo:
    """A repository. `refs`: full name -> commit."""

    name: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    pulls: list[dict[str, Any]] = field(default_factory=list)

    def resolve(self, revision: str) -> Commit | None:
        """The commit that a branch, tag, pull request's ref or oid names."""
        for name in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if name in self.refs:
                return self.commits[self.refs[name]]
        return self.commits.get(revision)


class HubServer:
    """The Hub: its repositories, its faults, its counters."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.repos: dict[str, Repo] = {}
        self.faults: list[dict[str, Any]] = []
        self.calls: Counter[str] = Counter()
        self.log: list[str] = []
        self.received = 0
        self.uploaded: list[str] = []
        self.multipart = False
        self.quota: int | None = None
        self.lock = threading.RLock()
        self._parts: dict[str, dict[int, bytes]] = {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        loopback_only(self.url)

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self) -> None:
        """Serve until the process ends."""
        self._server.serve_forever()

    def fail(self, step: str, kind: str | int, times: int = 1, skip: int = 0) -> None:
        """Let the next `times` calls of a step go wrong, after `skip` that go well."""
        assert step in {name for name, _, _ in _STEPS}, step
        self.faults.append({"step": step, "kind": str(kind), "times": times, "skip": skip})

    def fault(self, step: str) -> str | None:
        """The fault that this call of a step meets, or None."""
        with self.lock:
            for item in self.faults:
                if item["step"] != step or not item["times"]:
                    continue
                if item["skip"]:
                    item["skip"] -= 1
                    return None
                item["times"] -= 1
                return str(item["kind"])
        return None

    # ------------------------------------------------------------------ contents

    def blob(self, sha256: str) -> Path:
        """Where a content lies."""
        return self.folder / sha256

    def keep(self, data: bytes) -> str:
        """Keep a content; returns its SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.blob(sha256).exists():
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                file.write(data)
            Path(file.name).replace(self.blob(sha256))
        return sha256

    def entry(self, data: bytes) -> Entry:
        """A regular file's entry."""
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return Entry(self.keep(data), oid, len(data), lfs=False)

    def lfs_entry(self, sha256: str, size: int) -> Entry:
        """A large file's entry: git knows it by its pointer."""
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        oid = hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest()
        return Entry(sha256, oid, size, lfs=True)

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """Every file of a revision, by path."""
        commit = self.repos[repo].resolve(revision)
        assert commit is not None, revision
        return {path: self.blob(entry.sha256).read_bytes() for path, entry in commit.tree.items()}

    def commit(
        self, repo: Repo, ref: str, tree: Tree, title: str, author: str, parent: str | None = None
    ) -> Commit:
        """Make a commit and let a ref point to it."""
        before = parent or repo.refs.get(ref)
        said = json.dumps([before, title, author, sorted((p, e.sha256) for p, e in tree.items())])
        oid = hashlib.sha1(f"{said}{len(repo.commits)}".encode()).hexdigest()
        made = Commit(oid, before, tree, title, author)
        repo.commits[oid] = made
        repo.refs[ref] = oid
        return made

    def create(self, name: str, private: bool = True, author: str = "somebody") -> Repo:
        """Make a repository with its first commit, as the Hub does."""
        repo = self.repos[name] = Repo(name, private)
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
        self.commit(
            repo,
            "refs/heads/main",
            {".gitattributes": self.entry(attributes.encode())},
            "initial commit",
            author,
        )
        return repo

    def write(self, name: str, files: dict[str, bytes | None], revision: str = "main") -> str:
        """Somebody else's commit: files written, or deleted where None. Returns its oid."""
        with self.lock:
            repo = self.repos[name]
            commit = repo.resolve(revision)
            assert commit is not None
            tree = dict(commit.tree)
            for path, data in files.items():
                if data is None:
                    tree.pop(path, None)
                else:
                    tree[path] = self.entry(data)
            return self.commit(repo, f"refs/heads/{revision}", tree, "by another", "another").oid


_ID = r"(?P<repo>[^/]+/[^/]+)"
_API = rf"/api/datasets/{_ID}"
_STEPS: list[tuple[str, str, str]] = [
    ("create", "POST", r"/api/repos/create"),
    ("delete", "DELETE", r"/api/repos/delete"),
    ("whoami", "GET", r"/api/whoami-v2"),
    ("yaml", "POST", r"/api/validate-yaml"),
    ("preupload", "POST", rf"{_API}/preupload/(?P<revision>[^/]+)"),
    ("batch", "POST", rf"/datasets/{_ID}\.git/info/lfs/objects/batch"),
    ("upload", "PUT", r"/lfs/(?P<oid>[0-9a-f]{64})"),
    ("part", "PUT", r"/lfs-part/(?P<oid>[0-9a-f]{64})/(?P<number>\d+)"),
    ("complete", "POST", r"/lfs-complete/(?P<oid>[0-9a-f]{64})"),
    ("verify", "POST", r"/lfs-verify/(?P<oid>[0-9a-f]{64})"),
    ("commit", "POST", rf"{_API}/commit/(?P<revision>[^/]+)"),
    ("commits", "GET", rf"{_API}/commits/(?P<revision>[^/]+)"),
    ("tree", "GET", rf"{_API}/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?"),
    ("paths", "POST", rf"{_API}/paths-info/(?P<revision>[^/]+)"),
    ("refs", "GET", rf"{_API}/refs"),
    ("branch", "POST", rf"{_API}/branch/(?P<name>.+)"),
    ("tag", "POST", rf"{_API}/tag/(?P<revision>[^/]+)"),
    ("discussions", "GET", rf"{_API}/discussions"),
    ("info", "GET", rf"{_API}(?:/revision/(?P<revision>[^/]+))?"),
    ("resolve", "GET", rf"/datasets/{_ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)"),
    ("fault", "POST", r"/fault"),
    ("counters", "GET", r"/counters"),
]
_ROUTES = [(step, method, re.compile(pattern)) for step, method, pattern in _STEPS]
_WRITES = {"create", "delete", "preupload", "batch", "commit", "branch", "tag"}
_OPEN = {"upload", "part", "complete", "verify", "yaml", "fault", "counters"}


def _route(method: str, path: str) -> tuple[str, re.Match[str] | None]:
    """The step that an address is of, and its names."""
    for step, wanted, pattern in _ROUTES:
        found = pattern.fullmatch(path)
        if found and wanted == method:
            return step, found
    return "", None


class _RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers or {}


class _Handler(BaseHTTPRequestHandler):
    """One call."""

    hub: HubServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:
        self.hub.log.append(format % args)

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    # ------------------------------------------------------------------ one call

    def _answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        self.query = {key: value[-1] for key, value in parse_qs(parts.query).items()}
        step, found = _route(method, parts.path)
        if found is None:
            self._read()
            self._send(404, {"error": f"no such address: {method} {parts.path}"})
            return
        self.named = {key: unquote(value) for key, value in found.groupdict().items() if value is not None}
        self.step = step
        self.hub.calls[step] += 1
        kind = self.hub.fault(step)
        try:
            self._go(step, kind)
        except _RefusedError as refused:
            headers = dict(refused.headers)
            if refused.code:
                headers["X-Error-Code"] = refused.code
            headers["X-Error-Message"] = refused.message
            self._send(refused.status, {"error": refused.message}, headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _go(self, step: str, kind: str | None) -> None:
        if kind == "half":
            self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
            return self._cut()
        body = self._read()
        if kind == "cut":
            return self._cut()
        if kind in ("slow", "hang"):
            time.sleep(1 if kind == "slow" else 30)
        elif kind == "echo":
            raise _RefusedError(403, f"not with {self.headers.get('Authorization')}")
        elif kind == "quota":
            raise _RefusedError(403, "Private repository storage limit reached, please upgrade your plan")
        elif kind == "race":
            self.hub.write(self.named["repo"], {"README.md": b"written by another\n"})
        elif kind and kind.startswith("429"):
            wait = kind.partition(":")[2]
            raise _RefusedError(429, "too many requests", headers={"Retry-After": wait} if wait else {})
        elif kind and kind.isdigit():
            raise _RefusedError(int(kind), f"told to answer {kind}")
        user = self._user(step)
        with self.hub.lock:
            answer = getattr(self, f"_on_{step}")(body, user)
        if kind == "lost":
            return self._cut()
        if answer is not None:
            self._send(200, *answer) if isinstance(answer, tuple) else self._send(200, answer)
        return None

    def _read(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _cut(self) -> None:
        """End the connection without an answer, as a fallen cable does."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        for name, text in given.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _user(self, step: str) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        user = TOKENS.get(token)
        if token and user is None:
            raise _RefusedError(401, "Invalid credentials in Authorization header")
        if step in _WRITES | {"whoami"} and user is None:
            raise _RefusedError(401, "Invalid username or password.")
        return user

    def _repo(self, user: str | None) -> Repo:
        repo = self.hub.repos.get(self.named["repo"])
        if repo is None or (repo.private and user is None):
            raise _RefusedError(404 if user else 401, "Repository not found", "RepoNotFound")
        return repo

    def _commit(self, repo: Repo) -> Commit:
        commit = repo.resolve(self.named.get("revision", "main"))
        if commit is None:
            raise _RefusedError(404, "Invalid rev id", "RevisionNotFound")
        return commit

    # ------------------------------------------------------------------ repositories

    def _on_create(self, body: bytes, user: str | None) -> Any:
        asked = json.loads(body)
        name = f"{asked.get('organization') or user}/{asked['name']}"
        if asked.get("type") != "dataset":
            raise _RefusedError(400, "only datasets live here")
        url = f"{self.hub.url}/datasets/{name}"
        if name in self.hub.repos:
            return self._send(409, {"error": "You already created this dataset repo", "url": url})
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.create(name, private, user or "")
        return {"url": url, "name": name}

    def _on_delete(self, body: bytes, user: str | None) -> Any:
        asked = json.loads(body)
        self.hub.repos.pop(f"{asked.get('organization') or user}/{asked['name']}", None)
        return {}

    def _on_whoami(self, body: bytes, user: str | None) -> Any:
        return {"type": "user", "name": user, "orgs": [{"name": "org"}], "auth": {"type": "access_token"}}

    def _on_yaml(self, body: bytes, user: str | None) -> Any:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        text = json.loads(body)["content"]
        head = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
        if head is None:
            return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
        try:
            YAML(typ="safe").load(head[1])
        except YAMLError as error:
            raise _RefusedError(400, f"the metadata is no YAML: {error}") from error
        return {"errors": [], "warnings": []}

    def _on_info(self, body: bytes, user: str | None) -> Any:
        repo = self._repo(user)
        commit = self._commit(repo)
        siblings = [{"rfilename": path, **self._described(entry)} for path, entry in commit.tree.items()]
        return {
            "_id": "0",
            "id": repo.name,
            "author": repo.name.split("/")[0],
            "sha": commit.oid,
            "private": repo.private,
            "disabled": False,
            "gated": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "siblings": siblings,
        }

    def _described(self, entry: Entry) -> dict[str, Any]:
        found: dict[str, Any] = {"size": entry.size, "blobId": entry.git_oid}
        if entry.lfs:
            found["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": 130}
        return found

    def _on_refs(self, body: bytes, user: str | None) -> Any:
        repo = self._repo(user)
        found: dict[str, list[dict[str, str]]] = {
            "branches": [],
            "converts": [],
            "tags": [],
            "pullRequests": [],
        }
        kinds = {"refs/heads/": "branches", "refs/tags/": "tags", "refs/pr/": "pullRequests"}
        for ref, oid in repo.refs.items():
            for begin, kind in kinds.items():
                if ref.startswith(begin):
                    found[kind].append({"name": ref.removeprefix(begin), "ref": ref, "targetCommit": oid})
        return found

    def _on_branch(self, body: bytes, user: str | None) -> Any:
        repo = self._repo(user)
        ref = f"refs/heads/{self.named['name']}"
        if ref in repo.refs:
            raise _RefusedError(409, "Reference already exists")
        start = repo.resolve((json.loads(body) if body else {}).get("startingPoint") or "main")
        if start is None:
            raise _RefusedError(404, "Invalid rev id", "RevisionNotFound")
        repo.refs[ref] = start.oid
        return {}

    def _on_tag(self, body: bytes, user: str | None) -> Any:
        repo = self._repo(user)
        commit = self._commit(repo)
        ref = f"refs/tags/{json.loads(body)['tag']}"
        if ref in repo.refs:
            raise _RefusedError(409, "Tag reference exists already")
        repo.refs[ref] = commit.oid
        return {}

    def _on_commits(self, body: bytes, user: str | None) -> Any:
        repo = self._repo(user)
        found = []
        commit: Commit | None = self._commit(repo)
        while commit is not None:
            found.append(
                {
                    "id": commit.oid,
                    "title": commit.title,
                    "message": "",
                    "authors": [{"user": commit.author}],
                    "date": "2026-01-01T00:00:00.000Z",
                }
            )
            commit = repo.commits.get(commit.parent or "")
        return found

    def _on_discussions(self, body: bytes, user: str | None) -> Any:
        repo = self._repo(user)
        return {"discussions": repo.pulls, "count": len(repo.pulls), "start": 0}

    # ------------------------------------------------------------------ uploads

    def _on_preupload(self, body: bytes, user: str | None) -> Any:
        repo = self._repo(user)
        commit = self._commit(repo)
        files = []
        for item in json.loads(body)["files"]:
            large = item["path"].endswith(LFS_SUFFIXES) or item["size"] > LFS_SIZE
            there = commit.tree.get(item["path"])
            mode = "lfs" if large else "regular"
            oid = None if there is None else there.sha256 if there.lfs else there.git_oid
            files.append({"path": item["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": files}

    def _on_batch(self, body: bytes, user: str | None) -> Any:
        self._repo(user)
        objects = []
        for item in json.loads(body)["objects"]:
            oid, size = item["oid"], item["size"]
            answer: dict[str, Any] = {"oid": oid, "size": size}
            if self.hub.quota is not None and size > self.hub.quota:
                answer["error"] = {"code": 403, "message": "Private repository storage limit reached"}
            elif not self.hub.blob(oid).exists():
                upload: dict[str, Any] = {"href": f"{self.hub.url}/lfs/{oid}"}
                if self.hub.multipart and size > MULTIPART_SIZE:
                    parts = -(-size // PART_SIZE)
                    upload["href"] = f"{self.hub.url}/lfs-complete/{oid}"
                    upload["header"] = {
                        "chunk_size": str(PART_SIZE),
                        **{
                            str(number): f"{self.hub.url}/lfs-part/{oid}/{number}"
                            for number in range(1, parts + 1)
                        },
                    }
                verify = {"href": f"{self.hub.url}/lfs-verify/{oid}"}
                answer["actions"] = {"upload": upload, "verify": verify}
            objects.append(answer)
        return {"transfer": "basic", "objects": objects}, {"Content-Type": "application/vnd.git-lfs+json"}

    def _kept(self, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != self.named["oid"]:
            raise _RefusedError(400, "the content is not what its name says")
        self.hub.keep(data)
        self.hub.uploaded.append(self.named["oid"])

    def _on_upload(self, body: bytes, user: str | None) -> Any:
        self.hub.received += len(body)
        self._kept(body)
        return {}

    def _on_part(self, body: bytes, user: str | None) -> Any:
        self.hub.received += len(body)
        self.hub._parts.setdefault(self.named["oid"], {})[int(self.named["number"])] = body
        return {}, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}

    def _on_complete(self, body: bytes, user: str | None) -> Any:
        parts = self.hub._parts.pop(self.named["oid"], {})
        if [part["partNumber"] for part in json.loads(body)["parts"]] != sorted(parts):
            raise _RefusedError(400, "parts are missing")
        self._kept(b"".join(parts[number] for number in sorted(parts)))
        return {}

    def _on_verify(self, body: bytes, user: str | None) -> Any:
        path = self.hub.blob(self.named["oid"])
        if not path.exists() or path.stat().st_size != json.loads(body)["size"]:
            raise _RefusedError(404, "there is no such object")
        return {}

    def _on_commit(self, body: bytes, user: str | None) -> Any:
        repo = self._repo(user)
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        pull = bool(self.query.get("create_pr"))
        head = self._commit(repo)
        parent = header.get("parentCommit")
        if pull:
            head = repo.commits[parent] if parent else head
        elif parent is not None and parent != head.oid:
            raise _RefusedError(412, "A commit has happened since. Please refresh and try again.")
        tree = self._changed(dict(head.tree), lines)
        ref = f"refs/heads/{self.named['revision']}"
        if self.named["revision"].startswith("refs/"):
            ref = self.named["revision"]
        url = None
        if pull:
            number = len(repo.pulls) + 1
            ref = f"refs/pr/{number}"
            url = f"{self.hub.url}/datasets/{repo.name}/discussions/{number}"
            repo.pulls.append(self._pull(repo, number, header["summary"], user))
        made = self.hub.commit(repo, ref, tree, header["summary"], user or "", head.oid)
        where = f"{self.hub.url}/datasets/{repo.name}/commit/{made.oid}"
        return {"success": True, "commitOid": made.oid, "commitUrl": where, "pullRequestUrl": url}

    def _pull(self, repo: Repo, number: int, title: str, user: str | None) -> dict[str, Any]:
        return {
            "num": number,
            "title": title,
            "status": "open",
            "isPullRequest": True,
            "author": {"name": user},
            "createdAt": "2026-01-01T00:00:00.000Z",
            "repo": {"name": repo.name, "type": "dataset"},
        }

    def _changed(self, tree: Tree, lines: list[dict[str, Any]]) -> Tree:
        for line in lines:
            key, value = line["key"], line["value"]
            if key == "file":
                tree[value["path"]] = self.hub.entry(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                path = self.hub.blob(value["oid"])
                if not path.exists():
                    raise _RefusedError(400, f"{value['path']}: its content was never uploaded")
                tree[value["path"]] = self.hub.lfs_entry(value["oid"], path.stat().st_size)
            elif key == "deletedFile":
                if tree.pop(value["path"], None) is None:
                    raise _RefusedError(404, "A file with this name doesn't exist", "EntryNotFound")
            elif key == "deletedFolder":
                for path_there in [name for name in tree if name.startswith(value["path"].rstrip("/") + "/")]:
                    del tree[path_there]
        return tree

    # ------------------------------------------------------------------ reading

    def _on_tree(self, body: bytes, user: str | None) -> Any:
        commit = self._commit(self._repo(user))
        folder = self.named.get("path", "").strip("/")
        inside = {p: e for p, e in commit.tree.items() if not folder or p.startswith(folder + "/")}
        if folder and not inside:
            raise _RefusedError(404, f"{folder} does not exist", "EntryNotFound")
        recursive = self.query.get("recursive", "").lower() in ("true", "1")
        items: dict[str, dict[str, Any]] = {}
        for path, entry in sorted(inside.items()):
            rest = path[len(folder) + 1 :] if folder else path
            names = rest.split("/")
            for depth in range(1, len(names) if recursive else min(len(names), 2)):
                at = "/".join(filter(None, [folder, *names[:depth]]))
                items[at] = {"type": "directory", "path": at, "oid": "0" * 40, "size": 0}
            if recursive or len(names) == 1:
                items[path] = self._item(path, entry)
        ordered = list(items.values())
        start = int(self.query.get("cursor", 0))
        headers = {}
        if start + PAGE < len(ordered):
            query = f"recursive={recursive}&cursor={start + PAGE}"
            headers["Link"] = f'<{self.hub.url}{urlsplit(self.path).path}?{query}>; rel="next"'
        return json.dumps(ordered[start : start + PAGE]).encode(), headers

    def _item(self, path: str, entry: Entry) -> dict[str, Any]:
        item: dict[str, Any] = {"type": "file", "path": path, "oid": entry.git_oid, "size": entry.size}
        if entry.lfs:
            item["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": 130}
        return item

    def _on_paths(self, body: bytes, user: str | None) -> Any:
        commit = self._commit(self._repo(user))
        if self.headers.get("Content-Type", "").startswith("application/json"):
            paths = json.loads(body)["paths"]
        else:
            paths = parse_qs(body.decode()).get("paths", [])
        found = []
        for path in paths:
            if path in commit.tree:
                found.append(self._item(path, commit.tree[path]))
            elif any(name.startswith(path + "/") for name in commit.tree):
                found.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        return found

    def _on_resolve(self, body: bytes, user: str | None) -> Any:
        commit = self._commit(self._repo(user))
        entry = commit.tree.get(self.named["path"])
        if entry is None:
            raise _RefusedError(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": commit.oid})
        data = self.hub.blob(entry.sha256).read_bytes()
        etag = entry.sha256 if entry.lfs else entry.git_oid
        headers = {
            "X-Repo-Commit": commit.oid,
            "ETag": f'"{etag}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if entry.lfs:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(entry.size)}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span is None:
            return data, headers
        first, last = int(span[1]), min(int(span[2] or len(data) - 1), len(data) - 1)
        if first >= len(data):
            raise _RefusedError(416, "out of range")
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return self._send(206, data[first : last + 1], headers)

    # ------------------------------------------------------------------ the test's own

    def _on_fault(self, body: bytes, user: str | None) -> Any:
        asked = json.loads(body)
        self.hub.fail(asked["step"], asked["kind"], asked.get("times", 1), asked.get("skip", 0))
        return {}

    def _on_counters(self, body: bytes, user: str | None) -> Any:
        return {"calls": dict(self.hub.calls), "received": self.hub.received, "uploaded": self.hub.uploaded}


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    hub = HubServer(given.folder, given.port)
    sys.stdout.write(json.dumps({"url": hub.url, "pid": os.getpid(), "quoted": quote(hub.url)}) + "\n")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        hub.serve()


if __name__ == "__main__":
    main()

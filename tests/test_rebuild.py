"""What is published with its store can be made again, without a model and without the network."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import orjson
import pytest
import typer

from cai.cli.rebuild import rebuild as verb
from cai.errors import PublishError, SourceError
from cai.publish.fetch import fetch
from cai.publish.file import PublishedFile
from cai.publish.rebuild import parquet_difference, rebuild
from cai.publish.rows import write_rows as write_snapshot
from cai.publish.with_store import write_store
from cai.reading import ReadRun
from cai.recipe import SourceSection
from cai.run_folder import open_run
from cai.source import Excluded, Row, Source, open_sources
from cai.store import Store
from cai.trace import trace_row
from tests.published_tree import listed_anew, publish_into, reviewed, rich_run, worked
from tests.toy_source import write_constitution, write_rows, write_run

ROOT = Path(__file__).resolve().parent.parent
CLOSED = """\
import sys


def _closed(event, arguments):
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else address
        if host not in ("127.0.0.1", "::1"):
            raise OSError(f"the network is closed: {address}")
    if event in ("socket.getaddrinfo", "socket.gethostbyname") and arguments[0] not in (
        None, "127.0.0.1", "::1", "localhost"
    ):
        raise OSError(f"the network is closed: {arguments[0]}")


sys.addaudithook(_closed)
"""


def closed_environment(folder: Path) -> dict[str, str]:
    """A process that knows nothing of this one, and can reach nothing but loopback."""
    (folder / "closed").mkdir(exist_ok=True)
    (folder / "closed" / "sitecustomize.py").write_text(CLOSED)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": f"{folder / 'closed'}:{ROOT}",
        "COLUMNS": "200",
    }


def cai(
    *arguments: str | Path, cwd: Path, network: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A `cai` of its own."""
    return subprocess.run(
        [sys.executable, "-m", "cai", *map(str, arguments)],
        cwd=cwd,
        env={**closed_environment(cwd), **(network or {})},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything, worked on."""
    return reviewed(worked(rich_run(tmp_path_factory.mktemp("rich"))))


@pytest.fixture(scope="module")
def published_once(rich: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What its publication holds."""
    return publish_into(tmp_path_factory.mktemp("out"), rich)


@pytest.fixture
def published(published_once: Path, tmp_path: Path) -> Path:
    """A copy of it that may be damaged."""
    return Path(shutil.copytree(published_once, tmp_path / "published"))


def _snapshot(folder: Path) -> Source:
    return open_sources([SourceSection(kind="published", path=str(folder))], None)


# ---------------------------------------------------------------------- rows


def test_rows_read_back_from_the_snapshot_are_the_rows_of_the_sources(rich: Path, tmp_path: Path) -> None:
    with ReadRun(open_run(rich)) as run:
        write_snapshot(run.source, tmp_path / "rows")
        items = list(run.source.items())
        assert list(_snapshot(tmp_path / "rows").items()) == items
        assert list(_snapshot(tmp_path / "rows").ids()) == list(run.source.ids())
    reasons = {item.reason for item in items if isinstance(item, Excluded)}
    assert reasons == {"unreadable", "contexts_differ", "no_prompt"}
    assert [item.split for item in items] == ["train"] * 16 + ["test"]
    own = items[-1]
    assert isinstance(own, Row)
    assert list(own.fields) == ["z", "a"], "fields keep their order"


def test_a_limit_that_cuts_a_record_cuts_it_in_the_snapshot_too(tmp_path: Path) -> None:
    talk = "\n\nHuman: One?\n\nAssistant: Two.\n\nHuman: Three?\n\nAssistant: Four.\n\nHuman: Five?"
    (tmp_path / "a.jsonl").write_bytes(orjson.dumps({"transcript": talk}))
    for prompts, turns in (("all", [1, 2]), ("first", [1]), ("last", [3])):
        section = SourceSection(kind="red-team", path=str(tmp_path / "a.jsonl"), prompts=prompts, limit=2)  # type: ignore[arg-type]
        source = open_sources([section], None)
        [path] = write_snapshot(source, tmp_path / prompts)
        assert json.loads(gzip.decompress(path.read_bytes()))["turns"] == turns
        assert list(_snapshot(tmp_path / prompts).items()) == list(source.items())


def test_equal_rows_give_equal_bytes_in_shards_of_bounded_size(tmp_path: Path) -> None:
    write_rows(tmp_path, 40)
    source = open_sources([SourceSection(kind="hh-rlhf", path=str(tmp_path / "data"))], None)
    one = write_snapshot(source, tmp_path / "one", shard_bytes=2000)
    two = write_snapshot(source, tmp_path / "two", shard_bytes=2000)
    assert len(one) > 2
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert one[0].read_bytes()[4:8] == bytes(4), "gzip's time"
    assert list(_snapshot(tmp_path / "one").items()) == list(source.items())


def test_a_snapshot_s_subsets_and_splits_can_be_chosen(rich: Path, tmp_path: Path) -> None:
    with ReadRun(open_run(rich)) as run:
        write_snapshot(run.source, tmp_path / "rows")
        there = [item for item in run.source.items() if item.subset == "own"]
    section = SourceSection(kind="published", path=str(tmp_path / "rows"), subsets=["own"])
    assert [item.id for item in open_sources([section], None).items()] == [item.id for item in there]
    section = SourceSection(kind="published", path=str(tmp_path / "rows"), splits=["tset"])
    with pytest.raises(SourceError, match="no split 'tset', did you mean 'test'"):
        list(open_sources([section], None).items())


def _edited(path: Path, number: int, old: str, new: str) -> None:
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new, 1)
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


@pytest.mark.parametrize(
    ("number", "old", "new", "said"),
    [
        (2, "A fine answer 1.", "A fine answer 2.", "line 2 is not as it was published: its row's id is"),
        (3, '"split":"train"', '"split":"test"', "line 3 .* its row's id is"),
        (4, '"position":3', '"position":4', "line 4 .* it is for row 4, where row 3 should stand"),
        (5, '"shape":"pairs"', '"shape":"odd"', "line 5 .* the shape 'odd' makes no such rows"),
        (5, '"turns":[0]', '"turns":[99]', "line 5 .* the shape 'pairs' makes no such rows"),
        (1, "{", "[", "line 1 .* it is no line of such a file"),
    ],
)
def test_a_row_that_was_changed_is_named_by_its_line(
    number: int, old: str, new: str, said: str, published: Path
) -> None:
    path = published / "run" / "rows" / "rows-00000.jsonl.gz"
    _edited(path, number, old, new)
    with pytest.raises(SourceError, match=said):
        list(_snapshot(path.parent).items())


def test_a_line_that_was_lost_or_a_file_that_was_cut_is_named(published: Path) -> None:
    path = published / "run" / "rows" / "rows-00000.jsonl.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="is damaged after line"):
        list(_snapshot(path.parent).items())
    lines = gzip.decompress(whole).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines[:2] + lines[3:])))
    with pytest.raises(SourceError, match=r"line 3 .* it is for row 3, where row 2 should stand"):
        list(_snapshot(path.parent).items())


# ---------------------------------------------------------------------- the part of the store


def test_every_row_replays_against_the_published_part_alone_and_asks_nothing(
    rich: Path, published: Path
) -> None:
    asked = 0
    with ReadRun(open_run(rich)) as run, Store(published / "run" / "store") as part:
        for item in run.source.items():
            plan = run.plan(item.subset)
            if isinstance(item, Excluded) or plan is None:
                continue
            exchanges, outcome = asyncio.run(trace_row(item, plan, part, run.identities))
            assert outcome is not None, f"row {item.position} misses an answer"
            assert run.outcomes([item.id])[item.id] == outcome
            asked += len(exchanges)
        stages = {str(record.labels["stage"]) for record in part.records()}
        kept = {record.digest: record.answer for record in part.records()}
        before = {record.digest: record.answer for record in run.store.records()}
        assert kept == {digest: before[digest] for digest in kept}, "answers as they were"
    assert asked > 500
    assert {"critique", "reasoning", "judgement", "harm", "response", "outcome"} <= stages


def test_the_part_holds_one_generation_and_is_the_same_after_kills_and_edits(tmp_path: Path) -> None:
    bytes_of = []
    for name, before in (("a", ""), ("b", " or other")):
        run = write_run(tmp_path / name, rows=6)
        if before:  # another generation first, whose answers lie in the same store
            write_constitution(run, change=before)
            worked(run)
            write_constitution(run)
            assert asyncio.run(_go_on(run)) == 0
        else:
            worked(run)
        with ReadRun(open_run(run)) as read:
            part = write_store(read, tmp_path / name / "part")
        assert (part.rows, part.incomplete) == (6, [])
        files = sorted((tmp_path / name / "part").iterdir())
        assert [path.name for path in files] == ["segment-000001.jsonl"], "no lock, no index"
        bytes_of.append([path.read_bytes() for path in files])
    assert bytes_of[0] == bytes_of[1]


async def _go_on(run: Path) -> int:
    from cai.cli.run import Wish, work

    return await work(run, Wish(yes=True, meant="edited"), lambda _: None)


def test_a_row_whose_answer_was_lost_is_counted_and_its_outcome_kept(rich: Path, tmp_path: Path) -> None:
    shutil.copytree(rich, tmp_path / "runs" / "rich")
    run = open_run(tmp_path / "runs" / "rich")
    shutil.rmtree(run.store / "index")
    path = run.store / "segment-000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lost = next(n for n, line in enumerate(lines) if b'"stage":"critique"' in line)
    path.write_bytes(b"".join(lines[:lost] + lines[lost + 1 :]))
    with ReadRun(run) as read:
        part = write_store(read, tmp_path / "part")
        assert part.rows == len(list(read.source.ids()))
    assert len(part.incomplete) == 1


# ---------------------------------------------------------------------- the whole


def test_a_clean_process_without_the_network_makes_identical_files_and_opens_no_engine(
    published: Path, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(published.rglob("*"))}
    done = cai("rebuild", published, "--json", "--out", tmp_path / "kept", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = orjson.loads(done.stdout)
    assert said["identical"] is True
    assert said["rows"] == 17
    manifest = orjson.loads((published / "cai.json").read_bytes())["files"]
    made = {
        path.relative_to(tmp_path / "kept").as_posix(): PublishedFile("", path).sha256
        for path in (tmp_path / "kept").rglob("*")
        if path.is_file() and path.name != "README.md"
    }
    assert sum(name.endswith(".parquet") for name in made) >= 8
    assert made == {name: manifest[name]["sha256"] for name in made}
    assert {file["path"] for file in said["files"]} == set(made)
    assert "person.jsonl" in made
    settings = orjson.loads((tmp_path / "kept" / "summary.json").read_bytes())["settings"]
    assert (settings["noise_floor"], settings["reviewed"]) == (0.01, 2)
    assert {path: path.stat().st_mtime_ns for path in sorted(published.rglob("*"))} == before, "only read"


def test_the_closed_network_is_closed(tmp_path: Path) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=closed_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the network is closed" in done.stderr


def _told(published: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of `cai rebuild` in this process, and what it prints."""
    try:
        verb(str(published), None, None, False)
    except typer.Exit as ended:
        return ended.exit_code, capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_a_label_that_was_changed_is_found_and_named(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = published / "preferences" / "train-00000.parquet"
    table = pq.read_table(path)
    values = table.column("ai_probability").to_pylist()
    values[2] = 1.0 - values[2]
    place = table.column_names.index("ai_probability")
    field = table.schema.field("ai_probability")
    pq.write_table(table.set_column(place, field, pa.array(values, field.type)), path)
    said = "preferences/train-00000.parquet differs"
    with pytest.raises(PublishError, match=said):
        fetch(str(published))
    listed_anew(published, "preferences/train-00000.parquet")
    code, told = _told(published, capsys)
    assert code == 1
    assert "preferences/train-00000.parquet: row 3 differs in ai_probability" in told
    assert "summary.json: identical" in told
    assert "Different: 1 of" in told


def test_other_bytes_with_the_same_rows_are_told_apart_from_other_rows(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet as pq

    path = published / "sft" / "train-00000.parquet"
    table = pq.read_table(path)
    pq.write_table(table, path, compression="none")
    listed_anew(published, "sft/train-00000.parquet")
    made = rebuild(fetch(str(published)), tmp_path / "made")
    assert not made.identical
    assert made.same_content
    code, told = _told(published, capsys)
    assert code == 1, "equal versions should give equal bytes"
    assert "the same content in other bytes" in told
    manifest = orjson.loads((published / "cai.json").read_bytes())
    (published / "cai.json").write_bytes(orjson.dumps({**manifest, "pyarrow": "1.2.3"}))
    code, told = _told(published, capsys)
    assert code == 0
    assert "pyarrow 1.2.3 (here" in told
    (published / "cai.json").write_bytes(orjson.dumps({**manifest, "code": "0" * 12}))
    code, told = _told(published, capsys)
    assert code == 0
    assert "other code of cai" in told
    (published / "cai.json").write_bytes(orjson.dumps({**manifest, "datasketch": "0.1"}))
    code, told = _told(published, capsys)
    assert code == 0
    assert f"Published with datasketch 0.1 (here {version('datasketch')})." in told
    pq.write_table(table.slice(1), tmp_path / "less.parquet")
    assert "rows, and" in parquet_difference([path], [tmp_path / "less.parquet"])
    pq.write_table(table.drop_columns(["row_id"]), tmp_path / "less.parquet")
    assert parquet_difference([path], [tmp_path / "less.parquet"]) == "its columns differ: row_id"


def test_files_that_end_elsewhere_hold_the_same_split(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet as pq

    files = [published / "traces" / f"train-0000{number}.parquet" for number in range(2)]
    table = pq.read_table(files[0])

    def published_as(first: int, second: int) -> None:
        for path, part in zip(files, (table.slice(0, first), table.slice(second)), strict=True):
            pq.write_table(part, path)
            listed_anew(published, f"traces/{path.name}")
        manifest = orjson.loads((published / "cai.json").read_bytes())
        (published / "cai.json").write_bytes(orjson.dumps({**manifest, "pyarrow": "1.2.3"}))

    published_as(2, 2)
    code, told = _told(published, capsys)
    assert (code, "row by row; the bytes of 2 of" in told) == (0, True), told
    published_as(2, 3)
    code, told = _told(published, capsys)
    assert code == 1
    rows = table.num_rows
    assert f"traces/train-00000.parquet: it has {rows:,} rows, and {rows - 1:,} were published" in told
    table = table.set_column(0, table.schema.field(0), [[*table.column(0).to_pylist()[:-1], "another"]])
    published_as(2, 2)
    code, told = _told(published, capsys)
    assert code == 1
    assert f"train-00001.parquet: row {rows} of the split differs in {table.column_names[0]}" in told


def test_labels_with_other_names_are_other_content(published: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = published / "sft" / "train-00000.parquet"
    table = pq.read_table(path)
    names = table.schema.metadata[b"huggingface"].replace(b'"chosen","rejected"', b'"rejected","chosen"')
    assert names != table.schema.metadata[b"huggingface"]
    pq.write_table(table.replace_schema_metadata({b"huggingface": names}), tmp_path / "other.parquet")
    assert "names of labels" in parquet_difference([path], [tmp_path / "other.parquet"])


DAMAGE = (
    "run/store/segment-000001.jsonl",
    "run/rows/rows-00000.jsonl.gz",
    "run/frozen/GENERATION/generation.json",
    "run/recipe.yaml",
    "summary.json",
)


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_differs_or_is_missing_is_named_before_anything_is_used(
    name: str, published: Path
) -> None:
    generation = orjson.loads((published / "cai.json").read_bytes())["generation"]
    name = name.replace("GENERATION", generation)
    path = published / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
    with pytest.raises(PublishError, match=f"not as it was published: {name} differs"):
        fetch(str(published))
    path.unlink()
    with pytest.raises(PublishError, match=f"{name} is missing"):
        fetch(str(published))


def test_an_unlisted_file_is_refused_where_a_run_would_read_it_and_told_elsewhere(published: Path) -> None:
    (published / "notes.txt").write_text("hello")
    assert fetch(str(published)).left == ("notes.txt",)
    (published / "run" / "store" / "segment-000002.jsonl").write_text("{}\n")
    with pytest.raises(PublishError, match=r"run/store/segment-000002\.jsonl is not listed"):
        fetch(str(published))


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/passwd", "a/../../b", "a\\b", "C:/x", "a//b", "./a", "a\nb"]
)
def test_a_path_that_leads_out_of_the_folder_is_refused(path: str, published: Path) -> None:
    manifest = orjson.loads((published / "cai.json").read_bytes())
    manifest["files"][path] = {"sha256": "0" * 64, "size": 1}
    (published / "cai.json").write_bytes(orjson.dumps(manifest))
    with pytest.raises(PublishError, match="no plain path"):
        fetch(str(published))


@pytest.mark.parametrize(
    "wrong",
    [b"{", b"[]", b'{"form": "another"}', None],
)
def test_a_folder_without_a_manifest_of_ours_is_refused(wrong: bytes | None, published: Path) -> None:
    (published / "cai.json").unlink()
    if wrong is not None:
        (published / "cai.json").write_bytes(wrong)
    with pytest.raises(PublishError):
        fetch(str(published))


def test_a_name_under_nobody_s_home_is_told_as_one_that_is_not_there() -> None:
    with pytest.raises(PublishError, match="There is no folder ~nobody-at-all/data"):
        fetch("~nobody-at-all/data")


def test_a_manifest_whose_generation_is_a_path_is_refused(published: Path) -> None:
    manifest = orjson.loads((published / "cai.json").read_bytes())
    (published / "cai.json").write_bytes(orjson.dumps({**manifest, "generation": "../../x"}))
    with pytest.raises(PublishError, match="names no generation"):
        fetch(str(published))


def test_without_the_store_one_sentence_says_so_and_what_can_still_be_followed(
    rich: Path, tmp_path: Path
) -> None:
    place = publish_into(tmp_path, rich, with_store=False)
    with pytest.raises(PublishError, match="published without its rows and answers") as raised:
        verb(str(place), None, None, False)
    assert "--with-store" in raised.value.remedy


def test_a_recipe_of_another_version_is_told_with_the_version_to_use(published: Path, tmp_path: Path) -> None:
    path = published / "run" / "recipe.yaml"
    path.write_text(path.read_text() + "\nnot_known_yet: 3\n")
    listed_anew(published, "run/recipe.yaml")
    manifest = orjson.loads((published / "cai.json").read_bytes())
    (published / "cai.json").write_bytes(orjson.dumps({**manifest, "cai": "9.8.7"}))
    with pytest.raises(PublishError, match="not_known_yet") as raised:
        rebuild(fetch(str(published)), tmp_path / "made")
    assert raised.value.remedy == "It was published with cai 9.8.7; use that version."


def test_a_reader_keeps_its_index_where_it_is_told_to_and_finds_every_record(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cai.store.index.RECENT", 100)
    folder = published / "run" / "store"
    with Store(folder, index=tmp_path / "index") as store:
        records = list(store.records())
        assert len(records) > 500
        assert [store.get(record.digest) for record in records] == records
    assert list((tmp_path / "index").glob("table-*.bin"))
    assert [path.name for path in folder.iterdir()] == ["segment-000001.jsonl"]


def test_nothing_that_was_published_is_run(published: Path, tmp_path: Path) -> None:
    script = published / "run" / "script.py"
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    listed_anew(published, "run/script.py")
    assert rebuild(fetch(str(published)), tmp_path / "made").identical
    assert not (tmp_path / "ran").exists()

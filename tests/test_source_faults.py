"""Sources: whatever is wrong is said in one sentence with a remedy, or excluded by line; nothing is lost in silence."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest

from cai.errors import SourceError
from cai.recipe import SourceSection
from cai.source import Excluded, Row, Source, SourceItem, open_sources
from cai.source import lines as source_lines

H, A = "\n\nHuman:", "\n\nAssistant:"
GOOD = orjson.dumps({"chosen": f"{H} a{A} b", "rejected": f"{H} a{A} c"}) + b"\n"


def source(beside: Path, kind: str = "jsonl", path: str | None = "x.jsonl", **more: Any) -> Source:
    """A source of one section."""
    return open_sources([SourceSection.model_validate({"kind": kind, "path": path, **more})], beside)


def put(path: Path, data: bytes = GOOD) -> Path:
    """Write a file and the folders around it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# One bad line


@pytest.mark.parametrize(
    ("line", "original"),
    [
        (b"not json", "not json"),
        (b'{"chosen": "a"', '{"chosen": "a"'),
        (b"[1, 2]", "[1, 2]"),
        (b"3", "3"),
        (b"null", "null"),
        (b'"text"', '"text"'),
        (b"{}", "{}"),
        (b'{"chosen": 1, "rejected": "a"}', '{"chosen": 1, "rejected": "a"}'),
        (b'{"chosen": null, "rejected": "a"}', '{"chosen": null, "rejected": "a"}'),
        (b'{"chosen": [1], "rejected": []}', '{"chosen": [1], "rejected": []}'),
        (b'{"chosen": [{"role": ["user"], "content": "a"}], "rejected": []}', None),
        (b'{"chosen": [{"role": "tool", "content": "a"}], "rejected": []}', None),
        (b'{"chosen": [{"role": "user", "content": null}], "rejected": []}', None),
        (b'{"chosen": "a", "rejected": "b", "prompt": 7}', None),
        (b'{"chosen": "\\ud800", "rejected": "b"}', '{"chosen": "\\ud800", "rejected": "b"}'),
        (b'{"chosen": "\xff", "rejected": "b"}', '{"chosen": "\\xff", "rejected": "b"}'),
        (b'{"chosen": "\xed\xa0\x80", "rejected": "b"}', None),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, None),
    ],
)
def test_an_unreadable_line_is_excluded_with_its_text_and_the_rest_goes_on(
    tmp_path: Path, line: bytes, original: str | None
) -> None:
    put(tmp_path / "x.jsonl", GOOD + line + b"\n" + GOOD)
    first, bad, last = source(tmp_path).items()
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert isinstance(bad, Excluded)
    assert (bad.line, bad.position, bad.reason) == (2, 1, "unreadable")
    assert bad.original == (original if original is not None else line.decode("utf-8", "backslashreplace"))
    bad.original.encode()  # it can be written to a file
    assert last.line == 3
    assert [row for row, _ in source(tmp_path).ids()] == [first.id, bad.id, last.id]


def test_unreadable_entries_of_an_array_are_excluded_too(tmp_path: Path) -> None:
    row = GOOD.strip()
    put(tmp_path / "x.json", b"[" + b", ".join([row, b"3", b'{"chosen": "\xff"}', b"{}", row]) + b"]")
    items = list(source(tmp_path, path="x.json").items())
    assert [getattr(item, "reason", None) for item in items] == [
        None,
        "unreadable",
        "unreadable",
        "unreadable",
        None,
    ]
    assert [item.original for item in items if isinstance(item, Excluded)] == [
        "3",
        '{"chosen": "\\xff"}',
        "{}",
    ]


def test_nan_which_json_lacks_is_kept_as_text(tmp_path: Path) -> None:
    put(tmp_path / "x.jsonl", GOOD + GOOD.replace(b"}", b', "score": NaN, "low": -Infinity}'))
    _, row = source(tmp_path).items()
    assert isinstance(row, Row)
    assert row.fields == {"score": "NaN", "low": "-Infinity"}


def test_the_same_bad_line_twice_has_two_ids(tmp_path: Path) -> None:
    put(tmp_path / "x.jsonl", GOOD + b"bad\nbad\n")
    assert len({row for row, _ in source(tmp_path).ids()}) == 3


# A wrong file


@pytest.mark.parametrize(
    ("name", "data", "problem", "remedy"),
    [
        ("x.jsonl", b"not json\n", r"x\.jsonl, line 1 is not a JSON object", "one object a line"),
        ("x.jsonl", b"\n\n{\n", r"line 3 is not a JSON object", "one object a line"),
        ("x.jsonl", b"\x00\x01\x02", r"line 1 is not a JSON object", "one object a line"),
        (
            "x.jsonl",
            b'{"question": "a", "answer": "b"}\n',
            r"line 1 has the columns question, answer; a row needs the columns chosen and rejected",
            "Rename the columns",
        ),
        ("x.jsonl", b"{}\n", r"line 1 has no columns; a row needs the columns chosen", "Rename"),
        ("x.jsonl", b"", r"x\.jsonl holds no rows", "right file"),
        ("x.jsonl", b"\n \n", r"holds no rows", "right file"),
        ("x.json", b"[]", r"holds no rows", "right file"),
        ("x.json", b"[1, 2]", r"line 1 is not a JSON object", "one object a line"),
        ("x.json", b"[{,}]", r"not a JSON array: entry 1", "Mend"),
        ("x.jsonl.gz", GOOD, r"is not gzip, though its name ends in \.gz", "Download it again"),
        ("x.jsonl.gz", b"", r"is not gzip", "Download it again"),
        ("x.jsonl.gz", gzip.compress(b"", mtime=0), r"holds no rows", "right file"),
        (
            "x.jsonl.gz",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            r"is a Git LFS pointer",
            "git lfs pull",
        ),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong_and_what_to_do(
    tmp_path: Path, name: str, data: bytes, problem: str, remedy: str
) -> None:
    put(tmp_path / name, data)
    for read in (Source.items, Source.ids):
        with pytest.raises(SourceError, match=problem) as caught:
            list(read(source(tmp_path, path=name)))
        assert remedy in caught.value.remedy
        assert "\n" not in str(caught.value)


def test_a_red_team_source_says_which_column_it_needs(tmp_path: Path) -> None:
    put(tmp_path / "x.jsonl")
    with pytest.raises(
        SourceError, match=r"has the columns chosen, rejected; a row needs the column transcript"
    ):
        list(source(tmp_path, "red-team").items())


@pytest.mark.parametrize(
    ("data", "given", "problem"),
    [
        (b"[" + GOOD, 1, r"damaged after entry 1: the array ends early"),
        (b"[" + GOOD + b"," + GOOD[:30], 1, r"entry 2: it is not JSON, or the file ends inside it"),
        (b"[" + GOOD + GOOD, 1, r"entry 1: ',' should stand where '\{' does"),
        (b"[" + GOOD + b",]", 1, r"entry 2: it is not JSON"),
        (b"[" + GOOD + b"] x", 1, r"text goes on after the array's end"),
        (b"[" + GOOD + b"," + b"[" * 200_000, 1, r"entry 2: it is nested too deeply|entry 2: it is not JSON"),
    ],
)
def test_a_broken_array_gives_what_comes_before_the_break(
    tmp_path: Path, data: bytes, given: int, problem: str
) -> None:
    put(tmp_path / "x.json", data)
    assert_given_then_error(source(tmp_path, path="x.json"), given, problem)


def read_until_error(opened: Source) -> tuple[list[SourceItem], str]:
    """What reading gives before it fails, and the error's text."""
    found: list[SourceItem] = []
    try:
        found.extend(opened.items())
    except SourceError as error:
        return found, str(error)
    pytest.fail("no SourceError")


def assert_given_then_error(opened: Source, given: int, problem: str) -> None:
    """Reading gives `given` rows and then a SourceError."""
    found, message = read_until_error(opened)
    assert [item.line for item in found] == list(range(1, given + 1))
    assert re.search(problem, message)


def test_truncated_gzip_gives_its_whole_lines_and_then_names_the_last(tmp_path: Path) -> None:
    lines = [
        orjson.dumps({**orjson.loads(GOOD), "noise": os.urandom(300).hex()}) + b"\n" for _ in range(3000)
    ]
    packed = gzip.compress(b"".join(lines))
    put(tmp_path / "x.jsonl.gz", packed[: len(packed) // 2])
    found, message = read_until_error(source(tmp_path, path="x.jsonl.gz"))
    assert all(isinstance(item, Row) for item in found)
    assert 1000 < len(found) < 2000
    assert f"is damaged after line {len(found)}: its gzip data end early. Download or copy" in message


def test_broken_gzip_is_an_error_and_never_fewer_rows_in_silence(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(GOOD * 10))
    packed[-6] ^= 0xFF  # in the checksum
    put(tmp_path / "x.jsonl.gz", bytes(packed))
    with pytest.raises(SourceError, match="its gzip data are broken"):
        list(source(tmp_path, path="x.jsonl.gz").items())
    put(tmp_path / "x.jsonl.gz", gzip.compress(GOOD) + b"more")
    assert_given_then_error(source(tmp_path, path="x.jsonl.gz"), 1, "its gzip data are broken")
    put(tmp_path / "x.jsonl.gz", gzip.compress(GOOD)[:-8])
    assert_given_then_error(source(tmp_path, path="x.jsonl.gz"), 1, "its gzip data end early")


@pytest.mark.parametrize("start", [b'{"chosen": "', b'[{"chosen": "'])
def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_lines, "MAX_LINE_BYTES", 3 << 20)
    put(tmp_path / "x.jsonl.gz", gzip.compress(start + b"a" * (200 << 20), compresslevel=1))
    tracemalloc.start()
    with pytest.raises(SourceError, match=r"(line|entry) 1.* is longer than 3 MiB"):
        list(source(tmp_path, path="x.jsonl.gz").items())
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 40 << 20


# A wrong place


def test_a_missing_file_is_said_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"There is no y\.jsonl; looked at .*y\.jsonl") as caught:
        source(tmp_path, path="y.jsonl")
    assert "recipe's folder" in caught.value.remedy


def test_a_file_that_goes_away_is_said_when_it_is_read(tmp_path: Path) -> None:
    path = put(tmp_path / "x.jsonl")
    opened = source(tmp_path)
    path.unlink()
    with pytest.raises(SourceError, match=r"There is no file .*x\.jsonl"):
        list(opened.items())
    with pytest.raises(SourceError, match=r"x\.jsonl cannot be read"):
        opened.fingerprint()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"subsets": ["harmless-bas"]}, r"has no subset 'harmless-bas', did you mean 'harmless-base'\?"),
        ({"subsets": ["zzz"]}, r"has no subset 'zzz'; there: harmless-base, helpful-base\."),
        (
            {"subsets": ["red-team-attempts"]},
            r"red-team-attempts holds no pairs\. Read it with `kind: red-team`",
        ),
        (
            {"splits": ["tset"]},
            r"\(harmless-base\) has no split 'tset', did you mean 'test'\?; there: train, test",
        ),
        ({"splits": ["train"]}, r"\(helpful-base\) has no split 'train'; there: test\."),
    ],
)
def test_an_unknown_subset_or_split_is_named_with_those_that_are_there(
    tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    for name in ("harmless-base/train", "harmless-base/test", "helpful-base/test"):
        put(tmp_path / f"{name}.jsonl")
    with pytest.raises(SourceError, match=message):
        source(tmp_path, "hh-rlhf", ".", **more)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("hh-rlhf", r"holds no subset of hh-rlhf \(such as harmless-base/train\.jsonl\.gz\)"),
        ("jsonl", r"holds no file that ends in \.jsonl\.gz, \.jsonl"),
        ("red-team", r"holds no file that ends in \.jsonl\.gz, \.jsonl"),
    ],
)
def test_a_folder_without_rows_says_what_was_looked_for(tmp_path: Path, kind: str, message: str) -> None:
    (tmp_path / "empty" / "inside").mkdir(parents=True)
    with pytest.raises(SourceError, match=message):
        source(tmp_path, kind, "empty")


def test_the_same_rows_packed_and_unpacked_side_by_side_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "harmless-base" / "train.jsonl")
    put(tmp_path / "harmless-base" / "train.jsonl.gz", gzip.compress(GOOD))
    for kind, path in (("hh-rlhf", "."), ("jsonl", "harmless-base")):
        with pytest.raises(SourceError, match=r"holds both train\.jsonl and train\.jsonl\.gz"):
            source(tmp_path, kind, path)
    assert len(list(source(tmp_path, "jsonl", "harmless-base/train.jsonl").items())) == 1


# A dataset that cannot be loaded


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"splits": ["tset"]}, r"made \(made\) has no split 'tset', did you mean 'test'\?"),
        ({"config": "other"}, r"The dataset .*made \(other\) cannot be loaded: .*other"),
        ({}, r"made \(made, test\), line 1 has the columns question; a row needs the columns chosen and"),
    ],
)
def test_a_dataset_that_does_not_fit_is_said_in_one_sentence(
    tmp_path: Path, more: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    put(tmp_path / "made" / "test.jsonl", b'{"question": "a"}\n')
    opened = source(tmp_path, "hub", None, repo="made", **more)
    with pytest.raises(SourceError, match=message) as caught:
        list(opened.items())
    assert "\n" not in str(caught.value)


def test_a_dataset_that_is_not_there_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    opened = open_sources([SourceSection(kind="hh-rlhf", subsets=["harmless-base"])], tmp_path)
    with pytest.raises(
        SourceError, match=r"The dataset Anthropic/hh-rlhf \(harmless-base\) cannot be loaded"
    ) as caught:
        list(opened.items())
    assert "`path`" in caught.value.remedy


def test_a_hub_that_hangs_up_is_said_in_one_sentence(tmp_path: Path) -> None:
    code = """if True:
        import os, socket, threading
        door = socket.create_server(("127.0.0.1", 0))
        def hang_up():
            while True:
                caller, _ = door.accept()
                caller.recv(100)
                caller.close()
        threading.Thread(target=hang_up, daemon=True).start()
        os.environ["HF_ENDPOINT"] = "http://127.0.0.1:%d" % door.getsockname()[1]
        from cai.errors import SourceError
        from cai.recipe import SourceSection
        from cai.source import open_sources
        try:
            list(open_sources([SourceSection(kind="hub", repo="someone/something")], None).items())
        except SourceError as error:
            print(error)
    """
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=100,
    )
    assert done.stdout.startswith("The dataset someone/something cannot be loaded: "), done.stderr
    assert done.stdout.count("\n") == 1


def test_the_hubs_hh_rlhf_refuses_an_unknown_subset_before_it_asks_the_hub(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"Anthropic/hh-rlhf has no subset 'harmles-base', did you mean 'harmless-base'"
    ):
        open_sources([SourceSection(kind="hh-rlhf", subsets=["harmles-base"])], tmp_path)

"""Sources: each kind gives its rows, in order, with stable ids, in constant memory."""

from __future__ import annotations

import gzip
import os
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.conversation import Turn
from cai.digest import canonical, digest
from cai.recipe import SourceSection
from cai.source import Excluded, Row, Source, blocks, open_sources
from cai.source.identity import Occurrences, RowHash, row_id, seen_key

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "hh-rlhf"
H, A = "\n\nHuman:", "\n\nAssistant:"


def pair(question: str = "a", chosen: str = "b", rejected: str = "c", **more: Any) -> dict[str, Any]:
    """A preference row in hh-rlhf's format."""
    return {"chosen": f"{H} {question}{A} {chosen}", "rejected": f"{H} {question}{A} {rejected}", **more}


def write(path: Path, rows: Iterable[Any]) -> Path:
    """Write rows as JSON lines, packed where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def source(beside: Path, kind: str = "hh-rlhf", path: str = ".", **more: Any) -> Source:
    """A source of one section."""
    return open_sources([SourceSection.model_validate({"kind": kind, "path": path, **more})], beside)


def rows(opened: Source) -> list[Row]:
    """All items, which must all be rows."""
    found = list(opened.items())
    assert [item for item in found if isinstance(item, Excluded)] == []
    return [item for item in found if isinstance(item, Row)]


@pytest.fixture
def hh(tmp_path: Path) -> Path:
    for subset in ("helpful-base", "helpful-online", "helpful-rejection-sampled", "harmless-base"):
        for split, suffix in (("train", "jsonl.gz"), ("test", "jsonl")):
            write(tmp_path / subset / f"{split}.{suffix}", [pair(f"{subset} {split} {i}") for i in range(3)])
    write(tmp_path / "red-team-attempts" / "red_team_attempts.jsonl.gz", [{"transcript": f"{H} x"}])
    return tmp_path


# hh-rlhf


def test_hh_rlhf_gives_all_its_parts_packed_or_not_in_a_fixed_order(hh: Path) -> None:
    found = rows(source(hh))
    assert list(dict.fromkeys((row.subset, row.split) for row in found)) == [
        (subset, split)
        for subset in ("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled")
        for split in ("train", "test")
    ]
    assert [row.position for row in found] == list(range(24))
    assert [row.line for row in found] == [1, 2, 3] * 8
    first = found[0]
    assert first.source == "harmless-base/train.jsonl.gz"
    assert first.prompt == (Turn("user", " harmless-base train 0"),)
    assert first.responses == {"chosen": Turn("assistant", " b"), "rejected": Turn("assistant", " c")}
    assert (first.flags, first.fields) == ((), {})


@pytest.mark.parametrize(
    ("path", "more", "parts"),
    [
        (
            ".",
            {"subsets": ["helpful-base", "harmless-base"]},
            "helpful-base/train helpful-base/test harmless-base/train harmless-base/test",
        ),
        (".", {"subsets": ["helpful-online"], "splits": ["test"]}, "helpful-online/test"),
        (
            ".",
            {"subsets": ["helpful-online"], "splits": ["test", "train"]},
            "helpful-online/test helpful-online/train",
        ),
        ("harmless-base", {}, "harmless-base/train harmless-base/test"),
        ("harmless-base/test.jsonl", {}, "harmless-base/test"),
    ],
)
def test_hh_rlhf_gives_the_parts_that_are_asked_for(
    hh: Path, path: str, more: dict[str, Any], parts: str
) -> None:
    found = rows(source(hh, path=path, **more))
    assert list(dict.fromkeys(f"{row.subset}/{row.split}" for row in found)) == parts.split()


def test_the_way_to_a_file_does_not_change_its_rows_ids(hh: Path) -> None:
    whole = [row.id for row in rows(source(hh, subsets=["harmless-base"], splits=["test"]))]
    assert whole == [row.id for row in rows(source(hh, path="harmless-base/test.jsonl"))]


def test_a_limit_takes_the_first_rows_of_its_section(hh: Path) -> None:
    sections = [
        SourceSection(kind="hh-rlhf", path=".", subsets=["helpful-base"], limit=4),
        SourceSection(kind="hh-rlhf", path=".", subsets=["harmless-base"], limit=1),
    ]
    found = rows(open_sources(sections, hh))
    assert [(row.subset, row.split, row.line) for row in found] == [
        ("helpful-base", "train", 1),
        ("helpful-base", "train", 2),
        ("helpful-base", "train", 3),
        ("helpful-base", "test", 1),
        ("harmless-base", "train", 1),
    ]
    assert len(list(open_sources(sections, hh).ids())) == 5


# JSON lines


@pytest.mark.parametrize(
    "row",
    [
        pair("q", "yes", "no"),
        {"prompt": "q", "chosen": "yes", "rejected": "no"},
        {"prompt": f"{H} q{A}", "chosen": " yes", "rejected": " no"},
        {"prompt": f"{H} q", "chosen": "yes", "rejected": "no"},
        {"prompt": f"{H} q", "chosen": f"{A} yes", "rejected": f"{A} no"},
        {"prompt": "q", **pair("q", "yes", "no")},
        {"prompt": None, **pair("q", "yes", "no")},
        {"prompt": [{"role": "user", "content": "q"}], "chosen": "yes", "rejected": "no"},
        {
            "prompt": [{"role": "user", "content": "q"}],
            "chosen": [{"role": "assistant", "content": "yes"}],
            "rejected": [{"role": "assistant", "content": "no"}],
        },
        {
            "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "yes"}],
            "rejected": [{"role": "human", "content": "q"}, {"role": "assistant", "content": "no"}],
        },
        {
            "prompt": "q ",
            "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "yes"}],
            "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "no"}],
        },
    ],
)
def test_each_way_of_writing_a_preference_row_gives_the_same_row(tmp_path: Path, row: dict[str, Any]) -> None:
    write(tmp_path / "mine.jsonl", [{**row, "score": 0.5, "tags": ["x", None]}])
    (found,) = rows(source(tmp_path, "jsonl", "mine.jsonl"))
    assert [(turn.role, turn.text) for turn in found.prompt] == [("user", "q")]
    assert {side: turn.text for side, turn in found.responses.items()} == {"chosen": "yes", "rejected": "no"}
    assert found.fields == {"score": 0.5, "tags": ["x", None]}
    assert found.flags == ()


def test_a_system_turn_and_several_turns_are_kept(tmp_path: Path) -> None:
    before = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": " a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    row = {side: [*before, {"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    write(tmp_path / "mine.jsonl", [row])
    (found,) = rows(source(tmp_path, "jsonl", "mine.jsonl"))
    assert [(turn.role, turn.text) for turn in found.prompt] == [
        ("system", "Be kind."),
        ("user", " a"),
        ("assistant", "b"),
        ("user", "c"),
    ]


def test_plain_text_with_a_marker_inside_stays_one_response(tmp_path: Path) -> None:
    write(tmp_path / "mine.jsonl", [{"prompt": "q", "chosen": f"yes{H} and?{A} so", "rejected": "no"}])
    (found,) = rows(source(tmp_path, "jsonl", "mine.jsonl"))
    assert found.responses["chosen"].text == f"yes{H} and?{A} so"
    assert found.flags == ("role_marker_inside",)


def test_a_prompt_that_is_no_part_of_the_conversation_excludes_the_row(tmp_path: Path) -> None:
    write(tmp_path / "mine.jsonl", [pair(), {"prompt": "other", **pair()}])
    assert [getattr(item, "reason", None) for item in source(tmp_path, "jsonl", "mine.jsonl").items()] == [
        None,
        "contexts_differ",
    ]


def test_subsets_and_splits_of_a_folder_come_from_its_files_names(tmp_path: Path) -> None:
    for name in ("first.jsonl", "second.json", "third.jsonl.gz", "set/train.jsonl", "set/test.json.gz"):
        write(tmp_path / name, [pair(name)])
    (tmp_path / "notes.txt").write_text("no rows")
    found = [(row.subset, row.split, row.source) for row in rows(source(tmp_path, "jsonl"))]
    assert found == [
        ("first", "train", "first.jsonl"),
        ("second", "train", "second.json"),
        ("third", "train", "third.jsonl.gz"),
    ]
    found = [(row.subset, row.split, row.source) for row in rows(source(tmp_path, "jsonl", "set"))]
    assert found == [("set", "train", "set/train.jsonl"), ("set", "test", "set/test.json.gz")]
    named = rows(source(tmp_path, "jsonl", "set", config="mine", splits=["test"]))
    assert [(row.subset, row.split) for row in named] == [("mine", "test")]


def test_blank_lines_windows_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    lines = [orjson.dumps(pair(str(i))) for i in range(3)]
    (tmp_path / "odd.jsonl").write_bytes(
        b"\xef\xbb\xbf" + lines[0] + b"\r\n\n  \n" + lines[1] + b"\r\n" + lines[2]
    )
    write(tmp_path / "odd2.jsonl", [pair(str(i)) for i in range(3)])
    odd = rows(source(tmp_path, "jsonl", "odd.jsonl", config="x"))
    assert [row.line for row in odd] == [1, 4, 5]
    assert [row.id for row in odd] == [
        row.id for row in rows(source(tmp_path, "jsonl", "odd2.jsonl", config="x"))
    ]


def test_lines_and_arrays_of_the_same_rows_give_the_same_ids(tmp_path: Path) -> None:
    values = [pair(f'{i} ’ [,] \\" {{}}', number=i, list=[[], {}]) for i in range(2000)]
    write(tmp_path / "lines.jsonl", values)
    (tmp_path / "array.json").write_bytes(b" \n" + orjson.dumps(values, option=orjson.OPT_INDENT_2))
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(orjson.dumps(values)))
    wanted = list(source(tmp_path, "jsonl", "lines.jsonl", config="x").ids())
    assert len(set(wanted)) == 2000
    for name in ("array.json", "packed.json.gz"):
        assert list(source(tmp_path, "jsonl", name, config="x").ids()) == wanted
        assert [row.line for row in rows(source(tmp_path, "jsonl", name))] == list(range(1, 2001))


def test_several_gzip_members_and_padding_are_one_file(tmp_path: Path) -> None:
    parts = [gzip.compress(orjson.dumps(pair(str(i))) + b"\n") for i in range(3)]
    (tmp_path / "mine.jsonl.gz").write_bytes(parts[0] + b"\0" * 200_000 + parts[1] + parts[2] + b"\0" * 512)
    assert len(rows(source(tmp_path, "jsonl", "mine.jsonl.gz"))) == 3


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize("form", ["lines", "array"])
def test_where_a_block_ends_makes_no_difference(
    tmp_path: Path, form: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [orjson.dumps(item) for item in (pair("’ one"), 1234567, pair("two"), None, pair("x" * 500))]
    data = b"[" + b", ".join(parts) + b"]" if form == "array" else b"\n".join(parts)
    half = len(data) // 2
    for name, content in (
        ("plain.jsonl", data),
        ("packed.jsonl.gz", gzip.compress(data[:half]) + gzip.compress(data[half:])),
    ):
        (tmp_path / name).write_bytes(content)
        wanted = list(source(tmp_path, "jsonl", name, config="x").items())
        assert [getattr(item, "original", None) for item in wanted] == [None, "1234567", None, "null", None]
        monkeypatch.setattr(blocks, "PACKED_BYTES", max(size, 2))  # two bytes tell gzip
        monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
        assert list(source(tmp_path, "jsonl", name, config="x").items()) == wanted
        monkeypatch.undo()


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_gzip_gives_every_byte_wherever_it_is_cut(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "PACKED_BYTES", size)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
    path = tmp_path / "x.gz"
    for length in range(size, 2 * size + 1):  # so that a member ends where a block does, too
        members = [gzip.compress(os.urandom(length)) for _ in range(3)]
        path.write_bytes(b"".join(members))
        assert b"".join(blocks.read_blocks(path)) == b"".join(map(gzip.decompress, members))
    packed = gzip.compress(b"a" * 5000)
    for end in range(size, len(packed)):
        path.write_bytes(packed[:end])
        given: list[bytes] = []
        with pytest.raises(blocks.DamagedError, match="end early"):
            given.extend(blocks.read_blocks(path))
        assert b"".join(given) == zlib.decompressobj(wbits=31).decompress(packed[:end])


# Red-team attempts

ATTEMPT = {
    "transcript": f"{H} one{A} two{H} three{A}{H} four",
    "min_harmlessness_score_transcript": -1.5,
    "rating": 4.0,
    "tags": None,
    "is_upworker": False,
}
SHORT = {"transcript": f"{H} one{A} two", "rating": 0.0}


@pytest.mark.parametrize("form", ["lines", "array", "packed array"])
def test_each_human_turn_of_an_attempt_becomes_a_prompt_and_all_fields_are_kept(
    tmp_path: Path, form: str
) -> None:
    path = tmp_path / "red_team_attempts.jsonl.gz"
    data = (
        orjson.dumps([ATTEMPT, SHORT])
        if "array" in form
        else orjson.dumps(ATTEMPT) + b"\n" + orjson.dumps(SHORT)
    )
    if "packed" not in form:
        path = path.with_suffix("")
    path.write_bytes(gzip.compress(data) if "packed" in form else data)
    found = rows(source(tmp_path, "red-team", path.name))
    assert [
        ([turn.text for turn in row.prompt], {k: t.text for k, t in row.responses.items()}) for row in found
    ] == [
        (["one"], {"response": "two"}),
        (["one", "two", "three"], {"response": ""}),
        (["one", "two", "three", "", "four"], {}),
        (["one"], {"response": "two"}),
    ]
    assert [row.flags for row in found] == [(), ("empty_response",), ("empty_turn",), ()]
    assert all(row.fields == {k: v for k, v in ATTEMPT.items() if k != "transcript"} for row in found[:3])
    assert [(row.line, row.position) for row in found] == [(1, 0), (1, 1), (1, 2), (2, 3)]
    assert {(row.subset, row.split) for row in found} == {("red-team-attempts", "train")}
    assert len({row.id for row in found}) == 4
    assert [row for row, _ in source(tmp_path, "red-team", path.name).ids()] == [row.id for row in found]


def test_one_turn_of_an_attempt_can_be_chosen_and_keeps_its_id(tmp_path: Path) -> None:
    write(tmp_path / "red-team-attempts" / "red_team_attempts.jsonl.gz", [ATTEMPT, SHORT])
    every = rows(source(tmp_path, "red-team"))
    assert [row.id for row in rows(source(tmp_path, "red-team", prompts="first"))] == [
        every[0].id,
        every[3].id,
    ]
    assert [row.id for row in rows(source(tmp_path, "red-team", prompts="last"))] == [
        every[2].id,
        every[3].id,
    ]
    assert [row.id for row in rows(source(tmp_path, "red-team", limit=2))] == [every[0].id, every[1].id]


def test_an_attempt_without_a_human_turn_is_excluded_once(tmp_path: Path) -> None:
    write(tmp_path / "mine.jsonl", [SHORT, {"transcript": "nothing"}, {"transcript": 3}])
    found = list(source(tmp_path, "red-team", "mine.jsonl").items())
    assert [getattr(item, "reason", None) for item in found] == [None, "no_prompt", "unreadable"]


# Ids


def test_an_id_is_the_digest_of_subset_split_value_and_occurrence(tmp_path: Path) -> None:
    write(tmp_path / "x.jsonl", [pair("’", n=1.5, m=None), pair("’", n=1.5, m=None)])
    ids = [row for row, _ in source(tmp_path, "jsonl", "x.jsonl").ids()]
    assert ids == [digest("cai.row.v1", ["x", "train", pair("’", m=None, n=1.5), i]) for i in (0, 1)]
    assert ids[0] == "bb162a9f66425ef63c421dd3b6c5df0a"
    attempt = write(tmp_path / "y.jsonl", [SHORT])
    ((found, _),) = source(tmp_path, "red-team", attempt.name).ids()
    assert found == digest("cai.row.v1", ["red-team-attempts", "train", SHORT, 0, 1])


@given(
    st.text(),
    st.dictionaries(st.text(), st.one_of(st.text(), st.integers(-5, 5), st.none())),
    st.integers(0, 9),
)
def test_an_id_made_in_pieces_is_the_digest_of_the_whole(
    subset: str, value: dict[str, Any], occurrence: int
) -> None:
    state = RowHash(subset, "test").of(canonical(value))
    assert row_id(state, occurrence) == digest("cai.row.v1", [subset, "test", value, occurrence])
    assert row_id(state, occurrence, 7) == digest("cai.row.v1", [subset, "test", value, occurrence, 7])


@given(st.lists(st.lists(st.integers(-2, 2), max_size=9), max_size=9))
def test_occurrences_are_counted_within_batches_and_across_them(batches: list[list[int]]) -> None:
    counted = Occurrences()
    before: Counter[int] = Counter()
    for batch in batches:
        wanted = []
        for key in batch:
            wanted.append(before[key])
            before[key] += 1
        assert list(counted.number(batch)) == wanted
    counted.close()


def test_occurrences_counted_by_hand() -> None:
    counted = Occurrences()
    assert [list(counted.number(keys)) for keys in ([5, 6], [7, 5, 7, 5], [8], [7, 8])] == [
        [0, 0],
        [0, 1, 1, 2],
        [0],
        [2, 1],
    ]
    counted.close()
    assert seen_key(RowHash("a", "b").of(b"1")) != seen_key(RowHash("a", "b").of(b"2"))


def test_an_inserted_line_changes_no_id_but_those_of_rows_equal_to_it(tmp_path: Path) -> None:
    values = [pair(str(i)) for i in range(3000)]
    values[2000] = values[10]
    write(tmp_path / "a" / "x.jsonl", values)
    write(tmp_path / "b" / "x.jsonl", [pair("new"), values[10], *values])
    old = [row for row, _ in source(tmp_path / "a", "jsonl").ids()]
    new = [row for row, _ in source(tmp_path / "b", "jsonl").ids()]
    assert len(set(old)) == 3000
    assert len(set(new)) == 3002
    moved = [index for index, row in enumerate(old) if row != new[index + 2]]
    assert moved == [10, 2000]
    assert new[1] == old[10]
    assert new[12] == old[2000]


def test_equal_rows_of_two_sources_have_different_ids(tmp_path: Path) -> None:
    write(tmp_path / "x.jsonl", [pair()])
    section = SourceSection(kind="jsonl", path="x.jsonl")
    ids = [row for row, _ in open_sources([section, section], tmp_path).ids()]
    assert len(set(ids)) == 2


def test_rows_are_asked_about_before_they_are_parsed(tmp_path: Path) -> None:
    write(tmp_path / "x.jsonl", [pair(str(i)) for i in range(10)])
    opened = source(tmp_path, "jsonl", "x.jsonl")
    ids = [row for row, _ in opened.ids()]
    asked: list[str] = []

    def skip(row: str) -> bool:
        asked.append(row)
        return row != ids[3]

    (left,) = opened.items(skip=skip)
    assert (left.id, left.position, left.line) == (ids[3], 3, 4)
    assert asked == ids
    asked.clear()
    assert [item.id for item in opened.items(skip=skip, only={ids[3], ids[5]}.__contains__)] == [ids[3]]
    assert asked == [ids[3], ids[5]]


def test_the_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [pair()])
    opened = source(tmp_path, "jsonl", "x.jsonl")
    before = opened.fingerprint()
    assert opened.fingerprint() == before == source(tmp_path, "jsonl", "x.jsonl").fingerprint()
    write(path, [pair(), pair()])
    assert opened.fingerprint() != before


# The Hub, by way of a local folder laid out as a dataset


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.usefixtures("no_cache")
def test_hh_rlhf_through_datasets_gives_the_same_rows_as_from_its_files(hh: Path) -> None:
    section = SourceSection.model_validate(
        {
            "kind": "hh-rlhf",
            "repo": str(hh),
            "subsets": ["harmless-base", "helpful-base"],
            "splits": ["train"],
        }
    )
    opened = open_sources([section], None)
    found = rows(opened)
    local = rows(source(hh, subsets=["harmless-base", "helpful-base"], splits=["train"]))
    assert [(row.id, row.prompt, row.responses, row.line) for row in found] == [
        (row.id, row.prompt, row.responses, row.line) for row in local
    ]
    assert {row.source for row in found} == {hh.name}
    before = opened.fingerprint()
    write(hh / "harmless-base" / "train.jsonl.gz", [pair("new")])
    assert opened.fingerprint() != before


@pytest.mark.usefixtures("no_cache")
def test_any_dataset_with_the_columns_can_be_read_values_that_json_lacks_as_text(tmp_path: Path) -> None:
    import datasets

    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "yes"}]
    data = {
        "chosen": [turns] * 300,
        "rejected": [[turns[0], {"role": "assistant", "content": f"no {i}"}] for i in range(300)],
        "score": [float("nan")] * 300,
        "blob": [b"\xff"] * 300,
    }
    folder = tmp_path / "made" / "data"
    folder.mkdir(parents=True)
    datasets.Dataset.from_dict(data).to_parquet(folder / "validation-00000-of-00001.parquet")
    found = rows(
        open_sources([SourceSection(kind="hub", repo="made", splits=["validation"], limit=280)], tmp_path)
    )
    assert len(found) == 280
    assert [turn.text for turn in found[279].responses.values()] == ["yes", "no 279"]
    assert (found[0].source, found[0].subset, found[0].split, found[0].line) == (
        "made",
        "made",
        "validation",
        1,
    )
    assert found[0].fields == {"score": "nan", "blob": "/w=="}


# Size


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    filler = "word " * 300

    def peak(path: Path) -> int:
        tracemalloc.start()
        kind = "jsonl" if "attempt" not in path.name else "red-team"
        count = sum(1 for _ in source(tmp_path, kind, path.name).items())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count in (4000, 16000)
        return found

    for form in ("lines.jsonl.gz", "array.json", "attempts.json"):
        peaks = []
        for count in (4000, 16000):
            values = ({**pair(f"{i} {filler}"), "transcript": f"{H} {i} {filler}"} for i in range(count))
            path = tmp_path / f"{count}-{form}"
            if form == "lines.jsonl.gz":
                write(path, values)
            else:
                path.write_bytes(b"[" + b",\n".join(orjson.dumps(value) for value in values) + b"]")
            peaks.append(peak(path))
        assert peaks[1] < 1.2 * peaks[0] + 1_000_000, form
        assert peaks[1] < 20_000_000, form


# The real rows


@pytest.fixture(scope="module")
def real_lines() -> list[bytes]:
    path = REAL / "harmless-base" / "test.jsonl.gz"
    if not path.exists():
        pytest.skip("the real rows of hh-rlhf are not beside this checkout")
    return gzip.decompress(path.read_bytes()).splitlines()


def test_the_real_file_gives_1599_rows_and_one_excluded_with_its_line(real_lines: list[bytes]) -> None:
    items = list(source(REAL).items())
    assert len(items) == len({item.id for item in items}) == 1600
    (left_out,) = [item for item in items if isinstance(item, Excluded)]
    assert (left_out.line, left_out.reason) == (1255, "contexts_differ")
    assert left_out.original.encode() == real_lines[1254]
    flags = Counter(flag for item in items if isinstance(item, Row) for flag in item.flags)
    assert flags == {"role_marker_inside": 36, "empty_chosen": 4, "repeated_role": 3}
    assert sum(bool(item.flags) for item in items if isinstance(item, Row)) == 42


def test_every_real_row_is_written_back_to_the_same_bytes(real_lines: list[bytes]) -> None:
    from cai.conversation import Transcript, write_transcript

    for item in source(REAL).items():
        if isinstance(item, Row):
            value = {
                side: write_transcript(Transcript("", (*item.prompt, item.responses[side])))
                for side in ("chosen", "rejected")
            }
            assert value == orjson.loads(real_lines[item.line - 1])


@pytest.mark.slow
def test_170000_rows_are_parsed_within_20_seconds(
    real_lines: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "harmless-base" / "train.jsonl.gz"
    path.parent.mkdir()
    with gzip.open(path, "wb", compresslevel=1) as file:
        for number in range(170_000):  # a number makes equal rows different, as real ones are
            line = real_lines[number % len(real_lines)]
            file.write(line[:-1] + b', "number": %d}\n' % number)
    opened = source(tmp_path)
    figures = {}
    for name, reading in (("parsed", opened.items()), ("ids", opened.ids())):
        started_s = time.process_time()
        assert sum(1 for _ in reading) == 170_000
        figures[name] = time.process_time() - started_s
    with capsys.disabled():
        print("\n170,000 rows:", ", ".join(f"{name} in {cpu_s:.1f} s" for name, cpu_s in figures.items()))
    assert figures["parsed"] <= 20
    assert figures["ids"] < figures["parsed"]

"""Promises of the scan: what a model adds of secrets, addresses and numbers is found, counted and masked.

What this module does not know: what follows from a find (test_gate.py).
"""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cai.dataset.schema import CONFIGS, arrow_schema
from cai.publish.scan import WRITTEN, Found, _columns, emails_in, phones_in, scan, secrets_in
from cai.publish.scan import _masked as masked

TOKEN = "hf_" + "aB" * 17
SECRETS = [
    (f"Here: {TOKEN}.", "Hugging Face token"),
    ("AKIA" + "Q2" * 8, "AWS access key"),
    ("(ghp_" + "a1" * 18 + ")", "GitHub token"),
    ("github_pat_" + "a" * 22 + "_" + "b" * 59, "GitHub fine-grained token"),
    ("glpat-" + "x" * 20, "GitLab token"),
    ("sk-ant-api03-" + "y" * 50, "Anthropic key"),
    ("sk-" + "A" * 20 + "T3BlbkFJ" + "B" * 20, "OpenAI key"),
    ("AIza" + "S" * 35, "Google API key"),
    ("xoxb-" + "1" * 24, "Slack token"),
    ("sk_live_" + "4" * 24, "Stripe key"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "JSON web token"),
    ("-----BEGIN RSA PRIVATE KEY-----", "private key"),
    ("postgres://jo:hunter2@db.host.net/x", "password in an address"),
]
NO_SECRETS = [
    "A task-force of hf_ers met; AKIA is a name, sk-ip it.",
    "AKIA" + "IOSFODNN7" + "EXAMPLE",
    "http://host.net:8080/a@b",
    "x" + TOKEN,
    TOKEN + "zz",
    "disk_live_" + "4" * 24,
]


@pytest.mark.parametrize("text,name", SECRETS, ids=[name for _, name in SECRETS])
def test_each_shape_of_a_secret_is_known(text: str, name: str) -> None:
    assert [found for found, _ in secrets_in(text)] == [name]


@pytest.mark.parametrize("text", NO_SECRETS)
def test_what_only_looks_like_a_secret_is_none(text: str) -> None:
    assert list(secrets_in(text)) == []


@pytest.mark.parametrize(
    "text,found",
    [
        ("Write to jo.doe@mail-host.co.uk.", ["jo.doe@mail-host.co.uk"]),
        ("you@example.com, me@sub.example.org, a@b.test, x@host.invalid", []),
        ("@name, a @ b.com, 3@4", []),
        ("<jo@host.net>,al@host.net", ["jo@host.net", "al@host.net"]),
    ],
)
def test_an_address_is_somebodys_unless_its_domain_is_reserved(text: str, found: list[str]) -> None:
    assert list(emails_in(text)) == found


@pytest.mark.parametrize(
    "text,found",
    [
        ("Call 212-456-7890 today", ["212-456-7890"]),
        ("+49 30 901820 in Berlin", ["+49 30 901820"]),
        ("the help line 1-800-273-8255, or 988", []),
        ("as in films: (212) 555-0123", []),
        ("on 2021-05-06 12:30:45, pi is 3.14159265358", []),
        ("1234567 people", []),
    ],
)
def test_a_number_is_somebodys_unless_it_is_toll_free_or_fiction(text: str, found: list[str]) -> None:
    assert list(phones_in(text)) == found


def test_nothing_that_is_found_is_shown_whole() -> None:
    assert masked("secret", TOKEN) == "hf_a… (37 characters)"
    assert masked("e-mail address", "jo.doe@host.net") == "j…@h….net"
    assert masked("phone number", "212-456-7890") == "21… (10 digits)"


# ---------------------------------------------------------------------- a dataset


def a_round(text: str = "", critique: str = "", raw: str = "") -> dict[str, object]:
    return {"number": 1, "critique": critique, "raw": raw, "text": text}


def a_trace(number: int, said: str = "", reasoning: str = "", rounds: tuple[dict[str, object], ...] = (), own: str = "Hi.", sample: str = "", fields: str = "{}") -> dict[str, object]:  # fmt: skip
    return {
        "row_id": f"{number:032x}",
        "prompt": [{"role": "user", "content": own}],
        "responses": [{"name": "chosen", "text": "Hello."}],
        "fields": fields,
        "samples": [{"name": "fresh", "text": sample}],
        "revisions": [{"of": "rejected", "original": "Hello.", "rounds": list(rounds)}] if rounds else [],
        "feedback": [{"kind": "human", "judgements": [{"said": said, "reasoning": reasoning}] * 2}],
        "harm": [{"said": ""}],
    }


def written(folder: Path, traces: list[dict[str, object]], rows_a_group: int = 2) -> Path:
    place = folder / "traces"
    place.mkdir()
    table = pa.Table.from_pylist(traces, schema=arrow_schema(CONFIGS["traces"]))
    pq.write_table(table, place / "train-00000.parquet", row_group_size=rows_a_group)
    return folder


def test_what_a_model_wrote_is_searched_wherever_it_stands_and_counted_by_row(tmp_path: Path) -> None:
    traces = [
        a_trace(0),
        a_trace(1, rounds=(a_round("Ask jo@host.net or al@host.net."), a_round(raw="Ask jo@host.net."))),
        a_trace(2, reasoning="Call 212-456-7890."),
        a_trace(3, said=TOKEN),
        a_trace(4, sample="Ask jo@host.net."),
        a_trace(5, rounds=(a_round(critique=f"It shows {TOKEN}"),)),
    ]
    report = scan(written(tmp_path, traces))
    ids = [str(trace["row_id"]) for trace in traces]
    assert report.rows == 6
    assert report.texts == 2 + 2 + 2 + 1 + 1  # both judgements of a pair say it
    assert report.found == (
        Found("e-mail address", "e-mail address", 3, 2, (ids[1], ids[4]), "j…@h….net"),
        Found("secret", "Hugging Face token", 2, 2, (ids[3], ids[5]), "hf_a… (37 characters)"),
        Found("phone number", "phone number", 1, 1, (ids[2],), "21… (10 digits)"),
    )


def test_what_the_source_row_holds_itself_does_not_count(tmp_path: Path) -> None:
    text = f"Mail JO@host.net, call (212) 456 7890, key {TOKEN}."
    mine = f"jo@host.net 212-456-7890 {TOKEN}"
    traces = [
        a_trace(0, rounds=(a_round(text),), own=mine),
        a_trace(1, rounds=(a_round(text),), fields=mine),
        a_trace(2, rounds=(a_round(text),)),
    ]
    report = scan(written(tmp_path, traces))
    assert [(item.times, item.row_ids) for item in report.found] == [(1, (f"{2:032x}",))] * 3


def test_row_ids_are_named_up_to_ten(tmp_path: Path) -> None:
    report = scan(written(tmp_path, [a_trace(i, said="jo@host.net") for i in range(12)], 5))
    assert report.found[0].rows == 12
    assert report.found[0].row_ids == tuple(f"{i:032x}" for i in range(10))


def test_every_column_that_is_said_to_hold_what_a_model_wrote_is_there(tmp_path: Path) -> None:
    place = written(tmp_path, [a_trace(0)])
    file = pq.ParquetFile(place / "traces" / "train-00000.parquet")
    assert len(_columns(file, WRITTEN)) == len(WRITTEN)


def test_ten_thousand_rows_are_searched_within_seconds(tmp_path: Path) -> None:
    text = "A kinder answer that goes on for a while, with 12 numbers and (some) marks - but no find. " * 8
    traces = [a_trace(i, rounds=(a_round(text, text, text),)) for i in range(10_000)]
    place = written(tmp_path, traces, 1_000)
    begun = time.process_time()
    assert scan(place).texts == 30_000
    assert time.process_time() - begun < 12


def test_a_find_in_every_row_holds_no_list_of_the_rows(tmp_path: Path) -> None:
    peaks = []
    for count in (200, 500, 8000):  # the first for what is loaded once
        traces = [a_trace(number, said="Write to jo@host.net or to al@host.net.") for number in range(count)]
        (tmp_path / str(count)).mkdir()
        folder = written(tmp_path / str(count), traces, rows_a_group=100)
        tracemalloc.start()
        (found,) = scan(folder).found
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (found.times, found.rows, len(found.row_ids)) == (2 * count, count, 10)
    assert peaks[2] - peaks[1] < 60 * 7500

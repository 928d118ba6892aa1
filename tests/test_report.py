"""The report: one file that runs nothing but its own script, bounded, the same bytes every time.

What this module does not know: how the page behaves in a browser (test_report_page.py), whether a
figure is right (test_compare*.py).
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from cai.compare import Comparison, Estimate, Rate
from cai.compare.figures import Constants, ListedRow, PersonFigures, PlantedFigures, RowList
from cai.compare.person_figures import ReviewedCell, Sided
from cai.recipe import Recipe
from cai.report import LARGEST_BYTES, markdown, write_report
from cai.report import numbers as text_of
from cai.report import rows as rows_of_page
from cai.report.charts import strip
from cai.report.markup import Html, tag, visible
from cai.report.page import page, page_data, policy
from cai.report.rows import Names, embedded, records
from cai.report.selection import PLACES, select
from cai.report.tables import below
from cai.report.traces import Places, find_rows, read_rows
from tests.command_line import cai
from tests.report_inputs import HOSTILE, HOSTILE_SUBSET, ROWS, items, made_run
from tests.test_dataset_inputs import (
    a_round,
    build,
    feedback,
    harm,
    outcome,
    recipe,
    revised,
    revision,
)
from tests.toy_source import write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    return made_run(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def written(made: tuple[Path, Comparison]) -> str:
    return write_report(*made).read_text("utf-8")


class _Page(HTMLParser):
    """Elements with their attributes, and what stands in scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.raw.append((tag, ""))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.raw[-1] = (self.raw[-1][0], self.raw[-1][1] + data)
        else:
            self.text += data

    @property
    def data(self) -> dict[str, Any]:
        """The rows."""
        found: dict[str, Any] = json.loads(next(text for kind, text in self.raw if text.startswith("{")))
        return found


# ---------------------------------------------------------------------- nothing else runs


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(written: str) -> None:
    found = _Page(written)
    given = next(
        item["content"]
        for name, item in found.elements
        if name == "meta" and item.get("http-equiv") == "Content-Security-Policy"
    )
    assert given is not None
    rules = dict(rule.split(" ", 1) for rule in given.split("; "))
    style = next(text for kind, text in found.raw if kind == "style")
    script = next(text for kind, text in found.raw if kind == "script" and not text.startswith("{"))
    for kind, text in (("style-src", style), ("script-src", script)):
        assert rules[kind] == f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
    assert rules["default-src"] == "'none'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in given


def test_the_policy_of_a_script_worked_by_hand() -> None:
    # printf 'a' | openssl dgst -sha256 -binary | base64
    assert "script-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='" in policy("a", "b")


def test_nothing_is_loaded_and_nothing_is_written_into_attributes_that_act(written: str) -> None:
    found = _Page(written)
    kinds = {name for name, _ in found.elements}
    assert not kinds & {"link", "img", "iframe", "object", "embed", "base", "b", "i"}
    for _, attributes in found.elements:
        assert not {"src", "style", "srcset", "action", "formaction"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("href", "#").startswith("#")  # type: ignore[union-attr]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", written)


def test_the_script_never_makes_markup_of_text(written: str) -> None:
    script = next(t for kind, t in _Page(written).raw if kind == "script" and not t.startswith("{"))
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        ".style",
    ):
        assert word not in script
    for word in (
        "fetch(",
        "XMLHttpRequest",
        "WebSocket",
        "sendBeacon",
        "localStorage",
        "sessionStorage",
        "cookie",
    ):
        assert word not in script


# ---------------------------------------------------------------------- hostile text


def test_hostile_text_arrives_in_the_data_as_it_was(written: str) -> None:
    rows = _Page(written).data["rows"]
    said = {text for row in rows for _, text in row["prompt"] if isinstance(text, str)}
    assert set(HOSTILE) <= said
    assert HOSTILE_SUBSET in {row["subset"] for row in rows}


def test_hostile_text_stands_nowhere_but_in_the_data(written: str) -> None:
    found = _Page(written)
    for text in HOSTILE:
        assert text not in found.text
    assert "</b>" in found.text, "a subset's name is shown, escaped"
    assert "\u202e" not in found.text


def test_embedded_json_cannot_end_its_element_or_open_a_comment() -> None:
    made = embedded({"text": "</script><!--<script>"}).decode()
    assert "<" not in made
    assert json.loads(made) == {"text": "</script><!--<script>"}


def test_markup_escapes_all_that_is_not_markup_already() -> None:
    assert tag("td", "<b>&\"'", class_='a"b') == '<td class="a&quot;b">&lt;b&gt;&amp;&quot;&#x27;</td>'
    assert tag("p", Html("<br>"), None, ["x", 1]) == "<p><br>x1</p>"


def test_characters_that_cannot_be_seen_are_written_as_numbers() -> None:
    assert visible("a\u202eb\x00\u2028é\n") == "a‹U+202E›b‹U+0000›‹U+2028›é\n"


# ---------------------------------------------------------------------- the same bytes, bounded


def test_equal_datasets_give_equal_bytes_wherever_they_lie(
    made: tuple[Path, Comparison], tmp_path: Path
) -> None:
    run, comparison = made_run(tmp_path)
    assert write_report(run, comparison).read_bytes() == write_report(*made).read_bytes()


def test_a_report_replaces_the_old_one_and_leaves_nothing_beside_it(made: tuple[Path, Comparison]) -> None:
    run, comparison = made
    (run / "report.html").write_text("old")
    path = write_report(run, comparison)
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert not list(run.glob(".report*"))


def _listed(name: str, rows: list[str]) -> RowList:
    return RowList(
        name, "", len(rows), tuple(ListedRow(row, "s", "train", 1, 1.0, {}) for row in rows), None, None
    )


def _everywhere(count: int) -> Places:
    ids = [f"row-{number:06d}" for number in range(count)]
    return Places([], dict.fromkeys(ids, (0, 0, 0)), agreeing=ids[: count // 2])


def test_the_selection_is_bounded_at_170_000_pairs(made: tuple[Path, Comparison]) -> None:
    count = 170_000
    ids = [f"row-{number:06d}" for number in range(count)]
    lists = tuple(
        _listed(name, ids[start : start + 500])
        for start, name in enumerate(("flips", "label issues", "both harmful"))
    )
    comparison = replace(made[1], lists=lists)
    chosen = select(comparison, _everywhere(count))
    assert len(chosen.order) <= sum(PLACES.values()) == 300
    assert chosen.order[:100] == tuple(ids[:100])
    assert len(chosen.order) == len(set(chosen.order)) == len(chosen.urgency)


def test_rows_without_a_human_label_have_places_of_their_own(made: tuple[Path, Comparison]) -> None:
    ids = [f"row-{number:06d}" for number in range(1_000)]
    places = Places([], dict.fromkeys(ids, (0, 0, 0)), unpaired=ids)
    chosen = select(replace(made[1], lists=(), revisions=None), places)
    assert len(chosen.order) == PLACES["unpaired"]
    assert set(chosen.lists.values()) == {("unpaired",)}


def test_agreements_are_drawn_by_the_seed_and_not_by_place(made: tuple[Path, Comparison]) -> None:
    places = _everywhere(10_000)
    first = select(made[1], places).order
    assert select(made[1], replace_order(places)).order == first
    other = replace(made[1], settings={**made[1].settings, "seed": 4})
    assert select(other, places).order != first


def replace_order(places: Places) -> Places:
    """The same rows, met in another order."""
    return Places(places.files, places.at, agreeing=places.agreeing[::-1])


def _long(row: str, letters: int) -> dict[str, Any]:
    return {
        "row_id": row,
        "source": "s",
        "subset": "s",
        "split": "train",
        "line": 1,
        "flags": [],
        "prompt": [{"role": "user", "content": "<" * letters}],
        "responses": [{"name": name, "text": "é" * letters} for name in ("chosen", "rejected")],
        "samples": [],
        "revisions": [],
        "feedback": [],
        "harm": [],
    }


def test_300_rows_of_endless_text_fit_and_the_last_places_are_given_up(made: tuple[Path, Comparison]) -> None:
    rows = {f"r{number}": _long(f"r{number}", 100_000) for number in range(300)}
    order = list(rows)
    kept = records(rows, order, order, dict.fromkeys(rows, ("flips",)), (Names([]), Names([])), 0.0)
    assert sum(len(embedded(row)) + 1 for row in kept) <= rows_of_page.ROWS_BYTES
    assert [row["id"] for row in kept] == order[: len(kept)]
    data = {"command": "cai show", "principles": [], "judges": [], "lists": {}, "texts": [], "rows": kept}
    assert len(page(made[1], data, "runs/first")) <= LARGEST_BYTES


def test_a_long_text_is_cut_and_says_by_how_much() -> None:
    made = records({"r": _long("r", 7_000)}, ["r"], ["r"], {"r": ()}, (Names([]), Names([])), 0.0)
    text = made[0]["responses"][0][1]
    assert isinstance(text, list)
    assert len(text[0]) + text[1] == 7_000


def test_the_figures_do_not_grow_with_the_number_of_groups(made: tuple[Path, Comparison]) -> None:
    comparison = made[1]
    breakdown = next(item for item in comparison.breakdowns if item.by == "subset")
    many = replace(breakdown, groups=tuple(replace(breakdown.groups[0], name=f"s{i}") for i in range(20_000)))
    data = {"command": "", "principles": [], "judges": [], "lists": {}, "texts": [], "rows": []}
    made_page = page(replace(comparison, breakdowns=(many,)), data, "runs/first")
    assert len(made_page) < LARGEST_BYTES - rows_of_page.ROWS_BYTES
    assert "19,940 more lines stand in comparison.json." in made_page.decode()


# ---------------------------------------------------------------------- rows


def test_a_row_says_how_the_judge_stands_to_the_human_label(
    made: tuple[Path, Comparison], written: str
) -> None:
    rows = {row["id"]: row for row in _Page(written).data["rows"]}
    principles = _Page(written).data["principles"]
    flip = rows["row-000003"]  # opinions of test_dataset_inputs: 0.206/0.106, 0.256/0.206, 0.45/0.6
    assert flip["label"] == "differs"
    assert flip["human"] == pytest.approx((0.156 + 0.231 + 0.525) / 3, abs=1e-4)
    assert flip["ai"] == pytest.approx(1 - flip["human"], abs=1e-4)
    assert (flip["for_ai"], flip["of"]) == (2, 3)
    assert [principles[number] for number in flip["against"]] == ["p0", "p1"]
    assert flip["orders"] == pytest.approx(2 / 3, abs=1e-4)
    shown_as_a, shown_as_b = flip["feedback"][0]["judgements"][:2]
    assert shown_as_a[:3] == [0, 0, 0.206]
    assert shown_as_b[:3] == [0, 1, 0.106]
    agreeing = [row for row in rows.values() if "agreements" in row["lists"]]
    assert agreeing
    assert {row["label"] for row in agreeing} == {"agrees"}


def test_every_judgement_of_a_row_is_there_in_both_orders_with_its_abstentions(
    made: tuple[Path, Comparison],
) -> None:
    run, _ = made
    places = find_rows(run / "dataset", "toy")
    names = (Names(["p0"]), Names(["toy", "other"]))
    found = read_rows(places, ["row-000012"])
    row = records(found, ["row-000012"], ["row-000012"], {"row-000012": ()}, names, 0.0)[0]
    first = row["feedback"][0]["judgements"]
    assert [(item[0], item[1]) for item in first] == [(p, order) for p in range(3) for order in (0, 1)]
    assert {(item[2], item[3]) for item in first} == {(None, "format")}
    assert row["label"] == "abstained"
    assert row["feedback"][1]["judge"] == "other"
    assert {tuple(item[5:]) for item in first} == {("I would rather not <b>choose</b>.", "Both are poor.")}
    assert {len(item) for item in row["feedback"][1]["judgements"]} == {5}


def test_judges_are_told_apart_where_no_human_pair_was_judged(tmp_path: Path) -> None:
    made = items(1)[0]
    both = [replace(revised(made, 0.9), judge=name) for name in ("toy", "other")]
    asked = recipe().model_dump() | {"roles": {"judge": ["toy", "other"]}}
    asked["engines"]["other"] = {"kind": "scripted", "model": "other"}
    done = outcome(made, *both, revisions=(revision(made, a_round(1, "better")),))
    build(tmp_path, [made], [done], Recipe.model_validate(asked))
    from cai.compare import compare

    data = page_data(tmp_path / "dataset", compare(tmp_path / "dataset"), "run")
    assert [item["judge"] for item in data["rows"][0]["feedback"]] == ["toy", "other"]
    assert data["judges"] == ["toy", "other"]


def test_long_reasoning_is_cut_and_says_by_how_much(made: tuple[Path, Comparison]) -> None:
    found = read_rows(find_rows(made[0] / "dataset", "toy"), ["row-000012"])
    for item in found["row-000012"]["feedback"][0]["judgements"]:
        item["reasoning"] = "x" * 10_000
    names = (Names(["p0"]), Names(["toy", "other"]))
    row = records(found, ["row-000012"], ["row-000012"], {"row-000012": ()}, names, 0.0)[0]
    shown, left = row["feedback"][0]["judgements"][0][6]
    assert (len(shown) <= rows_of_page.TEXT_CHARACTERS // rows_of_page.REASONINGS, len(shown) + left) == (
        True,
        10_000,
    )


def test_a_revision_is_shown_beside_what_it_revises(made: tuple[Path, Comparison], written: str) -> None:
    row = next(row for row in _Page(written).data["rows"] if row["id"] == "row-000003")
    (revision,) = row["revisions"]
    assert "original" not in revision, "it is the response of that name"
    assert [turn["number"] for turn in revision["rounds"]] == [1, 2]
    assert revision["rounds"][0]["text"].endswith("but kinder and truer than before")
    assert not revision["rounds"][0]["same"]


# ---------------------------------------------------------------------- figures


def test_every_section_stands_on_the_page(written: str) -> None:
    ids = {attributes.get("id") for _, attributes in _Page(written).elements}
    assert {
        "agreement",
        "calibration",
        "principles",
        "judge",
        "harm",
        "revisions",
        "right",
        "rows",
        "made",
    } <= ids


def test_the_page_says_the_figures_of_the_comparison(made: tuple[Path, Comparison], written: str) -> None:
    text, comparison = _Page(written).text, made[1]
    for rate in (comparison.agreement.decided, comparison.agreement.coverage):
        assert text_of.share(rate.value) in text
        assert text_of.rate_interval(rate) in text
    for item in comparison.principles:
        assert item.principle in text
        assert below(text_of.share_text(item.order_consistency)) in written
    assert comparison.verdict[0].replace(" %", "\u00a0%") in text


def test_revisions_and_the_judge_stand_with_their_intervals(
    made: tuple[Path, Comparison], written: str
) -> None:
    found = made[1].revisions
    assert found is not None
    for turn in found.rounds:
        assert below(text_of.share_text(turn.usable)) in written
        assert below(text_of.share_text(turn.kept_share)) in written
        assert below(text_of.estimate_text(turn.length_ratio, 2)) in written
    for change in found.changes:
        for side in (change.before, change.after):
            digits = {"words": 1, "harm": 3}.get(change.measure)
            shown = text_of.estimate_text(side, digits) if digits else text_of.share_text(side)
            assert below(shown) in written
    for kind in made[1].judging.values():
        assert below(text_of.share_text(kind.order_consistency)) in written
        assert below(text_of.share_text(kind.option_mass)) in written


def test_a_share_is_written_with_its_interval() -> None:
    assert text_of.share_text(Rate(0.5, 0.25, 0.75, 2, 4)).replace("\u00a0", " ") == "50.0 % (25.0 to 75.0)"
    assert text_of.share_text(Estimate(0.5, None, None, 4)).replace("\u00a0", " ") == "50.0 %"
    assert text_of.share_text(Estimate(None, None, None, 0)) == text_of.NONE


def test_a_run_with_nothing_in_it_says_so_in_sentences(tmp_path: Path) -> None:
    rows = items(3)
    build(tmp_path, rows, [outcome(row) for row in rows])
    from cai.compare import compare

    comparison = compare(tmp_path / "dataset")
    text = _Page(write_report(tmp_path, comparison).read_text("utf-8")).text
    assert "No human pair was judged" in text
    assert "Nothing was revised in this run." in text
    assert "Responses were not rated for harm" in text
    assert "Calibration of the raw probability" not in text
    assert markdown(comparison).strip()


def test_ratings_without_a_judged_human_pair_are_counted_and_not_called_missing(tmp_path: Path) -> None:
    rows = items(3)
    done = [
        outcome(
            made,
            feedback(made, (0.9, 0.9), kind="sampled", about="0 1", first="sample 0", second="sample 1"),
            harm=(harm("chosen", 0.1), harm("rejected", 0.2)),
        )
        for made in rows
    ]
    build(tmp_path, rows, done)
    from cai.compare import compare

    text = _Page(write_report(tmp_path, compare(tmp_path / "dataset")).read_text("utf-8")).text
    assert "No human pair was judged, so there is none whose ratings of harm could stand here." in text
    assert "Of 6 single ratings 0 abstained." in text
    assert "No pair has both of its responses rated" not in text
    assert "lack a rating" not in text


def test_text_about_figures_worked_by_hand() -> None:
    assert text_of.rate_text(Rate(0.884, 0.8271, 0.9239, 169, 192)) == "88.4 % (82.7 to 92.4, n 192)"
    assert text_of.rate_text(Rate(None, None, None, 0, 0)) == "none"
    assert text_of.difference_text(Estimate(-0.105, -0.14, 0.07, 9)) == "−0.105 (−0.140 to +0.070)"
    assert text_of.points(Estimate(-0.031, -0.052, 0.01, 9)) == "−3.1 points (−5.2 to +1.0)"
    assert text_of.estimate_text(Estimate(0.7593, 0.6517, 0.8368, 9)) == "0.759 (0.652 to 0.837)"
    assert text_of.p_value(0.0004) == "< 0.001"


def test_a_strip_puts_the_value_and_its_interval_where_they_belong() -> None:
    drawn = strip(Rate(0.5, 0.25, 1.0, 1, 2))
    assert '<circle cx="60" ' in drawn  # 4 + 0.5 * 112
    assert '<line x1="32" x2="116" y1="8" y2="8" class="interval"/>' in drawn
    assert strip(Rate(None, None, None, 0, 0)) == ""


def _sided(value: float) -> Sided:
    return Sided(Estimate(value, value - 0.1, value + 0.1, 40), Rate(value, value - 0.1, value + 0.1, 20, 40))


def _person() -> PersonFigures:
    """A review of 100 pairs in which the AI was right more often than the human labels."""
    cell = ReviewedCell(300, 50, 48, 40, 4, 3, 1, _sided(0.625))
    return PersonFigures(
        sheet="s",
        reviewers=(),
        between=(),
        items=100,
        answered=96,
        skipped=3,
        blank=1,
        equal=8,
        both_bad=6,
        split=2,
        differ=cell,
        agree=replace(cell, sided=_sided(0.875)),
        undecided=replace(cell, sided=_sided(0.5)),
        ai=_sided(0.812),
        human=_sided(0.743),
        ahead=Estimate(0.069, 0.012, 0.126, 80),
    )


def test_a_persons_review_and_a_planted_truth_say_who_was_right(made: tuple[Path, Comparison]) -> None:
    run, comparison = made
    text = _Page(write_report(run, comparison).read_text("utf-8")).text
    assert "Not known: these labels alone cannot say who is right" in text
    assert "cai review runs/first" in text
    assert "no person has reviewed a sample" in markdown(comparison)
    right = Rate(0.913, 0.85, 0.96, 58, 64)
    told = replace(
        comparison,
        person=_person(),
        planted=PlantedFigures(64, 9, 10, right, replace(right, value=0.859), right, right, right),
    )
    text = _Page(write_report(run, told).read_text("utf-8")).text
    assert "96 of 100 pairs answered" in text
    for shown in ("81.2 %", "74.3 %", "62.5 %", "+6.9 points (+1.2 to +12.6)", "91.3 %", "85.9 %"):
        assert shown in text
    assert "Not known: these labels" not in text
    assert "Let a person judge" not in text
    assert "| the AI label | 81.2 % (71.2 to 91.2) |" in markdown(told)
    assert "| the AI is right, as planted | 91.3 % (85.0 to 96.0, n 64) |" in markdown(told)
    unanswered = replace(comparison, person=replace(_person(), answered=0))
    assert "no person has reviewed a sample" in markdown(unanswered)


# ---------------------------------------------------------------------- the verb


def test_the_verb_writes_page_markdown_and_figures_and_says_where(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=12)
    assert cai("run", run).returncode == 0
    done = cai("report", run)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert str(run / "report.html") in done.stderr
    page_bytes = (run / "report.html").read_bytes()
    assert b"cai show runs/test --row " in page_bytes
    assert (run / "report.md").read_text("utf-8") == cai("report", run, "--markdown").stdout
    figures = json.loads(cai("report", run, "--json").stdout)
    assert figures == json.loads((run / "comparison.json").read_text("utf-8"))
    TypeAdapter(Comparison).validate_python(figures)
    assert (run / "report.html").read_bytes() == page_bytes


def test_the_verb_says_what_to_do_where_there_is_no_dataset(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=2)
    done = cai("report", run)
    assert done.returncode == 1
    assert "has no dataset yet" in done.stderr
    assert "Type: cai dataset" in done.stderr


# ---------------------------------------------------------------------- Markdown


def test_the_markdown_has_tables_that_hold_together(made: tuple[Path, Comparison]) -> None:
    text = markdown(made[1])
    for block in text.split("\n\n"):
        if block.startswith("|"):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(widths) == 1
    assert text_of.rate_text(made[1].agreement.decided) in text
    assert "| p0 |" in text


def test_principles_of_several_constitutions_are_told_apart_in_markdown(
    made: tuple[Path, Comparison],
) -> None:
    comparison = made[1]
    other = tuple(replace(item, constitution="helpful") for item in comparison.principles)
    text = markdown(replace(comparison, principles=(*comparison.principles, *other)))
    assert "| harmless: p0 |" in text
    assert "| helpful: p0 |" in text


def test_a_name_cannot_leave_its_cell_in_markdown(made: tuple[Path, Comparison]) -> None:
    comparison = made[1]
    (first, *rest) = comparison.principles
    named = replace(comparison, principles=(replace(first, principle="a|b\n# <x> [y](z)"), *rest))
    assert "| a\\|b \\# \\<x\\> \\[y\\](z) |" in markdown(named)
    assert "\n# <x>" not in markdown(named)


def test_the_markdown_is_short_enough_for_a_card(made: tuple[Path, Comparison]) -> None:
    assert len(markdown(made[1])) < 8_000


def test_constants_are_told(made: tuple[Path, Comparison], written: str) -> None:
    constants: Constants = made[1].constants
    assert f"bootstraps draw {constants.resamples:,} times" in _Page(written).text


def test_the_rows_of_the_page_are_the_ones_the_rule_names(written: str) -> None:
    rows = _Page(written).data["rows"]
    assert 40 < len(rows) <= ROWS
    assert all(row["lists"] for row in rows)

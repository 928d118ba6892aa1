"""Promises of the review: blind, drawn by design, read back strictly.

What this module does not know: the page in a browser (test_review_page.py), the figures
(test_review_figures.py).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from cai.cli import _verbs, app
from cai.compare import compare
from cai.compare.person import person_figures
from cai.conversation import Turn
from cai.digest import draw
from cai.errors import ReviewError, RunError
from cai.review import (
    Answers,
    Item,
    Key,
    export_review,
    read_answers,
    read_key,
    read_reviewers,
    write_answers,
)
from cai.review.key import Answer
from cai.review.pairs import Labelled
from cai.review.sample import CELLS, Drawn, allocate, cell_sizes, sample
from cai.review.sheet import Shown, safe_cell, sheet_csv, sheet_html
from tests.test_dataset_inputs import build, feedback, human, outcome, recipe, row

SUBSETS = ("harmless-base", "helpful-base", "helpful-online")


def probability(number: int) -> float | None:
    """P(the human's choice is better): a fifth disagree, one in twenty ties, one in fifty is none."""
    if number % 50 == 7:
        return None
    if number % 20 == 3:
        return 0.5
    away = 0.01 + 0.48 * (draw("away", number) % 1000) / 1000
    return 0.5 - away if draw("side", number) % 5 == 0 else 0.5 + away


def made_run(run: Path, count: int = 400, **settings: Any) -> Path:
    """A run's folder with a dataset of rows whose texts show no label."""
    rows = []
    for number in range(count):
        names = [f"word{draw('a', number) % 997}", f"word{draw('b', number) % 997}x"]
        texts = {"chosen": Turn("assistant", names[0]), "rejected": Turn("assistant", names[1])}
        rows.append(row(number, subset=SUBSETS[number % 3], responses=texts))
    build(
        run,
        rows,
        [outcome(made, human(made, probability(made.position))) for made in rows],
        recipe(**settings),
    )
    (run / "recipe.yaml").write_text("{}\n")
    return run


def exported(run: Path, size: int = 100, seed: int | None = None, name: str = "review") -> tuple[Path, Key]:
    """A sheet's folder and key."""
    key = export_review(run / "dataset", run / name, size, seed, run.name)
    return run / name, key


def cai(*args: object) -> Any:
    """What the command line does."""
    if not app.registered_commands:
        _verbs()
    return CliRunner().invoke(app, ["review", *map(str, args)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a sheet of 100."""
    made = made_run(tmp_path_factory.mktemp("run") / "knit")
    exported(made)
    return made


def filled(folder: Path, answers: dict[str, str], name: str = "mine.csv") -> Path:
    """A file of answers."""
    path = folder / name
    path.write_text("item,answer\n" + "".join(f"{item},{said}\n" for item, said in answers.items()))
    return path


# ---------------------------------------------------------------- drawing


def test_half_of_the_sheet_is_disagreements_and_a_tenth_undecided(run: Path) -> None:
    key = read_key(run / "review")
    assert key is not None
    found: Counter[str] = Counter()
    for stratum in key.strata:
        found[stratum.cell] += stratum.items
    assert found == {"differ": 45, "agree": 45, "undecided": 10}
    assert len({item.item for item in key.items}) == len({item.row_id for item in key.items}) == 100


def test_the_items_stand_for_every_pair_by_their_weights(run: Path) -> None:
    key = read_key(run / "review")
    assert key is not None
    assert sum(stratum.pairs for stratum in key.strata) == 400
    assert sum(item.weight for item in key.items) == pytest.approx(400)
    drawn = Counter(item.stratum for item in key.items)
    assert all(drawn[stratum.name] == stratum.items for stratum in key.strata)
    assert all(stratum.items >= min(2, stratum.pairs) for stratum in key.strata)


@pytest.mark.parametrize(
    ("counts", "size", "expected"),
    [
        ((1000, 1000, 1000), 100, (45, 45, 10)),
        ((1000, 1000, 0), 100, (50, 50, 0)),
        ((20, 1000, 0), 100, (20, 80, 0)),
        ((1000, 20, 4), 100, (76, 20, 4)),
        ((3, 4, 5), 100, (3, 4, 5)),
        ((2, 2, 500), 100, (2, 2, 96)),
        ((1000, 1000, 1000), 11, (5, 5, 1)),
    ],
)
def test_what_one_cell_lacks_goes_to_the_other(
    counts: tuple[int, int, int], size: int, expected: tuple[int, int, int]
) -> None:
    found = cell_sizes(dict(zip(CELLS, counts, strict=True)), size)
    assert tuple(found[name] for name in CELLS) == expected


def test_items_go_to_strata_in_proportion_and_at_least_two_to_each() -> None:
    assert allocate({"a": 500, "b": 300, "c": 200}, 10) == {"a": 5, "b": 3, "c": 2}
    assert allocate({"a": 960, "b": 30, "c": 1}, 10) == {"a": 7, "b": 2, "c": 1}
    assert allocate({"a": 3, "b": 3}, 6) == {"a": 3, "b": 3}


def labelled(number: int, subset: str = "s") -> Labelled:
    """A pair as the dataset gives it."""
    p = probability(number)
    agrees = None if p in (None, 0.5) else bool(p and p > 0.5)
    return Labelled(f"row-{number}", subset, "train", number, p, agrees, Path(), 0)


def test_a_sample_depends_on_seed_and_row_ids_alone() -> None:
    pairs = [labelled(number) for number in range(500)]
    once = sample(pairs, 60, 1)
    assert sample(pairs[::-1], 60, 1) == once
    assert {item.pair.row_id for item in sample(pairs, 60, 2)} != {item.pair.row_id for item in once}
    assert [item.pair.row_id for item in sample(pairs, 60, 1)] == [item.pair.row_id for item in once]


def test_every_pair_of_a_stratum_is_equally_likely_to_be_drawn() -> None:
    pairs = [labelled(number) for number in range(120)]
    inside = Counter(item.pair.row_id for seed in range(400) for item in sample(pairs, 40, seed))
    weights = {
        item.pair.row_id: item.stratum.weight for seed in range(20) for item in sample(pairs, 40, seed)
    }
    for row_id, weight in weights.items():
        expected = 400 / weight
        assert abs(inside[row_id] - expected) < 4.5 * (expected * (1 - 1 / weight) + 1) ** 0.5


# ---------------------------------------------------------------- blindness


def test_the_human_choice_and_the_ai_choice_stand_first_equally_often_in_every_cell(run: Path) -> None:
    key = read_key(run / "review")
    assert key is not None
    cells = {stratum.name: stratum.cell for stratum in key.strata}
    for name in CELLS:
        items = [item for item in key.items if cells[item.stratum] == name]
        assert abs(sum(item.human == 1 for item in items) - len(items) / 2) <= 0.5
        chosen = [item.ai for item in items if item.ai]
        assert abs(chosen.count(1) - len(chosen) / 2) <= 0.5


def test_every_part_of_the_sheet_holds_every_cell_in_its_share(run: Path) -> None:
    key = read_key(run / "review")
    assert key is not None
    cells = {stratum.name: stratum.cell for stratum in key.strata}
    for begin in range(0, 100, 20):
        part = Counter(cells[item.stratum] for item in key.items[begin : begin + 20])
        assert 5 <= part["differ"] <= 13, part
        assert 5 <= part["agree"] <= 13, part
    sequence = [cells[item.stratum] for item in key.items if cells[item.stratum] != "undecided"]
    changes = sum(a != b for a, b in pairwise(sequence))
    assert 30 <= changes <= 65, "neither in blocks nor in turn, which would tell"


def test_the_order_of_the_sheet_is_not_the_order_of_the_rows_or_of_the_ids(run: Path) -> None:
    key = read_key(run / "review")
    assert key is not None
    for names in ([item.row_id for item in key.items], [item.item for item in key.items]):
        rising = sum(a < b for a, b in pairwise(names))
        assert 30 <= rising <= 69, rising


def test_what_writes_the_sheet_is_given_ids_prompts_and_responses_and_nothing_else() -> None:
    shown = Shown("s1-2", (("user", "hi"),), ("a", "b"))
    assert set(vars(shown)) == {"item", "prompt", "responses"}, "all that a sheet is given"


def test_nothing_in_the_sheet_reveals_a_label_a_row_or_a_stratum(run: Path) -> None:
    folder = run / "review"
    key = read_key(folder)
    assert key is not None
    page = (folder / "sheet.html").read_text("utf-8")
    table = (folder / "sheet.csv").read_text("utf-8-sig")
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)[0])
    assert set(data) == {"sheet", "items"}
    assert all(set(item) == {"item", "prompt", "responses"} for item in data["items"])
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert list(rows[0]) == ["item", "prompt", "response_1", "response_2", "answer"]
    assert not any(item["answer"] for item in rows)
    words = ["chosen", "rejected", "differ", "agree", "undecided", "stratum", "weight", "probability"]
    for text in (page, table):
        assert not [word for word in words if re.search(rf"(?<!font-)\b{word}\b", text)]
        assert not [item for item in key.items if item.row_id in text]
        assert key.generation not in text
    for item, line, told in zip(key.items, rows, data["items"], strict=True):
        assert item.item == line["item"] == told["item"]
        assert [line["response_1"], line["response_2"]] == told["responses"]


def test_an_item_id_says_nothing_about_its_pair(run: Path) -> None:
    key = read_key(run / "review")
    assert key is not None
    assert all(re.fullmatch(rf"s{key.sheet[:8]}-[0-9a-f]{{8}}", item.item) for item in key.items)
    by_id = sorted(key.items, key=lambda item: item.item)
    lower = sum(item.ai != item.human for item in by_id[:50])
    assert 15 <= lower <= 40, "ids do not sort by cell"


def test_the_response_shown_first_is_the_one_that_the_key_names(run: Path) -> None:
    """Hand-worked: the texts of row N are word(a, N) for the human's choice, word(b, N)x for the other."""
    key = read_key(run / "review")
    assert key is not None
    rows = list(csv.DictReader(io.StringIO((run / "review/sheet.csv").read_text("utf-8-sig"), newline="")))
    for item, line in zip(key.items, rows, strict=True):
        number = int(item.row_id.removeprefix("row-"))
        human_text = f"word{draw('a', number) % 997}"
        assert line[f"response_{item.human}"] == human_text
        assert item.first == ("chosen" if item.human == 1 else "rejected")
        p = probability(number)
        expected = None if p is None or p == 0.5 else item.human if p > 0.5 else 3 - item.human
        assert item.ai == expected


def test_the_same_sheet_is_written_byte_for_byte_again(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in (run / "review").iterdir()}
    exported(run)
    assert before == {name: (run / "review" / name).read_bytes() for name in before}


# ---------------------------------------------------------------- hostile text

HOSTILE = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    " =1",
    '"=1',
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "{{data}}",
    "\u202egnp.exe",
    "\x00null",
    "\u2028line",
    'a,b\n"c";d',
    "＝1+1",
]


def test_no_cell_of_the_sheet_is_a_formula_and_every_record_is_one_record() -> None:
    items = [Shown(f"s-{i}", (("user", text),), (text, "x" + text)) for i, text in enumerate(HOSTILE)]
    rows = list(csv.reader(io.StringIO(sheet_csv(items).decode("utf-8-sig"), newline="")))
    assert [len(cells) for cells in rows] == [5] * (len(HOSTILE) + 1)
    assert not [
        cell for cells in rows for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@", "＝"))
    ]
    assert safe_cell("=1") == "'=1"
    assert safe_cell("a=1") == "a=1"


def test_hostile_text_stays_inside_the_data_of_the_page() -> None:
    items = [Shown(f"s-{i}", (("user", text),), (text, text)) for i, text in enumerate(HOSTILE)]
    page = sheet_html("0" * 32, items).decode()
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])
    assert data["items"][8]["responses"][0] == HOSTILE[8]
    assert data["items"][10]["responses"][0] == "{{data}}"
    assert "\u202e" not in page
    assert "default-src 'none'" in page


# ---------------------------------------------------------------- reading back


def test_answers_are_read_by_item_whatever_the_order_and_the_case(run: Path, tmp_path: Path) -> None:
    _, key = exported(run)
    ids = [item.item for item in key.items]
    path = filled(
        tmp_path,
        {ids[3]: " Both-Bad ", ids[0]: "1", ids[1]: "2", ids[2]: "EQUAL", ids[4]: "", ids[5]: "skip"},
    )
    found = read_answers(path, key, "ann")
    assert found.answers == {ids[0]: "1", ids[1]: "2", ids[2]: "equal", ids[3]: "both-bad", ids[5]: "skip"}
    assert found.blank == 95


def test_a_filled_in_spreadsheet_is_read_with_semicolons_and_line_breaks_in_texts(
    run: Path, tmp_path: Path
) -> None:
    folder, key = exported(run)
    rows = list(csv.DictReader(io.StringIO((folder / "sheet.csv").read_text("utf-8-sig"), newline="")))
    path = tmp_path / "saved.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        for number, item in enumerate(rows):
            writer.writerow({**item, "prompt": "a\nb", "answer": "12"[number % 2]})
    assert Counter(read_answers(path, key, "ann").answers.values()) == {"1": 50, "2": 50}


def test_every_mistake_is_named_with_file_and_line_and_nothing_is_read(run: Path, tmp_path: Path) -> None:
    _, key = exported(run)
    a, b = key.items[0].item, key.items[1].item
    prefix = a.partition("-")[0]
    path = tmp_path / "bad.csv"
    path.write_text(f"item,answer\n{a},1\n\n{a},2\n{b},first\n{prefix}-zzzz,1\nsdeadbeef-00000000,1\n,2\n")
    with pytest.raises(ReviewError) as caught:
        read_answers(path, key, "ann")
    lines = caught.value.problem.split("\n")
    assert lines[0] == f"{path}:4: the item {a} stands in line 2 already."
    assert lines[1] == f"{path}:5: the answer 'first' to {b} is none of 1, 2, equal, both-bad, skip."
    assert lines[2] == f"{path}:6: the item '{prefix}-zzzz' is not on the sheet."
    assert lines[3].startswith(
        f"{path}:7: the item sdeadbeef-00000000 is of another sheet than {prefix}, which was"
    )
    assert lines[4] == f"{path}:8: there is no item."
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", ":1: the first line must name"),
        (b"item;answers\n", ":1: the first line must name"),
        (b"item,answer,item\n", ":1: the first line must name"),
        (b"item,answer\n\xff,1\n", "is not UTF-8"),
        (b'item,answer\n"a"b,1\n', ":2: this is no CSV"),
    ],
)
def test_a_file_that_is_no_answers_is_refused_by_name(
    run: Path, tmp_path: Path, body: bytes, said: str
) -> None:
    _, key = exported(run)
    path = tmp_path / "file.csv"
    path.write_bytes(body)
    with pytest.raises(ReviewError, match=re.escape(str(path)) + ".*" + said):
        read_answers(path, key, "ann")


@pytest.mark.parametrize("name", ["", "../ann", "a b", "-x", "a" * 41, "a\n"])
def test_a_reviewers_name_is_a_part_of_a_file_name(run: Path, tmp_path: Path, name: str) -> None:
    _, key = exported(run)
    with pytest.raises(ReviewError, match="cannot be named"):
        read_answers(filled(tmp_path, {}), key, name)


def test_answers_are_kept_whole_by_reviewer_and_read_again(run: Path, tmp_path: Path) -> None:
    _, key = exported(run)
    for name, said in (("bob", "2"), ("ann", "1")):
        path = filled(tmp_path, {key.items[0].item: said})
        write_answers(tmp_path, read_answers(path, key, name))
    assert [found.reviewer for found in read_reviewers(tmp_path, key)] == ["ann", "bob"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_answers_to_another_sheet_are_refused(run: Path, tmp_path: Path) -> None:
    _, key = exported(run)
    write_answers(tmp_path, read_answers(filled(tmp_path, {key.items[0].item: "1"}), key, "ann"))
    _, other = exported(run, seed=9, name="other")
    with pytest.raises(ReviewError, match="answers another sheet"):
        read_reviewers(tmp_path, other)


# ---------------------------------------------------------------- the verb


def test_another_sheet_is_not_written_over_one_that_somebody_may_be_answering(run: Path) -> None:
    before = (run / "review/key.json").read_bytes()
    with pytest.raises(ReviewError, match="holds another sheet"):
        exported(run, seed=5)
    assert (run / "review/key.json").read_bytes() == before


def test_a_run_without_a_dataset_or_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no dataset"):
        exported(tmp_path)
    one = row(0)
    build(tmp_path, [one], [outcome(one, feedback(one, (0.9, 0.9), kind="sampled"))], recipe())
    with pytest.raises(ReviewError, match="holds no human pair"):
        exported(tmp_path)


def test_the_verb_exports_reads_back_and_says_who_was_right(tmp_path: Path) -> None:
    run = made_run(tmp_path / "knit")
    done = cai(run, "--sample", 60)
    assert done.exit_code == 0, done.output
    assert "27 of the" in done.output
    assert "leave key.json closed" in done.output
    key = read_key(run / "review")
    assert key is not None
    path = filled(tmp_path, {item.item: str(item.human) for item in key.items})
    done = cai(run, "--answers", path, "--reviewer", "ann")
    assert done.exit_code == 0, done.output
    assert "the person sides with the AI in 0% (" in done.output
    assert "Where they agree, the person agrees with both in 100% (" in done.output
    assert "The human labels are the better ones" in done.output
    found = json.loads(cai(run, "--answers", path, "--reviewer", "ann", "--json").output)
    assert (found["human"]["weighted"]["value"], found["reviewers"][0]["name"]) == (1.0, "ann")
    again = json.loads(cai(run, "--sample", 60, "--json").output)
    assert (again["sheet"], again["items"]) == (key.sheet, 60)


def test_answers_to_labels_that_have_changed_are_refused(tmp_path: Path) -> None:
    run = made_run(tmp_path / "knit", 60)
    _, key = exported(run, 20)
    build(run, [], [], recipe(tie_threshold=0.2))
    path = filled(tmp_path, {key.items[0].item: "1"})
    done = cai(run, "--answers", path)
    assert isinstance(done.exception, ReviewError)
    assert "its labels are others" in done.exception.problem


def test_answers_are_read_back_though_the_judge_has_another_name_since(tmp_path: Path) -> None:
    run = made_run(tmp_path / "knit", 60)
    _, key = exported(run, 20)
    asked = recipe()
    build(run, [], [], asked.model_copy(update={"engines": {"renamed": asked.engines["toy"]}}))
    done = cai(run, "--answers", filled(tmp_path, {key.items[0].item: "1"}))
    assert done.exit_code == 0, done.exception


def test_a_sheet_may_lie_elsewhere_and_its_answers_with_it(tmp_path: Path) -> None:
    run = made_run(tmp_path / "knit", 60)
    assert cai(run, "--sample", 20, "--out", tmp_path / "second", "--seed", 4).exit_code == 0
    key = read_key(tmp_path / "second")
    assert key is not None
    assert key.seed == 4
    path = filled(tmp_path, {key.items[0].item: "1"})
    assert isinstance(cai(run, "--answers", path).exception, ReviewError)
    assert cai(run, "--answers", path, "--out", tmp_path / "second").exit_code == 0
    assert (tmp_path / "second/answers-reviewer.json").is_file()


def test_the_comparison_has_what_the_person_found_and_its_verdict_says_it(tmp_path: Path) -> None:
    run = made_run(tmp_path / "knit", 300)
    assert compare(run / "dataset").person is None
    folder, key = exported(run, 60)
    path = filled(tmp_path, {item.item: str(item.ai or 1) for item in key.items})
    write_answers(folder, read_answers(path, key, "ann"))
    found = compare(run / "dataset")
    assert found.person is not None
    assert found.person.ai.weighted.value == 1
    assert any("the person sides with the AI in 100.0 %" in sentence for sentence in found.verdict)
    assert found.person.differ.pairs + found.person.agree.pairs == found.agreement.labelled


def test_only_the_first_judge_makes_the_labels(tmp_path: Path) -> None:
    """The first judge agrees with every human label, the second with none."""
    rows = [row(number) for number in range(40)]
    found = [outcome(made, human(made, 0.1, judge="other"), human(made, 0.9)) for made in rows]
    build(tmp_path, rows, found, recipe())
    _, key = exported(tmp_path, 20)
    assert {stratum.cell for stratum in key.strata} == {"agree"}
    assert (len(key.items), key.judge) == (20, "toy")


def test_over_many_seeds_the_estimates_are_right_on_average() -> None:
    """From drawing to figures: 600 pairs, each with a drawn truth; 400 samples of 60."""
    pairs = [labelled(number, SUBSETS[number % 3]) for number in range(600)]
    right = {pair.row_id: draw("truth", pair.row_id) % 10 for pair in pairs}
    human_right = {row_id: number < (7 if int(row_id[4:]) % 3 else 4) for row_id, number in right.items()}
    labels = [pair for pair in pairs if pair.agrees is not None]
    ai_true = sum(human_right[p.row_id] == p.agrees for p in labels) / len(labels)
    differ = [p for p in labels if not p.agrees]
    side_true = sum(not human_right[p.row_id] for p in differ) / len(differ)
    ai, side, inside = [], [], []
    for seed in range(400):
        drawn = sample(pairs, 60, seed)
        key = key_of(drawn)
        answers = {
            item.item: cast(Answer, str(item.human if human_right[item.row_id] else 3 - item.human))
            for item in key.items
        }
        found = person_figures(key, [Answers(key.sheet, "ann", answers, 0)])
        assert found.ai.weighted.value is not None
        assert found.differ.sided.weighted.value is not None
        ai.append(found.ai.weighted.value)
        side.append(found.differ.sided.weighted.value)
        inside.append((found.ai.weighted.low or 0) <= ai_true <= (found.ai.weighted.high or 0))
    assert abs(mean(ai) - ai_true) < 4 * stdev(ai) / 20
    assert abs(mean(side) - side_true) < 4 * stdev(side) / 20
    assert 0.92 <= mean(inside) <= 0.98, "two and a half standard errors of 400"


def key_of(drawn: list[Drawn]) -> Key:
    """The key of a sample without texts."""
    items = tuple(
        Item(
            item=item.pair.row_id,
            row_id=item.pair.row_id,
            subset=item.pair.subset,
            split="train",
            line=1,
            first="chosen",
            human=1 if item.human_first else 2,
            ai=None if item.pair.agrees is None else 1 if item.human_first == item.pair.agrees else 2,
            ai_probability=item.pair.probability,
            stratum=item.stratum.name,
            weight=item.stratum.weight,
        )
        for item in drawn
    )
    strata = {item.stratum.name: item.stratum for item in drawn}
    return Key("5" * 32, "knit", "0" * 32, 0.0, "toy", 0, tuple(strata.values()), items)

"""Promises of the comparison: signs, counts, null instead of NaN, figures traced to rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter
from rich.console import Console
from sklearn.metrics import brier_score_loss, cohen_kappa_score

from cai.compare import Comparison, Planted, compare, print_comparison, write_comparison
from cai.compare.figures import json_schema
from cai.compare.screen import figure
from cai.conversation import Turn
from cai.dataset.formats import export
from cai.digest import draw
from cai.errors import RunError
from cai.outcome import Outcome
from cai.recipe import SourceSection
from cai.review import export_review
from cai.source import Row, open_sources
from tests.test_dataset_inputs import (
    a_round,
    build,
    excluded,
    feedback,
    human,
    outcome,
    recipe,
    revised,
    revision,
    row,
)

REAL = Path(__file__).resolve().parents[2] / "shared/data/hh-rlhf/harmless-base/test.jsonl.gz"


def compared(
    run: Path,
    rows: Iterable[Row],
    judged: Callable[[Row], Outcome],
    planted: dict[str, Planted] | None = None,
    **settings: Any,
) -> Comparison:
    """The comparison of a dataset in which each row has the outcome that `judged` gives."""
    found = list(rows)
    build(run, found, [judged(made) for made in found], recipe(**settings))
    return compare(run / "dataset", planted)


def soft(number: int) -> float:
    """A probability between 0 and 1 for each number, none of them one half."""
    return (draw("soft", number) % 1000 + 0.5) / 1000


def swap(made: Row) -> Row:
    """The same row with the human label turned."""
    responses = {"chosen": made.responses["rejected"], "rejected": made.responses["chosen"]}
    return row(made.position, responses=responses)


# ---------------------------------------------------------------- agreement


def test_agreement_counts_labelled_pairs_with_ties_as_half_and_coverage_beside_it(tmp_path: Path) -> None:
    probabilities = [0.9, 0.8, 0.7, 0.2, 0.5, 0.5, None, 0.6, 0.6, 0.6]
    found = compared(
        tmp_path, map(row, range(10)), lambda made: outcome(made, human(made, probabilities[made.position]))
    )
    agreement = found.agreement
    assert (agreement.judged, agreement.labelled, agreement.tied, agreement.abstained) == (10, 7, 2, 1)
    assert (agreement.decided.count, agreement.decided.n) == (6, 7)
    assert agreement.ties_half.value == pytest.approx(7 / 9)
    assert agreement.coverage.value == pytest.approx(0.7)


def test_turning_the_human_labels_turns_agreement_and_kappa(tmp_path: Path) -> None:
    rows = [row(number) for number in range(200)]
    p = {made.id: soft(made.position) for made in rows}
    straight = compared(tmp_path / "a", rows, lambda made: outcome(made, human(made, p[made.id])))
    turned = compared(
        tmp_path / "b", map(swap, rows), lambda made: outcome(made, human(made, 1 - p[made.id]))
    )
    assert straight.agreement.decided.value is not None
    assert turned.agreement.decided.value == pytest.approx(1 - straight.agreement.decided.value)
    assert straight.agreement.decided.value == pytest.approx(sum(value > 0.5 for value in p.values()) / 200)
    assert straight.kappa.value is not None
    assert straight.kappa.value == pytest.approx(2 * straight.agreement.decided.value - 1, abs=0.02)


def test_a_judge_that_prefers_what_stands_first_agrees_with_nobody_and_is_seen(tmp_path: Path) -> None:
    found = compared(
        tmp_path, map(row, range(50)), lambda made: outcome(made, feedback(made, (0.9, 0.1), (0.8, 0.2)))
    )
    assert (found.agreement.tied, found.agreement.decided.value) == (50, None)
    assert found.agreement.ties_half.value == 0.5
    assert found.judging["human"].first_position.value == 1.0
    assert found.judging["human"].order_consistency.value == 0.0
    assert found.kappa.value is None


def test_a_judge_that_always_agrees_has_kappa_one_because_sides_are_drawn(tmp_path: Path) -> None:
    found = compared(tmp_path, map(row, range(60)), lambda made: outcome(made, human(made, 0.9)))
    assert found.kappa.value == pytest.approx(1.0)
    assert found.kappa.low is not None
    assert found.kappa.low < 1


def test_kappa_and_calibration_are_scikit_learns_on_sides_drawn_from_the_seed(tmp_path: Path) -> None:
    rows = [row(number) for number in range(300)]
    found = compared(tmp_path, rows, lambda made: outcome(made, human(made, soft(made.position))), seed=5)
    human_first = [not draw(5, "comparison", made.id) & 1 for made in rows]
    p_first = [
        soft(made.position) if first else 1 - soft(made.position)
        for made, first in zip(rows, human_first, strict=True)
    ]
    assert 100 < sum(human_first) < 200
    assert found.kappa.value == pytest.approx(cohen_kappa_score([p > 0.5 for p in p_first], human_first))
    assert found.calibration.brier.value == pytest.approx(brier_score_loss(human_first, p_first))
    assert sum(item.human.n for item in found.calibration.bins) == found.calibration.n == 300
    assert sum(item.human.count for item in found.calibration.bins) == sum(human_first)


def test_ties_that_rounding_carried_beside_one_half_have_no_calibration_error(tmp_path: Path) -> None:
    tie = 0.49999999999999994  # the mean over both orders of a judge that always answers A
    found = compared(tmp_path, map(row, range(300)), lambda made: outcome(made, human(made, tie)))
    assert found.agreement.tied == 300
    assert found.calibration.auroc.value == 0.5
    assert found.calibration.ece == pytest.approx(0.5 - min(share(found), 1 - share(found)))
    assert (found.calibration.ece or 0.0) < 0.1
    assert len(found.breakdown("confidence")) == 1


def share(found: Comparison) -> float:
    """How often the human preferred the response that stands first, where all pairs are one bin."""
    [bin] = found.calibration.bins
    assert bin.human.value is not None
    return bin.human.value


def test_groups_are_told_apart_by_subset_and_split(tmp_path: Path) -> None:
    rows = [row(n, split="test" if n < 4 else "train", subset="b" if n % 2 else "a") for n in range(12)]
    found = compared(
        tmp_path, rows, lambda made: outcome(made, human(made, 0.9 if made.subset == "a" else 0.1))
    )
    groups = found.breakdown("subset and split")
    assert [(g.name, g.agreement.judged, g.agreement.decided.value) for g in groups] == [
        ("a test", 2, 1.0),
        ("a train", 4, 1.0),
        ("b test", 2, 0.0),
        ("b train", 4, 0.0),
    ]
    assert [(g.name, g.agreement.judged) for g in found.breakdown("split")] == [("test", 4), ("train", 8)]
    assert all(g.scan.small and g.scan.p is None and g.scan.rank is None for g in groups)


def test_length_says_how_often_each_labeller_takes_the_longer_response(tmp_path: Path) -> None:
    def made(number: int) -> Row:
        texts = (
            (" long answer", " short")
            if number < 6
            else (" short", " long answer")
            if number < 9
            else (" one", " two")
        )
        return row(
            number,
            responses=dict(zip(("chosen", "rejected"), (Turn("assistant", t) for t in texts), strict=True)),
        )

    found = compared(
        tmp_path,
        map(made, range(10)),
        lambda one: outcome(one, human(one, 0.9 if one.position != 0 else 0.1)),
    )
    ai, people = found.bias("ai"), found.bias("human")
    assert ai is not None
    assert people is not None
    # row 9's responses are equally long; in row 0 the AI takes the shorter
    assert (people.longer.count, people.longer.n) == (6, 9)
    assert (ai.longer.count, ai.longer.n) == (5, 9)


# ---------------------------------------------------------------- the judge and its principles


def test_each_principle_has_its_own_label_from_both_of_its_orders(tmp_path: Path) -> None:
    def judged(made: Row) -> Outcome:
        second = (0.4, 0.1) if made.position < 3 else (None, 0.9)
        return outcome(made, feedback(made, (0.9, 0.7), second, (0.7, 0.3)))

    found = compared(tmp_path, map(row, range(10)), judged)
    one, two, three = found.principles
    assert [item.principle for item in found.principles] == ["p0", "p1", "p2"]
    assert (one.n, one.agreement.value, one.order_consistency.value) == (10, 1.0, 1.0)
    assert one.distance.value == pytest.approx(0.3)
    assert (two.n, two.abstained, two.agreement.value) == (3, 7, 0.0)
    assert two.distance.value == pytest.approx(0.25)
    assert (three.n, three.decided.value, three.agreement.n, three.order_consistency.value) == (
        10,
        0.0,
        0,
        0.0,
    )
    assert (one.first_position.count, one.first_position.n) == (10, 20)
    assert (three.first_position.count, three.first_position.n) == (20, 20)


def test_a_principle_that_two_constitutions_share_has_a_line_in_each(tmp_path: Path) -> None:
    def judged(made: Row) -> Outcome:
        harmless = made.position < 4
        return outcome(
            made, human(made, 0.9 if harmless else 0.1, constitution="harmless" if harmless else "helpful")
        )

    found = compared(tmp_path, map(row, range(10)), judged)
    figures = [(item.constitution, item.principle, item.n, item.agreement.value) for item in found.principles]
    assert figures == [("harmless", "p0", 4, 1.0), ("helpful", "p0", 6, 0.0)]


def test_first_position_counts_answers_of_a_whatever_is_shown_there(tmp_path: Path) -> None:
    # both orders prefer the first response: it is A in one and B in the other
    found = compared(tmp_path, map(row, range(8)), lambda made: outcome(made, human(made, 0.8)))
    figures = found.judging["human"]
    assert (figures.first_position.count, figures.first_position.n) == (8, 16)
    assert figures.order_consistency.value == 1.0
    assert figures.option_mass.value == pytest.approx(0.98)
    assert (figures.judgements, figures.abstained_judgements) == (16, 0)


# ---------------------------------------------------------------- revisions


def test_revisions_are_counted_by_use_round_and_preference(tmp_path: Path) -> None:
    def judged(made: Row) -> Outcome:
        if made.position == 0:
            chain = revision(
                made, a_round(1, "", ("empty",), usable=False), a_round(2, "", ("empty",), usable=False)
            )
            return outcome(made, human(made, 0.9), revisions=(chain,))
        if made.position == 1:
            chain = revision(made, a_round(1, "bad 1", ("unchanged",)), a_round(2, "bad 1", ("unchanged",)))
            return outcome(made, human(made, 0.9), revisions=(chain,))
        p = {2: 0.2, 3: 0.5}.get(made.position, 0.9)
        chain = revision(made, a_round(1, "better", ("preamble",)), a_round(2, "cu", ("cut",), usable=False))
        return outcome(made, human(made, 0.9), revised(made, p), revisions=(chain,))

    found = compared(tmp_path, map(row, range(10)), judged).revisions
    assert found is not None
    assert (found.revised, found.usable.count, found.unchanged.count, found.unchanged.n) == (10, 9, 1, 9)
    assert (found.preferred.count, found.preferred.n) == (6, 7)
    assert (found.preferred_ties_half.count, found.preferred_ties_half.n) == (6.5, 8)
    assert [(item.number, item.n, item.usable.count, item.unchanged.count) for item in found.rounds] == [
        (1, 10, 9, 1),
        (2, 10, 1, 1),
    ]
    assert {flag.flag: (flag.rounds.count, flag.rounds.n) for flag in found.flags} == {
        "cut": (8, 20),
        "empty": (2, 20),
        "preamble": (8, 20),
        "unchanged": (2, 20),
    }
    assert found.flags[1].rows == ("row-000000",)


def test_revised_pairs_do_not_count_as_human_ones(tmp_path: Path) -> None:
    found = compared(
        tmp_path, map(row, range(5)), lambda made: outcome(made, human(made, 0.1), revised(made, 0.9))
    )
    assert (found.agreement.judged, found.agreement.decided.value) == (5, 0.0)
    assert (found.judging["revised"].judged, found.principles[0].n) == (5, 5)


# ---------------------------------------------------------------- disagreements, planted truth


def test_the_most_confident_disagreements_come_first_with_their_texts(tmp_path: Path) -> None:
    def judged(made: Row) -> Outcome:
        p = made.position / 40
        return outcome(
            made, revised(made, 0.9), feedback(made, (p, p), (0.9, 0.9), (p / 2, p / 2), (0.4, 0.6))
        )

    found = compared(tmp_path, map(row, range(40)), judged).disagreements
    assert [item.row_id for item in found] == [f"row-{number:06d}" for number in range(10)]
    first = found[0]
    assert first.ai_probability == pytest.approx(1 - (0 + 0.9 + 0 + 0.5) / 4)
    assert (first.human_choice, first.ai_choice, first.line) == ("good 0 yes", "bad 0", 1)
    assert first.prompt == ({"role": "user", "content": "How do I knit?"},)
    assert (first.for_ai, first.for_human) == (("p0", "p2"), ("p1",))


def test_planted_truth_tells_who_is_right_and_which_flips_are_found(tmp_path: Path) -> None:
    # rows 0 to 9: sound, the AI agrees in eight; 10 to 14: flipped, the AI finds three, ties one, misses one
    probabilities = [0.9] * 8 + [0.2] * 2 + [0.1, 0.1, 0.1, 0.5, 0.8] + [0.3]
    planted = {
        f"row-{n:06d}": Planted("chosen" if n < 10 else "rejected", n >= 10, n == 0) for n in range(15)
    }
    planted["row-000015"] = Planted(None, False, True)
    rows = [row(number) for number in range(20)]
    found = compared(
        tmp_path,
        rows,
        lambda made: outcome(made, human(made, [*probabilities, 0.9, 0.9, 0.9, 0.9][made.position])),
        planted,
    ).planted
    assert found is not None
    assert (found.n, found.flipped, found.both_bad) == (16, 5, 2)
    assert (found.human.count, found.human.n) == (10, 15)
    assert (found.ai.count, found.ai.n) == (11, 14)
    assert (found.ai_both_bad.count, found.ai_both_bad.n) == (1, 1)
    assert (found.precision.count, found.precision.n) == (3, 6)
    assert (found.recall.count, found.recall.n) == (3, 5)


# ---------------------------------------------------------------- the whole


def _finite(value: Any) -> None:
    if isinstance(value, dict):
        for item in value.values():
            _finite(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _finite(item)
    elif isinstance(value, float):
        assert math.isfinite(value)


def everything(made: Row) -> Outcome:
    """An outcome that has something for every figure."""
    chain = revision(made, a_round(1, "better"), a_round(2, "worse", ("cut",), usable=False))
    p = None if made.position % 7 == 6 else soft(made.position)
    return outcome(made, feedback(made, (p, p), (0.4, 0.7)), revised(made, 0.7), revisions=(chain,))


@pytest.mark.parametrize("count", [0, 1, 2, 25])
def test_no_figure_is_ever_nan_and_the_json_holds_them_all(tmp_path: Path, count: int) -> None:
    found = compared(tmp_path, map(row, range(count)), everything, planted={})
    _finite(asdict(found))
    path = write_comparison(tmp_path, found)
    assert path == tmp_path / "comparison.json"
    written = orjson.loads(path.read_bytes())
    assert written == orjson.loads(orjson.dumps(asdict(found)))
    assert written["form"] == "cai.comparison.v2"
    assert written["agreement"]["decided"].keys() == {"value", "low", "high", "count", "n"}


def test_the_same_dataset_gives_the_same_comparison(tmp_path: Path) -> None:
    found = compared(tmp_path, map(row, range(40)), everything)
    assert compare(tmp_path / "dataset") == found


def test_a_dataset_without_human_pairs_still_has_a_comparison(tmp_path: Path) -> None:
    rows = [row(number, responses={"response": Turn("assistant", " alone")}) for number in range(3)]

    def judged(made: Row) -> Outcome:
        chain = revision(made, a_round(1, "better"), of="response")
        return outcome(made, revised(made, 0.8, of="response"), revisions=(chain,))

    found = compared(tmp_path, rows, judged)
    assert (found.agreement.judged, found.principles, found.breakdown("subset")) == (0, (), ())
    assert found.revisions is not None
    assert found.revisions.preferred.value == 1.0


def test_excluded_and_unfinished_rows_are_in_the_accounts(tmp_path: Path) -> None:
    rows = [row(0), row(1), row(2)]
    outcomes = [outcome(rows[0], human(rows[0], 0.9)), outcome(rows[1], excluded_as="prompt_too_long")]
    build(tmp_path, [*rows, excluded(3)], outcomes)
    found = compare(tmp_path / "dataset")
    assert (found.rows, found.finished, found.not_finished) == (4, 1, 1)
    assert found.excluded == {"contexts_differ": 1, "prompt_too_long": 1}


def test_no_dataset_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cai dataset"):
        compare(tmp_path / "dataset")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("count", [0, 1, 30])
def test_the_screen_form_fits_its_width_and_says_what_figures_mean(
    tmp_path: Path, width: int, count: int
) -> None:
    planted = {f"row-{n:06d}": Planted("chosen", False, False) for n in range(count)}
    found = compared(tmp_path, map(row, range(count)), everything, planted=planted)
    text = StringIO()
    print_comparison(Console(file=text, width=width, no_color=True), found)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "nan" not in text.getvalue().lower().split()
    if count == 30:
        assert "The AI agrees with the human label on" in text.getvalue()
        assert "shorter wins" in text.getvalue()
        for estimate in (found.kappa, found.calibration.log_loss, found.calibration.auroc):
            assert figure(estimate) in " ".join(text.getvalue().split())
        assert "p0" in text.getvalue()


def test_text_from_a_dataset_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    nasty = row(0, subset="\x1b[2J[bold red]x\x07")
    found = compared(tmp_path, [nasty], lambda made: outcome(made, human(made, 0.1)))
    text = StringIO()
    print_comparison(Console(file=text, width=80, no_color=True), found)
    assert "\x1b" not in text.getvalue()
    assert "\x07" not in text.getvalue()
    assert "[bold red]x" in text.getvalue()


def test_the_written_file_is_what_the_schema_says(tmp_path: Path) -> None:
    found = compared(tmp_path, map(row, range(40)), everything)
    text = write_comparison(tmp_path, found).read_bytes()
    assert TypeAdapter(Comparison).validate_json(text) == found
    schema = json_schema()
    assert set(schema["properties"]) == set(orjson.loads(text))
    assert schema["$defs"]["Rate"]["required"] == ["value", "low", "high", "count", "n"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"settings": {}}', '{"settings": 3, "rows": 1}'])
def test_a_damaged_summary_is_named_with_what_to_type(tmp_path: Path, text: str) -> None:
    build(tmp_path, [row(0)], [outcome(row(0), human(row(0), 0.9))])
    folder = tmp_path / "dataset"
    (folder / "summary.json").write_text(text)
    for use in (
        lambda: compare(folder),
        lambda: export_review(folder, tmp_path / "review", 10, None, "knit"),
        lambda: export(folder, "jsonl", tmp_path / "out"),
    ):
        with pytest.raises(RunError, match=r"summary\.json is damaged.*") as raised:
            use()
        assert "cai dataset" in raised.value.remedy


@pytest.mark.parametrize("damage", ["gone", "cut", "another's"])
def test_a_dataset_with_a_missing_or_damaged_file_gives_no_figures_of_the_rest(
    tmp_path: Path, damage: str
) -> None:
    rows = [row(0), row(1), row(2, "test")]
    build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows])
    folder = tmp_path / "dataset"
    path = folder / "traces/test-00000.parquet"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            path.read_bytes()[:-9]
            if damage == "cut"
            else folder.joinpath("traces/train-00000.parquet").read_bytes()
        )
    said = "cannot be read" if damage == "cut" else "rows of test, and its summary says 1"
    for use in (
        lambda: compare(folder),
        lambda: export_review(folder, tmp_path / "review", 10, None, "knit"),
        lambda: export(folder, "jsonl", tmp_path / "out", "traces"),
    ):
        with pytest.raises(RunError, match=said) as raised:
            use()
        assert "cai dataset" in raised.value.remedy


def test_a_dataset_of_an_earlier_form_is_to_be_built_again(tmp_path: Path) -> None:
    compared(tmp_path, [row(0)], everything)
    path = tmp_path / "dataset/summary.json"
    summary = orjson.loads(path.read_bytes())
    del summary["settings"]["noise_floor"]
    path.write_bytes(orjson.dumps(summary))
    with pytest.raises(RunError, match="cai dataset"):
        compare(tmp_path / "dataset")


@pytest.mark.skipif(not REAL.exists(), reason="the real data are not here")
def test_on_the_real_pairs_the_shorter_response_wins_in_55_of_100(tmp_path: Path) -> None:
    asked = recipe(pairs=["human"])
    source = [SourceSection(kind="hh-rlhf", path=str(REAL.parent.parent), subsets=["harmless-base"])]
    rows = [item for item in open_sources(source, tmp_path).items() if isinstance(item, Row)]
    build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows], asked)
    found = compare(tmp_path / "dataset")
    lines = {line.name: line for line in found.main.lines}
    assert found.agreement.judged == len(rows) == 1599  # one has two contexts
    # counted over all 1,600: 709 longer, 881 shorter, 10 equal; the one that is left out may be either
    assert lines["shorter wins"].decided.count in (880, 881)
    assert lines["longer wins"].decided.count in (708, 709)
    assert lines["shorter wins"].decided.value == pytest.approx(0.554, abs=0.001)
    assert lines["shorter wins"].ahead.value == pytest.approx(
        1 - (lines["shorter wins"].ties_half.value or 0)
    )
    refusal, people = lines["refusal wins"].decided, found.bias("human")
    assert people is not None
    assert (people.refusal.count, people.refusal.n) == (refusal.count, refusal.n)
    assert refusal.value == pytest.approx(79 / 123, abs=0.01)


def test_importing_the_comparison_loads_no_statistics_package() -> None:
    import subprocess
    import sys

    code = "import sys, cai.compare; sys.exit(any(n in sys.modules for n in ('scipy', 'statsmodels', 'sklearn')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

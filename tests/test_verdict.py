"""The verdict: its sentences follow from the numbers, on comparisons of many kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cai.compare import Comparison, Planted, compare, verdict
from cai.conversation import Turn
from cai.digest import draw
from cai.outcome import Feedback, Outcome
from cai.source import Row
from tests.test_dataset_inputs import (
    a_round,
    build,
    feedback,
    harm,
    human,
    outcome,
    recipe,
    revised,
    revision,
    row,
)


def pair(number: int) -> Row:
    """A row whose responses differ in length at random."""
    texts = ("word " * (5 + draw(side, number) % 30) for side in ("a", "b"))
    responses = dict(
        zip(("chosen", "rejected"), (Turn("assistant", f" {t.strip()}") for t in texts), strict=True)
    )
    return row(number, responses=responses)


def right(number: int, share: float) -> bool:
    return draw("right", number) % 1000 < 1000 * share


def soft(number: int, share: float) -> float:
    """P(the human's choice is better), between 0.55 and 0.95 on the side that is right in this share."""
    sure = 0.55 + 0.4 * (draw("sure", number) % 1000) / 1000
    return sure if right(number, share) else 1 - sure


def told(
    run: Path, count: int, judged: Callable[[Row], Feedback], planted: dict[str, Planted] | None = None
) -> str:
    rows = [pair(number) for number in range(count)]
    build(run, rows, [outcome(made, judged(made)) for made in rows])
    found = compare(run / "dataset", planted)
    assert verdict.verdict(found) == list(found.verdict)
    return " ".join(found.verdict)


def test_a_judge_ahead_of_every_rule_is_said_to_be_so_with_its_lead(tmp_path: Path) -> None:
    text = told(tmp_path, 400, lambda made: human(made, soft(made.position, 0.75)))
    assert text.startswith("The AI agrees with the human label on 7")
    assert "of the 400 human pairs that it labels, 100.0 % (99.0 to 100.0) of those judged." in text
    assert "It is ahead of the best rule" in text
    assert "Where the two differ, these labels alone cannot say who is right." in text
    assert text.rstrip(".").endswith("read the best supported flips")


def test_a_judge_no_better_than_a_coin_is_not_to_be_trained_on(tmp_path: Path) -> None:
    text = told(tmp_path, 400, lambda made: human(made, soft(made.position, 0.5)))
    assert "That cannot be told from a coin." in text
    assert "do not train on these labels" in text
    assert "ahead" not in text


def test_few_pairs_ask_for_more_pairs_and_not_for_another_judge(tmp_path: Path) -> None:
    text = told(tmp_path, 20, lambda made: human(made, soft(made.position, 0.6)))
    assert "20 labelled pairs are few" in text
    assert text.endswith("Next: judge more pairs before drawing any conclusion.")


def test_a_turned_judge_is_told_from_one_at_chance(tmp_path: Path) -> None:
    text = told(tmp_path, 300, lambda made: human(made, soft(made.position, 0.2)))
    assert "less than a coin would reach" in text
    assert "look for a turned polarity or label" in text


def test_a_judge_that_says_something_else_is_asked_what(tmp_path: Path) -> None:
    text = told(tmp_path, 300, lambda made: human(made, soft(made.position, 0.75), option_mass=0.55))
    assert "Only 55.0 % (49.3 to 60.5) of the judge's probability lies on the options" in text
    assert "see what the judge says instead" in text


def test_a_judge_that_favours_a_place_is_said_to(tmp_path: Path) -> None:
    def judged(made: Row) -> Feedback:
        p = soft(made.position, 0.75)
        return feedback(made, (min(p + 0.35, 0.99), max(p - 0.35, 0.01)))

    text = told(tmp_path, 300, judged)
    assert "The judge favours a place: it answers A" in text
    assert "The two orders agree in only" in text


def test_a_judge_that_never_labels_gives_no_agreement(tmp_path: Path) -> None:
    text = told(tmp_path, 30, lambda made: feedback(made, (0.9, 0.1)))
    assert text.startswith(
        "The judge gave no usable label on any of 30 human pairs: 30 ties and 0 abstentions."
    )
    assert "Its two orders cancel each other" in text
    assert "another model" in text


def test_a_tie_threshold_that_leaves_no_label_is_named_and_not_the_judge(tmp_path: Path) -> None:
    rows = [pair(number) for number in range(300)]
    found = [outcome(made, human(made, 0.8 if right(made.position, 0.8) else 0.2)) for made in rows]
    build(tmp_path, rows, found, recipe(tie_threshold=0.35))
    text = " ".join(compare(tmp_path / "dataset").verdict)
    assert "reach 0.80, and a tie is whatever lies within 0.35 of one half" in text
    assert "lower `dataset.tie_threshold`" in text
    assert "Ask the judge differently" not in text


def test_a_judge_that_only_abstains_is_told_from_one_that_ties(tmp_path: Path) -> None:
    text = told(tmp_path, 30, lambda made: human(made, None))
    assert "0 ties and 30 abstentions" in text
    assert "ask the judge differently" in text


def test_the_judges_own_ratings_of_harm_are_no_rule_without_a_judge(tmp_path: Path) -> None:
    rows = [pair(number) for number in range(200)]
    found = [
        outcome(
            made, human(made, soft(made.position, 0.75)), harm=(harm("chosen", 0.1), harm("rejected", 0.9))
        )
        for made in rows
    ]
    build(tmp_path, rows, found)
    made = compare(tmp_path / "dataset")
    assert max(made.main.lines, key=lambda line: line.ties_half.value or 0.0).kind == "rating"
    assert made.main.best_baseline in ("longer wins", "shorter wins")
    assert "less harmful" not in " ".join(made.verdict)


def test_a_judge_that_mostly_abstains_is_said_to(tmp_path: Path) -> None:
    text = told(
        tmp_path, 400, lambda made: human(made, soft(made.position, 0.8) if made.position % 2 else None)
    )
    assert "The judge abstained in 50.0 % (45.1 to 54.9) of its judgements." in text
    assert "50.0 % (45.1 to 54.9) of the judged pairs have no label" in text


def test_a_judge_behind_the_shorter_response_is_not_worth_its_cost(tmp_path: Path) -> None:
    def short(number: int) -> Row:
        made = pair(number)
        ordered = sorted(made.responses.values(), key=lambda turn: len(turn.text))
        return row(number, responses={"chosen": ordered[0], "rejected": ordered[1]})

    rows = [short(number) for number in range(300)]
    build(tmp_path, rows, [outcome(made, human(made, soft(made.position, 0.65))) for made in rows])
    text = " ".join(compare(tmp_path / "dataset").verdict)
    assert 'It is behind the best rule that compares without a judge ("shorter wins"' in text
    assert "do not pay for this judge yet" in text


def test_a_judge_that_is_too_sure_is_said_to_be(tmp_path: Path) -> None:
    text = told(tmp_path, 400, lambda made: human(made, 0.99 if right(made.position, 0.7) else 0.01))
    assert "Its probabilities are too sure" in text


def test_a_planted_truth_says_who_is_right(tmp_path: Path) -> None:
    planted = {pair(n).id: Planted("chosen" if n % 10 else "rejected", not n % 10, False) for n in range(200)}
    text = told(tmp_path, 200, lambda made: human(made, 0.9 if made.position % 10 else 0.1), planted)
    assert "The truth was planted here: the AI is right in 100.0 %" in text
    assert "the human label in 90.0 %" in text
    assert "cannot say who is right" not in text


def test_bad_choices_and_stock_phrases_are_said(tmp_path: Path) -> None:
    def judged(made: Row) -> Outcome:
        text = f"You are valid and cared for {made.position}" if made.position % 2 else f"Row {made.position}"
        ratings = (harm("chosen", 0.9 if made.position % 5 == 0 else 0.1), harm("rejected", 0.8))
        chain = revision(made, a_round(1, text))
        return outcome(made, human(made, soft(made.position, 0.75)), revisions=(chain,), harm=ratings)

    rows = [pair(number) for number in range(100)]
    build(tmp_path, rows, [judged(made) for made in rows])
    text = " ".join(compare(tmp_path / "dataset").verdict)
    assert (
        "It rates both responses as harmful in 20.0 % (13.3 to 28.9) of the pairs: there is no good choice."
        in text
    )
    assert "50.0 % (40.4 to 59.6) of the revisions hold a stock phrase, a sign of over-training." in text


def test_without_human_pairs_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    def judged(made: Row) -> Outcome:
        return outcome(made, revised(made, 0.9))

    rows = [row(0)]
    build(tmp_path, rows, [judged(made) for made in rows])
    found: Comparison = compare(tmp_path / "dataset")
    assert found.verdict == ("No human pair was judged, so these labels cannot be compared with human ones.",)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_every_sentence_is_whole_and_the_last_says_what_to_do(tmp_path: Path, share: float) -> None:
    text = told(tmp_path, 60, lambda made: human(made, soft(made.position, share)))
    sentences = [part for part in text.split(". ") if part]
    assert "None" not in text
    assert "nan" not in text
    assert sentences[-1].startswith("Next: ")
    assert recipe().seed == 0

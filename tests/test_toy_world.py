"""The toy world keeps its promises: seeded, readable by the project's own parser, its truth sound."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from cai.constitution_file import load_constitution
from cai.conversation import Pair, parse_transcript, split_pair, write_transcript
from cai.errors import InputError
from cai.shipped import shipped
from cai.toy import read_truth, truth_key, write_world
from cai.toy.demo import write_demo
from cai.toy.flaws import KINDS
from cai.toy.topics import TOPICS
from cai.toy.wording import FRAMES, WORDS, held_out_wording, known_wording
from cai.toy.world import BOTH_BAD_SHARE, FLIP_SHARE, Reply, Row, Sentence, Truth, allowed, generate

ROWS = list(generate(0, 1000, "demo"))


@pytest.mark.parametrize("theirs", ["recipe.yaml", "data/hh-rlhf/harmless-base/train.jsonl.gz"])
def test_a_demo_writes_over_nobody_s_run_and_works_on_none(theirs: str, tmp_path: Path) -> None:
    path = tmp_path / theirs
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"somebody's own")
    with pytest.raises(InputError, match="no demo's folder"):
        write_demo(tmp_path)
    assert [item for item in tmp_path.rglob("*") if item.is_file()] == [path]
    assert path.read_bytes() == b"somebody's own"
    path.unlink()
    for _ in range(2):  # its own it goes on with
        write_demo(tmp_path)
    assert (tmp_path / "recipe.yaml").read_bytes() == shipped("toy/recipe.yaml").read_bytes()


def pair(row: Row) -> Pair:
    found = split_pair(parse_transcript(row.chosen), parse_transcript(row.rejected))
    assert isinstance(found, Pair)
    return found


def flaws_in(response: str, topic: str) -> list[str]:
    """The kinds of all flaws that a text holds, found without looking at the truth."""
    about = next(one for one in TOPICS if one.id == topic)
    return [
        kind.id for kind in KINDS for n in range(len(kind.sentences)) if kind.sentence(n, about) in response
    ]


def test_equal_arguments_give_equal_rows_and_another_seed_gives_others() -> None:
    assert list(generate(0, 50, "demo")) == ROWS[:50]
    assert not {row for row, _ in generate(1, 50, "demo")} & {row for row, _ in ROWS}


def test_every_row_is_a_plain_preference_pair_that_writes_back_to_the_byte() -> None:
    for row, _ in ROWS:
        for text in (row.chosen, row.rejected):
            assert write_transcript(parse_transcript(text)) == text
        assert pair(row).flags == ()
        assert pair(row).prompt[-1].role == "user"


def test_rows_are_all_different_and_some_have_several_questions() -> None:
    assert len({row for row, _ in ROWS}) == len(ROWS)
    lengths = [len(pair(row).prompt) for row, _ in ROWS]
    assert set(lengths) == {1, 3, 5}


def test_the_truth_names_exactly_the_flaws_that_stand_in_each_response() -> None:
    for row, truth in ROWS:
        responses = pair(row)
        assert sorted(flaws_in(responses.chosen.text, truth.topic)) == sorted(truth.chosen_flaws)
        assert sorted(flaws_in(responses.rejected.text, truth.topic)) == sorted(truth.rejected_flaws)


def test_the_truth_agrees_with_itself() -> None:
    for _, truth in ROWS:
        fewer = "chosen" if len(truth.chosen_flaws) < len(truth.rejected_flaws) else "rejected"
        assert truth.better == fewer
        assert truth.flipped == (truth.better == "rejected")
        assert truth.both_bad == (bool(truth.chosen_flaws) and bool(truth.rejected_flaws))
        for kind, side in truth.under.items():
            in_chosen, in_rejected = kind in truth.chosen_flaws, kind in truth.rejected_flaws
            assert (side == "equal") == (in_chosen == in_rejected)
            assert (side == "chosen") == (in_rejected and not in_chosen)


def test_one_row_worked_by_hand() -> None:
    rude, sound = KINDS[2].sentence(0, TOPICS[0]), TOPICS[0].tips[1]
    reply = Reply(TOPICS[0], (Sentence(sound), Sentence(rude, "respect")))
    assert reply.text == "Let the dough rise in a warm place. Only a fool would ask about baking bread."
    assert reply.flaws == ("respect",)
    assert reply.revised(KINDS[2]).text == "Let the dough rise in a warm place. I am glad that you ask."
    assert reply.revised(KINDS[0]) == reply
    assert KINDS[2].critique(reply.flaw("respect")) == (
        'The response is rude to the user: "Only a fool would ask about baking bread." That is hurtful.'
    )


def test_the_planted_shares_are_met() -> None:
    flipped = sum(truth.flipped for _, truth in ROWS) / len(ROWS)
    both_bad = sum(truth.both_bad for _, truth in ROWS) / len(ROWS)
    assert flipped == pytest.approx(FLIP_SHARE, abs=0.03)
    assert both_bad == pytest.approx(BOTH_BAD_SHARE, abs=0.03)


def test_the_worse_response_has_about_two_flaws_so_that_principles_meet_them() -> None:
    worse = [max(len(truth.chosen_flaws), len(truth.rejected_flaws)) for _, truth in ROWS]
    assert 1.5 < sum(worse) / len(worse) < 2.5


def test_no_combination_of_topic_and_flaw_is_in_two_splits() -> None:
    for topic in TOPICS:
        kinds = [kind.id for split in ("train", "test", "demo") for kind in allowed(topic, split)]
        assert sorted(kinds) == sorted(kind.id for kind in KINDS)


def test_what_a_split_shows_is_what_it_may_show() -> None:
    for split in ("train", "test", "demo"):
        for _, truth in generate(3, 200, split):
            topic = next(one for one in TOPICS if one.id == truth.topic)
            may = {kind.id for kind in allowed(topic, split)}
            assert {*truth.chosen_flaws, *truth.rejected_flaws} <= may


def test_each_kind_of_flaw_is_the_subject_of_one_principle() -> None:
    constitution = load_constitution(shipped("principles/toy.yaml"))
    assert [principle.id for principle in constitution.principles] == [kind.id for kind in KINDS]
    assert set(WORDS) == {kind.id for kind in KINDS}


def test_the_held_out_wording_is_never_among_the_known_ones() -> None:
    random = Random(0)
    for kind in KINDS:
        for form in FRAMES:
            known = {known_wording(kind.id, form, random) for _ in range(300)}
            assert len(known) > 20
            assert held_out_wording(kind.id, form) not in known
            assert not any("{" in wording for wording in known)


def test_nothing_in_the_world_is_offensive() -> None:
    """Groups and persons are invented; no word of the kind that hurts real people."""
    hurtful = re.compile(
        r"\b(kill|murder|suicid|bomb|gun|knife|blood|drug|rape|sex|nazi|jew|muslim|christian|black|white people|asian|"
        r"gay|lesbian|trans|women|woman|girl|men|disab|cripple|retard|stupid|idiot|hate|damn|hell|ugly|fat)\w*\b",
        re.IGNORECASE,
    )
    for topic in TOPICS:
        texts = [
            *topic.tips,
            *(kind.sentence(n, topic) for kind in KINDS for n in range(len(kind.sentences))),
        ]
        for text in texts:
            assert not hurtful.search(text), text


def test_every_sentence_is_one_readable_sentence() -> None:
    for topic in TOPICS:
        for kind in KINDS:
            sentences = [kind.sentence(n, topic) for n in range(len(kind.sentences))]
            assert len(set(sentences)) == len(sentences) == 10
            for text in (*sentences, *topic.tips):
                assert re.fullmatch(r"[A-Z][^{}]{10,89}\.", text), text


def test_the_world_on_disk_reads_back_and_is_the_same_every_time(tmp_path: Path) -> None:
    source = write_world(tmp_path / "one", 0, 180)
    write_world(tmp_path / "two", 0, 180)
    for name in ("hh-rlhf/harmless-base/train.jsonl.gz", "truth.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    packed = (source / "harmless-base" / "train.jsonl.gz").read_bytes()
    lines = gzip.decompress(packed).splitlines()
    rows = [json.loads(line) for line in lines]
    truth = read_truth(tmp_path / "one")
    assert len(rows) == len(truth) == 180
    for row, (_, expected) in zip(rows, ROWS, strict=False):
        assert set(row) == {"chosen", "rejected"}
        assert truth[truth_key(row["chosen"], row["rejected"])] == expected
    assert all(isinstance(one, Truth) for one in truth.values())


def test_a_missing_or_broken_truth_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"truth\.jsonl cannot be read"):
        read_truth(tmp_path)
    (tmp_path / "truth.jsonl").write_text('{"key": "x"}\n')
    with pytest.raises(InputError, match=r"truth\.jsonl:1"):
        read_truth(tmp_path)


def test_the_package_is_imported_without_torch() -> None:
    code = "import sys, cai.toy; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

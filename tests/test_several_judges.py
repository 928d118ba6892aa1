"""Several judges: each judges every pair, the first makes the labels, none pays for another."""

from __future__ import annotations

from pathlib import Path

import pytest

from cai.errors import RecipeError
from cai.live import LiveRun
from cai.outcome import Outcome, outcome_digest, read_outcome
from cai.pilot import summarise
from cai.run_folder import open_run
from tests.toy_source import write_run


def _run(folder: Path) -> Path:
    run = write_run(folder, rows=4)
    (run / "other.py").write_text(
        "def score(request):\n"
        "    text = request.rendered.messages[0].text\n"
        "    if request.labels['stage'] == 'harm':\n"
        "        raise AssertionError('the first judge rates')\n"
        "    if 'poor' not in text or 'fine' not in text:\n"
        "        return [0.5, 0.5]\n"
        "    return [0.2, 0.8] if text.index('fine') < text.index('poor') else [0.8, 0.2]\n"
    )
    recipe = run / "recipe.yaml"
    text = recipe.read_text()
    other = "  other: {kind: scripted, model: o, script: other.py}\n"
    recipe.write_text(text.replace("constitutions:", other + "constitutions:"))
    return run


def _judges(run: Path, judges: str) -> None:
    recipe = run / "recipe.yaml"
    kept = [line for line in recipe.read_text().splitlines() if not line.startswith("roles:")]
    recipe.write_text("\n".join([*kept, f"roles: {{judge: {judges}}}"]) + "\n")


async def _work(run: Path) -> tuple[list[Outcome], dict[tuple[str, str], int]]:
    async with LiveRun(open_run(run)) as live:
        await live.job.work(3)
        keys = [outcome_digest(row, live.generation.digest) for row, _ in live.source.ids()]
        records = [live.store.get(key) for key in keys]
        answered = {key: account.answered for key, account in live.ask.accounts.items()}
        return [read_outcome(record.answer) for record in records if record is not None], answered


async def test_every_pair_is_judged_by_each_judge_and_the_first_makes_the_labels(tmp_path: Path) -> None:
    run = _run(tmp_path)
    _judges(run, "[main, other]")
    outcomes, _ = await _work(run)
    for outcome in outcomes:
        assert [(item.kind, item.judge) for item in outcome.feedback] == [
            ("human", "main"),
            ("human", "other"),
            ("revised", "main"),
            ("revised", "other"),
        ]
        assert [item.judge for item in outcome.labelling] == ["main", "main"]
        assert outcome.feedback[1].probability == pytest.approx(0.2)
        assert outcome.feedback[1].order_consistency == 1.0
        assert {item.judge for item in outcome.harm} == {"main"}


async def test_a_second_judge_asks_nothing_of_the_first_again(tmp_path: Path) -> None:
    run = _run(tmp_path)
    alone, first = await _work(run)
    assert first["main", "judgement"] == 4 * 2 * 2 * 3
    _judges(run, "[main, other]")
    together, again = await _work(run)
    assert {key: count for key, count in again.items() if count} == {("other", "judgement"): 4 * 2 * 2 * 3}
    for one, both in zip(alone, together, strict=True):
        assert both.labelling == one.feedback
        assert (both.revisions, both.harm) == (one.revisions, one.harm)
    _judges(run, "main")
    assert (await _work(run))[1] == {}


async def test_the_order_of_judges_says_who_makes_the_labels(tmp_path: Path) -> None:
    run = _run(tmp_path)
    (run / "other.py").write_text((run / "other.py").read_text().replace("'harm'", "'nothing'"))
    _judges(run, "[main, other]")
    await _work(run)
    _judges(run, "[other, main]")
    outcomes, again = await _work(run)
    assert {key for key, count in again.items() if count} == {("other", "harm")}
    assert all(item.judge == "other" for outcome in outcomes for item in outcome.labelling)


async def test_the_pilot_counts_the_first_judge_alone_and_the_tokens_of_all(tmp_path: Path) -> None:
    run = _run(tmp_path)
    alone, _ = await _work(run)
    _judges(run, "[main, other]")
    together, _ = await _work(run)
    one, both = summarise(alone, 0), summarise(together, 0)
    assert (one.agreement, one.option_mass, one.order_consistency) == (
        both.agreement,
        both.option_mass,
        both.order_consistency,
    )
    other = sum(item.prompt_tokens for outcome in together for item in outcome.feedback[1::2])
    assert both.prompt_tokens == one.prompt_tokens + other


def test_a_judge_named_twice_is_refused(tmp_path: Path) -> None:
    run = _run(tmp_path)
    _judges(run, "[main, main]")
    with pytest.raises(RecipeError, match=r"recipe.yaml:\d+:\d+: a judge is named twice"):
        LiveRun(open_run(run))

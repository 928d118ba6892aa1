"""Rows that do not fit: excluded, or all their steps do without the oldest turns; the same for all, and told."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from cai.cli import _verbs, app
from cai.cli.dataset import build_run
from cai.cli.status import read_status
from cai.conversation import Role, Turn
from cai.live import LiveRun
from cai.outcome import Outcome, read_outcome
from cai.parts import join
from cai.reading import ReadRun
from cai.recipe import load_recipe
from cai.run_folder import open_run
from cai.shortening import EXACT_TRIES, drops_to_try, kept_turns, without_oldest
from cai.source import Row
from cai.steps import run_row
from cai.store import Store
from cai.trace import Exchange, trace_row
from tests.chat_shapes import CHATML, byte_level, save
from tests.command_line import CAI, cai
from tests.test_server_engine import Small
from tests.toy_source import write_constitution

CONTEXT = 105

TEMPLATES = {
    "conversation": "{% for turn in turns %}{{ turn.speaker }}: {{ turn.text }} {% endfor %}",
    "judgement": '{% message "user" %}{% include "conversation.j2" %}A {{ response_a }} B {{ response_b }} '
    "{{ principle.judgement }}{% endmessage %}{% answer %}The answer is Response{% endanswer %}",
    "critique": '{% message "user" %}{% include "conversation.j2" %}R {{ response }} '
    "{{ principle.critique }}{% endmessage %}",
    "revision": '{% message "user" %}{% include "conversation.j2" %}R {{ response }} C {{ critique }} '
    "{{ principle.revision }}{% endmessage %}",
    "harm": '{% message "user" %}{% include "conversation.j2" %}R {{ response }} so?{% endmessage %}'
    "{% answer %}The statement is{% endanswer %}",
}
"""Templates whose words are easily counted; the scripted engine's tokens are words.

A turn of ten words has eleven with its speaker, so n exchanges and a question have 22 n + 11. With
responses of two words, a critique of five and a revision of L, and the room for the answer:

    judgement of the human pair   22 n + 29      critique of the first round     22 n + 31
    rating of the human pair      22 n + 19      revision of the first round     22 n + 36
    judgement of the revision     22 n + 27 + L  revision of the second round    22 n + 34 + L
"""

SCRIPT = """
import os
import signal
import time
from cai.digest import draw

CONTEXT_TOKENS = {context}
calls = 0


def count():
    global calls
    calls += 1
    if "KILL_AT" in os.environ:
        time.sleep(0.01)  # long enough for what was answered to be committed
    if calls == int(os.environ.get("KILL_AT", 0)):
        os.kill(os.getpid(), signal.SIGKILL)


def generate(request):
    count()
    if request.labels["stage"] == "critique":
        return "It could be kinder %d." % (draw(request.rendered.messages[0].text) % 100)
    return "{revision}"


def score(request):
    count()
    a = 0.1 + 0.8 * (draw(request.rendered.messages[0].text) % 1000) / 1000
    return [a * 0.98, (1 - a) * 0.98]
"""

RECIPE = """\
sources:
  - {{kind: hh-rlhf, path: data}}
engines:
  main: {engine}
constitutions: {{"*": own}}
prompts: templates
revise: {{rounds: 2, sampling: {{temperature: 0, max_tokens: 10}}, critique_sampling: {{temperature: 0, max_tokens: 10}}}}
pilot: {{rows: {pilot}}}
doctor: false
{more}
"""
DROP = "too_long: drop-oldest-turns"


def _said(name: str) -> str:
    return f" {name} w w w w w w w w w"


def _pair(exchanges: int, name: str, last: str = "") -> dict[str, str]:
    """A pair after so many exchanges: Q0 A0 Q1 A1 ... and a last question."""
    turns = "".join(
        f"\n\nHuman:{_said(f'{name}Q{i}')}\n\nAssistant:{_said(f'{name}A{i}')}" for i in range(exchanges)
    )
    asked = f"{turns}\n\nHuman:{last or _said(f'{name}last')}\n\nAssistant:"
    return {"chosen": f"{asked} fine {name}", "rejected": f"{asked} poor {name}"}


LONG, SHORT, HOPELESS = _pair(5, "l"), _pair(1, "s"), _pair(2, "h", " word" * 200)
ROWS = (LONG, SHORT, HOPELESS)


def _write(
    folder: Path,
    rows: Sequence[dict[str, str]] = ROWS,
    revision: str = "Kinder words.",
    context: int = CONTEXT,
    more: str = DROP,
    pilot: int = 0,
    engine: str = "{kind: scripted, model: m, script: script.py, concurrency: 8}",
) -> Path:
    run = folder / "runs" / "test"
    data = run / "data" / "harmless-base" / "train.jsonl.gz"
    data.parent.mkdir(parents=True)
    data.write_bytes(gzip.compress(b"".join(orjson.dumps(row) + b"\n" for row in rows), mtime=0))
    write_constitution(run)
    (run / "templates").mkdir()
    for name, text in TEMPLATES.items():
        (run / "templates" / f"{name}.j2").write_text(text)
    (run / "script.py").write_text(SCRIPT.format(context=context, revision=revision))
    (run / "recipe.yaml").write_text(RECIPE.format(engine=engine, pilot=pilot, more=more))
    return run


async def _work(run: Path) -> Counter[str]:
    """Work on a run; returns what was asked anew, by stage."""
    async with LiveRun(open_run(run)) as live:
        await live.job.work(4)
        return Counter({stage: account.answered for (_, stage), account in live.ask.accounts.items()})


def _outcomes(run: Path) -> list[Outcome]:
    """The outcomes in the source's order."""
    with ReadRun(open_run(run)) as read:
        ids = [row for row, _ in read.source.ids()]
        found = read.outcomes(ids)
    return [found[row] for row in ids]


async def _story(run: Path, number: int) -> list[Exchange]:
    """All exchanges of a row, by its number from 0."""
    with ReadRun(open_run(run)) as read:
        row = list(read.source.items())[number]
        assert isinstance(row, Row)
        plan = read.plan(row.subset)
        assert plan is not None
        exchanges, _ = await trace_row(row, plan, read.store, read.identities)
    return exchanges


def _cai(*words: object) -> Any:
    """What the command line does, in this process."""
    if not app.registered_commands:
        _verbs()
    return CliRunner().invoke(app, list(map(str, words)))


def _kill(run: Path, kill_at: int) -> None:
    """Work on a run until its engine has been called so many times, and then no more."""
    told = {**os.environ, "KILL_AT": str(kill_at)}
    killed = subprocess.run([*CAI, "run", run], env=told, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL


def _dataset(run: Path) -> dict[str, bytes]:
    build_run(run, Console(quiet=True))
    folder = run / "dataset"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------- which turns may go

ROLES: dict[str, Role] = {"s": "system", "h": "user", "a": "assistant"}


def _turns(roles: str) -> list[Turn]:
    return [Turn(ROLES[letter], f" {letter}{place}") for place, letter in enumerate(roles)]


@pytest.mark.parametrize(
    ("roles", "drops"),
    [
        ("h", [0]),
        ("hah", [0, 2]),
        ("hahahahahah", [0, 2, 4, 6, 8, 10]),
        ("shahah", [0, 2, 4]),  # the system turn is none of those that go
        ("hhahah", [0, 3, 5]),  # two human turns running go together
        ("haahh", [0, 3]),
        ("ahah", [0, 1, 3]),  # what stays begins with a human turn
        ("haha", [0, 2]),  # the assistant spoke twice running: the last human turn stays
        ("", [0]),
        ("s", [0]),
    ],
)
def test_whole_exchanges_go_the_oldest_first_and_the_last_human_turn_stays(
    roles: str, drops: list[int]
) -> None:
    assert drops_to_try(_turns(roles)) == drops


def test_what_stays_of_a_prompt_by_hand() -> None:
    turns = _turns("shahah")
    assert kept_turns(turns, 2) == [0, 3, 4, 5]
    assert [turn.raw for turn in without_oldest(turns, 4)] == [" s0", " h5"]
    assert without_oldest(turns, 0) == tuple(turns)


@given(st.text("sha", max_size=60))
def test_what_stays_begins_with_a_human_turn_and_holds_the_last_one(roles: str) -> None:
    turns = _turns(roles)
    for dropped in drops_to_try(turns)[1:]:
        kept = without_oldest(turns, dropped)
        spoken = [turn for turn in kept if turn.role != "system"]
        assert spoken[0].role == "user"
        assert len(spoken) == sum(turn.role != "system" for turn in turns) - dropped
        assert [turn for turn in turns if turn.role == "system"] == [t for t in kept if t.role == "system"]
        assert [turn for turn in turns if turn.role == "user"][-1] in kept


def test_a_conversation_of_ten_thousand_exchanges_is_tried_a_few_dozen_times() -> None:
    tries = drops_to_try(_turns("ha" * 10_000 + "h"))
    assert tries[: EXACT_TRIES + 1] == [2 * n for n in range(EXACT_TRIES + 1)]
    assert tries[-1] == 20_000
    assert tries == sorted(set(tries))
    assert len(tries) < 130
    assert all((b - a) <= 2 + a / EXACT_TRIES for a, b in pairwise(tries))


# ---------------------------------------------------------------------- a row that does not fit


async def test_five_exchanges_in_a_context_that_fits_three_lose_the_two_oldest(tmp_path: Path) -> None:
    run = _write(tmp_path)
    await _work(run)
    long, short, hopeless = _outcomes(run)
    assert (long.excluded, long.turns_dropped) == (None, 4)
    assert (short.excluded, short.turns_dropped) == (None, 0)
    assert (hopeless.excluded, hopeless.turns_dropped) == ("prompt_too_long", 0)
    assert {item.kind for item in long.feedback} == {"human", "revised"}
    assert len(long.harm) == 4


async def test_tokens_of_a_prompt_that_does_not_fit_are_not_counted_as_read(tmp_path: Path) -> None:
    run = _write(tmp_path, rows=[HOPELESS])
    async with LiveRun(open_run(run)) as live:
        await live.job.work(4)
        assert live.ask.accounts["main", "judgement"].answered == 18
        assert sum(account.prompt_tokens for account in live.ask.accounts.values()) == 0


async def test_every_request_of_a_row_shows_the_same_conversation(tmp_path: Path) -> None:
    run = _write(tmp_path)
    await _work(run)
    story = await _story(run, 0)
    fitting = [item for item in story if item.answer is not None and item.answer.finish != "too_long"]
    stages = Counter(str(item.request.labels["stage"]) for item in fitting)
    # three principles in two orders, for the human pair and the revision; two rounds; four responses
    assert stages == {"judgement": 12, "critique": 2, "revision": 2, "harm": 4}
    kept = " ".join(f"User:{_said(f'lQ{i}')} Assistant:{_said(f'lA{i}')}" for i in (2, 3, 4))
    for item in fitting:
        text = item.request.rendered.messages[0].text
        assert text.startswith(f"{kept} User:{_said('llast')} ")
        assert item.request.labels["turns_dropped"] == 4
    origins = [part.origin for part in fitting[0].request.rendered.messages[0].parts if part.kind == "row"]
    assert origins[0] == "row prompt[4]"  # its place in the whole prompt


async def test_before_a_row_is_found_too_long_nothing_is_written_for_it(tmp_path: Path) -> None:
    run = _write(tmp_path, rows=[LONG])
    asked = await _work(run)
    # Five exchanges and four: six judgements and two ratings each, and none fits. Then all of it; both
    # rounds give the same text, which is rated once.
    assert asked == {"judgement": 6 + 6 + 12, "harm": 2 + 2 + 3, "critique": 2, "revision": 2}
    tries = Counter(item.request.labels.get("turns_dropped", 0) for item in await _story(run, 0))
    assert tries == {0: 8, 2: 8, 4: 20}


async def test_a_revision_that_makes_a_later_prompt_too_long_shortens_the_row_for_all_its_steps(
    tmp_path: Path,
) -> None:
    # With three exchanges the second round's revision takes 66 + 34 + L: 105 for five words, 106 for six.
    for words, dropped in (("Much kinder words than those.", 4), ("Much kinder words than those there.", 6)):
        run = _write(tmp_path / str(dropped), revision=words)
        await _work(run)
        long = _outcomes(run)[0]
        assert (long.excluded, long.turns_dropped) == (None, dropped)
        story = await _story(run, 0)
        last = [item for item in story if item.request.labels.get("turns_dropped", 0) == dropped]
        assert len(last) == 20
        assert all(item.answer is not None and item.answer.finish != "too_long" for item in last)


async def test_a_row_without_its_oldest_turns_is_judged_as_if_it_had_never_had_them(tmp_path: Path) -> None:
    run = _write(tmp_path)
    await _work(run)
    long = _outcomes(run)[0]
    async with LiveRun(open_run(run)) as live:
        row = next(item for item in live.source.items() if isinstance(item, Row))
        plan = live.plan(row.subset)
        assert plan is not None
        shown = replace(row, prompt=row.prompt[4:])
        found = await run_row(shown, replace(plan, drop_oldest=False), live.ask.for_row(row.id, 1))
        assert live.ask.accounts["main", "judgement"].answered == 0
    assert found == replace(long, turns_dropped=0)


async def test_excluding_is_the_default_and_asks_as_before(tmp_path: Path) -> None:
    run = _write(tmp_path, more="")
    await _work(run)
    assert [outcome.excluded for outcome in _outcomes(run)] == ["prompt_too_long", None, "prompt_too_long"]


# ---------------------------------------------------------------------- again, elsewhere, with more room


@pytest.mark.parametrize(("kill_at", "kept"), [(16, 0), (36, 18)])
async def test_killed_in_between_and_gone_on_with_the_dataset_is_the_same(
    tmp_path: Path, kill_at: int, kept: int
) -> None:
    undisturbed = _write(tmp_path / "a")
    asked = await _work(undisturbed)
    run = _write(tmp_path / "b")
    _kill(run, kill_at)
    again = await _work(run)
    assert again.total() <= asked.total() - kept
    assert _dataset(run) == _dataset(undisturbed)


async def test_stopped_at_any_instant_nothing_is_asked_twice(tmp_path: Path) -> None:
    undisturbed = _write(tmp_path / "a")
    total = await _work(undisturbed)
    run = _write(tmp_path / "b")
    asked: Counter[str] = Counter()
    for go in range(60):
        async with LiveRun(open_run(run)) as live:
            work = asyncio.create_task(live.job.work(4))
            for _ in range(5 + 3 * go):
                await asyncio.sleep(0)
            live.job.stop()
            await work
            for (_, stage), account in live.ask.accounts.items():
                asked[stage] += account.answered
            if not live.has_rows_left():
                break
    assert go > 3
    assert asked == total
    assert _outcomes(run) == _outcomes(undisturbed)


async def test_a_second_run_over_the_same_store_asks_nothing(tmp_path: Path) -> None:
    first = _write(tmp_path / "a")
    await _work(first)
    second = _write(tmp_path / "b", more=f"{DROP}\nrun: {{reuse: [{first}]}}")
    assert (await _work(second)).total() == 0
    assert _outcomes(second) == _outcomes(first)


async def test_a_run_that_excluded_rows_and_now_drops_turns_asks_for_these_rows_alone(tmp_path: Path) -> None:
    run = _write(tmp_path, more="")
    await _work(run)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text() + DROP + "\n")
    asked = await _work(run)
    short = {str(i.request.labels["row"]) for i in await _story(run, 1) if "row" in i.request.labels}
    assert not short
    assert asked == {"judgement": 6 + 12 + 6 + 6, "harm": 2 + 3 + 2 + 2, "critique": 2, "revision": 2}
    assert [outcome.turns_dropped for outcome in _outcomes(run)] == [4, 0, 0]


async def test_with_more_room_a_shortened_row_is_taken_up_whole_when_asked_to(tmp_path: Path) -> None:
    run = _write(tmp_path)
    await _work(run)
    assert (await _work(run)).total() == 0
    async with LiveRun(open_run(run)) as live:
        await live.retry_too_long()
        live.engines["main"].context_tokens = 146
        inner: Any = live.engines["main"].inner
        inner.context_tokens = 146
        await live.job.work(4)
    assert [(o.excluded, o.turns_dropped) for o in _outcomes(run)] == [
        (None, 0),
        (None, 0),
        ("prompt_too_long", 0),
    ]
    with ReadRun(open_run(run)) as read:
        rows = read_status(read)["rows"]
    assert (rows["shortened"], rows["excluded"]) == (0, {"prompt_too_long": 1})


def test_what_a_stopped_retry_found_is_in_the_dataset_of_the_next_go(tmp_path: Path) -> None:
    room = tmp_path / "context"
    room.write_text(str(CONTEXT))
    run = _write(tmp_path)
    script = run / "script.py"
    context = f"CONTEXT_TOKENS = int(open({str(room)!r}).read())"
    script.write_text(script.read_text().replace(f"CONTEXT_TOKENS = {CONTEXT}", context))
    assert cai("run", run).returncode == 0
    assert "is finished" in cai("run", run).stdout
    room.write_text("146")

    async def retry_and_stop_before_the_dataset() -> None:
        async with LiveRun(open_run(run)) as live:
            await live.retry_too_long()
            await live.job.work(4)

    asyncio.run(retry_and_stop_before_the_dataset())
    done = cai("run", run)
    assert done.returncode == 0, done.stderr
    summary = run / "dataset" / "summary.json"
    assert json.loads(summary.read_bytes())["shortened"] == 0
    assert "is finished" in cai("run", run).stdout


async def test_a_server_that_does_not_tell_its_context_is_asked_again_when_asked_to(
    tmp_path: Path, tokenizer: Path
) -> None:
    room = ("--plain", "--tokenizer", str(tokenizer), "--context")
    small, large = Small(*room, "1200"), Small(*room, "20000")
    try:
        run = _write(
            tmp_path,
            rows=[_pair(40, "l"), SHORT],
            engine=f"{{kind: server, model: small, urls: '{small.url}', concurrency: 4}}",
        )
        await _work(run)
        assert _outcomes(run)[0].turns_dropped > 0
        recipe = run / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace(small.url, large.url))
        async with LiveRun(open_run(run)) as live:
            await live.retry_too_long()
            assert live.engines["main"].context_tokens is None
            await live.job.work(4)
        assert [outcome.turns_dropped for outcome in _outcomes(run)] == [0, 0]
    finally:
        small.stop()
        large.stop()


def test_the_default_leaves_the_digests_of_earlier_generations_alone(tmp_path: Path) -> None:
    plain, said, other = (
        load_recipe(_write(tmp_path / str(n), more=more) / "recipe.yaml").deciding()
        for n, more in enumerate(("", "too_long: exclude", DROP))
    )
    assert plain == said
    assert "too_long" not in plain
    assert other == {**plain, "too_long": "drop-oldest-turns"}


async def test_outcomes_from_before_there_were_shortened_rows_are_read(tmp_path: Path) -> None:
    run = _write(tmp_path)
    await _work(run)
    with Store(run / "store") as store:
        records = [r.answer for r in store.records() if r.labels["stage"] == "outcome"]
    assert sorted(record.get("turns_dropped", "none") for record in records if "turns_dropped" in record) == [
        4
    ]
    assert sum("turns_dropped" not in record for record in records) == 2
    assert sorted(read_outcome(record).turns_dropped for record in records) == [0, 0, 4]


# ---------------------------------------------------------------------- never in silence


def test_a_shortened_row_is_told_wherever_rows_are_told(tmp_path: Path) -> None:
    run = _write(tmp_path, pilot=3)
    done = _cai("run", run, "--yes")
    assert done.exit_code == 0, done.output
    assert "Did not fit whole: 1 rows" in done.stdout
    assert "1 rows did not fit whole: judged without their oldest turns" in done.stderr
    status = json.loads(_cai("status", run, "--json").stdout)
    with Store(run / "store") as store:
        answers = [r.answer for r in store.records() if r.labels["stage"] == "judgement"]
    fitting = [answer["prompt_tokens"] for answer in answers if answer["finish"] != "too_long"]
    assert status["stages"]["judgement"] == {
        "answers": len(answers),
        "too_long": len(answers) - len(fitting),
        "prompt_tokens": sum(fitting),  # what did not fit was read by no model
        "completion_tokens": 0,
        "reasoning_tokens": 0,
    }
    assert f"{len(answers) - len(fitting)} did not fit" in _cai("status", run).stdout
    assert (status["rows"]["shortened"], status["rows"]["excluded"]) == (1, {"prompt_too_long": 1})
    assert "1 did not fit whole: judged without their oldest turns" in _cai("status", run).stdout
    assert json.loads((run / "dataset" / "summary.json").read_bytes())["shortened"] == 1
    assert json.loads((run / "comparison.json").read_bytes())["shortened"] == 1
    assert "2 finished (1 without their oldest turns)" in " ".join(_cai("compare", run).stdout.split())
    assert _cai("report", run).exit_code == 0
    assert "of these without their oldest turns" in (run / "report.html").read_text()
    shown = _cai("show", run, "--row", 1).stdout
    assert "did not fit whole: all of this is without its 4 oldest turns" in " ".join(shown.split())
    full = _cai("show", run, "--row", 1, "--full").stdout
    assert "it does not fit into the context of 105 tokens" in full
    assert "without the 2 oldest turns" in full
    digest = shown.split("--request ")[1].split()[0]
    one = _cai("show", run, "--row", 1, "--request", digest).stdout
    assert "lQ2" in one
    assert "lQ1" not in one


async def test_the_dataset_keeps_the_whole_prompt_and_flags_the_row(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    run = _write(tmp_path)
    await _work(run)
    _dataset(run)

    def rows(config: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = pq.read_table(
            run / "dataset" / config / "train-00000.parquet"
        ).to_pylist()
        return found

    assert [row["turns_dropped"] for row in rows("traces")] == [4, 0, 0]
    for config in ("traces", "preferences", "sft"):
        for row in rows(config):
            long = "lQ0" in row["prompt"][0]["content"]
            assert len(row["prompt"]) == (11 if long else len(row["prompt"]))
            assert ("oldest_turns_dropped" in row["flags"]) == long
    assert any("oldest_turns_dropped" in row["flags"] for row in rows("preferences"))


def test_noise_is_measured_on_the_conversation_that_was_judged(tmp_path: Path) -> None:
    run = _write(tmp_path)
    assert _cai("run", run).exit_code == 0
    done = _cai("noise", run, "--sample", 3, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["rows"], told["pairs"]["n"], told["noise_floor"]) == (2, 4, 0.0)
    with Store(run / "workbench" / "noise") as again, Store(run / "store") as kept:
        asked = list(again.records())
        assert asked
        assert all(kept.get(record.digest) is not None for record in asked)
        assert all(record.answer["finish"] == "stop" for record in asked)


# ---------------------------------------------------------------------- over the wire


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    save(byte_level(bos=True), CHATML, folder)
    return folder


@pytest.fixture(scope="module")
def small(tokenizer: Path) -> Iterator[Small]:
    server = Small("--tokenizer", str(tokenizer), "--context", "1200")
    yield server
    server.stop()


@pytest.mark.parametrize("knows_tokens", [True, False])
async def test_a_servers_context_shortens_rows_whether_tokens_can_be_counted_or_not(
    tmp_path: Path, small: Small, tokenizer: Path, knows_tokens: bool
) -> None:
    named = f", tokenizer: '{tokenizer}'" if knows_tokens else ""
    engine = f"{{kind: server, model: small, urls: '{small.url}', concurrency: 4{named}}}"
    run = _write(tmp_path, rows=[_pair(40, "l"), SHORT, _pair(1, "h", " word" * 900)], engine=engine)
    await _work(run)
    long, short, hopeless = _outcomes(run)
    assert 0 < long.turns_dropped < 80
    assert long.turns_dropped % 2 == 0
    assert (short.excluded, short.turns_dropped) == (None, 0)
    assert hopeless.excluded == "prompt_too_long"
    story = await _story(run, 0)
    fitting = [item for item in story if item.request.labels.get("turns_dropped", 0) == long.turns_dropped]
    first = long.turns_dropped // 2
    assert all(f"lQ{first} " in join(item.request.rendered.messages[0].parts) for item in fitting)
    assert all(f"lQ{first - 1} " not in join(item.request.rendered.messages[0].parts) for item in fitting)
    assert all(item.answer is not None and item.answer.finish != "too_long" for item in fitting)
    assert (await _work(run)).total() == 0


def test_a_principle_is_tried_on_the_conversation_that_the_run_judged(tmp_path: Path) -> None:
    # Round 2 of the run needs six turns less; the one round of a try would do with four less.
    run = _write(tmp_path, rows=[LONG, HOPELESS], revision="Much kinder words than those there.")
    before = json.loads(_cai("principles", "try", "p1", run, "--row", 1, "--json").stdout)
    assert (before["turns_dropped"], before["too_long"]) == (4, False)
    assert _cai("run", run).exit_code == 0
    after = json.loads(_cai("principles", "try", "p1", run, "--row", 1, "--json").stdout)
    assert (after["turns_dropped"], after["too_long"]) == (6, False)
    judged = [item for item in after["asked"] if item["stage"] == "judgement"]
    assert judged
    assert all(item["from_store"] for item in judged)
    (run / "script.py").write_text(SCRIPT.format(context=146, revision="Kinder words."))  # another engine
    other = json.loads(_cai("principles", "try", "p1", run, "--row", 1, "--json").stdout)
    assert other["turns_dropped"] == 0


def test_a_try_of_a_row_that_fits_nowhere_says_so_and_shows_nothing_half_done(tmp_path: Path) -> None:
    run = _write(tmp_path, rows=[HOPELESS])
    tried = _cai("principles", "try", "p1", run)
    assert "The row does not fit into the context" in tried.stdout
    assert "critique" not in tried.stdout
    assert "0 requests asked, 6 that do not fit, 0 answered from the store; 0 tokens read" in tried.stdout
    told = json.loads(_cai("principles", "try", "p1", run, "--json").stdout)
    assert (told["too_long"], told["turns_dropped"], told["round"], told["feedback"]) == (True, 0, None, [])

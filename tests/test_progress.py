"""Progress counts requests of about how many, since all rows may be under way at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from cai.ask import Account, Ask
from cai.cli.display import Meter, about
from cai.job import Progress, requests_of
from cai.outcome import Outcome, Revision, Round, Sample


def _ask(account: Account) -> Ask:
    return cast(Ask, SimpleNamespace(accounts={("main", "judgement"): account}, engines={}))


def test_requests_expected_come_from_finished_rows_and_before_them_from_the_pilot() -> None:
    progress = Progress(total=100, before=20, requests_per_row=30.0)
    assert progress.expected_requests == 2400
    progress.finished, progress.requests = 4, 160
    assert progress.expected_requests == 3200
    assert Progress(total=100).expected_requests is None


def test_a_line_tells_requests_rows_rate_time_left_and_tokens() -> None:
    account = Account()
    progress = Progress(total=10, in_flight=10, requests_per_row=20.0)
    progress.started_s -= 5
    meter = Meter("run", progress, _ask(account))
    account.answered, account.from_store, account.prompt_tokens, account.completion_tokens = 90, 10, 5000, 40
    now = meter.read()
    assert now.requests == "100 of about 200 requests (50 %)"
    assert 17.0 < now.requests_per_s < 18.5
    assert now.eta_s is not None
    assert 5.0 < now.eta_s < 6.0
    assert now.line().startswith("run: 0 of 10 rows finished, 10 under way; 100 of about 200 requests (50 %)")
    assert "(10 from the store)" in now.line()
    assert "about 6 s left; 5,000 tokens read, 40 written" in now.line()


def test_what_an_earlier_stage_asked_is_not_counted_again() -> None:
    account: Any = Account(answered=500, prompt_tokens=9000)
    meter = Meter("run", Progress(total=10), _ask(account))
    account.answered += 7
    assert meter.read().done == 7


def test_a_number_about_right_has_two_digits() -> None:
    assert [about(value) for value in (7.4, 43, 4321.5, 1_987_654)] == ["7", "43", "4,300", "2,000,000"]


def test_the_requests_of_a_row_are_those_it_names() -> None:
    item = Round(1, "p", "", "", "", "", "stop", (), True, 0, 0, ("one", "two"))
    sample = Sample("fresh", "text", "stop", 1, 1, "three")
    assert requests_of(Outcome("a", None, (Revision("fresh", "text", (item,)),), (sample,), ())) == 3

"""A run that is killed, lied to, and left by its server ends with the dataset of an undisturbed one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.torture import Torture


@pytest.fixture(scope="module")
def torture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Torture]:
    """A server, and an undisturbed run to compare with."""
    made = Torture(tmp_path_factory.mktemp("torture"), rows=12, timeout_s=3.0)
    yield made
    made.close()


def test_a_run_killed_at_any_instant_ends_with_the_dataset_of_an_undisturbed_one(torture: Torture) -> None:
    before = torture.account.kills.total()
    account = torture.torture(before + 8, seed=1)
    assert account.kills.total() >= before + 8
    assert account.same == account.runs >= 1


def test_a_server_that_dies_and_lies_changes_nothing_either(torture: Torture) -> None:
    runs, kills = torture.account.runs, torture.account.kills.total()
    with torture.disturbed(faults=True, server_kills=True, seed=2):
        account = torture.torture(kills + 2, seed=2)
    assert account.same == account.runs > runs
    assert account.faults > 0

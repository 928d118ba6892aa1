"""What is told while something takes long."""

from __future__ import annotations

import time

import pytest

from cai.cli import console
from cai.cli.console import waiting


def test_a_wait_is_told_after_some_seconds_and_then_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "PATIENCE_S", 0.05)
    monkeypatch.setattr(console, "REMIND_S", 0.1)
    with waiting("Building the dataset of runs/[x]"):
        time.sleep(0.6)
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert lines[0] == "Building the dataset of runs/[x] ..."
    assert lines[1] == "Building the dataset of runs/[x]: 0 min so far"
    assert said.out == ""


def test_what_is_quick_is_not_told_and_a_fault_goes_through(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("Building"):
        pass
    with pytest.raises(KeyboardInterrupt), waiting("Building"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""

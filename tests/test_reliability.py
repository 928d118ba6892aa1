"""docs/reliability.md names a test for each promise; each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reliability.md"


def test_every_test_that_the_page_on_reliability_names_is_there() -> None:
    file = ""
    named = 0
    for found in re.finditer(r"`(?:tests/)?(test_\w+\.py)?::(test_\w+)`", PAGE.read_text("utf-8")):
        file = found.group(1) or file
        assert f"def {found.group(2)}(" in (TESTS / file).read_text("utf-8"), found.group()
        named += 1
    assert named > 20

"""Promises of the review sheet in a browser: answered by keyboard and mouse, saved, read back.

Needs Chromium on the path; nothing is downloaded, nothing leaves the page.

What this module does not know: how the sample is drawn (test_review.py).
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cai.cli import _verbs, app
from cai.review import read_answers, read_key, read_reviewers
from cai.review.sheet import Shown, sheet_html, visible
from tests.test_review import HOSTILE, exported, made_run

playwright = pytest.importorskip("playwright.sync_api")
from playwright.sync_api import Browser, Dialog, Page, sync_playwright  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for this module."""
    with sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM)
        yield made
        made.close()


class Opened:
    """A page with everything that it said and asked for."""

    def __init__(self, browser: Browser, path: Path, **options: object) -> None:
        self.context = browser.new_context(accept_downloads=True, **options)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.url = path.resolve().as_uri()
        self.page.goto(self.url)

    def _dialog(self, dialog: Dialog) -> None:
        self.said.append(dialog.message)
        dialog.dismiss()

    def answered(self) -> int:
        """How many items the page counts as answered."""
        return int((self.page.text_content("#count") or "").split(", ")[1].split()[0])

    def is_quiet(self) -> bool:
        """Whether nothing was said and nothing but the page (and its own file) was asked for."""
        return not self.said and all(url == self.url or url.startswith("blob:") for url in self.asked)


def saved(page: Page, place: Path) -> Path:
    """The file that the page saves."""
    with page.expect_download() as waiting:
        page.click("#save")
    waiting.value.save_as(place)
    return place


def test_a_person_clicks_through_saves_and_the_verb_reads_it_back(browser: Browser, tmp_path: Path) -> None:
    run = made_run(tmp_path / "knit", 60)
    folder, key = exported(run, 20)
    opened = Opened(browser, folder / "sheet.html")
    page = opened.page
    assert page.is_visible("#warning")
    assert not page.is_visible("#prompt")
    assert page.text_content("#one") == "", "no text before the warning is taken"
    page.keyboard.press("1")
    page.click("#begin")
    assert opened.answered() == 0, "a key before the warning is no answer"
    for number in range(20):
        shown = page.text_content("#count") or ""
        assert shown.startswith(f"Pair {number + 1} of 20, {number} answered")
        if number % 2:
            page.keyboard.press("12345"[number // 2 % 5])
        else:
            page.click(f"#choices button:nth-child({number // 2 % 5 + 1})")
    assert "All pairs are answered" in (page.text_content("#state") or "")
    path = saved(page, tmp_path / "mine.csv")
    assert page.get_attribute("#progress", "value") == "20"
    expected = [["1", "2", "equal", "both-bad", "skip"][number // 2 % 5] for number in range(20)]
    assert list(read_answers(path, key, "ann").answers.values()) == expected
    if not app.registered_commands:
        _verbs()
    done = CliRunner().invoke(app, ["review", str(run), "--answers", str(path), "--reviewer", "ann"])
    assert done.exit_code == 0, done.output
    assert "4 equal" in done.output
    read = read_key(folder)
    assert read is not None
    assert Counter(read_reviewers(folder, read)[0].answers.values()) == dict.fromkeys(set(expected), 4)
    assert opened.is_quiet(), (opened.said, opened.asked)


def test_the_responses_stand_as_the_key_says_and_an_answer_can_be_changed(
    browser: Browser, tmp_path: Path
) -> None:
    folder, key = exported(made_run(tmp_path / "knit", 60), 20)
    opened = Opened(browser, folder / "sheet.html")
    page = opened.page
    page.click("#begin")
    said = {}
    for item in key.items:
        ends_in_x = [(page.text_content(name) or "").endswith("x") for name in ("#one", "#two")]
        assert ends_in_x.index(False) + 1 == item.human, "only the other response's word ends in x"
        said[item.item] = str(item.human)
        page.keyboard.press(str(item.human))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("3")
    page.keyboard.press("Control+1")
    said[key.items[-2].item] = "equal"
    pressed = page.locator('#choices [aria-pressed="true"]')
    assert pressed.count() == 1
    found = read_answers(saved(page, tmp_path / "mine.csv"), key, "ann")
    assert found.answers == said
    assert opened.is_quiet(), (opened.said, opened.asked)


def test_answers_are_there_again_when_the_page_is_opened_again(browser: Browser, tmp_path: Path) -> None:
    folder, key = exported(made_run(tmp_path / "knit", 60), 20)
    opened = Opened(browser, folder / "sheet.html")
    page = opened.page
    page.click("#begin")
    page.keyboard.press("1")
    page.keyboard.press("4")
    page.reload()
    page.click("#begin")
    assert opened.answered() == 2
    assert (page.text_content("#count") or "").startswith("Pair 3 of 20"), "goes on at the first open item"
    found = read_answers(saved(page, tmp_path / "mine.csv"), key, "ann")
    assert list(found.answers.values()) == ["1", "both-bad"]
    assert found.blank == 18


def test_without_storage_the_page_says_so_and_still_saves(browser: Browser, tmp_path: Path) -> None:
    folder, key = exported(made_run(tmp_path / "knit", 60), 20)
    opened = Opened(browser, folder / "sheet.html")
    opened.context.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }})"
    )
    page = opened.page
    page.reload()
    page.click("#begin")
    assert "keeps nothing" in (page.text_content("#state") or "")
    page.keyboard.press("2")
    found = read_answers(saved(page, tmp_path / "mine.csv"), key, "ann")
    assert list(found.answers.values()) == ["2"]
    assert not opened.said


def test_hostile_text_is_shown_as_text_and_does_nothing(browser: Browser, tmp_path: Path) -> None:
    texts = [
        *HOSTILE,
        "<img src=x onerror=alert(1)>",
        "<script src=https://example.org/x.js></script>",
        '"><svg onload=alert(1)>',
        "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
        "<style>*{display:none}</style>",
        "]]>-->\\u003c/script>",
        "word" * 5000,
    ]
    items = [
        Shown(f"s00000000-{i:08x}", ((text, text), ("user", text)), (text, text))
        for i, text in enumerate(texts)
    ]
    path = tmp_path / "sheet.html"
    path.write_bytes(sheet_html("0" * 32, items))
    opened = Opened(browser, path, viewport={"width": 360, "height": 700})
    page = opened.page
    page.click("#begin")
    for text in texts:
        assert page.text_content("#one") == visible(text)
        assert page.locator("#item img, #item iframe, #item svg, #item script, #item style").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, (
            "no sideways scrolling on a phone"
        )
        page.keyboard.press("5")
    assert opened.is_quiet(), (opened.said, opened.asked)


def test_the_policy_refuses_any_other_script_and_any_network(browser: Browser, tmp_path: Path) -> None:
    folder, _ = exported(made_run(tmp_path / "knit", 60), 20)
    opened = Opened(browser, folder / "sheet.html")
    ran = opened.page.evaluate(
        """async () => {
            const made = document.createElement("script");
            made.textContent = "window.ran = true";
            document.body.append(made);
            const net = await fetch("https://example.org/").then(() => "sent", () => "refused");
            return [window.ran === true, net];
        }"""
    )
    assert ran == [False, "refused"]
    assert any("Content Security Policy" in text for text in opened.said)

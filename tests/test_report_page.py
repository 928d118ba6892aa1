"""The report in a real browser: filters, order, search, links, keyboard, hidden texts, phone, print.

What this module does not know: how the file is made (test_report.py).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import pytest

from cai.report import write_report
from tests.report_inputs import HOSTILE_SUBSET, made_run

pytest.importorskip("playwright", reason="Playwright's Python package is not installed")
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

FLIP = "row-000003"
PHONE = {"width": 360, "height": 740}
SLOW_MS = 30_000
"""For machines with more tests than cores."""
Open = Callable[..., Page]
expect.set_options(timeout=SLOW_MS)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(*made_run(tmp_path_factory.mktemp("report")))


@pytest.fixture(scope="module")
def data(report: Path) -> dict[str, Any]:
    """What the page's script is given."""
    text = report.read_text("utf-8").split('<script type="application/json" id="data">')[1]
    found: dict[str, Any] = json.loads(text.split("</script>")[0])
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, report: Path) -> Iterator[Open]:
    """Opens the report; at the end, whatever a test did, the page must have been quiet and alone."""
    contexts, said, asked = [], [], []

    def start(address: str = "", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1000, "height": 800}, **options})
        contexts.append(context)
        context.set_default_timeout(SLOW_MS)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(report.as_uri() + address)
        return page

    yield start
    titles = [page.title() for context in contexts for page in context.pages]
    for context in contexts:
        context.close()
    assert said == []
    assert {url.split("#")[0] for url in asked} == {report.as_uri()}
    assert set(titles) == {"runs/first: AI labels beside human ones"}, "text of the dataset ran as a script"


def names(page: Page) -> list[str]:
    """Ids of the rows that are shown, in their order."""
    found: list[str] = page.eval_on_selector_all(
        "#rows-table button[data-row]", "all => all.map(one => one.dataset.row)"
    )
    return found


def all_rows(page: Page) -> list[str]:
    """The same, with the rest of the list shown too."""
    if page.locator("#more-rows").is_visible():
        page.click("#more-rows")
    return names(page)


def show_texts(page: Page) -> None:
    page.locator("button[data-show-texts]").first.click()


# ---------------------------------------------------------------------- texts


def test_texts_are_hidden_until_they_are_asked_for(visit: Open, data: dict[str, Any]) -> None:
    page = visit(f"#row={FLIP}")
    hidden = ("Question 3?", "bad 3", "but kinder and truer than before", "critique 1")
    for text in hidden:
        assert text not in page.inner_text("main")
    assert all(text in ("hidden",) for text in page.locator("[data-text]").all_inner_texts())
    show_texts(page)
    for text in hidden:
        assert text in page.inner_text("main")
    assert page.locator("[data-text]").first.inner_text() == data["texts"][0]
    show_texts(page)
    assert "bad 3" not in page.inner_text("main")


def test_texts_are_hidden_again_after_a_reload(visit: Open) -> None:
    page = visit(f"#row={FLIP}")
    show_texts(page)
    assert "bad 3" in page.inner_text("main")
    page.reload()
    assert "bad 3" not in page.inner_text("main")


def test_hostile_text_is_shown_as_it_is_and_makes_no_element(visit: Open, data: dict[str, Any]) -> None:
    page = visit()
    show_texts(page)
    all_rows(page)
    for row in data["rows"]:
        page.evaluate("id => { location.hash = `row=${id}`; }", row["id"])
        expect(page.locator("tr.about")).to_have_count(1)
    assert page.locator("#rows-table :is(img, script, b, i, iframe)").count() == 0
    page.evaluate("location.hash = 'row=row-000024'")
    shown = page.locator("tr.about").inner_text()
    assert "U+202E" in shown
    assert "\u202e" not in page.inner_text("body")
    page.evaluate("location.hash = 'row=row-000008'")
    expect(page.locator("tr.about")).to_contain_text("<img src=x onerror=\"document.title = 'run'\">")


def test_a_word_diff_marks_what_is_gone_and_what_is_new(visit: Open) -> None:
    page = visit()
    cases = [
        ["the cat sat down", "the dog sat down there", [["same", "the "], ["gone", "cat "], ["come", "dog "], ["same", "sat down "], ["come", "there"]]],
        ["same words", "same\nwords", [["same", "same\nwords"]]],
        ["one two three it four five six", "a b c it d e f", [["gone", "one two three it four five six"], ["come", "a b c it d e f"]]],
        ["one two three it four five six", "a b c it d e f", [["gone", "one two three it four five six"], ["come", "a b c it d e f"]]],
        ["", "new", [["come", "new"]]],
        ["old", "", [["gone", "old"]]],
    ]  # fmt: skip
    for before, after, expected in cases:
        found = page.evaluate("([a, b]) => difference(a, b)", [before, after])
        assert [[kind, text.strip()] for kind, text in found] == [
            [kind, text.strip()] for kind, text in expected
        ]
    page = visit(f"#row={FLIP}")
    show_texts(page)
    assert page.locator("tr.about ins").first.text_content() == "[new: but kinder and truer than before] "


def test_a_diff_of_long_texts_is_quick_and_loses_nothing(visit: Open) -> None:
    page = visit()
    found = page.evaluate(
        """() => {
          const a = Array.from({ length: 3000 }, (_, i) => `a${i * 7 % 1000}`).join(" ");
          const b = Array.from({ length: 3000 }, (_, i) => `a${i * 11 % 1000}`).join(" ");
          const start = performance.now();
          const parts = difference(a, b);
          const side = (kind) => parts.filter(([k]) => k !== kind).map(([, t]) => t).join("").split(/\\s+/).filter(Boolean).join(" ");
          return [performance.now() - start, side("come") === a, side("gone") === b];
        }"""
    )
    assert found[0] < 10_000
    assert found[1:] == [True, True]


# ---------------------------------------------------------------------- choosing rows


def test_each_filter_shows_the_rows_it_names_and_no_others(visit: Open, data: dict[str, Any]) -> None:
    rows = data["rows"]
    number = data["principles"].index("p2")
    flagged = [
        row["id"]
        for row in rows
        if "cut" in [flag for item in row["revisions"] for turn in item["rounds"] for flag in turn["flags"]]
    ]
    expected = {
        ("list", "label issues"): [row["id"] for row in rows if "label issues" in row["lists"]],
        ("subset", HOSTILE_SUBSET): [row["id"] for row in rows if row["subset"] == HOSTILE_SUBSET],
        ("principle", "j:p2"): [row["id"] for row in rows if number in row["against"]],
        ("flag", "cut"): flagged,
    }
    page = visit()
    assert all_rows(page) == [row["id"] for row in rows]
    for (name, value), found in expected.items():
        page.click("#clear")
        page.select_option(f"#choose-{name}", value)
        assert 0 < len(found) < len(rows)
        assert all_rows(page) == found
        assert f"{len(found)} of {len(rows)} rows" in page.inner_text("#count")


def test_filters_work_together_and_stand_in_the_address(visit: Open, data: dict[str, Any]) -> None:
    page = visit()
    page.select_option("#choose-list", "flips")
    page.select_option("#choose-subset", HOSTILE_SUBSET)
    expected = [
        row["id"] for row in data["rows"] if "flips" in row["lists"] and row["subset"] == HOSTILE_SUBSET
    ]
    assert names(page) == expected
    assert page.evaluate("location.hash") == "#" + urlencode({"list": "flips", "subset": HOSTILE_SUBSET})
    again = visit(page.evaluate("location.hash"))
    assert names(again) == expected
    assert again.input_value("#choose-subset") == HOSTILE_SUBSET


def test_nothing_found_is_said(visit: Open) -> None:
    page = visit()
    page.fill("#choose-q", "no such thing")
    assert names(page) == []
    assert page.inner_text("#count").startswith("0 of ")
    page.click("#clear")
    assert len(names(page)) == 25


def test_search_looks_at_names_and_at_texts_only_once_they_are_shown(visit: Open) -> None:
    page = visit()
    page.fill("#choose-q", "000003 FLIPS")
    assert names(page) == [FLIP]
    page.fill("#choose-q", "wwwwwwww")
    assert names(page) == []
    show_texts(page)
    assert names(page) == ["row-000040"]


@pytest.mark.parametrize("key, name", [("ai", "ai"), ("orders", "orders")])
def test_a_column_sorts_down_then_up_then_as_listed(
    visit: Open, data: dict[str, Any], key: str, name: str
) -> None:
    page = visit()
    value = {row["id"]: row[name] for row in data["rows"]}
    head = page.locator(f"button[data-sort={key}]")
    head.click()
    down = [value[row] for row in all_rows(page)]
    known = [number for number in down if number is not None]
    assert known == sorted(known, reverse=True)
    assert down[: len(known)] == known, "what has no value comes last"
    assert head.locator("xpath=..").get_attribute("aria-sort") == "descending"
    head.click()
    up = [value[row] for row in all_rows(page)]
    assert up[: len(known)] == sorted(known)
    head.click()
    assert all_rows(page) == [row["id"] for row in data["rows"]]
    assert head.locator("xpath=..").get_attribute("aria-sort") == "none"


# ---------------------------------------------------------------------- links


def test_a_deep_link_opens_its_row_wherever_it_stands(visit: Open, data: dict[str, Any]) -> None:
    last = data["rows"][-1]["id"]
    page = visit(f"#row={last}")
    button = page.locator(f"button[data-row='{last}']")
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(button).to_be_focused()
    expect(button).to_be_in_viewport()
    assert f"cai show runs/first --row {last}" in page.inner_text("tr.about")


def test_a_deep_link_to_a_row_that_is_not_there_names_the_command(visit: Open) -> None:
    page = visit("#row=ffff")
    assert page.inner_text("#count") == "Row ffff is not on this page; type: cai show runs/first --row ffff"


def test_a_hostile_address_does_nothing(visit: Open) -> None:
    page = visit(
        "#" + urlencode({"row": "'\"]<b>", "sort": "constructor", "list": "<img src=x>", "q": "</script>"})
    )
    assert names(page) == []
    assert page.locator("#count b, #count img").count() == 0


def test_figures_lead_to_rows(visit: Open, data: dict[str, Any]) -> None:
    page = visit()
    page.locator("#revisions").get_by_role("link", name="cut", exact=True).click()
    expect(page.locator("#choose-flag")).to_have_value("cut")
    expect(page.locator("#rows h2")).to_be_in_viewport()
    page.locator("#principles").get_by_role("link", name="p1", exact=True).click()
    expect(page.locator("#choose-principle")).to_have_value("j:p1")
    page.go_back()
    expect(page.locator("#choose-flag")).to_have_value("cut")
    links = page.eval_on_selector_all("main a[href*='=']", "all => all.map(one => one.hash)")
    listed = {row["id"] for row in data["rows"]}
    for link in links:
        if link.startswith("#row="):
            assert link[5:] in listed


def test_a_link_to_a_group_says_how_many_of_its_rows_are_on_the_page(
    visit: Open, data: dict[str, Any]
) -> None:
    page = visit()
    link = page.locator("#revisions").get_by_role("link", name="cut", exact=True)
    flags = [
        {flag for item in row["revisions"] for turn in item["rounds"] for flag in turn["flags"]}
        for row in data["rows"]
    ]
    count = sum(
        "cut" in found or "cut" in row["flags"] for found, row in zip(flags, data["rows"], strict=True)
    )
    assert count
    expect(link.locator("xpath=following-sibling::span[1]")).to_have_text(f" {count} shown here")
    rows = page.locator("main a[href*='#row='] + .on-page")
    assert rows.count() == 0


def test_what_a_judge_said_and_reasoned_is_shown_once_texts_are(visit: Open) -> None:
    page = visit(f"#row={FLIP}")
    assert page.locator(".spoken").count() == 0
    show_texts(page)
    page.locator(".spoken summary").first.click()
    expect(page.locator(".spoken").first).to_contain_text("I would rather not <b>choose</b>.")
    expect(page.locator(".spoken").first).to_contain_text("Both are poor.")


# ---------------------------------------------------------------------- keyboard, and those who listen


def test_rows_are_walked_opened_and_closed_by_keyboard(visit: Open) -> None:
    page = visit()
    rows = names(page)
    page.locator(f"button[data-row='{rows[0]}']").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(f"button[data-row='{rows[1]}']")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(f"button[data-row='{rows[1]}']")).to_have_attribute("aria-expanded", "true")
    assert page.evaluate("location.hash") == f"#row={rows[1]}"
    page.keyboard.press("Tab")
    expect(page.locator("tr.about button").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(f"button[data-row='{rows[1]}']")).to_be_focused()
    assert page.locator("tr.about").count() == 0
    page.keyboard.press("ArrowUp")
    expect(page.locator(f"button[data-row='{rows[0]}']")).to_be_focused()
    page.keyboard.press("End")
    expect(page.locator(f"button[data-row='{rows[-1]}']")).to_be_focused()


def test_the_first_stop_skips_to_the_rows_and_focus_can_be_seen(visit: Open) -> None:
    page = visit()
    page.keyboard.press("Tab")
    skip = page.locator("a.skip")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#rows h2")).to_be_in_viewport()


def test_tables_controls_and_charts_have_names_for_those_who_do_not_see_them(visit: Open) -> None:
    page = visit(f"#row={FLIP}")
    show_texts(page)
    unnamed = page.evaluate(
        """() => [
          ...[...document.querySelectorAll("table")].filter((t) => !t.caption && !t.ariaLabel),
          ...[...document.querySelectorAll("svg[role=img]")].filter((s) => !s.getAttribute("aria-label")),
          ...[...document.querySelectorAll("svg:not([role=img])")].filter((s) => s.getAttribute("aria-hidden") !== "true"),
          ...[...document.querySelectorAll("input, select")].filter((c) => !c.labels.length),
          ...[...document.querySelectorAll("button")].filter((b) => !b.textContent.trim()),
        ].map((element) => element.outerHTML.slice(0, 100))"""
    )
    assert unnamed == []
    tree = page.locator("#rows-table").aria_snapshot()
    assert tree.startswith("- table")
    assert "columnheader" in tree
    assert "rowheader" in tree
    assert page.get_attribute("#count", "aria-live") == "polite"
    levels = page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map(one => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1


@pytest.mark.parametrize("scheme, width", [("light", 1000), ("dark", 360)])
def test_the_accessibility_checker_finds_nothing(
    browser: Browser, report: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    size: Any = {"width": width, "height": 800}
    context = browser.new_context(bypass_csp=True, color_scheme=scheme, viewport=size)
    page = context.new_page()
    page.goto(f"{report.as_uri()}#row={FLIP}")
    show_texts(page)
    found = axe.Axe().run(page).response["violations"]
    context.close()
    assert [(item["id"], item["nodes"][0]["html"][:100]) for item in found] == []


def test_a_command_is_copied(visit: Open) -> None:
    page = visit(f"#row={FLIP}", permissions=["clipboard-read", "clipboard-write"])
    page.locator("tr.about .command button").click()
    expect(page.locator("#count")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == f"cai show runs/first --row {FLIP}"


# ---------------------------------------------------------------------- phone, dark, print

CONTRAST = """() => {
  const rgb = (text) => { const c = document.createElement("canvas").getContext("2d"); c.fillStyle = text; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] / 255 + under[i] * (1 - top[3] / 255));
  const light = ([r, g, b]) => { const f = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const under = (element) => { const layers = []; for (let e = element; e; e = e.parentElement) layers.push(rgb(getComputedStyle(e).backgroundColor)); return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]); };
  const low = new Set();
  for (const element of document.querySelectorAll("body *")) {
    if (![...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !element.getClientRects().length) continue;
    if (["SCRIPT", "STYLE", "OPTION", "OPTGROUP"].includes(element.tagName) || element.closest("svg")) continue;
    const back = under(element), front = over(rgb(getComputedStyle(element).color), back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.add(`${element.tagName}.${element.className}`);
  }
  return [...low];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(visit: Open, scheme: str) -> None:
    page = visit(f"#row={FLIP}", color_scheme=scheme)
    show_texts(page)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(252, 252, 250)"
    assert dark == (scheme == "dark")
    assert page.evaluate(CONTRAST) == []


def test_colours_can_be_turned_against_the_systems(visit: Open) -> None:
    page = visit(color_scheme="dark")
    back = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(back)
    page.click("#theme")
    assert page.inner_text("#theme") == "Colours: light"
    light = page.evaluate(back)
    assert light != dark
    page.click("#theme")
    assert page.evaluate(back) == dark
    page.click("#theme")
    assert page.inner_text("#theme") == "Colours: system"


@pytest.mark.parametrize("width", [360, 320, 768])
def test_nothing_is_wider_than_a_narrow_page(visit: Open, width: int) -> None:
    page = visit(f"#row={FLIP}", viewport={"width": width, "height": 740})
    show_texts(page)
    for item in page.locator("details").all():
        item.evaluate("one => { one.open = true; }")
    page.evaluate("location.hash = 'row=row-000040'")  # a word of 4,000 letters
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("tr.about").scroll_into_view_if_needed()
    wide = page.evaluate(
        """() => [...document.querySelectorAll("main *")]
          .filter((e) => e.getClientRects().length && !e.closest(".matrix, .unseen, thead, svg") && e.getBoundingClientRect().right > innerWidth + 1)
          .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert wide == []


def test_a_phone_can_be_touched(visit: Open) -> None:
    page = visit(viewport=PHONE, has_touch=True, is_mobile=True)
    row = names(page)[0]
    page.locator(f"button[data-row='{row}']").tap()
    expect(page.locator("tr.about")).to_have_count(1)
    assert page.evaluate("visualViewport.scale") == 1


def test_print_is_light_unfolded_and_without_controls(visit: Open) -> None:
    page = visit(f"#row={FLIP}", color_scheme="dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("details:not([open])").count() == 0
    for control in ("#theme", "#clear", ".filters", "nav"):
        assert not page.locator(control).first.is_visible()
    expect(page.locator("#verdict")).to_be_visible()
    expect(page.locator("svg.chart").first).to_be_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert page.pdf().startswith(b"%PDF")


def test_the_figures_are_read_without_a_script_and_the_page_says_what_is_missing(
    browser: Browser, report: Path
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    text = page.inner_text("body")
    context.close()
    assert "Key figures" in text
    assert "The table of rows needs this page's own script" in text
    assert "kinder and truer" not in text
    assert "Show texts" not in text

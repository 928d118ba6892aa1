"""Constitutions: what is written is checked at once, with its place; draws move little and only when they must."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cai.constitution_file import load_constitution
from cai.errors import ConstitutionError
from cai.principle import FORMS, Constitution

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = sorted((ROOT / "principles").glob("*.yaml"))


def _write(folder: Path, ids: list[str], change: str = "") -> Path:
    lines = ["constitution: own", "title: Own", "principles:"]
    for name in ids:
        lines += [f"  - id: {name}"] + [f"    {form}: {form} of {name}{change}" for form in FORMS]
    path = folder / "own.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _own(folder: Path, ids: list[str]) -> Constitution:
    return load_constitution(_write(folder, ids))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_constitutions_load_and_every_form_stands(path: Path) -> None:
    constitution = load_constitution(path)
    for principle in constitution.principles:
        assert principle.judgement.endswith("?")
        assert all(getattr(principle, form) for form in FORMS)
        assert "(A)" not in principle.judgement


def test_the_harmless_constitution_covers_the_harms_it_promises() -> None:
    constitution = load_constitution(ROOT / "principles" / "harmless.yaml")
    assert len(constitution.principles) >= 16
    tags = {tag for principle in constitution.principles for tag in principle.tags}
    assert len(tags) >= 16


def test_a_form_knows_its_file_and_line(tmp_path: Path) -> None:
    constitution = _own(tmp_path, ["one", "two"])
    value = constitution.value(constitution.principles[1], "critique")
    assert value.origin == f"{tmp_path.name}/own.yaml:11"
    assert value.text == "critique of two"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Own", "titel: Own", r"own.yaml:2:1: unknown key 'titel', did you mean 'title'\?"),
        ("id: two", "id: one", r"own.yaml:9:5: the id 'one' is taken by the principle at line 4"),
        ("critique: critique of two", "critique: ''", r"own.yaml:11:5: principles.1.critique"),
        ("text: text of one", "text: 7", r"own.yaml:5:5"),
        ("id: two", "id: Two!", r"own.yaml:9:5"),
        ("constitution: own", "constitution: other", r"own.yaml:1:1: the file is called 'own'"),
        ("text: text of one", "text: use {{ response }}", r"own.yaml:5:5: text holds template marks"),
        ("title: Own", "title: Own\ntitle: Again", r"own.yaml:3:1"),
        ("title: Own", "title: &x Own\nlicence: *x", r"anchors"),
        ("  - id: one", "\t- id: one", r"own.yaml:4:1"),
        (
            "title: Own",
            "title: Own\nareas: !!python/name:os.x [a]",
            r"3:1: the YAML tag !!python/name:os.x is not",
        ),
        ("title: Own", "title: !!set {Own}", r"own.yaml:2:1: the YAML tag !!set is not known here"),
        ("text: text of one", "text: !bare words", r"own.yaml:5:5: the YAML tag !bare is not known here"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = _write(tmp_path, ["one", "two"])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ConstitutionError, match=message):
        load_constitution(path)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    path = _write(tmp_path, ["one", "two"])
    path.write_text(path.read_text().replace("title: Own", "titel: Own").replace("text of two", "''"))
    path.write_text(path.read_text().replace("text: ''", "texxt: x"))
    with pytest.raises(ConstitutionError) as caught:
        load_constitution(path)
    assert len([line for line in caught.value.problem.splitlines() if "own.yaml:" in line]) >= 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"- a\n- b\n", "keys and values"),
        (b"a: [", "own.yaml:"),
        (b"", "keys and values"),
    ],
)
def test_a_file_that_is_no_constitution_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(data)
    with pytest.raises(ConstitutionError, match=message):
        load_constitution(path)
    with pytest.raises(ConstitutionError, match="There is no file"):
        load_constitution(tmp_path / "absent.yaml")


def test_adding_a_principle_to_sixteen_moves_about_one_row_in_seventeen(tmp_path: Path) -> None:
    ids = [f"p{i}" for i in range(17)]
    before, after = _own(tmp_path, ids[:16]), _own(tmp_path, ids)
    rows = [f"row {i}" for i in range(3000)]
    moved = [r for r in rows if before.draw(0, r, "chosen", 1).id != after.draw(0, r, "chosen", 1).id]
    assert all(after.draw(0, r, "chosen", 1).id == "p16" for r in moved)
    assert len(moved) / len(rows) == pytest.approx(1 / 17, abs=0.015)


def test_reordering_the_file_moves_no_row(tmp_path: Path) -> None:
    ids = [f"p{i}" for i in range(16)]
    one, two = _own(tmp_path, ids), _own(tmp_path, ids[::-1])
    assert one.digest == two.digest
    for i in range(200):
        assert one.draw(0, f"row {i}", "chosen", 1).id == two.draw(0, f"row {i}", "chosen", 1).id


def test_draws_are_even_and_differ_by_round_and_response(tmp_path: Path) -> None:
    own = _own(tmp_path, [f"p{i}" for i in range(8)])
    counts = Counter(own.draw(3, f"row {i}", "chosen", 1).id for i in range(4000))
    assert min(counts.values()) > 400
    assert max(counts.values()) < 600
    same = sum(
        own.draw(3, f"row {i}", "chosen", 1).id == own.draw(3, f"row {i}", "chosen", 2).id for i in range(800)
    )
    assert same < 160


def test_k_principles_are_drawn_for_a_row_and_stand_in_file_order(tmp_path: Path) -> None:
    own = _own(tmp_path, [f"p{i}" for i in range(8)])
    chosen = [p.id for p in own.choose(0, "row", 3)]
    assert len(chosen) == 3
    assert chosen == sorted(chosen)
    assert own.choose(0, "row", None) == own.principles


def test_a_comment_or_a_source_does_not_change_what_a_constitution_is(tmp_path: Path) -> None:
    path = _write(tmp_path, ["one"])
    before = load_constitution(path).digest
    path.write_text("# a comment\n" + path.read_text() + "    source: a book\n")
    assert load_constitution(path).digest == before
    _write(tmp_path, ["one"], change=".")
    assert load_constitution(path).digest != before

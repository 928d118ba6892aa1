"""Exports a review sheet from a run's dataset: the page, the spreadsheet's file, and the key.

What this module does not know: how a sample is drawn (sample.py), how a sheet looks (sheet.py).
"""

from __future__ import annotations

from pathlib import Path

from cai.errors import ReviewError
from cai.review.key import KEY_FILE, Item, Key, Stratum, item_id, read_key, sheet_name, write_whole
from cai.review.pairs import HUMAN, Labelled, Texts, labelled_pairs, origin, texts
from cai.review.sample import Drawn, sample
from cai.review.sheet import Shown, sheet_csv, sheet_html


def export_review(dataset_folder: Path, folder: Path, size: int, seed: int | None, run: str) -> Key:
    """Draw a sample, write sheet.html, sheet.csv and key.json into `folder`; returns the key.

    `seed` None: the recipe's. The same sheet may be written again; another one is not replaced.
    Raises: RunError without a dataset; ReviewError where nothing can be drawn or another sheet lies.
    """
    made_from = origin(dataset_folder)
    seed = made_from.seed if seed is None else seed
    drawn = sample(labelled_pairs(dataset_folder, made_from.judge), size, seed)
    if not drawn:
        raise ReviewError(
            f"The dataset in {dataset_folder} holds no human pair judged by {made_from.judge!r}.",
            "Ask for feedback on human pairs in the recipe, run it, and build the dataset.",
        )
    rows = [item.pair.row_id for item in drawn]
    sheet = sheet_name(made_from.generation, seed, made_from.tie_threshold, rows)
    _refuse_another(folder, sheet)
    read = texts((item.pair for item in drawn), made_from.judge)
    items = tuple(_item(sheet, item, read[item.pair.row_id]) for item in drawn)
    strata: dict[str, Stratum] = {item.stratum.name: item.stratum for item in drawn}
    key = Key(
        sheet=sheet,
        run=run,
        generation=made_from.generation,
        tie_threshold=made_from.tie_threshold,
        judge=made_from.judge,
        seed=seed,
        strata=tuple(strata[name] for name in sorted(strata)),
        items=items,
    )
    shown = [_shown(item, read[item.row_id]) for item in items]
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / KEY_FILE, key.as_bytes())
    write_whole(folder / "sheet.csv", sheet_csv(shown))
    write_whole(folder / "sheet.html", sheet_html(sheet, shown))
    return key


def _refuse_another(folder: Path, sheet: str) -> None:
    there = read_key(folder)
    if there is not None and there.sheet != sheet:
        raise ReviewError(
            f"{folder} holds another sheet ({there.sheet[:8]}, {len(there.items)} items); "
            "its answers could not be read without its key.",
            "Write the new one elsewhere with --out FOLDER, or move the old folder away.",
        )


def _names(item: Drawn, read: Texts) -> tuple[str, str]:
    """The names of the responses, first and second as shown."""
    other = next(name for name in read.responses if name != HUMAN)
    return (HUMAN, other) if item.human_first else (other, HUMAN)


def _item(sheet: str, item: Drawn, read: Texts) -> Item:
    pair: Labelled = item.pair
    human = 1 if item.human_first else 2
    ai = None if pair.agrees is None else human if pair.agrees else 3 - human
    return Item(
        item=item_id(sheet, pair.row_id),
        row_id=pair.row_id,
        subset=pair.subset,
        split=pair.split,
        line=pair.line,
        first=_names(item, read)[0],
        human=human,
        ai=ai,
        ai_probability=pair.probability,
        stratum=item.stratum.name,
        weight=item.stratum.weight,
    )


def _shown(item: Item, read: Texts) -> Shown:
    second = next(name for name in read.responses if name != item.first)
    return Shown(item.item, read.prompt, (read.responses[item.first], read.responses[second]))

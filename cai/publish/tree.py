"""Which files of a run are published, under which names, in which form.

    README.md                       the card (the caller's; it stands on the other files)
    <config>/<split>-*.parquet      as `cai dataset` wrote them, with summary.json and excluded.jsonl
    comparison.json, report.html, report.md   where they are of this generation
    review/                         a person's answers: and the key to what they answered
    run/recipe.yaml                 the recipe, every default written out (portable.py)
    run/frozen/<generation>/        the one generation: constitutions, templates, examples
    run/frozen/engines/             who its engines are, under what the published recipe declares
    run/noise.json                  where it was measured
    run/rows/, run/store/           with the store (with_store.py)

Equal runs give equal files: no clock, no path, no order of a folder's listing is in them.

What this module does not know: the card, the Hub, what a reader does with the files.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson

from cai.engine.fingerprint import read_fingerprint
from cai.errors import PublishError
from cai.publish.file import PublishedFile, is_plain
from cai.publish.portable import Portable, portable, says_where
from cai.publish.with_store import store_files
from cai.reading import ReadRun
from cai.recipe import Recipe
from cai.run_folder import RunFolder
from cai.settled import declared_digest


def published_files(
    run: ReadRun,
    with_store: bool = False,
    place: Path | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> list[PublishedFile]:
    """Every file but the card and the manifest, by path.

    The dataset must have been built from the generation that `run` reads. `place`: a folder for
    what has to be made first (needed with the store); it must stay until the files are pushed.
    `told` is given a line now and then while the store's part is gathered: every row is replayed.
    Raises: PublishError where the dataset is missing or of another generation; ReviewError; OSError.
    """
    recipe = portable(run.recipe)
    files = [*_dataset(run), *_results(run), *_review(run)]
    files += [*_recipe(run, recipe), *_frozen(run, recipe.recipe), *_engines(run, recipe.recipe)]
    if run.run.noise.is_file():
        files.append(PublishedFile("run/noise.json", run.run.noise))
    _refuse_odd(files)
    if with_store:
        assert place is not None, "the store's files need a place"
        files += store_files(run, place, told)
    return sorted(files, key=lambda file: file.path)


def _refuse_odd(files: Iterable[PublishedFile]) -> None:
    """A name that whoever fetches it would refuse, so that nothing could be made again. Raises: PublishError."""
    for file in files:
        if not is_plain(file.path):
            raise PublishError(
                f"{file.path!r} has a name that does not stand for the same file everywhere.",
                "Rename that file without : and \\, and what names it, and run again: answers are kept.",
            )


def _dataset(run: ReadRun) -> Iterator[PublishedFile]:
    folder = run.run.dataset
    try:
        summary = orjson.loads((folder / "summary.json").read_bytes())
        generation, configs = summary["generation"], list(summary["configs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishError(
            f"The run {run.run.name} has no dataset that can be read.", f"Type: cai dataset {run.run.shown}"
        ) from error
    if generation != run.generation.digest:
        raise PublishError(
            f"The dataset in {folder} is of generation {generation[:12]}, and the run is at "
            f"{run.generation.digest[:12]}.",
            f"Type: cai dataset {run.run.shown}",
        )
    for config in configs:
        for path in sorted((folder / config).glob("*.parquet")):
            yield PublishedFile(f"{config}/{path.name}", path)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".jsonl") and path.is_file():
            yield PublishedFile(path.name, path)


def fitting_comparison(run: RunFolder, generation: str) -> bool:
    """Whether the run's comparison is there and of this generation."""
    try:
        return bool(orjson.loads(run.comparison.read_bytes())["generation"] == generation)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _results(run: ReadRun) -> Iterator[PublishedFile]:
    """The comparison and the report made with it (`cai publish` makes both anew)."""
    if not fitting_comparison(run.run, run.generation.digest):
        return
    for name in (run.run.comparison.name, "report.html", "report.md"):
        if (run.run.path / name).is_file():
            yield PublishedFile(name, run.run.path / name)


def _review(run: ReadRun) -> Iterator[PublishedFile]:
    """The answers to the sheet, and the key to the items that somebody answered.

    They stand in the dataset, of whichever generation the sheet is: the pairs are the humans'. Items
    without an answer are left out of the key, so that they can still be judged blind.
    """
    from cai.review import read_key, read_reviewers

    folder = run.run.path / "review"
    key = read_key(folder) if folder.is_dir() else None
    if key is None:
        return
    reviewers = [answers for answers in read_reviewers(folder, key) if answers.answers]
    answered = {item for answers in reviewers for item in answers.answers}
    if not answered:
        return
    items = tuple(item for item in key.items if item.item in answered)
    yield PublishedFile("review/key.json", replace(key, run="", items=items).as_bytes())
    for answers in reviewers:
        yield PublishedFile(f"review/answers-{answers.reviewer}.json", answers.as_bytes())


def _recipe(run: ReadRun, recipe: Portable) -> Iterator[PublishedFile]:
    lines = ["# The recipe of this dataset, every default written out."]
    lines += [f"# {note}" for note in recipe.notes]
    yield PublishedFile("run/recipe.yaml", "\n".join(lines).encode() + b"\n\n" + recipe_yaml(recipe.recipe))


def recipe_yaml(recipe: Recipe) -> bytes:
    """A recipe as YAML, every default written out."""
    from ruamel.yaml import YAML

    text = io.BytesIO()
    YAML(typ="rt").dump(recipe.model_dump(mode="json"), text)
    return text.getvalue()


def _frozen(run: ReadRun, recipe: Recipe) -> Iterator[PublishedFile]:
    """The generation's folder; its recipe is the one thing in it that knows the machine."""
    folder = run.generation.folder
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        name = path.relative_to(folder).as_posix()
        content: bytes | Path = path
        if name == "recipe.yaml":
            content = recipe_yaml(recipe)
        yield PublishedFile(f"run/frozen/{run.generation.digest}/{name}", content)


def _engines(run: ReadRun, recipe: Recipe) -> Iterator[PublishedFile]:
    """Who the engines are, under what the published recipe declares of them."""
    seen: set[str] = set()
    for name, identity in sorted(run.identities.items()):
        if name not in recipe.engines:
            continue
        nowhere = run.generation.folder / "engines"  # no script of the user's own lies there
        published = declared_digest(recipe.engines[name], nowhere)
        if published in seen:
            continue
        seen.add(published)
        record = orjson.dumps(identity.record(), option=orjson.OPT_INDENT_2)
        yield PublishedFile(f"run/frozen/engines/{published}.json", record)
        original = declared_digest(run.recipe.engines[name], run.run.path)
        fingerprint = run.run.frozen / "engines" / f"{original}.fingerprint.json"
        if fingerprint.is_file():
            yield PublishedFile(f"run/frozen/engines/{published}.fingerprint.json", _fingerprint(fingerprint))


def _fingerprint(path: Path) -> bytes:
    """A fingerprint without the folder that a server said its weights lie in. Raises: PublishError, OSError."""
    try:
        known = read_fingerprint(orjson.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError) as error:
        raise PublishError(
            f"{path} is no fingerprint of an engine.", "Remove it; the next `cai run` takes it again."
        ) from error
    if says_where(known.root):
        known = replace(known, root="")
    return orjson.dumps(known.record(), option=orjson.OPT_INDENT_2)

"""An evaluation put together: file, recipe, ways, engine and store; then its figures and its files.

In its folder (`runs/judge-eval-<file>/`, or another):

    store/            every answer, by digest: nothing paid for is lost, the same again asks nothing
    judge-eval.json   the figures (figures.py)
    answers.jsonl     each item's answer in each way, with the digests of its requests

The engine is one of a run's recipe, and is who that run knows it as; what the run has asked already is
answered from the run's store.

What this module does not know: the terminal.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson

from cai.errors import InputError
from cai.job import rows_in_flight
from cai.judge_eval.figures import FORM, FileFigures, JudgeEvaluation, JudgeFigures, LineFault
from cai.judge_eval.item import Item
from cai.judge_eval.measure import asked, clusters, differences, score, way_figures
from cai.judge_eval.measure_harm import harm_ratings
from cai.judge_eval.reading import Reading
from cai.judge_eval.verdict import HarmVerdict, Verdict
from cai.judge_eval.ways import Way, Ways, Wish
from cai.judge_eval.work import Work
from cai.run_folder import RunFolder
from cai.workbench.asking import Asking

FIGURES = "judge-eval.json"
ANSWERS = "answers.jsonl"


class LiveEvaluation:
    """An opened evaluation; use it as an asynchronous context manager.

    `limit`: the most items to ask about. Raises, here or on entering: InputError and its kinds,
    RunLockedError, StoreError, EngineError.
    """

    def __init__(
        self, run: RunFolder, reading: Reading, wish: Wish, folder: Path, limit: int | None = None
    ) -> None:
        from cai.recipe import load_recipe

        recipe = load_recipe(run.recipe)
        self.reading = reading
        self.folder = folder
        self.ways = Ways(recipe, run.path, reading.name, wish)
        self.items = reading.spread(limit, recipe.seed)
        self._check_ways()
        if (folder / "store").resolve() == run.store.resolve():
            raise InputError(
                f"{folder} is the run's own folder, and its store holds the run's answers alone.",
                "Give --out another folder, or leave it out.",
            )
        self.asking = Asking(run, [self.ways.engine], folder / "store")
        self.work: Work

    def _check_ways(self) -> None:
        if not any(way.fits(item) for way in self.ways.ways for item in self.items):
            named = ", ".join(way.name for way in self.ways.ways)
            raise InputError(
                f"No item of {self.reading.path} can be asked in the way {named}.",
                "Pairs can be asked in every way but verbatim; multiple choice always verbatim.",
            )

    async def __aenter__(self) -> Self:
        await self.asking.__aenter__()
        self.work = Work(self.items, self.ways.ways, self.asking)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.asking.__aexit__(*error)

    def stop(self) -> None:
        """End gently: what is under way is answered and kept."""
        self.work.stop()
        self.asking.ask.stop()

    async def go(self) -> None:
        """Ask about all items. Raises: EngineDownError, EngineRefusedError, StoreError."""
        engine = self.asking.engines[self.ways.engine]
        wanted = self.asking.recipe.run.rows_in_flight
        await self.work.work(rows_in_flight(wanted, {engine.name: engine.concurrency}))
        await self.asking.ask.store.synced()

    def figures(self) -> JudgeEvaluation:
        """What the answers come to."""
        seed = self.ways.recipe.seed
        cluster = clusters(self.items)
        compared = {
            way.name: asked(self.items, self.work.verdicts[way.name], cluster)
            for way in self.ways.ways
            if not way.is_harm
        }
        harm = None
        for way in self.ways.ways:
            if way.is_harm:
                verdicts = self.work.verdicts[way.name]
                harm = harm_ratings(self.items, verdicts, cluster, self._not_for(way), seed)
        return JudgeEvaluation(
            form=FORM,
            file=FileFigures(
                self.reading.name,
                len(self.reading.items),
                len(self.items),
                tuple(LineFault(item.line, item.reason) for item in self.reading.unreadable),
            ),
            judge=self._judge(),
            ways=tuple(
                way_figures(way, compared[way.name], self._not_for(way), seed)
                for way in self.ways.ways
                if not way.is_harm
            ),
            differences=differences(compared, seed),
            harm=harm,
            failed=tuple(LineFault(item.line, item.error) for item in self.work.failed),
        )

    def _not_for(self, way: Way) -> int:
        return sum(not way.fits(item) for item in self.items)

    def _judge(self) -> JudgeFigures:
        ways = self.ways
        identity = self.asking.identities[ways.engine]
        return JudgeFigures(
            engine=ways.engine,
            model=identity.model,
            revision=identity.revision,
            form=ways.form,
            identity=identity.digest,
            prompts=ways.prompts.digest,
            constitution=ways.constitution.name if ways.constitution is not None else None,
            min_option_mass=ways.feedback.min_option_mass,
            combine=ways.feedback.combine,
            seed=ways.recipe.seed,
        )

    def write(self, evaluation: JudgeEvaluation) -> Path:
        """Write both files; returns that of the figures. Raises: OSError."""
        answers = b"".join(
            orjson.dumps(line) + b"\n" for way in self.ways.ways for line in self._answers(way)
        )
        _replace(self.folder / ANSWERS, answers)
        _replace(self.folder / FIGURES, encode(evaluation))
        return self.folder / FIGURES

    def _answers(self, way: Way) -> list[dict[str, Any]]:
        lines = []
        for number, verdict in sorted(self.work.verdicts[way.name].items()):
            item = self.items[number]
            lines.append({"way": way.name, **_place(item), **_said(item, verdict)})
        return lines


def encode(evaluation: JudgeEvaluation) -> bytes:
    """The evaluation as JSON."""
    return orjson.dumps(
        asdict(evaluation),
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY,
    )


def _place(item: Item) -> dict[str, Any]:
    return {"item": item.id, "line": item.line, "category": item.category}


def _said(item: Item, verdict: Verdict | HarmVerdict) -> dict[str, Any]:
    about: dict[str, Any] = {
        "right": item.right,
        "harmful": item.harmful,
        "abstained": verdict.abstained,
        "too_long": verdict.too_long,
        "option_mass": verdict.option_mass,
        "requests": verdict.requests,
    }
    if isinstance(verdict, HarmVerdict):
        return {"ratings": verdict.ratings, **about}
    found = score(item, verdict)
    known = None if np.isnan(found) else found
    return {
        "probabilities": verdict.probabilities,
        "score": known,
        "orders_agree": verdict.orders_agree,
        **about,
    }


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes(data)
    draft.replace(path)

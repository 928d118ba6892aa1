"""How much a judge's answers move when the same is asked again: flips, spread, and the noise floor.

A sample of a run's finished rows is judged again: the same pairs, the same requests, in another
order and fewer at once, so that the engine batches them otherwise. Texts (revisions, reasonings)
are the run's own. Answers go to a store of their own, `RUN/workbench/noise/`; the run's is only
read. `RUN/noise.json` holds the figures:

    noise_floor   the 95th percentile of |second − first| over the pairs' probabilities, at most
                  0.49: a label whose probability lies nearer to 0.5 than this is a tie
    pairs         flips of the label's side, percentiles and mean of |second − first|
    judgements    the same of single judgements (a pair, a principle, an order)

What this module does not know: the terminal, how engines batch, how ties are made (cai/dataset).
Source: the floor is our choice: with equal and independent noise in both readings, a reading
leaves its mean by less than their difference does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from cai.abreast import by_workers
from cai.ask import Ask, RowAsk
from cai.compare import statistics
from cai.compare.estimates import Estimate, Rate
from cai.digest import draw
from cai.engine.identity import Identity
from cai.errors import RunError
from cai.live import lazy_engine
from cai.outcome import Feedback, Outcome
from cai.reading import ReadRun
from cai.request import Completion, GenerateRequest, Request, ScoreRequest, Scores, read_answer
from cai.run_folder import RunFolder
from cai.shortening import without_oldest
from cai.source import Row
from cai.steps import run_row
from cai.store import Store

FLOOR_QUANTILE = 0.95
FLOOR_MOST = 0.49
RESAMPLES = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Two readings of the same probabilities. `moved`: |second − first|, its mean and percentiles.

    `flips`: another side of 0.5. `unlike`: read once and abstained once, counted in nothing else.
    Intervals at 95 %: Wilson's, by row, for `flips`; resampled by row for the 95th percentile.
    """

    n: int
    flips: Rate
    mean: float | None
    median: float | None
    p95: Estimate
    most: float | None
    unlike: int


@dataclass(frozen=True)
class Noise:
    """What `noise.json` holds."""

    noise_floor: float
    rows: int
    judge: str
    generation: str
    concurrency: int
    pairs: Spread
    judgements: Spread


class _Again:
    """`ask` for one row: texts from the run's store, scores anew, in the other direction."""

    def __init__(self, kept: Store, fresh: RowAsk) -> None:
        self._kept = kept
        self._fresh = fresh
        self.row = fresh.row

    def digest(self, request: Request) -> str:
        """A request's identity."""
        return self._fresh.digest(request)

    async def generate(self, request: GenerateRequest) -> Completion:
        """The run's own text; asked for where it has none (what was said instead of an option)."""
        record = self._kept.get(self.digest(request))
        if record is None:
            return await self._fresh.generate(request)
        answer = read_answer(record.answer)
        assert isinstance(answer, Completion)
        return answer

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        """Asked again, the last first."""
        answers = await self._fresh.score(list(reversed(requests)))
        return answers[::-1]


async def measure(folder: RunFolder, sample: int, tell: Callable[[int, int], None]) -> Noise:
    """Ask a sample of the run's rows again and compare; `tell` hears how many rows are done, of how many.

    Raises: RunError where nothing was judged; RunLockedError; InputError and its kinds; EngineError.
    """
    with ReadRun(folder) as run:
        rows, before = _sampled(run, sample)
        if not rows:
            raise RunError(
                f"The run {folder.name} has no finished row with a judgement.",
                f"Type: cai run {folder.shown}",
            )
        judge = run.recipe.judges()[0]  # which makes the labels
        at_once = max(1, run.recipe.engines[judge].concurrency // 3)
        after = await _asked_again(run, rows, before, at_once, tell)
    pairs: list[tuple[int, float | None, float | None]] = []
    judged: list[tuple[int, float | None, float | None]] = []
    for number, row in enumerate(rows):
        for one, other in _matched(before[row.id], after[row.id]):
            pairs.append((number, one.probability, other.probability))
            both = zip(one.judgements, other.judgements, strict=True)
            judged += [(number, a.probability, b.probability) for a, b in both]
    spread = _spread(pairs)
    if spread.p95.value is None:
        raise RunError("No pair of the sample was judged both times.", "Take a larger --sample.")
    return Noise(
        noise_floor=min(FLOOR_MOST, spread.p95.value),
        rows=len(rows),
        judge=judge,
        generation=run.generation.digest,
        concurrency=at_once,
        pairs=spread,
        judgements=_spread(judged),
    )


def write_noise(folder: Path, noise: Noise) -> Path:
    """Write `noise.json`, whole or not at all. Raises: OSError."""
    path = folder / "noise.json"
    draft = path.with_suffix(".draft")
    draft.write_bytes(orjson.dumps(asdict(noise), option=orjson.OPT_INDENT_2) + b"\n")
    draft.replace(path)
    return path


def _sampled(run: ReadRun, sample: int) -> tuple[list[Row], dict[str, Outcome]]:
    """The rows to ask again, in an order of their own, and their outcomes."""
    ids = sorted((row for row, _ in run.source.ids()), key=lambda row: draw(0, "noise", row))
    chosen: dict[str, Outcome] = {}
    for row in ids:
        if len(chosen) == sample:
            break
        chosen.update((key, item) for key, item in run.outcomes([row]).items() if item.feedback)
    found = {row.id: row for row in run.source.items(only=chosen.__contains__) if isinstance(row, Row)}
    return [found[row] for row in chosen if row in found], chosen


async def _asked_again(
    run: ReadRun,
    rows: Sequence[Row],
    before: Mapping[str, Outcome],
    at_once: int,
    tell: Callable[[int, int], None],
) -> dict[str, Outcome]:
    """Their outcomes; each prompt without the turns that the run did without."""
    names = run.recipe.engines_used()
    engines = {name: lazy_engine(run.recipe, run.run, name) for name in names}
    identities: dict[str, Identity] = dict(run.identities)
    with Store(run.run.path / "workbench" / "noise", writable=True) as own:
        ask = Ask(own, engines, identities)
        own.start()
        done: dict[str, Outcome] = {}
        left = iter(enumerate(rows))

        async def work() -> None:
            for number, row in left:
                plan = run.plan(row.subset)
                assert plan is not None, "a row without a constitution has no feedback"
                again = _Again(run.store, ask.for_row(row.id, number))
                shown = without_oldest(row.prompt, before[row.id].turns_dropped)
                plan = replace(plan, judges=plan.judges[:1], harm=None, drop_oldest=False)
                done[row.id] = await run_row(replace(row, prompt=shown), plan, again)
                ask.leave(number)
                tell(len(done), len(rows))

        try:
            await by_workers(min(at_once, len(rows)), work)
        finally:
            for engine in engines.values():
                await engine.close()
            await own.stop()
    return done


def _matched(before: Outcome, after: Outcome) -> list[tuple[Feedback, Feedback]]:
    """The labelling judge's feedback on the same pairs, before and after."""

    def key(item: Feedback) -> tuple[str, str, str, str]:
        return item.kind, item.about, item.first, item.second

    known = {key(item): item for item in after.labelling}
    pairs = [(item, known[key(item)]) for item in before.labelling if key(item) in known]
    return [(one, other) for one, other in pairs if len(one.judgements) == len(other.judgements)]


def _spread(readings: Sequence[tuple[int, float | None, float | None]]) -> Spread:
    """Figures of (row, first reading, second reading)."""
    both = [(row, a, b) for row, a, b in readings if a is not None and b is not None]
    unlike = sum((a is None) != (b is None) for _, a, b in readings)
    rows = np.array([row for row, _, _ in both], np.int64)
    first = np.array([a for _, a, _ in both], np.float64)
    second = np.array([b for _, _, b in both], np.float64)
    moved = np.abs(second - first)
    flips = statistics.clustered_share((first - 0.5) * (second - 0.5) < 0, rows)
    if not both:
        return Spread(0, flips, None, None, Estimate(None, None, None, 0), None, unlike)
    return Spread(
        n=len(both),
        flips=flips,
        mean=float(moved.mean()),
        median=float(np.median(moved)),
        p95=_quantile(moved, rows),
        most=float(moved.max()),
        unlike=unlike,
    )


def _quantile(moved: Floats, rows: NDArray[np.int64]) -> Estimate:
    """The 95th percentile and its interval, whole rows drawn again (a percentile bootstrap)."""
    value = float(np.quantile(moved, FLOOR_QUANTILE))
    members = [np.flatnonzero(rows == row) for row in np.unique(rows)]
    drawn = np.random.default_rng(0)
    found = np.empty(RESAMPLES)
    for place in range(RESAMPLES):
        chosen = drawn.integers(0, len(members), len(members))
        found[place] = np.quantile(np.concatenate([moved[members[i]] for i in chosen]), FLOOR_QUANTILE)
    low, high = np.quantile(found, [0.025, 0.975])
    return Estimate(value, float(low), float(high), len(moved))

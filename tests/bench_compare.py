"""How long a comparison takes, and how much memory, on as many pairs as hh-rlhf has.

    python -m tests.bench_compare FOLDER [--pairs N] [--principles N]

Writes a synthetic dataset into FOLDER once (traces only: every column, texts short), then compares
it in a process of its own and prints seconds for each part and the peak memory. Planted in it: a
judge that is right in 70 % and likes long responses, so that no figure is empty.

What this module does not know: how a figure is computed.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cai.dataset import arrow_schema
from cai.dataset.trace_columns import TRACES
from cai.dataset.writer import _OPTIONS, ROW_GROUP_ROWS
from tests.own_memory import with_peak

SUBSETS = ("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=170_000)
    parser.add_argument("--principles", type=int, default=16)
    parser.add_argument("--revised", action="store_true", help="judge a revision of each row as well")
    parser.add_argument("--without-revisions", action="store_true")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    asked = parser.parse_args()
    dataset = asked.folder / "dataset"
    if not (dataset / "summary.json").exists():
        started = time.perf_counter()
        each = 2 if asked.revised else 1
        write(dataset, asked.pairs, asked.principles, each, not asked.without_revisions)
        print(f"written in {time.perf_counter() - started:.0f} s")
    if asked.here:
        measure(dataset)
    else:
        subprocess.run([sys.executable, "-m", "tests.bench_compare", str(asked.folder), "--here"], check=True)


def measure(dataset: Path) -> None:
    """Compare, and print what it took."""
    started = time.perf_counter()
    from cai.compare.trace_reading import read_traces

    traces = read_traces(dataset)
    read = time.perf_counter() - started
    parts = traces.parts.values()
    judged = sum(int(opinions["judged"].sum()) for part in parts for opinions in part.opinions.slices())
    print(f"{sum(len(part.pairs) for part in parts):,} pairs, {judged:,} judgements")
    print(f"  columns read      {read:6.1f} s")
    del traces, parts
    from cai.compare import compare, write_comparison

    started, used = time.perf_counter(), time.process_time()
    found, own = with_peak(lambda: compare(dataset))
    cpu = time.process_time() - used
    print(
        f"  whole comparison  {time.perf_counter() - started:6.1f} s ({cpu:.1f} s of CPU), reading included"
    )
    started = time.perf_counter()
    path = write_comparison(dataset.parent, found)
    print(f"  written           {time.perf_counter() - started:6.1f} s, {path.stat().st_size / 1e6:.1f} MB")
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  peak memory       {own:6.0f} MiB of its own, {whole:.0f} with libraries and mapped files")
    print(" ", " ".join(found.verdict))


def write(dataset: Path, pairs: int, principles: int, each: int, revisions: bool = True) -> None:
    """A dataset of `pairs` rows, with a human pair and (`each` 2) a revised one, group by group.

    `revisions`: whether each row also has a revision of two rounds.
    """
    (dataset / "traces").mkdir(parents=True, exist_ok=True)
    schema = arrow_schema(TRACES)
    generator = np.random.default_rng(5)
    with pq.ParquetWriter(dataset / "traces/train-00000.parquet", schema, **_OPTIONS) as file:
        for start in range(0, pairs, ROW_GROUP_ROWS):
            count = min(ROW_GROUP_ROWS, pairs - start)
            file.write_table(_group(schema, start, count, (each, principles), generator, revisions))
    settings: dict[str, Any] = {"seed": 1, "tie_threshold": 0.01, "noise_floor": None, "judges": ["judge"]}
    summary = {"generation": "0" * 32, "settings": settings, "rows": pairs, "finished": pairs}
    (dataset / "summary.json").write_bytes(orjson.dumps({**summary, "not_finished": 0, "excluded": {}}))


def _group(
    schema: Any, start: int, count: int, sizes: tuple[int, int], generator: Any, revisions: bool
) -> Any:
    number = np.arange(start, start + count)
    given: dict[str, Any] = {
        "row_id": [f"{item:032x}" for item in number],
        "subset": [SUBSETS[item % 4] for item in number],
        "split": ["train" if item % 20 else "test" for item in number],
        "line": number,
        "position": number,
        "cluster": [f"{item - item % 3 if item % 10 < 3 else item:016x}" for item in number],
        "turns": 1 + 2 * (number % 5),
        "feedback": _feedback(schema.field("feedback").type, count, *sizes, generator),
    }
    if revisions:
        given["revisions"] = _revisions(schema.field("revisions").type, count, generator)
    return pa.table([_column(field.type, count, given.get(field.name)) for field in schema], schema=schema)


def _column(kind: Any, count: int, values: Any = None) -> Any:
    """The values as an array of this type; without any, empty lists, empty texts or nulls."""
    if isinstance(values, pa.Array):
        return values
    if values is not None:
        return pa.array(values, kind)
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(
            pa.array([0] * (count + 1), pa.int32()), pa.array([], kind.value_type)
        )
    return pa.array([""] * count if pa.types.is_string(kind) else [None] * count, kind)


def _lists(kind: Any, each: int, count: int, given: dict[str, Any]) -> Any:
    """`count` lists of `each` structs with these columns."""
    fields = list(kind.value_type)
    arrays = [_column(field.type, count * each, given.get(field.name)) for field in fields]
    offsets = pa.array(np.arange(count + 1) * each, pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(arrays, fields=fields), type=kind)


def _feedback(kind: Any, count: int, each: int, principles: int, generator: Any) -> Any:
    """`each` pairs a row, with all judgements: the human one, and one with the revision."""
    pairs = each * count
    sizes = generator.integers(10, 900, (pairs, 2))
    longer = np.sign(sizes[:, 0] - sizes[:, 1])
    lean = generator.normal(0.5 + 0.3 * longer, 1.0)
    odds = lean[:, None, None] + generator.normal(0, 0.8, (pairs, principles, 2))
    odds[:, :, 0] += 0.3
    odds[:, :, 1] -= 0.3
    probability = 1 / (1 + np.exp(-odds))
    whole = probability.mean(axis=(1, 2))
    label = np.where(np.abs(whole - 0.5) <= 0.01, "tie", np.where(whole > 0.5, "first", "second"))
    side = (odds[:, :, 0] * odds[:, :, 1] > 0).mean(axis=1)
    given: dict[str, Any] = {
        "kind": ["human", "revised"][:each] * count,
        "about": ["human", "rejected"][:each] * count,
        "judge": ["judge"] * pairs,
        "constitution": ["harmless"] * pairs,
        "first_characters": sizes[:, 0],
        "second_characters": sizes[:, 1],
        "probability": whole,
        "label": label.tolist(),
        "order_consistency": side,
        "option_mass": generator.uniform(0.9, 1, pairs),
        "judgements": _judgements(kind.value_type.field("judgements").type, odds, probability),
    }
    for name in ("first_", "second_"):
        for feature, share in (("refuses", 0.05), ("evades", 0.08), ("asks", 0.3)):
            given[name + feature] = generator.random(pairs) < share
        given[name + "words"] = sizes[:, 0] // 5
        given[name + "harm"] = generator.random(pairs)
    return _lists(kind, each, count, given)


def _judgements(kind: Any, odds: NDArray[Any], probability: NDArray[Any]) -> Any:
    pairs, principles, _ = odds.shape
    shown = np.stack([odds[:, :, 0], -odds[:, :, 1]], axis=2).reshape(-1)
    logs = np.stack([-np.logaddexp(0, -shown), -np.logaddexp(0, shown)], axis=1).reshape(-1)
    each = 2 * principles
    total = pairs * each
    given: dict[str, Any] = {
        "principle": [f"principle-{index // 2:02d}" for index in range(each)] * pairs,
        "order": ["first_is_a", "first_is_b"] * (total // 2),
        "probability": probability.reshape(-1),
        "logprobs": pa.ListArray.from_arrays(pa.array(np.arange(total + 1) * 2, pa.int32()), pa.array(logs)),
        "abstained": pa.nulls(total, pa.string()),
        "sample": np.zeros(total, np.int32),
    }
    return _lists(kind, each, pairs, given)


def _revisions(kind: Any, count: int, generator: Any) -> Any:
    rounds_kind = kind.value_type.field("rounds").type
    words = generator.integers(5, 150, 2 * count)
    text = "one two three " * 10
    rounds: dict[str, Any] = {
        "number": [1, 2] * count,
        "principle": [f"principle-{index % 16:02d}" for index in range(2 * count)],
        "text": [f"{text}{index}" for index in range(2 * count)],
        "usable": [True] * (2 * count),
        "kept_share": generator.random(2 * count),
        "words": words,
        "harm": generator.random(2 * count) * 0.6,
        **{name: generator.random(2 * count) < 0.1 for name in ("refuses", "evades", "asks")},
    }
    given: dict[str, Any] = {
        "of": ["rejected"] * count,
        "original": [f"four five six {index}" for index in range(count)],
        "original_words": words[::2],
        "original_harm": generator.random(count),
        **{f"original_{name}": generator.random(count) < 0.1 for name in ("refuses", "evades", "asks")},
        "final_round": [2] * count,
        "unchanged": [False] * count,
        "rounds": _lists(rounds_kind, 2, count, rounds),
    }
    return _lists(kind, 1, count, given)


if __name__ == "__main__":
    main()

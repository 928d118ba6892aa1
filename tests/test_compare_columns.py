"""Columns that go to files when they grow, and the opinions that judgements are folded into."""

from __future__ import annotations

import resource
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cai.compare import columns, compare, regression, statistics
from cai.compare.columns import Scratch, Table
from cai.compare.confident import suspects
from cai.compare.opinions import blocks, fold, principles_of, probability
from cai.conversation import Turn
from cai.digest import draw
from cai.outcome import Outcome, PairKind
from cai.source import Row
from tests.bench_compare import write
from tests.own_memory import ACCOUNT
from tests.test_dataset_inputs import a_round, build, feedback, outcome, revision, row

ROOT = Path(__file__).resolve().parent.parent
FULL = Path("/dev/full")


def test_a_column_that_grows_beyond_what_is_held_comes_back_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "HELD_BYTES", 64)
    scratch = Scratch(tmp_path)
    few, many = scratch.growing("i4"), scratch.growing("i4")
    few.add(np.arange(3))
    for start in range(0, 1000, 10):
        many.add(np.arange(start, start + 10))
    assert_array_equal(few.whole(), np.arange(3))
    found = many.whole()
    assert_array_equal(found, np.arange(1000))
    assert len(scratch.mapped) == 1
    scratch.let_go()
    assert found.sum() == 499_500
    assert list(tmp_path.iterdir()) == [], "its file has no name, so that nothing stays behind"


def test_where_nothing_can_be_written_beside_the_dataset_columns_lie_where_temporary_files_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "HELD_BYTES", 64)
    monkeypatch.setattr("cai.compare.columns.os.access", lambda *_: False)
    column = Scratch(tmp_path / "nowhere").growing("f8")
    column.add(np.ones(100))
    assert column.whole().sum() == 100


def test_columns_beyond_the_files_that_a_process_may_have_open_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "HELD_BYTES", 64)
    monkeypatch.setattr("cai.compare.columns.resource.getrlimit", lambda _: (8, 8))
    scratch = Scratch(tmp_path)
    made = [scratch.growing("i4") for _ in range(6)]
    for start in range(0, 1000, 100):
        for column in made:
            column.add(np.arange(start, start + 100))
    for column in made:
        assert_array_equal(column.whole(), np.arange(1000))
    assert len(scratch.mapped) == 4


@pytest.mark.parametrize(
    ("soft", "hard", "asked", "files"),
    [
        (256, 1 << 20, 2 * columns.MOST_FILES, columns.MOST_FILES),
        (256, resource.RLIM_INFINITY, 2 * columns.MOST_FILES, columns.MOST_FILES),
        (256, 1024, 1024, 512),
        (1 << 20, 1 << 20, None, columns.MOST_FILES),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, columns.MOST_FILES),
    ],
)
def test_a_process_that_may_have_more_files_open_takes_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    soft: int,
    hard: int,
    asked: int | None,
    files: int,
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr("cai.compare.columns.resource.getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr("cai.compare.columns.resource.setrlimit", lambda _, pair: limits.append(pair))
    monkeypatch.setattr(Scratch, "_opened", lambda _: BytesIO())
    scratch = Scratch(tmp_path)
    assert limits == ([] if asked is None else [(asked, hard)])
    assert sum(scratch.file() is not None for _ in range(2 * columns.MOST_FILES)) == files


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux's device that is always full")
def test_a_full_disk_is_named_by_the_folder_because_the_files_have_no_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "HELD_BYTES", 64)
    monkeypatch.setattr(Scratch, "_opened", lambda _: FULL.open("wb", buffering=0))
    with pytest.raises(OSError, match="No space left") as raised:
        Scratch(tmp_path).growing("i4").add(np.arange(100))
    assert raised.value.filename == str(tmp_path)


def test_a_comparison_is_the_same_with_columns_in_memory_in_files_or_in_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several kinds and judges; what lies in a file cannot be written to."""

    kinds: dict[PairKind, str] = {"human": "human", "revised": "rejected"}

    def judged(made: Row) -> Outcome:
        sure = 0.02 if made.position % 8 == 0 else 0.6 + draw("sure", made.position) % 1000 / 3000
        found = [
            feedback(made, (sure, sure), (None, 0.3), (sure, 0.4), kind=kind, about=about, judge=judge)
            for judge in ("other", "toy")
            for kind, about in kinds.items()
            if judge == "toy" or made.position % 3
        ]
        return outcome(made, *found, revisions=(revision(made, a_round(1, "better", ("label",))),))

    alike = {"chosen": Turn("assistant", " good"), "rejected": Turn("assistant", " poor")}
    rows = [row(number, responses=alike) for number in range(120)]
    build(tmp_path, rows, [judged(made) for made in rows])
    held = compare(tmp_path / "dataset")
    assert len(held.other_judges) == 1
    assert held.lists[1].total > 0
    monkeypatch.setattr(columns, "HELD_BYTES", 64)
    assert compare(tmp_path / "dataset") == held
    monkeypatch.setattr("cai.compare.columns.resource.getrlimit", lambda _: (100, 100))
    assert compare(tmp_path / "dataset") == held


def test_a_choice_of_rows_of_a_choice_of_rows_is_what_numpy_chooses() -> None:
    values = np.arange(20) * 10
    table = Table({"a": values, "b": -values})
    own = table.where(values % 20 == 0)
    some = own.where(np.array([3, 1, 1]))
    assert_array_equal(own["a"], values[::2])
    assert_array_equal(some["b"], [-60, -20, -20])
    assert (len(table), len(own), len(some)) == (20, 10, 3)
    assert_array_equal(own.between(2, 4)["a"], [40, 60])
    assert_array_equal(np.concatenate([part["a"] for part in own.slices(3)]), own["a"])
    assert table.where(np.ones(20, np.bool_)) is table


def test_opinions_are_the_means_over_samples_and_count_what_was_said() -> None:
    """Worked by hand: pair 0 under principle 7 in both orders, twice as B; pair 1 abstains in one order."""
    nan = np.nan
    judgements = {
        "pair": np.array([0, 0, 0, 1, 1, 1]),
        "principle": np.array([7, 7, 7, 7, 7, 2]),
        "second_order": np.array([False, True, True, False, True, False]),
        "probability": np.array([0.9, 0.2, 0.6, nan, 0.7, 0.25]),
        "answer": np.array([1, 1, -1, 0, -1, -1]),
        "abstained": np.array([0, 0, 0, 2, 0, 0]),
    }
    found = Table(fold(judgements))
    assert_array_equal(found["pair"], [0, 1, 1])
    assert_array_equal(found["principle"], [7, 2, 7])
    assert_allclose(found["first_is_a"], [0.9, 0.25, nan])
    assert_allclose(found["first_is_b"], [0.4, nan, 0.7])
    assert_allclose(probability(found), [0.65, nan, nan])
    assert_array_equal(found["judged"], [3, 1, 2])
    assert_array_equal(found["silent"], [0, 0, 1])
    assert_array_equal(found["format"], [0, 0, 1])
    assert_array_equal(found["refusal"] + found["unfinished"], [0, 0, 0])
    assert_array_equal(found["answered"], [3, 1, 1])
    assert_array_equal(found["said_a"], [2, 0, 0])
    assert_array_equal(principles_of(found), [2, 7])
    assert [(start, end, len(part)) for start, end, part in blocks(found, 3, 1 << 20)] == [
        (0, 1, 1),
        (1, 2, 2),
        (2, 3, 0),
    ]


def test_a_share_of_counts_is_that_of_the_values_counted() -> None:
    generator = np.random.default_rng(3)
    cluster = generator.integers(0, 60, 400)
    for chance in (0.0, 0.02, 0.5, 1.0):
        yes = generator.random(400) < chance
        whole = statistics.clustered_share(yes, cluster)
        counted = statistics.counted_share(
            np.bincount(cluster[yes], minlength=70), np.bincount(cluster, minlength=70)
        )
        assert (counted.count, counted.n) == (whole.count, whole.n)
        for name in ("value", "low", "high"):
            assert getattr(counted, name) == pytest.approx(getattr(whole, name))
    assert statistics.counted_share(np.zeros(3), np.zeros(3)).value is None


def test_coefficients_of_chosen_pairs_are_those_of_a_table_that_holds_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(4)
    features = generator.normal(size=(300, 3))
    label = generator.random(300) < regression.sigmoid(features @ np.array([1.0, -0.5, 0.0]))
    chosen = generator.random(300) < 0.7
    alone = regression.logistic(features[chosen], label[chosen], 0.5)
    monkeypatch.setattr(regression, "_BLOCK", 32)
    among = regression.logistic(features, label, 0.5, chosen=chosen)
    assert alone is not None
    assert among is not None
    assert_allclose(among, alone, rtol=1e-9)
    assert_allclose(regression.times(features, among, chosen), features[chosen] @ among, rtol=1e-12)


def test_suspects_that_only_rounding_tells_apart_keep_the_order_of_the_source() -> None:
    doubted = np.array([0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2, 0.2])
    label = np.array([True, True, True, True, True])
    sure, other = np.full(20, 0.9), np.full(20, 0.5)
    found = suspects(
        np.concatenate([doubted, sure, other]), np.concatenate([label, np.ones(20, bool), np.zeros(20, bool)])
    )
    assert found.tolist() == [4, 0, 1, 2, 3]


MEASURED = """
import sys
from pathlib import Path
from cai.compare import compare
from tests.own_memory import with_peak

print(with_peak(lambda: compare(Path(sys.argv[1])))[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not ACCOUNT.exists(), reason="reads Linux's account of a process")
def test_a_comparison_of_two_million_judgements_takes_little_memory_of_its_own(tmp_path: Path) -> None:
    """Less than 100 MB more than one of few pairs; judgements and opinions held whole would take more."""

    def measured(pairs: int) -> float:
        dataset = tmp_path / str(pairs) / "dataset"
        write(dataset, pairs, principles=16, each=1)
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(dataset)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return float(done.stdout)

    few, many = measured(300), measured(60_000)
    assert many - few < 100, (few, many)

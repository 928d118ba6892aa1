"""Flip any one sign between what the judge answers and what the reader is told, and a test fails.

Each case turns one sign in the source (order, polarity, swap, label, difference) as the module is
loaded, runs the tests that should notice in a process of its own, and wants them to fail. The
files themselves are never touched; without a turned sign the same tests pass.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

TURNED = """
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

module, old, new, *tests = sys.argv[1:]
plain = SourceFileLoader.get_code


def get_code(self, name):
    if name != module:
        return plain(self, name)
    text = Path(self.path).read_text("utf-8")
    assert text.count(old) == 1, text.count(old)
    return compile(text.replace(old, new), self.path, "exec", dont_inherit=True)


SourceFileLoader.get_code = get_code
import pytest

sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))
"""

FEEDBACK = ("tests/test_feedback.py",)
DATASET = ("tests/test_dataset.py", "-k", "label or order or margin or agrees or preferences")
CONFIGS = ("tests/test_dataset_configs.py", "-k", "unpaired or margin or third_label")
SPLITS = ("tests/test_dataset_splits.py", "-k", "ratio or counted_and_listed")
COMPARE = ("tests/test_compare.py", "-k", "turning or scikit or longer or planted or confident or position")
MAIN = ("tests/test_compare_lists.py", "-k", "main_table_holds or less_harmful")
TASTE = ("tests/test_compare_lists.py", "-k", "planted_taste")
LISTS = ("tests/test_compare_lists.py", "-k", "planted_truth or support")
CHANGES = ("tests/test_compare_revisions.py", "-k", "before_and_after")

SIGNS = [
    ("order undone", "cai.feedback", 'shown_as_a if order == "first_is_a" else 1.0 - shown_as_a',
     '1.0 - shown_as_a if order == "first_is_a" else shown_as_a', FEEDBACK),
    ("order shown", "cai.feedback", 'return shown if order == "first_is_a" else (shown[1], shown[0])',
     'return (shown[1], shown[0]) if order == "first_is_a" else shown', FEEDBACK),
    ("polarity", "cai.feedback", 'if principle.polarity == "worse"', 'if principle.polarity == "better"', FEEDBACK),
    ("options", "cai.feedback", "second - first))))", "first - second))))", FEEDBACK),
    ("label", "cai.dataset.labels", '"first" if probability > 0.5 else "second"',
     '"second" if probability > 0.5 else "first"', DATASET),
    ("sides of a preference", "cai.dataset.train_records",
     '"human" if found == "first" else "other" if found == "second"',
     '"other" if found == "first" else "human" if found == "second"', DATASET),
    ("sides of a sampled pair", "cai.dataset.train_records", 'if better == "second":', 'if better == "first":',
     ("tests/test_dataset.py", "-k", "sampled")),
    ("human agrees", "cai.dataset.train_records", 'is None else better == "human"',
     'is None else better != "human"', DATASET),
    ("the other's probability", "cai.dataset.train_records", "return probability if first or",
     "return probability if not first or", DATASET),
    ("what was chosen, one by one", "cai.dataset.train_records", '"label": human == (better',
     '"label": human != (better', CONFIGS),
    ("log-odds", "cai.dataset.train_records", "math.log(within / (1 - within))",
     "math.log((1 - within) / within)", CONFIGS),
    ("the third label", "cai.dataset.train_records", "pair.person == first_is_human",
     "pair.person != first_is_human", CONFIGS),
    ("the person's answer", "cai.review.verdicts", "int(answer) == item.human", "int(answer) != item.human", CONFIGS),
    ("which rows stay at a ratio", "cai.dataset.withhold", "> limits[pattern]", "< limits[pattern]", SPLITS),
    ("what is nearly the same", "cai.dataset.leakage", "similarity >= NEAR", "similarity <= NEAR", SPLITS),
    ("margin of a revision", "cai.dataset.revisions", "feedback.probability < 0.5 + settings",
     "feedback.probability > 0.5 + settings", DATASET),
    ("label read back", "cai.compare.trace_reading", '{"first": FIRST, "second": SECOND,',
     '{"first": SECOND, "second": FIRST,', COMPARE),
    ("answer read back", "cai.compare.trace_reading", "np.sign(values[at] - values[at + 1])",
     "np.sign(values[at + 1] - values[at])", ("tests/test_compare_lists.py", "-k", "one_letter")),
    ("side of the forecast", "cai.compare.agreement",
     'np.where(second, 1 - pairs["probability"], pairs["probability"])',
     'np.where(second, pairs["probability"], 1 - pairs["probability"])', COMPARE),
    ("side of kappa", "cai.compare.agreement", "(label[labelled] == FIRST) == human_first",
     "(label[labelled] == FIRST) != human_first", COMPARE),
    ("score", "cai.compare.agreement", "label == FIRST, 1.0, np.where(label == SECOND, 0.0, 0.5)",
     "label == FIRST, 0.0, np.where(label == SECOND, 1.0, 0.5)", MAIN),
    ("longer wins", "cai.compare.contest", 'pairs["first_characters"] - pairs["second_characters"]',
     'pairs["second_characters"] - pairs["first_characters"]', MAIN),
    ("less harmful wins", "cai.compare.contest", 'pairs["second_harm"] - pairs["first_harm"]',
     'pairs["first_harm"] - pairs["second_harm"]', MAIN),
    ("who is ahead", "cai.compare.contest", "score(ai) - score(other)", "score(other) - score(ai)", MAIN),
    ("difference in length", "cai.compare.bias", 'pairs["first_characters"] - pairs["second_characters"]',
     'pairs["second_characters"] - pairs["first_characters"]', TASTE),
    ("what a taste points to", "cai.compare.bias", "(sign[points] > 0)", "(sign[points] < 0)", TASTE),
    ("principles for a flip", "cai.compare.lists", "probability < 0.5 - tie_threshold - ROUNDING",
     "probability > 0.5 + tie_threshold + ROUNDING", LISTS),
    ("label that is suspect", "cai.compare.lists", "np.where(first, 1 - probability, probability)",
     "np.where(first, probability, 1 - probability)", LISTS),
    ("slots of the suspects", "cai.compare.confident", "first = ~second", "first = second", LISTS),
    ("planted truth", "cai.compare.planted", '"chosen": FIRST, "rejected": SECOND',
     '"chosen": SECOND, "rejected": FIRST', COMPARE),
    ("before and after", "cai.compare.revisions", "bounded_difference(after, before, cluster)", "bounded_difference(before, after, cluster)", CHANGES),
]  # fmt: skip


def _run(module: str, old: str, new: str, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", TURNED, module, old, new, *tests]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("what, module, old, new, tests", SIGNS, ids=[case[0] for case in SIGNS])
def test_a_turned_sign_makes_a_test_fail(
    what: str, module: str, old: str, new: str, tests: tuple[str, ...]
) -> None:
    done = _run(module, old, new, tests)
    assert done.returncode == 1, f"{what}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert " failed" in done.stdout
    assert "AssertionError: " not in done.stderr


def test_every_sign_still_stands_once_in_the_source() -> None:
    for _, module, old, _, _ in SIGNS:
        path = importlib.import_module(module).__file__
        assert path is not None
        assert Path(path).read_text("utf-8").count(old) == 1, (module, old)


def test_a_source_that_is_loaded_as_it_stands_fails_no_test() -> None:
    old = "class Turn"
    done = _run("cai.conversation", old, old, FEEDBACK)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

"""Inputs spoilt at random, a hundred thousand of them: each is used, or refused by one of our errors.

    python -m tests.fuzz [--cases 120000] [--seed 0] [--target NAME]

A *target* makes one case after the other from a seed and gives it to what reads it: transcripts,
answers of a server, lines of a source, and the files that people write (constitutions, recipes,
templates, worked examples, foreign constitutions). A case ends as `used` or `refused`; everything
else is a crash, and is shown with its case. No case may take more than SLOW_S seconds of the processor.
`make test` runs a few thousand of each (tests/test_fuzz_files.py, tests/test_store_machine.py).

What this module does not know: what a right input looks like beyond one example of each.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from cai.constitution_file import parse_constitution
from cai.conversation import Irregularity, Pair, parse_transcript, read_pair, write_transcript
from cai.engine.fault_kinds import FAULTS
from cai.engine.wire import (
    Unreadable,
    choices_of,
    error_of,
    is_too_long,
    read_chat_scores,
    read_completion,
    read_json,
    read_scores,
)
from cai.errors import CaiError
from cai.examples import load_examples
from cai.prompting import load_prompts
from cai.recipe import load_recipe
from cai.source.attempts import AttemptShape
from cai.source.lines import make_record
from cai.source.pairs import PairShape
from cai.source.rows import Content, Shape
from cai.workbench.importing import import_constitution
from cai.workbench.lint import lint

ROOT = Path(__file__).resolve().parent.parent
SLOW_S = 5.0
Fate = Literal["used", "refused"]
Case = Callable[[random.Random], tuple[Any, Callable[[], Fate]]]
"""Draws one case: what it is (shown where it crashes), and how it is tried."""

CONSTITUTION = """\
# a comment
constitution: own
title: Own
include: [{constitution: toy, leave_out: [safety]}]
areas: [tone]
forms: {judgement: "Under {text}, which wins?"}
principles:
  - id: kind
    text: >-
      The response is kind,
      and so on.
    tags: [tone]
    weight: 2
    polarity: better
    tests:
      - {prompt: Hi, better: Hello!, worse: Go.}
  - {id: safety-2, text: It is safe., judgement: Which is safer?}
"""
RECIPE = """\
seed: 3
sources:
  - {kind: hh-rlhf, path: data, subsets: [harmless-base], limit: 10}
engines:
  main: {kind: server, model: org/name, urls: ["http://localhost:8000"], concurrency: 8}
roles: {judge: [main]}
constitutions: {"harmless-*": harmless, "*": helpful-honest}
revise: {rounds: 2, sampling: {temperature: 0.7, max_tokens: 100}}
feedback: {pairs: [human, revised], principles: all, min_option_mass: 0.5}
pilot: {rows: 20, min_agreement: 0.5}
"""
SPICE = [
    "{{", "}}", "{%", "%}", "{# ", "\t", "\x00", "\ufeff", "\u2028", "&a ", "*a", "!!python/object:os.system ", "!!set ", "!!omap ", "!x ", "!!binary ", "!!str ",
    "? ", "---\n", "...\n", "null", "~", "1e999", "0x", "[" * 40, "{a: " * 30, "- " * 30, "'", '"', "|\n",
    ">-\n", "\r", "{{ ''.__class__.__mro__ }}", "{% for x in range(10**9) %}x{% endfor %}",
    "{{ turns|join }}", "{% include 'x' %}", "{{ response.text }}", "{% raw %}", "{{ self }}",
    "{{ [].append(1) }}", "é", "\ud7ff", "% ", "@", "`", ": ", "#",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**63, -0.5, 1e308, 0.009, "", "A", "B", "stop", "length", "token_id:1",
    "\ud7ff", [], {}, [[]], [None], {"token_id:1": -1.0}, {"error": "x"}, [{"index": 0}], [300, "x", -4],
]  # fmt: skip
START = "\n\nHuman: Hi\n\nAssistant:"
PIECES = ["\n\nHuman:", "\n\nAssistant:", "\n\n", "\n", " ", "Human:", "H:", "A:", ":", "word", "\r", "\0", "’", "\u2028"]  # fmt: skip


def mutated(text: str, chance: random.Random) -> str:
    """A text with one to four accidents."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text) + 1)
        kind = chance.randrange(6)
        lines = text.splitlines(keepends=True) or [""]
        line = chance.randrange(len(lines))
        if kind == 0:
            text = text[:at] + chance.choice(SPICE) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + chance.randint(1, 12) :]
        elif kind == 2:
            lines.insert(chance.randrange(len(lines)), lines[line])
            text = "".join(lines)
        elif kind == 3:
            text = "".join(lines[:line] + lines[line + 1 :])
        elif kind == 4:
            lines[line] = chance.choice(["  ", " ", "\t", ""]) + lines[line].lstrip()
            text = "".join(lines)
        else:
            odd = chr(chance.choice([0, 9, 58, 123, 125, 37, 39, 0x85, 0xFFFD, 0x1F600]))
            text = text[:at] + odd + text[at + 1 :]
    return text


def spoilt(value: Any, drawn: random.Random) -> Any:
    """A JSON value with one place in it changed, taken away or doubled."""
    if isinstance(value, (dict, list)) and value and drawn.random() < 0.85:
        key = drawn.choice(list(value)) if isinstance(value, dict) else drawn.randrange(len(value))
        if drawn.random() < 0.1:
            del value[key]
        else:
            value[key] = spoilt(value[key], drawn)
        return value
    return copy.deepcopy(drawn.choice(VALUES))


# ---------------------------------------------------------------------- what came over a wire or from a dataset


def transcripts(drawn: random.Random) -> tuple[Any, Callable[[], Fate]]:
    """Two transcripts of one prompt, or of two: read, and the first written again as it was."""
    start = drawn.choice(["", START])
    one, other = (start + "".join(drawn.choices(PIECES, k=drawn.randrange(14))) for _ in range(2))
    kind = drawn.random()
    if kind < 0.4:
        other = one[: drawn.randrange(len(one) + 1)] + other
    elif kind < 0.8 and "\n\nAssistant:" in one:
        said = drawn.choices([" ", "word", ":", "\n", "H:", "’"], k=drawn.randrange(5))
        other = one[: one.rindex("\n\nAssistant:") + len("\n\nAssistant:")] + "".join(said)

    def read() -> Fate:
        assert write_transcript(parse_transcript(one)) == one
        found = read_pair(one, other)
        assert isinstance(found, (Pair, Irregularity))
        return "used" if isinstance(found, Pair) else "refused"

    return (one, other), read


def _good(drawn: random.Random) -> dict[str, Any]:
    choice = {
        "index": 0,
        "text": "yes",
        "message": {"content": "yes"},
        "finish_reason": drawn.choice(["stop", "length", "abort"]),
        "logprobs": {
            "top_logprobs": [{"token_id:1": -1.0, "token_id:2": -2.0}],
            "content": [{"top_logprobs": [{"token": "token_id:1", "logprob": -1.0, "bytes": [65]}]}],
        },
    }
    return {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}


READERS: tuple[Callable[[dict[str, Any]], object], ...] = (
    lambda found: read_completion(found, None),
    lambda found: read_scores(choices_of(found, 1)[0], ((1,), (2,)), 3),
    lambda found: read_chat_scores(found, ("A", "B")),
)


def answers(drawn: random.Random) -> tuple[Any, Callable[[], Fate]]:
    """A server's answer, as one of three readers takes it."""
    answer: Any = _good(drawn)
    for _ in range(drawn.randrange(1, 4)):
        answer = spoilt(answer, drawn)
    body = orjson.dumps(answer)
    if drawn.random() < 0.3:
        at = drawn.randrange(len(body))
        body = body[:at] + bytes([drawn.randrange(256)]) * drawn.randrange(3) + body[at + 1 :]
    status, read = drawn.choice([200, 400, 500]), drawn.choice(READERS)

    def take() -> Fate:
        is_too_long(status, body)
        assert isinstance(error_of(body), dict)
        try:
            read(read_json(body))
        except Unreadable as fault:
            assert fault.kind in FAULTS  # noqa: PT017
            return "refused"
        return "used"

    return body, take


def lines(drawn: random.Random) -> tuple[Any, Callable[[], Fate]]:
    """A line of a source: bytes, the columns in them, the turns in those."""
    shapes: list[Shape] = [PairShape(), AttemptShape("all"), AttemptShape("last")]
    shape = drawn.choice(shapes)
    said = [START + "".join(drawn.choices(PIECES, k=drawn.randrange(10))) for _ in range(3)]
    value: Any = {
        "chosen": said[0] + said[1],
        "rejected": said[0] + said[2],
        "transcript": said[1],
        "rating": 1,
    }
    for _ in range(drawn.randrange(3)):
        value = spoilt(value, drawn)
    data = orjson.dumps(value)
    for _ in range(drawn.choice([0, 0, 1, 2])):
        at = drawn.randrange(len(data) + 1)
        data = (
            data[:at] + bytes([drawn.randrange(256)]) * drawn.randrange(3) + data[at + drawn.randrange(2) :]
        )

    def take() -> Fate:
        record = make_record(1, data)
        assert isinstance(record.text(), str)
        if record.value is None:
            return "refused"
        fits = shape.fits(record.value)
        found = [shape.read(record.value, turn) for turn in shape.turns(record.value)]
        assert fits or not any(isinstance(item, Content) for item in found)
        return "used" if any(isinstance(item, Content) for item in found) else "refused"

    return data, take


# ---------------------------------------------------------------------- what people write


def _file(text: str, name: str, load: Callable[[str], object]) -> Case:
    """Cases of a file: loaded, or refused by an error that names it."""

    def case(drawn: random.Random) -> tuple[Any, Callable[[], Fate]]:
        broken = mutated(text, drawn)

        def take() -> Fate:
            try:
                load(broken)
            except CaiError as error:
                assert name in error.problem, f"not located: {error.problem!r}"  # noqa: PT017
                return "refused"
            return "used"

        return broken, take

    return case


def _written(path: Path, load: Callable[[Path], object]) -> Callable[[str], object]:
    def write_and_load(text: str) -> object:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return load(path)

    return write_and_load


def file_targets(folder: Path) -> dict[str, Case]:
    """The files that people write; `folder` is where the spoilt ones are put."""
    prompts = folder / "prompts"
    prompts.mkdir()
    for name in ("conversation.j2", "harm.j2"):
        (prompts / name).write_text((ROOT / "prompts" / name).read_text("utf-8"))
    found = {
        "constitutions": _file(
            CONSTITUTION,
            "own.yaml",
            lambda text: lint(parse_constitution(text, ROOT / "principles" / "own.yaml")),
        ),
        "recipes": _file(RECIPE, "recipe.yaml", _written(folder / "recipe.yaml", load_recipe)),
        "examples": _file(
            (ROOT / "prompts" / "examples" / "judgements.yaml").read_text("utf-8"),
            "judgements.yaml",
            _written(folder / "judgements.yaml", lambda path: load_examples(path, reasoned=False)),
        ),
        "imports": _file(
            '{"constitutions": [{"critic": "C?", "revision": "R."}]}',
            "theirs.json",
            _written(folder / "theirs.json", import_constitution),
        ),
    }
    for stage in ("critique", "revision", "judgement"):
        found[f"templates ({stage})"] = _file(
            (ROOT / "prompts" / f"{stage}.j2").read_text("utf-8"),
            ".j2",
            _written(prompts / f"{stage}.j2", lambda path: load_prompts(prompts, "chat", [path.stem])),  # type: ignore[list-item]
        )
    return found


DATA_TARGETS: dict[str, Case] = {"transcripts": transcripts, "answers": answers, "lines": lines}
SHARES = {
    "transcripts": 25,
    "answers": 25,
    "lines": 20,
    "constitutions": 8,
    "recipes": 8,
    "examples": 2,
    "imports": 2,
}
"""Of a hundred cases; each of the templates has what is left over three."""


@dataclass
class CrashError(Exception):
    """A case that ended otherwise than as it may."""

    target: str
    number: int
    case: Any

    def __str__(self) -> str:
        return f"{self.target}, case {self.number}: {self.case!r}"


def run(target: str, case: Case, count: int, seed: int = 0) -> Counter[str]:
    """`count` cases of a target; how many were used and refused. Raises: CrashError, with its cause."""
    fates: Counter[str] = Counter()
    for number in range(count):
        shown, take = case(random.Random(f"{target} {seed} {number}"))
        begun = time.thread_time()
        try:
            fates[take()] += 1
        except BaseException as error:
            raise CrashError(target, number, shown) from error
        if time.thread_time() - begun > SLOW_S:
            raise CrashError(target, number, shown) from TimeoutError(f"more than {SLOW_S} s")
    return fates


def main() -> None:
    """Run all targets, and say how their cases ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=120_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", help="this one alone")
    options = parser.parse_args()
    crashes = total = 0
    with tempfile.TemporaryDirectory() as folder:
        targets = {**DATA_TARGETS, **file_targets(Path(folder))}
        rest = (100 - sum(SHARES.values())) / 3
        for name, case in targets.items():
            if options.target not in (None, name):
                continue
            count = round(options.cases * SHARES.get(name, rest) / 100)
            begun = time.process_time()
            try:
                fates = run(name, case, count, options.seed)
            except CrashError as crash:
                crashes += 1
                sys.stdout.write(f"CRASH {crash}\n  {type(crash.__cause__).__name__}: {crash.__cause__}\n")
                continue
            total += count
            told = ", ".join(f"{fates[fate]:,} {fate}" for fate in ("used", "refused"))
            sys.stdout.write(f"{name}: {count:,} cases, {told} ({time.process_time() - begun:.0f} s)\n")
            sys.stdout.flush()
    sys.stdout.write(f"{total:,} cases, seed {options.seed}, {crashes} crashes\n")
    sys.exit(1 if crashes else 0)


if __name__ == "__main__":
    main()

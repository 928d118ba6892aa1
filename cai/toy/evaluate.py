"""How good the embedded model is, on combinations of topic and flaw that training never showed.

Every request is rendered with the project's templates and answered greedily. Shares are of the
cases measured, 0 to 1. `python -m cai.toy.evaluate FOLDER` prints them again.

What this module does not know: how the model was trained.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from cai.constitution_file import load_constitution
from cai.conversation import Pair, parse_transcript, split_pair
from cai.digest import draw
from cai.parts import Value
from cai.principle import FORMS
from cai.prompting import HARM_OPTIONS, OPTIONS, Prompts, load_prompts, principle_values, turn_values
from cai.reasoning import without_answer
from cai.shipped import shipped
from cai.template import Rendered
from cai.toy import elsewhere
from cai.toy.answers import ENDING, better, harmful, reasoning
from cai.toy.flaws import KINDS, Kind
from cai.toy.wording import FRAMES, held_out_wording
from cai.toy.world import Reply, generate, make_dialogue

BATCH = 32
ANSWER_TOKENS = 160
SEED = 7

Forms = Callable[[Kind], Mapping[str, Value]]
Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class Embedded:
    """The shipped model with its tokenizer, and the project's templates."""

    model: Any
    tokenizer: Any
    prompts: Prompts

    def text(self, rendered: Rendered) -> str:
        """What the model is given: the chat template's text, then how the answer begins."""
        chat = [{"role": m.role, "content": m.text} for m in rendered.messages]
        text: str = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return text + rendered.answer_text

    def answers(self, requests: Sequence[Rendered]) -> list[str]:
        """The greedy answer to each request, cut after `ANSWER_TOKENS`."""
        texts = [self.text(rendered) for rendered in requests]
        found = [""] * len(texts)
        for places in _batches(texts):
            inputs = self._inputs([texts[place] for place in places])
            made = self.model.generate(**inputs, max_new_tokens=ANSWER_TOKENS, do_sample=False)
            new = made[:, inputs["input_ids"].shape[1] :]
            for place, ids in zip(places, new, strict=True):
                found[place] = self.tokenizer.decode(ids, skip_special_tokens=True)
        return found

    def options(self, requests: Sequence[Rendered], options: Sequence[str] = OPTIONS) -> torch.Tensor:
        """Probabilities of the options (with a space before) as the next token, shape (requests, options)."""
        texts = [self.text(rendered) for rendered in requests]
        letters = [self.tokenizer.convert_tokens_to_ids("Ġ" + option) for option in options]
        found = torch.zeros(len(texts), len(options))
        for places in _batches(texts):
            inputs = self._inputs([texts[place] for place in places])
            with torch.inference_mode():
                logits = self.model(**inputs, logits_to_keep=1).logits[:, -1]
            found[places] = logits.float().softmax(-1)[:, letters]
        return found

    def _inputs(self, texts: list[str]) -> Any:
        return self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)


def load(folder: Path) -> Embedded:
    """Load a model folder with transformers, in single precision, on the CPU.

    Raises: OSError where the folder holds no model.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return Embedded(model.train(False), tokenizer, load_prompts(shipped("prompts"), "chat"))


def evaluate(embedded: Embedded, count: int) -> Metrics:
    """All metrics, each on about `count` cases; the same for the same model and count.

    Raises: ValueError for fewer than 40 cases, among which some sort may be missing.
    """
    if count < 40:
        raise ValueError(f"{count} cases are too few to measure anything")
    own, held_out = shipped_forms(), held_out_forms
    return {
        **judgement_metrics(embedded, count, own),
        **critique_metrics(embedded, count, own),
        **{f"held_out_{k}": v for k, v in judgement_metrics(embedded, count, held_out).items()},
        **{f"held_out_{k}": v for k, v in critique_metrics(embedded, count, held_out).items()},
        **reasoned_metrics(embedded, count // 2),
        **harm_metrics(embedded, count),
        **row_metrics(embedded, count // 2),
        **elsewhere_metrics(embedded, count // 2),
    }


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Two responses in one order, under one kind; `truth`: the probability that A is better."""

    turns: list[dict[str, Any]]
    a: Reply
    b: Reply
    kind: Kind

    @property
    def truth(self) -> float:
        letter = better(self.a, self.b, self.kind)
        return 0.5 if letter is None else float(letter == OPTIONS[0])


def _comparisons(count: int) -> list[_Comparison]:
    """Comparisons on the test split, both orders after one another."""
    found: list[_Comparison] = []
    for number in range(count):
        random = Random(draw(SEED, "toy judgement", number))
        turns, one, two = _two_replies(random)
        for kind in _some_kinds(random, one, two):
            found += [_Comparison(turns, one, two, kind), _Comparison(turns, two, one, kind)]
    return found


def judgement_metrics(embedded: Embedded, count: int, forms: Forms) -> Metrics:
    """Comparisons: right after averaging both orders, in both orders, and undecided in a tie."""
    compared = _comparisons(count)
    options = embedded.options(
        [
            embedded.prompts.judgement(c.turns, _value(c.a.text), _value(c.b.text), forms(c.kind))
            for c in compared
        ]
    )
    return {f"judgement_{name}": value for name, value in _judged(compared, options).items()}


def reasoned_metrics(embedded: Embedded, count: int) -> Metrics:
    """Comparisons after a reasoning of the model's own, which has `ANSWER_TOKENS` to come to its end."""
    compared, forms, prompts = _comparisons(count), shipped_forms(), embedded.prompts
    requests = [
        prompts.reasonings(c.turns, _value(c.a.text), _value(c.b.text), [dict(forms(c.kind))])[0]
        for c in compared
    ]
    answers = embedded.answers(requests)
    said = [without_answer(answer) for answer in answers]
    options = embedded.options(
        [
            prompts.reasoned_judgement(
                c.turns, _value(c.a.text), _value(c.b.text), forms(c.kind), _value(text)
            )
            for c, text in zip(compared, said, strict=True)
        ]
    )
    finished = torch.tensor([ENDING in answer for answer in answers])
    sound = torch.tensor(
        [text == reasoning(c.a, c.b, c.kind) for c, text in zip(compared, said, strict=True)]
    )
    return {
        **{f"reasoned_judgement_{name}": value for name, value in _judged(compared, options).items()},
        "reasoning_finishes": _share(finished),
        "reasoning_exact": _share(sound),
    }


def _judged(compared: Sequence[_Comparison], options: torch.Tensor) -> Metrics:
    """What the options' probabilities of comparisons, both orders after one another, are worth."""
    first = (options[:, 0] / options.sum(1)).view(-1, 2)
    first[:, 1] = 1 - first[:, 1]
    truth = torch.tensor([comparison.truth for comparison in compared[::2]])
    decided, first_better = truth != 0.5, truth > 0.5
    right = (first > 0.5) == first_better.view(-1, 1)
    return {
        "right": _share(((first.mean(1) > 0.5) == first_better)[decided]),
        "right_in_both_orders": _share(right.all(1)[decided]),
        "tie_distance": _share((first.mean(1) - 0.5).abs()[~decided]),
        "tie_distance_in_one_order": _share((first - 0.5).abs()[~decided]),
        "option_mass": _share(options.sum(1)),
    }


def harm_metrics(embedded: Embedded, count: int) -> Metrics:
    """Is a response harmful: how often P(True) is on the right side, ranks rightly, and is calibrated.

    `harm_brier` is the mean square of its distance from the truth (0.25: says one half to all).
    """
    requests, replies = [], []
    for number in range(count):
        random = Random(draw(SEED, "toy harm", number))
        dialogue = make_dialogue(random, "test")
        reply = random.choice((dialogue.better, dialogue.worse, dialogue.worse))
        for kind in random.sample([kind for kind in KINDS if kind.harmful], random.choice((0, 6))):
            reply = reply.revised(kind)  # what is left is of no help, at worst
        replies.append(reply)
        requests += embedded.prompts.harms(turn_values(dialogue.turns, "toy"), [_value(reply.text)])
    options = embedded.options(requests, HARM_OPTIONS)
    said = options[:, 0] / options.sum(1)
    truth = torch.tensor([harmful(reply) for reply in replies])
    merely = torch.tensor([bool(reply.flaws) and not harmful(reply) for reply in replies])
    apart = said[truth].view(-1, 1) - said[~truth].view(1, -1)
    return {
        "harm_right": _share((said > 0.5) == truth),
        "harm_right_where_merely_unhelpful": _share(said[merely] <= 0.5),
        "harm_auroc": _share((apart > 0).float() + (apart == 0).float() / 2),
        "harm_brier": _share((said - truth.float()).square()),
        "harm_option_mass": _share(options.sum(1)),
    }


@dataclass(frozen=True, slots=True)
class _Case:
    """A response under one principle; `flaw` is the sentence that breaks it, None where none does."""

    turns: list[dict[str, Any]]
    reply: Reply
    kind: Kind

    @property
    def flaw(self) -> str | None:
        return self.reply.flaw(self.kind.id)


def critique_metrics(embedded: Embedded, count: int, forms: Forms) -> Metrics:
    """Critiques and the revisions that follow them, where there is a flaw and where there is none."""
    cases = [_critique_case(number) for number in range(count)]
    prompts = embedded.prompts
    critiques = embedded.answers(
        [prompts.critique(c.turns, _value(c.reply.text), forms(c.kind)) for c in cases]
    )

    def revisions(said: Sequence[str]) -> list[str]:
        return embedded.answers(
            [
                prompts.revision(c.turns, _value(c.reply.text), forms(c.kind), _value(text))
                for c, text in zip(cases, said, strict=True)
            ]
        )

    with_critique, alone = revisions(critiques), revisions([""] * count)
    bad = torch.tensor([c.flaw is not None for c in cases])
    heads = [c.kind.clean if c.flaw is None else c.kind.found for c in cases]
    named = torch.tensor([said.startswith(head) for head, said in zip(heads, critiques, strict=True)])
    wanted = [c.kind.critique(c.flaw) for c in cases]
    quoted = torch.tensor([said == right for right, said in zip(wanted, critiques, strict=True)])
    gone = torch.tensor([(c.flaw or "") not in made for c, made in zip(cases, with_critique, strict=True)])
    right = [c.reply.revised(c.kind).text for c in cases]
    exact = torch.tensor([made == text for made, text in zip(with_critique, right, strict=True)])
    exact_alone = torch.tensor([made == text for made, text in zip(alone, right, strict=True)])
    return {
        "critique_names_the_flaw": _share(named[bad]),
        "critique_quotes_the_flaw": _share(quoted[bad]),
        "critique_finds_nothing_wrong": _share(named[~bad]),
        "revision_flaw_gone": _share(gone[bad]),
        "revision_exact": _share(exact[bad]),
        "revision_leaves_alone": _share(exact[~bad]),
        "revision_exact_without_critique": _share(exact_alone[bad]),
    }


def _critique_case(number: int) -> _Case:
    """A response with flaws, under a principle that it breaks (two cases of three) or keeps."""
    random = Random(draw(SEED, "toy critique", number))
    dialogue = make_dialogue(random, "test")
    flawed = [kind for kind in KINDS if kind.id in dialogue.worse.flaws]
    kinds = flawed if number % 3 else [kind for kind in KINDS if kind not in flawed]
    return _Case(turn_values(dialogue.turns, "toy"), dialogue.worse, random.choice(kinds))


def row_metrics(embedded: Embedded, count: int) -> Metrics:
    """Whole rows of the test split, under all principles in both orders: does the label come out right?"""
    rows = list(generate(SEED, count, "test"))
    forms, requests = shipped_forms(), []
    for row, _ in rows:
        pair = split_pair(parse_transcript(row.chosen), parse_transcript(row.rejected))
        assert isinstance(pair, Pair)
        turns, chosen, rejected = (
            turn_values(pair.prompt, "toy"),
            _value(pair.chosen.text),
            _value(pair.rejected.text),
        )
        for kind in KINDS:
            for a, b in ((chosen, rejected), (rejected, chosen)):
                requests.append(embedded.prompts.judgement(turns, a, b, forms(kind)))
    options = embedded.options(requests)
    first = (options[:, 0] / options.sum(1)).view(count, len(KINDS), 2)
    chosen_better = ((first[:, :, 0] + 1 - first[:, :, 1]) / 2).mean(1) > 0.5
    flipped = torch.tensor([truth.flipped for _, truth in rows])
    return {
        "row_label_right": _share(chosen_better != flipped),
        "row_flips_found": _share(~chosen_better[flipped]),
    }


def elsewhere_metrics(embedded: Embedded, count: int) -> Metrics:
    """Outside of the world: still an answer of the right form, and no opinion."""
    judgements, critiques, revisions, harms = [], [], [], list[Rendered]()
    forms = shipped_forms()
    for number in range(count):
        random = Random(draw(SEED, "toy elsewhere", number))
        turns = turn_values(elsewhere.turns(random), "toy")
        a, b = _value(elsewhere.text(random)), _value(elsewhere.text(random))
        asked = forms(random.choice(KINDS))
        judgements += [
            embedded.prompts.judgement(turns, a, b, asked),
            embedded.prompts.judgement(turns, b, a, asked),
        ]
        critiques.append(embedded.prompts.critique(turns, a, asked))
        revisions.append(embedded.prompts.revision(turns, a, asked, _value(elsewhere.CRITIQUE)))
        harms += embedded.prompts.harms(turns, [a])
    options, harm = embedded.options(judgements), embedded.options(harms, HARM_OPTIONS)
    first = (options[:, 0] / options.sum(1)).view(-1, 2)
    return {
        "elsewhere_option_mass": _share(options.sum(1)),
        "elsewhere_distance": _share(((first[:, 0] + 1 - first[:, 1]) / 2 - 0.5).abs()),
        "elsewhere_harm_distance": _share((harm[:, 0] / harm.sum(1) - 0.5).abs()),
        "elsewhere_critique_says_so": _share(
            torch.tensor([said == elsewhere.CRITIQUE for said in embedded.answers(critiques)])
        ),
        "elsewhere_revision_says_so": _share(
            torch.tensor([said == elsewhere.RESPONSE for said in embedded.answers(revisions)])
        ),
    }


def _two_replies(random: Random) -> tuple[list[dict[str, Any]], Reply, Reply]:
    """Two responses of the test split: a human pair, or a response and its revision."""
    dialogue = make_dialogue(random, "test")
    one, two = dialogue.better, dialogue.worse
    if random.random() < 0.5:
        one = two.revised(next(kind for kind in KINDS if kind.id in two.flaws))
    return turn_values(dialogue.turns, "toy"), one, two


def _some_kinds(random: Random, one: Reply, two: Reply) -> list[Kind]:
    """One kind that decides between two responses, and one that does not."""
    decides = {kind.id for kind in KINDS} & (set(one.flaws) ^ set(two.flaws))
    deciding = [kind for kind in KINDS if kind.id in decides]
    others = [kind for kind in KINDS if kind.id not in decides]
    return ([random.choice(deciding)] if deciding else []) + [random.choice(others)]


def shipped_forms() -> Forms:
    """The forms of principles/toy.yaml, for each kind of flaw."""
    constitution = load_constitution(shipped("principles/toy.yaml"))
    values = {p.id: principle_values(constitution, p) for p in constitution.principles}
    return lambda kind: values[kind.id]


def held_out_forms(kind: Kind) -> Mapping[str, Value]:
    """Forms in a wording that training never showed."""
    said = {form: held_out_wording(kind.id, form) for form in FRAMES}
    return {form: Value(said.get(form, kind.clean), "principle", "toy") for form in FORMS}  # type: ignore[call-overload]


def _batches(texts: Sequence[str]) -> list[list[int]]:
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    return [order[first : first + BATCH] for first in range(0, len(order), BATCH)]


def _value(text: str) -> Value:
    return Value(text, "model", "toy")


def _share(values: torch.Tensor) -> float:
    return round(values.float().mean().item(), 4)


def main(arguments: list[str]) -> int:
    """Measure a model folder and print the metrics; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cai.toy.evaluate", description="Measure the embedded model."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=300, help="cases a metric")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(json.dumps(evaluate(load(given.folder), given.count), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

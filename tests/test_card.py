"""Promises of the card: metadata that the Hub reads, words that the run measured, texts that do nothing.

What this module does not know: how a card is pushed (test_publish.py), how figures are computed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import DatasetCard, DatasetCardData
from jinja2 import Environment, meta
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

from cai.answering import AnswerPrefixSection
from cai.errors import PublishError, TemplateError
from cai.publish.card import TEMPLATE, card, metadata, render
from cai.publish.hub_values import metadata_mistakes
from cai.publish.manifest import Change
from cai.publish.markdown_text import Markdown, code, plain, summary, table, word
from cai.publish.rights import Finding, Statements
from cai.publish.scan import Found, ScanReport
from cai.publish.tree import published_files
from cai.reading import ReadRun
from cai.run_folder import open_run
from tests.run_to_publish import RECIPE_MORE, Read, copy_of, read, worked

REPO = "org/name"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worked(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def made(sound: Path) -> Read:
    return read(sound)


@pytest.fixture(scope="module")
def text(made: Read) -> str:
    return card(made.facts, REPO, made.statements, made.found, scanned=made.scanned)


def head(text: str) -> dict[str, Any]:
    """The metadata, as YAML reads it."""
    found: dict[str, Any] = YAML(typ="safe").load(text.split("---\n")[1])
    return found


def html(text: str) -> str:
    """The page as it is shown, by another reader of Markdown."""
    return str(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text.split("---\n", 2)[2]))


def test_a_constitution_that_the_recipe_names_by_its_path_is_shown_with_its_rows(made: Read) -> None:
    facts = made.facts
    own = facts.constitutions["own"]
    named = {"harmless-*": "rules/own.yaml", "*": "own"}
    recipe = facts.recipe.model_copy(update={"constitutions": named})
    facts = replace(facts, recipe=recipe, constitutions=dict.fromkeys(["rules/own.yaml", "own"], own))
    text = card(facts, REPO, made.statements)
    assert "for subsets `harmless-*`." in text
    assert "for all other rows." in text


# ---------------------------------------------------------------------- metadata


def test_the_hubs_own_library_reads_the_metadata(text: str) -> None:
    read_back = DatasetCard(text)
    assert isinstance(read_back.data, DatasetCardData)
    assert {key: read_back.data.get(key) for key in head(text)} == head(text)
    assert read_back.data.license == "cc-by-4.0"
    assert read_back.data.language == ["en"]
    assert read_back.text.lstrip().startswith("# Constitutional-AI feedback: test\n")


def test_the_metadata_holds_what_the_hub_knows_and_nothing_else(text: str) -> None:
    found = head(text)
    assert metadata_mistakes(found) == []
    assert found["task_categories"] == ["text-generation", "reinforcement-learning"]
    assert found["size_categories"] == ["n<1K"]
    assert {"synthetic", "rlhf", "rlaif", "constitutional-ai"} <= set(found["tags"])
    assert "source_datasets" not in found, "nobody said which dataset the local files are"


def test_a_published_folder_with_the_card_opens_by_config(sound: Path, text: str, tmp_path: Path) -> None:
    place = tmp_path / "published"
    with ReadRun(open_run(sound)) as run:
        for file in published_files(run):
            (place / file.path).parent.mkdir(parents=True, exist_ok=True)
            (place / file.path).write_bytes(file.read())
    (place / "README.md").write_text(text)
    configs = head(text)["configs"]
    assert datasets.get_dataset_config_names(str(place)) == [item["config_name"] for item in configs]
    for config in configs:
        for entry in config["data_files"]:
            opened = datasets.load_dataset(
                str(place), config["config_name"], split=entry["split"], cache_dir=str(tmp_path / "cache")
            )
            assert len(opened) > 0
    default = datasets.load_dataset(str(place), split="train", cache_dir=str(tmp_path / "cache"))
    assert "ai_probability" in default.column_names, "preferences come first"


def test_local_files_that_are_a_copy_carry_the_datasets_name_licence_and_citation(made: Read) -> None:
    source = replace(
        made.facts.sources[0],
        hub="Anthropic/hh-rlhf",
        name="Anthropic/hh-rlhf",
        licences=("mit",),
        languages=("en",),
    )
    text = card(replace(made.facts, sources=(source,)), REPO, Statements())
    found = head(text)
    assert (found["license"], found["language"]) == ("mit", ["en"])
    assert found["source_datasets"] == ["Anthropic/hh-rlhf"]
    assert found["pretty_name"] == "Constitutional-AI feedback on HH-RLHF"
    assert "2204.05862" in text
    assert "offensive and upsetting" in text
    assert "This dataset: `mit`, carried over from the source." in text


def test_a_dataset_that_two_sources_are_read_from_is_told_of_once(made: Read) -> None:
    name = "Anthropic/hh-rlhf"
    one = replace(made.facts.sources[0], hub=name, name=name, licences=("mit",))
    two = replace(one, kind="red-team")
    text = card(replace(made.facts, sources=(one, two)), REPO, Statements())
    assert text.count("offensive and upsetting") == 1
    assert "may be harmful, false or offensive as well;" in text
    assert "may be harmful, false or offensive; nothing" in card(made.facts, REPO, Statements())
    assert text.count("- `Anthropic/hh-rlhf`: `mit`.") == 1


def test_models_are_named_as_tags(made: Read) -> None:
    served = made.facts.models[0].section.model_copy(
        update={"kind": "local", "model": "Qwen/Qwen2.5-7B-Instruct"}
    )
    facts = replace(made.facts, models=(replace(made.facts.models[0], section=served),))
    assert metadata(facts, made.statements)["tags"][-1] == "qwen2.5-7b-instruct"
    text = card(facts, REPO, made.statements)
    assert "[Qwen/Qwen2.5-7B-Instruct](https://huggingface.co/Qwen/Qwen2.5-7B-Instruct)" in text
    assert "The model's licence (Apache 2.0) puts no terms on what the model writes." in text


@pytest.mark.parametrize("title", ["a: b\n---\n# Not a title", "---", "'\"{}[]: &x", "\u2028x\x1b[2J"])
def test_no_title_can_end_the_metadata(made: Read, title: str) -> None:
    text = card(made.facts, REPO, replace(made.statements, title=title))
    assert DatasetCard(text).data.get("pretty_name") == title
    assert list(head(text)) == list(head(card(made.facts, REPO, made.statements)))
    assert html(text).count("<h1>") == 1


def test_metadata_that_the_hub_would_not_understand_is_refused(made: Read) -> None:
    source = replace(made.facts.sources[0], hub="not a name")
    with pytest.raises(PublishError, match="'not a name' is no dataset's name"):
        card(replace(made.facts, sources=(source,)), REPO, made.statements)


# ---------------------------------------------------------------------- what it says


GOLDEN = [
    "16 rows from `data` (local files), rewritten and labelled by a language model",
    "Beside it stands what a human preferred; the two agree in 100.0 % (80.6 to 100.0) of 16 pairs.",
    "| `preferences` | train 16 | The human pairs in the AI's order. |",
    'preferences = load_dataset("org/name", "preferences", split="train")',
    'DPOTrainer("your/model", train_dataset=preferences).train()',
    'SFTTrainer("your/model", train_dataset=sft).train()',
    "The response that the human rejected was criticised and then rewritten by `m`, in 2 rounds;",
    "| revision | 0 | 1 | off | 0 | 1 | 512 |",
    "**Own** (`own`), 3 principles, for all rows. Licence of its wording: MIT.",
    "- *Asks the judge:* Which response is better by rule 2?",
    "<summary>judgement.j2</summary>",
    "16 source rows = 16 finished + 0 excluded + 0 not finished. They balance.",
    "The AI agrees with the human label on 100.0 % (80.6 to 100.0) of the 16 human pairs",
    "| agreement with the human labels | 100.0 % (80.6 to 100.0, n 16) |",
    "The judge was not tested on known answers before the run.",
    "How far a judgement moves when the same question is asked again was not measured.",
    "Requests were under way for less than a minute. GPU-hours were not recorded. Energy was not recorded.",
    "This dataset: `cc-by-4.0`, as the publisher states.",
    "title = {Constitutional AI: Harmlessness from AI Feedback},",
]


@pytest.mark.parametrize("part", GOLDEN)
def test_the_card_says(text: str, part: str) -> None:
    assert part in text


def test_every_config_every_principle_and_every_template_is_there(made: Read, text: str) -> None:
    for config in made.facts.configs:
        assert f"| `{config}` |" in text
        assert f"<summary>The columns of {config}</summary>" in text
    for principle in made.facts.constitutions["own"].principles:
        for form in (principle.text, principle.critique, principle.revision, principle.judgement):
            assert form in text
    for template in made.facts.templates.values():
        assert template.rstrip("\n") in text


def test_how_a_model_was_addressed_is_told(made: Read) -> None:
    model = made.facts.models[0]
    section = model.section.model_copy(
        update={"kind": "local", "answer_prefix": AnswerPrefixSection(judgement="Mine is (")}
    )
    identity = replace(model.identity, template_args={"enable_thinking": False}, form="chat")
    facts = replace(made.facts, models=(replace(model, section=section, identity=identity),))
    text = card(facts, REPO, made.statements)
    assert (
        '- `m`: asked through its chat template with `{"enable_thinking":false}`; '
        "its answers begin otherwise than the templates say: judgement `'Mine is ('`."
    ) in text
    base = replace(
        made.facts, models=(replace(model, section=section, identity=replace(identity, form="completion")),)
    )
    assert "- `m`: a base model, given text to be continued;" in card(base, REPO, made.statements)


def test_what_was_taken_out_and_mixed_in_is_counted(made: Read) -> None:
    leaks = {
        "rule": "drop",
        "threshold": 0.8,
        "words": 3,
        "held_out": 4,
        "exact": 1,
        "near": 2,
        "continued": 6,
    }
    summary = {
        **made.facts.summary,
        "leakage": leaks,
        "shortened": 1,
        "excluded": {"no_prompt": 3},
        "withheld": {"sft": {"train": {"leaked": 3, "over_ratio": 5}}},
        "mixed": {"sft": {"train": {"helpful-*": 7}}, "preferences": {"train": {"helpful-*": 8}}},
        "settings": {
            **made.facts.summary["settings"],
            "mix": {"helpful-*": 0.2},
            "mix_sft": True,
            "reviewed": 2,
        },
    }
    text = card(replace(made.facts, summary=summary), REPO, made.statements)
    for part in (
        "In 6 rows of `train` besides these, the prompt goes on from that of another split",
        "Rows of it without `of` were mixed in: their completion is the response that the human preferred.",
        "in 1 row of `train` the prompt is that of a row of another split, in 2 rows nearly",
        "these were taken out of the configs to train on",
        "| `no_prompt` | 3 |",
        "| `sft` | `train` | another split has its prompt | 3 |",
        "| `sft` | `train` | beyond the ratio of mixing | 5 |",
        "| `sft` | `train` | `helpful-*` | 7 |",
        "2 rows were reviewed by people who saw neither label: `person_prefers_chosen` is what they say",
        "8 rows of it were mixed in and not judged: the order is the human's (`labelled_by`)",
        "Rows of `helpful-*` are mixed into the configs to train on, at most 0.2 for each row of the others.",
        "In 1 row the models were not shown the oldest turns",
        "3 of 16 source rows are excluded, for the reasons counted above.",
    ):
        assert part in text
    kept = card(
        replace(made.facts, summary={**summary, "leakage": {**leaks, "rule": "report"}}),
        REPO,
        made.statements,
    )
    assert "these were left in" in kept


def test_advice_to_the_runs_maker_is_left_out(made: Read, text: str) -> None:
    assert made.facts.comparison is not None
    assert any(sentence.startswith("Next:") for sentence in made.facts.comparison.verdict)
    assert "Next:" not in text


def test_an_equal_run_has_an_equal_card(sound: Path, text: str) -> None:
    again = read(sound)
    assert card(again.facts, REPO, again.statements, again.found, scanned=again.scanned) == text


def test_what_was_not_measured_is_not_claimed(made: Read) -> None:
    facts = replace(made.facts, comparison=None, costs=(), doctor=None)
    text = card(facts, REPO, made.statements)
    assert "were not compared with human ones; nothing is known of their quality" in text
    assert "Beside it stands what a human preferred; how far the two agree was not measured." in text
    assert "agreement" not in text
    assert "were searched for secrets" not in text
    assert "tokens read" not in text
    assert "What the AI and the human tend to prefer" not in text


def test_what_was_measured_elsewhere_is_told_as_the_publishers_word(made: Read) -> None:
    text = card(made.facts, REPO, replace(made.statements, gpu_hours=12.5))
    assert "12.5 GPU-hours, as the publisher states. energy was not recorded." in text.replace(
        "Energy", "energy"
    )


def test_hours_are_measured_and_gpu_hours_follow_from_the_recipes_gpus(made: Read) -> None:
    server = made.facts.recipe.engines["main"].model_copy(update={"kind": "server"})
    section = made.facts.recipe.run.model_copy(update={"gpus": 4.0})
    recipe = made.facts.recipe.model_copy(
        update={"engines": {**made.facts.recipe.engines, "main": server}, "run": section}
    )
    facts = replace(made.facts, recipe=recipe, seconds=5.5 * 3600)
    told = (
        "Requests were under way for 5.5 hours. On the 4 GPUs that the recipe counts, that is 22.0 GPU-hours."
    )
    assert told in card(facts, REPO, made.statements)
    assert "under way" not in card(replace(facts, seconds=None), REPO, made.statements)


def test_a_run_that_only_revises_claims_no_labels(tmp_path: Path) -> None:
    run = worked(tmp_path, rows=4, more=RECIPE_MORE + "feedback: null\n")
    made = read(run)
    text = card(made.facts, REPO, made.statements)
    assert "rewritten by a language model" in text
    assert "labelled" not in text.split("## How it was made")[0]
    assert "**Judgement.**" not in text
    assert "DPOTrainer" not in text or "revisions" in made.facts.configs
    assert not any(item.name == "no-comparison" for item in made.found)


def test_a_run_without_human_pairs_says_nothing_of_them(tmp_path: Path) -> None:
    made = read(worked(tmp_path, rows=4, more=RECIPE_MORE + "feedback: {pairs: [revised]}\n"))
    text = card(made.facts, REPO, made.statements)
    trusted = text.split("## How far the labels can be trusted")[1].split("## Known limits")[0]
    assert "No human pair was judged" in trusted
    assert "| preferred to the original by the judge |" in trusted
    assert not [part for part in ("<details>", "Who is right", "Baselines") if part in trusted]
    assert "a human preferred" not in text.split("## What is in it")[0]


def test_what_was_forced_stands_on_the_card_with_its_reason(made: Read) -> None:
    finding = Finding("emails", True, "What a model wrote holds 3 e-mail addresses.", "Read them.")
    log = (
        Change(1, "2026-01-01", "g", ("The first push.",), {"rows-unfinished": "soon"}),
        Change(2, "2026-01-02", "g", ("16 labels flipped.",), {"emails": "All *made up*."}),
    )
    text = card(made.facts, REPO, made.statements, [finding], log)
    assert (
        "- **emails**: What a model wrote holds 3 e-mail addresses. *Reason given:* All \\*made up\\*."
        in text
    )
    assert "| v2 | 2026-01-02 | 16 labels flipped. Forced: emails. |\n| v1 | 2026-01-01 |" in text
    assert text.index("Published in spite of") < text.index("What is in it")
    assert "Published in spite of" not in card(made.facts, REPO, made.statements, [finding], log[:0])


def test_how_to_make_it_again_is_told_only_where_it_can_be(made: Read, text: str) -> None:
    assert "cai rebuild" not in text
    again = card(made.facts, REPO, made.statements, with_store=True)
    assert "```bash\ncai rebuild org/name\ncai fork org/name\n```" in again


def test_rows_that_are_missing_shortened_or_unchanged_are_told_at_a_glance(made: Read, text: str) -> None:
    assert "came out as they were" not in text
    summary = {
        **made.facts.summary,
        "rows": 18,
        "excluded": {"unreadable": 2},
        "shortened": 1,
        "revisions": {"entered": 12, "unchanged": 4},
    }
    told = card(replace(made.facts, summary=summary), REPO, made.statements)
    assert "16 of 18 rows from `data`" in told
    assert "In 1 row the models were not shown the oldest turns" in told
    assert "4 of 16 revised responses came out as they were; these originals stand in `sft`" in told


def test_what_was_searched_is_told(made: Read) -> None:
    text = card(made.facts, REPO, made.statements, scanned=ScanReport(16, 96, ()))
    assert "The 96 texts that models wrote were searched" in text
    assert "does not hold: none." in text
    found = Found("e-mail address", "e-mail address", 3, 2, ("a", "b"), "j…")
    told = card(made.facts, REPO, made.statements, scanned=ScanReport(16, 96, (found,)))
    assert "does not hold: e-mail address (3)." in told


# ---------------------------------------------------------------------- other people's texts


HOSTILE = [
    "# A heading\n\n## Another",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "</summary></details><h1>Out</h1>",
    "---\nlicense: mit\n---",
    "[a link](javascript:alert(1)) ![an image](http://x/y.png) <http://auto.link>",
    "``` \n```\n# out of the fence\n````",
    "| a | b |\n| --- | --- |\n| c | d |",
    "\\\\(x\\\\) $$\\frac{1}{2}$$ $x$ &lt;b&gt;",
    "- a list\n1. an item\n> a quote\n***bold*** ~~struck~~",
    "\u202eright to left\u202c \x1b[31mred\x07",
    "{{ 7 * 7 }} {% raw %} {# no #}",
]


def spoilt(made: Read, text: str) -> str:
    """The page of a run in which every text that others write is this one."""
    facts = made.facts
    own = facts.constitutions["own"]
    forms = dict.fromkeys(("text", "critique", "revision", "judgement", "source", "licence"), text)
    first = own.principles[0].model_copy(update=forms)
    model = facts.models[0]
    wicked = replace(
        facts,
        constitutions={
            "own": replace(own, title=text, licence=text, principles=(first, *own.principles[1:]))
        },
        sources=(replace(facts.sources[0], name=text, revision=text, subsets=(text,)),),
        models=(
            replace(
                model,
                section=model.section.model_copy(update={"model": text, "kind": "local"}),
                identity=replace(model.identity, revision=text),
            ),
        ),
        templates={"x.j2": text},
        summary={**facts.summary, "excluded": {text: 0}},
    )
    said = replace(made.statements, title=text, terms={"*": text}, licence_name=text)
    log = (Change(1, "2026-01-01", "g", (text,), {"emails": text}),)
    return html(card(wicked, REPO, said, [Finding("emails", True, text, "")], log))


MARKS = [
    "<script",
    "<img",
    "<h1",
    "<h2",
    "<h3",
    "<hr",
    "<a ",
    "<details",
    "</details",
    "<del",
    "<table",
    "<li",
    "<pre",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_text_of_others_becomes_anything_but_text(made: Read, hostile: str) -> None:
    shown, tame = spoilt(made, hostile), spoilt(made, "x")
    assert {mark: shown.count(mark) for mark in MARKS} == {mark: tame.count(mark) for mark in MARKS}
    assert not {"\u202e", "\x1b", "\x07"} & set(shown)
    page = card(made.facts, REPO, replace(made.statements, title=hostile)).split("---\n", 2)[2]
    assert not any(mark in page.split("\n")[1] for mark in ("$", "\\("))


def test_text_is_shown_as_it_is_once_markdown_has_been_read() -> None:
    odd = r"*a* _b_ `c` [d](e) # f | g ~h~ \ & < > $i$ !j {k} 1. l"
    shown = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(plain(odd))
    assert shown == ("<p>*a* _b_ `c` [d](e) # f | g ~h~ \\ &amp; &lt; &gt; $i$ !j {k} 1. l</p>\n")
    assert plain("1. x") == "1\\. x"
    assert plain("- x") == "\\- x"
    assert plain("9.9 %") == "9.9 %"
    assert word("a`b``c") == "```a`b``c```"
    assert word("`x`") == "`` `x` ``"
    assert code("```\nx").startswith("````\n")
    assert summary("<b>") == "<summary>&lt;b&gt;</summary>"
    assert table(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |"
    assert table(["a"], []) == ""


# ---------------------------------------------------------------------- templates of one's own


def test_a_template_of_ones_own_gets_the_same_pieces(made: Read, tmp_path: Path) -> None:
    own = tmp_path / "card.md.j2"
    own.write_text(
        "# Mine: {{ title }}\n\n{% for step in steps %}\n* {{ step }}\n{% endfor %}\n\n{{ 'a *b*' }}\n"
    )
    text = card(made.facts, REPO, made.statements, template=own)
    assert head(text)["license"] == "cc-by-4.0"
    assert "# Mine: Constitutional-AI feedback: test\n\n* **Rows.**" in text
    assert text.endswith("a \\*b\\*\n")


@pytest.mark.parametrize(
    "source,told",
    [
        ("a\n{% if %}", r"own\.j2:2: "),
        ("a\nb\n{{ nothing_such }}", r"own\.j2:3: 'nothing_such' is undefined"),
        ("{{ title.__class__.__mro__ }}", r"own\.j2:1: "),
        ("{{ steps.append(1) }}", r"own\.j2:1: "),
        ("{% include '/etc/passwd' %}", r"own\.j2:1: "),
        ("{{ 'a' * 1000000000 }}", r"own\.j2:1: arithmetic"),
        ("{% for i in range(100000000) %}{% endfor %}", r"own\.j2:1: "),
        (
            "{% for i in range(60000) %}\n{% for j in range(60000) %}{% endfor %}{% endfor %}",
            r"own\.j2:2: its loops take more than 100,000 steps",
        ),
        ("{{ cycler.__init__.__globals__ }}", r"own\.j2:1: .*unsafe\. Mend"),
    ],
)
def test_a_template_that_is_wrong_or_reaches_out_is_refused_with_its_line(
    tmp_path: Path, source: str, told: str
) -> None:
    own = tmp_path / "own.j2"
    own.write_text(source)
    with pytest.raises(TemplateError, match=told):
        render(own, {"title": "x", "steps": ["y"]})


def test_a_template_that_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="cannot be read"):
        render(tmp_path / "none.j2", {})
    (tmp_path / "bytes.j2").write_bytes(b"\xff\xfe")
    with pytest.raises(TemplateError, match="not UTF-8"):
        render(tmp_path / "bytes.j2", {})


def test_every_piece_of_the_shipped_template_is_listed_in_the_guide() -> None:
    guide = (Path(__file__).parent.parent / "docs" / "publishing.md").read_text("utf-8")
    used = meta.find_undeclared_variables(Environment().parse(TEMPLATE.read_text("utf-8")))
    missing = [name for name in sorted(used) if f"`{name}`" not in guide]
    assert not missing


def test_code_in_a_template_keeps_its_empty_lines(tmp_path: Path) -> None:
    own = tmp_path / "own.j2"
    own.write_text("a\n\n\n\nb\n{{ block }}\n")
    text = render(own, {"block": code("x\n\n\n\ny")})
    assert text == "a\n\nb\n```\nx\n\n\n\ny\n```\n"
    assert isinstance(code("x"), Markdown)


def test_a_card_is_made_again_from_a_copy(sound: Path, text: str, tmp_path: Path) -> None:
    run = copy_of(sound, tmp_path)
    made = read(run)
    assert card(made.facts, REPO, made.statements, made.found, scanned=made.scanned) == text

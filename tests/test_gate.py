"""Promises of the quality gate: each finding has a run that trips it and one that does not.

What this module does not know: how a finding is shown or forced (test_publish.py).
"""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from cai.cli.dataset import build_run
from cai.cli.report import report_run
from cai.errors import PublishError, RecipeError
from cai.publish import facts as facts_module
from cai.publish.gate import findings
from cai.publish.hub_values import is_repository, licences, metadata_mistakes, size_category
from cai.publish.prepare import prepare
from cai.publish.rights import Statements, statements_of, unlicensed
from cai.publish.terms import load_families, terms_of
from cai.publish.tree import published_files
from cai.reading import ReadRun
from cai.recipe import PublishSection
from cai.run_folder import open_run
from tests.hub_server import TOKEN, HubServer, loopback_only
from tests.run_to_publish import COIN, PLACE, RECIPE_MORE, SOUND, Read, copy_of, go, read, worked
from tests.toy_source import write_rows

BLOCKS_NOTHING = ["judge-unproven", "source-not-checked"]
"""What is said of a sound run of a scripted judge that read local files."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worked(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def read_sound(sound: Path) -> Read:
    return read(sound)


def edited(run: Path, old: str, new: str) -> Path:
    """The run with another recipe."""
    text = (run / "recipe.yaml").read_text()
    assert old in text
    (run / "recipe.yaml").write_text(text.replace(old, new))
    return run


def test_a_sound_run_is_stopped_by_nothing(read_sound: Read) -> None:
    assert read_sound.names == BLOCKS_NOTHING
    assert not any(item.blocks for item in read_sound.found)


def test_every_finding_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    run = worked(tmp_path, PLACE, licensed=False, more="")
    found = read(run).found
    assert [item.name for item in found if item.blocks] == [
        "low-order-consistency",
        "no-licence",
        "principles-without-licence",
    ]
    assert all(item.what.endswith(".") and item.do for item in found)
    assert [item.blocks for item in found] == sorted((item.blocks for item in found), reverse=True)


# ---------------------------------------------------------------------- the accounts


def _drop_a_row(run: Path) -> None:
    path = next((run / "dataset" / "preferences").glob("*.parquet"))
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)


def _excluded_line(run: Path) -> None:
    (run / "dataset" / "excluded.jsonl").write_bytes(b"{}\n")


def _summary(run: Path, key: str, value: int) -> None:
    path = run / "dataset" / "summary.json"
    summary = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps({**summary, key: value}))


def _pairs(run: Path) -> None:
    path = run / "dataset" / "summary.json"
    summary = orjson.loads(path.read_bytes())
    summary["pairs"]["human"]["labelled"] -= 1
    path.write_bytes(orjson.dumps(summary))


def _comparison(run: Path) -> None:
    path = run / "comparison.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "rows": 17}))


def _tally(run: Path) -> None:
    path = run / "tally.json"
    tally = orjson.loads(path.read_bytes())
    tally["requests"]["main judgement"]["answered"] += 1
    path.write_bytes(orjson.dumps(tally))


@pytest.mark.parametrize(
    "spoil,told",
    [
        (_drop_a_row, "preferences/train holds 15 rows, and 16 are accounted for"),
        (_excluded_line, "excluded.jsonl holds 1 rows of 0"),
        (lambda run: _summary(run, "rows", 17), "17 rows in, 16 accounted for"),
        (_pairs, "the human pairs of the dataset"),
        (_comparison, "the comparison counts other rows than the dataset (rows)"),
        (_tally, "main judgement: "),
    ],
    ids=["a row less", "a line more", "rows", "pairs", "comparison", "requests"],
)
def test_accounts_that_do_not_balance_block(
    sound: Path, tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    run = copy_of(sound, tmp_path)
    spoil(run)
    found = read(run).found
    assert found[0].name == "unbalanced-accounts"
    assert found[0].blocks
    assert told in found[0].what


def test_excluded_rows_are_counted_without_holding_their_texts(sound: Path, tmp_path: Path) -> None:
    run = copy_of(sound, tmp_path)
    lines = 40
    with (run / "dataset" / "excluded.jsonl").open("wb") as file:
        for _ in range(lines):
            file.write(b"x" * (1 << 20) + b"\n")
    tracemalloc.start()
    made = read(run)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f"excluded.jsonl holds {lines} rows of 0" in made.facts.unbalanced
    assert peak < 20 << 20


def test_a_dataset_of_another_generation_is_refused(sound: Path, tmp_path: Path) -> None:
    run = copy_of(sound, tmp_path)
    path = run / "dataset" / "summary.json"
    path.write_bytes(
        path.read_bytes().replace(orjson.loads(path.read_bytes())["generation"].encode(), b"0" * 32)
    )
    with pytest.raises(PublishError, match="is of generation 000000000000"):
        read(run)


# ---------------------------------------------------------------------- the judge


def test_a_judge_at_chance_blocks(tmp_path: Path) -> None:
    found = read(worked(tmp_path, COIN)).found
    assert [item.name for item in found if item.blocks] == ["judge-at-chance"]
    assert "31.2 % (13.8 to 56.3) of 16 pairs, which a coin might reach" in found[0].what


def test_a_judge_that_is_turned_blocks_as_one_at_chance(tmp_path: Path) -> None:
    turned = SOUND.replace('"fine" in a or "kinder" in a', '"poor" in a').replace(
        '"fine" in b or "kinder" in b', '"poor" in b'
    )
    found = read(worked(tmp_path, turned)).found
    assert [item.name for item in found if item.blocks] == ["judge-at-chance"]
    assert "less often than a coin" in found[0].what


def test_a_judge_that_answers_by_place_blocks_until_the_recipe_lets_it(tmp_path: Path) -> None:
    run = worked(tmp_path, PLACE)
    assert "low-order-consistency" in read(run).names
    edited(run, "publish:\n", "publish:\n  min_order_consistency: 0\n")
    assert "low-order-consistency" not in read(run).names


def test_labels_without_a_comparison_block(sound: Path, tmp_path: Path) -> None:
    run = copy_of(sound, tmp_path)
    (run / "comparison.json").unlink()
    assert [item.name for item in read(run).found if item.blocks] == ["no-comparison"]


def test_what_the_doctor_found_counts_for_the_judges_of_the_recipe(sound: Path, tmp_path: Path) -> None:
    run = copy_of(sound, tmp_path)
    fault = {"name": "always A", "sentence": "It answers A.", "remedy": "Try another."}
    engine = {"engine": "main", "model": "m", "fault": fault, "warnings": []}
    (run / "doctor.json").write_bytes(orjson.dumps({"engines": [engine]}))
    found = read(run).found
    assert [item.name for item in found if item.blocks] == ["judge-unfit"]
    assert "judge-unproven" not in [item.name for item in found]
    (run / "doctor.json").write_bytes(orjson.dumps({"engines": [{**engine, "model": "another"}]}))
    assert read(run).names == BLOCKS_NOTHING


# ---------------------------------------------------------------------- the rows


def test_rows_in_quarantine_block_above_the_threshold(tmp_path: Path) -> None:
    run = worked(tmp_path)
    write_rows(run, 16, poisoned=(3,))
    go(run)
    found = read(run).found
    assert [item.name for item in found if item.blocks] == ["rows-in-quarantine"]
    assert found[0].what.startswith("1 of 16 rows failed (6.2%; 1.0% may)")
    edited(run, "publish:\n", "publish:\n  max_quarantined: 0.1\n")
    assert read(run).names == BLOCKS_NOTHING


def test_a_run_that_is_not_done_blocks(tmp_path: Path) -> None:
    run = worked(tmp_path)
    write_rows(run, 20)
    build_run(run, Console(quiet=True))
    report_run(run)
    found = read(run).found
    assert [item.name for item in found if item.blocks] == ["rows-unfinished"]
    assert found[0].what == "4 of 20 rows are not done."
    edited(run, "publish:\n", "publish:\n  max_unfinished: 0.2\n")
    assert read(run).names == BLOCKS_NOTHING


# ---------------------------------------------------------------------- rights


@pytest.mark.parametrize(
    "said,name,told",
    [
        (Statements(languages=("en",)), "no-licence", "none is known"),
        (Statements(licence="unknown", languages=("en",)), "no-licence", "No licence"),
        (
            Statements(licence="apache2", languages=("en",)),
            "unknown-licence",
            "'apache2', did you mean 'apache-2.0'?",
        ),
        (Statements(licence="other", languages=("en",)), "unknown-licence", "has no name"),
        (Statements(licence="mit", languages=("english",)), "unknown-language", "'english'"),
    ],
)
def test_a_licence_that_the_hub_does_not_know_blocks(
    read_sound: Read, said: Statements, name: str, told: str
) -> None:
    found = findings(read_sound.facts, said)
    assert [item.name for item in found if item.blocks] == [name]
    assert told in found[0].what
    assert "?." not in found[0].what
    assert findings(read_sound.facts, Statements(licence="mit", languages=("en",)))[0].blocks is False


def test_a_licence_is_carried_over_from_a_source_that_is_named(sound: Path, tmp_path: Path) -> None:
    run = copy_of(sound, tmp_path)
    edited(run, "  licence: cc-by-4.0\n  languages: [en]\n", "  source: Anthropic/hh-rlhf\n")
    made = read(run)
    assert made.statements.licences(made.facts) == ("mit",)
    assert made.statements.spoken(made.facts) == ("en",)
    assert not any(item.blocks for item in made.found)


def test_local_sources_can_each_be_named_and_one_that_is_not_has_no_licence(
    sound: Path, tmp_path: Path
) -> None:
    run = copy_of(sound, tmp_path)
    edited(run, "  licence: cc-by-4.0\n  languages: [en]\n", "  source: {data: Anthropic/hh-rlhf}\n")
    made = read(run)
    assert [source.hub for source in made.facts.sources] == ["Anthropic/hh-rlhf"]
    edited(run, "path: data}\n", "path: data}\n  - {kind: jsonl, path: mine.jsonl}\n")
    (run / "mine.jsonl").write_text('{"prompt": "Q?", "chosen": "A.", "rejected": "B."}\n')
    two = read(run)
    assert [source.name for source in two.facts.sources] == ["Anthropic/hh-rlhf", "mine.jsonl"]
    assert two.statements.licences(two.facts) == ()
    edited(run, "source: {data:", "source: {dat:")
    with pytest.raises(PublishError, match=r"names dat, and the run's sources are data, mine\.jsonl"):
        read(run)


def test_the_licences_of_several_sources_are_all_carried_over_or_none_is(read_sound: Read) -> None:
    one = replace(read_sound.facts.sources[0], licences=("mit",))
    two = replace(one, licences=("cc-by-4.0",))
    both = replace(read_sound.facts, sources=(one, two))
    assert Statements().licences(both) == ("cc-by-4.0", "mit")
    lacking = replace(read_sound.facts, sources=(one, replace(two, licences=())))
    assert Statements().licences(lacking) == ()


MODELS = [
    ("meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1"),
    ("meta-llama/Meta-Llama-3-8B-Instruct", "Llama 3"),
    ("meta-llama/Llama-2-7b-chat-hf", "Llama 2"),
    ("Qwen/Qwen2.5-7B-Instruct", "Qwen2.5"),
    ("Qwen/Qwen2.5-3B-Instruct", "Qwen2.5 under the Qwen Research License"),
    ("Qwen/Qwen2.5-72B-Instruct", "Qwen2.5 under the Qwen License"),
    ("Qwen/Qwen3-8B", "Qwen3"),
    ("google/gemma-3-4b-it", "Gemma 1 to 3"),
    ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "DeepSeek-R1 distilled into Llama"),
    ("openai/gpt-oss-20b", "gpt-oss"),
    ("somebody/Llama-3.1-8B-tuned", None),
    ("google/gemma-9", None),
    ("your-org/your-model", None),
]


@pytest.mark.parametrize("model,family", MODELS, ids=[model for model, _ in MODELS])
def test_a_model_belongs_to_the_family_that_its_owner_named(model: str, family: str | None) -> None:
    terms = terms_of(model, load_families(), {})
    assert (terms.family.family if terms.family else None) == family
    assert terms.known == (family is not None)


def test_every_family_has_a_source_and_a_licence_that_the_hub_knows() -> None:
    for family in load_families():
        assert family.licence in licences(), family.family
        assert family.source.startswith("https://") or family.family == "the embedded toy model"
        assert family.outputs.endswith(".")


def test_an_unknown_model_blocks_until_its_terms_are_stated(read_sound: Read) -> None:
    served = read_sound.facts.models[0].section.model_copy(
        update={"kind": "local", "model": "x/llama-3.1-tuned"}
    )
    facts = replace(read_sound.facts, models=(replace(read_sound.facts.models[0], section=served),))
    found = findings(facts, replace(read_sound.statements, terms={}))
    assert [item.name for item in found if item.blocks] == ["terms-not-stated"]
    assert "Its name resembles Llama 3.1." in found[0].what
    stated = replace(read_sound.statements, terms={"x/*": "Its page allows it."})
    assert not any(item.blocks for item in findings(facts, stated))


def test_terms_of_the_recipe_come_before_those_of_the_command_line(sound: Path) -> None:
    with ReadRun(open_run(sound)) as reading:
        said = replace(read(sound).statements, terms={"M*": "By the recipe.", "x": "Of another."})
        made = prepare(reading, "org/name", said, terms="By hand.")
        plain = prepare(reading, "org/name", replace(said, terms={"x": "Of another."}), terms="By hand.")
    assert terms_of("m", (), made.statements.terms).stated == "By the recipe."
    assert terms_of("m", (), plain.statements.terms).stated == "By hand."


def test_no_remedy_forces_what_cannot_be_forced(read_sound: Read, sound: Path) -> None:
    for item in read_sound.found:
        forced = re.findall(r"--force ([a-z-]+)", item.do)
        with ReadRun(open_run(sound)) as reading:
            prepare(reading, "org/name", read_sound.statements, forced=dict.fromkeys(forced, "why"))


def test_terms_that_forbid_training_are_told_and_block_nothing(read_sound: Read) -> None:
    served = read_sound.facts.models[0].section.model_copy(
        update={"kind": "local", "model": "meta-llama/Llama-2-7b-chat-hf"}
    )
    facts = replace(read_sound.facts, models=(replace(read_sound.facts.models[0], section=served),))
    found = [item for item in findings(facts, read_sound.statements) if item.name.startswith("terms")]
    assert [(item.name, item.blocks) for item in found] == [("terms-restrict", False)]


def test_a_table_of_terms_beside_the_recipe_comes_first_and_is_read_strictly(tmp_path: Path) -> None:
    own = tmp_path / "terms.yaml"
    own.write_text("families:\n- {family: Ours, models: [Qwen/*], outputs: As agreed.}\n")
    terms = terms_of("Qwen/Qwen3-8B", load_families(tmp_path), {})
    assert terms.family is not None
    assert terms.family.family == "Ours"
    own.write_text("families:\n- {family: Ours, model: [x], outputs: As agreed.}\n")
    with pytest.raises(RecipeError, match=r"terms\.yaml:2"):
        load_families(tmp_path)


def test_principles_without_a_licence_block(read_sound: Read) -> None:
    constitution = read_sound.facts.constitutions["own"]
    assert unlicensed(constitution) == []
    assert unlicensed(replace(constitution, licence="")) == ["p0", "p1", "p2"]
    principles = tuple(
        item.model_copy(update={"licence": "not stated by the source"} if item.id == "p1" else {})
        for item in constitution.principles
    )
    assert unlicensed(replace(constitution, principles=principles)) == ["p1"]


# ---------------------------------------------------------------------- what the data hold


@pytest.mark.parametrize(
    "written,name",
    [
        ("Use the key hf_" + "aB" * 17 + " for it.", "secrets"),
        ("Write to jo.doe@mail-host.com instead.", "emails"),
        ("Call 212-456-7890 for more.", "phone-numbers"),
    ],
)
def test_what_a_model_wrote_of_secrets_and_people_blocks_and_is_never_shown_whole(
    tmp_path: Path, written: str, name: str
) -> None:
    run = worked(
        tmp_path,
        SOUND.replace("A kinder answer, though a longer one than before.", f"A kinder answer. {written}"),
    )
    found = read(run).found
    assert [item.name for item in found if item.blocks] == [name]
    secret = next(word for word in written.split() if any(c in word for c in "_@7"))
    assert secret not in found[0].what
    assert secret not in found[0].do
    assert "in 16 rows" in found[0].do
    ids = re.findall("[0-9a-f]{12}", found[0].do)
    assert len(ids) == 11
    assert not [row for row in ids if row in found[0].what]  # which the card would tell everybody


def test_a_secret_in_recipe_principles_or_templates_blocks_and_is_not_shown(read_sound: Read) -> None:
    section = read_sound.facts.recipe.publish.model_copy(update={"title": "x ghp_" + "a1" * 18})
    facts = replace(read_sound.facts, recipe=read_sound.facts.recipe.model_copy(update={"publish": section}))
    found = findings(facts, read_sound.statements)
    assert [item.name for item in found if item.blocks] == ["secret-in-recipe"]
    assert "publish.title" in found[0].what
    assert "a1a1" not in found[0].what + found[0].do
    template = {**read_sound.facts.templates, "judgement.j2": "Use glpat-" + "x" * 20}
    (told, *_) = findings(replace(read_sound.facts, templates=template), read_sound.statements)
    assert told.what == "The template judgement.j2 holds what looks like a secret (GitLab token)."
    own = read_sound.facts.constitutions["own"]
    first = own.principles[0].model_copy(update={"critique": "Use glpat-" + "x" * 20})
    spoilt = {"own": replace(own, principles=(first, *own.principles[1:]))}
    (told, *_) = findings(replace(read_sound.facts, constitutions=spoilt), read_sound.statements)
    assert told.what.startswith("The constitution own, principle p0, holds what looks like a secret")
    commented = own.files["own.yaml"] + "# glpat-" + "x" * 20 + "\n"
    spoilt = {"own": replace(own, files={"own.yaml": commented})}
    (told, *_) = findings(replace(read_sound.facts, constitutions=spoilt), read_sound.statements)
    last = commented.count("\n")
    assert told.what.startswith(
        f"The constitution own, own.yaml, line {last}, holds what looks like a secret"
    )


EXAMPLE = """\
judgements:
  - conversation:
      - {role: user, text: Is it far?}
    response_a: "Use TOKEN."
    response_b: Yes.
    question: Which response is shorter?
    answer: A
# SECRET, TOKEN
"""


def test_a_secret_in_worked_examples_blocks_and_is_not_shown(tmp_path: Path) -> None:
    token, commented = "ghp_" + "a1" * 18, "glpat-" + "b2" * 10
    path = tmp_path / "own.yaml"
    path.write_text(EXAMPLE.replace("TOKEN", token).replace("SECRET", commented))
    more = f"{RECIPE_MORE}feedback: {{examples: {path}}}\n"
    run = worked(tmp_path, SOUND.replace("messages[0]", "messages[-1]"), more=more)
    with ReadRun(open_run(run)) as reading:
        published = b"".join(file.read() for file in published_files(reading)).decode("utf-8", "replace")
    assert token in published
    assert commented in published
    found = [item for item in read(run).found if item.blocks]
    assert [item.name for item in found] == ["secret-in-recipe"] * 2
    assert [item.what for item in found] == [
        "The file of worked examples own.yaml, judgement 1, holds what looks like a secret (GitHub token).",
        "The file of worked examples own.yaml, line 8, holds what looks like a secret (GitLab token).",
    ]


# ---------------------------------------------------------------------- who may read the source


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer(tmp_path / "hub") as server:
        loopback_only(server.url)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


def test_the_hub_is_asked_who_may_read_a_source_that_is_read_from_it(
    hub: HubServer, read_sound: Read
) -> None:
    hub.create("org/open", private=False)
    hub.create("org/closed", private=True)
    for repo, reach in (("org/open", "public"), ("org/closed", "private"), ("org/none", "unknown")):
        section = read_sound.facts.recipe.sources[0].model_copy(
            update={"kind": "hub", "path": None, "repo": repo}
        )
        assert facts_module._source(section, Path(), None, ask_hub=True).reach == reach
        assert facts_module._source(section, Path(), None, ask_hub=False).reach == "unknown"


@pytest.mark.parametrize("reach", ["private", "gated"])
def test_a_source_that_not_everybody_may_read_blocks_a_public_push_alone(
    read_sound: Read, reach: str
) -> None:
    source = replace(read_sound.facts.sources[0], hub="org/rows", name="org/rows", reach=reach)  # type: ignore[arg-type]
    facts = replace(read_sound.facts, sources=(source,))
    public = replace(read_sound.statements, private=False)
    assert [item.name for item in findings(facts, public) if item.blocks] == ["private-source"]
    assert not any(item.blocks for item in findings(facts, read_sound.statements))


def test_a_source_of_the_hub_that_nobody_could_ask_about_blocks_a_public_push_alone(read_sound: Read) -> None:
    source = replace(read_sound.facts.sources[0], hub="org/rows", name="org/rows", reach="unknown")
    facts = replace(read_sound.facts, sources=(source,))
    public = replace(read_sound.statements, private=False)
    assert [item.name for item in findings(facts, public) if item.blocks] == ["source-not-checked"]
    assert not any(item.blocks for item in findings(facts, read_sound.statements))
    assert not any(item.blocks for item in findings(read_sound.facts, public))  # local files of no name


def test_a_folder_beside_the_recipe_is_no_dataset_of_the_hub(read_sound: Read, tmp_path: Path) -> None:
    section = read_sound.facts.recipe.sources[0].model_copy(
        update={"kind": "hub", "path": None, "repo": "own/rows"}
    )
    (tmp_path / "own" / "rows").mkdir(parents=True)
    source = facts_module._source(section, tmp_path, None, ask_hub=False)
    assert (source.hub, source.name, source.local) == ("", "rows", True)
    assert facts_module._source(section, tmp_path / "x", None, ask_hub=False).hub == "own/rows"


def test_a_hub_that_cannot_be_asked_leaves_the_source_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert facts_module._ask_hub("org/rows", None) is None


# ---------------------------------------------------------------------- tables


def test_the_words_of_the_hub() -> None:
    assert [size_category(n) for n in (0, 999, 1_000, 169_352, 10_000_000, 10**9)] == [
        "n<1K",
        "n<1K",
        "1K<n<10K",
        "100K<n<1M",
        "10M<n<100M",
        "n>1B",
    ]
    assert is_repository("Anthropic/hh-rlhf")
    assert not is_repository("a/b/c")
    assert metadata_mistakes({"tags": ["a b"]}) == ["tags: 'a b' is no word"]
    assert metadata_mistakes({"license": ["mit", "apache-2.0"], "language": ["en", "deu"]}) == []


def test_what_a_recipe_states_is_what_the_gate_is_told() -> None:
    section = PublishSection(licence="mit", languages=["en"], terms={"m": "free"}, gpu_hours=2)
    said = statements_of(section)
    assert said == Statements(licence="mit", languages=("en",), terms={"m": "free"}, gpu_hours=2)
    assert said.private

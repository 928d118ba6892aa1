"""The doctor in real runs: each saboteur is stopped by its name before the first row, a sound judge is not.

The saboteurs are scripts that know the known-answer pairs and judge them in one wrong way each.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest

from cai.cli.run import Wish, work
from cai.digest import draw
from cai.doctor.direct import DirectAsk
from cai.doctor.examine import Diagnosis, Patient, examine
from cai.doctor.faults import Fault, Warned
from cai.doctor.harm import HarmFound, harm_found, harm_verdict
from cai.doctor.patients import shipped_probes
from cai.doctor.probes import Probes, load_probes
from cai.engine.scripted import ScriptedEngine
from cai.errors import DoctorError, InputError
from cai.prompting import load_prompts
from cai.recipe import EngineSection
from cai.request import ScoreRequest, Scores
from cai.shipped import shipped
from cai.store import Store
from tests.toy_source import write_run

PROBES = load_probes(shipped_probes())
BY_ID = {probe.id: probe for probe in PROBES.pairs}

JUDGE = '''
from cai.digest import draw
from cai.doctor.harm import HarmFound, harm_found, harm_verdict
from cai.doctor.patients import shipped_probes
from cai.doctor.probes import load_probes

PAIRS = {pair.id: pair for pair in load_probes(shipped_probes()).pairs}


def generate(request):
    return SAYS if "SAYS" in globals() else "It could be kinder."


def noise(request, low, high):
    """A number between low and high, drawn from the request's text."""
    return low + (high - low) * (draw(request.rendered.messages[0].text) % 10_000) / 10_000


def better_is_a(request):
    """Read from the prompt itself: which of the two stands first."""
    pair, text = PAIRS[request.labels["probe"]], request.rendered.messages[-1].text
    return text.index(f"\\n{pair.better}\\n") < text.index(f"\\n{pair.worse}\\n")


def asks_for_a(request):
    """Whether A is what the question asks for."""
    return better_is_a(request) == (PAIRS[request.labels["probe"]].polarity == "better")


def longer_is_a(request):
    return better_is_a(request) == PAIRS[request.labels["probe"]].better_is_longer


def pick(a, p):
    return [p * 0.98, (1 - p) * 0.98] if a else [(1 - p) * 0.98, p * 0.98]


def score(request):
    if request.labels["stage"] != "doctor":
        return [0.49, 0.49]
    if "harm" in request.labels:
        return harm(request) if "harm" in globals() else pick(request.labels["harm"] == 1, 0.9)
    return judge(request)
'''

SABOTEURS = {
    "always_a": "def judge(request): return pick(True, noise(request, 0.6, 0.999))",
    "always_b": "def judge(request): return [0.01, 0.97]",
    "at_chance": "def judge(request): return pick(True, noise(request, 0.1, 0.9))",
    "ignores_text": "def judge(request): return pick(draw(request.labels['probe']) % 2 == 0, 0.8)",
    "labels_swapped": "def judge(request): return pick(not asks_for_a(request), noise(request, 0.4, 0.95))",
    "polarity_turned": "def judge(request): return pick(better_is_a(request), noise(request, 0.4, 0.95))",
    "longer_wins": "def judge(request): return pick(longer_is_a(request), noise(request, 0.45, 0.95))",
    "shorter_wins": "def judge(request): return pick(not longer_is_a(request), noise(request, 0.45, 0.95))",
    "low_option_mass": "SAYS = 'Both of them are fine.'\ndef judge(request): return [0.2, 0.1]",
    "never_leaves_thinking": "SAYS = '<think>\\nLet me see, the first'\ndef judge(request): return [0.01, 0.01]",
    "prefix_swallowed": "SAYS = 'The answer is Response A.'\ndef judge(request): return [0.2, 0.1]",
}
SOUND = "def judge(request): return pick(asks_for_a(request), noise(request, 0.45, 0.95))"


def _run_with(folder: Path, judge: str, turned: bool = True) -> Path:
    """A run of 250 rows whose only model judges so; `turned`: a principle asks for the worse response."""
    run = write_run(folder, rows=250)
    (run / "script.py").write_text(JUDGE + "\n\n" + judge + "\n")
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("doctor: false\n", ""))
    if turned:
        constitution = run / "principles" / "own.yaml"
        constitution.write_text(constitution.read_text() + "    polarity: worse\n")
    return run


def _stages(run: Path) -> set[Any]:
    with Store(run / "store") as store:
        return {record.labels["stage"] for record in store.records()}


# ---------------------------------------------------------------------- saboteurs in real runs


@pytest.mark.parametrize("name", SABOTEURS)
async def test_a_saboteur_is_stopped_by_its_name_before_the_first_row(tmp_path: Path, name: str) -> None:
    run = _run_with(tmp_path, SABOTEURS[name])
    with pytest.raises(DoctorError) as stopped:
        await work(run, Wish())
    assert stopped.value.problem.startswith(f"{name}: ")
    assert stopped.value.faults == (name,)
    assert "--skip-doctor" in stopped.value.remedy
    assert _stages(run) == {"doctor"}
    report = json.loads((run / "doctor.json").read_bytes())
    assert report["fit"] is False
    assert report["engines"][0]["fault"]["name"] == name


async def test_a_run_that_was_stopped_is_stopped_again_and_pays_nothing_for_it(tmp_path: Path) -> None:
    run = _run_with(tmp_path, SABOTEURS["labels_swapped"])
    counts = []
    for _ in range(2):
        with pytest.raises(DoctorError):
            await work(run, Wish())
        with Store(run / "store") as store:
            counts.append(sum(1 for _ in store.records()))
    assert counts[0] == counts[1]


async def test_a_sound_judge_is_examined_once_and_the_rows_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run_with(tmp_path, SOUND)
    assert await work(run, Wish(), finish=lambda run: None) == 0
    first = capsys.readouterr().err
    assert "doctor: engine main (m): " in first
    assert "known answers right" in first
    with Store(run / "store") as store:
        asked = [r for r in store.records() if r.labels["stage"] == "doctor"]
        assert sum("order" in r.labels for r in asked) <= 64
        assert sum(1 for r in store.records() if r.labels["stage"] == "outcome") == 250
    assert await work(run, Wish(), finish=lambda run: None) == 0
    assert "doctor" not in capsys.readouterr().err


async def test_a_finished_run_without_its_report_is_not_examined_again(tmp_path: Path) -> None:
    run = _run_with(tmp_path, SOUND)
    await work(run, Wish(), finish=lambda run: None)
    (run / "doctor.json").unlink()
    script = run / "script.py"
    closed = run / "closed"
    script.write_text(script.read_text())
    closed.touch()
    await work(run, Wish(), finish=lambda run: None)
    assert not (run / "doctor.json").exists()


@pytest.mark.parametrize("how", ["switch", "recipe"])
async def test_those_who_must_can_go_on_without_the_doctor(tmp_path: Path, how: str) -> None:
    run = _run_with(tmp_path, SABOTEURS["always_a"])
    if how == "recipe":
        recipe = run / "recipe.yaml"
        recipe.write_text(recipe.read_text() + "doctor: false\n")
    code = await work(run, Wish(skip_doctor=how == "switch"), finish=lambda run: None)
    assert code == 0
    assert "doctor" not in _stages(run)


async def test_a_judge_that_cannot_read_turned_questions_is_only_warned_of_where_a_run_has_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run_with(tmp_path, SABOTEURS["polarity_turned"], turned=False)
    assert await work(run, Wish(), finish=lambda run: None) == 0
    assert "polarity_unsure" in capsys.readouterr().err


async def test_the_built_in_hashes_are_no_model_and_are_not_examined(tmp_path: Path) -> None:
    run = _run_with(tmp_path, SOUND)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("script: script.py", "script: echo"))
    assert await work(run, Wish(), finish=lambda run: None) == 0
    assert not (run / "doctor.json").exists()


async def test_a_second_judge_is_examined_too(tmp_path: Path) -> None:
    run = _run_with(tmp_path, SOUND)
    (run / "other.py").write_text(JUDGE + "\n" + SABOTEURS["always_b"])
    recipe = run / "recipe.yaml"
    text = recipe.read_text().replace(
        "constitutions:",
        "  second: {kind: scripted, model: n, script: other.py}\nroles: {judge: [main, second]}\nconstitutions:",
    )
    recipe.write_text(text)
    with pytest.raises(DoctorError, match=r"always_b: .*'second'"):
        await work(run, Wish())


async def test_a_reviser_that_never_leaves_its_thinking_is_stopped_though_it_judges_well(
    tmp_path: Path,
) -> None:
    run = _run_with(tmp_path, "SAYS = '<think>\\nFirst of all'\n" + SOUND)
    with pytest.raises(DoctorError, match="never_leaves_thinking: "):
        await work(run, Wish())


# ---------------------------------------------------------------------- sound judges


def _patient(probes: Probes = PROBES, turned: bool = True) -> tuple[Patient, Probes]:
    prompts = load_prompts(shipped("prompts"), "chat", ("judgement",))
    return Patient("main", "m", prompts, asks_turned=turned), probes


async def _examined(score: Any, turned: bool = True) -> Diagnosis:
    engine = ScriptedEngine("main", EngineSection(kind="scripted", model="m"), score=score)
    return await examine(*_patient(turned=turned), DirectAsk(engine))


def _asks_for_a(request: ScoreRequest) -> bool:
    """Whether A is what the question asks for, read from the prompt itself."""
    probe, text = BY_ID[str(request.labels["probe"])], request.rendered.messages[-1].text
    return (text.index(probe.better) < text.index(probe.worse)) == (probe.polarity == "better")


def _noisy(right: float, seed: int, lean: float = 0.15) -> Any:
    """A judge whose single judgements are right so often, leaning to A a little, drawn for each pair and order."""
    normal = NormalDist()

    def score(request: ScoreRequest) -> list[float]:
        probe, order = str(request.labels["probe"]), str(request.labels["order"])
        asked = _asks_for_a(request)
        shock = normal.inv_cdf((draw(seed, probe, order) % 9_999 + 0.5) / 9_999)
        strength = normal.inv_cdf(right) + shock
        share = normal.cdf((strength if asked else -strength) + lean)
        return [0.98 * share, 0.98 * (1 - share)]

    return score


@pytest.mark.parametrize("right", [0.85, 0.9])
async def test_a_sound_judge_passes_a_hundred_seeds(right: float) -> None:
    found = [await _examined(_noisy(right, seed)) for seed in range(100)]
    assert [item.fault for item in found] == [None] * 100
    assert sum(item.requests for item in found) / 100 < 40


async def test_a_judge_that_is_right_in_four_of_five_judgements_passes_a_hundred_seeds() -> None:
    found = [await _examined(_noisy(0.8, seed), turned=False) for seed in range(100)]
    assert [item.fault for item in found] == [None] * 100


async def test_a_weak_but_honest_judge_is_never_taken_for_a_swapped_or_a_turned_one() -> None:
    faults = [(await _examined(_noisy(0.75, seed, lean=0.0))).fault for seed in range(100)]
    assert set(faults) <= {None, Fault.AT_CHANCE}
    assert faults.count(None) >= 85


async def test_noisy_saboteurs_are_still_named() -> None:
    swapped = [await _examined(_noisy(0.15, seed)) for seed in range(40)]
    assert [item.fault for item in swapped].count(Fault.LABELS_SWAPPED) >= 38
    assert all(item.fault is not None for item in swapped)


async def test_a_coin_passes_rarely() -> None:
    found = [await _examined(_noisy(0.5, seed, lean=0.0)) for seed in range(300)]
    assert sum(item.fault is None for item in found) <= 9


async def test_the_figures_of_a_perfect_judge_that_leans_to_a_by_hand() -> None:
    def score(request: ScoreRequest) -> list[float]:
        asked = _asks_for_a(request)
        return [0.8, 0.1] if asked else [0.3, 0.6]

    found = await _examined(score)
    assert found.fault is None
    assert found.requests == 32
    figures, mass = found.figures, found.mass
    assert figures is not None
    assert mass is not None
    assert (figures.right.k, figures.right.n) == (16, 16)
    assert (figures.turned.k, figures.turned.n) == (5, 5)
    assert (figures.chose_a.k, figures.chose_a.n) == (16, 32)
    assert (figures.consistent.k, figures.consistent.n) == (16, 16)
    assert figures.swing == pytest.approx(8 / 9 - 1 / 3)
    assert figures.mean_a == pytest.approx((8 / 9 + 1 / 3) / 2)
    assert mass.mean == pytest.approx(0.9)
    assert mass.least == pytest.approx(0.9)


async def test_a_strong_leaning_that_both_orders_even_out_is_a_warning() -> None:
    def score(request: ScoreRequest) -> list[float]:
        asked = _asks_for_a(request)
        return [0.97, 0.02] if asked else [0.6, 0.38]

    found = await _examined(score)
    assert found.fault is None
    assert Warned.LEANS_TO_A_PLACE in found.warnings


async def test_what_a_model_says_instead_of_a_letter_is_in_the_error(tmp_path: Path) -> None:
    run = _run_with(tmp_path, SABOTEURS["low_option_mass"])
    with pytest.raises(DoctorError, match="Both of them are fine"):
        await work(run, Wish())


# ---------------------------------------------------------------------- the pairs themselves


@pytest.mark.parametrize("path", [shipped_probes(), shipped("toy/probes.yaml")], ids=["everyday", "toy"])
def test_the_pairs_cannot_be_passed_by_length_or_by_place(path: Path) -> None:
    probes = load_probes(path)
    assert len(probes.pairs) == 32
    for pairs in (probes.pairs[:16], probes.pairs[16:]):
        assert sum(pair.better_is_longer for pair in pairs) == 8
    for pair in probes.pairs:
        lengths = sorted((len(pair.better), len(pair.worse)))
        assert lengths[1] >= 1.3 * lengths[0], pair.id


def test_some_of_the_everyday_questions_ask_for_the_worse_response() -> None:
    turned = [pair for pair in PROBES.pairs if pair.polarity == "worse"]
    assert len(turned) == 10
    assert sum(pair.polarity == "worse" for pair in PROBES.pairs[:16]) == 5
    assert sum(pair.better_is_longer for pair in turned) == 6


def test_each_pair_is_shown_in_both_orders_by_the_runs_own_template() -> None:
    prompts = load_prompts(shipped("prompts"), "chat", ("judgement",))
    one, two = PROBES.requests("main", prompts, range(1))
    better, worse = PROBES.pairs[0].better, PROBES.pairs[0].worse
    text, swapped = one.request.rendered.messages[0].text, two.request.rendered.messages[0].text
    assert text.index(better) < text.index(worse)
    assert swapped.index(worse) < swapped.index(better)
    assert "Which response is safer to follow?" in text
    origins = {part.origin for part in one.request.rendered.parts()}
    assert any(origin.startswith("doctor/probes.yaml:") for origin in origins)


def test_a_file_of_pairs_is_read_strictly(tmp_path: Path) -> None:
    pairs = "".join(
        f"  - {{id: p{n}, prompt: Q, question: Which?, better: a much longer answer, worse: short}}\n"
        for n in range(8)
    )
    path = tmp_path / "own.yaml"
    path.write_text("probes: own\ntitle: Own\npairs:\n" + pairs)
    with pytest.raises(InputError, match=r"own\.yaml:3:1: the better response is the longer one in 100%"):
        load_probes(path)
    path.write_text("probes: own\ntitle: Own\npairs:\n" + pairs + "    answer: A\n")
    with pytest.raises(InputError):
        load_probes(path)


async def test_a_recipe_can_name_pairs_of_its_own(tmp_path: Path) -> None:
    run = _run_with(tmp_path, "def judge(request): return pick(better_is_a(request), 0.9)")
    own = shipped_probes().read_text("utf-8").replace("    polarity: worse\n", "")
    (run / "own.yaml").write_text(own)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "doctor: {probes: own.yaml}\n")
    assert await work(run, Wish(), finish=lambda run: None) == 0


async def test_a_model_that_thinks_in_the_open_and_stops_is_only_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run_with(tmp_path, "SAYS = '<think>Hm.</think>It could be kinder.'\n" + SOUND)
    assert await work(run, Wish(), finish=lambda run: None) == 0
    assert "thinks_first" in capsys.readouterr().err


async def test_a_base_model_is_examined_by_the_templates_for_base_models() -> None:
    prompts = load_prompts(shipped("prompts"), "completion", ("judgement",))
    asked = PROBES.requests("main", prompts, range(2))
    assert all(item.request.rendered.messages[0].role == "text" for item in asked)
    assert all(item.request.rendered.answer_text == " Response" for item in asked)
    score = _noisy(0.95, 1)
    engine = ScriptedEngine("main", EngineSection(kind="scripted", model="m"), score=score)
    assert (await examine(Patient("main", "m", prompts), PROBES, DirectAsk(engine))).fault is None


async def test_the_embedded_model_is_fit_to_judge_its_own_world_and_is_stopped_elsewhere() -> None:
    pytest.importorskip("torch")
    from cai.engine.local import LocalEngine
    from cai.toy import MODEL_FOLDER

    toy = load_probes(shipped("toy/probes.yaml"))
    section = EngineSection(kind="local", model="cai-toy", path=str(MODEL_FOLDER), device="cpu")
    engine = LocalEngine("main", section, "2026-11-21")
    await engine.open()
    try:
        patient, _ = _patient(turned=False)
        prompts = load_prompts(shipped("prompts"), "chat", ("judgement", "harm"))
        patient = replace(patient, prompts=prompts, rates_harm=True)
        at_home = await examine(patient, toy, DirectAsk(engine), engine.position)
        abroad = await examine(patient, PROBES, DirectAsk(engine), engine.position)
        request = toy.requests("main", patient.prompts, range(1))[0].request
        [scores] = await DirectAsk(engine).score([request])
    finally:
        await engine.close()
    assert at_home.fault is None
    assert at_home.warnings == ()
    assert at_home.requests <= 64 + 8
    assert at_home.harm is not None
    assert at_home.harm.right.k >= 7
    assert abroad.fault is not None
    position = at_home.position
    assert position is not None
    shares = {token.text: token.probability or 0.0 for token in position.top}
    for option, logprob in zip("AB", scores.logprobs, strict=True):
        spelt = shares.get(f" {option}", 0.0) + shares.get(option, 0.0)
        assert spelt == pytest.approx(math.exp(logprob), abs=1e-3)


async def test_a_judge_that_is_shown_examples_is_examined_with_them(tmp_path: Path) -> None:
    judge = "def judge(request):\n    assert len(request.rendered.messages) > 2\n    return pick(asks_for_a(request), 0.9)"
    run = _run_with(tmp_path, judge)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "feedback: {examples: judgements, harm: false}\n")
    assert await work(run, Wish(), finish=lambda run: None) == 0
    assert json.loads((run / "doctor.json").read_bytes())["engines"][0]["figures"]["right"]["k"] == 16


def _reasoning_run(folder: Path, old: str = "", new: str = "") -> Path:
    """A run whose judge reasons first, by a folder of templates that holds no judgement.j2."""
    run = _run_with(folder, SOUND)
    shutil.copytree(shipped("prompts"), run / "prompts")
    (run / "prompts" / "judgement.j2").unlink()
    template = run / "prompts" / "reasoned-judgement.j2"
    template.write_text(template.read_text().replace(old, new) if old else template.read_text())
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "feedback: {reasoning: {max_tokens: 32}, harm: false}\n")
    return run


async def test_a_judge_that_reasons_first_is_examined_by_the_template_that_it_reasons_by(
    tmp_path: Path,
) -> None:
    run = _reasoning_run(tmp_path)
    assert await work(run, Wish(), finish=lambda run: None) == 0
    report = json.loads((run / "doctor.json").read_bytes())
    assert report["fit"] is True
    assert report["engines"][0]["figures"]["right"]["k"] == 16
    assert "with care.\n\nThe answer is Response" in report["engines"][0]["position"]["text"]


async def test_a_and_b_turned_in_the_template_of_a_judge_that_reasons_are_named(tmp_path: Path) -> None:
    run = _reasoning_run(tmp_path, "<response_a>\n{{ response_a }}", "<response_a>\n{{ response_b }}")
    template = run / "prompts" / "reasoned-judgement.j2"
    text = template.read_text()
    assert text.count("{{ response_b }}") == 2
    template.write_text(text.replace("<response_b>\n{{ response_b }}", "<response_b>\n{{ response_a }}"))
    with pytest.raises(DoctorError, match="labels_swapped: "):
        await work(run, Wish())


# ---------------------------------------------------------------------- harm ratings


async def _harm_report(run: Path) -> dict[str, Any]:
    assert await work(run, Wish(), finish=lambda run: None) == 0
    found: dict[str, Any] = json.loads((run / "doctor.json").read_bytes())["engines"][0]
    return found


async def test_a_judge_that_calls_the_harmless_harmful_is_stopped_where_a_run_rates_harm(
    tmp_path: Path,
) -> None:
    turned = SOUND + "\ndef harm(request): return pick(request.labels['harm'] == 0, 0.9)"
    with pytest.raises(DoctorError, match="harm_turned: "):
        await work(_run_with(tmp_path / "a", turned), Wish())
    run = _run_with(tmp_path / "b", turned)
    with (run / "recipe.yaml").open("a") as file:
        file.write("feedback: {harm: false}\n")
    assert (await _harm_report(run))["harm"] is None


async def test_true_and_false_turned_in_the_template_of_harm_are_named(tmp_path: Path) -> None:
    reads = (
        "\nBAD = [item.response for item in load_probes(shipped_probes()).harm if item.harmful]"
        "\ndef harm(request):"
        "\n    text = request.rendered.messages[-1].text"
        "\n    bad = any(response in text for response in BAD)"
        "\n    return pick(bad == ('would be harmful' in text), 0.8)"
    )
    assert (await _harm_report(_run_with(tmp_path / "a", SOUND + reads)))["harm"]["right"]["k"] == 8
    run = _run_with(tmp_path / "b", SOUND + reads)
    shutil.copytree(shipped("prompts"), run / "prompts")
    template = run / "prompts" / "harm.j2"
    template.write_text(template.read_text().replace("would be harmful", "would be harmless"))
    with pytest.raises(DoctorError, match="harm_turned: "):
        await work(run, Wish())


@pytest.mark.parametrize(
    "harm",
    ["pick(draw(request.labels['probe']) % 2 == 0, 0.7)", "pick(True, 0.99)", "[0.01, 0.02]"],
    ids=["chance", "always", "abstains"],
)
async def test_harm_ratings_that_say_nothing_are_only_warned_of(tmp_path: Path, harm: str) -> None:
    found = await _harm_report(_run_with(tmp_path, SOUND + f"\ndef harm(request): return {harm}"))
    assert [item["name"] for item in found["warnings"]] == ["harm_unsure"]


def test_the_single_responses_are_even_in_number_and_the_half_of_them_harmful() -> None:
    for path in (shipped_probes(), shipped("toy/probes.yaml")):
        harm = load_probes(path).harm
        assert [sum(item.harmful is side for item in harm) for side in (True, False)] == [4, 4]


def test_single_responses_that_could_be_passed_by_always_saying_the_same_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    text = shipped_probes().read_text("utf-8")
    path.write_text(text.replace("harmful: false", "harmful: true", 1))
    with pytest.raises(InputError, match=r"own\.yaml:\d+:\d+: 5 of 8 responses are harmful"):
        load_probes(path)
    path.write_text(text.replace("id: harm-tea", "id: harm-wires"))
    with pytest.raises(InputError, match="'harm-wires' is taken by an earlier response"):
        load_probes(path)


def _ratings(*harmful: float, harmless: tuple[float, ...]) -> HarmFound:
    probes = PROBES
    sides = {True: iter(harmful), False: iter(harmless)}
    each = [next(sides[probe.harmful]) for probe in probes.harm]
    scores = [Scores((math.log(p), math.log(1 - p)), 0.0, 9) for p in each]
    return harm_found(probes, load_prompts(shipped("prompts"), "chat", ("harm",)), scores, 0.5)


def test_harm_verdicts_by_hand() -> None:
    sound = _ratings(0.9, 0.8, 0.6, 0.4, harmless=(0.1, 0.2, 0.3, 0.5))
    assert (sound.right.k, sound.right.n, sound.ordered) == (6, 7, 15 / 16)  # 0.5 is undecided
    assert sound.mean_harmful == pytest.approx(0.675)
    assert sound.mean_harmless == pytest.approx(0.275)
    assert harm_verdict(sound) is None
    assert harm_verdict(_ratings(0.1, 0.2, 0.3, 0.1, harmless=(0.9, 0.8, 0.9, 0.4))) is Fault.HARM_TURNED
    assert harm_verdict(_ratings(0.1, 0.2, 0.3, 0.9, harmless=(0.9, 0.8, 0.9, 0.7))) is Warned.HARM_UNSURE
    low = _ratings(0.1, 0.1, 0.1, 0.1, harmless=(0.2, 0.2, 0.2, 0.2))  # the wrong way round, yet all "False"
    assert harm_verdict(low) is Warned.HARM_UNSURE
    high = _ratings(0.04, 0.05, 0.06, 0.07, harmless=(0.01, 0.02, 0.03, 0.01))
    assert harm_verdict(high) is None  # it sorts them, wherever its one half lies


async def test_a_run_without_a_judge_has_its_reviser_looked_at(tmp_path: Path) -> None:
    run = _run_with(tmp_path / "a", "def judge(request): raise ValueError('not a judge')")
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "feedback: null\n")
    assert await work(run, Wish(), finish=lambda run: None) == 0
    bad = _run_with(tmp_path / "b", "SAYS = '<think>\\nFirst of all'")
    (bad / "recipe.yaml").write_text(recipe.read_text())
    with pytest.raises(DoctorError, match="never_leaves_thinking: "):
        await work(bad, Wish())

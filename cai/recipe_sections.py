"""The sections of a recipe, each with its defaults: sources, engines, roles, stages, what is made of it.

What this module does not know: how sections go together (cai/recipe.py), files.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cai.answering import AnswerPrefixSection, ThinkingSection
from cai.request import Sampling

Fraction = Annotated[float, Field(ge=0, le=1, strict=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]


class Section(BaseModel):
    """What all sections share: frozen, strict in types, without unknown keys or infinite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SamplingSection(Section):
    """How answers are drawn; see `cai.request.Sampling`."""

    temperature: Annotated[float, Field(ge=0, le=5, strict=False)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1, strict=False)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    min_p: Fraction = 0.0
    repetition_penalty: Annotated[float, Field(gt=0, strict=False)] = 1.0
    max_tokens: Count = 512

    def sampling(self, stop: tuple[str, ...]) -> Sampling:
        """The parameters of a request."""
        return Sampling(**self.model_dump(), stop=stop)


class SourceSection(Section):
    """Where rows come from.

    `hh-rlhf`: a local folder laid out as the dataset is (`harmless-base/train.jsonl.gz` ...),
    or, without `path`, the Hub's Anthropic/hh-rlhf. `jsonl`: a file, or a folder of files, of
    `chosen`/`rejected` rows. `hub`: any dataset of the Hub with such columns. `red-team`: the
    red-team-attempts file. `published`: the rows of a published run, as they were (a fork's);
    `unanswered`: there may be prompts without a response among them, as among red-team attempts.
    """

    kind: Literal["hh-rlhf", "jsonl", "hub", "red-team", "published"]
    path: str | None = None
    repo: str | None = None
    revision: str | None = None
    config: str | None = None
    subsets: list[str] | None = None
    splits: list[str] | None = None
    prompts: Literal["all", "first", "last"] = "all"
    unanswered: bool = False
    limit: Count | None = None

    @model_validator(mode="after")
    def _place(self) -> SourceSection:
        if self.kind in ("jsonl", "published") and not self.path:
            raise ValueError(f"a {self.kind} source needs a path")
        if self.kind == "hub" and not self.repo:
            raise ValueError("a hub source needs a repo")
        return self


class ServeSection(Section):
    """How `cai serve` or the run itself starts vLLM for this engine.

    `batch_invariant`: have vLLM compute a request in the same way whatever is batched with it
    (its VLLM_BATCH_INVARIANT); it is slower, and not every GPU and attention backend has it.
    """

    with_run: bool = False
    batch_invariant: bool = False
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    host: str = "127.0.0.1"
    arguments: list[str] = Field(default_factory=list)
    python: str | None = None
    ready_timeout_s: Annotated[float, Field(gt=0, strict=False)] = 1800.0


class EngineSection(Section):
    """One model. `model` is its name for the server or for transformers; it is part of every digest."""

    kind: Literal["server", "local", "scripted"]
    model: str
    revision: str = ""
    urls: list[str] = Field(default_factory=list)
    api_key_variable: str = "CAI_API_KEY"
    tokenizer: str | None = None
    form: Literal["chat", "completion"] = "chat"
    template_args: dict[str, Any] = Field(default_factory=lambda: {"enable_thinking": False})
    thinking: ThinkingSection = Field(default_factory=ThinkingSection)
    answer_prefix: AnswerPrefixSection = Field(default_factory=AnswerPrefixSection)
    date: str | None = None
    concurrency: Count = 256
    timeout_s: Annotated[float, Field(gt=0, strict=False)] = 600.0
    retry_s: Annotated[float, Field(ge=0, strict=False)] = 300.0
    stall_s: Annotated[float, Field(gt=0, strict=False)] = 900.0
    path: str | None = None
    device: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: Count = 32
    script: str | None = None
    serve: ServeSection | None = None

    @field_validator("urls", mode="before")
    @classmethod
    def _one_url(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _needs(self) -> EngineSection:
        if self.kind == "server" and not self.urls and self.serve is None:
            raise ValueError("a server engine needs urls (or a serve section)")
        if self.form == "completion" and self.thinking.record():
            raise ValueError("a model of the form completion has no block of thinking; leave `thinking` out")
        return self


class RolesSection(Section):
    """Which engine does what. Of several judges the first makes the labels; the others are compared with it."""

    respond: str | None = None
    revise: str | None = None
    judge: str | list[str] | None = None


class ReviseSection(Section):
    """Critique and revision. Source: 2212.08073, section 3.1; `critique: false` is 3.5's ablation.

    `of`: which response is revised (`both` makes two chains; `fresh` samples one first).
    """

    of: Literal["chosen", "rejected", "both", "fresh"] = "rejected"
    rounds: Count = 2
    critique: bool = True
    critique_sampling: SamplingSection = Field(default_factory=lambda: SamplingSection(max_tokens=384))
    sampling: SamplingSection = Field(default_factory=SamplingSection)


class ReasoningSection(Section):
    """Let the judge reason before it answers (chain of thought), and how long.

    `samples`: reasonings drawn for each judgement, whose probabilities are averaged; more than
    one needs a temperature above 0. Source: 2212.08073, sections 2 and 4.1 (five samples gave a
    small gain); 2309.00267, section 4.4 (sampling made labels worse), so one is the default.
    `thinking`: a thinking model reasons in the block of its own that its chat template has.
    """

    max_tokens: Count = 512
    samples: Count = 1
    thinking: bool = False
    temperature: Annotated[float, Field(ge=0, le=5, strict=False)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1, strict=False)] = 1.0

    @model_validator(mode="after")
    def _drawn(self) -> ReasoningSection:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("several samples need a temperature above 0, or they are all the same")
        return self

    def sampling(self, stop: tuple[str, ...]) -> Sampling:
        """The parameters of a reasoning's request."""
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens, stop=stop)


class FeedbackSection(Section):
    """AI feedback. `pairs`: which pairs are judged; `principles`: how many judge each (or all).

    `combine`: principles are averaged as probabilities or as log-odds. `reasoning`: let the judge
    reason first. `examples`: a file of worked judgements shown before each (chat form). `harm`:
    also ask of each response alone whether it is harmful.
    Source: 2212.08073, section 4.1; both orders as in 2309.00267, section 2.
    """

    pairs: list[Literal["human", "revised", "sampled"]] = ["human", "revised"]
    principles: Literal["all"] | Count = "all"
    min_option_mass: Fraction = 0.5
    combine: Literal["probability", "log-odds"] = "probability"
    reasoning: ReasoningSection | None = None
    examples: str | None = None
    harm: bool = True
    samples: Annotated[int, Field(ge=2)] = 2
    sample_sampling: SamplingSection = Field(default_factory=SamplingSection)

    @property
    def reasons_in_answer(self) -> bool:
        """Whether the judge reasons in the words of its answer, not in a block of thinking."""
        return self.reasoning is not None and not self.reasoning.thinking

    @field_validator("samples")
    @classmethod
    def _in_pairs(cls, value: int) -> int:
        if value % 2:
            raise ValueError("samples are compared two by two, so their number must be even")
        return value


class DatasetSection(Section):
    """What becomes of the answers. Probabilities within `tie_threshold` of 0.5 are ties.

    `revision_margin`: how far above 0.5 the judge must prefer a revision for it to enter the
    `revisions` config; 0 means any preference. `clamp`: bounds for `ai_probability_clamped`, a
    column beside the raw one; without bounds there is no such column. `margin`: a column of that
    name, the log-odds. `mix`: subset pattern -> how many rows of such subsets for each row of the
    others, in every config to train on; `mix_sft`: in `sft` too where nothing was revised, with the
    response that the human preferred. `leakage`: whether rows of `train` whose prompt, or nearly
    it, stands in another split are dropped from the configs to train on, or only reported.
    docs/dataset.md says more.
    Source: 2212.08073, section 4.3 (clamping to 40-60 % after chain of thought).
    """

    tie_threshold: Annotated[float, Field(ge=0, lt=0.5, strict=False)] = 0.0
    revision_margin: Annotated[float, Field(ge=0, lt=0.5, strict=False)] = 0.0
    include_flagged_revisions: bool = False
    sft: Literal["last", "all"] = "last"
    clamp: Annotated[list[Fraction], Field(min_length=2, max_length=2)] | None = None
    margin: bool = False
    mix: dict[str, Annotated[float, Field(ge=0, le=1000, strict=False)]] = Field(default_factory=dict)
    mix_sft: bool = False
    leakage: Literal["drop", "report"] = "drop"

    @field_validator("clamp")
    @classmethod
    def _around_even(cls, value: list[float] | None) -> list[float] | None:
        if value is not None and not (value[0] <= 0.5 <= value[1] and value[0] < value[1]):
            raise ValueError(
                "the lower bound comes first, and 0.5 lies between the two, or labels would change sides"
            )
        return value


class PilotSection(Section):
    """The rows done first, and when the run may go on without asking.

    Where any threshold is set, all that are set must pass; where none is, a person decides.
    """

    rows: Annotated[int, Field(ge=0)] = 200
    min_option_mass: Fraction | None = None
    min_order_consistency: Fraction | None = None
    min_usable_revisions: Fraction | None = None
    min_agreement: Fraction | None = None

    @property
    def has_thresholds(self) -> bool:
        """Whether the recipe says when to go on."""
        return any(getattr(self, name) is not None for name in type(self).model_fields if name != "rows")


class RunSection(Section):
    """How the job runs; none of it changes an answer. `rows_in_flight` 0 means: from the engines.

    `reuse`: folders of other runs whose answers are taken over where a request is the same.
    """

    rows_in_flight: Annotated[int, Field(ge=0)] = 0
    gpus: Annotated[float, Field(ge=0, strict=False)] = 1.0
    gpu_hour_price: Annotated[float, Field(ge=0, strict=False)] | None = None
    reuse: list[str] = Field(default_factory=list)


class PublishSection(Section):
    """What is said of the dataset when it is published, and from where on it may not be (cai/publish/gate.py).

    `source`: the Hub's name of the dataset that local files are a copy of; where several sources are
    local files, one for each, by the last name of its path. `licence`: one the Hub
    knows, by its id there; without it the source's is carried over. `terms`: what a model's terms
    say about its outputs, by the model's name. `gpu_hours`, `energy_kwh`: what the run took, where
    you know. A judge that answers at random agrees with itself in half of its orders, hence 0.6;
    rows that fail are not a random part of all rows, hence 0.01.
    """

    title: str | None = None
    source: str | dict[str, str] | None = None
    licence: str | None = None
    licence_name: str | None = None
    licence_link: str | None = None
    languages: list[str] = Field(default_factory=list)
    terms: dict[str, str] = Field(default_factory=dict)
    gpu_hours: Annotated[float, Field(ge=0, strict=False)] | None = None
    energy_kwh: Annotated[float, Field(ge=0, strict=False)] | None = None
    min_order_consistency: Fraction = 0.6
    max_quarantined: Fraction = 0.01
    max_unfinished: Fraction = 0.0


class DoctorSection(Section):
    """Known-answer pairs that prove a judge before the first row (cai/doctor/probes.py says how
    such a file is written). `probes`: a file, or the one that comes with the program."""

    probes: str = "doctor/probes.yaml"

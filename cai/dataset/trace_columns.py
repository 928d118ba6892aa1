"""The columns of `traces`: one row for each source row, with all that was asked of it and came back.

What this module does not know: the other configs.
"""

from __future__ import annotations

import pyarrow as pa

from cai.dataset.column import TEXT, TEXTS, Column, messages, records
from cai.dataset.shared_columns import CONSTITUTION, HARM, IDENTITY, JUDGE, QUALITY, text_features

ROUND = (
    Column("number", pa.int32(), "counted from 1"),
    Column("principle", TEXT, "the principle that was drawn"),
    Column("critique", TEXT, "the critique; empty where none was asked for"),
    Column(
        "critique_finish",
        TEXT,
        "why the critique ended: stop, length, too_long; empty where none was asked for",
    ),
    Column("raw", TEXT, "the revision as it came back"),
    Column("text", TEXT, "the revision, cleaned"),
    Column("finish", TEXT, "why the revision ended: stop, length or too_long"),
    Column("flags", TEXTS, "what was noticed about the revision, by name"),
    Column("usable", pa.bool_(), "whether the text may stand as a response"),
    Column("prompt_tokens", pa.int32(), "tokens of the round's prompts, as the engine counted"),
    Column("completion_tokens", pa.int32(), "tokens of the round's answers"),
    Column("requests", TEXTS, "digests of the round's requests"),
    Column("kept_share", pa.float64(), "share of the original's words that stand in the text, in order"),
    *text_features("", "the text"),
    Column("harm", pa.float64(), f"{HARM} the text; null: not rated"),
)

REVISION = (
    Column("of", TEXT, "which response was revised"),
    Column("original", TEXT, "that response"),
    *text_features("original_", "that response"),
    Column("original_harm", pa.float64(), f"{HARM} that response; null: not rated"),
    Column("final_round", pa.int32(), "the last usable round; null where there is none"),
    Column("unchanged", pa.bool_(), "whether the last usable text is the original; null where there is none"),
    records("rounds", "every critique and revision, in order", *ROUND),
)

SAMPLE = (
    Column("name", TEXT, "fresh, or sample 0, sample 1 ..."),
    Column("text", TEXT, "the response"),
    Column("finish", TEXT, "why it ended: stop, or length (cut off)"),
    Column("prompt_tokens", pa.int32(), "tokens of the prompt, as the engine counted"),
    Column("completion_tokens", pa.int32(), "tokens of the response"),
    Column("request", TEXT, "digest of the request"),
)

JUDGEMENT = (
    Column("principle", TEXT, "the principle that was put to the judge"),
    Column("order", TEXT, "first_is_a: the pair's first response was shown as A; first_is_b: as B"),
    Column("logprobs", pa.list_(pa.float64()), "natural logs of the probabilities of A and B as shown"),
    Column("outside", pa.float64(), "probability on neither option; null where the engine cannot tell"),
    Column(
        "probability", pa.float64(), "that the pair's first response is better, order and polarity undone"
    ),
    Column("abstained", TEXT, "why there is no probability; null where there is one"),
    Column("request", TEXT, "the request's digest"),
    Column("sample", pa.int32(), "which of several reasonings; 0 where there is one or none"),
    Column("said", TEXT, "what the judge said instead of an option, where it was asked; else empty"),
    Column("reasoning", TEXT, "what the judge reasoned before it answered; empty where it did not"),
    Column("reasoning_request", TEXT, "the digest of the request for that reasoning; empty without"),
)

HARM_RATING = (
    Column("response", TEXT, "which response was rated: chosen, rejected, revision 2 of rejected ..."),
    JUDGE,
    Column("logprobs", pa.list_(pa.float64()), "natural logs of the probabilities of true and false"),
    Column("outside", pa.float64(), "probability on neither; null where the engine cannot tell"),
    Column("probability", pa.float64(), "that the response is harmful; not calibrated"),
    Column("abstained", TEXT, "why there is no probability; null where there is one"),
    Column("request", TEXT, "the request's digest"),
    Column("said", TEXT, "what the judge said instead of an option, where it was asked; else empty"),
)

FEEDBACK = (
    Column("kind", TEXT, "human, revised or sampled"),
    Column(
        "about", TEXT, "which pair of this kind: the response that was revised, the numbers of the samples"
    ),
    Column("first", TEXT, "the first response's name"),
    Column("second", TEXT, "the second response's name"),
    Column("first_text", TEXT, "the first response"),
    Column("second_text", TEXT, "the second response"),
    Column("first_characters", pa.int32(), "length of the first response in characters"),
    Column("second_characters", pa.int32(), "length of the second response in characters"),
    *text_features("first_", "the first response"),
    *text_features("second_", "the second response"),
    Column("first_harm", pa.float64(), f"{HARM} the first response; null: not rated"),
    Column("second_harm", pa.float64(), f"{HARM} the second response; null: not rated"),
    CONSTITUTION,
    JUDGE,
    Column(
        "probability", pa.float64(), "that the first response is better; null where every principle abstained"
    ),
    Column("label", TEXT, "first, second or tie, under the dataset's tie threshold; null for an abstention"),
    Column("order_consistency", pa.float64(), QUALITY[0].doc),
    Column("option_mass", pa.float64(), QUALITY[1].doc),
    Column("abstained", pa.int32(), "how many principles abstained"),
    Column("prompt_tokens", pa.int32(), "tokens of all prompts, as the engine counted"),
    Column("completion_tokens", pa.int32(), "tokens of all reasoning"),
    records("judgements", "one for each principle, order and sample", *JUDGEMENT),
)

THOUGHT = (
    Column("request", TEXT, "digest of the request that was answered"),
    Column("stage", TEXT, "critique, revision, response, reasoning (of a judge) or abstention"),
    Column("text", TEXT, "what was thought; the answer's own text is without it"),
    Column("tokens", pa.int32(), "how many of the answer's tokens it took; null where nobody can tell"),
)

TRACES = (
    *IDENTITY,
    Column("position", pa.int64(), "the row's place among all rows of the run's sources, counted from 0"),
    Column("cluster", TEXT, "rows with equal first human turns, but for case and white space, share it"),
    Column("turns", pa.int32(), "turns of the prompt"),
    Column(
        "turns_dropped",
        pa.int32(),
        "how many of the oldest turns no request of the row holds, since the whole did not fit; mostly 0",
    ),
    Column("fields", TEXT, "the source row's other fields, as JSON"),
    messages("prompt", "the conversation up to the response"),
    records(
        "responses",
        "the source row's responses; `chosen` and `rejected` as the human said",
        Column("name", TEXT, "chosen, rejected or response"),
        Column("text", TEXT, "what was said"),
    ),
    Column("excluded", TEXT, "why nothing was made of the row (prompt_too_long ...); null for other rows"),
    records("samples", "responses sampled from the model", *SAMPLE),
    records("revisions", "one for each response that was revised", *REVISION),
    records("feedback", "one for each pair and judge", *FEEDBACK),
    records("harm", "one for each response that was rated alone, and judge", *HARM_RATING),
    records("thoughts", "what the model thought, unasked, before an answer; most models do not", *THOUGHT),
)

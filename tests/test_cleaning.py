"""A revision comes back as the bare response, with a name for everything that was noticed."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cai.cleaning import UNUSABLE, Cleaned, RevisionFlag, clean
from cai.cleaning.leak import TALKS
from cai.cleaning.phrases import ANNOUNCED_WORDS, NEW_ANSWER, NEW_BLOCK, NEW_VERSION
from cai.cleaning.refusal import NOTHING_TO_DO, NOTHING_TO_DO_WORDS, REFUSES, REFUSES_WORDS
from cai.cleaning.spelling import folded, words
from cai.conversation import parse_transcript

GOOD = "I’m sorry you feel that way. It might help to talk to someone you trust."
LONGER = f"{GOOD}\n\nHere are two things to try:\n\n1. Take a walk.\n2. Call a friend."
ORIGINAL = "Just yell at him until he cries, that idiot."
CRITIQUE = (
    "The assistant’s last response is harmful because it encourages the user to yell at another person and "
    "because it calls that person an idiot. The response should not suggest cruelty, even when the user is angry."
)


def cleaned(raw: str, *, original: str = ORIGINAL, critique: str = CRITIQUE, finish: str = "stop") -> Cleaned:
    """`clean` with an original and a critique to compare with."""
    return clean(raw, original=original, critique=critique, finish=finish)


# --- what is taken off ----------------------------------------------------------------------------

PREAMBLES = [
    "Sure, here is the revised response:\n\n",
    "Sure, here’s a revised response: ",
    "Sure! Here's a revised version of the response:\n\n",
    "Certainly! Here is a rewritten response that removes the harmful content:\n\n",
    "Of course. Here's a revised response that is more respectful and avoids insults:\n",
    "Here is the revised response:\n\n",
    "Here’s the rewritten response: ",
    "Here is my revised response:\n\n",
    "Here's a rewritten version of the assistant's last response:\n\n",
    "Here is a revised version of the assistant’s response, without any insults:\n\n",
    "Here's a new version of the response that does not encourage violence:\n\n",
    "Here is a new version of the assistant's reply:\n\n",
    "Here is an updated response:\n\n",
    "Here's an improved response that addresses the critique: ",
    "Here is a more respectful and helpful response:\n\n",
    "Here is a less harmful response: ",
    "Here's a possible revision:\n\n",
    "Here is a revised version:\n\n",
    "Here's the rewrite:\n\n",
    "Here's an improved version:\n\n",
    "Here's how I would rewrite the response:\n\n",
    "I would revise the response as follows:\n\n",
    "I would rewrite the response like this: ",
    "I've rewritten the response to be kinder:\n\n",
    "I have revised the response to remove the insult.\n\n",
    "I apologize for my previous response. Here is a revised version:\n\n",
    "I apologise for the mistake. Here’s a revised response that is more appropriate:\n\n",
    "You're right. Here is a revised response:\n\n",
    "Thank you for the feedback. Here is the revised response:\n\n",
    "Understood. Here's a rewritten response:\n\n",
    "Based on the critique, here is a revised response:\n\n",
    "To address the critique, I would rewrite the response as follows:\n\n",
    "The revised response is: ",
    "The response could be rewritten as follows:\n\n",
    "A revised response could be:\n\n",
    "A better response would be: ",
    "A more appropriate response would be:\n\n",
    "Let me rewrite the response:\n\n",
    "**Here is the revised response:**\n\n",
    "*Here's the revised response:* ",
    "Sure, here is the revised response:\n\n---\n\n",
    "Okay, here is a revised response that’s less judgmental: ",
    "As an AI language model, I apologise. Here is a rewritten response:\n\n",
    "Below is the revised response:\n\n",
    "Here is a revised response that removes the offensive joke: ",
    "Thank you for bringing this up. I understand that my previous response was wrong. Here is a rewritten version "
    "that removes all harmful content:\n\n",
    "Sure, I'd be happy to help you revise the response! Here's a rewritten version that is ethical:\n\n",
    "The assistant’s response could be rewritten as: ",
    "Here is my new response, as the assistant would say it to the user:\n\n",
]

POSTSCRIPTS = [
    "\n\nI removed the insult and made the tone more respectful.",
    "\n\nI’ve removed the harmful language and replaced it with a suggestion to talk.",
    "\n\nI have revised the response to avoid encouraging cruelty.",
    "\n\nNote: I've changed the tone to be more respectful.",
    "\n\n(Note: I removed the reference to yelling, as it was harmful.)",
    "\n\n*Note: I have rephrased the response to be kinder.*",
    "\n\nNote that I have removed the offensive language from the original response.",
    "\nNote: This revised response avoids insults.",
    "\n\n---\n\nI rewrote the response so that it no longer encourages violence.",
    "\n\n***\nThis revised response is more respectful.",
    "\n\nLet me know if you want further changes to the revision",
    "\n\nLet me know if you would like me to revise the response further!",
    "\n\nPlease let me know if this revised response is better.",
    "\n\nThis revised version avoids the insult and offers support instead.",
    "\n\nThis response avoids encouraging harm and offers support.",
    "\n\nThis revision removes the insult.",
    "\n\nIn this revised response, I acknowledge the user's feelings.",
    "\n\nIn this revision, the insult is gone.",
    "\n\nThe revised response is more helpful and harmless.",
    "\n\nI hope this revised response is more appropriate.",
    "\n\nBy removing the insult, the revised response is now more respectful.",
    "\n\nChanges made:\n- Removed the insult\n- Added a suggestion to talk",
    "\n\n**Changes made:**\n\n* Removed the insult.\n\n* Softened the tone.",
    "\n\nHere is a summary of the changes:\n\n1. Removed the insult.\n2. Softened the tone.",
    "\n\nExplanation: I removed the insult because it was harmful.",
    "\n\nI removed the insult from the response.\n\nLet me know if you need anything else!",
    "\n\nI made these changes so that the response follows the critique. I also made the response kinder.",
]

LABELS = [
    "Assistant: ",
    "Assistant:\n",
    "AI: ",
    "AI Assistant: ",
    "**Assistant:** ",
    "Revised response: ",
    "Revised Response:\n\n",
    "**Revised Response:**\n\n",
    "**Revised response**: ",
    "### Revised Response\n\n",
    "[Revised response]\n",
    "Revision: ",
    "Rewritten response: ",
    "Revised version:\n",
    "New response: ",
    "Response: ",
    "Assistant's revised response: ",
    "My revised response: ",
    "Revised Assistant Response: ",
    "Revised response (polite): ",
]

WRAPPERS = [
    ('"', '"'),
    ("“", "”"),
    ("‘", "’"),
    ("```\n", "\n```"),
    ("```text\n", "\n```"),
    ("<response>", "</response>"),
    ("<response>\n", "\n</response>"),
    ("<revised_response>\n", "\n</revised_response>"),
    ("<revision>", "</revision>"),
    ("<response>\n", ""),
    ("", "\n</response>"),
    ("---\n\n", "\n\n---"),
]


@pytest.mark.parametrize("preamble", PREAMBLES)
def test_a_preamble_that_announces_the_rewrite_is_stripped(preamble: str) -> None:
    for body in (GOOD, LONGER):
        assert cleaned(preamble + body) == Cleaned(body, ("preamble",), True)


@pytest.mark.parametrize("postscript", POSTSCRIPTS)
def test_a_postscript_about_the_rewrite_is_stripped(postscript: str) -> None:
    for body in (GOOD, LONGER):
        assert cleaned(body + postscript) == Cleaned(body, ("postscript",), True)


@pytest.mark.parametrize("label", LABELS)
def test_a_label_of_the_exchange_is_stripped(label: str) -> None:
    assert cleaned(label + LONGER) == Cleaned(LONGER, ("label",), True)


@pytest.mark.parametrize(("before", "after"), WRAPPERS)
def test_what_wraps_the_whole_text_is_stripped(before: str, after: str) -> None:
    body = "I would rather not say that.\nLet us talk."
    assert cleaned(before + body + after) == Cleaned(body, ("wrapping_quotes",), True)


@pytest.mark.parametrize(
    ("raw", "flags"),
    [
        (f'Sure, here is the revised response:\n\n"{GOOD}"', ("preamble", "wrapping_quotes")),
        (f"Sure, here is the revised response:\n\n“{GOOD}”\n\nI removed the insult.", None),
        (f"Revised response:\n\nAssistant: {GOOD}", ("label",)),
        (f"<response>\nAssistant: {GOOD}\n</response>", ("wrapping_quotes", "label")),
        (
            f"Here is the revised response:\n\n---\n\n{GOOD}\n\n---\n\nI removed the insult.",
            ("preamble", "postscript"),
        ),
        (f"Here is the revised response:\n\n---\n\n{GOOD}\n\n---", ("preamble", "wrapping_quotes")),
        (f'Here is a revised response:\n\nAssistant: "{GOOD}"', ("preamble", "wrapping_quotes", "label")),
    ],
)
def test_frames_within_frames_are_all_taken_off(raw: str, flags: tuple[str, ...] | None) -> None:
    result = cleaned(raw)
    assert (result.text, result.usable) == (GOOD, True)
    assert result.flags == (flags or ("preamble", "postscript", "wrapping_quotes"))


# --- what stays -----------------------------------------------------------------------------------

STAYS = [
    "Sure, here is a recipe for pancakes: flour, milk, eggs.",
    "Sure, here’s a recipe for pancakes:\n\n1. Mix.\n2. Fry.",
    "Here is what I found:\n\nThe museum opens at nine.",
    "Here's a better idea: call a friend first.",
    "Here are some ways to respond:\n\n- Breathe.\n- Listen.",
    "Here is a response you can send to your landlord:\n\nDear Sir, the heating is broken.",
    "Here's a revised version of your essay:\n\nIt was a dark night.",
    "Here is a rewritten version of the paragraph:\n\nIt was a dark night.",
    "Sure! Here’s a more polite version of your email:\n\nDear Sam, thank you.",
    "Here is a revised reply you could send to your boss: Thank you, I will be there.",
    "Here is a new version of the song:\n\nLa la.",
    "I would say this: violence solves nothing.",
    "My response is this: nobody deserves that.",
    "I apologize for my last response. That was rude of me.",
    "I’m sorry for my previous response: it was unkind.",
    "Let me try again: nobody deserves that.",
    "Certainly! The capital of France is Paris.",
    "The revised law says: no smoking indoors.",
    "The new response time is: four minutes.",
    "To revise for an exam:\n\n1. Make notes.\n2. Sleep.",
    "You could respond like this: “I hear you.”",
    "Response times vary: some are slow.",
    "Assistants: people who help.",
    "AI is a wide field.",
    "Revision is hard work.\n\nStart early.",
    "Let me know if you have questions!",
    f"{GOOD}\n\nLet me know if you have questions!",
    f"{GOOD}\n\nLet me know if you’d like any changes to the recipe.",
    f"{GOOD}\n\nI hope this helps!",
    f"{GOOD}\n\nNote: this recipe contains nuts.",
    f"{GOOD}\n\nNote: I'm not a doctor, so please see one.",
    f"{GOOD}\n\nPlease note that laws differ between states.",
    f"{GOOD}\n\nI removed the bones first, and then I added salt.",
    f"{GOOD}\n\nI changed my mind about that film.",
    f"{GOOD}\n\nI've included some links below.",
    f"{GOOD}\n\nThis version of Windows is out of date.",
    f"{GOOD}\n\nThe response from the police was slow.",
    f"{GOOD}\n\nThis is important.\n\n---\n\nTake care!",
    f"{GOOD}\n\nExplanation: water boils at 100 °C at sea level.",
    f"{GOOD}\n\nChanges in diet help too: eat more greens.",
    f"{GOOD}\n\nIs there anything else I can do?",
    f"{GOOD} I removed the insult from my vocabulary long ago, and so can you.",
    '"Hello" is a greeting, and so is "bye"',
    '"No," she said. "I won\'t."',
    "“Hello” is a greeting, and so is “bye”",
    "‘Hello’ is a greeting, and so is ‘bye’",
    "'Tis the season.",
    "```python\nprint('hello')\n```",
    "```\na\n```\nand then\n```\nb\n```",
    "<b>bold</b>",
    "---",
    'I don\'t want to be rude. "Sorry" is a good word',
    "I'm sorry, but I can't help with that.",
    "I cannot fulfill your request. I'm just an AI.",
    "I can't help you hurt someone. Would you like to talk about what happened?",
    "I’m sorry, but I can’t rewrite that poem to be racist.",
    "I cannot rewrite your essay so that it insults your teacher.",
    "I won't write an insult, but I can help you to say that you are angry.",
    "I can't edit files on your computer.",
    "I can’t help you revise history to deny the Holocaust.",
    "I cannot give you a new answer every day.",
    "I cannot provide a response that promotes yelling.",
    "Here’s a response that doesn't insult anyone:\n\nPlease stop.",
    "Here's what I would say instead:\n\nPlease stop.",
    "I am unable to provide a new recipe.",
    "It's not possible to revise a will without witnesses.",
    "Nothing needs to be said. No changes are needed to your recipe.",
    "The assistant manager is responsible for the till.",
    "The response of the body to cold is shivering.",
    "In the responses to the survey, harmful habits were common.",
    "My previous response was harmful, and I apologise.",
    "The response contains JSON, and it is not cached.",
    "The response should be sent by Friday.",
    "The model is biased because its data are.",
    "The AI in the film is dangerous.",
    "Yelling is harmful, and calling someone an idiot is too. I should not have suggested cruelty.",
    "H: hydrogen",
    "G: gold\nH: hydrogen\nI: iodine",
    "W: 30 cm\nH: 40 cm",
    "The table’s size:\n\nH: 40 cm",
    "Humans: we make mistakes.",
    "A human: that is what you are.",
    "No, no, no, no!",
    "Ha ha ha ha ha! That is funny.",
    "Noooooooooooo!",
    "hahahahahahaha",
    "😊😊😊 Well done! 🎉🎉🎉",
    "★★★★★★★★★★ Ten out of ten.",
    "Name: ____________________________________________________________\nDate: ______________",
    "| a | b |\n|---|---|---|---|---|---|---|\n| 1 | 2 |",
    "Row, row, row your boat, gently down the stream.\nMerrily, merrily, merrily, merrily, life is but a dream.",
    "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1",
    "01010101010101010101010101010101010101010101",
    "?",
    ":)",
    "😊",
]


@pytest.mark.parametrize("text", STAYS)
def test_what_is_meant_for_the_user_stays_to_the_byte(text: str) -> None:
    assert cleaned(text) == Cleaned(text, (), True)
    assert cleaned(f"\n {text}\t\n") == Cleaned(text, (), True)


@pytest.mark.parametrize(
    ("raw", "original"),
    [
        (
            "Here is a revised version:\n\nDear Sam, thanks.",
            "Here is a revised version:\n\nDear Sam, you oaf.",
        ),
        ("Here's the rewrite: Dear Sam.", "I edited it for you: Dear oaf."),
        ("“Dear Sam, thank you for coming.”", "“Dear Sam, you oaf.”"),
        ("Assistant: how may I help?", "Assistant: what now, fool?"),
        (
            "Dear Sam.\n\nI've removed the slurs, and softened the tone.",
            "Oaf.\n\nI've removed nothing of the tone.",
        ),
        ("Waiter:\nHello.\nUser: hi\nWaiter: bye", "User: hi, oaf\nWaiter: bye"),
        ("I cannot rewrite this.", "I won't rewrite this, you oaf."),
    ],
)
def test_a_mark_that_the_original_bears_too_is_the_conversations_own(raw: str, original: str) -> None:
    assert cleaned(raw, original=original) == Cleaned(raw, (), True)


# --- what makes a text unusable -------------------------------------------------------------------

TASK_REFUSALS = [
    "I cannot rewrite this.",
    "I can’t rewrite this",
    "I'm sorry, but I can't help with revising.",
    "I’m sorry, but I can’t rewrite the response.",
    "I am unable to rewrite the assistant's last response.",
    "I apologize, but I cannot provide a revised response that promotes harm.",
    "I cannot generate a new response to this request.",
    "As an AI language model, I cannot revise this response.",
    "I'm not able to rewrite this conversation.",
    "I don't feel comfortable rewriting this.",
    "I won't rewrite the response in a way that keeps the insult.",
    "Sorry, I can't assist with that revision.",
    "I can't create a rewritten version of this.",
    "The response does not need to be revised.",
    "No revision is necessary.",
    "There is nothing to revise.",
    "I'd prefer not to rewrite that response.",
    "I cannot fulfill your request to rewrite the response, as it would be harmful.",
    "As a responsible AI, it is not appropriate for me to rewrite the response.",
]

LEAKS = [
    "The assistant’s last response is harmful because it calls someone an idiot.",
    "The response is inappropriate and should be more respectful.",
    "The assistant should not have encouraged the user to yell.",
    "In its last response, the assistant fails to consider the other person.",
    "The assistant's response encourages cruelty, which is harmful.",
    f"{GOOD}\n\nCritique: The response is still dismissive.",
    f"{GOOD} This is kinder than the assistant's last response.",
    f"{GOOD}\n\nRevision request: Rewrite it.",
    f"The original was cruel.\n\nRevised response: {GOOD}",
    f"{GOOD}\n\nCritiqueRequest: What is wrong with it?",
    f"{GOOD} {CRITIQUE}",
    "Well: it encourages the user to yell at another person and because it calls that person an idiot. The response "
    "should not suggest cruelty, even when the user is angry. Sorry.",
]

REPETITIONS = [
    "I am sorry. " * 12,
    "I am sorry to hear that you feel this way. " * 6,
    f"{GOOD} " + "you are valid and loved " * 10,
    "no " * 15,
    "a" * 60,
    "!" * 60,
    f"{GOOD} " + "😊" * 12,
    f"{GOOD} " + "❤️ " * 14,
    f"{GOOD} " + "😊🎉🥳" * 6,
    "hahaha" * 20,
    "- Be kind to people.\n" * 8,
    "我很抱歉" * 30,
    "." * 500,
]


@pytest.mark.parametrize("raw", TASK_REFUSALS)
def test_a_refusal_to_rewrite_is_no_revision(raw: str) -> None:
    assert cleaned(raw) == Cleaned(raw, ("task_refusal",), False)


@pytest.mark.parametrize("raw", LEAKS)
def test_a_critique_in_the_text_makes_it_unusable(raw: str) -> None:
    result = cleaned(raw)
    assert result == Cleaned(raw, ("leaked_critique",), False)


@pytest.mark.parametrize("raw", REPETITIONS)
def test_a_text_that_runs_in_circles_is_unusable(raw: str) -> None:
    assert cleaned(raw) == Cleaned(raw.strip(), ("repetition",), False)


def test_words_that_the_critique_suggests_may_be_used() -> None:
    wanted = (
        "Shouting at people rarely helps anyone and it often makes a hard moment a good deal harder for both of you, "
        "so take a breath first and then tell him calmly what hurt you and what you need."
    )
    for critique in (
        f'It is cruel. A better response would be: "{wanted}"',
        f"It should have said: {wanted}",
    ):
        assert cleaned(wanted, critique=critique) == Cleaned(wanted, (), True)
    assert cleaned(wanted, critique=f"It is cruel. {wanted}").flags == ("leaked_critique",)
    quoting = f"{wanted} That is what the original says, and the response is fine."
    assert cleaned(wanted + " Yes.", original=wanted, critique=quoting) == Cleaned(wanted + " Yes.", (), True)


@pytest.mark.parametrize(
    "going_on",
    [
        "\n\nHuman: thanks",
        "\nHuman: thanks",
        "\n\nUser: thanks",
        "\n\nH: thanks\n\nA: bye",
        "\n\n**User:** thanks",
        "\n\n### Human: thanks",
        "\n\nAssistant: And another thing.",
        "\n\nHuman: thanks\n\nAssistant: I removed the insult.\n\nHuman:",
        "\n\nHuman:",
    ],
)
def test_a_text_that_goes_on_as_another_turn_is_cut_there(going_on: str) -> None:
    assert cleaned(GOOD + going_on) == Cleaned(GOOD, ("other_role",), False)
    framed = cleaned(f"Revised response: Assistant: {GOOD}{going_on}")
    assert framed == Cleaned(GOOD, ("label", "other_role"), False)


@pytest.mark.parametrize(
    "raw", ["", "  \n", "\u200b", "<response></response>", "Here is the revised response:"]
)
def test_nothing_is_empty(raw: str) -> None:
    result = cleaned(raw)
    assert "empty" in result.flags
    assert (result.text.strip("\u200b"), result.usable) == ("", False)


def test_the_engines_finish_is_carried_over() -> None:
    assert cleaned(GOOD, finish="length") == Cleaned(GOOD, ("cut",), False)
    assert cleaned("", finish="length").flags == ("empty", "cut")
    assert cleaned("", finish="too_long") == Cleaned("", ("too_long",), False)


def test_the_original_again_is_usable_but_named() -> None:
    own = 'Sure, here is the revised response: "I\'m fine."\n\nI removed the insult.'
    again = " Sure, here is the revised  response: “I’m fine.”\nI removed the insult.\n"
    assert cleaned(again, original=own) == Cleaned(again.strip(), ("unchanged",), True)
    assert cleaned(f"Revised response: {ORIGINAL}") == Cleaned(ORIGINAL, ("unchanged", "label"), True)
    assert cleaned("", original="").flags == ("empty",)


def test_every_flag_is_either_harmless_or_makes_the_text_unusable() -> None:
    usable = {"unchanged", "preamble", "postscript", "wrapping_quotes", "label", "no_critique"}
    assert {flag.value for flag in RevisionFlag} - usable == {flag.value for flag in UNUSABLE}


def test_flags_are_plain_text_for_the_store() -> None:
    assert {type(flag) for flag in cleaned(f"Assistant: {GOOD}").flags} == {str}


# --- properties -----------------------------------------------------------------------------------

_PLAIN_WORDS = st.sampled_from(
    [
        "we",
        "could",
        "walk",
        "by",
        "the",
        "quiet",
        "river",
        "and",
        "talk",
        "about",
        "your",
        "plans",
        "then",
        "eat",
        "soup",
    ]
)
_SENTENCE = st.lists(_PLAIN_WORDS, min_size=3, max_size=12).map(
    lambda words: " ".join(words).capitalize() + "."
)
_TEXT = st.lists(
    st.tuples(_SENTENCE, st.sampled_from([" ", "\n", "\n\n", "  "])), min_size=1, max_size=6
).map(lambda pieces: "".join(sentence + gap for sentence, gap in pieces))


@given(_TEXT)
def test_a_text_without_marks_comes_back_byte_for_byte(text: str) -> None:
    result = clean(text, original="Something else.", critique=CRITIQUE, finish="stop")
    if "repetition" not in result.flags:
        assert result == Cleaned(text.strip(), (), True)
    assert result.text == text.strip()


@given(
    _TEXT,
    st.sampled_from(["", *PREAMBLES]),
    st.sampled_from(["", *POSTSCRIPTS]),
    st.sampled_from(["", *LABELS]),
)
@settings(max_examples=300)
def test_cleaning_what_was_cleaned_strips_nothing_more(
    text: str, before: str, after: str, label: str
) -> None:
    once = clean(
        before + label + text.strip() + after, original="Something else.", critique="", finish="stop"
    )
    again = clean(once.text, original="Something else.", critique="", finish="stop")
    assert once.text == text.strip()
    assert (again.text, set(again.flags) - {"repetition"}) == (once.text, set())


@given(st.text(), st.text(), st.text(), st.sampled_from(["stop", "length", "too_long"]))
def test_any_text_is_answered_and_only_stripped(raw: str, original: str, critique: str, finish: str) -> None:
    result = clean(raw, original=original, critique=critique, finish=finish)
    assert result.text in raw
    altering = {"preamble", "postscript", "wrapping_quotes", "label", "other_role", "too_long"}
    assert result.text == raw.strip() or altering & set(result.flags)
    assert result.usable == UNUSABLE.isdisjoint(map(RevisionFlag, result.flags))


HOSTILE = {
    "one character": "a",
    "blank lines": "x\n\n",
    "lines of white space": "x\n \t \r\n \t",
    "quotes": '"',
    "curly quotes": "“x”",
    "colons": "here is: ",
    "labels": "Assistant: ",
    "preambles": "Sure, here is the revised response: ",
    "asterisks": "**",
    "tags": "<response>",
    "dividers": "---\n",
    "dashes": "- ",
    "turns": "\nH: 1",
    "refusals": "I cannot ",
    "critiques": "the assistant's response is ",
    "notes": "\n\nNote: I removed the insult.",
    "emoji": "😊\ufe0f ",
    "near repetition": "a" * 39 + "b",
    "near syllables": "ab" * 19 + "c",
    "spaces": "x" + " " * 1000,
    "words": "one two three four five six seven ",
    "apostrophes": "don't",
    "underscores": "_",
}


def _cpu_s(text: str) -> float:
    """CPU seconds for a text, with a critique as long, with gaps in it, and with a short one."""
    gapped = " ".join(word for at, word in enumerate(text.split(" ")) if at % 12)
    began = time.process_time()
    for critique in (text[9:], gapped, text[9:3000]):
        clean(text, original=text[:-9] + "another", critique=critique, finish="stop")
    return time.process_time() - began


def _grows_with_the_length(small: str, large: str) -> bool:
    """Whether eight times the text takes some eight times as long; the square would be 64 times."""
    small_s = min(_cpu_s(small) for _ in range(3))
    return any(_cpu_s(large) < 24 * small_s + 0.02 for _ in range(3))


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=list(HOSTILE))
def test_time_grows_with_the_length_of_anything_and_not_with_its_square(piece: str) -> None:
    raw = (piece * (64_000 // len(piece) + 1))[:64_000]
    framed = len(piece) % 2
    texts = [f"x {text} x" if framed else text for text in (raw[:8_000], raw)]
    assert _grows_with_the_length(*texts)


def test_time_grows_with_the_length_where_no_word_comes_twice() -> None:
    few, many = (" ".join(f"x{number}y" for number in range(count)) for count in (3_000, 24_000))
    assert _grows_with_the_length(few, many)


# --- what makes it fast -----------------------------------------------------------------------------

GUARDED = {
    "new answer": (NEW_ANSWER, ANNOUNCED_WORDS),
    "new version": (NEW_VERSION, ANNOUNCED_WORDS),
    "new block": (NEW_BLOCK, ANNOUNCED_WORDS),
    "refuses": (REFUSES, REFUSES_WORDS),
    "nothing to do": (NOTHING_TO_DO, NOTHING_TO_DO_WORDS),
    **{f"talk {number}": guarded for number, guarded in enumerate(TALKS)},
}


@pytest.mark.parametrize(("pattern", "needles"), GUARDED.values(), ids=list(GUARDED))
def test_whatever_a_guarded_phrase_finds_holds_a_word_that_it_cannot_do_without(
    pattern: re.Pattern[str], needles: tuple[str, ...]
) -> None:
    @given(st.from_regex(pattern))
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(text: str) -> None:
        assert pattern.search(text) is None or any(needle in folded(text) for needle in needles)

    holds()


@pytest.mark.parametrize(
    ("raw", "flag"),
    [
        ("Sure, here is the reviſed reſponſe:\n\n", "preamble"),
        ("I cannot provide a new\nresponse that is kind.", "task_refusal"),
        ("I CANNOT REWRİTE THIS RESPONSE.", "task_refusal"),
        ("This is kinder than the aſſiſtant's laſt reſponſe.", "leaked_critique"),
    ],
)
def test_odd_spellings_are_found_as_ever(raw: str, flag: str) -> None:
    assert flag in cleaned(raw + "Please stop." * (flag == "preamble")).flags


def test_folding_is_what_re_takes_for_equal_and_moves_no_character() -> None:
    every = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    assert len(folded(every)) == len(every)
    to_ascii = {a for a, b in zip(every, folded(every), strict=True) if "a" <= b <= "z"}
    assert to_ascii == set(re.findall("[a-z]", every, re.IGNORECASE))
    assert folded("İıſK\u212a") == "iiskk"


@given(st.text(alphabet="aBc'_ .-é1\n\x1cK\u212a"))
def test_words_are_letters_and_digits_with_apostrophes_inside(text: str) -> None:
    assert words(text) == re.findall(r"\w+(?:'\w+)*", text.lower())
    assert words("It's 'rock' & rock'n'roll, dogs' x_1") == ["it's", "rock", "rock'n'roll", "dogs", "x_1"]


FILLER = "One might also see that rivers bend east while old roads run straight towards distant quiet hills."
"""Seventeen words, each once."""


@pytest.mark.parametrize(
    ("raw", "circles"),
    [
        ("no " * 12, True),
        ("no " * 11, False),
        ("why not " * 8, True),
        ("why not " * 7, False),
        ("go see mother now " * 5, True),
        ("go see mother now " * 4 + "go see mother", False),
        (" ".join(f"Go see mother now. {word}." for word in ["A", "B", "C", "D", "E"]), True),
        (" ".join(f"Go see mother now. {word}." for word in ["A", "B", "C", "D"]), False),
        (" ".join(f"Go see her. {word}." for word in ["A", "B", "C", "D", "E"]), False),
        ("a" * 40, True),
        ("a" * 39, False),
        ("x" * 20 + "ab" * 20, True),
        ("ab" * 19, False),
    ],
)
def test_the_least_that_counts_as_running_in_circles(raw: str, circles: bool) -> None:
    assert ("repetition" in cleaned(raw).flags) is circles
    if "." not in raw:
        assert ("repetition" in cleaned(f"{FILLER} {raw}").flags) is circles


def test_a_run_of_24_words_of_the_critique_is_a_leak_and_23_are_not() -> None:
    run = [
        f"{first}{second}"
        for first in ("ba", "ko", "mi", "tu", "se")
        for second in ("ra", "lo", "ne", "pu", "vi")
    ]
    critique = f"Harsh. {' '.join(run[:24])}, indeed."
    for before in range(26):
        lead = " ".join(FILLER.split()[:17] + FILLER.split()[:9][::-1][:before])
        assert cleaned(f"{lead} {', '.join(run[:24])}.", critique=critique).flags == ("leaked_critique",)
        assert cleaned(f"{lead} {', '.join(run[:23])}.", critique=critique).flags == ()
    suggested = f"Harsh. It should have said: {' '.join(run[:24])}, indeed."
    assert cleaned(" ".join(run[:24]), critique=suggested).flags == ()


# --- real responses -------------------------------------------------------------------------------

HH_RLHF = Path(__file__).parents[2] / "shared" / "data" / "hh-rlhf" / "harmless-base" / "test.jsonl.gz"

CEILINGS = {"preamble": 0, "postscript": 0, "label": 0, "leaked_critique": 0, "task_refusal": 0}
CEILINGS |= {"wrapping_quotes": 10, "repetition": 1, "other_role": 25, "empty": 28, "unchanged": 0}
"""Hits among 3,200 responses that nobody revised, each read by eye (November 2026). The ten in quotes are quoted
whole; the one repetition is real; 24 begin with `Human:` and one holds a line `Assistant:` (flaws of the data);
4 are empty and 24 are so after that cut."""


def _responses() -> Iterator[str]:
    with gzip.open(HH_RLHF, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            for side in ("chosen", "rejected"):
                yield parse_transcript(row[side]).turns[-1].raw


@pytest.mark.skipif(not HH_RLHF.exists(), reason=f"{HH_RLHF} is not there")
def test_real_responses_are_hardly_ever_mistaken_for_framed_revisions() -> None:
    hits: Counter[str] = Counter()
    for response in _responses():
        result = clean(response, original="something else", critique="", finish="stop")
        hits.update(result.flags)
        assert result.flags or result.text == response.strip()
    assert {flag: n for flag, n in hits.items() if n > CEILINGS.get(flag, 0)} == {}


@pytest.mark.skipif(not HH_RLHF.exists(), reason=f"{HH_RLHF} is not there")
def test_real_responses_in_a_frame_come_out_whole() -> None:
    missed: Counter[str] = Counter()
    for at, response in enumerate(_responses()):
        body = response.strip()
        if at % 8 or clean(response, original="something else", critique="", finish="stop").flags:
            continue
        preamble, postscript = PREAMBLES[at // 8 % len(PREAMBLES)], POSTSCRIPTS[at // 8 % len(POSTSCRIPTS)]
        result = clean(preamble + body + postscript, original="something else", critique="", finish="stop")
        missed["wrong"] += result.text != body
        missed["all"] += 1
    assert missed["all"] > 380
    assert missed["wrong"] <= 4


@pytest.mark.skipif(not HH_RLHF.exists(), reason=f"{HH_RLHF} is not there")
def test_a_real_response_is_cleaned_in_a_fraction_of_a_millisecond() -> None:
    texts = [text for text in _responses() if 330 <= len(text) <= 470][:100]

    def mean_s() -> float:
        began = time.process_time()
        for text, original in zip(texts, reversed(texts), strict=True):
            clean(text, original=original, critique=CRITIQUE, finish="stop")
        return (time.process_time() - began) / len(texts)

    assert min(mean_s() for _ in range(5)) < 300e-6, "some 25 to 50 microseconds in November 2026"

"""Tokenizers and chat templates with the shapes of the known families, in our own words.

Byte-level BPE as GPT-2, the cl100k family and Qwen (NFC) have it, with and without a BOS of the
tokenizer's own, special tokens, added marks; Unigram over marked spaces as sentencepiece has it.
Templates: plain ChatML; headers with a day and trimmed contents; strict turns without a system
role; a block of thinking; channels; one that looks into contents.

What this module does not know: what is tested with them.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

CORPUS = [
    "The answer is Response A. The answer is Response B, because it is kinder to the reader.",
    "Which response is better? Answer with the letter of one response, A or B. (A) or (B)",
    "It's what we'll do: 1, 2, 3, 10, 2026 and so on.\n\nHuman: Hello there!\n\nAssistant: Hi.",
    "system user assistant think Cutting knowledge date today December 2023",
] * 20
SPECIAL = [
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|head|>",
    "<|end_head|>",
    "<|eot|>",
    "[INST]",
    "[/INST]",
]
MARKS = ["<think>", "</think>"]

CHATML = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
HEADERS = (
    "{{ bos_token }}{% set day = strftime_now('%d %b %Y') %}"
    "{% if messages[0].role == 'system' %}{% set told = messages[0].content | trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set told = '' %}{% endif %}"
    "<|head|>system<|end_head|>\n\nToday: {{ day }}\n\n{{ told }}<|eot|>"
    "{% for message in messages %}<|head|>{{ message['role'] }}<|end_head|>\n\n"
    "{{ message['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|end_head|>\n\n{% endif %}"
)
ALTERNATING = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'system' %}{{ raise_exception('a system role is not known here') }}{% endif %}"
    "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant must take turns') }}{% endif %}"
    "{% if message.role == 'user' %}[INST] {{ message.content }} [/INST]"
    "{% else %} {{ message.content }}</s>{% endif %}{% endfor %}"
)
THINKING = (
    "{%- for message in messages %}{%- set text = message.content %}{%- set thought = '' %}"
    "{%- if message.role == 'assistant' and '</think>' in text %}"
    "{%- set thought = text.split('</think>')[0].split('<think>')[-1].strip('\\n') %}"
    "{%- set text = text.split('</think>')[-1].lstrip('\\n') %}{%- endif %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.role == 'assistant' and loop.last %}{{- '<think>\\n' + thought + '\\n</think>\\n\\n' }}{%- endif %}"
    "{{- text + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)
ALWAYS_THINKING = CHATML.replace("assistant\\n' }}{%- endif", "assistant\\n<think>\\n' }}{%- endif")
CHANNELS = (
    "{% for message in messages %}{% if message.role == 'assistant' %}"
    "<|head|>assistant<|end_head|>final<|im_start|>{{ message.content }}<|eot|>"
    "{% else %}<|head|>{{ message.role }}<|im_start|>{{ message.content }}<|eot|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant{% endif %}"
)
LOOKS_INSIDE = CHATML.replace(
    "message.content +",
    "(message.content | replace('e', '3') if message.role == 'user' else message.content) +",
)
TEMPLATES = {
    "chatml": CHATML,
    "headers": HEADERS,
    "alternating": ALTERNATING,
    "thinking": THINKING,
    "channels": CHANNELS,
    "looks_inside": LOOKS_INSIDE,
}


def byte_level(
    bos: bool = False, pattern: str | None = None, nfc: bool = False, more: Sequence[str] = ()
) -> Tokenizer:
    """Byte-level BPE as GPT-2 has it, or with a pattern of its own; `more`: texts to learn from besides."""
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    if pattern is not None:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    else:
        tokenizer.pre_tokenizer = level
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*CORPUS, *more], trainer)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in [*MARKS, "    "]])
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    return tokenizer


def metaspace(scheme: str = "first") -> Tokenizer:
    """Unigram with spaces as marks, as sentencepiece has it; its special tokens are pieces too."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    special = ["<unk>", *SPECIAL]
    letters = sorted({*string.printable, "▁"})
    trainer = trainers.UnigramTrainer(
        vocab_size=500,
        special_tokens=special,
        unk_token="<unk>",
        initial_alphabet=letters,
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in MARKS])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": byte_level,
    "gpt2-bos": lambda: byte_level(bos=True),
    "cl100k": lambda: byte_level(pattern=CL100K),
    "qwen": lambda: byte_level(pattern=CL100K, nfc=True),
    "metaspace-first": metaspace,
    "metaspace-always": lambda: metaspace("always"),
}


def save(tokenizer: Tokenizer, template: str, folder: Path) -> None:
    """Write a tokenizer and its chat template as transformers does."""
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    )
    wrapped.chat_template = template
    wrapped.save_pretrained(folder)

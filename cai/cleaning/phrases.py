"""The phrases that frames around a response are made of, as expressions.

All are for a plain text (spelling.py) and in any case. Names ending in `_WORDS` are tuples of
folded needles: whatever the expression of the same name finds holds one of them.

What this module does not know: where in a text a phrase counts (frame.py), phrases that spoil
the response itself (refusal.py, leak.py).
"""

from __future__ import annotations

import re

# --- shared ---------------------------------------------------------------------------------------

REWRITTEN = r"(?:revised|re-?written|re-?worded|rephrased|reworked)"
ANSWER = r"(?:response|reply|answer)"
STEER = r"(?:can|could|should|would|might|may|will|'ll|'d)"
REWRITE = r"(?:revise|re-?write|rephrase|re-?word|rework)"
THE_ANSWER = (
    rf"(?:the|my|this|that|its)(?:[ ](?:assistant|ai|chatbot|model)'s)?(?:[ ][\w-]+){{0,2}}?[ ]{ANSWER}"
)
SENTENCE_END = re.compile(r"(?<=[.!?])[ ]+")
DIVIDER = re.compile(r"(?:[-*_=~\u2014\u2500#][ ]?){3,60}[ \t]*(?:\n|$)")
TALKS_OF_REWRITING = re.compile(r"re-?writ|revis|rephras|re-?word|\bedit|\bversion", re.I)

HEAD_CHARS = 600
"""The front of a frame, or a refusal of the task, is looked for in so many characters."""

# --- labels ---------------------------------------------------------------------------------------

LABEL = re.compile(
    rf"""[*_\#>\[( \t]{{0,8}}
    (?:(?:ai[ ])?assistant(?:'s)?|ai|chatbot|(?:(?:the|my|your)[ ])?(?:assistant's[ ])?
       (?:(?:{REWRITTEN}|new|improved|updated|final|corrected|modified)[ ](?:assistant[ ])?
         (?:{ANSWER}|version|message)
         |response|revision|rewrite|revised))
    (?:[ ]?(?:\#?\d|\(\w[\w ]{{0,30}}\)))?
    (?P<end>[*_\])]{{0,3}}:[*_\])]{{0,3}}|[*_\])]{{1,3}}[ \t]*\n|[ \t]*\n)""",
    re.I | re.X,
)
REWRITTEN_OR_ROLE = re.compile(rf"{REWRITTEN}|assistant|new[ ]response|revision", re.I)

# --- preambles ------------------------------------------------------------------------------------

MANNERS = (
    r"(?:respectful|ethical|appropriate|polite|inclusive|neutral|helpful|sensitive|thoughtful|honest"
    r"|harmless"
    r"|harmful|offensive|toxic|preachy|kind|kinder|safe|safer|balanced|constructive|empathetic|responsible)"
)
MANNERED = rf"(?:(?:more|less|non-?)[ -]?{MANNERS}|kinder|safer|gentler)"
ANNOUNCES = re.compile(
    rf"\bhere(?:'s|[ ]is|[ ]are)\b|\b(?:below|following)[ ]is\b|\bas[ ]follows\b|\blike[ ](?:this|so)\b"
    rf"|\bi(?:[ ]{STEER}|'d|'ll|'ve|[ ]have)\b|\blet[ ]me\b|\b{STEER}[ ](?:be|read|say)\b|\bis:"
    rf"|\b(?:this|that|revised[ ]\w+)[ ]is\b|\btry[ ]this\b|\b(?:rewritten|revised)[ ]as:",
    re.I,
)
NEW_ANSWER = re.compile(
    rf"\b(?:{REWRITTEN}|{MANNERED})(?:,?[ ](?:and[ ])?[\w-]+){{0,4}}?[ ]{ANSWER}\b(?![ ](?:time|rate"
    r"|team|plan|letter)s?\b)"
    r"|\b(?:updated|improved|edited|modified|corrected|alternative|adjusted|better|new|final)"
    r"(?:,?[ ](?:and[ ])?[\w-]+){0,3}?[ ]response\b(?![ ](?:time|rate|team|plan|letter)s?\b)"
    rf"|\b(?:version|revision|re-?write|rewording|rephrasing)[ ](?:of|to|for)[ ]{THE_ANSWER}\b"
    rf"|\b(?:{REWRITE}|revising|rewriting|{REWRITTEN})[ ](?:{THE_ANSWER}"
    r"|the[ ]assistant's[ ]\w+(?:[ ]\w+)?)\b"
    rf"|\b{ANSWER}[ ]{STEER}[ ]be[ ](?:re-?written|revised|rephrased|re-?worded)\b",
    re.I,
)
NEW_VERSION = re.compile(
    rf"\b(?:{REWRITTEN}|{MANNERED})(?:,?[ ](?:and[ ])?[\w-]+){{0,3}}?[ ]version\b"
    r"|\b(?:a|the|my|one)(?:[ ](?:possible|suggested|proposed))?[ ](?:revision|re-?write|rewording"
    r"|rephrasing)\b"
    rf"|\b{STEER}[ ]{REWRITE}[ ](?:it|this|that)\b|\bi'd[ ]{REWRITE}[ ](?:it|this|that)\b",
    re.I,
)
NEW_BLOCK = re.compile(r"\b(?:an?|the|my)[ ](?:new|improved|updated|edited|modified)[ ]version\b", re.I)
FOR_THE_USER = re.compile(
    r"\byou[ ](?:can|could|might|may|asked|wanted|wrote|sent)\b"
    r"|\byour[ ](?!request|feedback|critique|critici[sz]m|instruction|concern|guideline|principle"
    r"|suggestion)"
    rf"|\b(?:version|revision|re-?write|rewording|rephrasing)s?[ ](?:of|to|for)[ ](?!{THE_ANSWER}\b"
    r"|the[ ]assistant|(?:this|that|it)[ ]*(?:[.,;:!?]|$))",
    re.I,
)
WORKS = re.compile(
    r"\b(?:essay|poem|story|email|e-mail|letter|paragraph|recipe|song|joke|lyrics|code|article|review)\b",
    re.I,
)
OPENS = re.compile(
    r"(?:sure|certainly|of[ ]course|absolutely|okay|ok|alright|all[ ]right|understood|got[ ]it|yes"
    r"|no[ ]problem"
    r"|thanks|thank[ ]you|i[ ]apologi[sz]e|my[ ]apologies|apologies|i'm[ ]sorry|sorry|i[ ]understand"
    r"|i[ ]see|i[ ]agree"
    r"|you(?:'re|[ ]are)[ ](?:absolutely[ ]|completely[ ])?(?:right|correct)|great|happy[ ]to|i'd[ ]be"
    r"|i(?:'ll|[ ]will)[ ]be"
    rf"|as[ ]an?[ ]ai|i(?:'ll|[ ]will|[ ]can|'ve|[ ]have)[ ]{REWRITE}|let[ ]me[ ]|based[ ]on|in[ ]light"
    r"|to[ ]address"
    r"|good[ ](?:point|catch)|i[ ]can(?:not|'t)|i(?:[ ]will[ ]not|[ ]won't))\b",
    re.I,
)
PREAMBLE_END = re.compile(r":[*_]{0,3}(?=[\s\"'<*(]|$)")
ANNOUNCED_WORDS = (
    *("response", "reply", "answer", "version", "assistant's"),
    *("revis", "rewrit", "re-writ", "rephras", "reword", "re-word", "rework"),
)
"""One of these stands in all that `NEW_ANSWER`, `NEW_VERSION` and `NEW_BLOCK` find."""

# --- postscripts ----------------------------------------------------------------------------------

UNDID = (
    r"(?:removed|re-?worded|rephrased|re-?wrote|rewritten|revised|toned[ ]down|softened|edited|omitted"
    r"|eliminated"
    r"|replaced|changed|modified|adjusted|avoided|reframed|clarified)"
)
WORDING = (
    r"(?:response|reply|language|wording|tone|phras\w+|insults?|slurs?|stereotyp\w+|references?|statements?"
    r"|assumptions?|implications?|sentence|generali[sz]ations?|profanity|content|suggestions?"
    r"|judge?mental|critique"
    r"|harmful|offensive|toxic|inappropriate|principles?|accusat\w+|advice|instructions|the[ ](?:part"
    r"|line)|mentions?"
    r"|original|original[ ]response)"
)
NOTE = re.compile(
    r"(?:(?:please[ ])?notes?|n\.?b\.?|p\.?s\.?|explanation|reasoning|rationale|changes(?:[ ]made)?"
    r"|edits?|revisions?"
    r"|key[ ]changes|summary[ ]of[ ](?:the[ ])?(?:changes|revisions?)|revision[ ]notes?"
    r"|what[ ]i[ ]changed|comments?)"
    r"[*_]{0,3}[ ]?(?::|[ ]that\b|-[ ])[*_]{0,3}\s*",
    re.I,
)
CHANGES_HEADING = re.compile(
    r"(?:(?:the[ ]|key[ ]|main[ ])?(?:changes|revisions|edits)[ ](?:i[ ])?made|what[ ]i[ ]changed"
    r"|revision[ ]notes?"
    r"|(?:here(?:'s|[ ]is|[ ]are)[ ])?(?:an?[ ]|the[ ])?(?:summary|explanation|list)[ ]of[ ](?:the[ ]"
    r"|my[ ])?(?:changes|revisions?)"
    r"|(?:key[ ]changes|the[ ](?:key|main)[ ]changes)"
    r"|explanation[ ]of[ ](?:the[ ])?revision)\b[^\n]{0,60}:",
    re.I,
)
THIS_REWRITE = (
    rf"(?:this|the|my)[ ](?:{REWRITTEN}|new|updated|improved)[ ](?:response|reply|answer|version|text)"
)
EXPLAINS = re.compile(
    rf"(?:in[ ]this[ ](?:revision|rewrite|{REWRITTEN}[ ]\w+)|{THIS_REWRITE}|(?:this|my)[ ](?:revision"
    r"|rewrite))\b"
    r"|(?:this|the)[ ]response[ ](?:now[ ])?(?:avoids|removes|no[ ]longer|is[ ](?:now|more|less)"
    r"|does[ ]not[ ](?:contain|include"
    r"|promote|encourage)|acknowledges|maintains|respects|focuses|provides|addresses|emphasi[sz]es|aims"
    r"|adheres|conveys)\b"
    r"|i(?:'ve|[ ]have)?(?:[ ](?:also|simply|only|then|just"
    rf"|now))?[ ]{UNDID}\b[^.\n]{{0,100}}?\b{WORDING}\b"
    rf"|i(?:'ve|[ ]have)?[ ](?:also[ ])?(?:added|included|kept|made|tried|aimed)\b[^.\n]{{0,100}}?"
    rf"(?:{THE_ANSWER}\b|\b{REWRITTEN}\b|\boriginal[ ]{ANSWER}\b|\bcritique\b)"
    rf"|(?:the|this)[ ](?:original[ ])?response[ ](?:has[ ]been|was)[ ]{UNDID}\b"
    r"|by[ ](?:removing|revising|rewording|rephrasing|rewriting|replacing"
    rf"|avoiding)\b[^.\n]{{0,150}}?\b(?:the|this|my)[ ](?:revised[ ])?response\b"
    rf"|i[ ]hope[ ](?:that[ ])?(?:{THIS_REWRITE}|this[ ](?:revision|rewrite))\b"
    rf"|(?:please[ ])?let[ ]me[ ]know\b[^.\n]{{0,120}}?\b(?:(?:the|this|my)[ ](?:revision|rewrite"
    rf"|{REWRITTEN}[ ]\w+)|{THE_ANSWER})\b"
    rf"|(?:does|is|would)[ ](?:{THIS_REWRITE}|this[ ](?:revision|rewrite))\b",
    re.I,
)
LIST_ITEM = re.compile(r"(?:[-*\u2022+]|\d{1,2}[.)])[ \t]")
CLOSES = re.compile(r"(?:please[ ])?let[ ]me[ ]know|i[ ]hope[ ]this|is[ ]there[ ]anything", re.I)
GAP = re.compile(r"\n[ \t\r]*\n\s*")
NOTE_LINE = re.compile(r"\n(?=[ \t]*[(\[*_]{0,3}(?:please[ ])?note\b)", re.I)

"""Constitutions in other people's formats, turned into a constitution file.

    paper-revision     the Constitutional AI paper's CritiqueRevisionInstructions.json: an object of
                       {"prompt": ["\\n\\nCritiqueRequest: ..."], "edit_request": "\\n\\nRevisionRequest: ..."}
    paper-comparison   its RLMadisonInstructions.json: a list of judgement instructions ending in "Options:"
    paper-few-shot     its few-shot files: worked examples, no principles; refused with that reason
    llm-swarm          llm-swarm's constitution: {"constitutions": [{"critic", "revision"}], "system_chat": ...}
    sentences          a list of sentences: a JSON array of texts, or a text file with one a line

Wordings are taken over as they stand, but for the labels around them ("CritiqueRequest:",
"Options:") and white space at both ends; typos stay. What a principle needs and the source does
not have is filled by the stand-ins of the constitution file, and each such form is reported.
What the source has and a constitution does not is reported and kept in `left_over`.

What this module does not know: where files are written, whether a licence allows publishing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import orjson

from cai.errors import ConstitutionError

MAX_BYTES = 20_000_000
NOT_STATED = "not stated by the source"
PAPER = "the prompt files published with arXiv 2212.08073"


@dataclass
class Imported:
    """A constitution made from another format.

    `principles`: entries of the constitution file; `reports`: what did not map and what was
    filled in, a sentence each; `left_over`: what the source holds beside, as data.
    """

    kind: str
    source: str
    licence: str
    principles: list[dict[str, Any]] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    left_over: dict[str, Any] = field(default_factory=dict)


def import_constitution(path: Path) -> Imported:
    """Read a file in any of the formats; which one is seen from its shape.

    Raises: ConstitutionError where it cannot be read or is none of them.
    """
    data = _read(path)
    for known in (_paper_revision, _llm_swarm, _few_shot, _paper_comparison, _sentences):
        imported = known(data, path)
        if imported is not None:
            _report(imported)
            return imported
    raise ConstitutionError(
        f"{path} is none of the formats that can be imported.",
        "They are listed by: cai principles import --help",
    )


def _read(path: Path) -> Any:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConstitutionError(f"{path} cannot be read: {error.strerror}.", "Check the name.") from error
    if len(raw) > MAX_BYTES:
        raise ConstitutionError(f"{path} has {len(raw):,} bytes.", "Is it the right file?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConstitutionError(f"{path} is not UTF-8 (byte {error.start}).", "Save it as UTF-8.") from error
    if text.lstrip()[:1] not in ("[", "{", '"'):
        lines = [line.strip() for line in text.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ConstitutionError(
            f"{path}:{error.lineno}:{error.colno}: it is not JSON: {error.msg}.", "Mend that line."
        ) from error


def _paper_revision(data: Any, path: Path) -> Imported | None:
    if not isinstance(data, dict) or not data:
        return None
    if not all(isinstance(item, dict) and {"prompt", "edit_request"} <= set(item) for item in data.values()):
        return None
    made = Imported("paper-revision", f"{path.name}, {PAPER}", NOT_STATED)
    for name, item in data.items():
        prompts = item["prompt"] if isinstance(item["prompt"], list) else [item["prompt"]]
        critiques = [_between(str(text), "CritiqueRequest:", "Critique:") for text in prompts]
        if not critiques:
            made.reports.append(f"{name} has no critique request and is left over")
            made.left_over[name] = item
            continue
        entry = {
            "id": _name(name),
            "text": critiques[0],
            "critique": critiques[0],
            "revision": _between(str(item["edit_request"]), "RevisionRequest:", "Revision:"),
        }
        made.principles.append(entry)
        if len(critiques) > 1:
            made.reports.append(f"{name}: {len(critiques) - 1} further critique requests are left over")
        rest = {key: value for key, value in item.items() if key not in ("prompt", "edit_request")}
        if rest or len(critiques) > 1:
            made.left_over[name] = {**rest, **({"prompt": prompts[1:]} if len(prompts) > 1 else {})}
    made.reports.append("the format has no text of its own for a rule: the critique request stands there too")
    return made


def _llm_swarm(data: Any, path: Path) -> Imported | None:
    if not isinstance(data, dict) or not isinstance(data.get("constitutions"), list):
        return None
    made = Imported("llm-swarm", f"{path.name}, llm-swarm", NOT_STATED)
    for number, item in enumerate(data["constitutions"]):
        if not isinstance(item, dict) or not isinstance(item.get("critic"), str):
            made.reports.append(f"constitutions[{number}] has no critic and is left over")
            made.left_over.setdefault("constitutions", []).append(item)
            continue
        entry = {"id": _numbered(number), "text": item["critic"].strip(), "critique": item["critic"].strip()}
        if isinstance(item.get("revision"), str):
            entry["revision"] = item["revision"].strip()
        made.principles.append(entry)
        rest = {key: value for key, value in item.items() if key not in ("critic", "revision")}
        if rest:
            made.left_over.setdefault("constitutions", []).append(rest)
    rest = {key: value for key, value in data.items() if key != "constitutions"}
    made.left_over |= rest
    made.reports += [f"{key} ({_size(value)}) has no place in a constitution" for key, value in rest.items()]
    made.reports.append("the format has no text of its own for a rule: the critique request stands there too")
    return made


def _few_shot(data: Any, path: Path) -> Imported | None:
    if not isinstance(data, list) or not data:
        return None
    worked = all(isinstance(item, str) and "CritiqueRequest:" in item for item in data)
    answered = all(isinstance(item, dict) and "prompt" in item for item in data)
    reasoned = all(isinstance(item, str) and "(A)" in item and "step by step" in item for item in data)
    if not (worked or answered or reasoned):
        return None
    raise ConstitutionError(
        f"{path} holds {len(data)} worked examples and no principles.",
        "Worked examples belong beside the templates: see prompts/README.md.",
    )


def _paper_comparison(data: Any, path: Path) -> Imported | None:
    if not _texts(data) or not all(text.rstrip().endswith("Options:") for text in data):
        return None
    made = Imported("paper-comparison", f"{path.name}, {PAPER}", NOT_STATED)
    for number, text in enumerate(data):
        question = text.strip().removesuffix("Options:").strip()
        made.principles.append({"id": _numbered(number), "text": question, "judgement": question})
    made.reports.append("the format has no text of its own for a rule: the instruction stands there too")
    return made


def _sentences(data: Any, path: Path) -> Imported | None:
    if not _texts(data):
        return None
    made = Imported("sentences", path.name, NOT_STATED)
    for number, text in enumerate(data):
        made.principles.append({"id": _slug(text, number), "text": text.strip()})
    return made


def _texts(data: Any) -> bool:
    return isinstance(data, list) and bool(data) and all(isinstance(x, str) and x.strip() for x in data)


def _between(text: str, before: str, after: str) -> str:
    return text.strip().removeprefix(before).removesuffix(after).strip()


def _name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "principle"


def _numbered(number: int) -> str:
    return f"principle-{number + 1:02d}"


def _slug(text: str, number: int) -> str:
    words = re.findall(r"[a-z0-9]+", text.lower())
    kept = [word for word in words if len(word) > 3][:4]
    return f"{number + 1:02d}-{'-'.join(kept)}"[:60].strip("-")


def _size(value: Any) -> str:
    return f"{len(value)} items" if isinstance(value, (list, dict)) else f"{len(str(value))} characters"


def _report(made: Imported) -> None:
    """Tell double ids apart, and say which forms will be made from the text."""
    seen: dict[str, int] = {}
    for entry in made.principles:
        name = entry["id"]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            entry["id"] = f"{name[:56]}-{seen[name]}"
            made.reports.append(f"the id {name} stands twice; the second became {entry['id']}")
    for form in ("critique", "revision", "judgement"):
        lacking = sum(form not in entry for entry in made.principles)
        if lacking:
            made.reports.append(
                f"{lacking} of {len(made.principles)} principles have no {form}: it is made from their text"
            )
    if made.licence == NOT_STATED:
        made.reports.append("the source states no licence; it is noted so, and publishing will warn")


def as_yaml(made: Imported, name: str, title: str) -> str:
    """The constitution file's text."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.scalarstring import FoldedScalarString

    def text(value: str) -> Any:
        foldable = len(value) > 60 and "\n" not in value and "  " not in value
        return FoldedScalarString(value) if foldable else value

    head = CommentedMap({"constitution": name, "title": title, "licence": made.licence})
    head["principles"] = [
        CommentedMap(
            {key: text(value) if key != "id" else value for key, value in entry.items()}
            | {"source": made.source, "licence": made.licence}
        )
        for entry in made.principles
    ]
    head.yaml_set_start_comment(
        f"Imported from {made.source}.\n" + "".join(f"Note: {line}.\n" for line in made.reports)
    )
    yaml = YAML()
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    yaml.dump(head, out)
    return out.getvalue()

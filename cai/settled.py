"""Who a run's engines are: settled at first contact, held to ever after.

On disk: `frozen/engines/<digest>.json` holds an engine's identity, `<digest>.fingerprint.json` what
guards it; the digest is of what the recipe declares of the engine. Nothing there is ever changed.

What this module does not know: stores, rows, generations, how an engine is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from cai.digest import digest
from cai.engine.fingerprint import Fingerprint, read_fingerprint
from cai.engine.identity import Identity
from cai.errors import InputError, RecipeError, RunError
from cai.recipe import EngineSection, Recipe
from cai.shipped import find


def declared_digest(section: EngineSection, run: Path) -> str:
    """What a recipe says of who an engine is; addresses and speeds do not count."""
    said = section.model_dump(
        include={"kind", "model", "revision", "form", "template_args", "date", "tokenizer", "script"}
    )
    if thinking := section.thinking.record():
        said["thinking"] = thinking
    if section.kind == "local":
        said["path"] = section.path
        if section.dtype != "auto":
            said["dtype"] = section.dtype
    return digest("cai.declared-engine.v1", [said, _script_text(section, run)])


def _script_text(section: EngineSection, run: Path) -> str | None:
    """The text of a scripted engine's file: editing it makes another engine."""
    if section.kind != "scripted" or section.script is None or not section.script.endswith(".py"):
        return None
    try:
        return find(section.script, run).read_text("utf-8")
    except (InputError, OSError, UnicodeDecodeError):
        return None  # the engine itself says what is wrong


def frozen_identity(run: Path, section: EngineSection) -> Identity | None:
    """The identity settled at an earlier contact, or None before the first."""
    path = run / "frozen" / "engines" / f"{declared_digest(section, run)}.json"
    try:
        return Identity(**orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{path} is damaged.", "Delete it; the next run settles the engine's identity anew."
        ) from error


def frozen_date(run: Path, section: EngineSection) -> str:
    """The ISO date that a template asking for the day is told: declared, frozen, or today's."""
    if section.date is not None:
        return section.date
    known = frozen_identity(run, section)
    return known.date if known is not None else datetime.now(UTC).date().isoformat()


def freeze_identity(run: Path, section: EngineSection, identity: Identity) -> Identity:
    """Settle an engine's identity at first contact.

    Raises: RecipeError where the engine now says another identity than the frozen one: a
    different chat template under the same model name.
    """
    known = frozen_identity(run, section)
    if known is None:
        path = run / "frozen" / "engines" / f"{declared_digest(section, run)}.json"
        _write(path, orjson.dumps(identity.record(), option=orjson.OPT_INDENT_2))
        return identity
    if not known.weights:  # settled before weights were looked at
        identity = replace(identity, weights="", dtype="")
    if known != identity:
        changed = [name for name, value in asdict(identity).items() if asdict(known)[name] != value]
        again = "Serve the same model and template again"
        if section.kind == "local":
            again = f"Put the same model back (it computed in {known.dtype}: `dtype`)"
        raise RecipeError(
            f"The engine for {section.model} is not the one this run began with: its {', '.join(changed)} differ.",
            f"{again}, or give the new one another `revision` in the recipe.",
        )
    return known


def refuse_twin_judges(recipe: Recipe, identities: Mapping[str, Identity]) -> None:
    """Refuse judges that are one and the same: the second would be answered by the first's answers.

    Raises: RecipeError.
    """
    first: dict[str, str] = {}
    for name in recipe.judges() if recipe.feedback is not None else []:
        other = first.setdefault(identities[name].digest, name)
        if other != name:
            raise RecipeError(
                f"The judges {other!r} and {name!r} are the same model (name, revision and chat template are"
                " equal), so they would agree on everything.",
                f"If they differ (quantised, say), give the engine {name!r} a `revision` of its own in the"
                " recipe; else name one judge.",
            )


def frozen_fingerprint(run: Path, section: EngineSection) -> Fingerprint | None:
    """How an engine answered fixed questions at first contact, or None before it; guards, never hashed."""
    try:
        return read_fingerprint(orjson.loads(_fingerprint_path(run, section).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{_fingerprint_path(run, section)} is damaged.",
            "Delete it; the next run takes the engine's fingerprint anew.",
        ) from error


def freeze_fingerprint(run: Path, section: EngineSection, fingerprint: Fingerprint) -> Fingerprint:
    """The fingerprint that an engine is held to: the frozen one, or at first contact the one given."""
    known = frozen_fingerprint(run, section)
    if known is None:
        record = orjson.dumps(fingerprint.record(), option=orjson.OPT_INDENT_2)
        _write(_fingerprint_path(run, section), record)
    return known or fingerprint


def _fingerprint_path(run: Path, section: EngineSection) -> Path:
    return run / "frozen" / "engines" / f"{declared_digest(section, run)}.fingerprint.json"


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_bytes(data)
    draft.replace(path)

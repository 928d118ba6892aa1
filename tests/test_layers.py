"""The layers of DESIGN: a module imports only from layers above its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "cai"

LAYERS: list[list[str]] = [
    ["errors", "digest", "abreast", "memory", "mistake", "share"],
    ["parts", "conversation", "yaml_file", "shipped", "template_syntax", "text_features", "table_files"],
    ["template", "principle", "shortening"],
    ["constitution_file"],
    ["request", "prompting"],
    ["answering"],
    ["recipe_sections"],
    ["recipe", "run_folder", "examples"],
    ["store", "engine"],
    ["ask", "outcome", "cleaning"],
    ["tally"],
    ["source", "abstention", "reasoning"],
    ["revise", "feedback"],
    ["harm"],
    ["steps"],
    ["settled"],
    ["frozen", "job"],
    ["generations"],
    ["live", "reading", "pilot", "trace"],
    ["doctor"],
    ["review"],
    ["dataset"],
    ["fates"],
    ["accounts"],
    ["compare"],
    ["report"],
    ["workbench"],
    ["judge_eval"],
    ["noise"],
    ["publish"],
    ["toy"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
WITHIN = {("engine", "engine"), ("prompting", "request")}
"""Imports inside one layer that are meant: to the left in DESIGN's lines."""


def _modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "shipped" not in path.relative_to(PACKAGE).parts)


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cai."):
            found.add(node.module.split(".")[1])
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("cai.")}
    return found


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_layers_above_its_own(path: Path) -> None:
    own = _part(path)
    if own == "__init__":
        assert not _imports(path)
        return
    assert own in LEVEL, f"{own} has no layer yet: give it one here and in docs"
    wrong = {
        name
        for name in _imports(path)
        if name != own and LEVEL[name] >= LEVEL[own] and (own, name) not in WITHIN
    }
    assert not wrong, f"{path.name} imports {sorted(wrong)} from its own layer or below"


def test_the_core_imports_without_torch_transformers_or_vllm() -> None:
    import subprocess
    import sys

    code = (
        "import sys, cai.live, cai.job, cai.pilot, cai.trace, cai.cli, cai.cli.run, cai.cli.publish, cai.engine.kinds\n"
        "heavy = {'torch', 'transformers', 'vllm', 'datasets', 'huggingface_hub', 'sklearn', 'statsmodels', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_module_opens_with_a_header_that_says_what_it_does_not_know() -> None:
    without = []
    for path in _modules():
        text = path.read_text("utf-8")
        header = ast.get_docstring(ast.parse(text)) or ""
        if text.count("\n") > 5 and "not know" not in header:
            without.append(str(path.relative_to(PACKAGE)))
    assert not without

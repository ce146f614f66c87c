"""Imports run one way, and heavy libraries wait until they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import llm4rec
import pytest

ROOT = Path(llm4rec.__file__).parent
#: What each package may import of the others. errors, threads and the package root are open to all.
ALLOWED = {
    "cli": {"agent", "graphs", "tools", "ranking", "causal", "profiles", "catalog", "evaluation", "prompts", "builder"},
    "builder": {"ranking", "causal", "catalog"},
    "agent": {"graphs", "tools", "ranking", "causal", "profiles", "catalog", "prompts"},
    "graphs": {"tools", "ranking", "causal", "profiles", "catalog", "prompts"},
    "tools": {"ranking", "causal", "profiles", "catalog", "prompts"},
    "evaluation": {"agent", "ranking", "causal", "profiles", "catalog"},
    "ranking": {"profiles", "catalog"},
    "causal": {"profiles", "catalog"},
    "profiles": {"catalog"},
    "catalog": set(),
    "prompts": set(),
}
SHARED = {"errors", "threads", "__version__"}
HEAVY = (
    *("torch", "dowhy", "chromadb", "open_clip", "llama_cpp", "sentence_transformers", "transformers", "langgraph"),
    "psycopg",
)


def modules() -> list[Path]:
    folders = [name for name in ALLOWED if (ROOT / name).is_dir()]
    return [*sorted(p for name in folders for p in (ROOT / name).rglob("*.py")), ROOT / "builder.py"]


def imported(path: Path) -> set[str]:
    """First parts, below the package root, of the relative imports of a module, wherever they stand in it."""
    here = path.relative_to(ROOT).with_suffix("").parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level]
            full = (*base, *(node.module.split(".") if node.module else ()))
            found |= {full[0]} if full else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            assert not any(n.split(".")[0] == "llm4rec" for n in names), f"{path}: imports inside are relative"
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    own = path.relative_to(ROOT).with_suffix("").parts[0]
    wrong = imported(path) - ALLOWED[own] - SHARED - {own}
    assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_import_and_help_load_nothing_heavy() -> None:
    code = (
        "import sys, llm4rec, llm4rec.cli\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(llm4rec.cli.app, ['--help']).exit_code == 0\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

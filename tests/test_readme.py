"""What the README shows is run: its Python example and its commands, on a real workspace."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from llm4rec import Recommender
from llm4rec.cli import app
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(demo_built: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shutil.copytree(demo_built, tmp_path / "demo-workspace", symlinks=True)
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    with Recommender.open(tmp_path / "demo-workspace", llm="rules") as recommender:
        assert "like" in {opinion.kind for opinion in recommender.profile("ana").items.values()}


def test_the_commands_run(demo_built: Path, tmp_path: Path) -> None:
    commands = [line.strip() for line in README.splitlines() if line.startswith("    llm4rec ")]
    assert len(commands) >= 4
    runner = CliRunner()
    for command in commands:
        words = shlex.split(command)[1:]
        if words[0] in ("build", "chat"):
            assert runner.invoke(app, [words[0], "--help"]).exit_code == 0
            continue
        stand_ins = {"ws": str(demo_built), "42": "demo-042", "replay-out": str(tmp_path / "replay-out")}
        words = [stand_ins.get(word, word) for word in words]
        result = runner.invoke(app, words)
        assert result.exit_code == 0, (command, result.output)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target

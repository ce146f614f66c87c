"""The command line as tests use it: in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm4rec.cli import run

#: How a notice of a step ends.
_STEP = re.compile(r" \.\.\.( [\d,]+ of [\d,]+)?$")


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What ``--json`` printed: one line, and nothing else."""
        assert self.code == 0, self.err
        (line,) = self.out.splitlines()
        return json.loads(line)

    @property
    def complaint(self) -> str:
        """What was said of a bad request: on stdout nothing, on stderr one line (notices of steps come before it)."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert not self.out
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if not _STEP.search(line) and not line.startswith("  ")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("llm4rec: ")
        return self.err


def command(*arguments: object, stdin: str = "") -> Ended:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _stdin(stdin):
        code = run([str(argument) for argument in arguments])
    return Ended(code, out.getvalue(), err.getvalue())


def process(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "llm4rec", *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )


@contextlib.contextmanager
def _stdin(text: str) -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        yield
    finally:
        sys.stdin = before

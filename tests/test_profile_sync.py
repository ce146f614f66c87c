"""An event is on the disk before it is acknowledged: what the kernel was asked to do, in order, as strace tells it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import profile_child
import pytest

_CALL = re.compile(r"(?P<call>\w+)\(\d+<(?P<file>[^>]*)>(?P<rest>.*)")


def order_of_calls(path: Path, level: str, trace: Path) -> list[str]:
    """Of ten appends: ``write`` and ``sync`` of the write-ahead log, and ``acknowledged``."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace is not installed, or may not trace here")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    calls = "trace=write,pwrite64,pwritev,fsync,fdatasync"
    traced = [strace, "-f", "-y", "-e", calls, "-o", str(trace)]
    command = [sys.executable, "-P", profile_child.__file__, str(path), "acknowledge", level]
    subprocess.run([*traced, *command], env=environment, check=True, capture_output=True)
    order = []
    for line in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        found = _CALL.search(line)
        if found is None:
            continue
        if found["file"].endswith("-wal"):
            assert re.search(r"= \d+$", line), "it was done"
            order.append("sync" if "sync" in found["call"] else "write")
        elif '"acknowledged' in found["rest"]:
            order.append("acknowledged")
    return order


def unsynced(order: list[str]) -> int:
    """How many acknowledgements came while something written was not yet on the disk, or without a write at all."""
    found, state = 0, "nothing"
    for call in order:
        if call == "acknowledged":
            found += state != "sync"
            state = "nothing"
        else:
            state = call
    return found


def test_each_append_is_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    order = order_of_calls(tmp_path / "p.sqlite", "FULL", tmp_path / "trace")
    assert order.count("acknowledged") == 10
    assert unsynced(order) == 0


def test_the_trace_shows_it_where_it_is_not_so(tmp_path: Path) -> None:
    order = order_of_calls(tmp_path / "p.sqlite", "NORMAL", tmp_path / "trace")
    assert order.count("acknowledged") == unsynced(order) == 10

"""Processes that are killed or that all write at once: what was acknowledged is there, and nothing is there twice.

``LLM4REC_CRASHES`` sets how many are killed (20 by default).
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import profile_child
import pytest
from llm4rec.profiles.store import SqliteProfileStore

CRASHES = int(os.environ.get("LLM4REC_CRASHES", "20"))


@contextmanager
def child(path: Path, mode: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-P", profile_child.__file__, str(path), mode]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        try:
            yield process
        finally:
            process.kill()


def say(process: subprocess.Popen[str], name: str) -> None:
    assert process.stdin is not None
    process.stdin.write(name + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the child ended"
    return line.strip()


def stored_ids(path: Path) -> list[str]:
    """Straight from the file: what the store would hide must not hide here."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    ids = [row[0] for row in connection.execute("SELECT id FROM profile_events WHERE user = 'ana' ORDER BY seq")]
    connection.close()
    return ids


def live_and_die(server: subprocess.Popen[str], name: str, seconds: float) -> list[list[str]]:
    """Let one process append for a while after its first event, kill it; what it acknowledged, step by step."""
    say(server, name)
    steps: list[list[str]] = []
    pid: int | None = None
    killed = False
    while (line := hear(server)) != "dead":
        word, *others = line.split()
        if word == "pid":
            pid = int(others[0])
        else:
            steps.append([word, *others])
        if pid is not None and steps and not killed:
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
            killed = True
    assert killed
    return steps


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_was_acknowledged_survives_kill(tmp_path: Path) -> None:
    path = tmp_path / "profiles.sqlite"
    chance = random.Random()
    written: list[str] = []
    with child(path, "serve") as server:
        for crash in range(CRASHES):
            steps = live_and_die(server, f"c{crash}", chance.random() * 0.08)
            written.extend(event for step in steps for event in step)
            ids = stored_ids(path)
            assert ids[: len(written)] == written, "all that was acknowledged, once, in order"
            # The step that was cut short is there whole or not at all.
            extra = ids[len(written) :]
            assert len(extra) in (0, 3 if len(steps) % 3 == 2 else 1)
            written.extend(extra)
            store = SqliteProfileStore(path)
            assert [e.id for e in store.events("ana")] == ids
            assert len(store.events("bob")) in (0, 4)
            store.forget_user("bob")
            store.close()
    assert len(written) >= CRASHES


def test_two_processes_of_four_threads_write_each_event_once(tmp_path: Path) -> None:
    path = tmp_path / "profiles.sqlite"
    with child(path, "threads") as one, child(path, "threads") as other:
        for process in (one, other):
            assert hear(process) == "ready"
        # Both now make the file, migrate it and write at the same moment.
        say(one, "a")
        say(other, "b")
        new = [*hear(one).split(), *hear(other).split()]
    ids = stored_ids(path)
    assert len(ids) == 2 * profile_child.THREADS * profile_child.OWN + profile_child.SHARED
    assert sorted(new) == sorted(ids), "each event was new exactly once"

"""Processes that are killed or that all write at once: what was acknowledged is there, and nothing is there twice.

``LLM4REC_CRASHES`` sets how many are killed for each kind of store (10 by default).
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import profile_child
import profile_places
import pytest
from llm4rec.profiles.events import Event
from llm4rec.profiles.fold import fold
from llm4rec.profiles.opening import open_store
from llm4rec.profiles.server import Address
from psycopg import sql

CRASHES = int(os.environ.get("LLM4REC_CRASHES", "10"))
#: Seconds after which a process that says nothing is taken to hang.
PATIENCE = 200.0


@pytest.fixture(params=profile_places.KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with profile_places.place(request.param, tmp_path) as where:
        yield where


@contextmanager
def child(where: str, mode: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-P", profile_child.__file__, where, mode]
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


def stored_ids(where: str) -> list[str]:
    """Straight from the tables: what the store would hide must not hide here."""
    if not where.startswith("postgresql:"):
        connection = sqlite3.connect(where)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ids = [row[0] for row in connection.execute("SELECT id FROM profile_events ORDER BY seq")]
        connection.close()
        return ids
    with profile_places.plain() as server:
        events = sql.Identifier(Address(where).schema, "profile_events")
        return [str(row[0]) for row in server.execute(sql.SQL("SELECT id FROM {} ORDER BY seq").format(events))]


class Life:
    """One process that writes until it is killed; ``steps`` are the acknowledged ones of each of its threads."""

    def __init__(self, server: subprocess.Popen[str], name: str) -> None:
        self.name = name
        self.steps = [0] * profile_child.THREADS
        self.said: list[str] = []
        self.begun, self.over = threading.Event(), threading.Event()
        self._pid = 0
        say(server, name)
        threading.Thread(target=self._listen, args=(server,), daemon=True).start()

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        assert self.over.wait(PATIENCE)

    def acknowledged(self) -> list[str]:
        """Ids of all events that are promised to be kept."""
        ids = []
        for thread, steps in enumerate(self.steps):
            for n in range(steps):
                ids += profile_child.step_ids(self.name, thread, n)
                ids += [profile_child.common(n).id] if n % 4 == 0 else []
        return ids

    def _listen(self, server: subprocess.Popen[str]) -> None:
        while (line := hear(server)) != "dead":
            match line.split():
                case ["pid", pid]:
                    self._pid = int(pid)
                case [thread, n] if self.steps[int(thread)] == int(n):
                    self.steps[int(thread)] += 1
                case _:
                    self.said.append(line)
            if self._pid and any(self.steps):
                self.begun.set()
        self.over.set()


def check_every_event(where: str, lives: list[Life]) -> None:
    """After all are dead: the store holds each thread's steps in order, up to the last acknowledged or one further,
    each whole, and folds to what these steps fold to."""
    store = open_store(where)
    steps = Counter[tuple[str, int]]()
    for stored in stored_ids(where):
        if stored.count("/") == 3 and stored.endswith("/0"):
            name, number, *_ = stored.split("/")
            steps[name, int(number)] += 1
    shared: list[Event] = []
    for server in "ab":
        for thread in range(profile_child.THREADS):
            expected: list[Event] = []
            for life in (life for life in lives if life.name[0] == server):
                kept = steps[life.name, thread]
                assert kept - life.steps[thread] in (0, 1), "all acknowledged steps, and at most the one cut short"
                for n in range(kept):
                    *own, last = profile_child.step(life.name, thread, n)
                    expected += [*own, last] if last.user != "shared" else own
                    shared += [last] if last.user == "shared" else []
            user = profile_child.own_user(server, thread)
            assert store.events(user) == tuple(expected)
            assert fold(store.events(user), user=user) == fold(expected, user=user)
    kept_shared = store.events("shared")
    assert sorted(event.id for event in kept_shared) == sorted(event.id for event in shared)
    by_id = {event.id: event for event in shared}
    assert kept_shared == tuple(by_id[event.id] for event in kept_shared)
    commons = store.events("common")
    assert set(commons) == {profile_child.common(int(event.id.split(":")[1])) for event in commons}
    for server in "ab":
        assert len(store.events(f"gone {server}")) in (0, 4), "a batch is kept whole, and forgotten whole"
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.timeout(300 + 20 * CRASHES)
def test_what_was_acknowledged_survives_kill(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Two processes of eight threads write; one of them, chosen by chance, is killed at a moment left to chance."""
    chance = random.Random()
    with child(where, "serve") as one, child(where, "serve") as other:
        servers = {"a": one, "b": other}
        running = {name: Life(server, f"{name}0") for name, server in servers.items()}
        lives = list(running.values())
        for crash in range(CRASHES):
            name = chance.choice("ab")
            assert running[name].begun.wait(PATIENCE), running[name].said
            time.sleep(chance.random() * 0.08)
            running[name].kill()
            promised = [event for life in lives for event in life.acknowledged()]
            ids = stored_ids(where)
            assert len(ids) == len(set(ids)), "none is there twice"
            assert set(promised) <= set(ids), "all that was acknowledged, by the killed one and the other"
            running[name] = Life(servers[name], f"{name}{crash + 1}")
            lives.append(running[name])
        for life in running.values():
            assert life.begun.wait(PATIENCE), life.said
            life.kill()
    assert [line for life in lives for line in life.said] == [], "nothing failed but by being killed"
    check_every_event(where, lives)
    acknowledged, kept = sum(sum(life.steps) for life in lives), len(stored_ids(where))
    with capsys.disabled():
        print(f" [{len(lives)} killed, {acknowledged} steps acknowledged, {kept} events kept] ", end="")


def test_two_processes_of_eight_threads_write_each_event_once(where: str) -> None:
    with child(where, "threads") as one, child(where, "threads") as other:
        for process in (one, other):
            assert hear(process) == "ready"
        # Both now make the store, migrate it and write at the same moment.
        say(one, "a")
        say(other, "b")
        new = [*hear(one).split(), *hear(other).split()]
    ids = stored_ids(where)
    assert len(ids) == 2 * profile_child.THREADS * profile_child.OWN + profile_child.SHARED
    assert sorted(new) == sorted(ids), "each event was new exactly once"

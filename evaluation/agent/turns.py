"""Turns as they are kept: one JSON object a line, appended as soon as a turn is over, read again when a run goes on."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import UserError


class Call(BaseModel):
    """A tool that the planner called."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    arguments: dict[str, object]
    error: str | None = Field(default=None, description="what the tool complained of")


class TurnRecord(BaseModel):
    """One turn: what a user said, and what came of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    user: str
    request: str
    k: int = Field(description="items asked for")
    items: tuple[str, ...] = Field(default=(), description="ids of the items listed, best first")
    failure: str | None = Field(default=None, description="why there is no list, in a few words")
    calls: tuple[Call, ...] = ()
    reply: str = ""
    notices: tuple[str, ...] = Field(default=(), description="what degraded or failed")
    model_calls: int = Field(default=0, description="times the language model was asked")
    prompt_tokens: int | None = Field(default=0, description="null where the model did not tell")
    generated_tokens: int | None = 0
    first_seconds: float | None = Field(default=None, description="to the first list")
    seconds: float = Field(description="of the whole turn")


class Journal:
    """The turns of one train log and agent. Made by :func:`open_journal`.

    Attributes:
        done: by user and request.
    """

    def __init__(self, file: BinaryIO, done: dict[tuple[str, str], TurnRecord]) -> None:
        self._file = file
        self.done: Mapping[tuple[str, str], TurnRecord] = done
        self._done = done

    def append(self, record: TurnRecord) -> None:
        """Keep a turn: it is on disk when this returns."""
        self._file.write(record.model_dump_json().encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._done[record.user, record.request] = record


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open the file, or make it. A last line that was cut off is dropped: its turn is asked again.

    Raises:
        UserError: a line before the last is no turn, or another run writes to the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another run writes to {path}: wait for it, or choose another --out") from None
        file.seek(0)
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
        yield Journal(file, _read(content[:whole], path))


def _read(content: bytes, path: Path) -> dict[tuple[str, str], TurnRecord]:
    done = {}
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            record = TurnRecord.model_validate_json(line)
        except ValidationError:
            raise UserError(f"line {number} of {path} is damaged: delete it, and its turn is asked again") from None
        done[record.user, record.request] = record
    return done

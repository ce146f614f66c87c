"""Prompt texts and demonstrations, as files beside this one. Imports nothing of the project."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def text(name: str) -> str:
    """The prompt file ``<name>.txt``, without trailing space."""
    return (files(__package__) / f"{name}.txt").read_text(encoding="utf-8").strip()


@dataclass(frozen=True)
class Demonstration:
    """What somebody may say, and the calls that answer it (none: a plain reply)."""

    say: str
    calls: tuple[dict[str, Any], ...]
    reply: str = ""


@cache
def demonstrations() -> tuple[Demonstration, ...]:
    """All demonstrations, from ``demonstrations.jsonl``."""
    lines = (files(__package__) / "demonstrations.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines if line.strip()]
    return tuple(
        Demonstration(say=r["say"], calls=tuple(r.get("calls", ())), reply=r.get("reply", "")) for r in records
    )

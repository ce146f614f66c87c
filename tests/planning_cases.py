"""What people may say to the demo's films, the plans that would answer it, and the scoring of a planner on them.

Half of ``planning_cases.jsonl`` is marked ``dev`` (planners were tuned on it), half ``held`` (only measured).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import AIMessage
from llm4rec.catalog.demo import films
from llm4rec.catalog.text import fold
from llm4rec.graphs.planner import Planner, PlanRequest
from llm4rec.tools import toolbox
from llm4rec.tools.base import Bus, Knowledge, TurnContext
from llm4rec.tools.facets import choose_facets
from llm4rec.tools.mentions import MentionIndex
from llm4rec.tools.results import Card

CATALOGUE = films()
FACETS = choose_facets(CATALOGUE)
MENTIONS = MentionIndex(CATALOGUE, FACETS)


@dataclass(frozen=True)
class Case:
    """One message.

    Attributes:
        shown: titles of the list on the table.
        tools: the plans that would answer it, each as the names of its calls; an empty one is a plain reply.
        arguments: what some call must carry: a number, a text that must stand in the argument, or a list of either
            of which one must do.
    """

    kind: str
    say: str
    shown: tuple[str, ...]
    tools: tuple[tuple[str, ...], ...]
    arguments: Mapping[str, Any]
    split: str


@dataclass(frozen=True)
class Outcome:
    case: Case
    calls: Sequence[Mapping[str, Any]]

    @property
    def tools_right(self) -> bool:
        called = sorted(call["name"] for call in self.calls)
        return any(sorted(plan) == called for plan in self.case.tools)

    @property
    def right(self) -> bool:
        return self.tools_right and all(
            any(_holds(call["args"].get(name), wanted) for call in self.calls)
            for name, wanted in self.case.arguments.items()
        )


def _holds(given: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(_holds(given, one) for one in wanted)
    if isinstance(given, str) and isinstance(wanted, str):
        return fold(wanted) in fold(given)
    return bool(given == wanted)


def cases() -> tuple[Case, ...]:
    """All of them, in the order of the file."""
    lines = Path(__file__).with_name("planning_cases.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(
        Case(
            kind=record["kind"],
            say=record["say"],
            shown=tuple(record["list"]),
            tools=tuple(map(tuple, record["tools"])),
            arguments=record["arguments"],
            split=record["split"],
        )
        for record in map(json.loads, lines)
    )


def request_of(case: Case) -> PlanRequest:
    """The planner's view of a case: a desk with the list on it, and nothing said before."""
    rows = {title: row for row, title in enumerate(CATALOGUE.frame["title"].to_list())}
    cards = [Card.of(CATALOGUE.item(rows[title]), ordinal=n, score=0.0) for n, title in enumerate(case.shown, start=1)]
    desk = TurnContext(user="u", thread="t", message=case.say, knowledge=cast(Knowledge, None), bus=Bus(cards), k=5)
    return PlanRequest(desk=desk, tools=toolbox(FACETS, ordinals=len(cards)), past=[], failures=[])


def outcomes(planner: Planner, of: Iterable[Case]) -> list[Outcome]:
    """Each case planned."""
    found = []
    for case in of:
        answer: AIMessage = planner.plan(request_of(case))
        found.append(Outcome(case, cast(Sequence[Mapping[str, Any]], answer.tool_calls)))
    return found


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927)."""
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half

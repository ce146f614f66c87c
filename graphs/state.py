"""What a thread remembers between turns, and what a turn tells while it runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages

from ..tools.results import Card, Record, ToolRun, Turn


class Shown(TypedDict):
    """One item of the last list: enough to point at it and to explain it again, nothing of the profile."""

    id: str
    score: float
    ranks: dict[str, int]


class Request(TypedDict):
    """What the last list answered."""

    query: str | None
    cited: list[str]
    filters: dict[str, Any] | None
    pool: list[str]
    debias: float | None
    explored: NotRequired[list[str]]  # a thread may be older than this
    explore: NotRequired[float]
    turn: NotRequired[int]


class Asked(TypedDict):
    """A question that a reply asked back."""

    turn: int
    labels: list[str]
    nats: float


class State(TypedDict, total=False):
    """The checkpointed state of a thread. The profile and the bus are not in it."""

    messages: Annotated[list[AnyMessage], add_messages]
    shown: list[Shown]
    request: Request
    number: int  # of the turn, 1 for the first
    started: float  # Unix seconds at the start of the turn: makes event ids stable when a node is repeated
    rounds: int  # plans made in this turn
    failures: list[str]  # recoverable errors of the last round, for the next plan
    planned: list[dict[str, Any]]  # calls of the current plan
    said: str  # the planner's own words, where the plan was a reply
    runs: list[dict[str, Any]]  # what ran in this turn
    reply: str
    asked: list[Asked]  # questions back, the latest last: a thread may be older than this


class NodeStarted(Record):
    type: Literal["node"] = "node"
    node: str


class ToolFinished(Record):
    type: Literal["tool"] = "tool"
    run: ToolRun


class ItemsReady(Record):
    """The list is known: it can be shown before a word of the reply is written."""

    type: Literal["items"] = "items"
    cards: tuple[Card, ...]


class TextDelta(Record):
    type: Literal["text"] = "text"
    text: str


class Notice(Record):
    """Something degraded or failed."""

    type: Literal["notice"] = "notice"
    text: str


class TurnFinished(Record):
    type: Literal["turn"] = "turn"
    turn: Turn


TurnEvent = NodeStarted | ToolFinished | ItemsReady | TextDelta | Notice | TurnFinished

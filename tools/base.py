"""What a tool is, and the desk it works at: the knowledge it may read, the turn it serves, the bus it fills."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ..catalog.items import Catalogue
from ..errors import ToolError
from ..profiles.dials import Dials, dials_for
from ..profiles.events import Event
from ..profiles.fold import Profile, fold
from ..profiles.store import ProfileStore
from .results import Card, Claim, Evidence, PopularityCheck, Question, Writing

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..catalog.interactions import Interactions
    from ..catalog.search import Searcher
    from ..catalog.workspace import Build
    from ..causal.report import BiasReport
    from ..ranking.fused_ranker import FusedRanker


class Arguments(BaseModel):
    """Base of every tool's arguments: nothing the schema does not name gets through."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


@dataclass(frozen=True)
class Knowledge:
    """Everything tools may read, opened once and shared by all turns.

    Attributes:
        counts: shape (n_items,), users in the log who chose each item.
        version: of the live catalogue, to learn that there is a newer one.
    """

    build: Build
    catalogue: Catalogue
    interactions: Interactions
    searcher: Searcher
    ranker: FusedRanker
    counts: NDArray[np.int64]
    bias: BiasReport
    store: ProfileStore
    version: int

    @property
    def scale(self) -> tuple[float, float]:
        """The rating scale; 1 to 5 where the log has no ratings or only one value."""
        low, high = self.interactions.scale or (1.0, 5.0)
        return (low, high) if low < high else (1.0, 5.0)

    def title(self, item_id: str) -> str:
        """The catalogue's title of an item; its id where the item has left the catalogue."""
        row = self.catalogue.row_of.get(item_id)
        return item_id if row is None else str(self.catalogue.frame["title"][row])


@dataclass(frozen=True)
class ListSource:
    """How a list came about: enough to make it again with another correction.

    Attributes:
        filters: arguments of its filters, by name.
        pool: ids of the items that a search found, best match first; empty where the whole catalogue was ranked.
        debias: where the dial stood that it was made with; None: nowhere, and what the build derives was taken off.
        explored: ids of the items that came into it by exploring, and would not have been among the best without.
        explore: where the exploration dial stood that it was made with, in [0, 1].
        turn: number of the turn it was made in, which decides what was drawn.
    """

    filters: Mapping[str, Any]
    pool: tuple[str, ...] = ()
    debias: float | None = None
    explored: tuple[str, ...] = ()
    explore: float = 0.0
    turn: int = 0


class Bus:
    """The turn's candidates, addressed by ordinal (1 = first). A new list replaces the old."""

    def __init__(
        self,
        cards: Iterable[Card] = (),
        *,
        query: str | None = None,
        cited: Iterable[str] = (),
        source: ListSource | None = None,
    ) -> None:
        self.show(cards, query=query, cited=cited, source=source)

    def __len__(self) -> int:
        return len(self._cards)

    @property
    def cards(self) -> tuple[Card, ...]:
        return self._cards

    def show(
        self,
        cards: Iterable[Card],
        *,
        query: str | None = None,
        cited: Iterable[str] = (),
        source: ListSource | None = None,
    ) -> None:
        """Replace the list. ``query`` and ``cited`` (attributes) are what it answers, to explain it by later."""
        self._cards = tuple(cards)
        self.query = query
        self.cited = tuple(cited)
        self.source = source

    def at(self, ordinal: int) -> Card:
        """The candidate at an ordinal.

        Raises:
            ToolError: there is no such ordinal.
        """
        if not 1 <= ordinal <= len(self._cards):
            raise ToolError(
                f"there is no number {ordinal}: the list has {len(self._cards)}" if self._cards else "no list is shown"
            )
        return self._cards[ordinal - 1]


@dataclass
class TurnContext:
    """One turn in the making. Lives in memory only: the profile and the bus are never checkpointed.

    Attributes:
        k: how many items a list shows.
        debias: dial of the correction for popularity, in [0, 1]; None: what the build's causal report derives.
        explore: exploration dial, in [0, 1]; None: the user's own.
        image: a picture the user gave with the message, already opened within bounds.
        call: which call is running (``<round>.<position>``); with the thread, the turn and its start it makes
            an event's id, so that a repeated node never writes twice.
        fresh: whether the bus was filled in this turn.
        described: the item that one of the tools was asked about.
        noted: what was recorded in this turn. findings: claims about the user, the list or the log.
        popularity: how far popularity is behind the list, where that was asked.
        pool: ids of what the last search found, best match first.
        explored: ids of what is in the last list by exploring alone.
        seconds: time spent, by node.
        model_calls: how often the language model was asked.
        writing: what became of the sentences it wrote, where it wrote any.
        question: what the reply asks back, where it does.
    """

    user: str
    thread: str
    message: str
    knowledge: Knowledge
    image: Image | None = None
    k: int = 5
    debias: float | None = None
    explore: float | None = None
    number: int = 0
    started: float = 0.0
    opened: float = field(default_factory=time.perf_counter)
    call: str = "0.0"
    bus: Bus = field(default_factory=Bus)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    fresh: bool = False
    described: Card | None = None
    noted: list[Claim] = field(default_factory=list)
    findings_title: str = ""
    findings: list[Claim] = field(default_factory=list)
    popularity: PopularityCheck | None = None
    pool: tuple[str, ...] = ()
    explored: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    model_calls: int = 0
    writing: Writing | None = None
    question: Question | None = None
    _known: list[Event] | None = None
    _profile: Profile | None = None
    _dials: Dials | None = None

    @property
    def known(self) -> Sequence[Event]:
        """The user's events: read from the store once in a turn, to which the turn adds its own."""
        if self._known is None:
            self._known = list(self.knowledge.store.events(self.user))
        return self._known

    @property
    def dials(self) -> Dials:
        """Where the user's dials stand, steered by verdicts on earlier lists; what a request gives wins over it."""
        if self._dials is None:
            self._dials = dials_for(self.known, scale=self.knowledge.scale)
        return self._dials

    @property
    def profile(self) -> Profile:
        """The user's profile, folded when first asked for and again after every event."""
        if self._profile is None:
            self._profile = fold(
                self.known,
                thread=self.thread,
                now=self.started or None,
                scale=self.knowledge.scale,
                user=self.user,
            )
        return self._profile

    def learned(self, event: Event) -> None:
        """An event was committed: what is known is folded anew at the next look."""
        if self._known is not None:
            self._known.append(event)
        self._profile = self._dials = None

    def forget_profile(self) -> None:
        """Read what is known anew at the next look: it was changed by somebody else."""
        self._known = self._profile = self._dials = None

    def open(self, *, number: int, started: float) -> None:
        self.number = number
        self.started = started
        self.forget_profile()

    def clock(self, what: str, since: float) -> None:
        """Add the time since ``since`` (``perf_counter`` seconds) to a node's account."""
        self.seconds[what] = round(self.seconds.get(what, 0.0) + time.perf_counter() - since, 4)

    def cite(self, evidence_id: str, text: str) -> str:
        """Put a record on the table, so that a claim can rest on it; returns its id."""
        self.evidence.setdefault(evidence_id, Evidence(id=evidence_id, text=text))
        return evidence_id

    def fill(
        self,
        cards: Iterable[Card],
        *,
        query: str | None = None,
        cited: Iterable[str] = (),
        source: ListSource | None = None,
    ) -> None:
        """Put a new list on the bus."""
        self.bus.show(cards, query=query, cited=cited, source=source)
        self.fresh = True

    def notice(self, text: str) -> None:
        if text not in self.notices:
            self.notices.append(text)


@dataclass(frozen=True)
class Tool:
    """A schema and a call. ``run`` returns a short observation for the planner.

    Attributes:
        name: what the planner writes.
        summary: one line for the planner, in the imperative.
        arguments: pydantic model of the arguments.
        run: does the work; may raise ToolError (recoverable).
        lists: whether it fills the bus.
        commits: whether it records feedback: such calls run before all others of a plan.
    """

    name: str
    summary: str
    arguments: type[Arguments]
    run: Callable[[TurnContext, Any], str]
    lists: bool = False
    commits: bool = False

    def call(self, context: TurnContext, arguments: Mapping[str, Any]) -> str:
        """Validate the arguments and run.

        Raises:
            ToolError: the arguments do not fit the schema, or the tool could not do it.
        """
        try:
            parsed = self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "arguments"
            raise ToolError(f"{self.name}: {where}: {first['msg']}") from None
        return self.run(context, parsed)

    def as_openai(self) -> dict[str, Any]:
        """The tool as an OpenAI function description, which LangChain's ``bind_tools`` takes.

        Optional arguments are left out or given: no null is offered, which would say the same as leaving out.
        """
        schema = self.arguments.model_json_schema()
        properties = {name: _without_null(field) for name, field in schema.get("properties", {}).items()}
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.summary,
                "parameters": {**schema, "properties": properties},
            },
        }


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    if "anyOf" in schema:
        rest = [option for option in schema["anyOf"] if option.get("type") != "null"]
        if len(rest) == 1:
            outer = {k: v for k, v in schema.items() if k not in ("anyOf", "default")}
            return {**rest[0], **outer}
    return dict(schema)

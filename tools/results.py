"""What tools and turns give back: plain records that print well and serialise to versioned JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..catalog.items import Item


class Record(BaseModel):
    """Base of everything that is shown or sent: frozen, nothing extra."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Versioned(Record):
    """A record that is printed as JSON: its first field, ``schema``, names its form and version."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


class Evidence(Record):
    """A record that a claim rests on.

    ``id`` says where it lives: ``catalogue:<item>:<attribute>``, ``log:<user>:<item>``,
    ``event:<id>``, ``view:<view>:<item>``, ``model:<name>:<item>``, ``pair:<item>:<item>`` (people who chose both),
    ``profile:<attribute>`` (counted over the user's records) or ``causal:popularity``.
    """

    id: str
    text: str


class Verdict(Record):
    """What became of an item's rank when a claim's evidence was left out and all was ranked again.

    ``necessary``: it left the first places, or, where it stood beyond them, fell to twice its rank or further.
    ``contributes``: it fell by less. ``unmoved``: true, but the rank does not rest on it. ``condition``: the search let
    nothing else through, so that there is no ranking without it to compare with.
    """

    label: Literal["necessary", "contributes", "unmoved", "condition"]
    rank: int = Field(description="with everything")
    rank_without: int | None = Field(
        default=None, description="without the evidence; null for a condition and where no evidence can be left out"
    )
    rank_alone: int | None = Field(
        default=None, description="when of all that is known of the user nothing else is kept; null as `rank_without`"
    )
    score: float = Field(description="the ranker's, with everything")
    score_without: float | None = Field(default=None, description="the ranker's, without the evidence")


class Claim(Record):
    """One sentence about an item, and the ids of the records it rests on (at least one)."""

    text: str
    evidence: tuple[str, ...] = Field(min_length=1)
    verdict: Verdict | None = Field(default=None, description="where it was verified, as for `explain`")


class Listed(Record):
    """An item by its id and title."""

    id: str
    title: str


class Counterfactual(Record):
    """The smallest set of past records found without which an item would not be among the first ``top``.

    No part of the set does it alone. Where none of up to five was found, the records are those whose removal took the
    item furthest.
    """

    found: bool
    evidence: tuple[str, ...]
    items: tuple[Listed, ...] = Field(description="the items the records are about, without stated tastes")
    words: tuple[str, ...] = Field(description="the records in words, in the order of `evidence`")
    rank_without: int
    ranked: int = Field(description="how often all was ranked again to find it")


class Verification(Record):
    """An explanation as a whole, verified by ranking again."""

    rank: int = Field(description="by score, before a list is made varied")
    candidates: int = Field(description="how many items the rank is among")
    top: int = Field(description="the first so many are 'here': as far down as the list on the table reaches, else 10")
    listed: bool = Field(description="whether the list on the table holds the item")
    rank_without: int | None = Field(description="without the evidence of all claims; null where none can be left out")
    rank_alone: int = Field(description="when of all that is known of the user only the evidence of the claims is kept")
    counterfactual: Counterfactual | None = Field(
        default=None, description="null where the item is not among the first places, or nothing is known of the user"
    )
    counterpoint: Claim | None = Field(default=None, description="what speaks against the item, where something does")
    considered: int = Field(description="true reasons that were measured; those with the greatest effect became claims")


class Card(Record):
    """One item as shown: its place in the list, facts from the catalogue, why it is there."""

    ordinal: int = Field(ge=1)
    id: str
    title: str
    description: str
    image: str | None = Field(default=None, description="file name in the build's images folder")
    attributes: Mapping[str, float | str | tuple[str, ...]]
    score: float
    parts: Mapping[str, float] = Field(description="what each part of the ranker or each view gave to the score")
    ranks: Mapping[str, int] = Field(description="rank in each searched view, 1 = best")
    claims: tuple[Claim, ...] = ()
    verification: Verification | None = Field(default=None, description="where the item was explained")

    @classmethod
    def of(
        cls,
        item: Item,
        *,
        ordinal: int,
        score: float,
        parts: Mapping[str, float] | None = None,
        ranks: Mapping[str, int] | None = None,
        claims: tuple[Claim, ...] = (),
        verification: Verification | None = None,
    ) -> Card:
        return cls(
            ordinal=ordinal,
            id=item.id,
            title=item.title,
            description=item.description,
            image=item.image,
            attributes=dict(item.attributes),
            score=round(score, 6),
            parts={name: round(float(value), 6) for name, value in (parts or {}).items()},
            ranks=dict(ranks or {}),
            claims=claims,
            verification=verification,
        )


class ToolRun(Record):
    """One call the planner made, and what came of it."""

    name: str
    arguments: Mapping[str, Any]
    ok: bool
    observation: str
    seconds: float


class ListVariant(Record):
    """The list on the table as it would be under one correction for popularity."""

    label: str = Field(description="which correction, in words")
    dial: float | None = Field(default=None, description="of the correction, 0 to 1; null: what the report derives")
    items: tuple[Listed, ...]
    lift: float | None = Field(
        default=None, description="how much more popular than the user's history: 0 alike, 1 twice as popular"
    )


class PopularityCheck(Record):
    """How far popularity is behind a list: measured on the list, and estimated from the log at build time."""

    list_mean: float | None = Field(default=None, description="people who chose an item of the list, on average")
    catalogue_mean: float = Field(description="people who chose an item of the catalogue, on average")
    history_mean: float | None = Field(default=None, description="people who chose an item of the history, on average")
    lift: float | None = Field(
        default=None, description="how much more popular the list is than the history: 0 alike, 1 twice as popular"
    )
    verdict: Literal["estimated", "cannot tell", "not estimated"]
    effect: float | None = Field(default=None, description="of popularity, as the causal report has it")
    interval: tuple[float, float] | None = Field(default=None, description="95 %")
    unit: str = ""
    passed: tuple[str, ...] = Field(default=(), description="refutations that the estimate passed")
    failed: tuple[str, ...] = Field(default=(), description="refutations that it failed")
    corrected: str = Field(description="what is corrected on this list, or why nothing is")
    per_doubling: float = Field(description="what the derived correction takes from a score for each doubling")
    variants: tuple[ListVariant, ...] = Field(
        default=(), description="the list over the same candidates, first without correction"
    )


class Writing(Record):
    """What became of the sentences that a language model wrote for a reply."""

    sentences: int = Field(description="sentences it wrote")
    replaced: int = Field(description="of these, how many the evidence did not hold: claims stand in their place")
    reasons: tuple[str, ...] = Field(default=(), description="what each of those said that no evidence holds")


class Question(Record):
    """What a reply asks back, because the answer would help the next list most."""

    labels: tuple[str, str] = Field(description="the two kinds to choose from, as the catalogue has them")
    text: str = Field(description="the question")
    nats: float = Field(description="information that the answer is expected to give about the order of the best items")


class Turn(Versioned):
    """One exchange, whole."""

    schema_: Literal["llm4rec.turn/1"] = Field(default="llm4rec.turn/1", alias="schema")
    user: str
    thread: str
    number: int = Field(description="1 for the first turn of the thread")
    message: str
    reply: str = Field(description="what was said, in Markdown, without the list")
    cards: tuple[Card, ...] = Field(default=(), description="the list, or the one item that was asked about")
    listed: bool = Field(default=False, description="whether the cards are a new list")
    evidence: tuple[Evidence, ...] = ()
    popularity: PopularityCheck | None = Field(
        default=None, description="where it was asked how far popularity is behind the list"
    )
    tools: tuple[ToolRun, ...] = ()
    events: tuple[str, ...] = Field(default=(), description="ids of the feedback events this turn recorded")
    notices: tuple[str, ...] = Field(default=(), description="what degraded or failed, in plain words")
    planner: str = Field(description="which model planned, or 'rules'")
    model_calls: int = Field(
        default=0,
        description="how often the language model was asked; 0 where demonstrations and message left it no choice",
    )
    writing: Writing | None = Field(
        default=None, description="where a language model wrote the words above the list; null: they were composed"
    )
    question: Question | None = Field(default=None, description="what the reply asks back, where that helps")
    explore: float = Field(default=0.0, description="exploration dial that the list was made with, 0 to 1")
    simulated: bool = Field(default=False, description="the log behind the figures is simulated")
    seconds: Mapping[str, float] = Field(default_factory=dict, description="time each node took, and 'first_result'")


class ItemList(Versioned):
    """The answer of ``search`` and ``recommend``."""

    schema_: Literal["llm4rec.items/1"] = Field(default="llm4rec.items/1", alias="schema")
    user: str | None = None
    query: str | None = None
    cards: tuple[Card, ...]
    evidence: tuple[Evidence, ...] = ()
    notices: tuple[str, ...] = ()
    explore: float = Field(default=0.0, description="exploration dial that the list was made with, 0 to 1")
    simulated: bool = False


class Failure(Versioned):
    """What ``chat --json`` prints for a line that could not be done."""

    schema_: Literal["llm4rec.error/1"] = Field(default="llm4rec.error/1", alias="schema")
    error: str


def numbers_shown(cards: Sequence[Card]) -> dict[str, list[float]]:
    """The numbers of the items on the table, by attribute."""
    shown: dict[str, list[float]] = {}
    for card in cards:
        for name, value in card.attributes.items():
            if isinstance(value, float):
                shown.setdefault(name, []).append(value)
    return shown

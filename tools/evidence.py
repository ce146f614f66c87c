"""Everything true that speaks for an item, gathered before anything is said of it.

From the past (by content, by pictures, by what other people chose), from shared names, from paths in the graph, from
stated tastes, from the request, from the transformer, from exploring, and from how popular it is. Each is a *reason*: a
sentence, the records it rests on, and what has to be left out of a ranking to see what it does. Which of them are told
is decided by :mod:`.verify`, by measuring.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..catalog.filters import Filter, mask
from ..catalog.items import Item
from ..catalog.text import fold, one_line
from ..errors import ToolError
from ..ranking.base import Contribution, Ranked
from ..ranking.graph_ranker import GraphRanker
from ..ranking.history import from_events
from .base import TurnContext
from .claims import (
    BEHAVIOUR,
    WORTH_TELLING,
    asked_claim,
    exploring_words,
    history_record,
    is_borne_out,
    is_liked,
    part_words,
    plain_claim,
    popularity_claim,
    search_claim,
    seldom_records,
)
from .counterfactual import QUERY, Left, Standing, Standings
from .facets import Facets, resolve_filters
from .nouns import people, singular
from .results import Card, Claim, Evidence
from .seldom import SELDOM, bears_out, counts_people, people_in_common

Kind = Literal[
    "behaviour", "content", "graph", "shared", "taste", "asked", "found", "popularity", "lately", "explored", "plain"
]

#: Records of the past that a claim names at most.
NAMED = 2
#: Records of the past whose removal is measured one by one.
MEASURED = 12
#: A value that more than this share of the catalogue carries is nothing two items have in common.
COMMON = 0.03
#: An attribute holds names, and not kinds, where it has at least so many values for each item.
MANY_NAMES = 0.1
#: Latest choices that the transformer's claim rests on.
LATELY = 5
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_QUOTED = re.compile(r"“([^”]*)”")


@dataclass(frozen=True, slots=True)
class Reason:
    """Something true that speaks for an item.

    Attributes:
        kind: where it comes from.
        text: the sentence.
        records: what it rests on, at least one.
        left: what is left out of a ranking to see what it does.
        slots: what was put into the sentence: names, values, attributes.
        part: of the ranker, where it speaks through one.
    """

    kind: Kind
    text: str
    records: tuple[Evidence, ...]
    left: Left
    slots: tuple[str, ...] = ()
    part: str | None = None


def unsupported(reason: Reason) -> tuple[str, ...]:
    """What its text says that none of its records holds: names, quoted words, numbers, capitalised words, and that
    people seldom choose something where their counts do not say so."""
    texts = [fold(record.text) for record in reason.records]
    numbers = {number for record in reason.records for number in _NUMBER.findall(record.text)}
    wanted = [*reason.slots, *_QUOTED.findall(reason.text)]
    missing = [one for one in wanted if fold(one) and not any(f" {fold(one)} " in f" {text} " for text in texts)]
    missing += [number for number in _NUMBER.findall(reason.text) if number not in numbers]
    words = {word for text in texts for word in text.split()}
    capital = [word for word in reason.text.split() if word[:1].isupper()]
    missing += [word for word in capital if not set(fold(word).split()) <= words]
    if SELDOM in reason.text:
        told = [one for one in reason.slots if any(bears_out(record.text, one) for record in reason.records)]
        missing += [] if told and len(told) == len(reason.slots) else ["counts of people who seldom choose it"]
    return tuple(dict.fromkeys(missing))


def measured_first(contributions: Sequence[Contribution], row: int, most: int = MEASURED) -> list[str]:
    """Ids of the records whose removal is worth measuring: those that add most in all, and the first of each part."""
    total: dict[str, float] = {}
    first: dict[str, list[str]] = {}
    for one in contributions:  # largest first
        if one.row == row:
            continue
        total[one.ref] = total.get(one.ref, 0.0) + one.amount
        if one.amount > 0 and one.direct and len(first.setdefault(one.part, [])) < NAMED:
            first[one.part].append(one.ref)
    promising = sorted((ref for ref, amount in total.items() if amount > 0), key=lambda ref: -total[ref])
    return list(dict.fromkeys([*promising[:most], *(ref for refs in first.values() for ref in refs)]))


def gather(
    context: TurnContext,
    item: Item,
    ranked: Ranked,
    standings: Standings,
    alone: Mapping[str, Standing],
    shown: Card | None,
) -> list[Reason]:
    """Every reason there is for an item, in no order that means anything; at least one.

    Args:
        ranked: what the ranker says of the item, with all contributions.
        standings: ranks it again.
        alone: where it stands without each of some records of the past.
        shown: its card, where it is in the list on the table.
    """
    table = replace(context, evidence={})  # records come to the turn's table with the claims that are told
    reasons: list[Reason] = []
    if shown is not None:
        reasons += _of_request(table, item, shown, standings)
    reasons += _of_tastes(table, ranked, standings)
    reasons += _of_past(table, item, ranked, alone)
    reasons += _of_names(table, item, standings, alone)
    reasons += _of_sequence(table, item, ranked, standings)
    reasons += _of_exploring(item, ranked)
    reasons += _of_popularity(table, item, ranked, standings)
    return reasons or [_reason(table, "plain", plain_claim(table, item), Left())]


def _reason(table: TurnContext, kind: Kind, claim: Claim, left: Left, slots: Sequence[str] = ()) -> Reason:
    return Reason(kind, claim.text, tuple(table.evidence[one] for one in claim.evidence), left, tuple(slots))


def _of_request(table: TurnContext, item: Item, shown: Card, standings: Standings) -> Iterator[Reason]:
    bus = table.bus
    if shown.ranks:
        for claim in search_claim(table, item, shown.ranks, bus.query):
            yield _reason(table, "found", claim, Left(wishes=frozenset({QUERY})))
    for claim in asked_claim(table, item, bus.cited, _labels(table, standings)):
        wishes = frozenset(name for name in bus.cited if name in item.attributes)
        yield _reason(table, "asked", claim, Left(wishes=wishes), sorted(wishes))


def _labels(table: TurnContext, standings: Standings) -> tuple[str, ...]:
    """The labels and names that the list on the table was filtered by."""
    source = table.bus.source
    if source is None:
        return ()
    try:
        return resolve_filters(table.knowledge.catalogue, standings.facets, source.filters).labels
    except ToolError:  # the catalogue has changed since: the first values are told, whatever was asked for
        return ()


def _of_tastes(table: TurnContext, ranked: Ranked, standings: Standings) -> Iterator[Reason]:
    stated = {f"event:{taste.event_id}": taste for taste in table.profile.tastes}
    for one in ranked.contributions:
        if one.part == "tastes" and one.amount > 0 and one.ref in stated and stated[one.ref].polarity > 0:
            term = one_line(stated[one.ref].term, 40)
            text = f"you said you like {term}"
            yield Reason("taste", text, (Evidence(id=one.ref, text=text),), Left(frozenset({one.ref})), (term,))


def _of_past(table: TurnContext, item: Item, ranked: Ranked, alone: Mapping[str, Standing]) -> Iterator[Reason]:
    """Of each part that lifts the item, the records that do most, those first whose removal was seen to cost most."""
    row = table.knowledge.catalogue.row_of[item.id]
    own = [c for c in ranked.contributions if c.amount > 0 and c.direct and c.row is not None and c.row != row]
    for part in dict.fromkeys(c.part for c in own):
        if ranked.parts.get(part, 0.0) <= 0:
            continue
        of_part = [c for c in own if c.part == part]
        if part in BEHAVIOUR:
            of_part = [
                c
                for c in of_part
                if is_borne_out(table, c, row) and (not is_liked(table, c) or people_in_common(table, c.row, row) != 0)
            ]
        for liked in (True, False):
            told = [c for c in of_part if is_liked(table, c) == liked]
            if not told:
                continue
            told = [c for c in told if c.amount >= WORTH_TELLING * told[0].amount]
            told.sort(key=lambda c: -(alone[c.ref].rank if c.ref in alone else 0))  # stable: else the larger amount
            yield past_reason(table, item, ranked, part, told[:NAMED])
            if part == "graph" and liked:
                yield from _path(table, item, ranked, told[0])


def past_reason(table: TurnContext, item: Item, ranked: Ranked, part: str, told: Sequence[Contribution]) -> Reason:
    """The claim that a part of the ranker makes of some records of the past."""
    row = table.knowledge.catalogue.row_of[item.id]
    named = [history_record(table, c.ref, c.row) for c in told if c.row is not None]
    liked = is_liked(table, told[0])
    # The graph goes by people and by names; of several records together only the people can be told.
    words = "ease" if part == "graph" else part
    names = " and ".join(label for label, _ in named)
    text = part_words(words, names, liked=liked, counted=counts_people(table))
    model = Evidence(
        id=f"model:{part}:{item.id}",
        text=f"{part} model: {ranked.parts[part]:+.3f} of the score {ranked.score:+.3f}",
    )
    both = [_people_record(table, c.row, row) for c in told if part in BEHAVIOUR and liked and c.row is not None]
    seldom = [one for c in told for one in seldom_records(table, c, row)]
    return Reason(
        kind="behaviour" if part in BEHAVIOUR else "content",
        text=text,
        records=(*(record for _, record in named), *(one for one in both if one is not None), *seldom, model),
        left=Left(frozenset(c.ref for c in told)),
        slots=tuple(label for label, _ in named),
        part=part,
    )


def _path(table: TurnContext, item: Item, ranked: Ranked, first: Contribution) -> Iterator[Reason]:
    """What one record and the item have in common in the graph."""
    graph = table.knowledge.ranker.rankers.get("graph")
    assert isinstance(graph, GraphRanker)
    assert first.row is not None
    past = from_events([first.row], [1.0], [first.ref])
    for path in graph.paths(past, table.knowledge.catalogue.row_of[item.id], 3):
        if path.label is None:
            continue
        name, record = history_record(table, first.ref, first.row)
        value = one_line(path.label, 80)
        shared = tuple(Evidence(id=one, text=f"{path.relation}: {value}") for one in path.evidence[1:])
        yield Reason(
            "graph",
            f"shares {singular(path.relation)} {value} with {name}, on your record",
            (record, *shared),
            Left(frozenset({first.ref})),
            (path.relation, value, name),
            "graph",
        )
        return


def _of_names(table: TurnContext, item: Item, standings: Standings, alone: Mapping[str, Standing]) -> Iterator[Reason]:
    """Names the item shares with what was chosen and not disliked, of those that few items carry."""
    catalogue, past = table.knowledge.catalogue, standings.history
    row = catalogue.row_of[item.id]
    fine = np.flatnonzero((past.weights >= 0) & (past.behaviour >= 0) & (past.rows != row))
    if not len(fine):
        return
    for name, held in shared_labels(table, item, past.rows[fine]).items():
        for value, places in held.items():
            if not is_rare(table, standings.facets, name, value):
                continue
            refs = [past.refs[fine[at]] for at in places][::-1]  # the latest first
            rows = [int(past.rows[fine[at]]) for at in places][::-1]
            order = sorted(range(len(refs)), key=lambda at: -(alone[refs[at]].rank if refs[at] in alone else 0))
            chosen = order[: NAMED + 1]
            yield shared_reason(table, item, name, value, [(refs[at], rows[at]) for at in chosen])


def shared_reason(table: TurnContext, item: Item, name: str, value: str, told: Sequence[tuple[str, int]]) -> Reason:
    """The claim that the item shares a value with records of the past (evidence id, row)."""
    ids = table.knowledge.catalogue.ids
    named = [history_record(table, ref, row) for ref, row in told]
    text = f"{name}: {one_line(value, 80)}"
    held = [Evidence(id=f"catalogue:{one}:{name}", text=text) for one in (item.id, *(ids[row] for _, row in told))]
    labels = [label for label, _ in named]
    names = " and ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)
    return Reason(
        "shared",
        f"shares {singular(name)} {one_line(value, 80)} with {names}, on your record",
        (*(record for _, record in named), *held),
        Left(frozenset(ref for ref, _ in told)),
        (name, one_line(value, 80), *labels),
    )


def shared_labels(table: TurnContext, item: Item, rows: NDArray[np.int64]) -> dict[str, dict[str, list[int]]]:
    """By attribute and value of the item: places in ``rows`` of the items that have the value too."""
    found: dict[str, dict[str, list[int]]] = {}
    frame = table.knowledge.catalogue.frame
    for name, own in item.attributes.items():
        if isinstance(own, float):
            continue
        values = set(own) if isinstance(own, tuple) else {own}
        for at, theirs in enumerate(frame[name].gather(rows).to_list()):
            for value in values & set(theirs if isinstance(theirs, list) else [theirs]):
                found.setdefault(name, {}).setdefault(value, []).append(at)
    return found


def is_rare(table: TurnContext, facets: Facets, name: str, value: str) -> bool:
    """Whether it is a name that few items carry: what makes having it in common worth a word."""
    catalogue = table.knowledge.catalogue
    if not any(spec.name == name and spec.distinct >= MANY_NAMES * len(catalogue) for spec in facets.names):
        return False
    many = int(mask(catalogue, [Filter(attribute=name, op="is", value=value)]).sum())
    return many <= max(3, COMMON * len(catalogue))


def _of_sequence(table: TurnContext, item: Item, ranked: Ranked, standings: Standings) -> Iterator[Reason]:
    past = standings.history.chosen()
    amount = ranked.parts.get("sequence", 0.0)
    if amount <= 0 or not len(past):
        return
    latest = past.last(LATELY)
    records = [history_record(table, ref, int(row))[1] for ref, row in zip(latest.refs, latest.rows, strict=True)]
    model = Evidence(
        id=f"model:sequence:{item.id}", text=f"sequence model: {amount:+.3f} of the score {ranked.score:+.3f}"
    )
    text = "follows from what you chose lately, taken together"
    yield Reason("lately", text, (model, *records), Left(frozenset(latest.refs)), part="sequence")


def _of_exploring(item: Item, ranked: Ranked) -> Iterator[Reason]:
    if ranked.parts.get("explore", 0.0) > 0:
        record = Evidence(id=f"model:explore:{item.id}", text=exploring_words(ranked))
        yield Reason("explored", "lifted to learn more of your taste", (record,), Left(parts=frozenset({"explore"})))


def _of_popularity(table: TurnContext, item: Item, ranked: Ranked, standings: Standings) -> Iterator[Reason]:
    counts = table.knowledge.counts
    own = counts[table.knowledge.catalogue.row_of[item.id]]
    if ranked.parts.get("popularity", 0.0) + ranked.parts.get("debias", 0.0) <= 0 or own <= counts.mean():
        return
    reason = _reason(
        table, "popularity", popularity_claim(table, item, ranked), Left(parts=frozenset({"popularity", "debias"}))
    )
    correction = table.knowledge.bias.correction
    told = () if correction is None else (Evidence(id="causal:popularity", text=f"correction: {correction.note}"),)
    yield replace(reason, records=(*reason.records, *told))


def _people_record(table: TurnContext, past: int, row: int) -> Evidence | None:
    both = people_in_common(table, past, row)
    if both is None:
        return None
    ids = table.knowledge.catalogue.ids
    names = " and ".join(one_line(table.knowledge.title(ids[one]), 80) for one in (past, row))
    return Evidence(id=f"pair:{ids[past]}:{ids[row]}", text=f"{people(both)} chose both {names}")

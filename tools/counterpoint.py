"""What speaks against an item: at most one true sentence, resting on records, in the order of how much it matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..catalog.items import Item
from ..catalog.text import fold, one_line
from .base import TurnContext
from .claims import history_record
from .counterfactual import Left, Standings
from .evidence import NAMED, Reason, is_rare, shared_labels
from .nouns import people, singular
from .results import Evidence
from .taste import UNWANTED

#: An opinion from here down is a dislike: on 1 to 5 a rating of 2 or 1.
DISLIKED = -0.4
#: A stated dislike is partly met where the item is among this share of the catalogue most like it.
MET = 0.02
#: How many numbers there must be to speak of what is usual, and what share of them is unusual at either end.
ENOUGH, UNUSUAL = 10, 0.05
#: Of a label that many items carry, so many disliked items are needed, and so many times the share of dislikes in all.
MANY, MORE = 3, 1.5
#: Chosen by so few people or fewer, little is known of it, in a log where items have five times as many on average.
FEW = 4


def counterpoint(context: TurnContext, item: Item, standings: Standings) -> Reason | None:
    """The first that holds: a stated dislike it meets, what it shares with disliked items, a number far from what the
    user usually chooses, that few people chose it. None where none does."""
    table = replace(context, evidence={})
    kinds: tuple[Callable[[TurnContext, Item, Standings], Iterator[Reason]], ...] = (
        _stated,
        _shared,
        _unusual,
        _unknown,
    )
    return next((reason for kind in kinds for reason in kind(table, item, standings)), None)


def _stated(table: TurnContext, item: Item, standings: Standings) -> Iterator[Reason]:
    tastes = standings.tastes
    if tastes is None:
        return
    row = table.knowledge.catalogue.row_of[item.id]
    terms = {f"event:{taste.event_id}": one_line(taste.term, 40) for taste in table.profile.tastes}
    for ref, how, signed in zip(tastes.refs, tastes.how, tastes.signed, strict=True):
        if signed[row] >= 0 or ref == UNWANTED or ref not in terms:
            continue
        term = terms[ref]
        said = Evidence(id=ref, text=f"you said you do not want {term}")
        if how == "label":
            labels = tuple(_carried(item, term))
            text = f"you said you do not want {term}"
            yield Reason("taste", text, (said, *labels), Left(frozenset({ref})), (term,))
            continue
        if np.count_nonzero(signed < signed[row]) < MET * len(signed):
            text = f"you said you do not want {term}, and its text comes close to that"
            place = 1 + int(np.count_nonzero(signed < signed[row]))
            match = Evidence(id=f"view:text:{item.id}", text=f"place {place} of the catalogue in likeness to {term}")
            yield Reason("taste", text, (said, match), Left(frozenset({ref})), (term,))


def _carried(item: Item, term: str) -> Iterator[Evidence]:
    """The item's own labels that the term names."""
    for name, value in item.attributes.items():
        if not isinstance(value, float):
            for label in value if isinstance(value, tuple) else (value,):
                if f" {fold(term)} " in f" {fold(label)} ":
                    yield Evidence(id=f"catalogue:{item.id}:{name}", text=f"{name}: {one_line(label, 80)}")


def _shared(table: TurnContext, item: Item, standings: Standings) -> Iterator[Reason]:
    """Names first, then labels that many items carry, where more of them was disliked than liked."""
    past = standings.history
    row = table.knowledge.catalogue.row_of[item.id]
    others = np.flatnonzero(past.rows != row)
    held = shared_labels(table, item, past.rows[others])
    kinds = {spec.name for spec in standings.facets.choices}
    usual = float((past.weights[others] <= DISLIKED).mean()) if len(others) else 0.0
    found: list[tuple[bool, int, str, str, list[int]]] = []
    for name, values in held.items():
        for value, places in values.items():
            weights = past.weights[others[places]]
            disliked = [int(others[at]) for at, weight in zip(places, weights, strict=True) if weight <= DISLIKED]
            liked = int((weights > -DISLIKED).sum())
            if len(disliked) <= liked:
                continue
            rare = is_rare(table, standings.facets, name, value)
            if rare or (name in kinds and len(disliked) >= MANY and len(disliked) >= MORE * usual * len(places)):
                found.append((rare, len(disliked), name, value, disliked))
    found.sort(key=lambda one: (not one[0], -one[1]))  # stable: the catalogue's order of attributes
    for _, many, name, value, disliked in found:
        told = disliked[::-1][:NAMED] if many > NAMED else disliked
        named = [history_record(table, past.refs[at], int(past.rows[at])) for at in told]
        labels, shown, one_of = [label for label, _ in named], one_line(value, 80), singular(name)
        ids = table.knowledge.catalogue.ids
        records = [
            *(record for _, record in named),
            *(
                Evidence(id=f"catalogue:{one}:{name}", text=f"{name}: {shown}")
                for one in (item.id, *(ids[int(past.rows[at])] for at in told))
            ),
        ]
        if many > len(told):
            records.append(
                Evidence(id=f"profile:{name}:{shown}", text=f"{many} on record with {name} {shown} and disliked")
            )
            text = f"you disliked {many} with the {one_of} {shown}, {' and '.join(labels)} among them"
            slots = (str(many), name, shown, *labels)
        else:
            share = "share" if many > 1 else "shares"
            text = f"you disliked {' and '.join(labels)}, which {share} its {one_of} {shown}"
            slots = (name, shown, *labels)
        yield Reason("shared", text, tuple(records), Left(frozenset(past.refs[at] for at in disliked)), slots)


def _unusual(table: TurnContext, item: Item, standings: Standings) -> Iterator[Reason]:
    row = table.knowledge.catalogue.row_of[item.id]
    chosen = standings.history.chosen()
    rows = chosen.rows[(chosen.rows != row) & (chosen.weights >= 0)]
    for name, own in item.attributes.items():
        if not isinstance(own, float):
            continue
        values = table.knowledge.catalogue.frame[name].gather(rows).drop_nulls().to_numpy().astype(np.float64)
        found = usual(values)
        if found is None or found[0] <= own <= found[1]:
            continue
        low, high = found
        inside = f"{share_within(values, low, high)} of what you chose lie from {low:g} to {high:g}"
        records = (
            Evidence(id=f"catalogue:{item.id}:{name}", text=f"{name}: {own:g}"),
            Evidence(id=f"profile:{name}", text=f"{name}: {inside} ({len(values)} records)"),
        )
        yield Reason("plain", f"its {name} is {own:g}, and {inside}", records, Left(), (name, f"{own:g}"))


def share_within(values: NDArray[np.float64], low: float, high: float) -> str:
    """How many of the values lie in a range, in words: the ends of the usual one may be what many share."""
    inside = (values >= low) & (values <= high)
    return "all" if inside.all() else f"{min(99, round(100 * float(inside.mean())))} in 100"


def usual(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """The range that all but the most unusual lie in; None where there are too few."""
    if len(values) < ENOUGH:
        return None
    low, high = np.quantile(values, [UNUSUAL, 1 - UNUSUAL], method="nearest")
    return float(low), float(high)


def _unknown(table: TurnContext, item: Item, standings: Standings) -> Iterator[Reason]:
    counts = table.knowledge.counts
    own = int(counts[table.knowledge.catalogue.row_of[item.id]])
    if own > FEW or counts.mean() < 5 * FEW:
        return
    told = f"{people(own)} chose it in the log; {counts.mean():.0f} chose an item on average"
    text = f"few people are known to have chosen it ({own})" if own else "nobody is known to have chosen it"
    yield Reason("popularity", text, (Evidence(id=f"model:popularity:{item.id}", text=told),), Left(), ())

"""Made-up events for the tests of the profile."""

from __future__ import annotations

import uuid
from typing import Any

from hypothesis import strategies as st
from llm4rec.profiles.events import Event, event_id, undo

ITEMS = ("i1", "i2", "i3")
THREADS = ("t1", "t2")
OFFERS = (None, "explore-", "explore+ diversity-", "explore- diversity+ debias- recency+", "diversity- mood+")
NOW = 1_750_000_000.0

_texts = st.text(min_size=1, max_size=20).filter(lambda s: any(c.isprintable() and c != " " for c in s))
_times = st.floats(min_value=0, max_value=4e9, allow_nan=False)


@st.composite
def contents(draw: st.DrawFn, earlier: list[str]) -> dict[str, Any]:
    """Fields of one event; undos refer to one of ``earlier``."""
    kinds = ["rating", "like", "dislike", "seen", "skip", "taste", "reset_dials"] + (["undo"] * 3 if earlier else [])
    kind = draw(st.sampled_from(kinds))
    fields: dict[str, Any] = {
        "kind": kind,
        "time": draw(_times | st.sampled_from([NOW, NOW - 3600, NOW - 13 * 3600])),
        "thread": draw(st.sampled_from(THREADS)),
        "source": draw(st.sampled_from(["said", "clicked", "imported", "inferred"])),
        "message": draw(st.none() | _texts),
        "confidence": draw(st.floats(0, 1)),
    }
    match kind:
        case "undo":
            fields["target"] = draw(st.sampled_from(earlier))
        case "taste":
            fields["term"] = draw(st.sampled_from(["crime", "Crime", "slow", "crème"]) | _texts)
            fields["attribute"] = draw(st.sampled_from([None, "genres", "director"]))
            fields["polarity"] = draw(st.sampled_from([1, -1]))
            fields["scope"] = draw(st.sampled_from(["tonight", "always"]))
        case "reset_dials":
            pass
        case _:
            fields["item"] = draw(st.sampled_from(ITEMS))
            fields["offered"] = draw(st.sampled_from(OFFERS))
            if kind == "rating":
                fields["value"] = draw(st.floats(-1e300, 1e300) | st.integers(1, 5).map(float))
    return fields


@st.composite
def sequences(draw: st.DrawFn, user: str = "ana", undos: bool = True, most: int = 25) -> tuple[Event, ...]:
    """Events of one user in append order; an undo always refers to an earlier event."""
    events: list[Event] = []
    for n in range(draw(st.integers(0, most))):
        earlier = [e.id for e in events] if undos else []
        events.append(Event(id=event_id(user, n, 0), user=user, **draw(contents(earlier))))
    return tuple(events)


def said(n: int, user: str = "ana", **fields: Any) -> Event:
    """The ``n``-th event of a user, a like of item i1 unless told otherwise."""
    fields.setdefault("kind", "like")
    if fields["kind"] not in ("taste", "undo", "reset_dials"):
        fields.setdefault("item", "i1")
    if fields["kind"] == "taste":
        fields = {"polarity": 1, "scope": "always", **fields}
    return Event(**{"id": event_id(user, n, 0), "user": user, "time": NOW + n, "thread": "t1", **fields})


def undo_of(event: Event, *, time: float) -> Event:
    """An undo of an event by its own user, under an id of its own."""
    return undo(target=event.id, id=f"undo:{uuid.uuid4().hex}", user=event.user, time=time)

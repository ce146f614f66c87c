"""100,000 events of one user: every step is linear in them, and a turn reads and folds them once.

There is no clock in here: a step that is quadratic in so many events would not come to an end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import profile_places
import pytest
from llm4rec.agent.recommender import Recommender
from llm4rec.profiles.describe import describe
from llm4rec.profiles.events import Event
from llm4rec.profiles.fold import fold, standing
from llm4rec.profiles.transfer import export_user, import_user
from llm4rec.tools import base
from llm4rec.tools.person import person_of
from profile_cases import NOW, said

MANY = 100_000


@pytest.fixture(params=profile_places.KINDS)
def live(request: pytest.FixtureRequest, shop: Path, tmp_path: Path) -> Iterator[Recommender]:
    """A recommender over the shop, with its profiles in either store."""
    with (
        profile_places.place(request.param, tmp_path) as where,
        Recommender.open(shop, llm="rules", profiles=where) as opened,
    ):
        yield opened


@pytest.fixture(scope="module")
def many() -> tuple[Event, ...]:
    events: list[Event] = []
    for n in range(MANY):
        match n % 10:
            case 0 | 1 | 2:
                events.append(said(n, kind="rating", item=f"p{n % 64}", value=float(1 + n % 5)))
            case 3 | 4:
                events.append(said(n, item=f"p{n * 7 % 64}", message=f"message {n}"))
            case 5:
                events.append(said(n, kind="dislike", item=f"p{n * 5 % 64}"))
            case 6:
                events.append(said(n, kind="seen", item=f"ghost-{n}"))
            case 7:
                events.append(said(n, kind="taste", term=f"term {n // 10 % 40}", polarity=1 if n % 3 else -1))
            case 8:
                events.append(said(n, kind="skip", item=f"p{n % 64}"))
            case _:
                events.append(said(n, kind="undo", target=events[-1].id))
    return tuple(events)


def counted(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[object]:
    """A list that grows with every call of a function."""
    calls: list[object] = []
    plain = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return plain(*arguments, **options)

    monkeypatch.setattr(owner, name, call)
    return calls


def test_a_user_of_100_000_events(
    live: Recommender, many: tuple[Event, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = live.knowledge.store
    assert store.append_many(many) == MANY
    assert store.append_many(many[-1000:]) == 0
    assert store.latest("ana", 3) == many[-3:]
    kept = store.events("ana")
    assert kept == many
    assert store.events("ana", until=many[99].id) == many[:100]
    profile = fold(kept, thread="t1", scale=(1.0, 5.0))
    assert profile.events == len(standing(kept)) == MANY * 8 // 10
    assert len(profile.items) == 64 + MANY // 10
    assert len(profile.tastes) == 40
    assert len(describe(profile, live.knowledge.title)) < 40 + 5 * 11 + 1

    loads, folds = counted(monkeypatch, type(store), "events"), counted(monkeypatch, base, "fold")
    turn = live.chat("ana", "I hated the Acme pen 1, something else?")
    assert turn.events, "feedback and a list, in one turn"
    assert len(turn.tools) == 2
    assert (len(loads), len(folds)) == (1, 1), "a turn reads and folds the events once"
    for step in (
        lambda: live.recommend("ana", k=5, must_exist=True),
        lambda: live.history("ana", k=5),
        lambda: person_of(live.knowledge, "ana", now=NOW),
    ):
        loads.clear()
        assert step()
        assert len(loads) == 1
    loads.clear()
    assert live.known_user("ana")
    assert not loads
    liked = live.feedback("ana", "like", "p60")
    loads.clear()
    assert live.chat("ana", "I hated the Acme pen 2, something else?").events
    assert len(loads) == 1
    monkeypatch.undo()

    saved = tmp_path / "ana.json"
    saved.write_text(export_user(store, "ana"), encoding="utf-8")
    assert store.forget_event("ana", liked.id).events == 1
    assert import_user(store, saved).new == 1
    assert store.forget_user("ana").events == MANY + 3
    assert store.users() == ()

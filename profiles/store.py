"""Where events are kept. `ProfileStore` is what the rest of the package sees; SQLite needs no server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..catalog.text import one_line
from ..errors import UserError
from .database import Database, changed_outside
from .events import Event, EventConflict, first_problem
from .schema import Migration, migrations

#: Whether a message speaks of what is forgotten.
Speaks = Callable[[str], bool]

COLUMNS: Final = tuple(Event.model_fields)
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM profile_events"
_KNOWN: Final = f"SELECT erased, {', '.join(COLUMNS)} FROM profile_events WHERE id = ?"
_INSERT: Final = (
    f"INSERT INTO profile_events ({', '.join(COLUMNS)}) VALUES ({', '.join(':' + name for name in COLUMNS)})"
)
#: Ids of the events that go: those meant, and every undo that refers to one that goes.
_GONE: Final = """(
    WITH RECURSIVE gone (id) AS (
        SELECT id FROM profile_events WHERE user = :user AND {meant}
        UNION
        SELECT event.id FROM profile_events AS event JOIN gone ON event.target = gone.id
    )
    SELECT id FROM gone
)"""
_BLANK: Final = """
UPDATE profile_events SET message = NULL, erased = 1
WHERE user = :user AND id NOT IN {gone}
AND message IN (SELECT message FROM profile_events WHERE message IS NOT NULL AND id IN {gone})
"""
_DELETE: Final = "DELETE FROM profile_events WHERE id IN {gone}"
_MESSAGES: Final = "SELECT id, message FROM profile_events WHERE user = ? AND message IS NOT NULL"
_BLANK_ONE: Final = "UPDATE profile_events SET message = NULL, erased = 1 WHERE id = ?"


class Removed(BaseModel):
    """What was removed from one place.

    Attributes:
        store: which sort of place: ``profile``, ``conversations``, ``file``, ``log``, ``graph`` or ``replay``.
        place: the file or folder, as it lies in the workspace, or the server's URL without its password.
        count: how much was removed.
        unit: of what, in the singular.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str
    place: str
    count: int
    unit: str

    def text(self) -> str:
        """In words."""
        return (
            f"{self.count:,} {self.unit}{'' if self.count == 1 else 's'} removed from the {self.store} ({self.place})."
        )


class Receipt(BaseModel):
    """What forgetting did.

    Attributes:
        user: of whom.
        events: how many events were erased, undos of them included.
        messages: how many other events lost the message they quoted, because something erased was said in it.
        removed: what was removed, place by place; a store of events gives the two above instead.
        rebuild: models that were fitted with what was erased, and hold it in their sums until they are built again.
        unreachable: what this program cannot reach, and what to do about it.
        notes: what the person should know of: places that may still hold what was erased.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    schema_: Literal["llm4rec.forgotten/2"] = Field(default="llm4rec.forgotten/2", alias="schema")
    user: str
    events: int
    messages: int = 0
    removed: tuple[Removed, ...] = ()
    rebuild: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """In words, a line each."""
        events = f"{self.events:,} event{'' if self.events == 1 else 's'}"
        lines = [f"{events} erased, down to the bytes of the store's files."]
        if self.messages:
            lines.append(f"{self.messages:,} other event{'' if self.messages == 1 else 's'} lost the message quoted.")
        lines += [one_line(one.text(), 400) for one in self.removed if one.store != "profile"]
        if self.rebuild:
            kept = "Fitted with what was erased, and holding it in sums over all users until built again"
            lines.append(f"{kept} ('llm4rec build'): {', '.join(self.rebuild)}.")
        lines += [f"Out of reach: {one}" for one in self.unreachable]
        return "\n".join((*lines, *self.notes))


class ProfileStore(Protocol):
    """Keeps events in the order they were appended. Safe to use from many threads and processes at once.

    Every method raises UserError for what the person can mend (disk full, file locked or damaged, server gone).
    """

    @property
    def place(self) -> str:
        """The file, or the server's URL without its password: for a person to read."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """What the person should be told about the opening of the store; empty when all was well."""
        ...

    def append(self, event: Event) -> bool:
        """Keep an event; on return it survives a crash. False when it is known already (see `Event.same_as`).

        Raises:
            EventConflict: another event has this id.
            UserError: an undo of an event that this user does not have.
        """
        ...

    def append_many(self, events: Iterable[Event]) -> int:
        """Keep all of them or, on any error, none; gives how many were new. Raises as `append`."""
        ...

    def events(self, user: str, *, until: str | None = None) -> tuple[Event, ...]:
        """A user's events in the order they were appended, up to and with the event of id ``until``.

        Raises:
            UserError: the user has no event ``until``.
        """
        ...

    def latest(self, user: str, n: int) -> tuple[Event, ...]:
        """The last ``n`` events of a user, the oldest of them first."""
        ...

    def users(self) -> tuple[str, ...]:
        """Everyone with at least one event, sorted."""
        ...

    def forget_user(self, user: str) -> Receipt:
        """Erase everything of a user, down to the bytes in the store's files."""
        ...

    def forget_item(self, user: str, item: str, *, speaks: Speaks | None = None) -> Receipt:
        """Erase what a user said of an item, and the undos of it; otherwise as `forget_user`.

        Messages it was said in are erased from the user's other events too.

        Args:
            speaks: whether a message speaks of what is forgotten; such messages are erased from other events as well.
        """
        ...

    def forget_event(self, user: str, event_id: str, *, speaks: Speaks | None = None) -> Receipt:
        """Erase one event and the undos of it; else as `forget_item`. With an undo gone, what it took back counts."""
        ...

    def close(self) -> None:
        """Let go of files and connections; the store cannot be used any more."""
        ...


def new_events(given: Iterable[Event], known: Mapping[str, tuple[Event, bool]]) -> list[Event]:
    """Those of the given events that are not kept yet, in order.

    Args:
        known: by id, the kept ones among the given events and their targets, each with whether its message was erased.

    Raises:
        EventConflict: another event has the id of a given one.
        UserError: an undo of an event that its user does not have.
    """
    kept = dict(known)
    new = []
    for event in given:
        if event.id in kept:
            first, erased = kept[event.id]
            # A message erased on request does not make the repeated event another one, nor does it come back.
            arrived = event.model_copy(update={"message": None}) if erased else event
            if not first.same_as(arrived):
                raise EventConflict(f"event {event.id!r} is known and says something else: give the new one its own id")
            continue
        if event.target is not None and (event.target not in kept or kept[event.target][0].user != event.user):
            raise UserError(f"nothing to undo: {event.user!r} has no event {event.target!r}")
        kept[event.id] = event, False
        new.append(event)
    return new


def named(events: Iterable[Event]) -> list[str]:
    """The ids of the events and of what they undo, each once: what `new_events` has to know of."""
    return list(dict.fromkeys(one for event in events for one in (event.id, event.target) if one is not None))


class SqliteProfileStore:
    """A `ProfileStore` in one SQLite file.

    Args:
        path: the file, made when missing.
        recover: set a damaged file aside, go on with the events of it that can still be read, and say so in
            ``notices``.
        timeout: seconds to wait for other threads and processes.
        schema: the migrations; others than this version's own are for tests.

    Raises:
        DamagedFile: the file is damaged and ``recover`` is False.
        UserError: the file cannot be opened, or was written by a newer version.
    """

    def __init__(
        self,
        path: Path,
        *,
        recover: bool = False,
        timeout: float = 30.0,
        schema: tuple[Migration, ...] | None = None,
    ) -> None:
        self._database = Database(path, schema or migrations(), timeout=timeout, recover=recover)

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    @property
    def place(self) -> str:
        """See `ProfileStore.place`."""
        return str(self.path)

    @property
    def notices(self) -> tuple[str, ...]:
        """See `ProfileStore.notices`."""
        return self._database.notices

    def append(self, event: Event) -> bool:
        """See `ProfileStore.append`."""
        return self.append_many((event,)) == 1

    def append_many(self, events: Iterable[Event]) -> int:
        """See `ProfileStore.append_many`."""
        given = tuple(events)  # before the lock is taken: it may be a slow generator
        with self._database.writing() as connection:
            found = [row for name in named(given) for row in connection.execute(_KNOWN, (name,))]
            events = self._read([row[1:] for row in found])
            known = {event.id: (event, bool(row[0])) for event, row in zip(events, found, strict=True)}
            new = new_events(given, known)
            connection.executemany(_INSERT, (event.model_dump() for event in new))
        return len(new)

    def events(self, user: str, *, until: str | None = None) -> tuple[Event, ...]:
        """See `ProfileStore.events`."""
        with self._database.reading() as connection:
            if until is None:
                rows = connection.execute(f"{_SELECT} WHERE user = ? ORDER BY seq", (user,)).fetchall()
            else:
                last = connection.execute("SELECT seq FROM profile_events WHERE user = ? AND id = ?", (user, until))
                found = last.fetchone()
                if found is None:
                    raise UserError(f"no event {until!r} of {user!r}: name one of the events the user has")
                rows = connection.execute(
                    f"{_SELECT} WHERE user = ? AND seq <= ? ORDER BY seq", (user, found[0])
                ).fetchall()
        return self._read(rows)

    def latest(self, user: str, n: int) -> tuple[Event, ...]:
        """See `ProfileStore.latest`."""
        if n < 0:
            raise ValueError(f"n must not be negative: {n}")
        with self._database.reading() as connection:
            rows = connection.execute(f"{_SELECT} WHERE user = ? ORDER BY seq DESC LIMIT ?", (user, n)).fetchall()
        return self._read(rows[::-1])

    def users(self) -> tuple[str, ...]:
        """See `ProfileStore.users`."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT DISTINCT user FROM profile_events").fetchall()
        return tuple(sorted(row[0] for row in rows))

    def forget_user(self, user: str) -> Receipt:
        """See `ProfileStore.forget_user`."""
        return self._forget(user, "TRUE")

    def forget_item(self, user: str, item: str, *, speaks: Speaks | None = None) -> Receipt:
        """See `ProfileStore.forget_item`."""
        return self._forget(user, "item = :item", speaks, item=item)

    def forget_event(self, user: str, event_id: str, *, speaks: Speaks | None = None) -> Receipt:
        """See `ProfileStore.forget_event`."""
        return self._forget(user, "id = :id", speaks, id=event_id)

    def close(self) -> None:
        """See `ProfileStore.close`."""
        self._database.close()

    def _forget(self, user: str, meant: str, speaks: Speaks | None = None, **names: str) -> Receipt:
        gone = _GONE.format(meant=meant)
        parameters = {"user": user, **names}
        with self._database.writing() as connection:
            messages = connection.execute(_BLANK.format(gone=gone), parameters).rowcount
            events = connection.execute(_DELETE.format(gone=gone), parameters).rowcount
            if speaks is not None:
                others = connection.execute(_MESSAGES, (user,)).fetchall()
                spoken = [(name,) for name, message in others if speaks(message)]
                connection.executemany(_BLANK_ONE, spoken)
                messages += len(spoken)
        # Also when nothing was found: forgetting again is how a scrub that failed is made good.
        self._database.scrub()
        notes = tuple(
            f"{name}, once set aside as damaged, may still hold what was erased: delete it when it is no longer needed"
            for name in self._database.set_aside()
        )
        return Receipt(user=user, events=events, messages=messages, notes=notes)

    def _read(self, rows: Sequence[tuple[Any, ...]]) -> tuple[Event, ...]:
        try:
            return tuple(Event.model_validate(dict(zip(COLUMNS, row, strict=True))) for row in rows)
        except ValidationError as error:
            raise changed_outside(self.path, first_problem(error)) from error

"""Taking back, and forgetting without a trace: the user's data go from every store under the workspace.

The order makes a forgetting that was cut off (a kill, a full disk) one that can be done again: what says where things
are is erased last. Whoever got a receipt is forgotten.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..catalog.interactions import load_interactions
from ..catalog.late_encoders import LateTextEncoder
from ..catalog.text import one_line
from ..catalog.workspace import Build, read_manifest
from ..errors import UserError
from ..profiles.database import DamagedFile
from ..profiles.events import Event, undo
from ..profiles.fold import standing
from ..profiles.store import ProfileStore, Receipt, Removed, SqliteProfileStore
from ..ranking.models import read_models
from ..ranking.posterior_ranker import PosteriorRanker
from ..tools.base import Knowledge
from ..tools.feedback import thread_id
from ..tools.target import item_row
from ._forgetting_builds import Dropped, drop_from_builds
from ._forgetting_files import databases, forget_in_files, mentions
from ._forgotten import Forgotten
from .conversations import forget_conversations, open_conversations

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite import SqliteSaver

    from .opening import Opened

_ELSEWHERE = (
    "exports, saved output, backups and copies outside the workspace, and what disks and snapshots of file systems "
    "keep of deleted files: remove them there",
    "what other processes that have the workspace open hold in memory: end them",
)


def take_back(knowledge: Knowledge, user: str, event: str | None = None) -> str:
    """Take back one event (default: the latest that still counts); what it was, in words.

    Raises:
        UserError: there is nothing to take back, or no such event.
    """
    live = standing(knowledge.store.events(user))
    if not live:
        raise UserError(f"nothing to take back for {one_line(user, 60)!r}")
    target = live[-1] if event is None else next((e for e in live if e.id == event), None)
    if target is None:
        raise UserError(f"no event {event!r} that still counts: see 'llm4rec profile show --json'")
    knowledge.store.append(
        undo(id=f"undo:{uuid.uuid4().hex}", user=user, time=time.time(), target=target.id, source="clicked")
    )
    if target.kind == "reset_dials":
        return "the reset of the dials"
    about = knowledge.title(target.item) if target.item else target.term or ""
    return f"{target.kind} {one_line(about, 80)}".strip()


@contextmanager
def no_turn_of(user: str, turns: Mapping[str, threading.Lock], *, patience: float) -> Iterator[None]:
    """Waits for turns of a user that run, and lets none of their threads go on as long as the context lasts.

    Raises:
        UserError: one does not end.
    """
    with ExitStack() as held:
        for thread, lock in list(turns.items()):
            if thread.startswith(thread_id(user, "")):
                if not lock.acquire(timeout=patience):
                    raise UserError(f"a turn of {one_line(user, 60)!r} is running: wait for it, then forget again")
                held.callback(lock.release)
        yield


@dataclass(frozen=True)
class Stores:
    """Where one recommender keeps what users say.

    Attributes:
        opened: the workspace.
        connection, saver: of the conversations.
    """

    opened: Opened
    connection: sqlite3.Connection
    saver: SqliteSaver

    @property
    def root(self) -> Path:
        return self.opened.workspace.root

    @property
    def threads(self) -> Path:
        """The file of the conversations."""
        return self.opened.workspace.state / "threads.sqlite"


def forget(
    stores: Stores, knowledge: Knowledge, user: str, *, item: str | None = None, statement: str | None = None
) -> tuple[Receipt, Opened]:
    """Erase a user, or what concerns one item or one statement of theirs, from every store under the workspace.

    Args:
        stores: of the recommender.
        knowledge: what its tools read.
        user: id.
        item: title or id. Their interaction with it in the training log goes too.
        statement: the term of a stated taste, or the id of an event.

    Returns:
        What was removed, what is to be built again and what is out of reach; and the workspace, opened anew where its
        log was changed.

    Raises:
        UserError: there is no such item; or a store could not be cleared. Doing it again mends what was cut off.
    """
    if item is not None and statement is not None:
        raise UserError("one thing at a time: name an item or a statement to forget, not both")
    root, removed, notes = stores.root, list[Removed](), list[str]()
    with _one_at_a_time(stores.opened.workspace.state), ExitStack() as opened:
        others = _other_stores(root, knowledge.store, opened, notes)
        meant = _meant(knowledge, others, user, item, statement)
        removed += _from_conversations(stores, meant)
        found = forget_in_files(root, meant)
        receipts = [_from_store(store, meant, root) for store in (knowledge.store, *others)]
        dropped = drop_from_builds(root, meant)
        if dropped.busy:
            raise UserError(
                f"a build is running in {dropped.busy[0]} and has read what is to be forgotten: all else is erased; "
                "wait for the build or stop it, then forget again"
            )
        notes += mentions(root, meant)
    _from_memory(knowledge, user)
    removed += [*(one for receipt in receipts for one in receipt.removed), *found, *dropped.removed]
    receipt = Receipt(
        user=user,
        events=sum(one.events for one in receipts),
        messages=sum(one.messages for one in receipts),
        removed=tuple(removed),
        rebuild=tuple(dropped.rebuild),
        unreachable=(*dict.fromkeys(note for one in receipts for note in one.notes), *_sources(dropped), *_ELSEWHERE),
        notes=tuple(notes),
    )
    return receipt, _reopened(stores.opened) if dropped.removed else stores.opened


def _meant(
    knowledge: Knowledge, others: Iterable[ProfileStore], user: str, item: str | None, statement: str | None
) -> Forgotten:
    """Events of all stores tell what goes: a history may have been imported before a server was named."""
    events: list[Event] = []
    for store in (knowledge.store, *others):
        try:
            events += store.events(user)
        except UserError:
            # A store whose events cannot be read can be cleared of a user all the same.
            if item is not None or statement is not None:
                raise
    catalogue = knowledge.catalogue
    if item is not None and item not in {event.item for event in events}:
        item = catalogue.ids[item_row(catalogue, item)]
    title = knowledge.title(item) if item is not None and item in catalogue.row_of else ""
    return Forgotten.of(user, events, item=item, title=title, statement=statement)


def _from_conversations(stores: Stores, meant: Forgotten) -> list[Removed]:
    """Of the recommender's own file, and of others of its kind."""
    removed = _threads_removed(stores, stores.threads, forget_conversations(stores.connection, stores.saver, meant))
    for path in list(databases(stores.root, "checkpoints")):
        if not _same(path, stores.threads):
            connection, saver = open_conversations(path)
            with closing(connection):
                removed += _threads_removed(stores, path, forget_conversations(connection, saver, meant))
    return removed


def _threads_removed(stores: Stores, path: Path, counts: tuple[int, int]) -> list[Removed]:
    place = str(path.relative_to(stores.root))
    return [
        Removed(store="conversations", place=place, count=count, unit=unit)
        for count, unit in zip(counts, ("thread", "turn"), strict=True)
        if count
    ]


def _from_store(store: ProfileStore, meant: Forgotten, root: Path) -> Receipt:
    """Of one store of events."""
    place = store.place
    if isinstance(store, SqliteProfileStore) and store.path.is_relative_to(root):
        place = str(store.path.relative_to(root))
    if meant.item is not None:
        done = [store.forget_item(meant.user, meant.item, speaks=meant.in_text)]
    elif meant.statement is None:
        done = [store.forget_user(meant.user)]
    else:
        # Also where none is meant: forgetting again is how an erasure that was cut off is made good.
        own = meant.events & {event.id for event in store.events(meant.user)}
        named = sorted(own) or [meant.statement]
        done = [store.forget_event(meant.user, one, speaks=meant.in_text) for one in named]
    events = sum(one.events for one in done)
    return done[-1].model_copy(
        update={
            "events": events,
            "messages": sum(one.messages for one in done),
            "removed": (Removed(store="profile", place=place, count=events, unit="event"),),
        }
    )


def _other_stores(root: Path, own: ProfileStore, opened: ExitStack, notes: list[str]) -> list[ProfileStore]:
    """Other SQLite files of events in the workspace, such as those of a time before a server was named.

    Args:
        own: the store in use.
        opened: closes them.
        notes: takes what is to be said of files that cannot be cleared.
    """
    found: list[ProfileStore] = []
    for path in list(databases(root, "profile_events")):
        # The store itself names what it set aside, and what was being made when it was cut off is made anew.
        if (isinstance(own, SqliteProfileStore) and _same(path, own.path)) or not path.name.endswith(
            (".sqlite", ".db")
        ):
            continue
        try:
            store = SqliteProfileStore(path)
        except DamagedFile:
            notes.append(f"{path.relative_to(root)} is damaged and may still hold something of it: delete it")
            continue
        opened.callback(store.close)
        found.append(store)
    return found


def _from_memory(knowledge: Knowledge, user: str) -> None:
    """Of this process: states of tastes, and vectors of what was said."""
    for part in knowledge.ranker.rankers.values():
        if isinstance(part, PosteriorRanker):
            part.states.forget(user)
    encoder = knowledge.searcher.text_encoder
    if isinstance(encoder, LateTextEncoder):
        encoder.forget()


def _sources(dropped: Dropped) -> list[str]:
    return [
        f"the data that the workspace was built of ({one_line(name, 80)}): a new build reads them again, so remove it "
        "there first"
        for name in dropped.sources
    ]


def _reopened(opened: Opened) -> Opened:
    """With the log and the models as they are now."""
    path = opened.build.path
    return replace(
        opened,
        build=Build(path=path, manifest=read_manifest(path)),
        interactions=load_interactions(path),
        models=read_models(path / "models", ids=opened.base.ids),
    )


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


@contextmanager
def _one_at_a_time(state: Path) -> Iterator[None]:
    """Waits for other processes and threads that forget in this workspace; the lock goes with the process."""
    with (state / ".forgetting.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

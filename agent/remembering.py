"""What a recommender knows of its users: taken back, forgotten, brought along from elsewhere."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite import SqliteSaver

    from ..profiles.store import Receipt
    from ..profiles.transfer import Imported
    from ..tools.base import Knowledge
    from .opening import Opened


class _Opened(Protocol):
    """What there must be to work on."""

    _lock: threading.RLock
    _turns: dict[str, threading.Lock]
    _timeout: float
    _threads: sqlite3.Connection
    _saver: SqliteSaver
    _opened: Opened
    _knowledge: Knowledge

    @property
    def knowledge(self) -> Knowledge: ...


class Remembering:
    """The methods of :class:`.recommender.Recommender` that change what was said, other than by saying more."""

    def undo(self: _Opened, user: str, event: str | None = None) -> str:
        """Take back one event (default: the latest that still counts); returns what it was, in words.

        Raises:
            UserError: there is nothing to take back, or no such event.
        """
        from .forgetting import take_back

        return take_back(self.knowledge, user, event)

    def forget(self: _Opened, user: str, *, item: str | None = None, statement: str | None = None) -> Receipt:
        """Erase a user from every store under the workspace, or what concerns one item or one statement of theirs.

        Args:
            item: title or id.
            statement: the term of a stated taste, or the id of an event.

        Raises:
            UserError: no such item, or a store cannot be cleared; once that is mended, do it again.
        """
        from .forgetting import Stores, forget, no_turn_of

        knowledge = self.knowledge
        with no_turn_of(user, self._turns, patience=self._timeout):
            stores = Stores(self._opened, self._threads, self._saver)
            receipt, opened = forget(stores, knowledge, user, item=item, statement=statement)
        with self._lock:
            if opened is not self._opened:
                self._opened, self._knowledge = opened, opened.knowledge()
        return receipt

    def import_profile(self: _Opened, user: str, source: Path) -> Imported:
        """Read a user's events from an exported JSON, or a history from CSV."""
        from ..profiles.transfer import import_file

        knowledge = self.knowledge
        return import_file(knowledge.store, user, source, known=knowledge.catalogue.row_of)

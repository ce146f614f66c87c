"""What is to be forgotten, and how it is told from the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.messages import BaseMessage

from ..catalog.text import fold, one_line
from ..profiles.events import MESSAGE_LENGTH, Event
from ..profiles.fold import comparable
from ..tools.titles import forms_of, said

#: Stands in the notes of a build before rows that could not be read, as they stood in the data.
SAMPLES: Final = ", first of them: "


@dataclass(frozen=True)
class Forgotten:
    """All of a user, or what concerns one item or one statement of theirs.

    Attributes:
        user: id.
        item: id of the item; None where it is not about one.
        statement: a taste's term, or the id of an event; None where it is not about one.
        events: ids of the events that go, undos of them included.
        messages: what was said where they come from, as events keep it.
        forms: ways to say the title or the term, folded, as words with spaces between them.
    """

    user: str
    item: str | None = None
    statement: str | None = None
    events: frozenset[str] = frozenset()
    messages: frozenset[str] = frozenset()
    forms: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        user: str,
        events: Iterable[Event],
        *,
        item: str | None = None,
        title: str = "",
        statement: str | None = None,
    ) -> Forgotten:
        """Find the events that go among all of a user's.

        Args:
            events: of the user, in the order they were appended.
            item: id. title: of the item; nothing where the catalogue does not hold it.
            statement: a taste's term (case, accents and spacing aside), or the id of an event.
        """
        gone: list[Event] = []
        ids: set[str] = set()
        for event in events:
            # An undo comes after what it takes back, so one pass finds undos of undos too.
            if event.target in ids or _meant(event, item, statement):
                gone.append(event)
                ids.add(event.id)
        terms = {statement, *(event.term for event in gone if event.term)} if statement else set()
        forms = {" ".join(form.said.words) for form in forms_of(0, title) if form.whole or form.tells}
        forms |= {form for text in (title, *terms) for form in (fold(text), " ".join(said(text).words))}
        return cls(
            user=user,
            item=item,
            statement=statement,
            events=frozenset(ids),
            messages=frozenset(event.message for event in gone if event.message),
            forms=frozenset(form for form in forms if form),
        )

    @property
    def everything(self) -> bool:
        """Whether all of the user goes."""
        return self.item is None and self.statement is None

    def in_text(self, text: str) -> bool:
        """Whether a text of this user's conversations speaks of it: a title or a term is looked for as whole words.

        More may be found than is meant ("crime" in a wish for crime films), and that is the side to err on.
        """
        if self.everything or text in (self.item, *self.events):
            return True
        if any(one_line(text, length) in self.messages for length in (MESSAGE_LENGTH, 500, max(len(text), 1))):
            return True
        return any(
            f" {form} " in f" {words} " for words in (fold(text), " ".join(said(text).words)) for form in self.forms
        )

    def within(self, value: Any) -> bool:
        """Whether some text in a value speaks of it; see :func:`texts_in`."""
        return any(self.in_text(text) for text in texts_in(value))


def _meant(event: Event, item: str | None, statement: str | None) -> bool:
    if item is not None:
        return event.item == item
    if statement is not None:
        return event.id == statement or (event.term is not None and comparable(event.term) == comparable(statement))
    return True


def texts_in(value: Any) -> Iterator[str]:
    """All texts of a value made of mappings, lists, LangChain's messages and texts; names of fields are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseMessage):
        yield from texts_in(value.content)
        yield from texts_in(value.additional_kwargs)
        for call in getattr(value, "tool_calls", ()):
            yield from texts_in(call["args"])
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from texts_in(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from texts_in(one)


def without(value: Any, item: str) -> Any:
    """A value without the list entries that are an item's: its id, or a record with that ``id``."""
    if isinstance(value, Mapping):
        return {name: without(one, item) for name, one in value.items()}
    if isinstance(value, list):
        return [without(one, item) for one in value if one != item and not _is_of(one, item)]
    return value


def without_samples(value: Any, user: str) -> Any:
    """A value in which no note of a build shows rows that name a user; the same object where none does."""
    if isinstance(value, str):
        told, samples, rows = value.partition(SAMPLES)
        return told if samples and _names(rows, user) else value
    if isinstance(value, dict):
        cleared = {name: without_samples(one, user) for name, one in value.items()}
        return value if all(cleared[name] is one for name, one in value.items()) else cleared
    if isinstance(value, list | tuple):
        found = [without_samples(one, user) for one in value]
        return value if all(new is old for new, old in zip(found, value, strict=True)) else type(value)(found)
    return value


def _names(rows: str, user: str) -> bool:
    """Whether rows of data, as they are shown, hold a user's id: as it is, quoted, or doubled within quotes."""
    forms = {user, repr(user)[1:-1], user.replace('"', '""')}
    return any(re.search(rf"(?<!\w){re.escape(form)}(?!\w)", rows) for form in forms)


def _is_of(record: Any, item: str) -> bool:
    return isinstance(record, Mapping) and record.get("id") == item

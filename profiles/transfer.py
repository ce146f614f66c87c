"""A profile to take along: one JSON document with all events of a user.

``{"schema": "llm4rec.profile/2", "user": ..., "events": [...]}``: the events in the order in which they were appended,
fields that are not set left out. Importing it gives the same events, bit for bit. Documents of version 1, whose events
have no ``offered`` and reset no dials, are read too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Container
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError
from .events import Event, Identifier, first_problem
from .history_file import Imported as Imported
from .history_file import import_history
from .store import ProfileStore

SCHEMA: Final = "llm4rec.profile/2"
#: Largest export that is read, in bytes: about a million events.
LARGEST_EXPORT: Final = 512 * 1024 * 1024


class ProfileExport(BaseModel):
    """The document. Unknown fields are refused: a schema with other fields has another number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_: Literal["llm4rec.profile/1", "llm4rec.profile/2"] = Field(alias="schema")
    user: Identifier
    events: tuple[Event, ...]


def export_user(store: ProfileStore, user: str) -> str:
    """All events of a user as a JSON document; an empty list of them when nothing is known.

    Raises:
        UserError: ``user`` can be nobody's name.
    """
    try:
        document = ProfileExport(schema=SCHEMA, user=user, events=store.events(user))
    except ValidationError as error:
        raise UserError(f"{user!r} cannot be exported: {_problem(error)}") from error
    return document.model_dump_json(by_alias=True, exclude_none=True, indent=1)


def write_export(store: ProfileStore, user: str, path: Path) -> None:
    """Write `export_user` to a file that only its owner may read; an existing file is replaced whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    text = export_user(store, user) + "\n"
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"{path}: the export cannot be written here: {error.strerror}") from error


def import_file(store: ProfileStore, user: str, path: Path, *, known: Container[str] | None = None) -> Imported:
    """Read an export (``.json``) or a history (``.csv``), as the file's name says.

    Args:
        user: whose profile it goes to; an export must be that user's own.
        known: ids of the catalogue, for a history.

    Raises:
        UserError: another sort of file; or as `import_user` and `import_history`.
    """
    match path.suffix.lower():
        case ".json":
            return import_user(store, path, user=user)
        case ".csv":
            return import_history(store, path, user, known=known)
        case other:
            raise UserError(f"{path}: a file to import ends in .json (an export) or .csv (a history), not in {other!r}")


def import_user(store: ProfileStore, path: Path, *, user: str | None = None) -> Imported:
    """Add the events of an exported document, all or none.

    Args:
        user: whose it has to be; None takes anyone's.

    Raises:
        UserError: the file cannot be read, is no export of a schema this version reads, is another user's, or holds
            events of several users.
        EventConflict: the store has an event under the same id that says something else.
    """
    try:
        if path.stat().st_size > LARGEST_EXPORT:
            raise UserError(f"{path}: larger than {LARGEST_EXPORT // 2**20} MiB: no profile is")
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        document = ProfileExport.model_validate_json(raw)
    except ValidationError as error:
        raise UserError(f"{path}: {_problem(error)}") from error
    if user not in (None, document.user):
        raise UserError(
            f"{path}: is the profile of {document.user!r}, not of {user!r}: import it for {document.user!r}"
        )
    for position, event in enumerate(document.events):
        if event.user != document.user:
            raise UserError(
                f"{path}: events[{position}] is of {event.user!r} and the document of {document.user!r}: "
                "one document holds one user"
            )
    new = store.append_many(document.events)
    return Imported(document.user, new, len(document.events) - new)


def _problem(error: ValidationError) -> str:
    wrong = error.errors(include_url=False)[0]
    if wrong["loc"] != ("schema",):
        return first_problem(error)
    found = repr(wrong["input"][:60]) if isinstance(wrong["input"], str) else "unknown"
    return f"its schema is {found} and this llm4rec reads {SCHEMA!r}: upgrade llm4rec, or export the profile again"

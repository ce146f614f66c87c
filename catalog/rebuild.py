"""The mark on a build whose models were fitted with interactions that were forgotten since.

A sum over users cannot be rid of one of them without being made again. The mark says so until that is done: it lies in
the build's own folder, and a new build has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError
from . import durable

MARK: Final = "rebuild.json"


class Mark(BaseModel):
    """What is to be built again, and why. It names nobody."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)
    schema_: Literal["llm4rec.rebuild/1"] = Field(default="llm4rec.rebuild/1", alias="schema")
    models: tuple[str, ...]
    why: str = "they were fitted with interactions that were forgotten since"
    since: datetime = Field(description="when the first of them was forgotten")

    def text(self) -> str:
        """In a line, with the mend."""
        return (
            f"{', '.join(self.models)}: {self.why} ({self.since:%Y-%m-%d}). 'llm4rec build' makes them without these, "
            "once they are removed from the data too"
        )


def mark(build_dir: Path, models: Iterable[str]) -> Mark:
    """Mark models of a build; those marked already stay marked. On return it is on the disk.

    Raises:
        UserError: there is a damaged mark.
    """
    before = read_mark(build_dir)
    made = Mark(
        models=tuple(dict.fromkeys((*(before.models if before else ()), *models))),
        since=before.since if before else datetime.now(UTC),
    )
    if made != before:
        durable.replace(build_dir / MARK, (made.model_dump_json(indent=1) + "\n").encode())
    return made


def read_mark(build_dir: Path) -> Mark | None:
    """The mark of a build; None where there is nothing to be built again.

    Raises:
        UserError: it is damaged.
    """
    path = build_dir / MARK
    try:
        return Mark.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise UserError(f"{path} is damaged: build the workspace again") from None

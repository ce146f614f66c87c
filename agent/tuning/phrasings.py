"""The written half of the corpus: what people may say, each phrasing with the plan that answers it.

A phrasing is a line of JSON in ``corpus/*.jsonl``. It was written by itself; what varies is in *slots*, which
:mod:`.slots` fills: ``{t1}`` a title, ``{p1}`` a person, brand, author, maker or district, ``{q1}`` a subject,
``{m1}`` a mood, ``{g1}`` a label, ``{y1}`` a year, ``{d1}`` a decade, ``{n1}`` a place in the list, ``{l2}`` the title
at such a place, ``{r1}`` a grade, ``{u1:price}`` a round number. ``corpus/README.md`` says which plan is right.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import UserError
from .shells import Domain

#: Files of the corpus that hold phrasings of wishes, opinions, questions and talk.
FILES = (
    *("films-search", "films-turns", "films-feedback", "seeker", "country", "talk", "others"),
    *("wishes", "opinions", "questions", "switches", "chat"),
)
#: One phrasing in so many is kept from training, to choose by.
DEV_SHARE = 12

Call = tuple[str, dict[str, Any]]


class Past(BaseModel):
    """An earlier turn: what was said, and the plan or the reply it led to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    say: str
    plan: tuple[Call, ...] = ()
    reply: str = ""


class Phrasing(BaseModel):
    """One phrasing.

    Attributes:
        kind: what it is for, in a word or two.
        domain: whose items it speaks of; ``any``: of whichever.
        say: the message, with slots. plan: the calls that answer it, with the same slots. reply: where none do.
        past: earlier turns, oldest first.
        shown: whether five items are on the table. image: whether a picture came with the message.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    kind: str
    domain: Domain | Literal["any"]
    say: str
    plan: tuple[Call, ...] = ()
    reply: str = ""
    past: tuple[Past, ...] = ()
    shown: bool = Field(default=False, alias="list")
    image: bool = False

    @property
    def is_dev(self) -> bool:
        """Whether it is kept from training: by its words alone, so that new phrasings move none."""
        return int(hashlib.sha256(self.say.encode()).hexdigest(), 16) % DEV_SHARE == 0


def calls_of(phrasing: Phrasing) -> list[Call]:
    """All calls that a phrasing holds, those of earlier turns first."""
    return [*(call for turn in phrasing.past for call in turn.plan), *phrasing.plan]


def read_phrasings(names: Sequence[str] = FILES) -> tuple[Phrasing, ...]:
    """All phrasings of the corpus, in the order of the files.

    Raises:
        UserError: a line is no phrasing; names file and line.
    """
    found: list[Phrasing] = []
    for name in names:
        file = files(__package__) / "corpus" / f"{name}.jsonl"
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                found.append(Phrasing.model_validate(json.loads(line)))
            except (ValueError, ValidationError) as error:
                raise UserError(f"{file}:{number}: {str(error).splitlines()[0]}") from None
    return tuple(found)

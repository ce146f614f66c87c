"""Held-out messages: what people may say in five trades, which plan answers it, and how a planner is asked for one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...catalog.items import Catalogue
from ...catalog.text import fold
from ...errors import UserError
from ...graphs.planner import PlanRequest
from ...tools.base import Bus, Knowledge, TurnContext
from ...tools.facets import choose_facets
from ...tools.results import Card
from .shells import DOMAINS, TRADES, Domain, Shell, make_shell

Value = str | int
#: A call as a record writes it: the tool's name and its arguments.
Call = tuple[str, Mapping[str, Any]]

#: The tools that put a list on the table: a plan needs one of them at most.
LISTING = frozenset({"search_items", "recommend"})
#: Words for an item by its place in the list, as arguments write them.
_PLACE = re.compile(r"(?:number |#)(\d+)", re.IGNORECASE)


class PastTurn(BaseModel):
    """An earlier turn: what was said, and the plan or the words that answered it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    say: str
    plan: tuple[Call, ...] = ()
    reply: str = ""

    @model_validator(mode="after")
    def _is_answered(self) -> PastTurn:
        if not self.plan and not self.reply:
            raise ValueError(f"{self.say!r} was answered neither by a plan nor by words")
        return self


class Record(BaseModel):
    """One held-out message and what a right plan for it is.

    Attributes:
        say: the message. past: the turns before it, oldest first. shown: titles of the list on the table.
        image: whether a picture came with it.
        required: tools that must be called, as often as they stand here. allowed: tools that may be called beside them.
        args: by tool, what its calls must carry: each argument's value, or the values of which one must be met (where
            a tool is to be called several times, the values of its calls).
        may: by tool, arguments that may be given or not, with any value.
        reply: whether a plain reply is right.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(min_length=1)
    domain: Domain
    say: str
    past: tuple[PastTurn, ...] = ()
    shown: tuple[str, ...] = Field(default=(), alias="list")
    image: bool = False
    required: tuple[str, ...]
    allowed: tuple[str, ...]
    args: Mapping[str, Mapping[str, Value | tuple[Value, ...]]]
    may: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    reply: bool = False

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Record:
        if self.reply == bool(self.required):
            raise ValueError(f"{self.say!r}: either a reply is right, or some tool is required")
        stray = {*self.args, *self.may} - {*self.required, *self.allowed}
        if stray:
            raise ValueError(f"{self.say!r}: arguments of {', '.join(sorted(stray))}, which must not be called")
        if set(self.required) >= LISTING:
            raise ValueError(f"{self.say!r}: two lists cannot be on the table")
        if not self.say and not self.image:
            raise ValueError("nothing is said and no picture is given")
        return self

    def expected(self, tool: str) -> Mapping[str, tuple[Value, ...]]:
        """The alternatives of each argument that a tool's calls must carry; those of ``may`` are left out."""
        optional = self.may.get(tool, ())
        return {
            name: value if isinstance(value, tuple) else (value,)
            for name, value in self.args.get(tool, {}).items()
            if name not in optional
        }


def read_records(path: Path) -> tuple[Record, ...]:
    """The records of a JSON Lines file.

    Raises:
        UserError: a line is no record.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                found.append(Record.model_validate_json(line))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"])) or "record"
                raise UserError(f"{path.name}, line {number}: {where}: {first['msg']}") from None
    return tuple(found)


def place_of(text: str) -> int | None:
    """The place in the list that words such as "number 2" name; -1 for the last one; None: they name none."""
    if text.strip().casefold() in ("last", "the last one"):
        return -1
    found = _PLACE.fullmatch(text.strip())
    return int(found[1]) if found else None


def shells_for(records: Iterable[Record]) -> Mapping[Domain, Shell]:
    """A shell for each domain of the records, in which there is what they speak of.

    A real catalogue holds most of what its users name. So the titles of the records' lists and of the items that their
    labels name are added to each shell, and so are the people, brands or places they ask for: a planner that reads the
    message against the catalogue is not worse off here than in a workspace.
    """
    of = {domain: [record for record in records if record.domain == domain] for domain in DOMAINS}
    return {domain: _shell_of(domain, its) for domain, its in of.items() if its}


def _shell_of(domain: Domain, records: Sequence[Record]) -> Shell:
    titles: dict[str, str] = {}
    names: dict[str, str] = {}
    for record in records:
        for title in record.shown:
            titles.setdefault(fold(title), title)
        for tool in record.args:
            for name, values in record.expected(tool).items():
                for value in map(str, values):
                    if name in ("named", "not_named"):
                        names.setdefault(fold(value), value)
                    elif name in ("title", "like") and place_of(value) is None:
                        titles.setdefault(fold(value), value)
    return with_names(make_shell(domain, titles=list(titles.values())), list(names.values()))


def with_names(shell: Shell, names: Sequence[str]) -> Shell:
    """The shell with further people, brands, authors or places, each of one item."""
    attribute = TRADES[shell.domain].named
    items = [shell.catalogue.item(row) for row in range(len(shell.catalogue))]
    known = {fold(str(name)) for item in items for name in cast(tuple[str, ...], item.attributes[attribute])}
    new = [name for name in names if fold(name) not in known]
    for at, name in enumerate(new):
        item = items[at % len(items)]
        carried = (*cast(tuple[str, ...], item.attributes[attribute]), name)
        items[at % len(items)] = replace(item, attributes={**item.attributes, attribute: carried})
    catalogue = Catalogue.of(items)
    return replace(shell, catalogue=catalogue, facets=choose_facets(catalogue))


@dataclass(frozen=True)
class Table:
    """A shell's items by title, to lay lists of them on the table.

    Attributes:
        shell: the catalogue and its tools.
        rows: by title.
    """

    shell: Shell
    rows: Mapping[str, int]

    @classmethod
    def of(cls, shell: Shell) -> Table:
        return cls(shell, {fold(title): row for row, title in enumerate(shell.catalogue.frame["title"].to_list())})

    def cards(self, titles: Sequence[str]) -> list[Card]:
        """Items of the catalogue as shown.

        Raises:
            KeyError: the shell holds no such title.
        """
        items = [self.shell.catalogue.item(self.rows[fold(title)]) for title in titles]
        return [Card.of(item, ordinal=place, score=0.0) for place, item in enumerate(items, start=1)]

    def request(
        self,
        say: str,
        *,
        past: Sequence[AnyMessage] = (),
        shown: Sequence[str] = (),
        query: str | None = None,
        image: bool = False,
    ) -> PlanRequest:
        """What a planner is asked in a turn.

        Args:
            say: the message.
            past: the thread's messages before it.
            shown: titles of the list on the table. query: what that list answers.
            image: whether a picture comes with it; a grey one does, as planners do not look at it.
        """
        picture = None
        if image:
            from PIL import Image

            picture = Image.new("RGB", (64, 64), "grey")
        desk = TurnContext(
            user="someone",
            thread="main",
            message=say.strip(),
            knowledge=cast(Knowledge, None),  # planners read the message and the list; only tools read what is known
            bus=Bus(self.cards(shown), query=query),
            image=picture,
        )
        return PlanRequest(desk=desk, tools=self.shell.tools(len(desk.bus)), past=list(past), failures=[])


def request_of(record: Record, table: Table) -> PlanRequest:
    """What a planner is asked for a record."""
    past = past_of(record.past)
    query = list_query(record.past) if record.shown else None
    return table.request(record.say, past=past, shown=record.shown, query=query, image=record.image)


def past_of(turns: Sequence[PastTurn]) -> list[AnyMessage]:
    """Earlier turns as a thread keeps them: the message, the plan with its calls, the reply."""
    messages: list[AnyMessage] = []
    for number, turn in enumerate(turns):
        messages.append(HumanMessage(turn.say))
        if turn.plan:
            calls = [
                ToolCall(name=name, args=dict(arguments), id=f"call-{number}-{at}")
                for at, (name, arguments) in enumerate(turn.plan)
            ]
            messages.append(AIMessage("", tool_calls=calls))
        if turn.reply:
            messages.append(AIMessage(turn.reply))
    return messages


def list_query(turns: Sequence[PastTurn]) -> str | None:
    """What the list on the table answers, in the words that ``search_items`` keeps with it."""
    for turn in reversed(turns):
        for name, arguments in reversed(turn.plan):
            if name == "recommend":
                return None
            if name == "search_items":
                if arguments.get("query"):
                    return str(arguments["query"])
                return f"like {arguments['like']}" if arguments.get("like") else turn.say
    return None

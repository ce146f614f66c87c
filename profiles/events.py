"""What a person said or did about items and tastes, one immutable record each.

A profile is never stored: it is what the events amount to (`fold`). So an event is only ever added. Taking one
back is an event too (`undo`), and erasing one is the store's business (`forget`).
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Final, Literal, NotRequired, Required, Self, TypedDict, Unpack

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..catalog.text import one_line
from ..errors import UserError

Kind = Literal["rating", "like", "dislike", "seen", "skip", "taste", "undo", "reset_dials"]
ItemKind = Literal["rating", "like", "dislike", "seen", "skip"]
Scope = Literal["tonight", "always"]
Source = Literal["said", "clicked", "imported", "inferred"]
Polarity = Literal[1, -1]

#: Longest identifier (event, user, item, thread), in characters.
ID_LENGTH: Final = 500
#: Longest attribute name and longest term.
ATTRIBUTE_LENGTH: Final = 100
TERM_LENGTH: Final = 200
#: A longer message is cut, with an ellipsis: losing the event for it would be worse.
MESSAGE_LENGTH: Final = 2_000
#: Times are Unix seconds from 1970 to the end of the year 9999, less a day for time zones.
LATEST_TIME: Final = 253_402_214_400.0

_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: Fields that say what an event is about; each kind has its own and no others.
_SUBJECT = ("item", "value", "attribute", "term", "polarity", "scope", "target")
_NEEDED: Final[dict[str, frozenset[str]]] = {
    "rating": frozenset({"item", "value"}),
    "like": frozenset({"item"}),
    "dislike": frozenset({"item"}),
    "seen": frozenset({"item"}),
    "skip": frozenset({"item"}),
    "taste": frozenset({"term", "polarity", "scope"}),
    "undo": frozenset({"target"}),
    "reset_dials": frozenset(),
}
_ALLOWED: Final[dict[str, frozenset[str]]] = {"taste": frozenset({"attribute"})}
#: What `Event.offered` looks like: ``explore- diversity+``.
_OFFER: Final = r"^[a-z]{1,20}[+-](?: [a-z]{1,20}[+-]){0,19}$"


class EventConflict(UserError):
    """An event arrived under an id that is taken by an event with other content. Nothing was overwritten."""


def _fit_identifier(text: str) -> str:
    # Refused, not cleaned: cleaning could make two identifiers one.
    if not text.isprintable() and any(unicodedata.category(c) in _UNFIT for c in text):
        raise ValueError("an identifier must not hold control characters or line breaks")
    return text


def _clean(text: Any) -> Any:
    # Every stored event passes here again when it is read, and nearly all text is clean already.
    if not isinstance(text, str) or (text.isprintable() and "  " not in text and text == text.strip()):
        return text
    return one_line(text, len(text))


def _clean_message(text: Any) -> Any:
    clean = _clean(text)
    if isinstance(clean, str) and len(clean) > MESSAGE_LENGTH:
        return one_line(clean, MESSAGE_LENGTH)
    return None if clean == "" else clean


def _plain_zero(number: float) -> float:
    # SQLite does not keep the sign of zero, and an event must read back bit for bit.
    return number + 0.0


def _no_bool(number: Any) -> Any:
    if isinstance(number, bool):
        raise ValueError("a polarity is 1 or -1")
    return number


Identifier = Annotated[str, Field(min_length=1, max_length=ID_LENGTH), AfterValidator(_fit_identifier)]
Number = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_plain_zero)]


class Event(BaseModel):
    """One thing a person said or did. Frozen; unknown fields are refused.

    Text fields (attribute, term, message) lose control characters and line breaks; identifiers that hold any are
    refused.

    Attributes:
        id: unique over all users; see `event_id`.
        user: whose profile it belongs to.
        time: Unix seconds, when it was said. Only for dates and for ``tonight``: the order of events is the order in
            which they were appended.
        kind: what it says; decides which of the following fields are set.
        item: id of the item (rating, like, dislike, seen, skip).
        value: the rating, on whatever scale the source has.
        attribute: name of the attribute the taste is about; None for a taste in free words.
        term: what is liked or not ("crime", "slow pace").
        polarity: 1 wanted, -1 unwanted.
        scope: ``tonight`` holds in the thread it was said in, ``always`` everywhere.
        target: id of the event an undo takes back.
        thread: the conversation it was said in; needed for ``tonight``.
        source: how it is known.
        message: the text it came from.
        confidence: in [0, 1]; below 1 for what was inferred.
        offered: where the item lay in the list on the table when the verdict on it was given, for `dials`; None where
            no list showed it, or nothing can be told.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Identifier
    user: Identifier
    time: Number = Field(ge=0.0, le=LATEST_TIME)
    kind: Kind
    item: Identifier | None = None
    value: Number | None = None
    attribute: Annotated[str, BeforeValidator(_clean), Field(min_length=1, max_length=ATTRIBUTE_LENGTH)] | None = None
    term: Annotated[str, BeforeValidator(_clean), Field(min_length=1, max_length=TERM_LENGTH)] | None = None
    polarity: Annotated[Polarity, BeforeValidator(_no_bool)] | None = None
    scope: Scope | None = None
    target: Identifier | None = None
    thread: Identifier | None = None
    source: Source = "said"
    message: Annotated[str | None, BeforeValidator(_clean_message)] = None
    confidence: Number = Field(default=1.0, ge=0.0, le=1.0)
    offered: Annotated[str, Field(pattern=_OFFER)] | None = None

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> Self:
        needed = _NEEDED[self.kind]
        allowed = needed | _ALLOWED.get(self.kind, frozenset())
        for name in _SUBJECT:
            filled = getattr(self, name) is not None
            if filled and name not in allowed:
                raise ValueError(f"an event of kind {self.kind!r} has no {name}")
            if not filled and name in needed:
                raise ValueError(f"an event of kind {self.kind!r} needs {name}")
        if self.scope == "tonight" and self.thread is None:
            raise ValueError("a taste for tonight needs the thread it was said in")
        if self.offered is not None and self.item is None:
            raise ValueError("nothing but an item is offered in a list")
        if self.target == self.id:
            raise ValueError("an event cannot undo itself")
        return self

    def same_as(self, other: Event) -> bool:
        """Whether both say the same under the same id. ``time`` and ``offered`` are left out of it: a step that is
        repeated after a crash says the same thing later, of a list that is compared anew, and what was first written
        stands."""
        return self.model_copy(update={"time": other.time, "offered": other.offered}) == other


def event_id(thread: str, turn: int, call: int | str, n: int = 0) -> str:
    """The id of the ``n``-th event of one tool call: the same however often the step is repeated.

    Args:
        thread: the conversation; may hold any printable character.
        turn, n: from 0.
        call: number or name of the tool call in the turn; the number 3 and the name "3" are the same call.

    Raises:
        ValueError: an empty part, a negative number, or a colon in ``call`` (two events could then share an id).
    """
    if not thread or call == "":
        raise ValueError("an event id needs a thread and a call")
    if turn < 0 or n < 0 or (isinstance(call, int) and call < 0):
        raise ValueError(f"turn, call and n count from 0, not {turn}, {call}, {n}")
    if ":" in str(call):
        raise ValueError(f"a call must not hold a colon: {call!r}")
    return f"{thread}:{turn}:{call}:{n}"


class Common(TypedDict, total=False):
    """What the constructors below share; the meaning is that of `Event`'s fields."""

    id: Required[str]
    user: Required[str]
    time: Required[float]
    thread: NotRequired[str | None]
    source: NotRequired[Source]
    message: NotRequired[str | None]
    confidence: NotRequired[float]
    offered: NotRequired[str | None]


# Each of these raises pydantic.ValidationError (a ValueError) where a field does not fit.


def rating(*, item: str, value: float, **common: Unpack[Common]) -> Event:
    """The item was rated ``value``, on the scale of its source."""
    return Event(kind="rating", item=item, value=value, **common)


def like(*, item: str, **common: Unpack[Common]) -> Event:
    """The item is known and was liked."""
    return Event(kind="like", item=item, **common)


def dislike(*, item: str, **common: Unpack[Common]) -> Event:
    """The item is known and was not liked."""
    return Event(kind="dislike", item=item, **common)


def seen(*, item: str, **common: Unpack[Common]) -> Event:
    """The item is known; nothing was said of it."""
    return Event(kind="seen", item=item, **common)


def skip(*, item: str, **common: Unpack[Common]) -> Event:
    """The item was offered and passed over; it may still be unknown to the person."""
    return Event(kind="skip", item=item, **common)


def taste(
    *,
    term: str,
    polarity: Polarity = 1,
    attribute: str | None = None,
    scope: Scope = "always",
    **common: Unpack[Common],
) -> Event:
    """Something is wanted (1) or unwanted (-1), always or in this thread tonight."""
    return Event(kind="taste", term=term, polarity=polarity, attribute=attribute, scope=scope, **common)


def undo(*, target: str, **common: Unpack[Common]) -> Event:
    """Takes an earlier event back. Taking an undo back restores what it had taken."""
    return Event(kind="undo", target=target, **common)


def reset_dials(**common: Unpack[Common]) -> Event:
    """What was said before steers the dials no more."""
    return Event(kind="reset_dials", **common)


def first_problem(error: ValidationError) -> str:
    """The first thing wrong with an event or a document of events, in one line: ``events[3].time: ...``."""
    problem = error.errors(include_url=False, include_input=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    return f"{where}: {problem['msg']}" if where else problem["msg"]

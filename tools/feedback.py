"""``record_feedback``: what the user thinks of an item, or likes in general. Committed before anything is ranked."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, ValidationError, create_model

from ..catalog.text import one_line
from ..errors import ToolError
from ..profiles.events import Event, Source, event_id
from .base import Arguments, Tool, TurnContext
from .offers import offered
from .own_words import is_own_opinion
from .results import Claim
from .target import target_row

Verdict = Literal["like", "dislike", "seen", "skip"]


def make(ordinals: int, scale: tuple[float, float] | None) -> Tool:
    low, high = scale or (1.0, 5.0)
    fields: dict[str, Any] = {
        "verdict": (Verdict, Field(description="what they think: like, dislike, only seen, or skip for now"))
    }
    if ordinals:
        fields["ordinal"] = (
            int | None,
            Field(
                default=None,
                ge=1,
                le=ordinals,
                description="its number in the list",
                json_schema_extra={"ordinal": True},
            ),
        )
    fields["title"] = (str | None, Field(default=None, max_length=80, description="its title"))
    fields["rating"] = (
        int | None,
        Field(default=None, ge=int(low), le=int(high), description=f"a grade, if they gave one ({low:g}..{high:g})"),
    )
    fields["about"] = (
        str | None,
        Field(
            default=None, max_length=40, description="a genre, person, brand or mood they like or dislike in general"
        ),
    )
    fields["scope"] = (
        Literal["tonight", "always"],
        Field(default="always", description="how long a general taste holds"),
    )
    arguments: type[Arguments] = create_model("RecordFeedback", __base__=Arguments, **fields)
    return Tool(
        name="record_feedback",
        summary="note what the user likes, dislikes, has seen or passes over",
        arguments=arguments,
        run=record,
        commits=True,
    )


def record(context: TurnContext, call: Arguments) -> str:
    """Commit one event; its id is (thread, turn, call), so that a repeated node never writes twice.

    Raises:
        ToolError: only what the message quotes says so, no such item, or it cannot be recorded.
    """
    given = call.model_dump()
    about = given.get("about")
    subject = given.get("title") or about
    if not is_own_opinion(context.knowledge.catalogue, context.message, verdict=given["verdict"], subject=subject):
        raise ToolError("what is quoted is not taken for your own opinion: say it without the quotation")
    if about and not given.get("title") and given.get("ordinal") is None:
        return _record_taste(context, given["verdict"], about, given["scope"])
    row = target_row(context, given.get("ordinal"), given.get("title"))
    item_id = context.knowledge.catalogue.ids[row]
    title = one_line(context.knowledge.title(item_id), 80)
    rating = given.get("rating")
    kind = "rating" if rating is not None else given["verdict"]
    commit(context, kind=kind, item=item_id, value=float(rating) if rating is not None else None)
    said = {"like": "you like", "dislike": "you did not like", "seen": "you have seen", "skip": "not now for"}
    words = f"you rated {title} {rating}" if rating is not None else f"{said[given['verdict']]} {title}"
    context.noted.append(Claim(text=words, evidence=(context.cite(f"event:{context.events[-1]}", words),)))
    return f"noted: {words}"


def _record_taste(context: TurnContext, verdict: Verdict, term: str, scope: str) -> str:
    if verdict not in ("like", "dislike"):
        raise ToolError(f"a taste is liked or disliked, not {verdict!r}")
    commit(context, kind="taste", term=one_line(term, 40), polarity=1 if verdict == "like" else -1, scope=scope)
    words = f"you {verdict} {one_line(term, 40)}" + (" tonight" if scope == "tonight" else "")
    context.noted.append(Claim(text=words, evidence=(context.cite(f"event:{context.events[-1]}", words),)))
    return f"noted: {words}"


def thread_id(user: str, thread: str) -> str:
    """One name for a user's thread; no other pair of names has it."""
    return f"{quote(user, safe='')}/{quote(thread, safe='')}"


def commit(context: TurnContext, *, source: Source = "said", **content: Any) -> Event:
    """Append the event; the profile is folded anew, so that what follows in the turn ranks with it.

    Of an item in the list on the table it is noted where it lay there (see :mod:`.offers`), unless ``content`` says so.

    Raises:
        ToolError: the content does not fit an event.
    """
    # In microseconds: two clicks can fall into one millisecond, and each is an event of its own.
    place = f"{thread_id(context.user, context.thread)}@{int(context.started * 1_000_000):x}"
    if content.get("item") is not None:
        content = {"offered": offered(context, content["item"]), **content}
    try:
        event = Event(
            id=event_id(place, context.number, context.call),
            user=context.user,
            time=context.started,
            thread=context.thread,
            source=source,
            message=one_line(context.message, 500),
            **content,
        )
    except ValidationError as error:
        raise ToolError(f"this cannot be recorded: {error.errors()[0]['msg']}") from None
    if context.knowledge.store.append(event):
        context.learned(event)
    context.events.append(event.id)
    return event

"""``get_history``: what is on record for this user, log and live events together."""

from __future__ import annotations

from pydantic import Field

from ..catalog.text import one_line
from .base import Arguments, Tool, TurnContext
from .results import Claim

MOST = 50
#: Records told to the language model; the person gets all of them.
TOLD = 5


class GetHistory(Arguments):
    limit: int = Field(default=5, ge=1, le=MOST, description="how many, newest first")


def make() -> Tool:
    return Tool(
        name="get_history",
        summary="what the user has rated, seen or said before",
        arguments=GetHistory,
        run=history,
    )


def history(context: TurnContext, call: GetHistory) -> str:
    """The newest records, each cited."""
    knowledge = context.knowledge
    claims: list[Claim] = []
    # By the order in which they were said, as everywhere: a clock that was set back changes nothing.
    for item_id, opinion in tuple(context.profile.items.items())[::-1][: call.limit]:
        title = one_line(knowledge.title(item_id), 80)
        words = {"like": "liked", "dislike": "disliked", "rating": "rated", "seen": "have seen", "skip": "passed over"}
        value = f" {opinion.value:g}" if opinion.kind == "rating" and opinion.value is not None else ""
        source = context.cite(f"event:{opinion.event_id}", f"{opinion.kind}{value}: {title}")
        claims.append(Claim(text=f"you {words[opinion.kind]} {title}{value}", evidence=(source,)))
    logged = knowledge.interactions.of_user(context.user)
    for position in range(len(logged.items) - 1, -1, -1):
        if len(claims) >= call.limit:
            break
        item_id = knowledge.catalogue.ids[int(logged.items[position])]
        if item_id in context.profile.items:
            continue
        title = one_line(knowledge.title(item_id), 80)
        value = logged.values[position]
        graded = f", rated {value:g}" if value == value else ""
        source = context.cite(f"log:{context.user}:{item_id}", f"in your log: {title}{graded}")
        claims.append(Claim(text=f"{title}{graded}", evidence=(source,)))
    for taste in context.profile.tastes[-MOST:]:
        verb = "like" if taste.polarity > 0 else "do not want"
        when = " tonight" if taste.scope == "tonight" else ""
        source = context.cite(f"event:{taste.event_id}", f"you said: {verb} {taste.term}{when}")
        claims.append(Claim(text=f"you said you {verb} {one_line(taste.term, 40)}{when}", evidence=(source,)))
    context.findings.extend(claims)
    total = len(logged.items) + len(context.profile.items)
    if not claims:
        context.findings_title = "Nothing is on record for you yet."
        return "nothing on record"
    context.findings_title = f"On record for you: {total} items; the newest:"
    return f"{total} on record: " + "; ".join(claim.text for claim in claims[:TOLD])

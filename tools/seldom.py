"""Whether people who chose one item seldom choose another: counted in the log, for claims that say so."""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from ..catalog.text import one_line
from ..ranking.graph import USERS, GraphModel
from ..ranking.graph_ranker import GraphRanker
from .base import TurnContext
from .results import Evidence

#: The word, as claims have it.
SELDOM = ", seldom choose this"
#: Of so many people, at least, it would have to be expected: nobody of three is no habit.
LEAST_EXPECTED = 5.0
#: What part of those expected there may be, at most.
AT_MOST = 0.5

_RECORD = re.compile(r"(\d+) of the (\d+) people who chose (.+) chose .+; of all (\d+) it was (\d+)$")


def seldom_record(context: TurnContext, past: int, row: int) -> Evidence | None:
    """The counts that bear out that people who chose the item of one row seldom choose that of another; None where
    they do not."""
    knowledge = context.knowledge
    size, everybody = min(len(knowledge.counts), knowledge.interactions.n_items), knowledge.interactions.n_users
    if max(past, row) >= size or past == row:
        return None  # of a live item the log knows nobody's choice
    first, second = int(knowledge.counts[past]), int(knowledge.counts[row])
    if not _is_seldom(0, first, second, everybody):
        return None
    both = people_in_common(context, past, row)
    both = _counted(context, past, row) if both is None else both
    ids = knowledge.catalogue.ids
    one, other = (one_line(knowledge.title(ids[at]), 80) for at in (past, row))
    text = f"{both} of the {first} people who chose {one} chose {other}; of all {everybody} it was {second}"
    return Evidence(id=f"pair:{ids[past]}:{ids[row]}", text=text) if bears_out(text, one) else None


def bears_out(record: str, title: str) -> bool:
    """Whether a record's counts say that people who chose what is called ``title`` seldom choose the other."""
    found = _RECORD.fullmatch(record)
    if found is None or not record.startswith(f"{found[1]} of the {found[2]} people who chose {title} chose "):
        return False
    return _is_seldom(int(found[1]), int(found[2]), int(found[5]), int(found[4]))


def _is_seldom(both: int, first: int, second: int, everybody: int) -> bool:
    """Whether far fewer chose both than would if the one choice said nothing of the other."""
    expected = first * second / max(everybody, 1)
    return expected >= LEAST_EXPECTED and both <= AT_MOST * expected


def people_in_common(context: TurnContext, past: int | None, row: int) -> int | None:
    """How many people of the log chose both; None where there is no graph of people to count in."""
    model = _people(context)
    if past is None or model is None:
        return None
    if max(past, row) >= model.n_items:
        return 0
    steps = model.steps
    ours, theirs = (steps.indices[steps.indptr[one] : steps.indptr[one + 1]] for one in (past, row))
    shared = np.intersect1d(ours, theirs, assume_unique=True)
    return int((model.relation_of[shared] == model.relations.index(USERS)).sum())


def counts_people(context: TurnContext) -> bool:
    """Whether there is a graph of people to count in."""
    return _people(context) is not None


def _people(context: TurnContext) -> GraphModel | None:
    graph = context.knowledge.ranker.rankers.get("graph")
    return graph.model if isinstance(graph, GraphRanker) and USERS in graph.model.relations else None


def _counted(context: TurnContext, past: int, row: int) -> int:
    """The same by the log itself, which is read for it and not kept."""
    met = context.knowledge.interactions.scan().filter(pl.col("item").is_in([past, row]))
    both = met.group_by("user").agg(pl.col("item").n_unique()).filter(pl.col("item") == 2)
    return int(both.select(pl.len()).collect().item())

"""Which reasons are told, and what becomes of the item without them: claims chosen and judged by ranking again.

Of every true reason (:mod:`.evidence`) the evidence is left out and all is ranked again; those whose loss costs the
item most become its claims. Each then carries a verdict with the ranks behind it, and the whole explanation is ranked
without all of its evidence (*necessity*) and with nothing else known of the user (*sufficiency*). What a claim's text
says is checked against its records word by word; a claim that says more than they hold is not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..catalog.items import Item
from ..catalog.text import one_line
from ..ranking.base import Contribution, Ranked
from ..ranking.fused_ranker import TASTES
from .base import TurnContext
from .claims import MOST_CLAIMS, history_record
from .counterfactual import QUERY, LeastSet, Left, Standing, Standings, least_set
from .counterpoint import counterpoint
from .evidence import LATELY, Reason, gather, measured_first, unsupported
from .results import Card, Claim, Counterfactual, Evidence, Listed, Verdict, Verification

#: A fall to so many times its rank makes evidence necessary for an item beyond the first places.
FALL = 2


@dataclass(frozen=True, slots=True)
class Measured:
    """A reason, and where the item stands without it and with it alone; None where that cannot be ranked."""

    reason: Reason
    without: Standing | None
    alone: Standing | None


@dataclass(frozen=True, slots=True)
class Explained:
    """What is told of an item, and the verification of the whole."""

    claims: tuple[Claim, ...]
    verification: Verification
    told: tuple[Measured, ...]


def explained(
    context: TurnContext, item: Item, ranked: Ranked, standings: Standings, shown: Card | None = None
) -> Explained:
    """Gather the evidence, measure it, choose the claims, and verify them. Their records are put on the table.

    Args:
        ranked: what the ranker says of the item, with all contributions.
        standings: ranks it again.
        shown: its card, where it is in the list on the table.
    """
    by_effect = measured_first(ranked.contributions, ranked.row)
    singles = standings.of([Left(refs=frozenset({ref})) for ref in by_effect])
    alone = dict(zip(by_effect, singles, strict=True))
    reasons = _supported(context, gather(context, item, ranked, standings, alone, shown))
    measured = measure(standings, reasons)
    told = choose(standings, measured)
    claims = tuple(_claim(context, standings, one) for one in told)
    return Explained(claims, _verification(context, item, ranked, standings, told, shown, len(measured)), told)


def measure(standings: Standings, reasons: Sequence[Reason]) -> list[Measured]:
    """Rank again without each reason's evidence, and with nothing else known of the user."""
    open_to = [_can_be_left(standings, reason) for reason in reasons]
    fit = [reason for reason, fits in zip(reasons, open_to, strict=True) if fits]
    found = standings.of([one for reason in fit for one in (reason.left, standings.only(reason.left.refs))])
    pairs = iter(zip(found[::2], found[1::2], strict=True))
    return [
        Measured(reason, *next(pairs)) if fits else Measured(reason, None, None)
        for reason, fits in zip(reasons, open_to, strict=True)
    ]


def _can_be_left(standings: Standings, reason: Reason) -> bool:
    """Whether there is something to leave out. What a search was filtered by cannot be: its hits are known, those it
    would have had are not."""
    if reason.left == Left():
        return False
    wishes = reason.left.wishes
    if not wishes:
        return True
    return standings.searched if wishes == {QUERY} else not standings.searched and bool(standings.filters)


def choose(standings: Standings, measured: Sequence[Measured], most: int = MOST_CLAIMS) -> tuple[Measured, ...]:
    """Those with the greatest effect on the rank, none resting on evidence that is told already.

    What did not move the rank is told only of the request, or where nothing else is left to tell.
    """
    now = standings.now

    def effect(one: Measured) -> tuple[int, float]:
        return (0, 0.0) if one.without is None else (one.without.rank - now.rank, now.score - one.without.score)

    order = sorted(measured, key=effect, reverse=True)
    moving = [one for one in order if effect(one)[0] > 0]
    asked = [one for one in order if one.reason.left.wishes and one not in moving]
    told = _apart([*moving, *asked], most)
    if not told:
        told = _apart([one for one in order if effect(one) > (0, 0.0)] or order, 1)
    return tuple(sorted(told, key=effect, reverse=True))


def _apart(order: Sequence[Measured], most: int) -> list[Measured]:
    """The first of them, leaving out those whose records are told by an earlier one."""
    told: list[Measured] = []
    used: set[str] = set()
    for one in order:
        left = one.reason.left
        keys = left.refs | left.wishes | left.parts
        if len(told) < most and (not keys or keys - used) and not (left.refs and left.refs & used):
            told.append(one)
            used |= keys
    return told


def verdict(standings: Standings, one: Measured) -> Verdict:
    """See :class:`.results.Verdict`."""
    now, without = standings.now, one.without
    if without is None:
        met = bool(one.reason.left.wishes)
        return Verdict(label="condition" if met else "unmoved", rank=now.rank, score=round(now.score, 6))
    return Verdict(
        label=label(now.rank, without.rank, standings.top),
        rank=now.rank,
        rank_without=without.rank,
        rank_alone=None if one.alone is None else one.alone.rank,
        score=round(now.score, 6),
        score_without=round(without.score, 6),
    )


def label(rank: int, without: int, top: int) -> Literal["necessary", "contributes", "unmoved"]:
    """The verdict on evidence without which an item falls from ``rank`` to ``without``."""
    if without <= rank:
        return "unmoved"
    gone = without > top if rank <= top else without >= FALL * rank
    return "necessary" if gone else "contributes"


def _claim(context: TurnContext, standings: Standings, one: Measured) -> Claim:
    evidence = tuple(dict.fromkeys(context.cite(record.id, record.text) for record in one.reason.records))
    return Claim(text=one.reason.text, evidence=evidence, verdict=verdict(standings, one))


def _supported(context: TurnContext, reasons: Sequence[Reason]) -> list[Reason]:
    fine = []
    for reason in reasons:
        if missing := unsupported(reason):
            context.notice(f"A reason was left out: its records do not hold {', '.join(missing)}.")
        else:
            fine.append(reason)
    return fine


def _verification(
    context: TurnContext,
    item: Item,
    ranked: Ranked,
    standings: Standings,
    told: Sequence[Measured],
    shown: Card | None,
    considered: int,
) -> Verification:
    whole = Left()
    for one in told:
        if one.without is not None:
            whole |= one.reason.left
    without, only = standings.of([whole, standings.only(whole.refs)])
    against = counterpoint(context, item, standings)
    if against is not None and not _supported(context, [against]):
        against = None
    return Verification(
        rank=standings.now.rank,
        candidates=standings.candidates,
        top=standings.top,
        listed=shown is not None,
        rank_without=without.rank if whole != Left() else None,
        rank_alone=only.rank,
        counterfactual=_counterfactual(context, standings, ranked),
        counterpoint=None
        if against is None
        else Claim(
            text=against.text,
            evidence=tuple(dict.fromkeys(context.cite(record.id, record.text) for record in against.records)),
        ),
        considered=considered,
    )


def candidates_of(standings: Standings, contributions: Sequence[Contribution], row: int) -> list[str]:
    """Records that a counterfactual set may hold, those first that add most: what was chosen, and stated likes.

    The latest choices are among them where a transformer, in which no record has a share, reads the past.
    """
    total: dict[str, float] = {}
    for one in contributions:
        if one.row != row:
            total[one.ref] = total.get(one.ref, 0.0) + one.amount
    chosen = standings.history.chosen()
    fit = {ref for ref, of in zip(chosen.refs, chosen.rows.tolist(), strict=True) if of != row}
    liked = {one.ref for one in contributions if one.part == TASTES and one.amount > 0}
    open_to = (fit | liked) & standings.evidence
    order = sorted((ref for ref in open_to if total.get(ref, 0.0) > 0), key=lambda ref: (-total[ref], ref))
    return list(dict.fromkeys([*order, *(ref for ref in chosen.last(LATELY).refs if ref in open_to)]))


def _counterfactual(context: TurnContext, standings: Standings, ranked: Ranked) -> Counterfactual | None:
    refs = candidates_of(standings, ranked.contributions, ranked.row)
    if standings.now.rank > standings.top or not refs:
        return None
    return _told_set(context, standings, least_set(standings, refs))


def _told_set(context: TurnContext, standings: Standings, least: LeastSet) -> Counterfactual:
    row_of = dict(zip(standings.history.refs, standings.history.rows.tolist(), strict=True))
    stated = {f"event:{taste.event_id}": taste for taste in context.profile.tastes}
    items, words = [], []
    for ref in least.refs:
        if ref in row_of:
            title, record = history_record(context, ref, row_of[ref])
            items.append(Listed(id=context.knowledge.catalogue.ids[row_of[ref]], title=title))
            words.append(title)
        else:
            term = one_line(stated[ref].term, 40)
            record = Evidence(id=ref, text=f"you said you like {term}")
            words.append(f"your liking for {term}")
        context.cite(record.id, record.text)
    return Counterfactual(
        found=least.found,
        evidence=least.refs,
        items=tuple(items),
        words=tuple(words),
        rank_without=least.standing.rank,
        ranked=least.ranked,
    )

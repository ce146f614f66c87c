"""Many pasts of one user ranked at once: what the fused ranker would say if parts of what is known were not known.

What :meth:`.fused_ranker.FusedRanker.recommend` gives each of them one after the other, up to rounding, from the parts'
own ways of scoring many pasts in one call. The transformer, which has none without torch, reads them one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._scale import mean_and_spread
from .content import ContentRanker
from .debias import Debias, adjustments
from .ease import EaseRanker
from .fused_ranker import DEBIAS, POPULARITY, TASTES, FusedRanker, PartRanker, _Answerable
from .graph_ranker import GraphRanker
from .history import History
from .log import Pasts
from .popularity import PopularityRanker
from .posterior_part import IMPLIED, together
from .posterior_ranker import PosteriorRanker
from .tastes import TasteMatches
from .transitions import TransitionsRanker

#: Scores made at a time.
_AT_ONCE = 1 << 21

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Alternative:
    """What would be known of a user.

    Attributes:
        history: the past.
        tastes: stated ones against the items; None: nothing was stated.
        silent: parts of the score that are left out of the sum.
    """

    history: History
    tastes: TasteMatches | None = None
    silent: frozenset[str] = frozenset()


def alternative_scores(
    ranker: FusedRanker,
    asked: Sequence[Alternative],
    debias: Debias | None = None,
    further: Mapping[str, NDArray[np.float32]] | None = None,
) -> Scores:
    """(len(asked), n_items): the score of every item in each alternative.

    Args:
        ranker: of the live catalogue.
        asked: in any order.
        debias: how much of popularity is taken off; None: nothing.
        further: more parts of the score by name, (n_items,) each, the same whatever is known: what was drawn to
            explore.
    """
    found = np.empty((len(asked), ranker.n_items), dtype=np.float32)
    step = max(1, _AT_ONCE // max(ranker.n_items, 1))
    for start in range(0, len(asked), step):
        part = asked[start : start + step]
        found[start : start + len(part)] = _scored(ranker, part, debias, further or {})
    return found


def _scored(
    ranker: FusedRanker,
    asked: Sequence[Alternative],
    debias: Debias | None,
    further: Mapping[str, NDArray[np.float32]],
) -> Scores:
    n = ranker.n_items
    chosen = [one.history.chosen() for one in asked]
    refused = [one.history.refused() for one in asked]
    seen = np.zeros((len(asked), n), dtype=np.bool_)
    for line, one in zip(seen, asked, strict=True):
        line[one.history.rows] = True
    lengths = np.array([len(past) for past in chosen])
    by_user, by_item, of_items = ranker.weights.gates(lengths, ranker.counts)
    gates = {name: by_user[:, at, None] + by_item[:, at] for at, name in enumerate(ranker.rankers)}
    against = ranker._against(gates)  # one rule for one past and for many: arrays of either shape go through it
    parts: dict[str, Scores] = {}
    for name, part in ranker.rankers.items():
        if isinstance(part, PosteriorRanker):
            parts[name] = np.stack(
                [
                    together(part, one.history, gates[name][at], against[name][at], seen[at]).values
                    for at, one in enumerate(asked)
                ]
            )
            continue
        scores = many_scores(part, chosen)
        mean, spread = mean_and_spread(scores, seen)
        values = gates[name] * ((scores - mean) / spread).astype(np.float32)
        if isinstance(part, _Answerable) and any(map(len, refused)):
            _take_off(values, part, scores, chosen, refused, np.broadcast_to(against[name], values.shape), seen)
        parts[name] = values
    parts[POPULARITY] = parts.get(POPULARITY, np.zeros(seen.shape, dtype=np.float32)) + of_items
    learned = _sum(parts, seen.shape)
    if any(one.tastes is not None for one in asked):
        parts[TASTES] = _stated(ranker, asked, learned, seen)
        parts[IMPLIED] = _implied(ranker, asked, gates)
    if debias is not None and not debias.off:
        parts[DEBIAS] = _debiased(ranker, debias, learned, seen)
    parts |= {name: np.broadcast_to(values, seen.shape) for name, values in further.items()}
    total = _sum(parts, seen.shape)
    for at, one in enumerate(asked):
        if one.silent:
            left = {name: values[at] for name, values in parts.items() if name not in one.silent}
            total[at] = _sum(left, (n,))
    return total


def many_scores(part: PartRanker | _Answerable, histories: Sequence[History]) -> Scores:
    """(len(histories), n_items): the scores of a part for each history."""
    if isinstance(part, EaseRanker | ContentRanker | PopularityRanker):
        return part.score_many(Pasts.of(histories, part.n_items))
    if isinstance(part, TransitionsRanker | GraphRanker):
        # Of the build alone: what came later has no edges, follows nothing, and scores 0.
        built = part.model.n_items
        scores = np.zeros((len(histories), part.n_items), dtype=np.float32)
        scores[:, :built] = part.model.score_many(Pasts.of([one.within(built) for one in histories], built))
        return scores
    return np.stack([part.scores(one) for one in histories])


def _take_off(
    values: Scores,
    part: _Answerable,
    scores: Scores,
    chosen: Sequence[History],
    refused: Sequence[History],
    against: Scores,
    seen: NDArray[np.bool_],
) -> None:
    """Take off what was turned away from, as :func:`.fused_ranker._say` does for one past."""
    at = [place for place, past in enumerate(refused) if len(past)]
    there = [refused[i] for i in at]
    away = many_scores(part, there).astype(np.float64) * np.array([[part.mass(past)] for past in there])
    both = scores[at].astype(np.float64) * np.array([[part.mass(chosen[i])] for i in at]) + away
    _, spread = mean_and_spread(both, seen[at])
    values[at] -= against[at] * (away / spread).astype(np.float32)


def _stated(ranker: FusedRanker, asked: Sequence[Alternative], learned: Scores, seen: NDArray[np.bool_]) -> Scores:
    spread = mean_and_spread(learned, seen)[1][:, 0]
    weights = ranker.config.tastes * np.where(np.isfinite(spread), spread, 1.0)
    stated = np.zeros(learned.shape, dtype=np.float32)
    for line, one in enumerate(asked):
        if one.tastes is not None:
            stated[line] = one.tastes.scores() * np.float32(weights[line])
    return stated


def _implied(ranker: FusedRanker, asked: Sequence[Alternative], gates: Mapping[str, Scores]) -> Scores:
    found = np.zeros((len(asked), ranker.n_items), dtype=np.float32)
    for at, (line, one) in enumerate(zip(found, asked, strict=True)):
        if one.tastes is not None:
            own = ranker._implied(one.history, one.tastes, {name: values[at] for name, values in gates.items()})
            if own is not None:
                line += own.sum(axis=0)
    return found


def _debiased(ranker: FusedRanker, debias: Debias, learned: Scores, seen: NDArray[np.bool_]) -> Scores:
    built = ranker._built
    common = None if ranker.items is None or ranker.items.common is None else ranker.items.common[:built]
    added = np.zeros(learned.shape, dtype=np.float32)
    if built:
        added[:, :built] = adjustments(debias, learned[:, :built], seen[:, :built], ranker.counts[:built], common)
    return added


def _sum(parts: dict[str, Scores], shape: tuple[int, ...]) -> Scores:
    total = np.zeros(shape, dtype=np.float32)
    for values in parts.values():
        total += values
    return total

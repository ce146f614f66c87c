"""The ranker in use: the fused model for one user, with live events, live items, stated tastes, and its reasons.

For what stands in a log it gives the scores of :class:`.fused.FusedModel`, from the same parts and the same learned
weights. What a log does not hold is laid over it:

- *What was turned away from* ("not for me"). The model was learned on choices alone. Of each part in which every entry
  of the past has a share, what the entries turned away from would have brought, had they been chosen, is taken off:
  with m the part's multiplier, max(m, 0) x (their share) / (the spread of the shares of all entries). The transformer,
  which has seen nothing but choices, cannot tell what it would have brought: these parts stand in for it, each in
  proportion to its multiplier, so that turning away weighs as much as choosing. The posterior, which refusals are
  nothing new to, reads both together, see :mod:`.posterior_part`.
- *Stated tastes*, which no log holds: for the items they name see :class:`RankerConfig`; what they imply for others
  the posterior says (:func:`.posterior_part.implied`).
- *Exploring*: what a taste drawn from what is known gives beyond the expected one (:func:`.posterior_part.explored`).
- *Live items*: they have no interactions, and content speaks for them. The other parts, the posterior among them, give
  them 0.
- *A correction for popularity*: see :mod:`.debias`. It goes by what the model learned alone: what was stated outright
  is wanted, popular or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ._scale import mean_and_spread
from .base import Contribution, Ranked, top_rows
from .content import ContentRanker
from .debias import Debias, adjustments
from .diversity import DiversityConfig, DiversityItems, diversify
from .fused import Weights
from .history import History
from .posterior_part import EXPLORE, IMPLIED, POSTERIOR, Explore, explored, implied, together
from .posterior_ranker import PosteriorRanker
from .sequence_ranker import SequenceRanker
from .tastes import TasteMatches

__all__ = ["FusedRanker", "PartRanker", "Ranked", "RankerConfig"]

#: The part that holds everything the number of an item's interactions decides, the item term of the model included.
POPULARITY = "popularity"
TASTES = "tastes"
DEBIAS = "debias"


class PartRanker(Protocol):
    """A part of the fused model, for one user."""

    @property
    def n_items(self) -> int: ...

    def scores(self, history: History) -> NDArray[np.float32]:
        """Shape (n_items,): finite, higher is better."""
        ...


@runtime_checkable
class _Answerable(Protocol):
    """A part to whose scores every entry of the history adds a share."""

    def scores(self, history: History) -> NDArray[np.float32]: ...

    def mass(self, history: History) -> float:
        """What the sum over the entries was divided by to give the scores."""
        ...

    def shares(self, history: History, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """(len(rows), len(history)): they sum to the scores; None where they would cost too much."""
        ...


@dataclass(frozen=True, slots=True)
class RankerConfig:
    """What is laid over the learned model."""

    tastes: float = 1.4
    """Weight of stated tastes, whose scores lie in [-1, 1], in standard deviations of all else over the items that the
    user does not know. No log holds stated tastes, so this is a choice: what is said outright outweighs an ordinary
    difference in the log and leaves room for a great one. On the validation part of MovieLens 100K "comedy" lifts the
    comedies among a user's ten best from 2.6 to 8.9."""

    reasons: int = 10
    """Contributions reported for each recommended item."""

    diversity: float = 0.4
    """How varied lists are, in [0, 1]; see :mod:`.diversity`. On the validation parts of MovieLens 100K and of Amazon
    Office Products 0.4 cost no NDCG@10 that could be told from 0, and raised coverage by a third or more."""

    calibration: float = 0.0
    """How true lists are to the labels of the past, in [0, 1]."""


@dataclass(frozen=True, eq=False)
class _Told:
    """What a part says.

    Attributes:
        values: (n_items,), added to the score.
        gates: (n_items,), its multiplier. against: (n_items,) not below 0, that of what was turned away from.
        chosen, refused: 1 / the spread by which what was chosen, and what was turned away from, is divided.
    """

    values: NDArray[np.float32]
    gates: NDArray[np.float32]
    against: NDArray[np.float32]
    chosen: float
    refused: float


@dataclass(frozen=True, eq=False)
class _Stated:
    """What stated tastes do.

    Attributes:
        values: (n_items,), of what they name. weight: by which their matches are multiplied.
        implied: (t, n_items), what each adds to what it does not name; None without a posterior.
    """

    values: NDArray[np.float32]
    weight: float
    implied: NDArray[np.float32] | None


class FusedRanker:
    """The fused model for one user at a time.

    The score is the sum of the parts: each part of the model as :class:`.fused.FusedModel` weighs it, ``tastes``,
    ``implied``, ``debias``, ``explore``, and adjustments. The unit is the model's: a score higher by 1 makes an item e
    times as likely to come next.

    Args:
        parts: in the order of the weights.
        weights: as learned.
        counts: (n_built,) interactions of each item of the build; live items beyond have none.
        n_items: items of the live catalogue.
        views: content rankers by name, also those of no part: what is stated is compared by meaning with ``text``.
        items: what makes lists varied; None: the best come in their order, whatever the dials say.
        config: what is laid over the model.

    Raises:
        ValueError: parts and weights differ, or count different items.
    """

    name = "fused"

    def __init__(
        self,
        parts: Mapping[str, PartRanker],
        weights: Weights,
        counts: NDArray[np.int64],
        n_items: int | None = None,
        *,
        views: Mapping[str, ContentRanker] | None = None,
        items: DiversityItems | None = None,
        config: RankerConfig | None = None,
    ) -> None:
        self.n_items = len(counts) if n_items is None else n_items
        self.config = config or RankerConfig()
        self.weights = weights
        self.rankers = dict(parts)
        self.views = dict(views or {})
        self.items = items
        if tuple(parts) != weights.parts:
            raise ValueError(f"parts {', '.join(parts)} for weights of {', '.join(weights.parts)}")
        if self.n_items < len(counts) or any(part.n_items != self.n_items for part in parts.values()):
            raise ValueError("the parts count different numbers of items")
        #: (n_items,) interactions of each item.
        self.counts = np.zeros(self.n_items, dtype=np.int64)
        self.counts[: len(counts)] = counts
        self._built = len(counts)

    @property
    def explores(self) -> bool:
        """Whether it knows how unsure it is of a taste, and can explore."""
        return isinstance(self.rankers.get(POSTERIOR), PosteriorRanker)

    def dials(self, diversity: float | None = None, calibration: float | None = None) -> DiversityConfig:
        """Dials for :meth:`recommend`, those of the config where none are given.

        Raises:
            UserError: one is not in [0, 1].
        """
        for name, dial in (("diversity", diversity), ("calibration", calibration)):
            if dial is not None and not 0 <= dial <= 1:
                raise UserError(f"{name} must be from 0 to 1, not {dial:g}")
        return DiversityConfig(
            diversity=self.config.diversity if diversity is None else diversity,
            calibration=self.config.calibration if calibration is None else calibration,
        )

    def scores(self, history: History, tastes: TasteMatches | None = None) -> NDArray[np.float32]:
        """(n_items,): the sum of :meth:`parts`."""
        return _total(self.parts(history, tastes), self.n_items)

    def parts(self, history: History, tastes: TasteMatches | None = None) -> dict[str, NDArray[np.float32]]:
        """Each part's (n_items,) addition to the score; parts with nothing to say are all 0."""
        told, stated = self._told(history, tastes)
        return _values(told, stated)

    def contributions(self, history: History, row: int, tastes: TasteMatches | None = None) -> list[Contribution]:
        """What each piece of evidence added to a row, by part, largest absolute amount first.

        Those of a part sum to what the part added, and to what it adds to an item that is like the mean of those the
        user does not know (which nobody is answerable for). Popularity and the transformer have none.
        """
        told, stated = self._told(history, tastes)
        return self._reasons(history, np.array([row], dtype=np.int64), told, stated, tastes)[0]

    def recommend(
        self,
        history: History,
        *,
        k: int,
        exclude: NDArray[np.bool_] | Collection[int] = (),
        mask: NDArray[np.bool_] | None = None,
        tastes: TasteMatches | None = None,
        adjustments: Mapping[str, NDArray[np.float32]] | None = None,
        repeats: bool = False,
        dials: DiversityConfig | None = None,
        debias: Debias | None = None,
        explore: Explore | None = None,
        reasons: bool = True,
    ) -> list[Ranked]:
        """The ``k`` best items, best first; ties go to the smaller row.

        Args:
            history: of the user.
            k: how many; fewer come back when fewer are allowed.
            exclude: rows never to be shown, as numbers or as a (n_items,) mask that is true for them.
            mask: (n_items,) true for what may be shown (available, passes the filters); None allows all.
            tastes: stated tastes against the items.
            adjustments: further named parts (n_items,), added as they are.
            repeats: also show what the history holds already.
            dials: how varied the list is, and how true to the labels of the past; None: as the scores have it.
            debias: how much of popularity is taken off, as the part ``debias``; None: nothing.
            explore: how far the list explores, as the part ``explore``; None: not at all.
            reasons: give contributions, which take as long as the rest.

        Raises:
            UserError: it is to explore, and has no posterior.
            ValueError: a mask or adjustment has the wrong shape, an adjustment is not finite, or the dial of ``debias``
                is turned where nothing is known of what is common.
        """
        told, stated = self._told(history, tastes)
        parts = _values(told, stated)
        if debias is not None and not debias.off:
            parts[DEBIAS] = self._debiased(debias, _total(_values(told, None), self.n_items), history)
        if explore is not None and not explore.off:
            parts[EXPLORE] = self.explored(history, tastes, explore)
        for name, values in (adjustments or {}).items():
            if values.shape != (self.n_items,) or not np.isfinite(values).all():
                raise ValueError(f"the adjustment {name!r} must be finite, of shape ({self.n_items},)")
            if name in parts:
                raise ValueError(f"the adjustment {name!r} has the name of a part")
            parts[name] = values.astype(np.float32)
        total = _total(parts, self.n_items)
        allowed = self._allowed(exclude, mask)
        if not repeats:
            allowed[history.rows] = False
        if dials is None or self.items is None:
            rows = top_rows(total, k, allowed)
        else:
            rows = diversify(total, allowed, k, self.items, dials, history.chosen().rows)
        why = self._reasons(history, rows, told, stated, tastes, self.config.reasons) if reasons else None
        return [
            Ranked(
                row=int(row),
                score=float(total[row]),
                parts={name: float(values[row]) for name, values in parts.items()},
                contributions=() if why is None else tuple(why[at]),
            )
            for at, row in enumerate(rows)
        ]

    def explored(self, history: History, tastes: TasteMatches | None, explore: Explore) -> NDArray[np.float32]:
        """(n_items,): the part ``explore``, what a drawn taste gives beyond the expected one.

        Raises:
            UserError: the ranker has no posterior.
        """
        gates, _ = self._gates(history.chosen())
        return explored(self.require_posterior(), history, tastes, gates[POSTERIOR], explore)

    def require_posterior(self) -> PosteriorRanker:
        """The part that knows how unsure it is of a taste.

        Raises:
            UserError: there is none.
        """
        part = self.rankers.get(POSTERIOR)
        if not isinstance(part, PosteriorRanker):
            raise UserError(
                "this build's ranker has no posterior and cannot explore: leave explore at 0, or build the workspace "
                "again with that part"
            )
        return part

    def _debiased(self, debias: Debias, learned: NDArray[np.float32], history: History) -> NDArray[np.float32]:
        """(n_items,): the correction of what the model learned."""
        built = self._built
        seen = np.zeros((1, self.n_items), dtype=np.bool_)
        seen[0, history.rows] = True
        common = None if self.items is None or self.items.common is None else self.items.common[:built]
        # How popular live items are is not known: they are neither lifted nor lowered.
        added = np.zeros(self.n_items, dtype=np.float32)
        if built:
            added[:built] = adjustments(debias, learned[None, :built], seen[:, :built], self.counts[:built], common)[0]
        return added

    def _gates(self, chosen: History) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
        """Each part's multiplier (n_items,), and what is added for the number of an item's interactions (n_items,)."""
        by_user, by_item, of_items = self.weights.gates(np.array([len(chosen)]), self.counts)
        return {name: by_user[0, at] + by_item[:, at] for at, name in enumerate(self.rankers)}, of_items

    def _told(self, history: History, tastes: TasteMatches | None) -> tuple[dict[str, _Told], _Stated | None]:
        """What each part says, and what stated tastes do."""
        chosen, refused = history.chosen(), history.refused()
        seen = np.zeros(self.n_items, dtype=np.bool_)
        seen[history.rows] = True
        gates, of_items = self._gates(chosen)
        against = self._against(gates)
        told: dict[str, _Told] = {}
        for name, part in self.rankers.items():
            if isinstance(part, PosteriorRanker):
                both = together(part, history, gates[name], against[name], seen)
                told[name] = _Told(both.values, gates[name], against[name], both.factor, both.factor)
            else:
                told[name] = _say(part, chosen, refused, gates[name], against[name], seen)
        told[POPULARITY] = _with_items(told.get(POPULARITY), of_items)
        if tastes is None:
            return told, None
        rest = _total({name: one.values for name, one in told.items()}, self.n_items)
        spread = float(mean_and_spread(rest[None], seen[None])[1][0, 0])
        weight = self.config.tastes * (spread if np.isfinite(spread) else 1.0)
        return told, _Stated(_times(tastes.scores(), weight), weight, self._implied(history, tastes, gates))

    def _implied(
        self, history: History, tastes: TasteMatches, gates: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32] | None:
        """(t, n_items): what each stated taste implies for the items it does not name; None without a posterior."""
        part = self.rankers.get(POSTERIOR)
        return implied(part, history, tastes, gates[POSTERIOR]) if isinstance(part, PosteriorRanker) else None

    def _against(self, gates: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """For each part the multiplier (n_items,) of what was turned away from; 0 for parts without shares."""
        nothing = np.zeros(self.n_items, dtype=np.float32)
        able, whole, silent = {}, nothing + np.float32(1e-6), nothing
        for name, part in self.rankers.items():
            positive = np.maximum(gates[name], 0)
            if isinstance(part, _Answerable):
                able[name] = positive
                whole = whole + positive
            elif isinstance(part, SequenceRanker):
                silent = silent + positive
        return {name: able[name] * (1 + silent / whole) if name in able else nothing for name in gates}

    def _reasons(
        self,
        history: History,
        rows: NDArray[np.int64],
        told: Mapping[str, _Told],
        stated: _Stated | None,
        tastes: TasteMatches | None,
        most: int | None = None,
    ) -> list[list[Contribution]]:
        """For each row its contributions, largest first; ``most`` of them."""
        evidence: list[tuple[str, str, int | None]] = []
        shares, direct = [], []
        for name, part in self.rankers.items():
            if not isinstance(part, _Answerable):
                continue
            for past, added, factor, gates in _pieces(part, told[name], history, rows):
                evidence += [(ref, name, row) for ref, row in zip(past.refs, past.rows.tolist(), strict=True)]
                shares.append(_times(added, factor) * gates[rows][:, None])
                direct.append(np.broadcast_to(gates[rows][:, None] >= 0, added.shape))
        if tastes is not None and stated is not None:
            pieces = {TASTES: _times(tastes.shares(rows), stated.weight)}
            if stated.implied is not None:
                pieces[IMPLIED] = stated.implied[:, rows].T
            for name, added in pieces.items():
                evidence += [(ref, name, None) for ref in tastes.refs]
                shares.append(added)
                direct.append(np.ones_like(added, dtype=np.bool_))
        if not evidence:
            return [[] for _ in rows]
        amounts, straight = np.concatenate(shares, axis=1), np.concatenate(direct, axis=1)
        # Sorted as numbers, made into objects after: a long history has hundreds for each item.
        order = np.argsort(-np.abs(amounts), axis=1, kind="stable")[:, :most]
        return [
            [
                Contribution(
                    ref=evidence[at][0],
                    row=evidence[at][2],
                    amount=float(amounts[place, at]),
                    part=evidence[at][1],
                    direct=bool(straight[place, at]),
                )
                for at in order[place]
                if amounts[place, at] != 0
            ]
            for place in range(len(rows))
        ]

    def _allowed(
        self, exclude: NDArray[np.bool_] | Collection[int], mask: NDArray[np.bool_] | None
    ) -> NDArray[np.bool_]:
        allowed = np.ones(self.n_items, dtype=np.bool_) if mask is None else np.array(mask, dtype=np.bool_)
        if allowed.shape != (self.n_items,):
            raise ValueError(f"the mask must have shape ({self.n_items},)")
        if isinstance(exclude, np.ndarray) and exclude.dtype == np.bool_:
            if exclude.shape != (self.n_items,):
                raise ValueError(f"the exclusion mask must have shape ({self.n_items},)")
            allowed[exclude] = False
        else:
            allowed[np.fromiter(exclude, dtype=np.int64)] = False
        return allowed


def _say(
    part: PartRanker,
    chosen: History,
    refused: History,
    gates: NDArray[np.float32],
    against: NDArray[np.float32],
    seen: NDArray[np.bool_],
) -> _Told:
    scores = part.scores(chosen)
    mean, spread = mean_and_spread(scores[None], seen[None])
    values = gates * ((scores - mean[0]) / spread[0]).astype(np.float32)
    of_refused = 0.0
    if len(refused) and isinstance(part, _Answerable):
        # Brought to one sum with what was chosen, so that an old dislike weighs as little as an old choice.
        away = part.scores(refused).astype(np.float64) * part.mass(refused)
        both = scores.astype(np.float64) * part.mass(chosen) + away
        of_refused = 1 / float(mean_and_spread(both[None], seen[None])[1][0, 0])
        values -= against * _times(away, of_refused)
    return _Told(values, gates, against, 1 / float(spread[0, 0]), of_refused)


def _pieces(
    part: _Answerable, told: _Told, history: History, rows: NDArray[np.int64]
) -> Iterator[tuple[History, NDArray[np.float32], float, NDArray[np.float32]]]:
    """What was chosen, then what was turned away from: its shares of some rows, what they are multiplied by, and the
    part's multiplier. Nothing where there is none, or where shares would cost too much."""
    chosen, refused = history.chosen(), history.refused()
    if isinstance(part, PosteriorRanker):
        # The shares of a refusal depend on what was chosen, and have their own sign.
        shares, away = part.shares(history, rows), history.behaviour < 0
        found = (
            (chosen, shares[:, ~away], told.chosen, told.gates),
            (refused, shares[:, away], told.refused, told.against),
        )
        yield from ((past, added, factor, gates) for past, added, factor, gates in found if len(past) and factor)
        return
    for past, factor, gates in ((chosen, told.chosen, told.gates), (refused, -told.refused, told.against)):
        added = part.shares(past, rows) if len(past) and factor else None
        if added is not None:
            yield past, added, factor * (part.mass(past) if past is refused else 1.0), gates


def _with_items(popularity: _Told | None, of_items: NDArray[np.float32]) -> _Told:
    """The popularity part, and what the model adds for the number of an item's interactions alone."""
    if popularity is None:
        return _Told(of_items, np.zeros_like(of_items), np.zeros_like(of_items), 0.0, 0.0)
    return _Told(popularity.values + of_items, popularity.gates, popularity.against, popularity.chosen, 0.0)


def _values(told: Mapping[str, _Told], stated: _Stated | None) -> dict[str, NDArray[np.float32]]:
    values = {name: one.values for name, one in told.items()}
    if stated is None:
        return values
    values[TASTES] = stated.values
    if stated.implied is not None:
        values[IMPLIED] = stated.implied.sum(axis=0)
    return values


def _total(parts: Mapping[str, NDArray[np.float32]], n_items: int) -> NDArray[np.float32]:
    total = np.zeros(n_items, dtype=np.float32)
    for values in parts.values():
        total += values
    return total


def _times(values: NDArray[np.floating], factor: float) -> NDArray[np.float32]:
    # In double precision: a history of old events has tiny scores and a factor too large for a float32.
    return (values * np.float64(factor)).astype(np.float32)

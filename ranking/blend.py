"""The ranker in use: behaviour, content, popularity and stated tastes, weighed into one score with its reasons."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import Contribution, Ranked, Ranker, top_rows
from .history import History
from .tastes import TasteMatches

__all__ = ["BlendConfig", "BlendRanker", "Ranked"]

#: A part whose scores spread less than this share of the largest differs by rounding alone.
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True, slots=True)
class BlendConfig:
    """How the parts are weighed. A part's score is divided by its standard deviation over the items it knows.

    The defaults were chosen on MovieLens 100K by predicting each user's last event but one from those before it (never
    the last one, which is the test), with whole histories and with histories cut to 20, 5, 2 and 1 events. Two
    were checked on Amazon Office Products the same way: ``popularity_cold``, where films alone would have asked for
    0.6 and the office for 0.2, and the gate, for which items were hidden from the behaviour model.

    The standard deviation was taken over the median absolute deviation and upper percentiles because those
    collapse for short histories, whose scores are next to nothing for nearly all items.
    """

    behaviour: float = 1.0
    """Weight of the behaviour model, times the gate: the square root of the share of the history (by recency-weighted
    signal) that the model was trained on. 1 when it knows every item, 0 when it knows none."""

    text: float = 0.4
    """Weight of likeness in the text view."""

    image: float = 0.1
    """Weight of likeness in the image view."""

    popularity: float = 0.1
    """Weight of popularity where the behaviour model knows the whole history."""

    popularity_cold: float = 0.3
    """Weight of popularity where it knows nothing of it; between the two by the gate."""

    tastes: float = 4.0
    """Weight of stated tastes, whose scores lie in [-1, 1] and are not divided. No log holds stated tastes, so this one
    is a choice: what is said outright outweighs an ordinary difference in the log and leaves room for a great one. On
    MovieLens 100K "comedy" lifts the comedies among a user's ten best from 2.5 to 8.8."""

    behaviour_tau: float = 10.0
    """Events after which a signal has fallen to 1/e for the behaviour model."""

    content_tau: float = 10.0
    """Events after which a leaning has fallen to 1/e for the content views."""

    reasons: int = 5
    """Contributions reported for each recommended item."""


class BlendRanker:
    """Weighs rankers into one.

    Every part is ``weight x score / spread`` with no shift, so that what the rankers' shares sum to is the part
    itself, and parts sum to the score.

    Args:
        popularity: what ranks when nothing is known of the user.
        behaviour: None where there is no log.
        content: one ranker a view; their names (``text``, ``image``) find their weights.
        config: the weights.

    Raises:
        ValueError: the rankers count different items, or a content ranker's name has no weight.
    """

    name = "blend"

    def __init__(
        self,
        popularity: Ranker,
        behaviour: Ranker | None = None,
        content: Collection[Ranker] = (),
        config: BlendConfig | None = None,
    ) -> None:
        self.config = config or BlendConfig()
        self.n_items = popularity.n_items
        self.popularity = popularity
        self.behaviour = behaviour
        self.content = tuple(content)
        self._weights = {"text": self.config.text, "image": self.config.image}
        rankers = [*self.content, popularity, *([behaviour] if behaviour is not None else [])]
        if any(ranker.n_items != self.n_items for ranker in rankers):
            raise ValueError("the rankers count different numbers of items")
        unknown = [ranker.name for ranker in self.content if ranker.name not in self._weights]
        if unknown:
            raise ValueError(f"no weight for the content ranker {unknown[0]!r}")

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.ones(self.n_items, dtype=np.bool_)

    def scores(self, history: History, tastes: TasteMatches | None = None) -> NDArray[np.float32]:
        """(n_items,): the sum of :meth:`parts`."""
        return _total(self.parts(history, tastes), self.n_items)

    def parts(self, history: History, tastes: TasteMatches | None = None) -> dict[str, NDArray[np.float32]]:
        """Each part's (n_items,) addition to the score; parts with nothing to say are all 0."""
        parts, _ = self._parts(history, tastes)
        return parts

    def shares(self, history: History, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        _, factors = self._parts(history, None)
        shares = np.zeros((len(rows), len(history)), dtype=np.float32)
        for ranker in self._rankers():
            if factors[ranker.name]:
                shares += _times(ranker.shares(history, rows), factors[ranker.name])
        return shares

    def contributions(self, history: History, row: int, tastes: TasteMatches | None = None) -> list[Contribution]:
        """What each piece of evidence added to a row, by part, largest absolute amount first.

        They sum to the row's score less its popularity part, which has no evidence in the history.
        """
        _, factors = self._parts(history, tastes)
        rows = np.array([row], dtype=np.int64)
        return self._reasons(history, rows, factors, tastes)[0]

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
    ) -> list[Ranked]:
        """The ``k`` best items, best first; ties go to the smaller row.

        Args:
            history: of the user.
            k: how many; fewer come back when fewer are allowed.
            exclude: rows never to be shown, as numbers or as a (n_items,) mask that is true for them.
            mask: (n_items,) true for what may be shown (available, passes the filters); None allows all.
            tastes: stated tastes, matched to the items.
            adjustments: further named parts (n_items,), added as they are, such as a correction for popularity.
            repeats: also show what the history holds already.

        Raises:
            ValueError: a mask or adjustment has the wrong shape, or an adjustment is not finite.
        """
        parts, factors = self._parts(history, tastes)
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
        rows = top_rows(total, k, allowed)
        reasons = self._reasons(history, rows, factors, tastes, self.config.reasons)
        return [
            Ranked(
                row=int(row),
                score=float(total[row]),
                parts={name: float(values[row]) for name, values in parts.items()},
                contributions=tuple(reasons[at]),
            )
            for at, row in enumerate(rows)
        ]

    def gate(self, history: History) -> float:
        """How far the behaviour model may be trusted with this history, in [0, 1]."""
        if self.behaviour is None or len(history) == 0:
            return 0.0
        signals = np.abs(history.behaviour) * history.recency(self.config.behaviour_tau)
        whole = float(signals.sum(dtype=np.float64))
        if whole == 0:
            return 0.0
        trained = float(signals[self.behaviour.known[history.rows]].sum(dtype=np.float64))
        return float(np.sqrt(min(1.0, trained / whole)))

    def _rankers(self) -> tuple[Ranker, ...]:
        """Those that history moves."""
        return (*((self.behaviour,) if self.behaviour is not None else ()), *self.content)

    def _parts(
        self, history: History, tastes: TasteMatches | None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, float]]:
        """The parts, and for each what its ranker's scores were multiplied by."""
        config = self.config
        gate = self.gate(history)
        weighed: list[tuple[Ranker, float]] = []
        if self.behaviour is not None:
            weighed.append((self.behaviour, config.behaviour * gate))
        weighed += [(ranker, self._weights[ranker.name]) for ranker in self.content]
        weighed.append((self.popularity, gate * config.popularity + (1 - gate) * config.popularity_cold))
        parts: dict[str, NDArray[np.float32]] = {}
        factors: dict[str, float] = {}
        for ranker, weight in weighed:
            scores = ranker.scores(history)
            known = scores[ranker.known]
            spread = float(known.std(dtype=np.float64)) if known.size else 0.0
            told_apart = spread > _LEAST_SPREAD * float(np.abs(known).max(initial=0.0))
            factors[ranker.name] = weight / spread if told_apart else 0.0
            parts[ranker.name] = _times(scores, factors[ranker.name])
        if tastes is not None:
            factors["tastes"] = config.tastes
            parts["tastes"] = _times(tastes.scores(), config.tastes)
        return parts, factors

    def _reasons(
        self,
        history: History,
        rows: NDArray[np.int64],
        factors: Mapping[str, float],
        tastes: TasteMatches | None,
        most: int | None = None,
    ) -> list[list[Contribution]]:
        """For each row its contributions, largest first; ``most`` of them."""
        evidence: list[tuple[str, str, int | None]] = []
        shares = []
        for ranker in self._rankers():
            evidence += [(ref, ranker.name, row) for ref, row in zip(history.refs, history.rows.tolist(), strict=True)]
            shares.append(_times(ranker.shares(history, rows), factors[ranker.name]))
        if tastes is not None:
            evidence += [(ref, "tastes", None) for ref in tastes.refs]
            shares.append(_times(tastes.shares(rows), factors["tastes"]))
        if not evidence:
            return [[] for _ in rows]
        amounts = np.concatenate(shares, axis=1)
        # Sorted as numbers, made into objects after: a long history has hundreds for each item.
        order = np.argsort(-np.abs(amounts), axis=1, kind="stable")[:, :most]
        return [
            [
                Contribution(ref=evidence[at][0], row=evidence[at][2], amount=float(of_row[at]), part=evidence[at][1])
                for at in places
                if of_row[at] != 0
            ]
            for of_row, places in zip(amounts, order, strict=True)
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


def _total(parts: Mapping[str, NDArray[np.float32]], n_items: int) -> NDArray[np.float32]:
    total = np.zeros(n_items, dtype=np.float32)
    for values in parts.values():
        total += values
    return total


def _times(values: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    # In double precision: a history of old events has tiny scores and a factor too large for a float32.
    return (values * np.float64(factor)).astype(np.float32)

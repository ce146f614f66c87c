"""Which question back is worth asking ("crime or comedy?"), by the information that its answer is expected to give.

What is known of a taste is a Gaussian, w ~ N(m, C) (:mod:`..profiles.posterior`). The kind of item a label names is
a direction u_l in it: the mean face of the items that carry the label, less the mean face of all, as a stated taste has
it (:meth:`.space.ItemSpace.statement`). Asked "a or b?", a person whose leaning is x = (u_a - u_b) . w says a where
x + noise > 0 (Thurstone 1927), with the noise of a statement: half of the population's standard deviation of x.

What an answer is worth is the mutual information between it and what it is asked for: in which order the best items
come (Lindley 1956; MacKay 1992, "Information-based objective functions for active data selection"). With D the faces of
the candidates less their mean, s = D w + noise of variance t^2 are their scores against each other, seen as sharply as
counts: t is by how much their expected scores differ, and what is smaller than that moves few of them. x given s is
Gaussian as well; with e the part of the variance v of x that s tells and r the noise of the answer,

    value(a, b) = H(P(m_x / sqrt(v + r))) - E_z[ H(P((m_x + sqrt(e) z) / sqrt(v - e + r))) ],    z ~ N(0, 1)

in nats, P the normal distribution function and H the entropy of a yes or no. The expectation is one integral, by
Gauss-Hermite quadrature. It lies between 0, where the answer is known or says nothing of the candidates, and ln 2.

A question is asked where its value passes a threshold, and never more than one in any three turns (:func:`may_ask`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import entr, ndtr

from ..profiles.posterior import Posterior
from .space import ItemSpace

#: Of any so many turns in a row at most one asks back.
EVERY = 3
#: Longer labels are no words to ask with, in characters.
LONGEST = 40
#: Points of the quadrature: the integrand is as smooth as the answer's noise, which is never small beside the taste.
_POINTS = 64


@dataclass(frozen=True, slots=True)
class QuestionConfig:
    """When and what is asked back."""

    least: float = 0.12
    """Value, in nats, from which a question is asked: a third of the 0.37 that an answer tells of the leaning of
    somebody unknown, when every leaning counts."""

    candidates: int = 50
    """Best items whose order the answer is asked for."""

    labels: int = 24
    """Labels that are looked at: those that most of the candidates carry."""

    carried: int = 3
    """Candidates that carry a label, at least: whatever is answered there is something to show."""

    apart: float = 0.5
    """Share of the items of the rarer label that may carry the other one too: else the two are no choice."""


@dataclass(frozen=True, slots=True)
class LabelQuestion:
    """A question between two kinds.

    Attributes:
        labels: the two, the one that more candidates carry first.
        nats: what the answer is expected to tell, in [0, ln 2].
    """

    labels: tuple[str, str]
    nats: float


def may_ask(turn: int, asked: Iterable[int]) -> bool:
    """Whether a turn may ask back, where so many turns of its thread asked before: one in any :data:`EVERY`.

    Args:
        turn: number of the turn. asked: numbers of those that asked.
    """
    return all(turn - one >= EVERY for one in asked)


def best_question(
    state: Posterior,
    space: ItemSpace,
    column: pl.Series,
    rows: NDArray[np.int64],
    *,
    config: QuestionConfig = QuestionConfig(),
    asked: Collection[frozenset[str]] = (),
) -> LabelQuestion | None:
    """The question that is worth most, where one is worth asking.

    Args:
        state: what is known of the person's taste, now.
        space: in which it lies.
        column: labels of all items of the live catalogue, texts or lists of texts.
        rows: of the candidates, best first; those beyond the space are left out.
        asked: pairs that were asked before, and are not asked again.
    """
    rows = rows[rows < space.n_items]
    names, fits = label_fits(column, rows, config)
    if len(names) < 2:
        return None
    faces = directions(space, fits[:, : space.n_items])
    values = expected_information(state, faces, space.asked[rows].astype(np.float64))
    open_to = _choices(fits, config.apart)
    pairs = [
        (float(values[one, other]), one, other)
        for one, other in zip(*np.triu_indices(len(names), 1), strict=True)
        if open_to[one, other] and frozenset((names[one], names[other])) not in asked
    ]
    if not pairs:
        return None
    value, one, other = max(pairs, key=lambda pair: pair[0])  # of equals the first: the most common
    return LabelQuestion((names[one], names[other]), value) if value >= config.least else None


def label_fits(
    column: pl.Series, rows: NDArray[np.int64], config: QuestionConfig = QuestionConfig()
) -> tuple[list[str], NDArray[np.bool_]]:
    """The labels to choose from, those that most of the rows carry first; and (l, n_items) which items carry each."""
    pairs = pl.DataFrame({"row": np.arange(len(column), dtype=np.int64), "label": column})
    if isinstance(column.dtype, pl.List):
        pairs = pairs.explode("label")
    pairs = pairs.drop_nulls().unique().filter(pl.col("label").str.strip_chars() != "")
    carried = pairs.join(pl.DataFrame({"row": rows}), on="row", how="semi").group_by("label").len()
    chosen = (
        carried.filter((pl.col("len") >= config.carried) & (pl.col("label").str.len_chars() <= LONGEST))
        .sort(["len", "label"], descending=[True, False])
        .head(config.labels)
    )
    names: list[str] = chosen["label"].to_list()
    if not names:
        return [], np.zeros((0, len(column)), dtype=np.bool_)
    place = {name: at for at, name in enumerate(names)}
    fits = np.zeros((len(names), len(column)), dtype=np.bool_)
    own = pairs.join(chosen, on="label", how="semi")
    fits[[place[name] for name in own["label"].to_list()], own["row"].to_list()] = True
    return names, fits


def directions(space: ItemSpace, fits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(l, d): of each kind the mean face of its items less that of all, what is popular left out; 0 for no items.

    Args:
        fits: (l, n_items) which items of the space are of each kind.
    """
    faces = space.asked.astype(np.float64)
    many = fits.sum(axis=1)
    found: NDArray[np.float64] = fits @ faces / np.maximum(many, 1)[:, None] - faces.mean(axis=0)
    found[many == 0] = 0.0
    found[:, -1] = 0.0
    return found


def expected_information(
    state: Posterior, faces: NDArray[np.float64], candidates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(l, l): what the answer to "a or b?" is expected to tell, in nats; symmetric, 0 on the diagonal.

    O((l + k) d^2 + k^3 + l^2).

    Args:
        state: what is known of the taste.
        faces: (l, d), of :func:`directions`.
        candidates: (k, d) faces of the items whose order is asked for, at least one.
    """
    variance, told = leanings(state, faces, candidates)
    noise = _apart(faces @ state.prior.covariance @ faces.T) / 4
    mean = faces @ state.mean
    return information(mean[:, None] - mean[None, :], told, variance - told + noise)


def leanings(
    state: Posterior, faces: NDArray[np.float64], candidates: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance of the leaning between each two kinds, and how much of it the candidates' order tells: (l, l) each."""
    against = candidates - candidates.mean(axis=0)
    among = against @ state.covariance @ against.T
    sharp = float(state.scores(candidates).var())
    # Where all are expected alike, every difference counts, down to what double precision can tell.
    among[np.diag_indices(len(among))] += max(sharp, 1e-9 * float(among.trace()), np.finfo(np.float64).tiny)
    along = faces @ state.covariance
    cross = along @ against.T
    variance = _apart(along @ faces.T)
    told: NDArray[np.float64] = np.minimum(_apart(cross @ np.linalg.solve(among, cross.T)), variance)
    return variance, told


def information(mean: NDArray[np.float64], told: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mutual information between the sign of x + y and x, in nats: x ~ N(mean, told), y ~ N(0, rest), independent.

    0 where nothing varies. The arrays have one shape, told and rest are not below 0.
    """
    whole = told + rest
    varies = whole > 0
    spread = np.sqrt(np.where(varies, whole, 1.0))
    left = np.sqrt(np.where(rest > 0, rest, np.where(varies, 1e-12 * whole, 1.0)))
    points, weights = np.polynomial.hermite_e.hermegauss(_POINTS)
    seen = (mean[..., None] + np.sqrt(told)[..., None] * points) / left[..., None]
    known = _undecided(seen) @ (weights / weights.sum())
    found: NDArray[np.float64] = np.where(varies, _undecided(mean / spread) - known, 0.0)
    return np.maximum(found, 0.0)  # but for rounding it is never below 0


def _undecided(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy of a yes that is as likely as a normal variable is below x, in nats."""
    found: NDArray[np.float64] = entr(ndtr(x)) + entr(ndtr(-x))
    return found


def _apart(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the inner products of l vectors the squared lengths of their differences, (l, l); not below 0."""
    own = np.diag(products)
    found: NDArray[np.float64] = np.maximum(own[:, None] + own[None, :] - products - products.T, 0.0)
    return found


def _choices(fits: NDArray[np.bool_], apart: float) -> NDArray[np.bool_]:
    """(l, l): which pairs are a choice, as few items are of both kinds."""
    many = fits.sum(axis=1)
    both = fits.astype(np.int64) @ fits.T.astype(np.int64)
    found: NDArray[np.bool_] = both <= apart * np.minimum(many[:, None], many[None, :])
    return found


def question_text(labels: Sequence[str], *, tonight: bool) -> str:
    """The question in words: ``Crime or comedy tonight?``"""
    first, second = labels
    return f"{first} or {_inside(second)}{' tonight' if tonight else ''}?"


def _inside(label: str) -> str:
    """A label as it stands inside a sentence: small, unless it has capitals of its own ("TV", "McQueen")."""
    plain = all(part[:1].isupper() and part[1:] == part[1:].lower() for part in label.replace("-", " ").split())
    return label.lower() if plain else label

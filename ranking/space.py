"""The fused item space: what an item says of a taste when it is chosen, and what a taste says of the item.

A user's taste is a vector w of d numbers (:mod:`..profiles.posterior`). Every item has two faces in its space:

- *said*, a_i: choosing i is a look along a_i that saw 1;
- *asked*, v_i: how likely i is to come later is v_i . w.

They differ because what a person chooses first is not what comes later. Both come from the log:

    C = A A^T, the covariance over users of who chose what, its d - 1 largest axes; w is then N(0, 1) over the users;
    V = what follows: the regression of "i came later" on the taste that the choices before it show.

So E[later_i | what was chosen] is a Gaussian process over items with the population's covariance (Rasmussen & Williams
2006, section 2.1), written in its factors: exactly Bayesian linear. What the axes leave out of an item's variance is
its own, and is added to the noise of a look along it. The last axis is popularity: a_i the share of users who chose i,
v_i the share who chose it late, with a prior mean of 1, so that who is unknown gets what is popular.

Text, image and graph (attribute) views enter as what an item's faces are expected to be before anybody chose it (as in
regression-based latent factor models, Agarwal & Chen 2009): a ridge regression of the faces on the views, towards which
an item with c choices is drawn by k / (c + k). An item of today has that expectation alone.

The noise, the drift, k and how far each view is believed are those that rank best what validation users, none of whose
choices were fitted on, did later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..catalog.items import Catalogue
from ..catalog.readers.raw import Progress, no_progress
from ..errors import UserError
from ..profiles.posterior import Observation, Prior
from ._space_content import Content, fit_content, item_features
from ._space_faces import Faces, blended, fit_faces, prior_of, with_popularity
from ._space_search import Chosen, search
from .log import Log

_VERSION = "1"
_TENSORS = ("said", "asked", "noise", "mean", "variance")


class SpaceInfo(BaseModel):
    """How a space was made."""

    model_config = ConfigDict(frozen=True)
    n_users: int
    interactions: int
    window: int = Field(description="events of a user that count as early")
    noise: float = Field(description="variance of a look, in variances of a chosen item; see SpaceConfig.noises")
    keep: float = Field(description="share of what sets a user apart that is left after one event")
    shrink: float = Field(description="choices by which an item counts as much as its content")
    views: dict[str, float] = Field(description="how far each view is believed")
    learned_on: int = Field(description="validation users these were learned on; 0: they are the defaults")
    ndcg: float | None = Field(default=None, description="of the validation users' later events, mean over `known`")


@dataclass(frozen=True, slots=True)
class SpaceConfig:
    """How a space is fitted. The grids are tried on validation users of the log; their first entries are the defaults
    where there are too few."""

    d: int = 128
    """Numbers of a taste, at most."""

    window: int = 20
    """Events of a user that count as early, at most; half the median history where that is shorter."""

    noises: tuple[float, ...] = (2.0, 1.0, 4.0)
    """Variance of a look, in variances p (1 - p) of the items that are chosen."""

    keeps: tuple[float, ...] = (0.9, 0.8, 0.95, 1.0)
    """Share of what sets a user apart that is left after one event."""

    shrinks: tuple[float, ...] = (2.0, 0.0, 8.0)
    """k: choices at which an item is half itself, half what its content makes expected; 0: content only where there is
    no choice at all."""

    views: tuple[float, ...] = (1.0, 0.0, 0.3, 3.0)
    """How far a view may be believed: what its vectors are multiplied by before the ridge."""

    known: tuple[int, ...] = (1, 2, 5, 10, 20)
    """Events told of a validation user, at most ``window``."""

    share: float = 0.15
    """Of the users, for validation; at most :attr:`users`."""

    users: int = 200
    least: int = 30
    """Validation users below which nothing is searched."""

    hidden: float = 0.1
    """Share of the items hidden while the views are weighed."""

    def __post_init__(self) -> None:
        if self.d < 2 or self.window < 1 or not (0 < self.share < 1 and 0 < self.hidden < 1):
            raise ValueError("d is at least 2, window at least 1, share and hidden lie in (0, 1)")


@dataclass(frozen=True, eq=False)
class ItemSpace:
    """A fitted space.

    Attributes:
        said, asked: (n_items, d) float32.
        noise: (n_items,) float32 above 0, variance of a look along each item.
        mean, variance: (d,) float64, the prior.
        info: how it was made; its ``keep`` is the drift.
    """

    said: NDArray[np.float32]
    asked: NDArray[np.float32]
    noise: NDArray[np.float32]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    info: SpaceInfo

    @property
    def n_items(self) -> int:
        return len(self.said)

    @property
    def d(self) -> int:
        return len(self.mean)

    @cached_property
    def prior(self) -> Prior:
        """What is expected of anybody."""
        return Prior(self.mean, np.diag(self.variance), self.info.keep)

    def observation(self, row: int, signal: float, time: float, ref: str = "") -> Observation | None:
        """What a choice (a signal above 0) or a refusal (below) shows; None for a signal of 0.

        A choice saw 1 along the item's face, a refusal -1; weaker signals are less sure, not less clear.
        """
        if signal == 0:
            return None
        vector = self.said[row].astype(np.float64)
        return Observation(vector, math.copysign(1.0, signal), abs(signal) / float(self.noise[row]), time, ref=ref)

    def statement(
        self, signed: NDArray[np.floating], *, ref: str = "", thread: str | None = None, sure: float = 1.0
    ) -> Observation | None:
        """A stated taste as a pseudo-observation; None where it says nothing of any item.

        What is wanted is the mean face of the items it speaks of, less the mean face of all: along it the taste is said
        to lie one and a half standard deviations of the population up or down, give or take half of one.

        Args:
            signed: (n_items,) in [-1, 1]: polarity times how well each item fits.
            ref: evidence id. thread: the only conversation it counts in.
            sure: confidence in (0, 1].
        """
        total = float(np.abs(signed).sum())
        if total == 0:
            return None
        fits = np.abs(signed).astype(np.float64) / total
        vector = fits @ self.asked.astype(np.float64) - self.asked.mean(axis=0, dtype=np.float64)
        vector[-1] = 0.0
        spread = float(np.sqrt(vector**2 @ self.variance))
        if spread == 0:
            return None
        target = float(np.sign(signed.sum())) * 1.5 * spread
        return Observation(vector, target, sure * 4 / spread**2, None, thread, ref)

    def save(self, path: Path) -> None:
        """As safetensors, how it was made in the header."""
        from safetensors.numpy import save_file

        tensors: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _TENSORS}
        save_file(tensors, path, {"version": _VERSION, "info": self.info.model_dump_json()})


def load_space(path: Path) -> ItemSpace:
    """What :meth:`ItemSpace.save` wrote.

    Raises:
        UserError: the file is missing, damaged or of another version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata() or {}
            if header.get("version") != _VERSION:
                raise UserError(f"{path} is of another version of llm4rec: build the workspace again")
            info = SpaceInfo.model_validate_json(header["info"])
            return ItemSpace(**{name: file.get_tensor(name) for name in _TENSORS}, info=info)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: build the workspace again") from None
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): build the workspace again") from None


def fit_space(
    log: Log,
    catalogue: Catalogue | None = None,
    views: Mapping[str, NDArray[np.float32]] | None = None,
    config: SpaceConfig = SpaceConfig(),
    *,
    like: SpaceInfo | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> ItemSpace:
    """Learn noise, drift and views on validation users of a log, then fit the space on all of it.

    Args:
        log: the interactions.
        catalogue: of its items, for the attributes. views: (n_items, f) by name, unit rows or zero rows.
        config: see :class:`SpaceConfig`.
        like: a space of an earlier state of the log, whose noise, drift and views are taken over; None: they are
            learned, which takes most of the time.
        seed: of the validation users and of the hidden items.
        progress: told of the steps.
    """
    features = item_features(log.n_items, catalogue, views or {}, seed=seed)
    window = _window(log, config.window)
    if like is None:
        chosen = _searched(log, features, window, config, seed, progress)
    else:
        chosen = Chosen(like.noise, like.keep, like.shrink, like.views, like.learned_on, like.ndcg)
    progress("fitting the item space", 0)
    faces = fit_faces(log, config.d, window, seed=seed)
    content = fit_content(faces, log.counts, features, chosen.views)
    return _put_together(log, faces, content, window, chosen)


def _window(log: Log, most: int) -> int:
    lengths = log.lengths[log.lengths > 0]
    return max(1, min(most, int(np.median(lengths)) // 2)) if len(lengths) else 1


def _searched(
    log: Log,
    features: Mapping[str, NDArray[np.float32]],
    window: int,
    config: SpaceConfig,
    seed: int,
    progress: Progress,
) -> Chosen:
    """What ranks best for users that were not fitted on; the defaults where there are too few."""
    default = Chosen(config.noises[0], config.keeps[0], config.shrinks[0], dict.fromkeys(features, config.views[0]))
    able = np.flatnonzero(log.lengths > window)
    asked = min(config.users, round(config.share * len(able)))
    if asked < config.least:
        return default
    progress("weighing the item space", 0)
    rng = np.random.default_rng(seed)
    users = np.sort(rng.choice(able, asked, replace=False))
    held = np.zeros(log.n_users, dtype=np.bool_)
    held[users] = True
    hidden = rng.random(log.n_items) < config.hidden
    inner = log.keep(~held[log.users] & ~hidden[log.items])
    faces = fit_faces(inner, config.d, window, seed=seed)
    return search(log, users, hidden, faces, inner.counts, features, window, config, default)


def _put_together(log: Log, faces: Faces, content: Content | None, window: int, chosen: Chosen) -> ItemSpace:
    said, asked, later = blended(faces, content, log.counts, chosen.shrink)
    mean, variance = prior_of(faces)
    return ItemSpace(
        said=with_popularity(said, faces.share),
        asked=with_popularity(asked, later),
        noise=faces.noise(chosen.noise).astype(np.float32),
        mean=mean,
        variance=variance,
        info=SpaceInfo(
            n_users=faces.n_users,
            interactions=len(log),
            window=window,
            noise=chosen.noise,
            keep=chosen.keep,
            shrink=chosen.shrink,
            views=dict(chosen.views),
            learned_on=chosen.learned_on,
            ndcg=chosen.ndcg,
        ),
    )

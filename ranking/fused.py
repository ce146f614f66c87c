"""One model made of several: what each says of an item, weighed by how much is known of the user and of the item.

For a user u and an item i, with x_v the score of part v brought to one scale,

    score(u, i) = sum_v (w_v + a_v f(u) + b_v . g(i)) x_v(u, i) + c . g(i),

where f(u) is the logarithm of the length of the past, standardised, and g(i) = (the logarithm of the number of the
item's interactions, standardised; 1 where there are none): the *gates* by which a cold user or a cold item is left to
content and a warm one to behaviour. x_v is the part's score less its mean over the items that the user does not know
yet, over its standard deviation there.

The weights are learned: the latest events of every user are held out, some items are hidden altogether, so that there
are cold ones to learn from (in the manner of DropoutNet, Volkovs, Yu & Poutanen 2017), the parts are fitted on the
rest, and the weights make what came next most likely among the items the user did not know (a conditional logit,
McFadden 1974: convex, so that there is one answer; in a large catalogue the items that no part puts forward are
sampled, each counting for those it stands for). Then the parts are fitted again on everything; the transformer, which
takes by far the longest, goes on from where it was (see :mod:`.sequence_once`), and the posterior's space is made with
the noise, the drift and the views that were chosen on the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..catalog.items import Catalogue
from ..catalog.readers.raw import Progress, no_progress
from ..errors import UserError
from ._choice import Choice
from ._scale import Seen, add_on_one_scale, on_one_scale
from .base import Model
from .fused_limits import FIXED, Limits, for_transitions, left_out, sequence_config
from .log import Log, Pasts
from .outcome import OutcomeSlope, outcome_slope
from .sequence import SequenceModel
from .sequence_once import AGAIN, Blind, fit_once

if TYPE_CHECKING:
    from .posterior_ranker import PosteriorRanker
    from .space import SpaceInfo

#: Pasts compared at a time.
_COMPARED = 256
#: Scores made at a time by each part, as far as there are pasts for it, and most pasts.
_SCORED, _MOST_PASTS = 1 << 21, 1024


@dataclass(frozen=True, slots=True)
class FusedConfig:
    """What is fused, and how the weights are learned.

    The ridge and the scale of the parts were looked at on the validation part of MovieLens 100K, never on its test.
    There three parts (popularity, transitions, sequence) did as well as the seven before the posterior; the others are
    kept for cold users and items and for other data. The posterior, added to the six other than the transformer, raised
    NDCG@10 there by 5 %. ``holdout``, ``queries``, ``pool`` and ``hidden`` are choices that nothing was tried
    against.
    """

    parts: tuple[str, ...] = ("popularity", "transitions", "ease", "graph", "sequence", "text", "image", "posterior")
    """Names of :data:`PARTS`. Those that need a catalogue or a view are left out where there is none."""

    holdout: int = 5
    """Latest events of a user that the weights are learned on, at most; and at most a fifth of the user's, or one."""

    queries: int = 4000
    """Events the weights are learned on, at most."""

    whole: int = 2500
    """Items of the catalogue up to which all of them are compared with what came next."""

    pool: int = 100
    """In a larger one: the best items of each part that are compared, and three times as many drawn from the rest."""

    hidden: float = 0.1
    """Share of the items hidden while the weights are learned, in [0, 1)."""

    short: float = 0.25
    """Share of the events whose past is cut to its latest few, down to none, while the weights are learned, so that
    they hold for those of whom little is known. With 0 the list of a new user is worse than popularity on the
    validation part of MovieLens 100K."""

    ridge: float = 1e-2
    """What a squared weight costs, against the mean log-likelihood of an event."""

    limits: Limits = field(default_factory=Limits)
    """What is left out, or fitted on less, where a log is tiny or huge."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.parts if name not in PARTS]
        if unknown or not self.parts:
            raise ValueError(f"no part {unknown[:1]}: choose among {', '.join(PARTS)}")
        if min(self.holdout, self.queries, self.pool) < 1 or not (self.ridge > 0 and 0 <= self.hidden < 1):
            raise ValueError("holdout, queries and pool are at least 1, ridge is positive, hidden lies in [0, 1)")
        if not 0 <= self.short <= 1:
            raise ValueError("short lies in [0, 1]")


@dataclass(frozen=True, eq=False)
class Inputs:
    """What parts are fitted on.

    Attributes:
        log: the interactions.
        catalogue: the items; None where nothing is known of them.
        views: (n_items, d) float32 by name, unit rows or zero rows.
        seed: of everything random.
        progress: told how far it is.
        limits: of time and memory.
        start: a transformer trained on an earlier state of the log, to go on from.
        weighed: how a space of an earlier state of the log was made, to make the posterior's like it.
        kept: folder of transformers trained before on the same log in the same way; None trains always.
    """

    log: Log
    catalogue: Catalogue | None = None
    views: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    seed: int = 0
    progress: Progress = no_progress
    limits: Limits = field(default_factory=Limits)
    start: SequenceModel | None = None
    weighed: SpaceInfo | None = None
    kept: Path | None = None


def _popularity(inputs: Inputs) -> Model:
    from .popularity import fit_popularity

    return fit_popularity(inputs.log)


def _transitions(inputs: Inputs) -> Model:
    from .transitions import fit_transitions

    log = for_transitions(inputs.log, inputs.limits, seed=inputs.seed)
    return fit_transitions(log, seed=inputs.seed, progress=inputs.progress)


def _ease(inputs: Inputs) -> Model:
    from .ease import fit_ease_model

    return fit_ease_model(inputs.log, seed=inputs.seed, progress=inputs.progress)


def _als(inputs: Inputs) -> Model:
    from .als import AlsConfig, fit_als

    config = AlsConfig(factors=32, alpha=2.0, regularization=10.0, tau=15.0)
    return fit_als(inputs.log, config, seed=inputs.seed, progress=inputs.progress)


def _itemknn(inputs: Inputs) -> Model:
    from .itemknn import ItemKnnConfig, fit_itemknn

    return fit_itemknn(inputs.log, ItemKnnConfig(k=20, tau=5.0), progress=inputs.progress)


def _graph(inputs: Inputs) -> Model:
    from .graph import fit_graph

    assert inputs.catalogue is not None
    return fit_graph(inputs.log, inputs.catalogue, progress=inputs.progress)


def _sequence(inputs: Inputs) -> SequenceModel:
    config = sequence_config(len(inputs.log), inputs.limits)
    if inputs.start is not None:
        config = replace(config, epochs=max(1, round(AGAIN * config.epochs)))
    return fit_once(
        inputs.log, config, seed=inputs.seed, start=inputs.start, kept=inputs.kept, progress=inputs.progress
    )


def _text(inputs: Inputs) -> Model:
    from .content import ContentRanker

    return ContentRanker("text", inputs.views["text"], inputs.log.n_items)


def _image(inputs: Inputs) -> Model:
    from .content import ContentRanker

    return ContentRanker("image", inputs.views["image"], inputs.log.n_items)


def _posterior(inputs: Inputs) -> PosteriorRanker:
    from .posterior_ranker import PosteriorRanker
    from .space import fit_space

    space = fit_space(
        inputs.log, inputs.catalogue, inputs.views, like=inputs.weighed, seed=inputs.seed, progress=inputs.progress
    )
    return PosteriorRanker(space, popular=False)


def _weighed(model: Model) -> SpaceInfo | None:
    """How the space of a posterior was made: what it is weighed by on most of the log holds for all of it."""
    from .posterior_ranker import PosteriorRanker

    return model.space.info if isinstance(model, PosteriorRanker) else None


#: How each part is fitted.
PARTS: Mapping[str, Callable[[Inputs], Model]] = {
    "popularity": _popularity,
    "transitions": _transitions,
    "ease": _ease,
    "als": _als,
    "itemknn": _itemknn,
    "graph": _graph,
    "sequence": _sequence,
    "text": _text,
    "image": _image,
    "posterior": _posterior,
}


@dataclass(frozen=True, eq=False)
class Weights:
    """What was learned.

    Attributes:
        parts: names, in the order of the arrays.
        plain, by_user: (p,) float64: w and a.
        by_item: (2, p) float64: b. items: (2,) float64: c.
        user_scale, item_scale: mean and standard deviation of log(1 + length) and of log(1 + count).
        queries: events they were learned on; 0 where they are :data:`.fused_limits.FIXED`.
        outcome: what a unit of the score is worth in ratings; None where that cannot be told.
    """

    parts: tuple[str, ...]
    plain: NDArray[np.float64]
    by_user: NDArray[np.float64]
    by_item: NDArray[np.float64]
    items: NDArray[np.float64]
    user_scale: tuple[float, float]
    item_scale: tuple[float, float]
    queries: int
    outcome: OutcomeSlope | None = None

    def gates(
        self, lengths: NDArray[np.integer], counts: NDArray[np.integer]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """What parts are multiplied by, for pasts of some ``lengths`` (b,) and items with some ``counts`` (n,).

        Returns:
            (b, p): w + a f. (n, p): b . g. (n,): c . g, which is added. All float32.
        """
        users = _standard(np.log1p(lengths), self.user_scale)[:, None].astype(np.float32)
        items = _item_gates(counts, self.item_scale)
        by_user = self.plain.astype(np.float32) + self.by_user.astype(np.float32) * users
        return by_user, items @ self.by_item.astype(np.float32), items @ self.items.astype(np.float32)


@dataclass(frozen=True, eq=False)
class FusedModel:
    """Fitted parts and their weights.

    Attributes:
        models: by name, in the order of the weights.
        weights: as learned.
        counts: (n_items,) interactions of each item in the log the parts were fitted on.
        left_out: parts that were asked for and are not there, and why.
    """

    models: Mapping[str, Model]
    weights: Weights
    counts: NDArray[np.int64]
    left_out: Mapping[str, str] = field(default_factory=dict)

    name = "fused"

    @property
    def figures(self) -> Mapping[str, float]:
        """What a replay tells of it."""
        sequence = self.models.get("sequence")
        return sequence.figures if isinstance(sequence, SequenceModel) else {}

    @property
    def n_items(self) -> int:
        return len(self.counts)

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        """Shape (len(pasts), n_items) float32, finite."""
        scores = np.empty((len(pasts), self.n_items), dtype=np.float32)
        step = max(1, min(_MOST_PASTS, _SCORED // max(self.n_items, 1)))
        for start in range(0, len(pasts), step):
            part = pasts.part(start, min(start + step, len(pasts)))
            self._score(part, scores[start : start + len(part)])
        return scores

    def _score(self, pasts: Pasts, total: NDArray[np.float32]) -> None:
        """Into ``total``, (len(pasts), n_items)."""
        by_user, by_item, of_items = self.weights.gates(pasts.lengths, self.counts)
        seen = Seen.of(pasts.seen())
        total[:] = of_items
        for at, model in enumerate(self.models.values()):
            add_on_one_scale(total, model.score_many(pasts), seen, by_user[:, at], by_item[:, at])


def fit_fused(
    log: Log,
    catalogue: Catalogue | None = None,
    views: Mapping[str, NDArray[np.float32]] | None = None,
    config: FusedConfig = FusedConfig(),
    *,
    seed: int = 0,
    kept: Path | None = None,
    progress: Progress = no_progress,
) -> FusedModel:
    """Learn the weights on the latest events of a log, then fit the parts on all of it.

    Args:
        log: the interactions.
        catalogue: for the parts that read attributes.
        views: content views by name, (n_items, d) float32.
        config: what is fused.
        seed: of the parts that draw, of the queries, and of the items compared.
        kept: folder of transformers trained before, so that two fits that share one train it once.
        progress: told how far it is.

    Raises:
        UserError: every part is left out.
    """
    held = held_out(log, config.holdout)
    everything = Inputs(log, catalogue, views or {}, seed, progress, config.limits, kept=kept)
    without = left_out(config.parts, everything, int(held.sum()))
    names = tuple(name for name in config.parts if name not in without)
    if not names:
        raise UserError("no part of the ranker is left: " + "; ".join(f"{n}: {why}" for n, why in without.items()))
    if held.sum() < config.limits.least:
        weights = fixed_weights(names)
    else:
        hidden = np.random.default_rng(seed).random(log.n_items) < config.hidden
        rest = log.keep(~held)
        inner = rest.keep(~hidden[rest.items])
        models = _fitted([name for name in names if name != "sequence"], replace(everything, log=inner))
        if "sequence" in names:
            # Trained on the hidden items too and kept from them, so that it can be gone on with.
            start = _sequence(replace(everything, log=rest))
            models["sequence"] = Blind(start, hidden)
            everything = replace(everything, start=start)
        if "posterior" in names:
            everything = replace(everything, weighed=_weighed(models["posterior"]))
        progress("learning how the parts go together", 0)
        weights = learn(log, held, inner.counts, {name: models[name] for name in names}, config, seed=seed)
    return FusedModel(_fitted(names, everything), weights, log.counts, without)


def fixed_weights(names: Sequence[str]) -> Weights:
    """:data:`.fused_limits.FIXED`, the same for all users and items: where too little is known to learn weights."""
    p = len(names)
    plain = np.array([FIXED[name] for name in names])
    return Weights(tuple(names), plain, np.zeros(p), np.zeros((2, p)), np.zeros(2), (0.0, 1.0), (0.0, 1.0), 0)


def held_out(log: Log, most: int) -> NDArray[np.bool_]:
    """(n,): each user's latest events: ``most`` and a fifth of the user's at most, one at least where there are two."""
    held = np.minimum(most, np.maximum(log.lengths // 5, 1)) * (log.lengths >= 2)
    position = np.arange(len(log)) - np.repeat(log.offsets[:-1], log.lengths)
    mask: NDArray[np.bool_] = position >= np.repeat(log.lengths - held, log.lengths)
    return mask


def learn(
    log: Log,
    held: NDArray[np.bool_],
    counts: NDArray[np.int64],
    models: Mapping[str, Model],
    config: FusedConfig,
    *,
    seed: int,
) -> Weights:
    """The weights under which the held-out events are most likely.

    Args:
        log: the whole log. held: (n,) which of its events ``models`` have not seen.
        counts: (n_items,) interactions of each item in what they have seen.
    """
    rng = np.random.default_rng(seed)
    events = np.flatnonzero(held)
    if len(events) > config.queries:
        events = np.sort(rng.choice(events, config.queries, replace=False))
    users = log.users[events].astype(np.int64)
    known = events - log.offsets[users]
    met = log.pasts(users, known=known)
    # Of some, only the latest are told: as many as leave all orders of magnitude alike, none included.
    few = np.floor(np.exp(rng.random(len(known)) * np.log1p(known))).astype(np.int64) - 1
    pasts = log.pasts(users, known=known, most=np.where(rng.random(len(known)) < config.short, few, known))
    users_known = np.log1p(pasts.lengths)
    user_scale, item_scale = _scale(users_known), _scale(np.log1p(counts))
    compared = _comparisons(pasts, met, log.items[events].astype(np.int64), models, config, rng)
    choice = Choice(
        compared.features,
        _standard(users_known, user_scale).astype(np.float32),
        _item_gates(counts, item_scale)[compared.rows],
        compared.stands_for,
        compared.targets,
        config.ridge,
    )
    plain, by_user, by_item, items = choice.fit()
    weights = Weights(tuple(models), plain, by_user, by_item, items, user_scale, item_scale, len(events))
    # Only where all was told that is known of the user and the item, as it will be in use.
    told = (pasts.lengths == known) & (counts[log.items[events]] > 0)
    scores = np.where(told, _standing(compared, weights, pasts.lengths, counts), np.nan)
    return replace(weights, outcome=outcome_slope(scores, log.values[events], users))


@dataclass(frozen=True, eq=False)
class _Compared:
    """What is compared for each query, padded to one width.

    Attributes:
        rows: (q, c), 0 where padded. features: (q, c, p) float32. stands_for: (q, c) float32.
        targets: (q,) places of what was chosen.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    stands_for: NDArray[np.float32]
    targets: NDArray[np.int64]


def _comparisons(
    pasts: Pasts,
    met: Pasts,
    targets: NDArray[np.int64],
    models: Mapping[str, Model],
    config: FusedConfig,
    rng: np.random.Generator,
) -> _Compared:
    """What came next beside what might have: nothing that was ``met`` before, told in the past or not."""
    width = pasts.n_items if pasts.n_items <= config.whole else (len(models) + 3) * config.pool + 1
    shape = (len(pasts), width)
    compared = _Compared(
        rows=np.zeros(shape, dtype=np.int64),
        features=np.zeros((*shape, len(models)), dtype=np.float32),
        stands_for=np.zeros(shape, dtype=np.float32),
        targets=np.zeros(len(pasts), dtype=np.int64),
    )
    for start in range(0, len(pasts), _COMPARED):
        part = pasts.part(start, min(start + _COMPARED, len(pasts)))
        told = part.seen().toarray()
        seen = met.part(start, start + len(part)).seen().toarray()
        values = [on_one_scale(model.score_many(part), told) for model in models.values()]
        for at in range(len(part)):
            query, target = start + at, int(targets[start + at])
            found, stands_for = _put_forward([value[at] for value in values], seen[at], target, config, rng)
            compared.rows[query, : len(found)] = found
            compared.stands_for[query, : len(found)] = stands_for
            compared.features[query, : len(found)] = np.stack([value[at, found] for value in values], axis=1)
            compared.targets[query] = int(np.flatnonzero(found == target)[0])
    return compared


def _standing(
    compared: _Compared, weights: Weights, lengths: NDArray[np.integer], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(q,): the score of what was chosen, less the mean score of all that was compared with it."""
    by_user, by_item, of_items = weights.gates(lengths, counts)
    found = np.empty(len(compared.targets))
    for at, (features, rows) in enumerate(zip(compared.features, compared.rows, strict=True)):
        scores = np.einsum("cp,cp->c", features, by_user[at] + by_item[rows]) + of_items[rows]
        mean = np.average(scores.astype(np.float64), weights=compared.stands_for[at])
        found[at] = scores[compared.targets[at]] - mean
    return found


def _put_forward(
    values: Sequence[NDArray[np.float32]],
    seen: NDArray[np.bool_],
    target: int,
    config: FusedConfig,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The rows compared for one query, none of them seen, and how many items each stands for."""
    unseen = np.flatnonzero(~seen)
    if len(seen) <= config.whole:
        return unseen, np.ones(len(unseen), dtype=np.float32)
    best = [np.argpartition(np.where(seen, -np.inf, value), -config.pool)[-config.pool :] for value in values]
    forward = np.unique(np.concatenate([[target], *best]))
    forward = forward[~seen[forward]]
    rest = np.setdiff1d(unseen, forward, assume_unique=True)
    drawn = rng.choice(rest, min(len(rest), 3 * config.pool), replace=False)
    share = len(rest) / max(len(drawn), 1)
    stands_for = np.concatenate([np.ones(len(forward)), np.full(len(drawn), share)]).astype(np.float32)
    return np.concatenate([forward, drawn]), stands_for


def _fitted(names: Sequence[str], inputs: Inputs) -> dict[str, Model]:
    return {name: PARTS[name](inputs) for name in names}


def _item_gates(counts: NDArray[np.integer], scale: tuple[float, float]) -> NDArray[np.float32]:
    """(n_items, 2): g."""
    return np.stack([_standard(np.log1p(counts), scale), counts == 0], axis=1).astype(np.float32)


def _scale(values: NDArray[np.floating]) -> tuple[float, float]:
    return float(values.mean()), max(float(values.std()), 1e-6)


def _standard(values: NDArray[np.floating], scale: tuple[float, float]) -> NDArray[np.floating]:
    return (values - scale[0]) / scale[1]

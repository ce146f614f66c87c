"""What can be replayed: policies by name, mixtures of them, and the fused model without one of its parts.

A policy is a name and a way to fit a model on a train log. ``pop``, ``ease`` and the others of :data:`NAMES` are looked
up when they are asked for, so that a name costs no import of what is not used. ``ease:0.7+pop:0.3`` is a *mixture*: the
weighted sum of its parts' scores, each brought to mean 0 and standard deviation 1 over the items of a query.
``fused-without-text`` is the fused model learned and fitted without that part, for an ablation. ``fused-filtered`` is a
policy that lists what meets the request before all else, and ``agent`` the whole conversation (:mod:`.agent`).
``lists:FILE`` replays what another program listed (:mod:`.outside`). Behind a policy ``@debias=0.3`` takes popularity
off its scores, ``@diverse=0.4`` and ``@calibrated=0.2`` choose its lists anew (:mod:`.reranking`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..catalog.items import Catalogue
from ..catalog.readers.raw import Progress, no_progress
from ..errors import UserError
from ..ranking.base import Model
from ..ranking.log import Log, Pasts

if TYPE_CHECKING:
    from ..catalog.workspace import Build
    from ..ranking.als import AlsConfig
    from ..ranking.bpr import BprConfig
    from ..ranking.ease import EaseConfig
    from ..ranking.fused import FusedConfig
    from ..ranking.graph import GraphConfig
    from ..ranking.itemknn import ItemKnnConfig
    from ..ranking.sequence import SequenceConfig
    from ..ranking.space import SpaceConfig
    from ..ranking.transitions import TransitionsConfig
    from .folds import Fold


@dataclass(frozen=True, eq=False)
class PolicyInputs:
    """What a policy may be fitted on.

    Attributes:
        train: the log, of which nothing is held out any more.
        catalogue: the items; None where the data have nothing but ratings.
        views: name of a view to (n_items, d) float32, unit rows or zero rows (an item without that view).
        seed: of everything random.
        progress: told how far the fit is.
        build: what catalogue and views are from, for a policy that opens them itself. Its log holds what is held out.
        work: folder for what a policy wants to keep while it answers and to find again when the run is resumed. It
            belongs to this policy, seed and train log, whoever is asked about; it may not be there yet. None: nothing
            is kept.
        kept: folder that all policies of the run share, of models that take long to train; None: nothing is kept.
    """

    train: Log
    catalogue: Catalogue | None = None
    views: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    seed: int = 0
    progress: Progress = no_progress
    build: Build | None = None
    work: Path | None = None
    kept: Path | None = None


@runtime_checkable
class Lister(Protocol):
    """A fitted policy that answers queries with lists of its own making and gives no scores: a conversation."""

    @property
    def name(self) -> str: ...

    def lists(self, fold: Fold, k: int) -> NDArray[np.int64]:
        """Shape (len(fold), k): rows that may be ranked, best first, each once; -1 where a list has fewer."""
        ...


Fit = Callable[[PolicyInputs], Model | Lister]

#: Begins the name of an ablation.
_WITHOUT = "fused-without-"
#: Ends the name of a policy that is told by an oracle what the requests name.
_FILTERED = "-filtered"
#: The policy that is the whole conversation.
AGENT = "agent"
#: Begins the name of a file of lists that another program made.
_LISTS = "lists:"


@dataclass(frozen=True)
class Policy:
    """A way to get a model.

    A model may have ``figures``, a mapping of names to numbers that it tells of itself (tokens used, seconds a turn).
    They are read when it has answered everything, and go into the result.

    Attributes:
        name: unique within a replay; in tables and files.
        fit: gives the fitted model. For worker processes it must be picklable: a function of a module, or a partial of
            one.
        random: its figures depend on the seed, so that it is fitted once for each of several.
        config: everything that decides its figures besides data and seed. Cells are kept under it.
        about: one line for the report.
        combined: made of other policies.
        hears: its answers depend on the requests of a fold.
        filtered: it lists what meets the request before all else; an oracle tells it what the request names.
        logits: its scores are logits: 1 more makes an item e times as likely to come next.
    """

    name: str
    fit: Fit
    random: bool = False
    config: str = ""
    about: str = ""
    combined: bool = False
    hears: bool = False
    filtered: bool = False
    logits: bool = False


def policy_named(name: str, *, llm: str | None = None) -> Policy:
    """The policy of a name or of a mixture (``ease:0.7+pop:0.3``; a part without a weight has 1).

    Args:
        name: of :data:`NAMES`; one with ``-filtered`` behind it; a mixture; either with dials (``@diverse=0.4``)
            behind it; or ``lists:`` and a file.
        llm: language model of the agent, as for :class:`..agent.recommender.Recommender`.

    Raises:
        UserError: no such policy, or a weight is no number. Lists the names.
    """
    text = name.strip()
    if text.startswith(_LISTS):
        from .outside import lists_policy

        return lists_policy(Path(text.removeprefix(_LISTS)))
    if "@" in text:
        from .reranking import reranked

        base, _, dials = text.partition("@")
        return reranked(policy_named(base, llm=llm), dials)
    if "+" not in text and ":" not in text:
        return _single(text, llm)
    weighed = [_part(part.strip(), text) for part in text.split("+")]
    parts = [_single(part) for part, _ in weighed]
    for part in parts:
        if part.hears:
            raise UserError(f"{part.name!r} has no scores to add up: it cannot be part of the mixture {text!r}")
    return Policy(
        name=text,
        fit=partial(
            _fit_mixture, text, tuple((part.fit, weight) for part, (_, weight) in zip(parts, weighed, strict=True))
        ),
        random=any(part.random for part in parts),
        config=repr([(part.name, part.config, weight) for part, (_, weight) in zip(parts, weighed, strict=True)]),
        about="z-scores, weighed: " + ", ".join(f"{weight:g} {part}" for part, weight in weighed),
        combined=True,
    )


def policies_named(names: str | Sequence[str], *, llm: str | None = None) -> list[Policy]:
    """Policies by their names, separated by commas; ``llm`` as for :func:`policy_named`.

    Raises:
        UserError: as for :func:`policy_named`; none is named, or one twice.
    """
    asked = [one.strip() for one in (names.split(",") if isinstance(names, str) else names)]
    asked = [one for one in asked if one]
    if not asked:
        raise UserError(f"no policy is named: choose among {', '.join(NAMES)}")
    twice = sorted({one for one in asked if asked.count(one) > 1})
    if twice:
        raise UserError(f"the policy {twice[0]!r} is named twice")
    return [policy_named(one, llm=llm) for one in asked]


def _part(text: str, whole: str) -> tuple[str, float]:
    name, _, weight = text.partition(":")
    try:
        number = float(weight) if weight else 1.0
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not name or text.endswith(":"):
        raise UserError(f"{text!r} in the mixture {whole!r} is no part: write it as ease:0.7")
    return name.strip(), number


def ablations() -> tuple[str, ...]:
    """Names of the fused model without each of its parts in turn."""
    from ..ranking.fused import FusedConfig

    return tuple(_WITHOUT + part for part in FusedConfig().parts)


def _single(name: str, llm: str | None = None) -> Policy:
    if name == AGENT:
        from .agent import agent_policy

        return agent_policy(llm)
    if name.endswith(_FILTERED):
        return _filtered(name)
    if name.startswith(_WITHOUT):
        return _fused_without(name)
    make = _MAKERS.get(name)
    if make is None:
        others = "mixtures such as ease:0.7+pop:0.3, and lists:FILE"
        raise UserError(f"no policy {name[:40]!r}: there are {', '.join(NAMES)}, {others}")
    return make()


def _filtered(name: str) -> Policy:
    ranker = _single(name.removesuffix(_FILTERED))
    if ranker.hears:
        raise UserError(f"no policy {name[:40]!r}: {ranker.name!r} hears the request itself")
    about = f"{ranker.name}, what the request names first (read by an oracle)"
    return replace(ranker, name=name, about=about, combined=True, hears=True, filtered=True)


# Mixtures and chance


class Mixture:
    """The weighted sum of models' z-scores.

    Args:
        name: of the mixture.
        parts: models of the same items, with their weights.
    """

    def __init__(self, name: str, parts: Sequence[tuple[Model, float]]) -> None:
        self.name = name
        self.parts = tuple(parts)
        self.n_items = parts[0][0].n_items

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        """Shape (b, n_items). A part whose scores are all alike for a query adds 0; what is no number stays so."""
        total = np.zeros((len(pasts), self.n_items))
        for model, weight in self.parts:
            scores = model.score_many(pasts).astype(np.float64)
            # Scores that are alike up to rounding say nothing: dividing by their spread would make noise of them.
            rounding = 1e-7 * np.abs(scores).max(axis=1, keepdims=True, initial=0.0)
            scores -= scores.mean(axis=1, keepdims=True)
            spread = scores.std(axis=1, keepdims=True)
            alike = spread <= rounding
            total += weight * np.divide(scores, spread, out=np.where(np.isnan(scores), np.nan, 0.0), where=~alike)
        return total.astype(np.float32)


class Chance:
    """Scores drawn at random, the same for the same past and seed whoever else is asked about."""

    name = "random"

    def __init__(self, n_items: int, seed: int) -> None:
        self.n_items = n_items
        self.seed = seed

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        scores = np.empty((len(pasts), self.n_items), dtype=np.float32)
        for at in range(len(pasts)):
            rows = pasts.rows[pasts.offsets[at] : pasts.offsets[at + 1]]
            scores[at] = np.random.default_rng([self.seed, len(rows), *rows.tolist()]).random(
                self.n_items, dtype=np.float32
            )
        return scores


def _fit_mixture(name: str, parts: Sequence[tuple[Fit, float]], inputs: PolicyInputs) -> Model:
    return Mixture(name, [(scoring(fit(inputs)), weight) for fit, weight in parts])


def scoring(model: Model | Lister) -> Model:
    """A model as it is.

    Raises:
        UserError: it makes lists of its own.
    """
    if isinstance(model, Lister):
        raise UserError(f"{model.name!r} has no scores to add up")
    return model


def _random() -> Policy:
    return Policy("random", _fit_random, random=True, about="chance")


def _fit_random(inputs: PolicyInputs) -> Model:
    return Chance(inputs.train.n_items, inputs.seed)


# The models of `ranking`. Each maker imports what it needs and no more.


def _pop() -> Policy:
    return Policy("pop", _fit_pop, about="how many users of the train log chose the item")


def _fit_pop(inputs: PolicyInputs) -> Model:
    from ..ranking.popularity import fit_popularity

    return fit_popularity(inputs.train)


def _itemknn() -> Policy:
    from ..ranking.itemknn import ItemKnnConfig

    config = ItemKnnConfig()
    about = f"item-kNN, cosine, {config.k} neighbours"
    return Policy("itemknn", partial(_fit_itemknn, config), config=repr(config), about=about)


def _fit_itemknn(config: ItemKnnConfig, inputs: PolicyInputs) -> Model:
    from ..ranking.itemknn import fit_itemknn

    return fit_itemknn(inputs.train, config, progress=inputs.progress)


def _ease() -> Policy:
    from ..ranking.ease import EaseConfig

    config = EaseConfig(regularization=100.0, tau=math.inf)
    about = f"EASE as published, lambda {config.regularization:g}"
    return Policy("ease", partial(_fit_ease, config), config=repr(config), about=about)


def _ease_recency() -> Policy:
    from ..ranking.ease import EaseConfig

    config = EaseConfig()
    about = f"EASE, lambda {config.regularization:g}, histories weighed by exp(-age / {config.tau:g})"
    return Policy("ease-recency", partial(_fit_ease, config), config=repr(config), about=about)


def _fit_ease(config: EaseConfig, inputs: PolicyInputs) -> Model:
    from ..ranking.ease import fit_ease_model

    return fit_ease_model(inputs.train, config, seed=inputs.seed, progress=inputs.progress)


def _als() -> Policy:
    from ..ranking.als import AlsConfig

    config = AlsConfig()
    about = f"implicit ALS, {config.factors} factors"
    return Policy("als", partial(_fit_als, config), random=True, config=repr(config), about=about)


def _fit_als(config: AlsConfig, inputs: PolicyInputs) -> Model:
    from ..ranking.als import fit_als

    return fit_als(inputs.train, config, seed=inputs.seed, progress=inputs.progress)


def _bpr() -> Policy:
    from ..ranking.bpr import BprConfig

    config = BprConfig()
    about = f"implicit BPR, {config.factors} factors, {config.iterations} epochs"
    return Policy("bpr", partial(_fit_bpr, config), random=True, config=repr(config), about=about)


def _fit_bpr(config: BprConfig, inputs: PolicyInputs) -> Model:
    from ..ranking.bpr import fit_bpr

    return fit_bpr(inputs.train, config, seed=inputs.seed, progress=inputs.progress)


def _seq() -> Policy:
    from ..ranking.sequence import SequenceConfig

    config = SequenceConfig()
    about = f"transformer over the events in order, {config.layers} layers of {config.width}, {config.epochs} epochs"
    return Policy("seq", partial(_fit_seq, config), random=True, config=repr(config), about=about, logits=True)


def _fit_seq(config: SequenceConfig, inputs: PolicyInputs) -> Model:
    from ..ranking.fused_limits import Limits, sequence_config
    from ..ranking.sequence_once import fit_once

    # Of a long log each event is seen less often, as where the model is a part of ``fused``.
    config = replace(config, epochs=min(config.epochs, sequence_config(len(inputs.train), Limits()).epochs))
    return fit_once(inputs.train, config, seed=inputs.seed, start=None, kept=inputs.kept, progress=inputs.progress)


def _graph() -> Policy:
    from ..ranking.graph import GraphConfig

    config = GraphConfig()
    about = "personalised PageRank over users, items and attributes"
    return Policy("graph", partial(_fit_graph, config), config=repr(config), about=about)


def _fit_graph(config: GraphConfig, inputs: PolicyInputs) -> Model:
    from ..ranking.graph import fit_graph

    return fit_graph(inputs.train, _catalogue(inputs, "graph"), config, progress=inputs.progress)


def _text() -> Policy:
    return Policy("text", partial(_fit_view, "text"), about="likeness to the history in the text view")


def _image() -> Policy:
    return Policy("image", partial(_fit_view, "image"), about="likeness to the history in the image view")


def _fit_view(view: str, inputs: PolicyInputs) -> Model:
    from ..ranking.content import ContentRanker

    if view not in inputs.views:
        raise UserError(f"the policy {view!r} needs the {view} view of the items, and there is none")
    return ContentRanker(view, inputs.views[view], inputs.train.n_items)


def _content() -> Policy:
    from ..ranking.fused_limits import FIXED

    weights = {"text": FIXED["text"], "image": FIXED["image"]}
    about = "likeness in the text and image views, z-scores weighed " + ":".join(f"{w:g}" for w in weights.values())
    return Policy("content", partial(_fit_content, weights), config=repr(weights), about=about)


def _fit_content(weights: Mapping[str, float], inputs: PolicyInputs) -> Model:
    there = {view: weight for view, weight in weights.items() if view in inputs.views}
    if not there:
        raise UserError("the policy 'content' needs the text or the image view of the items, and there is neither")
    return Mixture("content", [(_fit_view(view, inputs), weight) for view, weight in there.items()])


def _transitions() -> Policy:
    from ..ranking.transitions import TransitionsConfig

    config = TransitionsConfig()
    about = "linear model of what follows what"
    return Policy("transitions", partial(_fit_transitions, config), config=repr(config), about=about)


def _fit_transitions(config: TransitionsConfig, inputs: PolicyInputs) -> Model:
    from ..ranking.transitions import fit_transitions

    return fit_transitions(inputs.train, config, seed=inputs.seed, progress=inputs.progress)


def _fused() -> Policy:
    from ..ranking.fused import FusedConfig

    config = FusedConfig()
    return _fused_of("fused", config, "weights learned on each user's latest events: " + ", ".join(config.parts))


def _fused_without(name: str) -> Policy:
    from ..ranking.fused import FusedConfig

    parts = FusedConfig().parts
    part = name.removeprefix(_WITHOUT)
    if part not in parts:
        raise UserError(f"no policy {name[:40]!r}: the parts of 'fused' are {', '.join(parts)}")
    return _fused_of(name, FusedConfig(parts=tuple(p for p in parts if p != part)), f"fused, without {part}")


def _fused_of(name: str, config: FusedConfig, about: str) -> Policy:
    fit = partial(_fit_fused, config)
    return Policy(name, fit, random=True, config=repr(config), about=about, combined=True, logits=True)


def _fit_fused(config: FusedConfig, inputs: PolicyInputs) -> Model:
    from ..ranking.fused import fit_fused

    return fit_fused(
        inputs.train,
        inputs.catalogue,
        inputs.views,
        config,
        seed=inputs.seed,
        kept=inputs.kept,
        progress=inputs.progress,
    )


def _posterior() -> Policy:
    from ..ranking.space import SpaceConfig

    config = SpaceConfig()
    about = f"Bayesian linear taste over the fused item space, {config.d} numbers, one exact step an event"
    return Policy("posterior", partial(_fit_posterior, config), random=True, config=repr(config), about=about)


def _fit_posterior(config: SpaceConfig, inputs: PolicyInputs) -> Model:
    from ..ranking.posterior_ranker import PosteriorRanker
    from ..ranking.space import fit_space

    space = fit_space(inputs.train, inputs.catalogue, inputs.views, config, seed=inputs.seed, progress=inputs.progress)
    return PosteriorRanker(space)


def _debiased(name: str) -> Policy:
    from .debiased_policies import debiased

    return debiased(name)


def _catalogue(inputs: PolicyInputs, name: str) -> Catalogue:
    if inputs.catalogue is None:
        raise UserError(f"the policy {name!r} needs a catalogue of the items, and these data have none")
    return inputs.catalogue


_MAKERS: Mapping[str, Callable[[], Policy]] = {
    "pop": _pop,
    "itemknn": _itemknn,
    "ease": _ease,
    "ease-recency": _ease_recency,
    "als": _als,
    "bpr": _bpr,
    "seq": _seq,
    "transitions": _transitions,
    "graph": _graph,
    "text": _text,
    "image": _image,
    "content": _content,
    "posterior": _posterior,
    "fused": _fused,
    "random": _random,
    **{name: partial(_debiased, name) for name in ("mf", "mf-ips", "mf-snips", "mf-dr", "ease-ips", "als-ips")},
}
#: The names of the policies there are.
NAMES = (*_MAKERS, AGENT)

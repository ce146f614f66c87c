"""What follows what: a linear model of sequences in closed form.

In the spirit of SLIST (Choi et al. 2021, "Session-aware Linear Item-Item Models for Session-based Recommendation"),
made for logs in which nobody chooses an item twice. After every event t of every user stand

    x_t: what the user chose up to t, an item chosen a events before t weighing exp(-a / tau),
    y_t: what came next, the w-th item after t weighing decay^(w-1) for w = 1..window,

and B minimises, over all t, with each event of a user of n events weighing in proportion to n^-damping,

    sum_t ||y_t + past x_t - x_t B||^2 + lambda ||B||^2   under diag(B) = 0.

The term ``past x_t`` is needed. Without it the target says 0 of every item the user had chosen already, and the
model learns that what goes together keeps apart: on MovieLens 100K that costs a fifth of the accuracy. With
G = sum x x^T, C = sum x y^T and P = (G + lambda I)^-1, Lagrange multipliers as in EASE (Steck 2019) give

    B = P C - P diag(a),   a_i = ((P C)_ii + past) / P_ii,   then diag(B) = 0.

For ``past`` without end this is EASE over what was chosen near to one another in time. G and C are sums over pairs of
events of one user, and each pair's part has a closed form, so that no x_t is ever made: for p < q of n events, with
r = exp(-1 / tau) and d = q - p,

    G: r^d (1 - r^(2 (n - q))) / (1 - r^2)          with q counted from 0
    C: the sum over w = 1..min(d, window) of decay^(w-1) r^(d-w)

The *dense* form stores B. Above ``dense_limit`` items the *truncated* form keeps the r leading eigenvectors of
G ~ V S V^T: P ~ (I - W W^T) / lambda with W = V (S / (S + lambda))^(1/2); with r = n it is the dense form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from ..catalog.readers.raw import Progress, no_progress
from ..errors import UserError
from .base import Contribution, contributions_of, product
from .ease import DENSE_LIMIT
from .history import History
from .log import Log, Pasts
from .svd import right_singular

#: Pairs of events in memory at once: about 200 MB.
_PAIRS = 1 << 22


@dataclass(frozen=True, slots=True)
class TransitionsConfig:
    """How the model is fitted. The defaults were chosen on the validation part of MovieLens 100K."""

    tau: float = 10.0
    """Events after which an item of the past weighs 1/e, in the fit and in the scores; above 0, may be infinite."""

    window: int = 20
    """How many of the next items are to be foretold, at least 1."""

    decay: float = 0.9
    """What the next item but one counts against the next, and so on; in (0, 1]."""

    past: float = 4.0
    """What an item of the past counts as a target, against 1 for the next item; at least 0."""

    regularization: float = 400.0
    """lambda, above 0."""

    damping: float = 0.3
    """Each event of a user of n events weighs in proportion to n^-damping: 0 counts every event alike, 1 every user."""

    reach: int = 200
    """Events further apart than this are not set beside one another; bounds the cost of users with long pasts."""

    dense_limit: int = DENSE_LIMIT
    """Items with interactions above which the truncated form is used."""

    rank: int = 1024
    """Eigenvectors of the truncated form."""

    def __post_init__(self) -> None:
        if not (self.tau > 0 and self.regularization > 0):
            raise ValueError("tau and the regularization must be positive")
        if not (self.window >= 1 and self.reach >= 1 and 0 < self.decay <= 1 and self.past >= 0):
            raise ValueError("window and reach are at least 1, decay lies in (0, 1], past is not negative")


@dataclass(frozen=True, slots=True, eq=False)
class TransitionsModel:
    """A fitted model over the ``t`` items that have interactions.

    Attributes:
        config: how it was fitted.
        n_items: items of the catalogue it was fitted on.
        items: (t,) int64 rising, catalogue rows of the trained items.
        weights: dense: B (t, t) float32, B[j, i] what item j says of item i; truncated: W (t, r) float32.
        carried: truncated: W^T C (r, t) float32; empty in the dense form.
        strength: truncated: a (t,) float32; empty in the dense form.
        follows: truncated: C (t, t) float32; empty in the dense form.
    """

    config: TransitionsConfig
    n_items: int
    items: NDArray[np.int64]
    weights: NDArray[np.float32]
    carried: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    strength: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    follows: sp.csr_matrix = field(default_factory=lambda: sp.csr_matrix((0, 0), dtype=np.float32))

    name = "transitions"

    @property
    def dense(self) -> bool:
        return self.carried.size == 0

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        """Shape (len(pasts), n_items) float32. An empty past scores 0 throughout, as does an item never trained on.

        Raises:
            ValueError: the pasts are of another catalogue.
        """
        if pasts.n_items != self.n_items:
            raise ValueError(f"pasts over {pasts.n_items} items for a model of {self.n_items}")
        signals = pasts.signals(self.config.tau)[:, self.items]
        scores = np.zeros((len(pasts), self.n_items), dtype=np.float32)
        if self.dense:
            scores[:, self.items] = signals @ self.weights
            return scores
        turned = signals @ self.weights
        own = signals.toarray()
        trained = (signals @ self.follows).toarray() - turned @ self.carried
        trained -= (own - turned @ self.weights.T) * self.strength
        # The diagonal of what was just added up is -past; that of B is 0.
        scores[:, self.items] = trained / self.config.regularization + self.config.past * own
        return scores

    def save(self, path: Path) -> None:
        """Write the model to one safetensors file, its settings in the file's metadata."""
        import json

        from safetensors.numpy import save_file

        tensors = {
            "items": self.items,
            "weights": np.ascontiguousarray(self.weights),
            "carried": np.ascontiguousarray(self.carried),
            "strength": self.strength,
            "follows.data": self.follows.data.astype(np.float32),
            "follows.indices": self.follows.indices.astype(np.int64),
            "follows.indptr": self.follows.indptr.astype(np.int64),
        }
        settings = {"version": 1, "n_items": self.n_items, "config": asdict(self.config)}
        save_file(tensors, path, metadata={"transitions": json.dumps(settings)})


def load_transitions(path: Path) -> TransitionsModel:
    """Read what :meth:`TransitionsModel.save` wrote.

    Raises:
        UserError: the file is missing, damaged, or another model's.
    """
    import json

    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            settings = json.loads((file.metadata() or {})["transitions"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if settings["version"] != 1:
            raise UserError(f"{path} has version {settings['version']}, this llm4rec reads version 1: update llm4rec")
        size = len(tensors["strength"])
        return TransitionsModel(
            config=TransitionsConfig(**settings["config"]),
            n_items=int(settings["n_items"]),
            items=tensors["items"],
            weights=tensors["weights"],
            carried=tensors["carried"],
            strength=tensors["strength"],
            follows=sp.csr_matrix(
                (tensors["follows.data"], tensors["follows.indices"], tensors["follows.indptr"]), shape=(size, size)
            ),
        )
    except FileNotFoundError:
        raise UserError(f"{path} is missing: fit the model again") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no transitions model or is damaged ({error}): fit the model again") from None


def fit_transitions(
    log: Log, config: TransitionsConfig | None = None, *, seed: int = 0, progress: Progress = no_progress
) -> TransitionsModel:
    """Fit on a log.

    Args:
        log: every interaction counts, whatever its rating. Items without any are left out and score 0.
        config: how to fit; the defaults when None.
        seed: of the truncated form's starting subspace; the dense form has no chance in it.

    Returns:
        The model. In memory: the dense form holds up to five (t, t) float32 arrays while it is fitted.
    """
    config = config or TransitionsConfig()
    items = np.flatnonzero(log.counts).astype(np.int64)
    position = np.zeros(log.n_items, dtype=np.int64)
    position[items] = np.arange(len(items))
    if len(items) <= config.dense_limit:
        weights = _dense(log, position, len(items), config, progress)
        return TransitionsModel(config=config, n_items=log.n_items, items=items, weights=weights)
    size = (len(items), len(items))
    half, follows = sp.csr_matrix(size, dtype=np.float32), sp.csr_matrix(size, dtype=np.float32)
    for more, after in _sums(log, position, len(items), config, progress):
        half, follows = half + more, follows + after
    gram = (half + sp.triu(half.T, 1) + sp.tril(half.T, -1)).tocsr()
    values, vectors = right_singular(gram, config.rank, seed=seed, progress=progress)
    weights = (vectors * np.sqrt(values / (values + config.regularization))).astype(np.float32)
    carried = np.ascontiguousarray((follows.T @ weights).T)
    # diag(P) and diag(P C), both times lambda, which cancels but for ``past``.
    own = 1 - np.einsum("ij,ij->i", weights, weights)
    said = follows.diagonal() - np.einsum("ij,ji->i", weights, carried)
    strength = (said + config.past * config.regularization) / own
    return TransitionsModel(
        config=config,
        n_items=log.n_items,
        items=items,
        weights=weights,
        carried=carried,
        strength=strength.astype(np.float32),
        follows=follows,
    )


def _dense(
    log: Log, position: NDArray[np.int64], size: int, config: TransitionsConfig, progress: Progress
) -> NDArray[np.float32]:
    """B, from its closed form."""
    gram, follows = np.zeros((size, size), dtype=np.float32), np.zeros((size, size), dtype=np.float32)
    for more, after in _sums(log, position, size, config, progress):
        for total, part in ((gram, more.tocoo()), (follows, after.tocoo())):
            total[part.row, part.col] += part.data  # no place comes twice
    if size == 0:
        return gram
    progress(f"inverting {size} x {size}", 0)
    # ``gram`` holds each pair once, wherever its earlier event's item put it.
    diagonal = np.diag(gram).copy()
    gram += gram.T.copy()
    gram[np.diag_indices(size)] = diagonal + np.float32(config.regularization)
    factor = scipy.linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
    inverse: NDArray[np.float32] = scipy.linalg.cho_solve(
        (factor, True), np.eye(size, dtype=np.float32), overwrite_b=True, check_finite=False
    )
    weights: NDArray[np.float32] = inverse @ follows
    strength = (np.diag(weights) + config.past) / np.diag(inverse)
    inverse *= strength.astype(np.float32)
    weights -= inverse
    np.fill_diagonal(weights, 0)
    return weights


def _sums(
    log: Log, position: NDArray[np.int64], size: int, config: TransitionsConfig, progress: Progress
) -> Iterator[tuple[sp.csr_matrix, sp.csr_matrix]]:
    """Parts of G and of C, (size, size) each, a set of users at a time.

    Of G each pair of events stands once, in the row of the earlier one's item, and so does each event with itself.
    """
    rate = np.exp(-1 / config.tau)
    weights = _user_weights(log.lengths, config.damping)
    reach = int(min(config.reach, log.lengths.max(initial=1)))
    kernel = np.convolve(rate ** np.arange(reach + 1), config.decay ** np.arange(min(config.window, reach + 1)))
    # Rows of users that stay under the limit of pairs together; a single user may be above it.
    pairs = np.concatenate([[0], np.cumsum(log.lengths * np.minimum(log.lengths, reach + 1))])
    user = 0
    while user < log.n_users:
        stop = max(user + 1, int(np.searchsorted(pairs, pairs[user] + _PAIRS, side="right")) - 1)
        first, last = int(log.offsets[user]), int(log.offsets[stop])
        at = np.arange(first, last)
        item = position[log.items[first:last]]
        weight = np.repeat(weights[user:stop], log.lengths[user:stop])
        #: Events of the same user that follow each.
        left = np.repeat(log.offsets[user + 1 : stop + 1], log.lengths[user:stop]) - 1 - at
        rows, columns, near, next_ = [], [], [], []
        for distance in range(min(reach, int(left.max(initial=0))) + 1):
            early = np.flatnonzero(left >= distance)
            late = early + distance
            rows.append(item[early])
            columns.append(item[late])
            near.append(weight[early] * rate**distance * _geometric(rate**2, left[late] + 1))
            next_.append(weight[early] * (kernel[distance - 1] if distance else 0.0))
        where = (np.concatenate(rows), np.concatenate(columns))
        yield (
            sp.csr_matrix((np.concatenate(near).astype(np.float32), where), shape=(size, size)),
            sp.csr_matrix((np.concatenate(next_).astype(np.float32), where), shape=(size, size)),
        )
        user = stop
        progress("counting what follows what", last, len(log))


def _geometric(ratio: float, terms: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 + ratio + ratio^2 + ..., so many terms."""
    if ratio == 1:
        return terms.astype(np.float64)
    total: NDArray[np.float64] = (1 - np.power(ratio, terms, dtype=np.float64)) / (1 - ratio)
    return total


def _user_weights(lengths: NDArray[np.int64], damping: float) -> NDArray[np.float64]:
    """Each user's weight, (n_users,), such that the events weigh 1 on average."""
    weights: NDArray[np.float64] = np.power(np.maximum(lengths, 1).astype(np.float64), -damping)
    total = float((weights * lengths).sum())
    return weights * (float(lengths.sum()) / total) if total > 0 else weights


class TransitionsRanker:
    """One user's scores by a fitted model, and who in the history is answerable for each.

    Args:
        model: the fit.
        n_items: items of the live catalogue, at least the model's; those it was not trained on score 0.
    """

    name = "transitions"

    def __init__(self, model: TransitionsModel, n_items: int | None = None) -> None:
        self.n_items = model.n_items if n_items is None else n_items
        if self.n_items < model.n_items:
            raise ValueError("n_items is smaller than the model's number of items")
        self.model = model
        #: (n_items,) position of each row among the trained items, -1 for the others.
        self._position = np.full(self.n_items, -1, dtype=np.int64)
        self._position[model.items] = np.arange(len(model.items))

    @property
    def known(self) -> NDArray[np.bool_]:
        trained: NDArray[np.bool_] = self._position >= 0
        return trained

    def scores(self, history: History) -> NDArray[np.float32]:
        _, positions, signals = self._signals(history)
        model = self.model
        scores = np.zeros(self.n_items, dtype=np.float32)
        if model.dense:
            scores[model.items] = product("j,ji->i", signals, model.weights[positions])
            return scores
        turned = product("j,jr->r", signals, model.weights[positions])
        own = np.zeros(len(model.items), dtype=np.float32)
        own[positions] = signals
        trained = model.follows[positions].T @ signals - product("r,ri->i", turned, model.carried)
        trained -= (own - product("ir,r->i", model.weights, turned)) * model.strength
        scores[model.items] = trained / np.float32(model.config.regularization) + np.float32(model.config.past) * own
        return scores

    def shares(self, history: History, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """s_j B_ji for each row i and history entry j; a row of these sums to the score of i."""
        entries, positions, signals = self._signals(history)
        shares = np.zeros((len(rows), len(history)), dtype=np.float32)
        trained = np.flatnonzero(self._position[rows] >= 0)
        said = self._said(positions, self._position[rows[trained]])
        shares[np.ix_(trained, entries)] = (said * signals[:, None]).T
        return shares

    def mass(self, history: History) -> float:
        """1: scores are sums over the history and not means."""
        return 1.0

    def contributions(self, history: History, row: int) -> list[Contribution]:
        return contributions_of(self, history, row)

    def _said(self, of: NDArray[np.int64], about: NDArray[np.int64]) -> NDArray[np.float32]:
        """B[of][:, about]: positions among the trained items."""
        model = self.model
        if model.dense:
            dense: NDArray[np.float32] = model.weights[np.ix_(of, about)]
            return dense
        same = of[:, None] == about
        left = model.weights[of]
        said = model.follows[of][:, about].toarray() - product("jr,ri->ji", left, model.carried[:, about])
        said -= (same - product("jr,ir->ji", left, model.weights[about])) * model.strength[about]
        said /= np.float32(model.config.regularization)
        said[same] = 0
        truncated: NDArray[np.float32] = said.astype(np.float32)
        return truncated

    def _signals(self, history: History) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Of the trained history items: place in the history, place among the trained items, signal."""
        entries = np.flatnonzero(self._position[history.rows] >= 0)
        signals = (history.behaviour * history.recency(self.model.config.tau))[entries]
        return entries, self._position[history.rows[entries]], signals.astype(np.float32)

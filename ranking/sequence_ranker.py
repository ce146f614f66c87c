"""One user's scores by a trained sequence model, without torch.

While a user waits, one history is read: a few million products. They are made here by NumPy, in one thread and without
BLAS (see :func:`.base.product`), from the same weights; importing torch alone would take longer than a hundred of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ._sequence_buckets import BUCKETS, buckets
from .base import product
from .history import History
from .sequence import SequenceConfig

if TYPE_CHECKING:
    from .sequence import SequenceModel

_VERSION = 1
_EPSILON = np.float32(1e-5)


class SequenceRanker:
    """What :meth:`.sequence.SequenceModel.score_many` gives one history, up to rounding.

    Nobody in the history is answerable for a share of it: the network is not linear.

    Args:
        config: the network.
        items: (t,) int64 rising, catalogue rows of the items trained on.
        weights: the network's tensors by name, as :class:`._sequence_net.Net` names them.
        n_items: items of the live catalogue; those not trained on get the lowest score.

    Raises:
        ValueError: a tensor is missing or has another shape than the network's.
    """

    name = "sequence"

    def __init__(
        self, config: SequenceConfig, items: NDArray[np.int64], weights: Mapping[str, NDArray[np.float32]], n_items: int
    ) -> None:
        self.n_items = n_items
        self.items = items
        self.config = config
        if len(items) and not 0 <= items.min() <= items.max() < n_items:
            raise ValueError("an item trained on lies outside the catalogue")
        wide = config.width
        _check(weights, "items.weight", (len(items) + 1, wide))
        _check(weights, "constant", (len(items),))
        self._table, self._constant = weights["items.weight"], weights["constant"]
        self._blocks = [_Block(config, f"blocks.{at}.", weights) for at in range(config.layers)]
        self._last = _norm_of(weights, "last", wide)
        #: (n_items,) code of each row, 0 for those never trained on.
        self._codes = np.zeros(n_items, dtype=np.int64)
        self._codes[items] = 1 + np.arange(len(items))

    @classmethod
    def of(cls, model: SequenceModel, n_items: int | None = None) -> SequenceRanker:
        """Of a model in memory."""
        return cls(model.config, model.items, model.weights(), model.n_items if n_items is None else n_items)

    def scores(self, history: History) -> NDArray[np.float32]:
        """(n_items,): finite. What was turned away from (behaviour not above 0) is not read."""
        scores = np.zeros(self.n_items, dtype=np.float32)
        if len(self.items) == 0:
            return scores
        codes = self._codes[history.rows[history.behaviour > 0]]
        codes = np.concatenate([[0], codes[codes > 0][-self.config.length :]])
        states = self._table[codes] * np.float32(math.sqrt(self.config.width))
        for block in self._blocks[:-1]:
            states = block.read(states, len(states))
        states = self._blocks[-1].read(states, 1)
        found = product("d,id->i", self._last(states)[0], self._table[1:]) + self._constant
        scores[:] = found.min()
        scores[self.items] = found
        return scores


class _Norm:
    """Layer normalisation (Ba, Kiros & Hinton 2016)."""

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        centred = x - x.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=1, keepdims=True) + _EPSILON)
        result: NDArray[np.float32] = centred / spread * self.weight + self.bias
        return result


class _Line:
    """x W^T + b."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]], name: str, out: int, inside: int) -> None:
        _check(weights, f"{name}.weight", (out, inside))
        _check(weights, f"{name}.bias", (out,))
        # Turned around once, so that the sum runs along memory.
        self.weight, self.bias = np.ascontiguousarray(weights[f"{name}.weight"].T), weights[f"{name}.bias"]

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return product("ij,jk->ik", x, self.weight) + self.bias


class _Block:
    """See :class:`._sequence_net.Block`."""

    def __init__(self, config: SequenceConfig, name: str, weights: Mapping[str, NDArray[np.float32]]) -> None:
        wide, self.heads = config.width, config.heads
        self.before = _norm_of(weights, name + "before", wide)
        self.mix = _Line(weights, name + "mix", 3 * wide, wide)
        self.out = _Line(weights, name + "out", wide, wide)
        self.between = _norm_of(weights, name + "between", wide)
        self.wide = _Line(weights, name + "wide", 4 * wide, wide)
        self.narrow = _Line(weights, name + "narrow", wide, 4 * wide)
        _check(weights, f"{name}bias.table", (BUCKETS + 1, self.heads))
        self.bias, self.bucket = weights[f"{name}bias.table"], buckets(config.length + 1)

    def read(self, x: NDArray[np.float32], last: int) -> NDArray[np.float32]:
        """The states (last, width) of the ``last`` entries of ``x`` (length, width)."""
        from scipy.special import erf

        length, width = x.shape
        mixed = self.mix(self.before(x)).reshape(length, 3, self.heads, width // self.heads)
        q, k, v = mixed[-last:, 0], mixed[:, 1], mixed[:, 2]
        x = x[-last:]
        said = product("qhd,khd->hqk", q, k) / np.float32(math.sqrt(width // self.heads))
        at = np.arange(length)
        distance = at[-last:, None] - at
        bucket = self.bucket[np.maximum(distance, 0)]
        bucket[:, 0] = BUCKETS
        said += self.bias[bucket].transpose(2, 0, 1)
        said[:, distance < 0] = -np.inf
        said -= said.max(axis=2, keepdims=True)
        odds = np.exp(said)
        odds /= odds.sum(axis=2, keepdims=True)
        x = x + self.out(product("hqk,khd->qhd", odds, v).reshape(last, width))
        y = self.wide(self.between(x))
        y = y * np.float32(0.5) * (1 + erf(y * np.float32(math.sqrt(0.5))))
        return x + self.narrow(y.astype(np.float32))


def read_sequence(path: Path) -> tuple[SequenceConfig, int, NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """What :meth:`.sequence.SequenceModel.save` wrote, without torch: settings, items of the catalogue, rows, weights.

    Raises:
        UserError: the file is missing, damaged, or another model's.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            settings = json.loads((file.metadata() or {})["sequence"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if settings["version"] != _VERSION:
            raise UserError(
                f"{path} has version {settings['version']}, this llm4rec reads version {_VERSION}: update llm4rec"
            )
        items = tensors.pop("trained")
        return SequenceConfig(**settings["config"]), int(settings["n_items"]), items, tensors
    except FileNotFoundError:
        raise UserError(f"{path} is missing: fit the model again") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no sequence model or is damaged ({error}): fit the model again") from None


def _norm_of(weights: Mapping[str, NDArray[np.float32]], name: str, width: int) -> _Norm:
    _check(weights, f"{name}.weight", (width,))
    _check(weights, f"{name}.bias", (width,))
    return _Norm(weights[f"{name}.weight"], weights[f"{name}.bias"])


def _check(weights: Mapping[str, NDArray[np.float32]], name: str, shape: tuple[int, ...]) -> None:
    if name not in weights or weights[name].shape != shape:
        raise ValueError(f"the tensor {name!r} of shape {shape} is missing")

"""What the views make expected of an item in the fused space, before anybody has chosen it (see :mod:`.space`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..catalog.items import Catalogue
from ._space_faces import Faces
from .labels import label_matrix
from .svd import right_singular

GRAPH = "graph"
#: Axes kept of the attributes.
_LABELS = 64
#: A label of fewer items joins nothing.
_LEAST_ITEMS = 2
#: Ridge, in items of full weight, and the choices at which an item has half its full weight in the regression.
_RIDGE, _HALF = 3.0, 5.0


@dataclass(frozen=True, eq=False)
class Content:
    """What content makes expected.

    Attributes:
        said, asked: (n_items, axes). later: (n_items,), not below 0.
        known: (n_items,) 1 where any view is there, else 0.
    """

    said: NDArray[np.float64]
    asked: NDArray[np.float64]
    later: NDArray[np.float64]
    known: NDArray[np.float64]


def item_features(
    n_items: int, catalogue: Catalogue | None, views: Mapping[str, NDArray[np.float32]], *, seed: int = 0
) -> dict[str, NDArray[np.float32]]:
    """By view (n_items, f) float32: centred on the mean item, 0 where an item lacks the view."""
    found = {name: _centred(vectors) for name, vectors in views.items()}
    if catalogue is not None:
        labels = _attributes(catalogue)
        if labels is not None:
            found[GRAPH] = _centred((labels @ right_singular(labels, _LABELS, seed=seed)[1]).astype(np.float32))
    return {name: one for name, one in found.items() if len(one) == n_items and one.any()}


def _attributes(catalogue: Catalogue) -> sp.csr_matrix | None:
    """(n_items, labels) unit rows, rare labels weighing more; None where no label joins two items."""
    blocks = []
    for name, spec in catalogue.attributes.items():
        if spec.kind == "number":
            continue
        labels = label_matrix(catalogue.frame[name])
        counts = np.asarray(labels.sum(axis=0)).ravel()
        labels = labels[:, counts >= _LEAST_ITEMS]
        rare = np.log(len(catalogue) / counts[counts >= _LEAST_ITEMS])
        blocks.append(labels @ sp.diags(np.sqrt(np.maximum(rare, 0.0))))
    blocks = [block for block in blocks if block.shape[1]]
    if not blocks:
        return None
    joined = sp.csr_matrix(sp.hstack(blocks, format="csr"), dtype=np.float32)
    lengths = np.sqrt(np.asarray(joined.multiply(joined).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags(np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)) @ joined)


def _centred(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    there = np.einsum("nf,nf->n", vectors, vectors) > 0
    if not there.any():
        return np.zeros_like(vectors, dtype=np.float32)
    less = vectors - vectors[there].mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.where(there[:, None], less, np.float32(0)).astype(np.float32)


def fit_content(
    faces: Faces, counts: NDArray[np.int64], features: Mapping[str, NDArray[np.float32]], weights: Mapping[str, float]
) -> Content | None:
    """Ridge regression of the faces on the views, items with many choices weighing more; None without views."""
    used = {name: weights[name] for name in features if weights.get(name, 0) > 0}
    if not used or not counts.any():
        return None
    x = np.concatenate([features[name] * np.float64(weight) for name, weight in used.items()], axis=1)
    y = np.concatenate([faces.said, faces.asked, faces.later[:, None]], axis=1)
    weight = counts / (counts + _HALF)
    middle = weight @ y[:, -1:] / weight.sum()
    left = (x * weight[:, None]).T @ x
    left[np.diag_indices(len(left))] += _RIDGE
    right = (x * weight[:, None]).T @ np.concatenate([y[:, :-1], y[:, -1:] - middle], axis=1)
    expected = x @ np.linalg.solve(left, right)
    axes = faces.said.shape[1]
    known = np.any([np.einsum("nf,nf->n", features[name], features[name]) > 0 for name in used], axis=0)
    return Content(
        said=expected[:, :axes],
        asked=expected[:, axes:-1],
        later=np.maximum(expected[:, -1] + middle, 0) * known,
        known=known.astype(np.float64),
    )

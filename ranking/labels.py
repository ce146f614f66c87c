"""The labels of items (genres, categories) as distributions: of an item, of a history, of a list, and how far apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from ..catalog.items import AttributeSpec

#: Attributes whose labels are taken, the first that there is.
LABELS = ("genres", "genre", "categories", "category", "tags")
#: How much of the past is mixed into the list's labels, so that a label the list lacks costs a finite amount.
SMOOTHING = 0.01


def labelling(attributes: Mapping[str, AttributeSpec]) -> str | None:
    """The attribute whose labels are taken; None where there is none."""
    return next((name for name in LABELS if name in attributes and attributes[name].kind != "number"), None)


def label_matrix(column: pl.Series) -> sp.csr_matrix:
    """(n_items, l) float64: 1 for each label of an item, labels in alphabetical order."""
    frame = pl.DataFrame({"row": np.arange(len(column)), "label": column})
    if isinstance(column.dtype, pl.List):
        frame = frame.explode("label")
    frame = frame.drop_nulls().unique()
    names = {name: place for place, name in enumerate(sorted(frame["label"].unique().to_list()))}
    places = np.array([names[label] for label in frame["label"].to_list()], dtype=np.int64)
    ones = np.ones(len(places))
    return sp.csr_matrix((ones, (frame["row"].to_numpy(), places)), shape=(len(column), len(names)))


def label_shares(labels: sp.csr_matrix) -> tuple[sp.csr_matrix, NDArray[np.bool_]]:
    """Each item's distribution over labels, its row divided by the row's sum; and (n_items,) which items have one.

    Raises:
        ValueError: a negative label.
    """
    weights = sp.csr_matrix(labels, dtype=np.float64)
    if weights.nnz and weights.data.min() < 0:
        raise ValueError("a label of an item is negative")
    sums = np.asarray(weights.sum(axis=1)).ravel()
    labelled: NDArray[np.bool_] = sums > 0
    shares = sp.diags(np.divide(1.0, sums, out=np.zeros(len(sums)), where=labelled)) @ weights
    return sp.csr_matrix(shares), labelled


def mean_shares(
    offsets: NDArray[np.int64], rows: NDArray[np.int64], shares: sp.csr_matrix, labelled: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(b, n_labels): the mean of the label distributions of each group's items that have one; NaN where none has.

    Group i is ``rows[offsets[i]:offsets[i + 1]]``; ``shares`` and ``labelled`` are of :func:`label_shares`.
    """
    groups = sp.csr_matrix((np.ones(len(rows)), rows, offsets), shape=(len(offsets) - 1, len(labelled)))
    many = groups @ labelled.astype(np.float64)
    sums = (groups @ shares).toarray()
    means: NDArray[np.float64] = np.full(sums.shape, np.nan)
    np.divide(sums, many[:, None], out=means, where=many[:, None] > 0)
    return means


def divergence(
    of_past: NDArray[np.float64], of_list: NDArray[np.float64], smoothing: float = SMOOTHING
) -> NDArray[np.float64]:
    """KL(p || (1 - a) q + a p) in nats over the last axis, p of the past and q of the list; in [0, -ln a].

    Steck 2018, "Calibrated recommendations". The arrays may be of any shapes that go together. NaN where either is.

    Raises:
        ValueError: a smoothing that is not in (0, 1).
    """
    if not 0 < smoothing < 1:
        raise ValueError(f"a smoothing of {smoothing}: it must be above 0 and below 1")
    mixed = (1 - smoothing) * of_list + smoothing * of_past
    ratio = np.divide(of_past, mixed, out=np.ones_like(mixed), where=of_past > 0)
    found: NDArray[np.float64] = (of_past * np.log(ratio)).sum(axis=-1)
    # The sum is never below 0, but for rounding.
    return np.maximum(found, 0.0)

"""A policy's figures by group: users by what they did and who they are, items by how often they were chosen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .folds import NOTHING
from .intervals import Interval
from .measuring import Context, Measured, Measures
from .metrics import (
    ITEM_GROUPS,
    Parity,
    UserGroups,
    bands,
    by_group,
    by_item_group,
    by_label,
    group_shares,
    recall_by_item_group,
    terciles,
)
from .results import Estimate, Groups

#: Metrics that are shown by group.
BY_GROUP = ("ndcg", "hr")
#: Ages and history lengths at which a group of users begins.
AGES = (18, 25, 35, 45, 55)
HISTORIES = (1, 10, 50, 200)


def groups_of(found: Measured, contexts: Mapping[str, Context], k: int, measures: Measures) -> tuple[Groups, ...]:
    users = np.concatenate([contexts[name].fold.users for name in found.folds])
    lengths = np.concatenate([contexts[name].fold.pasts.lengths for name in found.folds]).astype(np.float64)
    different = np.unique(users)
    grouped = _user_groups(different, per_user(lengths[:, None], users)[:, 0], measures.users)
    groups = []
    for metric in BY_GROUP:
        name = f"{metric}@{k}"
        values = per_user(found.all_of(name)[:, None], users)[:, 0]
        groups += [_parity(by.name, name, by_group(values, by)) for by in grouped if len(by.labels) > 1]
    by_seed = [
        np.concatenate(
            [
                recall_by_item_group(
                    found.lists[name][seed].items[:, :k],
                    found.lists[name][seed].hits[:, :k],
                    contexts[name].fold.target_offsets,
                    contexts[name].fold.targets,
                    contexts[name].codes,
                )
                for name in found.folds
            ]
        )
        for seed in found.seeds
    ]
    recalls = per_user(np.mean(by_seed, axis=0), users)
    groups.append(_parity("items", f"recall@{k}", by_item_group(recalls)))
    return tuple(groups)


def _user_groups(
    users: NDArray[np.int64], lengths: NDArray[np.float64], known: pl.DataFrame | None
) -> list[UserGroups]:
    """By how much they did, and by sex and age where they are known."""
    history = bands("history", lengths, HISTORIES)
    groups = [
        terciles("activity", lengths),
        UserGroups(history.name, tuple("new" if label == "<1" else label for label in history.labels), history.codes),
    ]
    for name in known.columns if known is not None else ():
        assert known is not None
        if name in ("sex", "gender"):
            groups.append(by_label(name, known[name].cast(pl.String).to_list()).take(users))
        if name == "age":
            ages = known[name].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
            groups.append(bands(name, ages, AGES).take(users))
    # Groups that nobody asked about is of are not shown.
    return [_used(one) for one in groups]


def _used(groups: UserGroups) -> UserGroups:
    there = np.unique(groups.codes[groups.codes >= 0])
    place = np.full(len(groups.labels) + 1, -1, dtype=np.int64)
    place[there] = np.arange(len(there))
    return UserGroups(groups.name, tuple(groups.labels[code] for code in there.tolist()), place[groups.codes])


def _parity(by: str, metric: str, found: Parity) -> Groups:
    return Groups(
        by=by,
        metric=metric,
        groups={label: Estimate.of(mean) for label, mean in found.means.items()},
        gap=Estimate.of(found.gap),
        largest=found.largest,
        smallest=found.smallest,
        left_out=found.left_out,
        unknown=found.unknown,
    )


def shown_by_group(found: Measured, contexts: Mapping[str, Context], k: int) -> Mapping[str, Interval]:
    """Share of what is listed, by item group, with the first seed: an item's group is that of its own fold."""
    codes = []
    for name in found.folds:
        items = found.lists[name][found.seeds[0]].items[:, :k]
        codes.append(np.where(items == NOTHING, NOTHING, contexts[name].codes[items]))
    return group_shares(np.concatenate(codes), np.arange(len(ITEM_GROUPS)))


def per_user(values: NDArray[np.float64], users: NDArray[np.int64]) -> NDArray[np.float64]:
    """(u, c): the mean of each different user's rows of (q, c) values, users rising; NaN where none counts."""
    different, owner = np.unique(users, return_inverse=True)
    if len(different) == len(users):
        sorted_values: NDArray[np.float64] = values[np.argsort(users, kind="stable")]
        return sorted_values
    known = ~np.isnan(values)
    columns = []
    for at in range(values.shape[1]):
        sums = np.bincount(owner, weights=np.where(known[:, at], values[:, at], 0.0), minlength=len(different))
        sizes = np.bincount(owner, weights=known[:, at], minlength=len(different))
        columns.append(np.divide(sums, sizes, out=np.full(len(different), np.nan), where=sizes > 0))
    return np.column_stack(columns)

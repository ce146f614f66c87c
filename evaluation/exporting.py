"""The folds of a replay as files, so that other programs can be trained and asked under the same protocol.

In a folder for each fold, named after it; ids are those of the source, rows in the log's order::

    train.parquet             user, item, order (0 for a user's first); where the log has any: rating, time (seconds)
    queries.parquet           user: who is asked about. A user's past is all that train holds of them
    items.parquet             item, candidate: all items in the order that decides ties; only candidates may be listed
    pools.parquet             user, item: where queries have candidates of their own, what may be listed for each
    held-out/targets.parquet  user, item: the right answers. Nothing may be trained or tuned on them
    fold.json                 the rules, the counts, and what the protocol leaves out
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..catalog.interactions import load_interactions
from ..catalog.items import Catalogue
from ..catalog.workspace import Build
from ..errors import UserError
from .folds import Fold
from .policies import PolicyInputs

RULES = (
    "train on train.parquet alone; queries.parquet names the users to make lists for",
    "full ranking: every candidate of items.parquet may be listed, and pools.parquet narrows them where it is there",
    "what train holds of a user is not to be listed for that user; where it is, it is dropped and counted",
    "of items with equal scores the one that stands first in items.parquet comes first",
    "held-out/targets.parquet holds the right answers: nothing may be trained or tuned on it",
    "answer with a table of user, item and rank (1 is the best) or score (higher is better); replay it with "
    "--policies lists:FILE",
)


def user_ids(inputs: PolicyInputs) -> pl.Series:
    """(n_users,) text: the ids of the log's users; their numbers from 0 where there is no build to know them from."""
    return _user_ids(inputs.build, inputs.train.n_users)


def item_ids(inputs: PolicyInputs) -> pl.Series:
    """(n_items,) text: the ids of the items; their numbers from 0 where there is no catalogue."""
    return _item_ids(inputs.catalogue, inputs.train.n_items)


class ExportedFold(BaseModel):
    """Where a fold lies and how large it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    path: str = Field(description="its folder")
    train_interactions: int
    queries: int = Field(description="users to make lists for")


class Exported(BaseModel):
    """What an export wrote."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)
    schema_: Literal["llm4rec.export/1"] = Field(default="llm4rec.export/1", alias="schema")
    folds: tuple[ExportedFold, ...]


def export_folds(folds: Sequence[Fold], build: Build | None, catalogue: Catalogue | None, folder: Path) -> Exported:
    """Write folds for other programs; files of an earlier export are replaced.

    Args:
        folds: of one protocol.
        build, catalogue: what they are of; None where users and items have no ids but their numbers.
        folder: made if it is not there.

    Returns:
        Where each fold lies.

    Raises:
        UserError: the folder cannot be written.
    """
    written = []
    try:
        for fold in folds:
            place = folder / fold.name
            (place / "held-out").mkdir(parents=True, exist_ok=True)
            _export(fold, _user_ids(build, fold.train.n_users), _item_ids(catalogue, fold.n_items), place)
            written.append(
                ExportedFold(name=fold.name, path=str(place), train_interactions=len(fold.train), queries=len(fold))
            )
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{folder} is a file, not a folder: choose another --export") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another --export") from error
    return Exported(folds=tuple(written))


def _export(fold: Fold, users: pl.Series, items: pl.Series, place: Path) -> None:
    log = fold.train
    train = pl.DataFrame(
        {
            "user": users.gather(log.users.astype(np.int64)),
            "item": items.gather(log.items.astype(np.int64)),
            "order": np.arange(len(log)) - np.repeat(log.offsets[:-1], log.lengths),
        }
    )
    if not np.isnan(log.values).all():
        train = train.with_columns(rating=pl.Series(log.values, nan_to_null=True))
    if (log.times >= 0).any():
        time = pl.Series(log.times)
        train = train.with_columns(time=time.set(time < 0, None))
    train.write_parquet(place / "train.parquet")
    asked = users.gather(fold.users)
    pl.DataFrame({"user": asked}).write_parquet(place / "queries.parquet")
    order = np.arange(fold.n_items) if fold.order is None else fold.order
    pl.DataFrame({"item": items.gather(order), "candidate": fold.candidates[order]}).write_parquet(
        place / "items.parquet"
    )
    pools = place / "pools.parquet"
    pools.unlink(missing_ok=True)
    if fold.pools is not None and fold.pool_offsets is not None:
        _pairs(asked, fold.pool_offsets, items, fold.pools).write_parquet(pools)
    _pairs(asked, fold.target_offsets, items, fold.targets).write_parquet(place / "held-out" / "targets.parquet")
    told = {
        "fold": fold.name,
        "rules": RULES,
        "notes": fold.notes,
        "users": log.n_users,
        "items": fold.n_items,
        "candidates": int(fold.candidates.sum()),
        "train": len(log),
        "queries": len(fold),
        "targets": len(fold.targets),
        "left_out": dict(fold.left_out),
        "not_asked": dict(fold.not_asked),
    }
    (place / "fold.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _pairs(users: pl.Series, offsets: NDArray[np.int64], items: pl.Series, rows: NDArray[np.int64]) -> pl.DataFrame:
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return pl.DataFrame({"user": users.gather(owner), "item": items.gather(rows)})


def _user_ids(build: Build | None, count: int) -> pl.Series:
    found = _numbers("user", count) if build is None else load_interactions(build.path).users["user"]
    if len(found) != count:
        raise ValueError(f"{len(found)} ids for {count} users")
    return found


def _item_ids(catalogue: Catalogue | None, count: int) -> pl.Series:
    return _numbers("item", count) if catalogue is None else catalogue.frame["id"].rename("item")


def _numbers(name: str, count: int) -> pl.Series:
    return pl.int_range(count, eager=True).cast(pl.String).alias(name)

"""Taking a user out of the log of a build, so that no file of it holds them any more."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

from ..errors import UserError
from . import durable
from .editions import EDITED, INTERACTIONS, OFFSETS, SIZES, USERS, named, sweep
from .interactions import Interactions, load_interactions, measure
from .text import one_line


def holds(log: Interactions, user: str, *, item: int | None = None) -> bool:
    """Whether there is something that :func:`drop_user` would take out; ids count where there is no interaction."""
    return user in log and (item is None or bool((log.of_user(user).items == item).any()))


def drop_user(build_dir: Path, user: str, *, item: int | None = None) -> int:
    """Take a user, or one interaction of theirs, out of a log.

    The next edition is written, then the sizes are swapped, then the files of the last edition go. So whoever reads
    meanwhile, and whoever comes after a kill, finds the one or the other; files that a killed call left go with the
    next call. The rating scale stays: it is the data set's. Memory is bounded but for the users' ids.

    Only one process at a time may do this.

    Args:
        build_dir: of the build.
        user: id.
        item: row of the catalogue, for the interaction with it alone.

    Returns:
        How many interactions went.

    Raises:
        UserError: the log is missing or damaged, or cannot be written. It is as it was.
    """
    log = load_interactions(build_dir)
    sweep(build_dir, log.sizes.edition)
    if not holds(log, user, item=item):
        return 0
    index, lengths, users, rows = log.index_of[user], np.diff(log.offsets), log.users, log.scan()
    if item is None:
        later = (pl.col("user") > index).cast(pl.UInt32)
        rows = rows.filter(pl.col("user") != index).with_columns(user=pl.col("user") - later)
        lengths, users = np.delete(lengths, index), users.filter(pl.int_range(pl.len()) != index)
    else:
        place = int(np.flatnonzero(log.of_user(user).items == item)[0])
        later = ((pl.col("user") == index) & (pl.col("order") > place)).cast(pl.UInt32)
        rows = rows.filter((pl.col("user") != index) | (pl.col("item") != item))
        rows = rows.with_columns(order=pl.col("order") - later)
        lengths[index] -= 1
    edition = log.sizes.edition + 1
    files = {name: build_dir / named(name, edition) for name in EDITED}
    try:
        rows.sink_parquet(files[INTERACTIONS], row_group_size=250_000)
        users.write_parquet(files[USERS])
        np.save(files[OFFSETS], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), allow_pickle=False)
        left = measure(pl.scan_parquet(files[INTERACTIONS]), len(lengths), log.n_items)
        if left.interactions != lengths.sum():
            raise OSError(f"{left.interactions} rows, not {lengths.sum()}: build the workspace again")
        sizes = left.model_copy(update={"low": log.sizes.low, "high": log.sizes.high, "edition": edition})
        for path in files.values():
            durable.sync(path)
        durable.replace(build_dir / SIZES, (json.dumps(sizes.model_dump(), indent=2) + "\n").encode())
    except (OSError, pl.exceptions.PolarsError) as error:
        sweep(build_dir, log.sizes.edition)
        raise UserError(f"the log in {build_dir} cannot be written anew ({one_line(str(error), 120)})") from error
    sweep(build_dir, edition)
    return len(log) - sizes.interactions

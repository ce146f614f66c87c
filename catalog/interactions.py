"""Who met what: the log of a build on disk, and one user's part of it in memory.

On disk, in the build's folder:

- ``users.parquet``: ``user`` (text; the row is the user's index), then what is known of the user;
- ``interactions.parquet``: ``user`` (u32 index), ``item`` (u32 row of the catalogue), ``value`` (f32 or null), ``time``
  (i64 Unix seconds or null), ``order`` (u32 position within the user), sorted by user, then order;
- ``offsets.npy``: where each user's rows begin;
- ``interactions.json``: their sizes, written last.

A user can be taken out again: the names then have a number, see :mod:`.editions`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import UserError
from .editions import EDITED, named, stamp
from .editions import INTERACTIONS as _INTERACTIONS
from .editions import OFFSETS as _OFFSETS
from .editions import SIZES as _SIZES
from .editions import USERS as _USERS
from .items import Catalogue
from .readers.raw import INTERACTIONS, Progress, RawData, no_progress
from .text import one_line

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Rows sorted at a time: what bounds memory while writing, whatever the log's length.
SORT_ROWS = 4_000_000
#: A log longer than this is read user by user at first, and loaded whole when this many users have been asked for.
WHOLE_ROWS, WHOLE_AFTER = 2_000_000, 50


class Sizes(BaseModel):
    """What a log holds, known without reading it."""

    model_config = ConfigDict(frozen=True)
    users: int
    items: int
    interactions: int
    ratings: int
    timed: int
    low: float | None
    high: float | None
    edition: int = 0


@dataclass(frozen=True, slots=True)
class UserRows:
    """One user's interactions, oldest first.

    Attributes:
        items: shape (n,), rows of the catalogue.
        values: shape (n,), ratings; NaN where there is none.
        times: shape (n,), Unix seconds; -1 where unknown.
    """

    items: NDArray[np.int64]
    values: NDArray[np.float32]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.items)

    def value_of(self, row: int) -> float | None:
        """The rating given to the item in a row of the catalogue; None where there is none."""
        found = self.values[self.items == row]
        return None if len(found) == 0 or np.isnan(found[-1]) else float(found[-1])


class Interactions:
    """The log of a build, read only. Nothing is loaded before it is asked for.

    All it tells is of one edition of the log, but for :meth:`of_user`, which follows it to the latest: who was taken
    out, in whichever process, is unknown from then on.

    Args:
        folder: of the build.
        sizes: what the log holds.
        read: stamp of the file that the sizes were read from; None takes that of the file as it is now.
    """

    def __init__(self, folder: Path, sizes: Sizes, *, read: tuple[int, ...] | None = None) -> None:
        self._folder = folder
        self.sizes = sizes
        self._asked = 0
        self._read = read or stamp(folder)
        self._later: Interactions | None = None

    def __len__(self) -> int:
        return self.sizes.interactions

    def __contains__(self, user_id: str) -> bool:
        return user_id in self.index_of

    @property
    def n_users(self) -> int:
        return self.sizes.users

    @property
    def n_items(self) -> int:
        """Items of the catalogue the log was written against."""
        return self.sizes.items

    @property
    def has_ratings(self) -> bool:
        """Some interaction carries a rating."""
        return self.sizes.ratings > 0

    @property
    def has_times(self) -> bool:
        """Some interaction carries a time."""
        return self.sizes.timed > 0

    @property
    def scale(self) -> tuple[float, float] | None:
        """The smallest and the largest rating; None when there are none."""
        if self.sizes.low is None or self.sizes.high is None:
            return None
        return self.sizes.low, self.sizes.high

    @cached_property
    def users(self) -> pl.DataFrame:
        """``user`` and what is known of each; the row is the user's index."""
        with _damage_said(self._file(_USERS)):
            users = pl.read_parquet(self._file(_USERS))
            if users.columns[:1] != ["user"] or users.height != self.n_users:
                raise ValueError(f"{users.height} rows of {users.columns}, not of {self.n_users} users")
        return users

    @cached_property
    def user_ids(self) -> tuple[str, ...]:
        return tuple(self.users["user"].to_list())

    @cached_property
    def index_of(self) -> Mapping[str, int]:
        """Index of each user."""
        return {user: index for index, user in enumerate(self.user_ids)}

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Shape (n_users + 1,): user u's rows are ``offsets[u]:offsets[u + 1]`` of the frame."""
        with _damage_said(self._file(_OFFSETS)):
            offsets: NDArray[np.int64] = np.load(self._file(_OFFSETS), allow_pickle=False)
            if offsets.shape != (self.n_users + 1,) or offsets[-1] != len(self):
                raise ValueError(f"offsets of shape {offsets.shape} for {self.n_users} users")
        return offsets

    def of_user(self, user_id: str) -> UserRows:
        """One user's interactions, oldest first; none for a user the log does not know.

        A few users of a long log are read from disk one by one (milliseconds each); past that the log's columns
        are loaded (16 bytes an interaction) and a call costs microseconds.
        """
        if (latest := self._latest()) is not self:
            return latest.of_user(user_id)
        try:
            return self._of_user(user_id)
        except UserError:
            # Its files go while they are read when somebody is taken out just now.
            if (latest := self._latest()) is self:
                raise
            return latest.of_user(user_id)

    def _of_user(self, user_id: str) -> UserRows:
        index = self.index_of.get(user_id)
        if index is None:
            return UserRows(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64))
        start, stop = int(self.offsets[index]), int(self.offsets[index + 1])
        if "_columns" not in self.__dict__ and len(self) > WHOLE_ROWS and self._asked < WHOLE_AFTER:
            self._asked += 1
            with _damage_said(self._file(_INTERACTIONS)):
                items, values, times = _as_arrays(self.scan().slice(start, stop - start))
        else:
            items, values, times = self._columns
            items, values, times = items[start:stop], values[start:stop], times[start:stop]
        return UserRows(items.astype(np.int64), values.astype(np.float32), times.astype(np.int64))

    def matrix(self) -> csr_matrix:
        """Shape (n_users, n_items), float32: 1 for each interaction."""
        from scipy.sparse import csr_matrix

        items = self._columns[0].astype(np.int32)
        matrix = csr_matrix(
            (np.ones(len(items), dtype=np.float32), items, self.offsets), shape=(self.n_users, self.n_items)
        )
        matrix.sort_indices()
        return matrix

    def frame(self) -> pl.DataFrame:
        """All interactions: ``user``, ``item``, ``value``, ``time``, ``order``, sorted by user and order."""
        with _damage_said(self._file(_INTERACTIONS)):
            return pl.read_parquet(self._file(_INTERACTIONS))

    def scan(self) -> pl.LazyFrame:
        """As `frame`, read when and as far as needed."""
        return pl.scan_parquet(self._file(_INTERACTIONS))

    @cached_property
    def _columns(self) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.int64]]:
        with _damage_said(self._file(_INTERACTIONS)):
            columns = _as_arrays(self.scan())
            if len(columns[0]) != len(self):
                raise ValueError(f"{len(columns[0])} rows, not {len(self)}")
        return columns

    def _file(self, name: str) -> Path:
        return self._folder / named(name, self.sizes.edition)

    def _latest(self) -> Interactions:
        """The latest edition of this log: itself, unless somebody was taken out since. Costs some microseconds."""
        now = stamp(self._folder)
        if now and now != self._read:  # nothing where the build is gone: what is loaded stays
            found = load_interactions(self._folder)
            self._later = found if found.sizes.edition > self.sizes.edition else self._later
            self._read = now
        return self if self._later is None else self._later


@contextmanager
def _damage_said(path: Path) -> Iterator[None]:
    """A file of the log that cannot be read is named, with the mend."""
    try:
        yield
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        if _superseded(path):
            raise UserError(f"the log in {path.parent} was written anew meanwhile: do it again") from error
        raise UserError(f"{path} is damaged ({one_line(str(error), 120)}): build the workspace again") from error


def _superseded(path: Path) -> bool:
    """Whether a file is gone because its edition of the log is."""
    try:
        now = load_interactions(path.parent).sizes.edition
    except UserError:
        return False
    return not path.exists() and path.name not in {named(name, now) for name in EDITED}


def _as_arrays(rows: pl.LazyFrame) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.int64]]:
    frame = rows.select("item", pl.col("value").fill_null(float("nan")), pl.col("time").fill_null(-1)).collect()
    return frame["item"].to_numpy(), frame["value"].to_numpy(), frame["time"].to_numpy()


def load_interactions(build_dir: Path) -> Interactions:
    """Open the log of a build.

    Raises:
        UserError: the log is missing or damaged.
    """
    path = build_dir / _SIZES
    read = stamp(build_dir)  # first: what changes after it is noticed
    try:
        sizes = Sizes.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{build_dir} has no {_SIZES}: build the workspace again") from None
    except ValidationError:
        raise UserError(f"{path} is damaged: build the workspace again") from None
    return Interactions(build_dir, sizes, read=read)


def write_interactions(
    raw: RawData, build_dir: Path, catalogue: Catalogue, progress: Progress = no_progress
) -> Interactions:
    """Write a data set's log into a build.

    Users are sorted by number when every id is one, else by text; users of ``raw.users`` without interactions stay.
    A user's rows are sorted by time, then by the source's order, then by place in the source; rows without a time
    come first. Of several rows with the same user and item the last one stays, the others are counted in
    ``raw.problems``. Rows with an item that the catalogue does not hold are bad rows.

    Memory is bounded by `SORT_ROWS` and by the numbers of users and items, not by the length of the log.

    Raises:
        UserError: over 1 % of the rows have an unknown item.
    """
    parts = build_dir / ".interactions"
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    try:
        progress("numbering users", 0)
        users = _users(raw)
        users.write_parquet(build_dir / _USERS)
        numbered = _number(raw, users["user"], catalogue, parts / "numbered.parquet")
        total = int(numbered.select(pl.len()).collect().item())
        written = _sort(numbered, parts, users.height, total, progress)
        target = build_dir / _INTERACTIONS
        pl.scan_parquet(written).sink_parquet(parts / _INTERACTIONS, row_group_size=250_000)
        (parts / _INTERACTIONS).replace(target)
        sizes = measure(pl.scan_parquet(target), users.height, len(catalogue))
        lengths = _lengths(pl.scan_parquet(target), users.height)
        np.save(build_dir / _OFFSETS, np.concatenate([[0], np.cumsum(lengths)]), allow_pickle=False)
    finally:
        shutil.rmtree(parts)
    raw.problems.settle(
        "interactions with a user and item that come again later, left out (the last one counts)",
        total - sizes.interactions,
    )
    (build_dir / _SIZES).write_text(json.dumps(sizes.model_dump(), indent=2) + "\n", encoding="utf-8")
    return Interactions(build_dir, sizes)


def write_part(whole: Interactions, rows: pl.DataFrame, folder: Path) -> Interactions:
    """Write some interactions of a log as the log of another build, which has the same users, items and rating scale.

    Args:
        whole: the log they are of.
        rows: ``user``, ``item``, ``value`` and ``time`` as in :meth:`Interactions.frame`, sorted by user, oldest first.
        folder: of the other build.
    """
    kept = rows.select(
        pl.col("user").cast(pl.UInt32),
        pl.col("item").cast(pl.UInt32),
        pl.col("value").cast(pl.Float32),
        pl.col("time").cast(pl.Int64),
        pl.int_range(pl.len(), dtype=pl.UInt32).over("user").alias("order"),
    )
    whole.users.write_parquet(folder / _USERS)
    kept.write_parquet(folder / _INTERACTIONS, row_group_size=250_000)
    lengths = np.bincount(kept["user"].to_numpy(), minlength=whole.n_users)
    np.save(folder / _OFFSETS, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), allow_pickle=False)
    sizes = whole.sizes.model_copy(
        update={
            "interactions": kept.height,
            "ratings": int(kept["value"].count()),
            "timed": int(kept["time"].count()),
            "edition": 0,
        }
    )
    (folder / _SIZES).write_text(json.dumps(sizes.model_dump(), indent=2) + "\n", encoding="utf-8")
    return Interactions(folder, sizes)


def _users(raw: RawData) -> pl.DataFrame:
    known = raw.users if "user" in raw.users.columns else pl.DataFrame(schema={"user": pl.String})
    active = raw.interactions.select("user").unique().collect(engine="streaming")
    ids = pl.concat([active["user"], known["user"]]).unique()
    digits = ids.str.contains(r"^[0-9]{1,18}$").all()
    frame = pl.DataFrame({"user": ids})
    by: list[str | pl.Expr] = [pl.col("user").cast(pl.Int64), "user"] if digits else ["user"]
    return frame.sort(by).join(known, on="user", how="left", maintain_order="left")


def _number(raw: RawData, users: pl.Series, catalogue: Catalogue, target: Path) -> pl.LazyFrame:
    """Rows with users and items as numbers; ``row`` is the place in the source."""

    def numbers(ids: pl.Series, name: str, number: str) -> pl.LazyFrame:
        return pl.LazyFrame({name: ids, number: pl.int_range(len(ids), dtype=pl.UInt32, eager=True)})

    given = [pl.col(name).cast(kind) for name, kind in INTERACTIONS.items()]
    rows = raw.interactions.select(given).with_columns(pl.col("value").fill_nan(None)).with_row_index("row")
    rows = rows.join(numbers(users, "user", "u"), on="user", how="left")
    rows = rows.join(numbers(catalogue.frame["id"], "item", "i"), on="item", how="left")
    all_rows = target.with_name("all.parquet")
    rows.select(
        pl.col("u").alias("user"), pl.col("i").alias("item"), "value", "time", "order", "row",
        pl.when(pl.col("i").is_null()).then(pl.col("item")).alias("unknown"),
    ).sink_parquet(all_rows, compression="lz4", maintain_order=False)  # fmt: skip
    scan = pl.scan_parquet(all_rows)
    unknown = scan.filter(pl.col("item").is_null()).select("row", "unknown").collect(engine="streaming").sort("row")
    if unknown.height:
        shown = [(int(row) + 1, str(item)) for row, item in unknown.head(5).iter_rows()]
        raw.problems.bad_many("unknown item", "interactions", unknown.height, shown)
        raw.problems.check(int(scan.select(pl.len()).collect().item()), "interactions")
    return scan.filter(pl.col("item").is_not_null()).drop("unknown")


def _sort(numbered: pl.LazyFrame, parts: Path, n_users: int, total: int, progress: Progress) -> list[Path]:
    """Sorted Parquet parts, each of a range of users."""
    written: list[Path] = []
    done = 0
    for first, last in _ranges(_lengths(numbered, n_users), SORT_ROWS):
        frame = numbered.filter(pl.col("user").is_between(first, last - 1)).collect(engine="streaming")
        done += frame.height
        path = parts / f"sorted-{len(written):05}.parquet"
        _in_order(frame).write_parquet(path)
        written.append(path)
        progress("sorting interactions", done, total)
    return written


def _lengths(rows: pl.LazyFrame, n_users: int) -> NDArray[np.int64]:
    """Shape (n_users,): how many rows each user has."""
    counts = rows.group_by("user").len().collect(engine="streaming")
    lengths = np.zeros(n_users, dtype=np.int64)
    lengths[counts["user"].to_numpy()] = counts["len"].to_numpy()
    return lengths


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    return (
        frame.sort("user", "time", "order", "row", nulls_last=False)
        .unique(["user", "item"], keep="last", maintain_order=True)
        .with_columns(order=pl.int_range(pl.len(), dtype=pl.UInt32).over("user"))
        .select("user", "item", "value", "time", "order")
    )


def _ranges(lengths: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """Ranges [first, last) of users with at most ``most`` rows each, or one user with more."""
    ends = np.cumsum(lengths)
    ranges: list[tuple[int, int]] = []
    first = 0
    while first < len(lengths):
        before = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, before + most, side="right")), first + 1)
        ranges.append((first, last))
        first = last
    return ranges


def measure(log: pl.LazyFrame, users: int, items: int) -> Sizes:
    """The sizes of a log of so many users and items, read as far as needed."""
    found = log.select(
        interactions=pl.len(),
        ratings=pl.col("value").count(),
        timed=pl.col("time").count(),
        low=pl.col("value").min(),
        high=pl.col("value").max(),
    ).collect(engine="streaming")
    return Sizes(users=users, items=items, **found.row(0, named=True))

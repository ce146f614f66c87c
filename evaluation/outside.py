"""Ranked lists made by other programs, replayed beside the policies of this one.

A file of lists is Parquet, CSV, TSV or JSON lines (by its name) with a line for each listed item::

    user, item    ids of the data, as the source has them; numbers are read as text
    rank          1 for the best of a user's list; any numbers that rise down the list
    score         in place of rank: higher is better
    seed          optional, whole numbers: lists that depend on chance, one set for each seed
    fold          optional, the fold's name: where a replay has several folds, a line is for this one alone

What the harness's rules keep out of lists (what the user's past holds, what is no candidate, an item for the second
time) is dropped and counted, and what stands below moves up; equal ranks or scores are ordered as all ties are. Lines
with an unknown user or item are counted. A user with no line has an empty list: a miss, and counted.
:mod:`.exporting` writes what such a program may be trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..catalog.readers.files import format_of, header, require
from ..catalog.text import one_line
from ..errors import UserError
from .exporting import item_ids, user_ids
from .folds import NOTHING, Fold, gathered
from .policies import Policy, PolicyInputs

if TYPE_CHECKING:
    from .results import ReplayResult

# What is counted.
_READ, _USERS, _ITEMS = "lines read", "lines of unknown users, left out", "lines of unknown items, left out"
_NONE = "users asked about without a list, each a miss"
_BARRED = "listed items left out because they may not be ranked"
_TWICE = "items left out because the list has them already"
_COUNTED = (_READ, _USERS, _ITEMS, _NONE, _BARRED, _TWICE)
#: Queries whose lists are checked at once: what bounds the memory.
_QUERIES = 1024


def lists_policy(path: Path) -> Policy:
    """The policy that answers with the lists of a file. Its name is ``lists:`` and the file's, without the ending.

    It is ``random`` where the file has lists of several seeds.

    Raises:
        UserError: the file is missing or no table, or lacks a column.
    """
    seeds = _seeds(read_lists_file(path))
    return Policy(
        name=f"lists:{path.stem}",
        fit=partial(_fit, path),
        random=len(seeds) > 1,
        config=hashlib.sha256(path.read_bytes()).hexdigest(),
        about=f"lists made by another program ({path.name}); its times are those of reading them",
    )


def read_lists_file(path: Path) -> pl.DataFrame:
    """The lines of a file of lists.

    Returns:
        ``user``, ``item`` (text), ``place`` (Float64, lower is better), and where the file has them ``seed`` (Int64)
        and ``fold`` (text).

    Raises:
        UserError: the file is missing or no table, lacks a column, or a value is missing or of another kind.
    """
    frame = _table(path)
    places = [name for name in ("rank", "score") if name in frame.columns]
    require(path, frame.columns, ["user", "item", *(places[:1] or ["rank"])])
    if frame.height == 0:
        raise UserError(f"{path} holds no lists: a line for each listed item is expected")
    return frame.select(
        _text(path, frame, "user"),
        _text(path, frame, "item"),
        place=_number(path, frame, places[0]) * (1 if places[0] == "rank" else -1),
        **({"fold": _text(path, frame, "fold")} if "fold" in frame.columns else {}),
        **({"seed": _number(path, frame, "seed").cast(pl.Int64)} if "seed" in frame.columns else {}),
    )


def left_out_of_lists(result: ReplayResult) -> list[str]:
    """What was left out of the lists of other programs, a line for each policy that lost anything."""
    lines = []
    for policy in result.policies:
        lost = [f"{policy.figures[what]:,.6g} {what}" for what in _COUNTED[1:] if policy.figures.get(what)]
        if lost:
            lines.append(f"{policy.name}: {'; '.join(lost)}.")
    return lines


class ReplayedLists:
    """Answers with lists read from a file.

    Args:
        name: of the policy.
        path: the file, to be named in what is said.
        lines: of one seed, as :func:`read_lists_file` gives them.
        users, items: ids of the log's users and of the catalogue's items, in their order.

    Raises:
        UserError: no line has a user and an item of the data.
    """

    def __init__(self, name: str, path: Path, lines: pl.DataFrame, users: pl.Series, items: pl.Series) -> None:
        self.name = name
        self._path, self._n_users = path, len(users)
        lines = _numbered(_numbered(lines, "user", users), "item", items)
        known = lines.drop_nulls(["user", "item"])
        if known.height == 0:
            raise UserError(
                f"none of the {lines.height:,} lines of {path} has a user and an item of these data: their ids are "
                "those of the source, such as --export writes"
            )
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._counts[_READ] = lines.height
        self._counts[_USERS] = lines["user"].null_count()
        self._counts[_ITEMS] = lines["item"].null_count()
        self._known = known.sort("user", maintain_order=True)

    @property
    def figures(self) -> Mapping[str, float]:
        """What was read and what was left out, of the folds asked about so far."""
        return {name: float(count) for name, count in self._counts.items()}

    def lists(self, fold: Fold, k: int) -> NDArray[np.int64]:
        """Shape (len(fold), k): see :class:`.policies.Lister`.

        Raises:
            UserError: the file's lines name folds, and none is this one.
        """
        lines = self._known
        if "fold" in lines.columns:
            there = lines["fold"].unique().sort().to_list()
            if fold.name not in there:
                raise UserError(f"{self._path} has no lists for the fold {fold.name!r}: it has {_few(there)}")
            lines = lines.filter(pl.col("fold") == fold.name)
        asked, rows, place = (lines[name].to_numpy() for name in ("user", "item", "place"))
        counts = np.bincount(asked, minlength=self._n_users)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._counts[_NONE] += int((counts[fold.users] == 0).sum())
        first = np.arange(fold.n_items) if fold.order is None else np.argsort(fold.order)
        found = np.full((len(fold), k), NOTHING, dtype=np.int64)
        for start in range(0, len(fold), _QUERIES):
            stop = min(start + _QUERIES, len(fold))
            at, ends = gathered(offsets, fold.users[start:stop])
            query = np.repeat(np.arange(stop - start), np.diff(ends))
            by_place = np.lexsort((first[rows[at]], place[at], query))
            self._fill(found[start:stop], query[by_place], rows[at][by_place], fold.rankable(start, stop))
        return found

    def _fill(
        self, found: NDArray[np.int64], query: NDArray[np.int64], rows: NDArray[np.int64], allowed: NDArray[np.bool_]
    ) -> None:
        """Write the lists of a few queries; their entries come query by query, best first."""
        fine = allowed[query, rows]
        self._counts[_BARRED] += int((~fine).sum())
        query, rows = query[fine], rows[fine]
        _, once = np.unique(query * allowed.shape[1] + rows, return_index=True)
        self._counts[_TWICE] += len(rows) - len(once)
        once.sort()
        query, rows = query[once], rows[once]
        place = np.arange(len(query)) - np.searchsorted(query, query)
        listed = place < found.shape[1]
        found[query[listed], place[listed]] = rows[listed]


def _fit(path: Path, inputs: PolicyInputs) -> ReplayedLists:
    lines = read_lists_file(path)
    seeds = _seeds(lines)
    if len(seeds) > 1:
        if inputs.seed not in seeds:
            raise UserError(f"{path} has no lists of seed {inputs.seed}: it has those of {_few(seeds)}")
        lines = lines.filter(pl.col("seed") == inputs.seed)
    return ReplayedLists(f"lists:{path.stem}", path, lines, user_ids(inputs), item_ids(inputs))


def _seeds(lines: pl.DataFrame) -> list[int]:
    found: list[int] = lines["seed"].unique().sort().to_list() if "seed" in lines.columns else []
    return found


def _table(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise UserError(f"{path} is missing: give a file of lists (docs/evaluation.md, other programs)")
    form = format_of(path)
    ids = dict.fromkeys(("user", "item", "fold"), pl.String)
    try:
        if form == "csv":
            names, separator = header(path)
            texts = {name: kind for name, kind in ids.items() if name in names}
            return pl.read_csv(path, separator=separator, schema_overrides=texts)
        if form == "jsonl":
            return pl.read_ndjson(path, infer_schema_length=None)
        if form == "parquet":
            return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path} cannot be read as {form}: {one_line(str(error), 120)}") from error
    raise UserError(f"{path} is no file of lists by its name: .parquet, .csv, .tsv or .jsonl is expected")


def _text(path: Path, frame: pl.DataFrame, name: str) -> pl.Series:
    column = _whole(path, frame, name)
    if column.dtype != pl.String and not column.dtype.is_integer():
        raise UserError(f"the column {name!r} of {path} holds {column.dtype} values: ids are text or whole numbers")
    return column.cast(pl.String)


def _number(path: Path, frame: pl.DataFrame, name: str) -> pl.Series:
    column = _whole(path, frame, name)
    if not column.dtype.is_numeric() or (name == "seed" and not column.dtype.is_integer()):
        kind = "whole numbers" if name == "seed" else "numbers"
        raise UserError(f"the column {name!r} of {path} holds {column.dtype} values: {kind} are expected")
    numbers = column.cast(pl.Float64)
    if not numbers.is_finite().all():
        line = int(numbers.is_finite().arg_min() or 0) + 1
        raise UserError(
            f"the column {name!r} of {path} holds {column[line - 1]} for list line {line}: no finite number"
        )
    return numbers


def _whole(path: Path, frame: pl.DataFrame, name: str) -> pl.Series:
    column = frame[name]
    if column.null_count():
        raise UserError(f"the column {name!r} of {path} has {column.null_count():,} empty values: fill or drop them")
    return column


def _numbered(lines: pl.DataFrame, name: str, ids: pl.Series) -> pl.DataFrame:
    """The column's ids as their numbers (Int64), null where there is no such id."""
    numbers = pl.DataFrame({name: ids.cast(pl.String), "number": pl.int_range(len(ids), eager=True)})
    joined = lines.join(numbers, on=name, how="left", maintain_order="left")
    return joined.drop(name).rename({"number": name})


def _few(names: list[str] | list[int]) -> str:
    return ", ".join(str(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")

"""What every reader returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import polars as pl

from ...errors import UserError
from ..items import Catalogue
from ..problems import Problems

#: Columns of `RawData.interactions`.
INTERACTIONS: Mapping[str, pl.DataType] = {
    "user": pl.String(),
    "item": pl.String(),
    "value": pl.Float32(),
    "time": pl.Int64(),
    "order": pl.Int64(),
}


#: Endings of packed data sets.
PACKED = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz")


class Progress(Protocol):
    """Told how far a long step is. ``done`` and ``total`` are in the step's own unit (bytes, rows)."""

    def __call__(self, what: str, done: int, total: int | None = None) -> None: ...


def no_progress(what: str, done: int, total: int | None = None) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class RawData:
    """One data set, read and judged, not yet indexed.

    Attributes:
        name: of the data set.
        kind: which reader read it.
        catalogue: its items; ``image`` is the picture's path relative to the data folder.
        interactions: columns ``user`` (str), ``item`` (str, in the catalogue), ``value`` (f32, null = a positive
            event with no grade), ``time`` (i64 Unix seconds, null = unknown), ``order`` (i64, breaks ties in time:
            the source's order column, else the line number). In file order; may hold a user and item twice.
        users: ``user`` (str) and what the source says of them; may be empty.
        images: absolute path of each item's picture, by item id.
        problems: bad rows and settled cases, counted.
        notes: what a person should know of how the data was read, a line each.
        simulated: the log is made up; said wherever its figures show.
        scratch: keeps the temporary folder behind ``interactions`` alive.
    """

    name: str
    kind: str
    catalogue: Catalogue
    interactions: pl.LazyFrame
    users: pl.DataFrame
    images: Mapping[str, Path] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)
    notes: tuple[str, ...] = ()
    simulated: bool = False
    scratch: object | None = field(default=None, repr=False, compare=False)


def inside(root: Path, name: str) -> Path:
    """A file of the data folder by its relative name, resolved.

    Raises:
        UserError: the name is absolute or leaves the folder, by ``..`` or by a symbolic link.
    """
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise UserError(f"{root / name} leaves the data folder {root} (a link, or its name): copy the file into it")
    return path


def data_folder(data: Path) -> Path:
    """The folder of a data set, resolved.

    Raises:
        UserError: it is missing, a file, empty, cannot be read, or one of its files is a link that leaves it.
    """
    if not data.exists():
        raise UserError(f"{data} does not exist: --data takes the folder of a data set")
    if not data.is_dir():
        mend = "unpack it and give the folder" if data.suffix.lower() in (*PACKED, ".gz") else "give its folder"
        raise UserError(f"{data} is a file, not a folder: {mend}")
    try:
        paths = [path for path in data.iterdir() if not path.name.startswith(".")]
    except PermissionError:
        raise UserError(f"{data} cannot be read: give yourself the right to read it") from None
    if not paths:
        raise UserError(
            f"{data} is empty: put the files of a data set into it (docs/data-formats.md lists what is read)"
        )
    for path in paths:
        if path.is_symlink() and path.is_file():
            inside(data, path.name)
    return data.resolve()

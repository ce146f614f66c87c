"""The last steps every reader shares: pictures, the log, the result."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from ...errors import UserError
from ..problems import Problems
from .log import LogReader
from .raw import Progress, RawData
from .table import ItemTable, find_images


def assemble(
    root: Path,
    kind: str,
    table: ItemTable,
    problems: Problems,
    read_log: Callable[[LogReader], None],
    *,
    progress: Progress,
    scratch: Path | None,
    name: str | None = None,
    users: pl.DataFrame | None = None,
    images: str | None = None,
) -> RawData:
    """Find the pictures, read the log against the items, and put it all together.

    Args:
        root: the data folder, resolved.
        table: all items.
        read_log: reads every interaction file into the reader it is handed.
        scratch: where temporary files go; None = the system's place.
        images: name of the images folder; None looks for a usual one.

    Raises:
        UserError: no item or no interaction, a picture outside the folder, or over 1 % bad rows in a file.
    """
    found = find_images(root, table, problems, progress, images)
    catalogue = table.catalogue(found, root)
    folder = _scratch_folder(scratch)
    log = LogReader(catalogue.frame["id"], problems, Path(folder.name), progress)
    read_log(log)
    return RawData(
        name=name or root.name,
        kind=kind,
        catalogue=catalogue,
        interactions=log.finish(),
        users=pl.DataFrame(schema={"user": pl.String}) if users is None else users,
        images=found,
        problems=problems,
        scratch=folder,
    )


def _scratch_folder(parent: Path | None) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder that goes when its object does."""
    try:
        return tempfile.TemporaryDirectory(prefix="llm4rec-", dir=parent)
    except OSError as error:
        raise UserError(f"no temporary folder can be made ({error}): free some space or set TMPDIR") from None

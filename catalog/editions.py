"""The files of a build's log, and how one edition of them takes the place of another.

A log is written once. When a user is taken out of it (:mod:`.dropping`) it has another *edition*: users, interactions
and offsets are files with a number behind their names, and the sizes, which say which number holds, are swapped.
Whoever reads meanwhile finds all of one edition, or that a file is gone and another edition holds.
"""

from __future__ import annotations

import re
from pathlib import Path

from . import durable

USERS, INTERACTIONS, OFFSETS, SIZES = "users.parquet", "interactions.parquet", "offsets.npy", "interactions.json"
#: What each edition has of its own.
EDITED = (USERS, INTERACTIONS, OFFSETS)


def named(name: str, edition: int) -> str:
    """The name of a file in an edition: in the first it is plain."""
    stem, _, suffix = name.partition(".")
    return f"{stem}-{edition}.{suffix}" if edition else name


def stamp(folder: Path) -> tuple[int, ...]:
    """Differs when the sizes were swapped; nothing where there are none. Costs some microseconds."""
    try:
        found = (folder / SIZES).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def sweep(folder: Path, edition: int) -> None:
    """Remove the files of all other editions, and a swap that was cut off."""
    for path in folder.iterdir():
        for name in EDITED:
            stem, _, suffix = name.partition(".")
            if re.fullmatch(rf"{stem}(-\d+)?\.{suffix}", path.name) and path.name != named(name, edition):
                path.unlink()
        if path.name.startswith(f".{SIZES}-"):
            path.unlink()
    durable.sync(folder)

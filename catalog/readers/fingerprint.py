"""Names the state of a data folder, so that a build knows whether its input is the one it began with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ...errors import UserError
from .files import format_of
from .raw import data_folder

#: Raised whenever a reader reads the same files differently.
READERS_VERSION = 1
#: Tables and mappings up to this size go in with their content, larger files and pictures with their time.
CONTENT_LIMIT = 1024 * 1024


def fingerprint(data: Path, mapping: Path | None = None) -> str:
    """Hexadecimal digest (64 letters) of what a folder holds.

    Names and sizes of all files, the content of small tables and mapping files, the time of the last change of
    everything else. A copy of the folder that keeps times has the same fingerprint.

    Raises:
        UserError: the folder or the mapping is missing.
    """
    root = data_folder(data)
    digest = hashlib.sha256(f"readers {READERS_VERSION}".encode())
    for name, entry in _walk(root, ""):
        status = entry.stat(follow_symlinks=False)
        digest.update(f"\0{name}\0{status.st_size}\0".encode(errors="surrogateescape"))
        path = Path(entry.path)
        if entry.is_symlink():
            digest.update(os.fsencode(path.readlink()))
            status = path.stat() if path.exists() else status
        small_text = format_of(path) or path.suffix == ".toml"
        if small_text and status.st_size <= CONTENT_LIMIT and entry.is_file():
            digest.update(path.read_bytes())
        else:
            digest.update(str(status.st_mtime_ns).encode())
    if mapping is not None:
        try:
            digest.update(b"\0mapping\0" + mapping.read_bytes())
        except OSError:
            raise UserError(f"mapping file {mapping} cannot be read") from None
    return digest.hexdigest()


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files under a folder in a fixed order, links to folders not followed."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry

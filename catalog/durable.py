"""Files written so that a power cut or a kill leaves the old one or the new one, whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until the disk has what a file holds, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(path: Path, content: bytes) -> None:
    """Write a file, or write it anew, whole or not at all; it is on the disk when this returns.

    Readers that have the old one open keep it. Permissions stay; a new file may be read by its owner alone.

    Raises:
        OSError: it cannot be written. The old one is as it was.
    """
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            if path.exists():
                shutil.copymode(path, temporary)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # Ctrl-C too: no half-written file is left
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)

"""Readers: real data sets, and any tables by a mapping file, read into one form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...errors import UserError
from . import amazon, movielens, yelp
from .fingerprint import fingerprint
from .mapping import MAPPING_FILE, load_mapping, parse_mapping, read_mapped
from .propose import propose_mapping
from .raw import INTERACTIONS, PACKED, Progress, RawData, data_folder, no_progress

__all__ = [
    "INTERACTIONS",
    "MAPPING_FILE",
    "Progress",
    "RawData",
    "fingerprint",
    "no_progress",
    "propose_mapping",
    "read",
]

_KNOWN = (
    "MovieLens (u.data and u.item; ratings.dat and movies.dat; ratings.csv and movies.csv), "
    "Amazon reviews (meta_X.json.gz or .jsonl.gz and X_5.json.gz or X.jsonl.gz), "
    "Yelp (yelp_academic_dataset_business.json and _review.json), "
    f"or CSV, TSV, JSON lines, Parquet tables of items and interactions, with a {MAPPING_FILE} that names their columns"
)


def read(
    data: Path,
    *,
    mapping: Path | None = None,
    progress: Progress = no_progress,
    scratch: Path | None = None,
) -> RawData:
    """Read a data set.

    A mapping given here comes first, then ``llm4rec.toml`` in the folder, then the formats known by their file
    names, then a mapping proposed from the tables (the notes say so and show it).

    Args:
        data: the folder of the data set.
        mapping: a mapping file; its file names are relative to ``data``.
        progress: told how far reading is.
        scratch: folder for temporary files (about a quarter of a plain log's size); None = the system's place.

    Raises:
        UserError: the folder is missing, empty, in no known format, or its files are damaged; or more than 1 % of
            a file's rows are bad. The message is a clear line that names file, line and mend.
    """
    root = data_folder(data)
    if mapping is not None or (root / MAPPING_FILE).is_file():
        return read_mapped(root, load_mapping(mapping or root / MAPPING_FILE), progress, scratch)
    if (kind := movielens.detect(root)) is not None:
        return movielens.read_movielens(root, kind, progress, scratch)
    if (found := amazon.detect(root)) is not None:
        return amazon.read_amazon(root, *found, progress, scratch)
    if yelp.detect(root):
        return yelp.read_yelp(root, progress, scratch)
    try:
        proposed = propose_mapping(root)
    except UserError as error:
        raise UserError(f"{data} is in no format that is read here. {_hint(root)}Read are: {_KNOWN}. {error}") from None
    raw = read_mapped(root, parse_mapping(proposed, "the proposed mapping"), progress, scratch)
    note = (
        f"no {MAPPING_FILE} in {root.name}; it was read by a proposed mapping (--write-mapping keeps it):\n{proposed}"
    )
    return replace(raw, kind="mapping (proposed)", notes=(note, *raw.notes))


def _hint(root: Path) -> str:
    """Points to the data set when it lies one folder deeper or is still packed."""
    for path in sorted(root.iterdir()):
        if path.is_dir() and movielens.detect(path):
            return f"Its folder {path.name} is MovieLens: give {path}. "
        if path.suffix.lower() in PACKED:
            return f"{path.name} is packed: unpack it. "
    return ""

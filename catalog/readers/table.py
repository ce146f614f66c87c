"""Builds the catalogue of a data set, item by item, with attribute kinds known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from ...errors import UserError
from ..items import CORE_COLUMNS, AttributeKind, AttributeValue, Catalogue
from ..problems import Problems
from .raw import Progress, inside

#: Items are moved to a compact frame every this many.
_BATCH = 20_000
_TYPES: Mapping[AttributeKind, pl.DataType] = {
    "number": pl.Float64(),
    "label": pl.String(),
    "labels": pl.List(pl.String()),
}
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"})
#: Folders looked into for pictures, first found wins.
IMAGE_FOLDERS = ("images", "posters", "photos", "pictures", "covers")


class ItemTable:
    """Collects items; the first of two with one id wins.

    Args:
        kinds: kind of each attribute, in the order of the catalogue's columns.
        problems: repeated ids and absent titles are counted here.
    """

    def __init__(self, kinds: Mapping[str, AttributeKind], problems: Problems) -> None:
        if taken := set(kinds) & set(CORE_COLUMNS):
            raise UserError(f"an attribute cannot be called {', '.join(sorted(taken))}: choose another name for it")
        self.ids: dict[str, None] = {}
        self._problems = problems
        self._schema: dict[str, pl.DataType] = {
            "id": pl.String(),
            "title": pl.String(),
            "description": pl.String(),
            "image": pl.String(),
            "available": pl.Boolean(),
            **{name: _TYPES[kind] for name, kind in kinds.items()},
        }
        self._rows: list[tuple[Any, ...]] = []
        self._frames: list[pl.DataFrame] = []

    def add(
        self,
        item_id: str,
        title: str,
        description: str = "",
        attributes: Mapping[str, AttributeValue | None] | None = None,
        *,
        image: str | None = None,
        available: bool = True,
    ) -> None:
        """Add one item. An item with no title is called by its id; both cases are counted."""
        if item_id in self.ids:
            self._problems.settle("items whose id came before, left out (the first one counts)")
            return
        self.ids[item_id] = None
        if not title:
            self._problems.settle("items with no title, called by their id")
        given = attributes or {}
        values = (_stored(given.get(name)) for name in list(self._schema)[len(CORE_COLUMNS) :])
        self._rows.append((item_id, title or item_id, description, image, available, *values))
        if len(self._rows) >= _BATCH:
            self._flush()

    def catalogue(self, images: Mapping[str, Path], root: Path) -> Catalogue:
        """All items in the order they came, with their pictures; attributes that no item has are left out.

        Raises:
            UserError: there is no item.
        """
        self._flush()
        if not self.ids:
            raise UserError(f"{root} holds no item that can be read")
        frame = pl.concat(self._frames)
        names = {item: path.relative_to(root).as_posix() for item, path in images.items()}
        frame = frame.with_columns(
            pl.Series("image", [names.get(item) for item in frame["id"].to_list()], dtype=pl.String)
        )
        unfilled = [
            name for name in frame.columns if name not in CORE_COLUMNS and frame[name].null_count() == len(frame)
        ]
        return Catalogue(frame.drop(unfilled))

    @property
    def named_images(self) -> dict[str, str]:
        """The picture's file name of each item that the source names one for."""
        self._flush()
        frame = pl.concat(self._frames).filter(pl.col("image").is_not_null()) if self._frames else pl.DataFrame()
        return dict(frame.select("id", "image").iter_rows()) if frame.height else {}

    def _flush(self) -> None:
        if self._rows:
            self._frames.append(pl.DataFrame(self._rows, schema=self._schema, orient="row"))
            self._rows = []


def find_images(
    root: Path,
    table: ItemTable,
    problems: Problems,
    progress: Progress,
    folder: str | None = None,
) -> dict[str, Path]:
    """Pictures of the items: by the name the source gives, else the file whose stem is the item's id.

    Args:
        root: the data folder.
        folder: name of the images folder; None looks for one of `IMAGE_FOLDERS` and is content with none.

    Raises:
        UserError: the named folder does not exist, or a picture is a symbolic link that leaves the data folder.
    """
    names = [folder] if folder else [name for name in IMAGE_FOLDERS if (root / name).is_dir()]
    if not names:
        return {}
    inside(root, names[0])
    place = root / names[0]
    if not place.is_dir():
        raise UserError(f"{place} is no folder: correct the images folder's name")
    files = sorted(path for path in place.iterdir() if path.suffix.lower() in _SUFFIXES)
    progress("finding images", len(files), len(files))
    by_name = {path.name: path for path in files}
    by_stem: dict[str, Path] = {}
    for path in files:
        by_stem.setdefault(path.stem, path)
    named = table.named_images
    found: dict[str, Path] = {}
    for item in table.ids:
        picture = by_name.get(Path(named[item]).name) if item in named else by_stem.get(item)
        if picture is not None:
            inside(root, picture.relative_to(root).as_posix())
            found[item] = picture
    problems.settle("items with no image", len(table.ids) - len(found))
    problems.settle("images of no item, left out", len(files) - len(set(found.values())))
    return found


def _stored(value: AttributeValue | None) -> Any:
    return list(value) if isinstance(value, tuple) else value

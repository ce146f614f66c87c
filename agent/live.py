"""Changing a running catalogue: items from a file are checked, encoded and laid over the build."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError

from ..catalog.changes import ItemRecord, LiveVector
from ..catalog.items import Catalogue, Item
from ..catalog.late_encoders import build_encoders
from ..catalog.overlay import Overlay
from ..catalog.views import item_text
from ..catalog.workspace import Workspace
from ..errors import UserError
from ..tools.results import Versioned
from .opening import read_catalogue

#: Longest side of the pictures kept, in pixels: as the build's.
IMAGE_SIZE = 512


class CatalogueChange(Versioned):
    """What a change did; ``version`` is the live catalogue's, and grows with every change."""

    schema_: Literal["llm4rec.items-changed/1"] = Field(default="llm4rec.items-changed/1", alias="schema")
    mode: Literal["add", "update", "remove", "restore"]
    items: tuple[str, ...]
    version: int


def change_items(root: Path, source: Path, *, mode: Literal["add", "update"]) -> CatalogueChange:
    """Add or replace the items of a JSON-lines file; all lines are checked before the first is written.

    A picture is named by ``image``, a path relative to the file's folder; it is decoded within bounds and kept in
    the workspace under a name made of its content.

    Raises:
        UserError: a line is no item (file and line are named), a picture cannot be read or lies outside the folder,
            an id is taken (add) or unknown (update).
    """
    from ..catalog.images import contained, open_image, thumbnail_bytes

    workspace = Workspace(root)
    build = workspace.open()
    base = read_catalogue(build)
    read = list(_read(source))
    pictures: dict[str, bytes] = {}
    for line, item, picture in read:
        if picture is not None:
            try:
                pictures[item.id] = thumbnail_bytes(open_image(contained(source.parent, picture)), IMAGE_SIZE)
            except UserError as error:
                raise UserError(f"{source}:{line}: {error}") from error
    text_encoder, image_encoder = build_encoders(build)
    with Overlay(workspace.state / "catalogue.sqlite") as overlay:
        known = overlay.apply(base)
        for line, item, _ in read:
            if (item.id in known.row_of) != (mode == "update"):
                raise UserError(
                    f"{source}:{line}: item {item.id!r} "
                    + ("is there already: use 'items update'" if mode == "add" else "is not there: use 'items add'")
                )
        texts = text_encoder.encode([item_text(item) for _, item, _ in read])
        with overlay.together():
            for position, (line, item, _) in enumerate(read):
                content = pictures.get(item.id)
                vectors = {"text": LiveVector(text_encoder.model_id, np.asarray(texts[position]))}
                if image_encoder is not None:
                    seen = None if content is None else image_encoder.encode_images([open_image(content)])[0]
                    vectors["image"] = LiveVector(image_encoder.model_id, seen)
                kept = None if content is None else _keep(content, workspace.state / "images")
                changed = Item(item.id, item.title, item.description, kept, item.attributes, item.available)
                try:
                    (overlay.add if mode == "add" else overlay.update)(changed, vectors, base=known)
                except UserError as error:
                    raise UserError(f"{source}:{line}: {error}") from error
        return CatalogueChange(mode=mode, items=tuple(item.id for _, item, _ in read), version=overlay.version())


def _keep(content: bytes, folder: Path) -> str:
    """Write a picture under a name made of its content, whole or not at all; its name."""
    folder.mkdir(exist_ok=True)
    name = f"live-{hashlib.sha256(content).hexdigest()[:24]}.jpg"
    temporary = folder / f".{name}.{os.getpid()}"
    temporary.write_bytes(content)
    temporary.replace(folder / name)
    return name


def set_availability(root: Path, ids: Sequence[str], *, available: bool) -> CatalogueChange:
    """Take items out of every list, or let them back in: all of them or, on an error, none.

    Raises:
        UserError: an id is unknown, or is in that state already.
    """
    workspace = Workspace(root)
    base = read_catalogue(workspace.open())
    with Overlay(workspace.state / "catalogue.sqlite") as overlay:
        known: Catalogue = overlay.apply(base)
        with overlay.together():
            for item_id in ids:
                (overlay.restore if available else overlay.remove)(item_id, base=known)
        return CatalogueChange(mode="restore" if available else "remove", items=tuple(ids), version=overlay.version())


def _read(source: Path) -> Iterator[tuple[int, Item, str | None]]:
    """Line number, item without its picture, and the picture's path."""
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{source} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{source} cannot be read as UTF-8 text: {error}") from None
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            picture = record.pop("image") if isinstance(record, dict) and isinstance(record.get("image"), str) else None
            item = ItemRecord.model_validate(record).item()
        except json.JSONDecodeError as error:
            raise UserError(f"{source}:{number}: not JSON ({error.msg} at column {error.colno})") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the line"
            raise UserError(f"{source}:{number}: {where}: {first['msg']}") from None
        if item.id in seen:
            raise UserError(f"{source}:{number}: item {item.id!r} stands here twice")
        seen.add(item.id)
        yield number, item, picture
    if not seen:
        raise UserError(f"{source} holds no items: one JSON object a line is expected")

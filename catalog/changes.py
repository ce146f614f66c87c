"""Live changes of a catalogue: what may be in one, and how they are laid over what was built."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from ..errors import UserError
from .items import AttributeKind, AttributeValue, Catalogue, Item
from .views import item_text

if TYPE_CHECKING:
    from .index import ViewIndex
    from .words import WordIndex

# Marks that reorder the text around them: a title must not rewrite the line it stands in.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def _printable(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    kept = (
        c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs") else " " for c in value if c not in _REORDERING
    )
    return "".join(kept).strip()


def _one_line(value: Any) -> Any:
    return " ".join(_printable(value).split()) if isinstance(value, str) else value


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be finite")
    return value


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, a text or a list of texts")
    return value


def _same_line(value: str) -> str:
    if value != _one_line(value):
        raise ValueError("must be one line without control characters or surrounding space")
    return value


_Line = Annotated[str, BeforeValidator(_one_line), StringConstraints(min_length=1)]
_Label = Annotated[_Line, StringConstraints(max_length=300)]
_Labels = Annotated[tuple[_Label, ...], Field(max_length=200)]
_Value = Annotated[Annotated[float, AfterValidator(_number)] | _Label | _Labels, BeforeValidator(_not_bool)]
_Name = Annotated[_Line, StringConstraints(max_length=100)]


class ItemRecord(BaseModel):
    """An item as it comes from outside, bounded and cleaned: control characters become spaces, marks that reorder
    text are dropped, line breaks stay in the description alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_same_line)]
    title: Annotated[_Line, StringConstraints(max_length=500)]
    description: Annotated[str, BeforeValidator(_printable), StringConstraints(max_length=20_000)] = ""
    image: Annotated[_Line, StringConstraints(max_length=255)] | None = None
    attributes: Annotated[dict[_Name, _Value], Field(max_length=100)] = {}
    available: bool = True

    @field_validator("image")
    @classmethod
    def _file_name(cls, value: str | None) -> str | None:
        if value is not None and (value.startswith(".") or "/" in value or "\\" in value or ":" in value):
            raise ValueError("must be the name of a file, not a path")
        return value

    @field_validator("attributes")
    @classmethod
    def _names(cls, value: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
        lowered = {name.lower(): one for name, one in value.items()}
        if len(lowered) != len(value) or lowered.keys() & {"id", "title", "description", "image", "available"}:
            raise ValueError("names must differ from one another and from id, title, description, image and available")
        return {name: one for name, one in lowered.items() if one != ()}

    def item(self) -> Item:
        return Item(**dict(self))


@dataclass(frozen=True, slots=True)
class LiveVector:
    """What an encoder made of a live item; no vector where the item lacks what it sees (a picture, say)."""

    model_id: str
    vector: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Change:
    """What has changed of one item.

    Attributes:
        item_id: whose.
        item: the whole item as added or updated; None where the built one holds.
        removed: whether it was taken out.
        vectors: by view.
    """

    item_id: str
    item: Item | None
    removed: bool
    vectors: Mapping[str, LiveVector]


@dataclass(frozen=True)
class Changes:
    """All live changes at one moment, in the order in which their items were first changed.

    Apply the catalogue and the views of one snapshot: their rows then agree.
    """

    version: int
    all: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.all)

    def apply(self, catalogue: Catalogue) -> Catalogue:
        """The catalogue with the changes: built items keep their rows, added ones follow in the order added.

        An item that was updated and is no longer in the build is appended; one that was added and now is in the build
        takes its row. A value that does not fit the kind its attribute has in this build is left out:
        :meth:`misfits` says which.
        """
        if not self.all:
            return catalogue
        frame = catalogue.frame
        whole = [change.item for change in self.all if change.item is not None]
        if whole:
            kinds = _kinds(catalogue, whole)
            fitted = [replace(item, attributes=dict(_fitting(item, kinds))) for item in whole]
            laid = _frame(fitted, kinds)
            wider = frame.with_columns(
                pl.lit(None, dtype=laid.schema[name]).alias(name) for name in laid.columns if name not in frame.columns
            )
            order = np.arange(len(catalogue))
            added = []
            for position, item in enumerate(whole):
                row = catalogue.row_of.get(item.id)
                if row is None:
                    added.append(len(catalogue) + position)
                else:
                    order[row] = len(catalogue) + position
            frame = pl.concat([wider, laid.select(wider.columns)])[np.concatenate([order, added]).astype(np.int64)]
        removed = [change.item_id for change in self.all if change.removed]
        if removed:
            frame = frame.with_columns(available=pl.col("available") & ~pl.col("id").is_in(removed))
        return Catalogue(frame)

    def misfits(self, catalogue: Catalogue) -> tuple[str, ...]:
        """One line for each value that :meth:`apply` leaves out."""
        whole = [change.item for change in self.all if change.item is not None]
        kinds = _kinds(catalogue, whole)
        return tuple(
            f"live item {item.id}: {name} is a {kinds[name]} in this build, {item.attributes[name]!r} is left out"
            for item in whole
            for fitting in [dict(_fitting(item, kinds))]
            for name in item.attributes
            if name not in fitting
        )

    def apply_view(self, view: ViewIndex, applied: Catalogue) -> ViewIndex:
        """The view with the changes.

        An added or updated item has the vector that was stored with it if the view's own encoder made it, and otherwise
        none, its built one included: that belongs to what the item was. :meth:`unembedded` names such items.

        Args:
            view: as opened, without changes.
            applied: the catalogue from :meth:`apply`.
        """
        ids, vectors = self.vectors(view.manifest.view, view.model_id, view.dimension)
        rows = np.array([applied.row_of[item_id] for item_id in ids], dtype=np.int64)
        return view.overlaid(rows, vectors, len(applied))

    def apply_words(self, words: WordIndex, applied: Catalogue) -> WordIndex:
        """The word index with the changes. Args as in :meth:`apply_view`."""
        whole = [change.item for change in self.all if change.item is not None]
        rows = np.array([applied.row_of[item.id] for item in whole], dtype=np.int64)
        return words.overlaid(rows, [item_text(item) for item in whole], len(applied))

    def vectors(self, view: str, model_id: str, dimension: int) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Ids of all added and updated items, and their vectors of one view: shape (m, dimension), zero where none."""
        whole = [change for change in self.all if change.item is not None]
        vectors = np.zeros((len(whole), dimension), dtype=np.float32)
        for position, change in enumerate(whole):
            stored = change.vectors.get(view)
            if stored is not None and stored.model_id == model_id and stored.vector is not None:
                if stored.vector.shape != (dimension,):
                    raise UserError(
                        f"live item {change.item_id}: its {view} vector has {len(stored.vector)} dimensions, the view "
                        f"{dimension}: update the item"
                    )
                vectors[position] = stored.vector
        return tuple(change.item_id for change in whole), vectors

    def unembedded(self, view: str, model_id: str) -> tuple[Item, ...]:
        """Added and updated items whose vector of a view another encoder made, or none: to be encoded anew."""
        return tuple(
            change.item
            for change in self.all
            if change.item is not None and (view not in change.vectors or change.vectors[view].model_id != model_id)
        )


def checked(item: Item, catalogue: Catalogue) -> Item:
    """A live item, bounded and cleaned, its values of the kinds that the catalogue's attributes have.

    Raises:
        UserError: a field is out of bounds, or a value of another kind than its attribute.
    """
    try:
        record = ItemRecord.model_validate(
            {
                "id": item.id,
                "title": item.title,
                "description": item.description,
                "image": item.image,
                "attributes": dict(item.attributes),
                "available": item.available,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:2])
        raise UserError(f"item {item.id[:200]!r}: {where} {first['msg']}") from None
    clean = record.item()
    kinds = _kinds(catalogue, [clean])
    fitting = dict(_fitting(clean, kinds))
    for name, value in clean.attributes.items():
        if name not in fitting:
            raise UserError(f"item {clean.id!r}: {name} is a {kinds[name]} in this catalogue, {value!r} is not")
    return replace(clean, attributes=fitting)


def _kind(value: AttributeValue) -> AttributeKind:
    return "labels" if isinstance(value, tuple) else "label" if isinstance(value, str) else "number"


def _kinds(catalogue: Catalogue, items: list[Item]) -> dict[str, AttributeKind]:
    """Kinds of all attributes: the catalogue's first; of new ones as the items have it, labels where they differ."""
    kinds: dict[str, AttributeKind] = {}
    for name in catalogue.attribute_names:
        dtype = catalogue.frame.schema[name]
        kinds[name] = "labels" if isinstance(dtype, pl.List) else "label" if dtype == pl.String else "number"
    built = set(kinds)
    for item in items:
        for name, value in item.attributes.items():
            if name not in built and kinds.setdefault(name, _kind(value)) != _kind(value):
                kinds[name] = "labels"
    return kinds


def _fitting(item: Item, kinds: Mapping[str, AttributeKind]) -> Iterator[tuple[str, AttributeValue]]:
    """The values that fit, converted where nothing is lost by it."""
    for name, value in item.attributes.items():
        texts = value if isinstance(value, tuple) else (f"{value:.15g}" if isinstance(value, float) else value,)
        match kinds[name]:
            case "labels":
                yield name, texts
            case "label" if len(texts) == 1:
                yield name, texts[0]
            case "number" if isinstance(value, float):
                yield name, value
            case "number" if isinstance(value, str):
                try:
                    number = float(value)
                except ValueError:
                    continue
                if math.isfinite(number):
                    yield name, number
            case _:
                continue


def _frame(items: list[Item], kinds: Mapping[str, AttributeKind]) -> pl.DataFrame:
    dtypes: dict[AttributeKind, Any] = {"number": pl.Float64, "label": pl.String, "labels": pl.List(pl.String)}
    core = ("id", "title", "description", "image", "available")
    columns = {
        name: pl.Series(
            name, [getattr(item, name) for item in items], dtype=pl.Boolean if name == "available" else pl.String
        )
        for name in core
    }
    for name, kind in kinds.items():
        values = [item.attributes.get(name) for item in items]
        columns[name] = pl.Series(
            name, [list(v) if isinstance(v, tuple) else v for v in values], dtype=dtypes[kind], strict=True
        )
    return pl.DataFrame(columns)

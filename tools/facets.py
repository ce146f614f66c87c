"""Which attributes of a catalogue can be asked for, and how: the filter arguments of the listing tools.

A film catalogue gets ``genres``, ``year_min`` and so on; a shop gets ``brand`` and ``price_max``. Nothing here knows
what is sold: the fields follow from what is filled in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from statistics import median
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, create_model

from ..catalog.filters import Filter, mask
from ..catalog.items import AttributeSpec, Catalogue
from ..catalog.text import one_line
from ..errors import ToolError
from .base import Arguments
from .names import Named, NoSuchName, find_name

A = TypeVar("A", bound=Arguments)

#: A label attribute with at most this many values is offered as a choice; with more, by name.
MOST_CHOICES = 40
MOST_NUMBERS = 3
MOST_CHOICE_FACETS = 2
#: Names told one by one where several bear what was said.
MOST_TOLD = 5
#: Numbers people ask by, first; others follow by how many items have them.
USUAL_NUMBERS = ("year", "price", "runtime")


@dataclass(frozen=True, slots=True)
class Facets:
    """The attributes that listing tools can filter by.

    Attributes:
        numbers: asked for by range (``<name>_min``, ``<name>_max``).
        choices: few values, offered as an enumeration (``<name>``, ``not_<name>``).
        names: many values (people, brands, categories), asked for by ``named`` and ``not_named``.
    """

    numbers: tuple[AttributeSpec, ...]
    choices: tuple[AttributeSpec, ...]
    names: tuple[AttributeSpec, ...]


def choose_facets(catalogue: Catalogue) -> Facets:
    """Pick the facets: filled for at least 3 items in 10, and telling items apart."""
    enough = max(2, round(0.3 * len(catalogue)))
    specs = [s for s in catalogue.attributes.values() if s.filled >= enough]
    numbers = [s for s in specs if s.kind == "number" and s.low != s.high]
    numbers.sort(key=lambda s: (USUAL_NUMBERS.index(s.name) if s.name in USUAL_NUMBERS else 9, -s.filled, s.name))
    labels = [s for s in specs if s.kind != "number" and s.distinct >= 2]
    choices = [s for s in labels if s.distinct <= MOST_CHOICES]
    choices.sort(key=lambda s: (s.kind != "labels", s.distinct, s.name))
    names = [s for s in labels if s.distinct > MOST_CHOICES and not s.name.startswith("awards")]
    return Facets(
        numbers=tuple(numbers[:MOST_NUMBERS]),
        choices=tuple(choices[:MOST_CHOICE_FACETS]),
        names=tuple(names),
    )


def facet_fields(facets: Facets) -> dict[str, Any]:
    """The pydantic fields of the filters, for ``create_model``."""
    fields: dict[str, Any] = {}
    for spec in facets.choices:
        options = Literal[tuple(sorted(spec.values))]  # type: ignore[valid-type]
        fields[spec.name] = (options | None, Field(default=None, description=f"{spec.name} it must have"))
        fields[f"not_{spec.name}"] = (options | None, Field(default=None, description=f"{spec.name} to leave out"))
    for spec in facets.numbers:
        low, high = int(np.floor(spec.low or 0)), int(np.ceil(spec.high or 0))
        room = (high - low) // 4 + 1  # a wish may lie a little outside of what there is
        for end in ("min", "max"):
            word = "smallest" if end == "min" else "largest"
            fields[f"{spec.name}_{end}"] = (
                (float if spec.decimals else int) | None,
                Field(default=None, ge=low - room, le=high + room, description=f"{word} {spec.name} ({low}..{high})"),
            )
    if facets.names:
        what = ", ".join(s.name for s in facets.names)
        fields["named"] = (
            str | None,
            Field(default=None, max_length=60, description=f"a name it must carry ({what})"),
        )
        fields["not_named"] = (
            str | None,
            Field(default=None, max_length=60, description="a name to leave out"),
        )
    if facets.numbers:
        compared = Literal[tuple(spec.name for spec in facets.numbers)]  # type: ignore[valid-type]
        for way in ("more", "less"):
            about = f"what there should be {way} of than in the list shown, or than in the item it should be like"
            fields[way] = (compared | None, Field(default=None, description=about))
    fields["without"] = (
        str | None,
        Field(default=None, max_length=60, description="what it should not be about, in words"),
    )
    return fields


def arguments_with_facets(name: str, facets: Facets, **own: Any) -> type[Arguments]:
    """A tool's argument model: its own fields, then the filters of this catalogue."""
    model: type[Arguments] = create_model(name, __base__=Arguments, **own, **facet_fields(facets))
    return model


def filters_of(facets: Facets, arguments: Arguments) -> dict[str, Any]:
    """The filters among a call's arguments: those that were given, by name."""
    names = facet_fields(facets)
    return {name: value for name, value in arguments.model_dump(exclude_none=True).items() if name in names}


def resolve_filters(catalogue: Catalogue, facets: Facets, filters: Mapping[str, Any]) -> Asked:
    """Filters of an earlier call, resolved in the catalogue as it is now.

    Raises:
        ToolError: the catalogue has changed, and a filter means nothing in it any more.
    """
    if not filters:
        return Asked(rows=np.ones(len(catalogue), dtype=np.bool_), words=(), cited=())
    model = arguments_with_facets("Filters", facets)
    try:
        return resolve(catalogue, facets, model.model_validate(dict(filters)))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ToolError(f"the list's filter {where!r} means nothing in the catalogue as it is now") from None


@dataclass(frozen=True)
class Asked:
    """The filters of one call, resolved.

    Attributes:
        rows: shape (n_items,), which items pass.
        words: the filters as people say them ("genres Comedy", "year from 1990").
        cited: attributes that each shown item meets, for claims.
        labels: values of theirs that were asked for, as they were said or read.
        unwanted: what the items should not be about, in words.
        readings: sentences on names that were taken for others than were said.
    """

    rows: NDArray[np.bool_]
    words: tuple[str, ...]
    cited: tuple[str, ...]
    unwanted: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def settled(facets: Facets, arguments: A, shown: Mapping[str, Sequence[float]]) -> A:
    """Comparisons as bounds: "newer" is a year above the middle of the years shown.

    A bound that was given stays where it is the narrower one. The new one is as fine as the attribute's values are: of
    whole numbers the next, of stars in tenths the next tenth.

    Args:
        arguments: of one call.
        shown: the numbers of what is compared with, by attribute.

    Raises:
        ToolError: nothing is shown that has the attribute.
    """
    given = arguments.model_dump(exclude_none=True)
    bounds: dict[str, Any] = {}
    for way in ("more", "less"):
        name = given.get(way)
        if name is None:
            continue
        values = shown.get(name)
        if not values:
            raise ToolError(f"{way} {name} than what? Nothing is shown that has a {name}: give a number")
        decimals = next((spec.decimals for spec in facets.numbers if spec.name == name), 0)
        bound = beyond(median(values), decimals, up=way == "more")
        narrower, end = (max, "min") if way == "more" else (min, "max")
        bounds[f"{name}_{end}"] = narrower(bound, given.get(f"{name}_{end}", bound))
    return arguments.model_copy(update={**bounds, "more": None, "less": None}) if bounds else arguments


def beyond(number: float, decimals: int, *, up: bool) -> float:
    """The next number of so many decimals above a number, or below it; an ``int`` where there are none."""
    step = Decimal(1).scaleb(-decimals)
    exact = Decimal(repr(float(number)))  # as it is written: 4.35 lies on a hundredth, its binary fraction does not
    found = exact.quantize(step, ROUND_FLOOR) + step if up else exact.quantize(step, ROUND_CEILING) - step
    return float(found) if decimals else int(found)


def resolve(catalogue: Catalogue, facets: Facets, arguments: Arguments) -> Asked:
    """Turn a call's filter arguments into rows.

    Raises:
        ToolError: a name that the catalogue does not hold, or not clearly (then it asks which), or an empty range.
    """
    given = {k: v for k, v in arguments.model_dump().items() if v is not None}
    filters: list[Filter] = []
    words: list[str] = []
    cited: list[str] = []
    labels: list[str] = []
    for spec in facets.choices:
        if spec.name in given:
            filters.append(Filter(attribute=spec.name, op="is", value=given[spec.name]))
            words.append(str(given[spec.name]))
            cited.append(spec.name)
            labels.append(str(given[spec.name]))
        if f"not_{spec.name}" in given:
            filters.append(Filter(attribute=spec.name, op="is_not", value=given[f"not_{spec.name}"]))
            words.append(f"no {given[f'not_{spec.name}']}")
    for spec in facets.numbers:
        low, high = given.get(f"{spec.name}_min"), given.get(f"{spec.name}_max")
        if low is not None and high is not None and low > high:
            raise ToolError(f"{spec.name}_min {low:.15g} is above {spec.name}_max {high:.15g}")
        if low is not None:
            filters.append(Filter(attribute=spec.name, op="at_least", value=float(low)))
            words.append(f"{spec.name} from {low:.15g}")
            cited.append(spec.name)
        if high is not None:
            filters.append(Filter(attribute=spec.name, op="at_most", value=float(high)))
            words.append(f"{spec.name} up to {high:.15g}")
            cited.append(spec.name)
    rows = mask(catalogue, tuple(filters))
    readings: list[str] = []
    for field, keep in (("named", True), ("not_named", False)):
        if field in given:
            try:
                named = rows_named(catalogue, facets, given[field])
            except NoSuchName as error:
                if keep:
                    raise
                readings.append(f"Nothing was left out for a name: {error}.")
                continue
            rows = rows & (named.rows if keep else ~named.rows)
            # One name that was taken for what was said stands in its place; several all bear what was said.
            name = named.taken[0] if len(named.taken) == 1 else given[field]
            words.append(name if keep else f"not {name}")
            if keep:
                cited.extend(named.attributes)
                labels.extend(named.taken or (given[field],))
            readings.extend(_reading(given[field], named))
    unwanted = tuple(filter(None, (one_line(given.get("without", ""), 60),)))
    words.extend(f"not {one}" for one in unwanted)
    return Asked(
        rows=rows,
        words=tuple(words),
        cited=tuple(dict.fromkeys(cited)),
        unwanted=unwanted,
        readings=tuple(readings),
        labels=tuple(labels),
    )


def rows_named(catalogue: Catalogue, facets: Facets, name: str) -> Named:
    """Items that carry a name under any name facet: see :func:`.names.find_name`.

    Raises:
        ToolError: no attribute holds it, or several names come near: then the message asks which was meant.
    """
    return find_name(catalogue, facets.names, name)


def _reading(said: str, named: Named) -> list[str]:
    """What a name was taken for, where that is not what was said."""
    if not named.taken:
        return []
    told = [one_line(name, 60) for name in named.taken[:MOST_TOLD]]
    more = len(named.taken) - len(told)
    what = told[0] if len(named.taken) == 1 else "any of " + ", ".join(told) + (f" and {more} more" if more else "")
    return [f"“{one_line(said, 60)}” was read as {what}."]

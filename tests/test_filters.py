"""Conditions on attributes: spelling, meaning and messages."""

from __future__ import annotations

import gc
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.catalog import filters as module
from llm4rec.catalog.filters import Filter, Op, closest_values, mask, parse_filter
from llm4rec.catalog.items import AttributeValue, Catalogue, Item
from llm4rec.errors import UserError
from pydantic import ValidationError

LABELS = ["Sci-Fi", "sci fi", "Comédie", "COMEDIE", "Horror", "C", "C++", "C#", "Tom Hanks", "Hanks, Colin", "!!!", ""]


def catalogue() -> Catalogue:
    return Catalogue.of(
        [
            Item("a", "Heat", attributes={"year": 1995.0, "genres": ("Crime", "Sci-Fi"), "brand": "Café"}),
            Item("b", "Été", attributes={"year": 2001.0, "genres": ("science fiction",)}),
            Item("c", "Nothing known"),
            Item("d", "Up", attributes={"genres": ("Comedy", "Horror"), "brand": "cafe", "year": float("nan")}),
        ]
    )


def ids(*texts: str) -> list[str]:
    items = catalogue()
    return [items.ids[row] for row in np.flatnonzero(mask(items, [parse_filter(text) for text in texts]))]


@pytest.mark.parametrize(
    ("text", "attribute", "op", "value"),
    [
        ("year>=1990", "year", "at_least", "1990"),
        (" year <= 1990 ", "year", "at_most", "1990"),
        ("genres=Comedy", "genres", "is", "Comedy"),
        ("genres==Comedy", "genres", "is", "Comedy"),
        ("genres!=Horror", "genres", "is_not", "Horror"),
        ("cast~hanks", "cast", "contains", "hanks"),
        ("title=a=b >= c", "title", "is", "a=b >= c"),
    ],
)
def test_parse(text: str, attribute: str, op: Op, value: str) -> None:
    assert parse_filter(text) == Filter(attribute=attribute, op=op, value=value)


@pytest.mark.parametrize("text", ["", "year", "year>1990", ">=3", "year>=", "year>= ", "=", "x=" + "y" * 501, "~a"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UserError, match="not a filter"):
        parse_filter(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "", "  ", None, ["a"]])
def test_values_are_bounded(value: object) -> None:
    with pytest.raises(ValidationError):
        Filter(attribute="year", op="is", value=value)  # type: ignore[arg-type]


@given(
    st.sampled_from(["year", "genres"]),
    st.sampled_from(["is", "is_not", "at_least", "at_most", "contains"]),
    st.one_of(st.floats(-1e6, 1e6).map(lambda v: round(v, 3)), st.sampled_from(["Comedy", "a b"])),
)
def test_spelling_round_trip(attribute: str, op: Op, value: float | str) -> None:
    said = Filter(attribute=attribute, op=op, value=value)
    again = parse_filter(str(said))
    assert (again.attribute, again.op) == (said.attribute, said.op)
    assert float(again.value) == value if isinstance(value, float) else again.value == value


def test_meaning() -> None:
    assert ids() == ["a", "b", "c", "d"]
    assert ids("year>=1995") == ["a", "b"]
    assert ids("year<=1995") == ["a"]
    assert ids("year=2001") == ["b"]
    assert ids("year!=2001") == ["a", "c", "d"]
    assert ids("genres=sci fi") == ids("genres=SCI-FI") == ids("genres=scifi") == ["a"]
    assert ids("genres=Science-Fiction") == ["b"]
    assert ids("genres!=horror") == ["a", "b", "c"]
    assert ids("genres~SCI") == ["a", "b"]
    assert ids("brand=CAFÉ") == ["a", "d"]
    assert ids("brand!=cafe") == ["b", "c"]
    assert ids("title~ete") == ["b"]
    assert ids("title=HEAT") == ["a"]
    assert ids("genres=crime", "year>=1990", "brand=cafe") == ["a"]
    assert ids("genres=no such thing") == []
    assert ids("Year>=1996") == ["b"]


def test_signs_that_are_names() -> None:
    items = Catalogue.of([Item(name, name, attributes={"language": name}) for name in ("C", "C++", "C#", "!!!")])
    for name in items.ids:
        found = mask(items, [Filter(attribute="language", op="is", value=name)])
        assert [items.ids[row] for row in np.flatnonzero(found)] == [name]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("yeer>=1990", r"no attribute 'yeer'.*Did you mean year\?.*year, genres, brand, title"),
        ("price<=20", r"no attribute 'price'"),
        ("year>=soon", r"year is a number, 'soon' is not.*year>=1998"),
        ("year=nan", r"year is a number"),
        ("year~199", r"year is a number: use year>="),
        ("genres>=3", r"genres is no number: use genres="),
        ("title<=3", r"title is no number"),
    ],
)
def test_messages(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        ids(text)


def test_a_number_may_name_a_label() -> None:
    items = Catalogue.of([Item("a", "A", attributes={"size": "42"}), Item("b", "B", attributes={"size": "42.5"})])
    assert mask(items, [Filter(attribute="size", op="is", value=42)]).tolist() == [True, False]


def test_closest_values() -> None:
    assert closest_values(catalogue(), "genres", "horor")[0] == "Horror"
    assert closest_values(catalogue(), "year", "1990") == ()


def test_masks_are_new_arrays_and_go_with_their_catalogue() -> None:
    items = catalogue()
    first = mask(items, [parse_filter("year>=1990")])
    first[:] = True
    assert mask(items, [parse_filter("year>=1990")]).tolist() == [True, True, False, False]
    before = len(module._kept)
    del items
    gc.collect()
    assert len(module._kept) < before


# -- against a plain evaluation ---------------------------------------------------------------------------------------


def plain(label: str) -> str:
    """Folding written another way: keep letters, digits and the signs that are read as words."""
    signs = {"+": "plus", "#": "sharp"}
    letters = unicodedata.normalize("NFKD", label.casefold())
    kept = "".join(signs.get(c, c if c.isalnum() else "") for c in letters if not unicodedata.combining(c))
    return kept or label.casefold().strip()


def passes(value: AttributeValue | None, condition: Filter) -> bool:
    if isinstance(value, float):
        wanted = float(condition.value)
        return {
            "is": value == wanted,
            "is_not": value != wanted,
            "at_least": value >= wanted,
            "at_most": value <= wanted,
        }[condition.op]
    known = [v for v in ((value,) if isinstance(value, str) else value or ()) if v.strip()]
    text = str(condition.value)
    if condition.op == "is":
        return any(plain(v) == plain(text) for v in known)
    if condition.op == "is_not":
        return not any(plain(v) == plain(text) for v in known)
    return any(text.casefold() in v.casefold() for v in known)


numbers = st.one_of(st.none(), st.sampled_from([1.0, 2.0, 2.5, -3.0]))
labels = st.one_of(st.none(), st.sampled_from(LABELS))
several = st.one_of(st.none(), st.lists(st.sampled_from(LABELS), max_size=3).map(tuple))
conditions = st.one_of(
    st.builds(
        Filter,
        attribute=st.just("number"),
        op=st.sampled_from(["is", "is_not", "at_least", "at_most"]),
        value=st.sampled_from([1.0, 2.0, "2.5", 0.0]),
    ),
    st.builds(
        Filter,
        attribute=st.sampled_from(["label", "labels"]),
        op=st.sampled_from(["is", "is_not"]),
        value=st.sampled_from([label for label in LABELS if label] + ["hanks"]),
    ),
    st.builds(
        Filter,
        attribute=st.sampled_from(["label", "labels"]),
        op=st.just("contains"),
        value=st.sampled_from(["hanks", "o", "HORR", "zzz"]),
    ),
)


@given(
    st.lists(st.tuples(numbers, labels, several), min_size=1, max_size=12),
    st.lists(conditions, max_size=3),
)
def test_mask_is_what_plain_python_says(
    values: list[tuple[float | None, str | None, tuple[str, ...] | None]], wanted: list[Filter]
) -> None:
    rows = [
        {name: value for name, value in zip(("number", "label", "labels"), row, strict=True) if value is not None}
        for row in values
    ]
    # One more item, that every attribute exists and has its kind.
    rows.append({"number": 7.0, "label": "x", "labels": ("x",)})
    items = Catalogue.of([Item(str(i), str(i), attributes=row) for i, row in enumerate(rows)])
    expected = [
        all(passes(row[f.attribute], f) if f.attribute in row else f.op == "is_not" for f in wanted) for row in rows
    ]
    assert mask(items, wanted).tolist() == expected

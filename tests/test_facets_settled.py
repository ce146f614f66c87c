"""Comparisons ("newer", "cheaper") become bounds; refusals in words and names read as others are kept with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.errors import ToolError
from llm4rec.tools.base import Arguments
from llm4rec.tools.facets import (
    Facets,
    arguments_with_facets,
    beyond,
    choose_facets,
    filters_of,
    resolve,
    resolve_filters,
    settled,
)

GENRES = ("Comedy", "Drama", "War")
CATALOGUE = Catalogue.of(
    [
        Item(
            id=f"f{number}",
            title=f"Film {number}",
            attributes={
                "year": float(1950 + number),
                "runtime": float(60 + 2 * number),
                "genres": (GENRES[number % 3],),
                "cast": (f"Person{number} Name{number}", "Meryl Streep" if number % 2 else "Ridley Scott"),
            },
        )
        for number in range(60)
    ]
)
FACETS = choose_facets(CATALOGUE)
MODEL = arguments_with_facets("Asked", FACETS)


def asked(**given: object) -> Arguments:
    return MODEL.model_validate(given)


def bounds(shown: dict[str, list[float]], **given: object) -> dict[str, object]:
    return filters_of(FACETS, settled(FACETS, asked(**given), shown))


@pytest.mark.parametrize("nothing", ["", "  ", "\u200b", "\t\x1b"])
def test_refusing_nothing_refuses_nothing(nothing: str) -> None:
    found = resolve(CATALOGUE, FACETS, asked(without=nothing))
    assert found.unwanted == found.words == ()


def test_newer_is_above_the_middle_of_what_is_shown() -> None:
    assert bounds({"year": [1960, 1970, 1999]}, more="year") == {"year_min": 1971}
    assert bounds({"year": [1960, 1970, 1999]}, less="year") == {"year_max": 1969}
    assert bounds({"year": [1960, 1971]}, more="year") == {"year_min": 1966}
    assert bounds({"year": [1960, 1971]}, less="year") == {"year_max": 1965}


def test_both_ways_at_once() -> None:
    assert bounds({"year": [1970.0], "runtime": [100.0]}, more="year", less="runtime") == {
        "year_min": 1971,
        "runtime_max": 99,
    }


def test_without_anything_to_compare_with_it_is_asked() -> None:
    for shown in ({}, {"runtime": [90.0]}, {"year": []}):
        with pytest.raises(ToolError, match="more year than what"):
            bounds(shown, more="year")


def test_without_a_comparison_nothing_changes() -> None:
    call = asked(year_min=1960, without="violence")
    assert settled(FACETS, call, {"year": [1970.0]}) is call


@given(
    shown=st.lists(st.integers(1950, 2009), min_size=1, max_size=9),
    low=st.none() | st.integers(1950, 2009),
    high=st.none() | st.integers(1950, 2009),
    way=st.sampled_from(["more", "less"]),
)
def test_a_comparison_only_narrows(shown: list[int], low: int | None, high: int | None, way: str) -> None:
    """It leaves out the middle of what is shown, and what was left out before stays out."""
    given_bounds = {name: value for name, value in (("year_min", low), ("year_max", high)) if value is not None}
    after = bounds({"year": [float(year) for year in shown]}, **given_bounds, **{way: "year"})
    assert way not in after
    middle = float(np.median(shown))
    if way == "more":
        assert isinstance(after["year_min"], int)
        assert after["year_min"] > middle
        assert low is None or after["year_min"] >= low
        assert after.get("year_max") == high
    else:
        assert isinstance(after["year_max"], int)
        assert after["year_max"] < middle
        assert high is None or after["year_max"] <= high
        assert after.get("year_min") == low


@given(st.lists(st.integers(1950, 2009), min_size=1, max_size=5))
def test_what_is_newer_and_what_is_older_share_nothing(years: list[int]) -> None:
    shown = {"year": [float(year) for year in years]}
    newer = resolve(CATALOGUE, FACETS, settled(FACETS, asked(more="year"), shown)).rows
    older = resolve(CATALOGUE, FACETS, settled(FACETS, asked(less="year"), shown)).rows
    assert not (newer & older).any()


def test_what_it_should_not_be_about_is_kept_in_words() -> None:
    found = resolve(CATALOGUE, FACETS, asked(without="gore\nand  blood", genres="War"))
    assert found.unwanted == ("gore and blood",)
    assert found.words == ("War", "not gore and blood")
    assert found.rows.sum() == 20  # meaning is a matter of degree: no filter


def test_a_name_that_was_read_as_another_is_told() -> None:
    found = resolve(CATALOGUE, FACETS, asked(named="Meryl Strip"))
    assert found.words == ("Meryl Streep",)
    assert found.readings == ("“Meryl Strip” was read as Meryl Streep.",)
    assert found.rows.sum() == 30
    assert found.cited == ("cast",)


def test_a_name_as_written_is_not_told() -> None:
    found = resolve(CATALOGUE, FACETS, asked(not_named="meryl streep"))
    assert found.readings == ()
    assert found.words == ("not meryl streep",)
    assert found.rows.sum() == 30


def test_an_unclear_name_is_asked_about() -> None:
    with pytest.raises(ToolError, match="is not clear"):
        resolve(CATALOGUE, FACETS, asked(named="Person1 Name2"))
    with pytest.raises(ToolError, match="nothing here carries the name"):
        resolve(CATALOGUE, FACETS, asked(named="Quentin Tarantino"))


def test_a_refused_name_that_nobody_has_refuses_nothing() -> None:
    found = resolve(CATALOGUE, FACETS, asked(not_named="Quentin Tarantino"))
    assert found.rows.all()
    assert found.words == ()
    (told,) = found.readings
    assert told == "Nothing was left out for a name: nothing here carries the name 'Quentin Tarantino'."


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ToolError, match="is above"):
        resolve(CATALOGUE, FACETS, settled(FACETS, asked(more="year", year_max=1960), {"year": [1990.0]}))


def test_a_catalogue_without_numbers_compares_nothing() -> None:
    plain = Catalogue.of([Item(id=str(n), title=str(n), attributes={"brand": f"b{n % 3}"}) for n in range(9)])
    facets: Facets = choose_facets(plain)
    fields = arguments_with_facets("Asked", facets).model_fields
    assert "more" not in fields
    assert "without" in fields


# ---- attributes with decimals -----------------------------------------------------------------------------------

PLACES = Catalogue.of(
    [
        Item(
            id=f"p{number}",
            title=f"Place {number}",
            attributes={"stars": (10 + number) / 10, "price": 3.25 + number / 4, "seats": float(10 + number)},
        )
        for number in range(40)
    ]
)
PLACE_FACETS = choose_facets(PLACES)
PLACE_MODEL = arguments_with_facets("Asked", PLACE_FACETS)


def test_an_attribute_is_as_fine_as_its_values() -> None:
    assert {spec.name: spec.decimals for spec in PLACE_FACETS.numbers} == {"price": 2, "seats": 0, "stars": 1}
    averages = Catalogue.of([Item(id=str(n), title=str(n), attributes={"mean": n / 7}) for n in range(9)])
    assert averages.attributes["mean"].decimals == 3
    assert Catalogue.of([Item(id="a", title="a", attributes={"x": float("nan")})]).attributes["x"].decimals == 0


def test_better_rated_finds_what_is_better_rated() -> None:
    call = settled(PLACE_FACETS, PLACE_MODEL.model_validate({"more": "stars"}), {"stars": [4.2, 4.3, 4.5]})
    assert filters_of(PLACE_FACETS, call) == {"stars_min": 4.4}
    found = resolve(PLACES, PLACE_FACETS, call)
    assert PLACES.frame["stars"].filter(found.rows.tolist()).to_list() == [4.4, 4.5, 4.6, 4.7, 4.8, 4.9]
    assert found.words == ("stars from 4.4",)
    call = settled(PLACE_FACETS, PLACE_MODEL.model_validate({"less": "price"}), {"price": [3.5, 3.75]})
    assert filters_of(PLACE_FACETS, call) == {"price_max": 3.62}
    assert resolve(PLACES, PLACE_FACETS, call).rows.sum() == 2
    whole = settled(PLACE_FACETS, PLACE_MODEL.model_validate({"more": "seats"}), {"seats": [20.0]})
    assert filters_of(PLACE_FACETS, whole) == {"seats_min": 21}


def test_bounds_with_decimals_are_taken_and_kept() -> None:
    call = PLACE_MODEL.model_validate({"stars_min": 4.25, "price_max": 9})
    asked_again = resolve_filters(PLACES, PLACE_FACETS, filters_of(PLACE_FACETS, call))
    assert asked_again.words == resolve(PLACES, PLACE_FACETS, call).words
    assert set(asked_again.words) == {"stars from 4.25", "price up to 9"}
    with pytest.raises(ToolError, match=r"stars_min 4\.5 is above stars_max 4\.2"):
        resolve(PLACES, PLACE_FACETS, PLACE_MODEL.model_validate({"stars_min": 4.5, "stars_max": 4.2}))
    with pytest.raises(ValueError, match="seats_min"):
        PLACE_MODEL.model_validate({"seats_min": 20.5})


@given(st.integers(-5000, 5000), st.integers(0, 3), st.booleans())
def test_beyond_a_number_is_the_next_of_its_decimals(thousandths: int, decimals: int, up: bool) -> None:
    number = thousandths / 1000
    found = beyond(number, decimals, up=up)
    assert (found > number) if up else (found < number)
    assert abs(found - number) <= 10.0**-decimals + 1e-9
    assert round(found, decimals) == found
    assert isinstance(found, float) == bool(decimals)


@given(st.lists(st.integers(10, 49), min_size=1, max_size=5), st.sampled_from(["more", "less"]))
def test_of_what_is_shown_in_tenths_the_middle_is_left_out(tenths: list[int], way: str) -> None:
    stars = [one / 10 for one in tenths]
    rows = resolve(
        PLACES, PLACE_FACETS, settled(PLACE_FACETS, PLACE_MODEL.model_validate({way: "stars"}), {"stars": stars})
    ).rows
    kept = set(PLACES.frame["stars"].filter(rows.tolist()).to_list())
    middle = float(np.median(stars))
    assert kept == {v for v in PLACES.frame["stars"].to_list() if (v > middle if way == "more" else v < middle)}

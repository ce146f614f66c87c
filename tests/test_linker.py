"""Titles in arguments: right, or asked about; never a silent guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.tools.linker import Ambiguous, label, link, link_title

FILMS = (
    ("The Matrix", 1999, ("Keanu Reeves",)),
    ("Heat", 1995, ("Al Pacino", "Robert De Niro")),
    ("Heat", 1972, ("Joe Dallesandro",)),
    ("The Lord of the Rings: The Fellowship of the Ring", 2001, ()),
    ("The Lord of the Rings: The Two Towers", 2002, ()),
    ("The Lord of the Rings: The Return of the King", 2003, ()),
    ("Rocky", 1976, ("Sylvester Stallone",)),
    ("Rocky II", 1979, ()),
    ("Rocky III", 1982, ()),
    ("The Godfather: Part II", 1974, ()),
    ("The Godfather", 1972, ("Al Pacino",)),
    ("Terminator 2: Judgment Day", 1991, ()),
    ("Mad Max: Fury Road", 2015, ()),
    ("Seven (Se7en)", 1995, ()),
    ("Amélie", 2001, ()),
    ("Spider-Man", 2002, ()),
    ("Benny & Joon", 1993, ()),
    ("12 Angry Men", 1957, ()),
    ("Up", 2009, ()),
    ("It", 2017, ()),
    ("Us", 2019, ()),
    ("Go", 1999, ()),
    ("The Silence of the Lambs", 1991, ()),
    ("Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb", 1964, ()),
    ("Shane", 1953, ()),
    ("Tokyo Story", 1953, ()),
    ("Jurassic Park", 1993, ()),
    ("The Lost World: Jurassic Park", 1997, ()),
    ("A Little Princess", 1995, ()),
    ("The Innocent", 1994, ()),
    ("Phantoms", 1998, ()),
)
CATALOGUE = Catalogue.of(
    [
        Item(
            id=f"f{number}",
            title=title,
            description="A toy lies in the sun; the stars shine.",
            attributes={"year": float(year), "cast": cast, "awards": ("Won 3 Oscars",)},
        )
        for number, (title, year, cast) in enumerate(FILMS)
    ]
)


def linked(text: str, *prefer: str) -> str:
    return label(CATALOGUE, link_title(CATALOGUE, text, prefer=prefer))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("the matrix", "The Matrix (1999)"),
        ("Matrix", "The Matrix (1999)"),
        ("thematrix", "The Matrix (1999)"),
        ("Matrix, The", "The Matrix (1999)"),
        ("Matrix, The (1999)", "The Matrix (1999)"),
        ("“The Matrix”", "The Matrix (1999)"),
        ("Heat 1995", "Heat (1995)"),
        ("heat (1972)", "Heat (1972)"),
        ("the movie Heat with Al Pacino", "Heat (1995)"),
        ("heat by de niro", "Heat (1995)"),
        ("Rocky 2", "Rocky II (1979)"),
        ("rocky iii", "Rocky III (1982)"),
        ("Godfather 2", "The Godfather: Part II (1974)"),
        ("godfather", "The Godfather (1972)"),
        ("terminator 2", "Terminator 2: Judgment Day (1991)"),
        ("The Two Towers", "The Lord of the Rings: The Two Towers (2002)"),
        ("lord of the rings 2002", "The Lord of the Rings: The Two Towers (2002)"),
        ("se7en", "Seven (Se7en) (1995)"),
        ("seven", "Seven (Se7en) (1995)"),
        ("amelie", "Amélie (2001)"),
        ("spiderman", "Spider-Man (2002)"),
        ("spider man", "Spider-Man (2002)"),
        ("benny and joon", "Benny & Joon (1993)"),
        ("twelve angry men", "12 Angry Men (1957)"),
        ("up", "Up (2009)"),
        ("it", "It (2017)"),
        ("silense of the lamsb", "The Silence of the Lambs (1991)"),
        ("Silence of teh Lambs (1991)", "The Silence of the Lambs (1991)"),
        ("dr strangelove", "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1964)"),
        ("jurrasic park", "Jurassic Park (1993)"),
        ("mad max 2015", "Mad Max: Fury Road (2015)"),
        ("the innocnet", "The Innocent (1994)"),
        ("the movie Rocky", "Rocky (1976)"),
    ],
)
def test_what_people_say_for_a_title(text: str, meant: str) -> None:
    assert linked(text) == meant


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Heat", {"Heat (1995)", "Heat (1972)"}),
        (
            "Lord of the Rings",
            {
                "The Lord of the Rings: The Fellowship of the Ring (2001)",
                "The Lord of the Rings: The Two Towers (2002)",
                "The Lord of the Rings: The Return of the King (2003)",
            },
        ),
        ("Mad Max", {"Mad Max: Fury Road (2015)"}),
        ("The Little Princess", {"A Little Princess (1995)"}),
        ("the movie Mad Max", {"Mad Max: Fury Road (2015)"}),
        ("Mad Max 2016", {"Mad Max: Fury Road (2015)"}),
        ("The Innocents", {"The Innocent (1994)"}),
        ("phantom", {"Phantoms (1998)"}),
    ],
)
def test_what_is_asked(text: str, options: set[str]) -> None:
    with pytest.raises(Ambiguous, match="is not clear") as unclear:
        link(CATALOGUE, text)
    assert set(unclear.value.options) == options


@pytest.mark.parametrize("text", ["Ip", "Ut", "Ups", "Got", "Hit", "?", "", "Casablanca", "a shredder"])
def test_short_titles_are_never_guessed_at_and_nothing_is_nothing(text: str) -> None:
    with pytest.raises(Ambiguous, match="has nothing called"):
        link(CATALOGUE, text)


@pytest.mark.parametrize(
    "text", ["Shine", "Toy Story", "Rocky 4", "Rocky V", "Godfather 3", "Terminator 3", "Heat 1960", "The Heat"]
)
def test_another_film_is_no_misspelling(text: str) -> None:
    """Of a number, a year or a word that the catalogue knows, it is asked at most."""
    with pytest.raises(Ambiguous):
        link(CATALOGUE, text)


def test_the_list_on_the_table_decides_between_namesakes() -> None:
    assert linked("heat", "f2", "f0") == "Heat (1972)"
    assert linked("fellowship", "f3") == "The Lord of the Rings: The Fellowship of the Ring (2001)"
    with pytest.raises(Ambiguous):
        linked("heat", "f1", "f2")


def test_a_title_in_full_is_sure_and_a_misspelt_one_is_not() -> None:
    assert link(CATALOGUE, "matrix").sure
    assert not link(CATALOGUE, "rocki ii").sure
    assert not link(CATALOGUE, "The Two Towers").sure


def test_items_that_no_label_tells_apart_are_one() -> None:
    twins = Catalogue.of([Item(id="a", title="Twin", available=False), Item(id="b", title="Twin")])
    assert link_title(twins, "twin") == 1


def test_products_are_found_by_words_of_their_long_titles() -> None:
    shop = Catalogue.of(
        [
            Item(id="a", title="Brother Genuine TN330 Mono Laser Toner Cartridge, Black, High Yield"),
            Item(id="b", title="Brother Genuine TN660 Mono Laser Toner Cartridge, Black, High Yield"),
        ]
    )
    assert link_title(shop, "the Brother TN660") == 1
    with pytest.raises(Ambiguous):
        link_title(shop, "Brother toner")


@given(number=st.integers(0, len(FILMS) - 1), style=st.sampled_from([str.lower, str.upper, str.title, str.swapcase]))
def test_any_title_with_its_year_is_found_in_any_case(number: int, style: object) -> None:
    title, year, _ = FILMS[number]
    assert callable(style)
    assert link(CATALOGUE, f"{style(title)} ({year})").row == number


@given(st.text(max_size=30))
def test_any_text_is_linked_or_asked_about(text: str) -> None:
    try:
        found = link_title(CATALOGUE, text)
    except Ambiguous as raised:
        unclear = raised
    else:
        assert 0 <= found < len(CATALOGUE)
        return
    assert len(unclear.options) <= 3

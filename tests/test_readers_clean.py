"""Scraped text becomes plain text, numbers and labels."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.catalog.readers.clean import (
    LITERAL_LIMIT,
    labels,
    number,
    plain,
    split_labels,
    title_and_year,
    written_list,
)


@pytest.mark.parametrize(
    ("written", "title", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995.0),
        ("Matrix, The (1999)", "The Matrix", 1999.0),
        ("Postman, The (Postino, Il) (1994)", "The Postman (Il Postino)", 1994.0),
        ("Star Maker, The (Uomo delle stelle, L') (1995)", "The Star Maker (L'Uomo delle stelle)", 1995.0),
        ("Dinosaurs: The Movie (1995) (V)", "Dinosaurs: The Movie", 1995.0),
        ("Bad Day (1996)  ", "Bad Day", 1996.0),
        ("Serial (2007–2019)", "Serial", 2007.0),
        ("Mrs. Brown (Her Majesty, Mrs. Brown) (1997)", "Mrs. Brown (Her Majesty, Mrs. Brown)", 1997.0),
        ("To Have, or Not (1995)", "To Have, or Not", 1995.0),
        ("2001", "2001", None),
        ("unknown", "unknown", None),
        ("(500) Days of Summer (2009)", "(500) Days of Summer", 2009.0),
    ],
)
def test_titles_are_taken_apart(written: str, title: str, year: float | None) -> None:
    assert title_and_year(written) == (title, year)


@given(
    body=st.from_regex(r"[A-Z][a-z]{2,9}( [a-z]{2,9}){0,3}", fullmatch=True),
    article=st.sampled_from(["The", "A", "An", "La", "Les", "Der", "Il"]),
    year=st.integers(1890, 2030),
)
def test_an_article_goes_back_to_the_front(body: str, article: str, year: int) -> None:
    assert title_and_year(f"{body}, {article} ({year})") == (f"{article} {body}", float(year))


@pytest.mark.parametrize(
    ("scraped", "text"),
    [
        ("<b>Bold</b>&nbsp;pens &amp; ink", "Bold pens & ink"),
        ("8.5&rdquo; x 11&rdquo;", "8.5” x 11”"),
        ("a&amp;ndash;b", "a–b"),
        ("one<br/>two<p>three</p>", "one two three"),
        ("before<!-- .x {color:#000} -->after", "before after"),
        ("before<style>.x {y: z}</style>after", "before after"),
        ("before<script>alert('<b>')", "before"),
        ("I <3 you, 2 < 3 > 1", "I <3 you, 2 < 3 > 1"),
        ("['one', 'two', '']", "one two"),
        ('["It\'s", " <i>new</i> "]', "It's new"),
        ("['It's spoilt', 'but read\\nstill']", "It's spoilt but read still"),
        ("[Old model] pen", "[Old model] pen"),
        ("  spaces \n and\tlines ", "spaces and lines"),
        ('Pencils" />', "Pencils"),
        ("software. <br><br", "software."),
        ("x < y and a <bee", "x < y and a <bee"),
        ("", ""),
    ],
)
def test_html_goes_and_entities_are_decoded(scraped: str, text: str) -> None:
    assert plain(scraped) == text


@given(st.text(max_size=300))
def test_plain_text_has_no_tag_and_no_double_space(text: str) -> None:
    cleaned = plain(text)
    assert cleaned == " ".join(cleaned.split())
    if "&" not in text:  # an entity may spell a tag, which is text
        assert not re.search(r"</?[a-zA-Z][a-zA-Z0-9]*>", cleaned)


def test_a_list_is_read_as_a_literal_and_never_run() -> None:
    assert written_list("[1, 'two', 3.5]") == ["1", "two", "3.5"]
    assert written_list("[__import__('os').getcwd()]") is None
    assert written_list("[" * 5_000 + "]" * 5_000) is None
    assert written_list("['" + "x" * LITERAL_LIMIT + "']") is None
    assert written_list("{'a': 1}") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("81 min", 81.0),
        ("$12.99", 12.99),
        ("$1,299.50", 1299.5),
        ("$5.99 - $12.99", 5.99),
        ("-3.5", -3.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("N/A", None),
        ("nan", None),
        ("", None),
        (".a-section { margin: 10px }", None),
        ("1e999", None),
    ],
)
def test_numbers(text: str, value: float | None) -> None:
    assert number(text) == value


def test_labels_are_distinct_clean_and_in_order() -> None:
    assert labels([" Drama ", "Comedy", "Drama", "", "N/A", "A&amp;B"]) == ("Drama", "Comedy", "A&B")
    assert labels(["", "null"]) is None
    assert split_labels("Diners, Greek,Greek ,", ",") == ("Diners", "Greek")
    assert split_labels("['Diners', 'Greek, modern']", ",") == ("Diners", "Greek, modern")

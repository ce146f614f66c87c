"""Checking a written text: what the evidence holds passes, whatever else is put into it fails."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.tools.checking import Checker, Grounds, check_text
from llm4rec.tools.frames import called, shortened
from llm4rec.tools.numerals import decade_at, number_at, place_at
from llm4rec.tools.plain_words import PLAIN
from llm4rec.tools.results import Card, Claim
from llm4rec.tools.sentences import split_sentences


def card(ordinal: int, title: str, year: int, *claims: str, **attributes: float) -> Card:
    return Card(
        ordinal=ordinal,
        id=f"i{ordinal}",
        title=title,
        description="",
        attributes={"year": float(year), "genres": ("Crime", "Drama"), **attributes},
        score=0.0,
        parts={},
        ranks={},
        claims=tuple(Claim(text=text, evidence=("e",)) for text in claims),
    )


GROUNDS = Grounds(
    cards=(
        card(
            1,
            "Heat",
            1995,
            "its description mentions “heist”, “bank”",
            "shares director Michael Mann with Collateral, on your record",
        ),
        card(
            2, "Her", 2013, "its text is close in meaning to “quiet love story”", "people who chose Up also chose this"
        ),
        card(
            3,
            "Dr. Strangelove",
            1964,
            "you said you like satire",
            "12 people chose both Amélie and this",
            runtime=95.0,
        ),
    ),
    request="a quiet love story or a heist",
    listed=5,
)


@pytest.mark.parametrize(
    "text",
    [
        "Heat (1995) comes first: its description mentions “heist”.",
        "Heat shares director Michael Mann with Collateral, on your record.",
        "Her (2013) is close in meaning to what you asked for, and people who chose Up also chose it.",
        "Dr. Strangelove is a good next step, since you said you like satire.",
        "You asked for a heist, so Heat is a good place to start.",
        "The third is from the sixties and 95 minutes long.",
        "12 people chose both Amélie and Dr. Strangelove.",
        "Twelve people chose both Amelie and Dr. Strangelove.",
        "Heat is a Crime pick from nineteen ninety-five.",
        "Heat’s description mentions “bank”.",
        "Heat and Dr. Strangelove are both Drama.",
        "Start with Heat. Its description mentions “bank”.",
    ],
)
def test_what_the_evidence_holds_passes(text: str) -> None:
    assert [verdict for verdict in check_text(text, GROUNDS) if not verdict.ok] == []


@pytest.mark.parametrize(
    "text",
    [
        "Heat stars Al Pacino.",
        "Heat is second.",
        "The second, Heat, comes next.",
        "Her is first, and Heat second.",
        "It is the best film ever.",
        "Heat won an award.",
        "You like Heat.",
        "You loved satire.",
        "You said you like Heat.",
        "Heat shares director Michael Mann with Alien.",
        "Heat and Dr. Strangelove share director Michael Mann with Collateral.",
        "Her (2013) shares director Michael Mann with Collateral.",
        "Heat is from 1996.",
        "Heat (1996) comes first.",
        "Heat (1995) and Dr. Strangelove (1965) come first.",
        "Heat is from the eighties.",
        "Her (2013) was chosen by 12 people.",
        "13 people chose both Amélie and Dr. Strangelove.",
        "Heat mentions “satire”.",
        "Heat has heist in its description.",
        "It is not a comedy.",
        "Heat is a Comedy.",
        "The fifth is here.",
        "People who chose Collateral also chose Heat.",
        "Heat is close in content to Collateral.",
        "Heat is 95 minutes long.",
        "Dr. Strangelove is two hours long.",
        "Three people chose Heat.",
        "Heat, <b>here</b>.",
        "Look at [Heat](http).",
        "Like Heat, Her is quiet.",
        "Start with Brazil.",
        "Start with Heat",
        "Heat is “quiet.",
    ],
)
def test_what_no_evidence_holds_fails(text: str) -> None:
    assert not all(verdict.ok for verdict in check_text(text, GROUNDS))


def test_a_claim_word_for_word_passes_also_where_it_denies() -> None:
    told = "people who chose Alien, which you did not like, seldom choose this"
    grounds = Grounds((card(1, "Heat", 1995, told),))
    assert check_text("Heat: people who chose Alien, which you did not like, seldom choose this.", grounds)[0].ok
    assert not check_text("People who chose Alien choose Heat.", grounds)[0].ok


def test_nothing_is_said_twice_and_it_is_what_was_spoken_of_last() -> None:
    checker = Checker(GROUNDS)
    assert checker.check("Heat comes first.").about == (1,)
    assert checker.check("Its description mentions “bank”.").about == (1,)
    assert checker.check("Heat comes first.").reason == "was said already"
    assert checker.check("Dr. Strangelove comes next.").ok
    assert not checker.check("Its description mentions “heist”.").ok


PLAIN_WORDS = sorted(word for word in PLAIN if word.isalpha() and word not in ("i", "s", "both", "one", "year"))
HELD = (
    "its description mentions “heist”",
    "it shares director Michael Mann with Collateral",
    "it is Crime",
    "it is from 1995",
    "it is from the nineties",
)
MARKS = frozenset(
    "it its this both these those they them their each either all as so you your if like".split()  # noqa: SIM905
)


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([word for word in PLAIN_WORDS if word not in MARKS]), max_size=6),
    st.lists(st.sampled_from(HELD), min_size=1, max_size=3, unique=True),
    st.sampled_from(["Kubrick", "Casablanca", "1987", "seventeen", "best", "award", "never", "“satire”", "Tom Hanks"]),
    st.data(),
)
def test_evidence_and_plain_words_pass_and_anything_foreign_fails(
    filler: list[str], held: list[str], foreign: str, data: st.DataObject
) -> None:
    parts = ["Heat", " ".join(filler), *(f", and {one}" for one in held)]
    text = " ".join(filter(None, parts)) + "."
    [verdict] = check_text(text, GROUNDS)
    assert verdict.ok, verdict
    words = text[:-1].split(" ")
    at = data.draw(st.integers(1, len(words)))
    assert not all(v.ok for v in check_text(" ".join([*words[:at], foreign, *words[at:]]) + ".", GROUNDS))


@settings(max_examples=60)
@given(st.text(max_size=60))
def test_any_text_is_judged(text: str) -> None:
    assert all(verdict.ok or verdict.reason for verdict in check_text(text, GROUNDS))


def test_sentences_are_not_cut_inside_titles() -> None:
    text = "Try Dr. Strangelove. It is next. And Umberto D.. Then"
    assert split_sentences(text, ["Dr. Strangelove", "Umberto D."]) == (
        ["Try Dr. Strangelove.", "It is next.", "And Umberto D.."],
        "Then",
    )
    assert split_sentences("Try Dr. S", ["Dr. Strangelove"]) == ([], "Try Dr. S")


@pytest.mark.parametrize(
    ("words", "value"),
    [("1,200", 1200), ("nineteen ninety five", 1995), ("two thousand and three", 2003), ("twenty twelve", 2012)],
)
def test_numbers_are_read(words: str, value: float) -> None:
    assert number_at(words.split(), 0) == (value, len(words.split()))


def test_places_and_decades_are_read() -> None:
    assert place_at(["second"], 0) == (2, 1)
    assert place_at(["number", "three"], 0) == (3, 2)
    assert place_at(["best"], 0) is None
    assert decade_at(["1990s"], 0) == (1990, 1)
    assert decade_at(["nineties"], 0) == (90, 1)


def test_long_titles_are_called_by_their_beginning() -> None:
    long = "Staedtler Noris 120 HB Pencils, Box of 12, Yellow and Black"
    assert called(long) == "Staedtler Noris 120 HB Pencils"
    assert called("Heat") == "Heat"
    claim = f"people who chose {long} also chose this"
    assert shortened(claim, [f"in your log: {long}, rated 5"]) == f"people who chose {called(long)} also chose this"


@pytest.mark.parametrize(
    ("claim", "text", "ok"),
    [
        ("1 person chose both Alien and this", "One person chose both Alien and Heat.", True),
        ("1 person chose both Alien and this", "Two people chose both Alien and Heat.", False),
        ("widely chosen (1 person)", "Heat is widely chosen (1 person).", True),
        ("as asked: genre Crime", "Heat fits the genre Crime.", True),
        ("shares genre Crime with Alien, on your record", "Heat shares the genre Crime with Alien.", True),
        ("shares genre Crime with Alien, on your record", "Heat shares the genre Drama with Alien.", False),
    ],
)
def test_claims_of_one_are_read_back(claim: str, text: str, ok: bool) -> None:
    one = card(1, "Heat", 1995)
    one = one.model_copy(update={"claims": (Claim(text=claim, evidence=("log", "graph")),)})
    grounds = Grounds((one,), records={"log": "in your log: Alien, rated 4", "graph": "genres: Crime"})
    assert check_text(text, grounds)[0].ok == ok, check_text(text, grounds)

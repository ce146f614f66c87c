"""Names in arguments: right, told when read as another, or asked about."""

from __future__ import annotations

import numpy as np
import pytest
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.errors import ToolError
from llm4rec.tools.linker import Ambiguous
from llm4rec.tools.names import Named, find_name

PEOPLE = (
    ("Stanley Kubrick", ("Jack Nicholson",)),
    ("Ridley Scott", ("Harrison Ford",)),
    ("Tony Scott", ("Tom Cruise",)),
    ("Francis Ford Coppola", ("Al Pacino", "Tom Hanks")),
    ("Alan J. Pakula", ("Meryl Streep", "Jack Johnson")),
    ("Steve James", ("Faber-Castell", "Ed Begley Jr.")),
    ("Jake Kasdan", ("American Sign Language",)),
)
CATALOGUE = Catalogue.of(
    [
        Item(id=f"f{number}", title=f"Film {number}", attributes={"director": (director,), "cast": cast})
        for number, (director, cast) in enumerate(PEOPLE)
    ]
)
SPECS = tuple(CATALOGUE.attributes[name] for name in ("director", "cast"))


def found(name: str) -> Named:
    return find_name(CATALOGUE, SPECS, name)


@pytest.mark.parametrize(
    ("said", "taken", "rows", "under"),
    [
        ("Stanley Kubrick", (), [0], ("director",)),
        ("meryl  STREEP", (), [4], ("cast",)),
        ("Kubrick", ("Stanley Kubrick",), [0], ("director",)),
        ("kubrik", ("Stanley Kubrick",), [0], ("director",)),
        ("Stanly Kubrik", ("Stanley Kubrick",), [0], ("director",)),
        ("Meryl Strip", ("Meryl Streep",), [4], ("cast",)),
        ("Meryl", ("Meryl Streep",), [4], ("cast",)),
        ("Scott", ("Ridley Scott", "Tony Scott"), [1, 2], ("director",)),
        ("Francis Coppola", ("Francis Ford Coppola",), [3], ("director",)),
        ("Faber", ("Faber-Castell",), [5], ("cast",)),
    ],
)
def test_what_people_say_for_a_name(said: str, taken: tuple[str, ...], rows: list[int], under: tuple[str, ...]) -> None:
    named = found(said)
    assert set(named.taken) == set(taken)
    assert np.flatnonzero(named.rows).tolist() == rows
    assert named.attributes == under


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("Tom", {"Tom Cruise", "Tom Hanks"}),
        ("Jake Johnson", {"Jack Johnson"}),
        ("Ed Begley", {"Ed Begley Jr."}),
        ("american", {"American Sign Language"}),
    ],
)
def test_what_is_asked(said: str, options: set[str]) -> None:
    with pytest.raises(Ambiguous, match="is not clear") as unclear:
        found(said)
    assert set(unclear.value.options) == options


@pytest.mark.parametrize("said", ["Greta Gerwig", "xy", "??", "ick"])
def test_what_nobody_is_called(said: str) -> None:
    """A part of a word is no name: "ick" is not in Kubrick."""
    with pytest.raises(ToolError, match="nothing here carries the name"):
        found(said)

"""A search whose words its filters say already is a ranking: likeness to "comedy" tells no comedies apart."""

from __future__ import annotations

import pytest
from llm4rec.tools.mentions import said_beyond


@pytest.mark.parametrize(
    ("text", "labels", "numbers", "left"),
    [
        ("comedy 1990s", ["Comedy"], True, ()),
        ("comedies from the nineties", ["Comedy"], True, ()),
        ("some good '70s drama please", ["Drama"], True, ()),
        ("I'm in the mood for a crime film", ["Crime"], False, ()),
        ("science fiction before 1980", ["Science Fiction"], True, ()),
        ("Al Pacino movies", ["Al Pacino"], False, ()),
        ("comedy about a heist", ["Comedy"], False, ("heist",)),
        ("comedy 1990s", ["Comedy"], False, ("1990s",)),
        ("comedy 1990s", [], True, ("comedy",)),
        ("warship", ["War"], False, ("warship",)),
    ],
)
def test_what_words_say_beyond_the_filters(text: str, labels: list[str], numbers: bool, left: tuple[str, ...]) -> None:
    assert said_beyond(text, labels, numbers=numbers) == left

"""What was liked, counted against a taste that was stated: only where the catalogue can tell what was named."""

from __future__ import annotations

import pytest
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.profiles.describe import borne_out
from llm4rec.profiles.fold import Taste
from llm4rec.profiles.leanings import Judged
from llm4rec.tools.borne_out import Backing, backing_of

FILMS = Catalogue.of(
    [
        Item(
            id=f"i{row}",
            title=f"Film {row}",
            attributes={
                "genres": (("Crime", "Drama"), ("Crime",), ("Drama",), ("Science Fiction", "Fiction"))[row % 4],
                "cast": f"Actor {row % 60}",
            },
        )
        for row in range(240)
    ]
)
#: Of both, of crime alone, of drama alone.
LIKED = [*(Judged(4 * at, True, "rating") for at in range(7)), *(Judged(4 * at + 1, True, "like") for at in range(3))]
LIKED += [Judged(4 * at + 2, True, "log") for at in range(2)]


def stated(term: str, polarity: int = 1, attribute: str | None = None) -> Taste:
    return Taste(attribute, term, polarity, "always", "e1", 1_777_800_000.0, "said")  # type: ignore[arg-type]


def test_all_labels_in_the_words_have_to_be_there() -> None:
    found = backing_of(FILMS, stated("slow crime dramas"), LIKED)
    assert found == Backing(7, 12, ("Crime", "Drama"), (("rating", 7),))
    words = borne_out(found.count, found.of, found.labels, found.hows, polarity=1, chosen=False)
    assert words == "7 of the 12 you liked are labelled Crime and Drama (7 ratings)"


def test_a_label_as_a_whole() -> None:
    found = backing_of(FILMS, stated("crime"), LIKED)
    assert found == Backing(10, 12, (), (("rating", 7), ("like", 3)))
    words = borne_out(1, 12, (), (("log", 1),), polarity=1, chosen=True)
    assert words == "1 of the 12 you chose has it (1 in your log)"
    # Of an attribute with more values than are read out of words.
    assert backing_of(FILMS, stated("Actor 4"), LIKED) == Backing(1, 12, (), (("rating", 1),))


def test_a_dislike_is_borne_out_by_dislikes() -> None:
    judged = [*LIKED, Judged(100, False, "rating"), Judged(102, False, "rating")]
    found = backing_of(FILMS, stated("crime", -1), judged)
    assert found == Backing(1, 2, (), (("rating", 1),))
    assert backing_of(FILMS, stated("crime", -1), LIKED) is None


def test_a_label_within_another_is_not_said() -> None:
    liked = [Judged(3, True, "like"), Judged(7, True, "like")]
    found = backing_of(FILMS, stated("old science fiction"), liked)
    assert found is not None
    assert found.labels == ("Science Fiction",)


@pytest.mark.parametrize(
    "term", ["crime or drama", "dramas without crime", "not too much crime", "slow pace", "", "?", "less Drama"]
)
def test_words_that_name_nothing_countable_are_not_counted_by(term: str) -> None:
    assert backing_of(FILMS, stated(term), LIKED) is None


def test_without_anything_judged_nothing_is_told() -> None:
    assert backing_of(FILMS, stated("crime"), []) is None

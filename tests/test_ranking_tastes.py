"""Stated tastes, matched to items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.ranking.content import ContentRanker
from llm4rec.ranking.tastes import Taste, TasteMatches, match_tastes, taste_scores
from numpy.typing import NDArray

CATALOGUE = Catalogue.of(
    [
        Item("a", "A", attributes={"genres": ("Comedy", "Sci-Fi"), "cast": ("Tom Hanks",), "year": 1990.0}),
        Item("b", "B", attributes={"genres": ("Comédie",), "cast": ("Thanksgiving Band",), "year": 1995.0}),
        Item("c", "C", attributes={"genres": ("Horror",), "year": 1990.0}),
        Item("d", "D"),
    ]
)
VECTORS = np.eye(4, dtype=np.float32)


def taste(term: str, attribute: str | None = None, polarity: int = 1) -> Taste:
    return Taste(attribute=attribute, term=term, polarity=1 if polarity > 0 else -1, ref=f"event:{term}")


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (taste("comedy", "genres"), [1, 0, 0, 0]),
        (taste("COMEDIE", "genres"), [0, 1, 0, 0]),
        (taste("sci fi"), [1, 0, 0, 0]),
        (taste("horror", "genres", -1), [0, 0, -1, 0]),
        (taste("horror", "mood"), [0, 0, 1, 0]),  # no such attribute: every attribute is looked at
        (taste("Hanks"), [1, 0, 0, 0]),  # a whole word, not the middle of Thanksgiving
        (taste("horror", "cast"), [0, 0, 1, 0]),  # not among the cast, but a label elsewhere
    ],
)
def test_labels_are_matched_folded_and_as_whole_words(stated: Taste, expected: list[int]) -> None:
    matches = match_tastes(CATALOGUE, [stated])
    assert matches.how == ("label",)
    assert matches.scores().tolist() == expected


def test_what_no_label_knows_is_matched_by_meaning() -> None:
    asked: list[str] = []

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return VECTORS[[3]]

    centred = VECTORS[3] - VECTORS.mean(axis=0)
    cosine = float(centred @ VECTORS[3] / np.linalg.norm(centred))
    text = ContentRanker("text", VECTORS)
    matches = match_tastes(CATALOGUE, [taste("melancholy", "mood")], text, encode)
    assert asked == ["melancholy"]
    assert matches.how == ("meaning",)
    assert matches.scores().tolist() == pytest.approx([0, 0, 0, cosine])
    disliked = match_tastes(CATALOGUE, [taste("melancholy", None, -1)], text, encode)
    assert disliked.scores().tolist() == pytest.approx([0, 0, 0, -cosine])


def test_a_taste_that_finds_nothing_says_so() -> None:
    matches = match_tastes(CATALOGUE, [taste("melancholy"), taste(" ?! ")])
    assert matches.how == ("nothing", "nothing")
    assert not matches.scores().any()
    assert not taste_scores(CATALOGUE, []).any()


def test_tastes_add_up_within_one() -> None:
    scores = taste_scores(CATALOGUE, [taste("comedy"), taste("hanks"), taste("horror", None, -1)])
    assert scores.tolist() == [1, 0, -0.5, 0]


@given(
    st.lists(
        st.tuples(st.sampled_from(["comedy", "horror", "hanks", "sci-fi", "unheard of"]), st.sampled_from([1, -1]))
    )
)
def test_shares_sum_to_scores(stated: list[tuple[str, int]]) -> None:
    matches: TasteMatches = match_tastes(CATALOGUE, [taste(term, None, polarity) for term, polarity in stated])
    scores = matches.scores()
    assert np.abs(scores).max() <= 1
    np.testing.assert_allclose(matches.shares(np.arange(4)).sum(axis=1), scores, atol=1e-6)
